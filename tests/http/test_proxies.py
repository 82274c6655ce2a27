"""Stores behind an HTTP proxy."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.internet.protocol import Factory
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport

from sftpgw import errors
from sftpgw.http.connections import Connections
from sftpgw.http.proxies import Proxies, Proxy, ProxyUnusable, check_proxy, is_exempt, parse_proxy
from sftpgw.http.tunnels import LONGEST_HEAD_BYTES, ProxyRefused, TunnelEndpoint
from sftpgw.model.settings import StoreSettings
from sftpgw.model.store import ObjectName, ObjectProperties
from sftpgw.s3.store_factory import authorities_of
from sftpgw.testing.cpu_clocks import free_work
from sftpgw.testing.scripted_s3 import ScriptedResponse, ScriptedS3
from sftpgw.testing.tls_servers import Authority, TlsServer, TunnelProxy
from tests.results import failure_of
from tests.scripted_server import Connect
from tests.stores import RecordedEvents

NAME = ObjectName("bucket", "a b/é")
HOST = "store.example"
BASIC = "Basic " + base64.b64encode("user:pä:ss@".encode()).decode()
STORED = ScriptedResponse(200, headers={"ETag": '"e"'})


class AtOnce:
    """An endpoint whose connections are made at once and lead nowhere."""

    def __init__(self) -> None:
        self.transport = StringTransport()
        self.protocol: Any = None

    def connect(self, factory: Any) -> Deferred[Any]:
        self.protocol = factory.buildProtocol(None)
        self.protocol.makeConnection(self.transport)
        return succeed(self.protocol)


def test_an_answer_without_end_is_not_kept() -> None:
    to_proxy = AtOnce()
    tunnel = TunnelEndpoint(
        to_proxy, Proxy("proxy.example", 3128), HOST, 443, Connections(free_work(Clock()))
    )
    connecting = tunnel.connect(Factory())
    to_proxy.protocol.dataReceived(b"HTTP/1.1 200 OK\r\nX: " + b"x" * (LONGEST_HEAD_BYTES - 100))
    assert not to_proxy.transport.disconnected
    to_proxy.protocol.dataReceived(b"x" * 200)
    assert to_proxy.transport.disconnected
    assert isinstance(failure_of(connecting).value, ProxyRefused)


@pytest.mark.parametrize(
    ("text", "proxy"),
    [
        ("http://proxy.example:3128", Proxy("proxy.example", 3128)),
        ("http://proxy.example/", Proxy("proxy.example", 80)),
        ("proxy.example:3128", Proxy("proxy.example", 3128)),
        ("http://user:p%C3%A4:ss%40@[2001:db8::1]:8080", Proxy("2001:db8::1", 8080, BASIC)),
        ("http://user@h:1", Proxy("h", 1, "Basic dXNlcjo=")),
    ],
)
def test_proxy_settings_that_are_accepted(text: str, proxy: Proxy) -> None:
    assert parse_proxy(text) == proxy
    check_proxy(text)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("https://user:secret@proxy.example:3128", "https:// is not supported"),
        ("socks5://proxy.example:1080", "socks5:// is not supported"),
        ("http://user:secret@", "is not a proxy"),
        ("http://h/path", "is not a proxy"),
        ("http://h:99999", "is not a URL"),
        ("http://user:secret/2@h:3128", "is not a URL"),
        ("http://user:secret#2@h:3128", "is not a URL"),
        ("http://user:secret\u2100@h:3128", "is not a URL"),
        ("http://user:secret@pröxy", "not ASCII"),
    ],
)
def test_proxy_settings_that_are_refused(text: str, words: str) -> None:
    with pytest.raises(ValueError, match=words) as refused:
        check_proxy(text)
    assert "secret" not in str(refused.value)


def test_none_is_a_proxy_setting() -> None:
    check_proxy("none")
    assert Proxies("none", {"https_proxy": "http://p:1"}).of("https", HOST, 443) is None


@pytest.mark.parametrize(
    ("environment", "scheme", "host", "proxy"),
    [
        ({}, "https", HOST, None),
        ({"HTTPS_PROXY": "http://p:1"}, "https", HOST, "p:1"),
        ({"HTTPS_PROXY": "http://p:1", "https_proxy": "http://q:2"}, "https", HOST, "q:2"),
        ({"HTTPS_PROXY": "http://p:1", "https_proxy": ""}, "https", HOST, None),
        ({"HTTPS_PROXY": "http://p:1"}, "http", HOST, None),
        ({"HTTP_PROXY": "http://p:1"}, "http", HOST, "p:1"),
        ({"HTTP_PROXY": "http://p:1", "REQUEST_METHOD": "GET"}, "http", HOST, None),
        ({"http_proxy": "http://p:1", "REQUEST_METHOD": "GET"}, "http", HOST, "p:1"),
        ({"HTTPS_PROXY": "http://p:1", "NO_PROXY": "x, example"}, "https", HOST, None),
        ({"HTTPS_PROXY": "http://p:1", "NO_PROXY": "x", "no_proxy": HOST}, "https", HOST, None),
        ({"HTTPS_PROXY": "http://p:1"}, "https", "localhost", None),
        ({"HTTPS_PROXY": "http://p:1"}, "https", "127.0.0.5", None),
        ({"HTTPS_PROXY": "http://p:1"}, "https", "::1", None),
    ],
)
def test_the_proxy_of_the_environment_is_used(
    environment: Mapping[str, str], scheme: str, host: str, proxy: str | None
) -> None:
    found = Proxies("", environment).of(scheme, host, 443)
    assert (found and str(found)) == proxy
    # The setting decides, if there is one.
    assert str(Proxies("http://set:9", environment).of(scheme, host, 443)) == "set:9"


def test_a_proxy_of_the_environment_that_is_none() -> None:
    proxies = Proxies("", {"HTTPS_PROXY": "socks5://p:1"})
    with pytest.raises(ProxyUnusable, match="HTTPS_PROXY: socks5:// is not supported"):
        proxies.of("https", HOST, 443)


@pytest.mark.parametrize(
    ("host", "entry", "expected"),
    [
        ("a.example", "*", True),
        ("a.example", "", False),
        ("a.example", "a.example", True),
        ("A.Example.", "a.EXAMPLE", True),
        ("a.example", "example", True),
        ("a.example", ".example", True),
        ("a.example", "*.example", True),
        ("a.example", "ample", False),
        ("example", ".example", True),
        ("a.example", "a.example:443", True),
        ("a.example", "a.example:8443", False),
        ("192.0.2.7", "192.0.2.7", True),
        ("192.0.2.7", "192.0.2.0/24", True),
        ("192.0.2.7", "192.0.3.0/24", False),
        ("192.0.2.7", "2.7", False),
        ("2001:db8::7", "2001:db8::/32", True),
        ("2001:db8::7", "[2001:db8::7]:443", True),
        ("2001:db8::7", "[2001:db8::7]:80", False),
    ],
)
def test_hosts_of_no_proxy_are_exempt(host: str, entry: str, expected: bool) -> None:
    assert is_exempt(host, 443, ["other", entry]) is expected


@pytest_twisted.ensureDeferred
async def test_http_goes_with_the_whole_url(server: ScriptedS3, connected: Connect) -> None:
    """The scripted server is the proxy: it gets the whole URL."""
    proxy = server.url.replace("http://", "http://user:p%C3%A4:ss%40@")
    client = connected(endpoint=f"http://{HOST}:9000", proxy=proxy)
    server.script(STORED, STORED)
    for _ in range(2):
        await client.put(NAME, (b"x",), ObjectProperties())
    for request in server.requests:
        assert request.target == f"http://{HOST}:9000/bucket/a%20b/%C3%A9"
        assert request.headers["host"] == f"{HOST}:9000"
        assert request.headers["proxy-authorization"] == BASIC
        assert "proxy-authorization" not in request.headers["authorization"].lower()
    assert server.connections == 1


class Way:
    """A store with a certificate for `HOST`, and a proxy that leads to it."""

    def __init__(self, store: ScriptedS3, tls: TlsServer, proxy: TunnelProxy, ca: str) -> None:
        self.store = store
        self.proxy = proxy
        self._tls = tls
        self._ca_file = ca

    @classmethod
    async def lead(cls, folder: Path, *names: str) -> Way:
        from twisted.internet import reactor  # noqa: PLC0415

        authority, store = Authority.new(), ScriptedS3()
        (folder / "ca.pem").write_bytes(authority.pem)
        tls = TlsServer(store, authority.issue(names))
        await tls.listen(reactor)
        proxy = TunnelProxy(tls.port)
        await proxy.listen(reactor)
        return cls(store, tls, proxy, str(folder / "ca.pem"))

    def settings(self, **changes: Any) -> dict[str, Any]:
        return {
            "endpoint": f"https://{HOST}",
            "proxy": f"http://user:p%C3%A4:ss%40@127.0.0.1:{self.proxy.port}",
            "ca_file": self._ca_file,
        } | changes

    async def close(self) -> None:
        await self.store.all_gone(drop=True)
        await self.proxy.close()
        await self._tls.close()


@pytest_twisted.ensureDeferred
async def test_https_goes_through_a_tunnel(tmp_path: Path, connected: Connect) -> None:
    way = await Way.lead(tmp_path, HOST)
    client = connected(**way.settings())
    body = bytes(range(256)) * 20_000
    way.store.script(STORED, STORED, ScriptedResponse(200, body, {"ETag": '"e"'}))
    try:
        await client.put(NAME, (body, b"end"), ObjectProperties())
        await client.put(NAME, (body,), ObjectProperties())
        assert [len(each.body) for each in way.store.requests] == [len(body) + 3, len(body)]
        assert [each.target for each in way.store.requests] == ["/bucket/a%20b/%C3%A9"] * 2
        assert "proxy-authorization" not in way.store.requests[0].headers
        (head,) = way.proxy.heads
        assert head.split("\r\n") == [
            f"CONNECT {HOST}:443 HTTP/1.1",
            f"Host: {HOST}:443",
            f"Proxy-Authorization: {BASIC}",
        ]
    finally:
        await client.close()
        await way.close()


@pytest.mark.parametrize(("name", "section"), [("", "[s3]"), ("eu", "[store eu]")])
@pytest_twisted.ensureDeferred
async def test_a_certificate_is_told_at_once(
    tmp_path: Path, connected: Connect, events: RecordedEvents, name: str, section: str
) -> None:
    """Formerly it was retried for a minute and a half, like a lost connection."""
    way = await Way.lead(tmp_path, "elsewhere.example")
    client = connected(name=name, **way.settings(max_attempts=20))
    try:
        with pytest.raises(errors.StoreUnavailable) as refused:
            await client.put(NAME, (b"x",), ObjectProperties())
        assert refused.value.code == "CertificateRefused"
        ((event, facts),) = events.told[-1:]
        assert event == "s3-gave-up"
        assert facts["attempt"] == 1
        reason = str(facts["reason"])
        assert f"the certificate of {HOST} is refused: it is for elsewhere.example" in reason
        assert f"{section} endpoint and addressing" in reason
        assert way.store.requests == []
    finally:
        await client.close()
        await way.close()


@pytest.mark.parametrize(
    ("refusal", "attempts", "words"),
    [
        ("HTTP/1.1 407 Login please", 1, "407 Login please; [store eu] proxy = http://U"),
        ("HTTP/1.0 403 Not there", 1, f"not connect to {HOST}:443: 403 Not there"),
        ("HTTP/1.1 503 Busy", 3, "503 Busy"),
        ("SSH-2.0-OpenSSH_9.9", 1, "is no HTTP proxy"),
    ],
)
@pytest_twisted.ensureDeferred
async def test_a_proxy_that_refuses(
    tmp_path: Path, connected: Connect, *, refusal: str, attempts: int, words: str
) -> None:
    way = await Way.lead(tmp_path, HOST)
    way.proxy.refusal = refusal
    client = connected(name="eu", **way.settings(max_attempts=3))
    try:
        with pytest.raises(errors.StoreUnavailable) as refused:
            await client.head_bucket("bucket")
        assert refused.value.code == ("ProxyRefused" if attempts == 1 else "ConnectFailed")
        assert words in refused.value.message
        assert "pä" not in refused.value.message
        assert len(way.proxy.heads) == attempts
    finally:
        await client.close()
        await way.close()


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest_twisted.ensureDeferred
async def test_whom_there_is_no_connection_to_is_told(connected: Connect, scheme: str) -> None:
    for settings, words in (
        ({"endpoint": f"{scheme}://127.0.0.1:1"}, "127.0.0.1:1: Connection was refused"),
        (
            {"endpoint": f"{scheme}://{HOST}", "proxy": "http://127.0.0.1:1"},
            "the proxy 127.0.0.1:1: Connection was refused",
        ),
    ):
        client = connected(max_attempts=1, **settings)
        with pytest.raises(errors.StoreUnavailable, match=words):
            await client.head_bucket("bucket")


@pytest_twisted.ensureDeferred
async def test_closing_while_the_proxy_is_silent(server: ScriptedS3, connected: Connect) -> None:
    client = connected(endpoint=f"https://{HOST}", proxy=server.url)
    server.script(ScriptedResponse(is_silent=True))
    asking = Deferred.fromCoroutine(client.head_bucket("bucket"))
    await server.arrived(1)
    await client.close()
    await server.all_gone()
    with pytest.raises(CancelledError):
        await asking


@pytest_twisted.ensureDeferred
async def test_settings_that_cannot_be_used_are_told_at_once(
    connected: Connect, events: RecordedEvents
) -> None:
    for settings, words in (
        ({"proxy": "socks5://p:1"}, "[s3] proxy: socks5:// is not supported"),
        ({"ca_file": "/nowhere/ca.pem"}, "[s3] ca_file = /nowhere/ca.pem: No such file"),
    ):
        client = connected(endpoint=f"https://{HOST}", max_attempts=20, **settings)
        with pytest.raises(errors.StoreUnavailable):
            await client.head_bucket("bucket")
        name, facts = events.told[-1]
        assert (name, facts["code"], facts["attempt"]) == ("s3-gave-up", "SettingsUnusable", 1)
        assert words in str(facts["reason"])


class TestAuthorities:
    """Which authorities are trusted, in the order of the usual chain."""

    @pytest.fixture
    def profile(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        path = tmp_path / "config"
        path.write_text("[default]\nca_bundle = /of/the/profile.pem\n", encoding="utf-8")
        monkeypatch.setenv("AWS_CONFIG_FILE", str(path))
        for name in ("AWS_CA_BUNDLE", "AWS_PROFILE"):
            monkeypatch.delenv(name, raising=False)
        return path

    @pytest.mark.parametrize(
        ("ca_file", "environment", "found"),
        [
            ("/set.pem", {"AWS_CA_BUNDLE": "/aws.pem"}, ("/set.pem", "[s3] ca_file")),
            ("", {"AWS_CA_BUNDLE": "/aws.pem"}, ("/aws.pem", "AWS_CA_BUNDLE")),
            ("", {"PATH": "/"}, ("/of/the/profile.pem", "ca_bundle of the AWS profile")),
            ("", {}, ("", "[s3] ca_file")),
        ],
    )
    def test_authorities_are_looked_for_in_botocores_order(
        self, profile: Path, ca_file: str, environment: dict[str, str], found: tuple[str, str]
    ) -> None:
        authorities = authorities_of(StoreSettings(ca_file=ca_file), environment)
        assert (authorities.ca_file, authorities.named_by) == found

    def test_without_a_profile_the_variable_of_requests_counts(self, profile: Path) -> None:
        profile.write_text("", encoding="utf-8")
        authorities = authorities_of(StoreSettings(), {"REQUESTS_CA_BUNDLE": "/requests.pem"})
        assert authorities.ca_file == "/requests.pem"
        assert authorities_of(StoreSettings(), {"PATH": "/"}).ca_file == ""

    def test_a_profile_that_is_missing_is_not_our_trouble(
        self, profile: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("AWS_PROFILE", "missing")
        assert authorities_of(StoreSettings(), {"PATH": "/"}).ca_file == ""
