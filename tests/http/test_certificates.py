"""A store must prove its name before it gets a single byte of a request."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from OpenSSL import SSL
from twisted.internet.defer import Deferred
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure

from sftpgw.http import certificates
from sftpgw.http.certificates import (
    Authorities,
    AuthoritiesUnusable,
    CertificateRefused,
    TlsFailed,
    VerifyingPolicy,
    check_ca_file,
    name_fault,
)
from sftpgw.http.client import ConnectionPlaces, HttpClient, HttpRequest
from sftpgw.http.proxies import Proxies
from sftpgw.testing.cpu_clocks import free_work
from sftpgw.testing.tls_servers import DAY, Authority, Issued, TlsServer, TunnelProxy
from tests.http.answers import Answer

HOST = "store.a.example"
ADDRESS = "192.0.2.7"
SECRET = "AWS4-HMAC-SHA256 Signature=0123"


class Listener(Factory):
    """Collects all that it receives, and responds to what looks like a request."""

    noisy = False

    def __init__(self) -> None:
        self.data = b""
        self.gone: list[Deferred[None]] = []

    def buildProtocol(self, addr: object) -> _Listening:
        self.gone.append(Deferred())
        return _Listening(self, self.gone[-1])


class _Listening(Protocol):
    transport: Any

    def __init__(self, owner: Listener, gone: Deferred[None]) -> None:
        self._owner = owner
        self._gone = gone

    def dataReceived(self, data: bytes) -> None:
        self._owner.data += data
        if b"\r\n\r\n" in self._owner.data:
            self.transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi")

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._gone.callback(None)


@dataclass(frozen=True)
class Shown:
    """The result of a request."""

    error: Exception | None
    heard: bytes
    answer: bytes


async def ask(
    host: str,
    issued: Issued | None,
    ca_file: str,
    factory: Listener | None = None,
    *,
    wants_certificate: bool = False,
) -> Shown:
    """Ask `host` for something, where a server with the certificate `issued` stands.

    None: it speaks no TLS at all.
    """
    from twisted.internet import reactor  # noqa: PLC0415

    listener = factory or Listener()
    if issued is None:
        port: Any = reactor.listenTCP(0, listener, interface="127.0.0.1")
        number, stop = port.getHost().port, port.stopListening
    else:
        server = TlsServer(listener, issued, wants_certificate=wants_certificate)
        await server.listen(reactor)
        number, stop = server.port, lambda: Deferred.fromCoroutine(server.close())
    proxy = TunnelProxy(number)
    await proxy.listen(reactor)
    client = HttpClient(
        reactor,
        places=ConnectionPlaces(free_work(reactor), 2),
        connect_timeout_seconds=10.0,
        find_authorities=lambda: Authorities(ca_file),
        proxies=Proxies(f"http://127.0.0.1:{proxy.port}", {}),
    )
    headers = (("Host", host), ("Authorization", SECRET))
    request = HttpRequest("PUT", f"https://{host}/b/k", headers, (b"body",), 10.0, 10.0)
    answer, error = Answer(), None
    try:
        await client.exchange(request, answer)
    except Exception as raised:
        error = raised
    finally:
        await client.close()
        for gone in listener.gone:
            await gone
        await proxy.close()
        await stop()
    assert answer.status == (0 if error else 200)
    return Shown(error, listener.data, answer.body)


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority.new()


@pytest.fixture
def ca_file(authority: Authority, tmp_path: Path) -> str:
    path = tmp_path / "ca.pem"
    path.write_bytes(authority.pem)
    return str(path)


def address(text: str) -> x509.IPAddress:
    return x509.IPAddress(ipaddress.ip_address(text))


def usage(*usages: x509.ObjectIdentifier) -> x509.ExtendedKeyUsage:
    return x509.ExtendedKeyUsage(list(usages))


def tampered(authority: Authority) -> Issued:
    """A certificate for `HOST` that is changed after the authority has signed it."""
    right = authority.issue([HOST])
    data = right.certificate.public_bytes(Encoding.DER)
    signature = right.certificate.signature
    changed = data.replace(signature, signature[:-1] + bytes([signature[-1] ^ 1]))
    return replace(right, certificate=x509.load_der_x509_certificate(changed))


SERVER_AUTH = ExtendedKeyUsageOID.SERVER_AUTH
CLIENT_AUTH = ExtendedKeyUsageOID.CLIENT_AUTH
ELSEWHERE = x509.NameConstraints([x509.DNSName("b.example")], None)

Make = Callable[[Authority], Issued]

BAD: dict[str, tuple[str, Make, str]] = {
    "no names at all": (HOST, lambda a: a.issue(None), "no subjectAltName"),
    "common name only": (HOST, lambda a: a.issue(None, common_name=HOST), "no subjectAltName"),
    "star": (HOST, lambda a: a.issue(["*"]), "it is for *"),
    "e-mail only": (
        HOST,
        lambda a: a.issue([x509.RFC822Name("root@store.a.example")]),
        "nothing of use",
    ),
    "URI only": (
        HOST,
        lambda a: a.issue([x509.UniformResourceIdentifier(f"https://{HOST}/")]),
        "nothing of use",
    ),
    "another host": (HOST, lambda a: a.issue(["other.a.example"]), "it is for other.a.example"),
    "the domain above": (HOST, lambda a: a.issue(["a.example"]), "it is for a.example"),
    "a host below": (HOST, lambda a: a.issue([f"x.{HOST}"]), f"it is for x.{HOST}"),
    "a dot in front": (HOST, lambda a: a.issue([".a.example"]), "it is for .a.example"),
    "star in the middle": (HOST, lambda a: a.issue(["store.*.example"]), "store.*.example"),
    "part of a label": (HOST, lambda a: a.issue(["st*.a.example"]), "st*.a.example"),
    "two stars": (HOST, lambda a: a.issue(["*.*.example"]), "*.*.example"),
    "star of a top domain": ("a.example", lambda a: a.issue(["*.example"]), "*.example"),
    "star for two labels": (HOST, lambda a: a.issue(["*.example.example", "*.example"]), "*."),
    "star for the domain itself": ("a.example.org", lambda a: a.issue(["*.a.example.org"]), "*."),
    "a NUL in the name": (HOST, lambda a: a.issue([f"{HOST}\0.evil.example"]), "evil.example"),
    "an address for a name": (HOST, lambda a: a.issue([address(ADDRESS)]), ADDRESS),
    "a name for an address": (ADDRESS, lambda a: a.issue([ADDRESS]), ADDRESS),
    "another address": (ADDRESS, lambda a: a.issue([address("192.0.2.8")]), "192.0.2.8"),
    "a star for an address": (ADDRESS, lambda a: a.issue(["*.0.2.7"]), "*.0.2.7"),
    "expired": (
        HOST,
        lambda a: a.issue([HOST], since=-2 * DAY, until=-timedelta(minutes=1)),
        "it was valid until 2",
    ),
    "not yet valid": (HOST, lambda a: a.issue([HOST], since=DAY, until=2 * DAY), "is the clock"),
    "signed by itself": (
        HOST,
        lambda a: replace(Authority.new(HOST).issued),
        "it is signed by itself",
    ),
    "another authority": (
        HOST,
        lambda a: Authority.new("somewhere else").issue([HOST]),
        "issued by CN=somewhere else",
    ),
    "another authority of the same name": (
        HOST,
        lambda a: Authority.new().issue([HOST]),
        "its signature is wrong",
    ),
    "a signature that is none": (HOST, tampered, "its signature is wrong"),
    "by an issuer that is no authority": (
        HOST,
        lambda a: a.delegate(is_authority=False).issue([HOST]),
        "its issuer is no authority",
    ),
    "by an authority that has expired": (
        HOST,
        lambda a: a.delegate(since=-2 * DAY, until=-DAY).issue([HOST]),
        "its authority (CN=delegate): it was valid until",
    ),
    "by an authority for other names": (
        HOST,
        lambda a: a.delegate(extensions=[ELSEWHERE]).issue([HOST]),
        "not made for this name",
    ),
    "a short key": (HOST, lambda a: a.issue([HOST], rsa_bits=1024), "its key is too short"),
    "for clients": (
        HOST,
        lambda a: a.issue([HOST], extensions=[usage(CLIENT_AUTH)]),
        "it is not made for a server",
    ),
}

GOOD: dict[str, tuple[str, Make]] = {
    "its name": (HOST, lambda a: a.issue([HOST])),
    "one of its names": (HOST, lambda a: a.issue(["other.example", HOST])),
    "in capitals": (HOST, lambda a: a.issue(["Store.A.EXAMPLE"])),
    "with a dot behind it": (f"{HOST}.", lambda a: a.issue([HOST])),
    "a star for one label": (HOST, lambda a: a.issue(["*.a.example"])),
    "beside names that are none": (HOST, lambda a: a.issue(["*", "*.local", "", HOST])),
    "with a common name besides": (HOST, lambda a: a.issue([HOST], common_name="other.example")),
    "of one label": ("minio", lambda a: a.issue(["minio"])),
    "an address": (ADDRESS, lambda a: a.issue([address(ADDRESS)])),
    "an IPv6 address": ("[2001:db8::7]", lambda a: a.issue([address("2001:db8::7")])),
    "an international name": (
        "xn--bcher-kva.example",
        lambda a: a.issue(["xn--bcher-kva.example"]),
    ),
    "for servers": (HOST, lambda a: a.issue([HOST], extensions=[usage(SERVER_AUTH, CLIENT_AUTH)])),
    "by an authority in between": (HOST, lambda a: a.delegate().issue([HOST])),
}


@pytest.mark.parametrize("kind", BAD)
@pytest_twisted.ensureDeferred
async def test_an_impostor_hears_nothing(kind: str, authority: Authority, ca_file: str) -> None:
    host, make, words = BAD[kind]
    shown = await ask(host, make(authority), ca_file)
    assert (shown.heard, shown.answer) == (b"", b"")
    assert isinstance(shown.error, CertificateRefused)
    text = str(shown.error)
    assert f"the certificate of {host} is refused: " in text
    assert words in text


@pytest.mark.parametrize("kind", GOOD)
@pytest_twisted.ensureDeferred
async def test_the_store_is_believed(kind: str, authority: Authority, ca_file: str) -> None:
    host, make = GOOD[kind]
    shown = await ask(host, make(authority), ca_file)
    assert shown.error is None
    assert shown.answer == b"hi"
    assert SECRET.encode() in shown.heard


@pytest_twisted.ensureDeferred
async def test_the_stores_own_certificate_may_be_the_trusted_one(
    authority: Authority, tmp_path: Path
) -> None:
    issued = authority.issue([HOST])
    path = tmp_path / "store.pem"
    path.write_bytes(issued.pem)
    assert (await ask(HOST, issued, str(path))).answer == b"hi"
    assert isinstance((await ask(HOST, authority.issue([HOST]), str(path))).error, SSL.Error)


@pytest_twisted.ensureDeferred
async def test_any_exception_is_a_refusal(
    authority: Authority, ca_file: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(certificate: x509.Certificate, host: str) -> str:
        raise ZeroDivisionError("unheard of")

    monkeypatch.setattr(certificates, "name_fault", fails)
    shown = await ask(HOST, authority.issue([HOST]), ca_file)
    assert shown.heard == b""
    assert isinstance(shown.error, CertificateRefused)
    assert "it cannot be read (ZeroDivisionError: unheard of)" in str(shown.error)


@pytest_twisted.ensureDeferred
async def test_a_refusal_names_the_setting(authority: Authority, ca_file: str) -> None:
    stranger = Authority.new("private authority").issue([HOST])
    text = str((await ask(HOST, stranger, ca_file)).error)
    assert f"trusted are those of [s3] ca_file = {ca_file}" in text
    assert "those of the system: [s3] ca_file names" in str((await ask(HOST, stranger, "")).error)


class Talkative(Listener):
    """Speaks HTTP to every client."""

    def buildProtocol(self, addr: object) -> _Listening:
        return _Talking(self, self.gone.append(Deferred()) or self.gone[-1])


class _Talking(_Listening):
    def dataReceived(self, data: bytes) -> None:
        self.transport.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        self.transport.loseConnection()


@pytest_twisted.ensureDeferred
async def test_https_where_there_is_http_is_told(ca_file: str) -> None:
    shown = await ask(HOST, None, ca_file, Talkative())
    assert isinstance(shown.error, TlsFailed)
    assert f"TLS with {HOST} fails: " in str(shown.error)
    assert "is it https there?" in str(shown.error)


@pytest_twisted.ensureDeferred
async def test_a_store_that_wants_a_certificate_of_ours(authority: Authority, ca_file: str) -> None:
    """In TLS 1.3 it says so after the handshake."""
    shown = await ask(HOST, authority.issue([HOST]), ca_file, wants_certificate=True)
    assert shown.heard == b""
    assert isinstance(shown.error, TlsFailed)
    assert f"{HOST} wants a certificate of the gateway" in str(shown.error)


@pytest_twisted.ensureDeferred
async def test_a_file_without_authorities_trusts_none(authority: Authority, tmp_path: Path) -> None:
    empty = tmp_path / "empty.pem"
    empty.write_text("not a certificate\n")
    for path, words in ((empty, "no certificate"), (tmp_path / "gone.pem", "No such file")):
        shown = await ask(HOST, authority.issue([HOST]), str(path))
        assert isinstance(shown.error, AuthoritiesUnusable)
        assert f"[s3] ca_file = {path}: " in str(shown.error)
        assert words in str(shown.error)
        assert shown.heard == b""
        with pytest.raises(ValueError, match=words):
            check_ca_file(str(path))


@pytest_twisted.ensureDeferred
async def test_a_file_that_changes_is_read_again(authority: Authority, tmp_path: Path) -> None:
    """A damaged file is not read: the earlier authorities stay."""
    path, other = tmp_path / "ca.pem", Authority.new("the next one")
    path.write_bytes(authority.pem)
    policy = VerifyingPolicy(lambda: Authorities(str(path)))
    creator: Any = policy.creatorForNetloc(HOST.encode(), 443)
    first, second = (creator.clientConnectionForTLS(None).get_context() for _ in range(2))
    assert first is second
    path.write_bytes(b"not a certificate")
    assert creator.clientConnectionForTLS(None).get_context() is first
    path.unlink()
    assert creator.clientConnectionForTLS(None).get_context() is first
    path.write_bytes(authority.pem + other.pem)
    assert creator.clientConnectionForTLS(None).get_context() is not first
    assert (await ask(HOST, other.issue([HOST]), str(path))).answer == b"hi"


def test_a_file_with_authorities_is_fine(ca_file: str) -> None:
    check_ca_file(ca_file)


def test_a_certificate_whose_names_cannot_be_read(authority: Authority) -> None:
    """`cryptography` raises where it cannot read a certificate; the callback refuses it then."""
    unread = x509.UnrecognizedExtension(x509.ObjectIdentifier("2.5.29.17"), b"\x30\x03\x82\x01\xff")
    issued = authority.issue(None, extensions=[unread])
    with pytest.raises(ValueError, match="parsing asn1"):
        name_fault(issued.certificate, HOST)


# OpenSSL's own comparison as the oracle. pyOpenSSL has no public way to it.

NO_PARTIAL_WILDCARDS, NEVER_CHECK_SUBJECT = 0x4, 0x20  # x509v3.h

LABELS = st.sampled_from(
    ["aa", "bb", "store", "example", "*", "st*", "*e", "xn--bcher-kva", "", "AA"]
)
NAMES = st.lists(LABELS, min_size=1, max_size=4).map(".".join)
HOSTS = st.lists(
    st.sampled_from(["aa", "bb", "store", "example", "xn--bcher-kva"]), min_size=1, max_size=4
).map(".".join)


class Oracle:
    """OpenSSL's own verdict on certificates of one authority."""

    def __init__(self, ca_file: str) -> None:
        self._ca_file = ca_file

    def believes(self, issued: Issued, host: str) -> bool:
        context = SSL.Context(SSL.TLS_CLIENT_METHOD)
        context.load_verify_locations(self._ca_file)
        context.set_verify(SSL.VERIFY_PEER)
        client: Any = SSL.Connection(context, None)
        parameters = SSL._lib.SSL_get0_param(client._ssl)  # type: ignore[attr-defined]
        flags = NO_PARTIAL_WILDCARDS | NEVER_CHECK_SUBJECT
        SSL._lib.X509_VERIFY_PARAM_set_hostflags(parameters, flags)  # type: ignore[attr-defined]
        name = host.encode()
        assert SSL._lib.X509_VERIFY_PARAM_set1_host(parameters, name, len(name)) == 1  # type: ignore[attr-defined]
        client.set_connect_state()
        served = SSL.Context(SSL.TLS_SERVER_METHOD)
        served.use_certificate(issued.certificate)
        served.use_privatekey(issued.key)
        server = SSL.Connection(served, None)
        server.set_accept_state()
        return shake_hands(client, server)


def shake_hands(client: SSL.Connection, server: SSL.Connection) -> bool:
    for _ in range(3):
        for one, other in ((client, server), (server, client)):
            try:
                one.do_handshake()
            except SSL.WantReadError:
                pass
            except SSL.Error:
                return False
            with suppress(SSL.WantReadError):
                other.bio_write(one.bio_read(65536))
    return True


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(names=st.lists(NAMES, min_size=1, max_size=3), host=HOSTS)
@example(names=["*.example"], host="aa.example")
@example(names=["*.aa.example", "*"], host="store.aa.example")
@example(names=["*.aa.example"], host="xn--bcher-kva.aa.example")
def test_no_more_is_believed_than_openssl_believes(
    authority: Authority, ca_file: str, names: list[str], host: str
) -> None:
    """Nor less, except for a star in place of an international label, as in RFC 9525."""
    issued = authority.issue(names)
    is_fine = name_fault(issued.certificate, host) == ""
    expected = Oracle(ca_file).believes(issued, host)
    if host.startswith("xn--") and expected and not is_fine:
        assert any(name.startswith("*.") for name in names)
    else:
        assert is_fine is expected
