"""HTTP exchanges: encryption, large bodies, closing."""

from __future__ import annotations

import gc
import ipaddress
import weakref
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from cryptography import x509
from twisted.internet.defer import CancelledError, Deferred, gatherResults
from twisted.internet.protocol import Factory, connectionDone
from twisted.internet.protocol import Protocol as TwistedProtocol
from twisted.internet.task import deferLater
from twisted.internet.testing import MemoryReactorClock, StringTransport
from twisted.python.failure import Failure
from twisted.web.http_headers import Headers

from sftpgw.http.body_producers import WRITTEN_BYTES
from sftpgw.http.certificates import Authorities, CertificateRefused
from sftpgw.http.client import (
    LEAST_BYTES,
    LOOKUP_SECONDS,
    ConnectFailed,
    ConnectionBroken,
    ConnectionPlaces,
    ExchangeTimedOut,
    HttpClient,
    HttpRequest,
    NoHttp,
)
from sftpgw.http.drained_connections import DRAINED_BYTES
from sftpgw.http.tls import tcp_under
from sftpgw.model.units import MIB, Body
from sftpgw.testing.cpu_clocks import free_work
from sftpgw.testing.scripted_s3 import RecordedRequest, ScriptedResponse, ScriptedS3
from sftpgw.testing.tls_servers import Authority, Issued, TlsServer
from tests.http.answers import Answer
from tests.scripted_names import ScriptedNames

AT_ONCE = 200


def request_to(url: str, body: Body = (), **headers: str) -> HttpRequest:
    host = url.split("/")[2]
    return HttpRequest("PUT", url, (("Host", host), *headers.items()), body, 10.0, 10.0)


@pytest.fixture
def client() -> Iterator[HttpClient]:
    from twisted.internet import reactor  # noqa: PLC0415

    client = HttpClient(
        reactor, places=ConnectionPlaces(free_work(reactor), 2), connect_timeout_seconds=10.0
    )
    yield client
    pytest_twisted.blockon(Deferred.fromCoroutine(client.close()))


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority.new()


@pytest.fixture(scope="module")
def certificate(authority: Authority) -> Issued:
    """A certificate for 127.0.0.1, by an authority that only `ca_file` knows."""
    return authority.issue([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])


@pytest.fixture
def ca_file(authority: Authority, tmp_path: Path) -> str:
    path = tmp_path / "ca.pem"
    path.write_bytes(authority.pem)
    return str(path)


@pytest_twisted.ensureDeferred
async def test_a_body_in_many_buffers(server: ScriptedS3, client: HttpClient) -> None:
    piece = bytes(range(256)) * (WRITTEN_BYTES // 256)
    buffers = (piece * 20, bytearray(b"x"), b"", memoryview(piece)[5:], piece + b"y")
    server.script(ScriptedResponse(200, b"thanks"))
    answer = Answer()
    await client.exchange(request_to(server.url + "/a//b/../c", buffers), answer)
    assert (answer.status, answer.body) == (200, b"thanks")
    assert server.requests[0].body == b"".join(buffers)
    assert server.requests[0].target == "/a//b/../c"


@pytest_twisted.ensureDeferred
async def test_a_large_answer_comes_in_order(server: ScriptedS3, client: HttpClient) -> None:
    data = bytes(range(251)) * 40_000
    server.script(ScriptedResponse(200, data))
    answer = Answer()
    await client.exchange(request_to(server.url + "/"), answer)
    assert answer.body == data


@pytest_twisted.ensureDeferred
async def test_a_buffer_is_free_afterwards(server: ScriptedS3, client: HttpClient) -> None:
    server.script(ScriptedResponse(200))
    buffer = bytearray(b"x" * 1000)
    await client.exchange(request_to(server.url + "/", (buffer,)), Answer())
    buffer.extend(b"more")  # BufferError if it were still in use


MORE_THAN_SOCKETS_TAKE: Body = (b"x" * (64 << 20),)


@pytest.mark.parametrize("status", [200, 204, 206])
@pytest_twisted.ensureDeferred
async def test_a_success_before_the_body_was_sent_is_none(
    server: ScriptedS3, client: HttpClient, status: int
) -> None:
    server.script(ScriptedResponse(status, is_early=True))
    with pytest.raises(ConnectionBroken, match="before the body"):
        await client.exchange(request_to(server.url + "/", MORE_THAN_SOCKETS_TAKE), Answer())


@pytest.mark.parametrize("status", [307, 403, 503])
@pytest_twisted.ensureDeferred
async def test_a_refusal_may_come_before_the_body_was_sent(
    server: ScriptedS3, client: HttpClient, status: int
) -> None:
    server.script(ScriptedResponse(status, b"no", is_early=True), ScriptedResponse(200))
    answer = Answer()
    await client.exchange(request_to(server.url + "/", MORE_THAN_SOCKETS_TAKE), answer)
    assert (answer.status, answer.body) == (status, b"no")
    await client.exchange(request_to(server.url + "/"), Answer())
    assert server.connections == 2


@pytest.mark.parametrize("value", ["a\r\nX-Evil: 1", "a\nb", "a\0b"])
@pytest_twisted.ensureDeferred
async def test_a_header_stays_in_its_line(
    server: ScriptedS3, client: HttpClient, value: str
) -> None:
    with pytest.raises(ValueError, match="line break"):
        client.exchange(request_to(server.url + "/", evil=value), Answer())


@pytest_twisted.ensureDeferred
async def test_connections_are_kept_for_the_next_round(server: ScriptedS3) -> None:
    from twisted.internet import reactor  # noqa: PLC0415

    waiting: list[Deferred[ScriptedResponse]] = []

    def answer_all_together(_: RecordedRequest) -> Deferred[ScriptedResponse]:
        waiting.append(reply := Deferred())
        if len(waiting) == AT_ONCE:
            for each in tuple(waiting):
                each.callback(ScriptedResponse(200))
            waiting.clear()
        return reply

    server.respond_with(answer_all_together)
    client = HttpClient(
        reactor, places=ConnectionPlaces(free_work(reactor), AT_ONCE), connect_timeout_seconds=10.0
    )
    try:
        for _ in range(2):
            request = request_to(server.url + "/", (b"x",))
            await gatherResults([client.exchange(request, Answer()) for _ in range(AT_ONCE)])
            assert server.connections == AT_ONCE
    finally:
        await client.close()


class GivenUp(Answer):
    """A response that is not wanted any more as soon as its head has come."""

    exchange: Deferred[None]

    def began(self, status: int, headers: Headers) -> None:
        self.exchange.cancel()


async def give_up(client: HttpClient, url: str) -> None:
    """Send a request, and give up its response."""
    answer = GivenUp()
    answer.exchange = client.exchange(request_to(url), answer)
    with pytest.raises(CancelledError):
        await answer.exchange
    assert not answer.body


@pytest.mark.parametrize(
    ("size_bytes", "connections"), [(0, 1), (100_000, 1), (DRAINED_BYTES, 1), (64 * MIB, 3)]
)
@pytest_twisted.ensureDeferred
async def test_a_short_rest_of_a_response_costs_no_connection(
    server: ScriptedS3, client: HttpClient, size_bytes: int, connections: int
) -> None:
    """Opening and closing files in a loop dropped a connection each time."""
    from twisted.internet import reactor  # noqa: PLC0415

    server.respond_with(lambda _: ScriptedResponse(200, bytes(size_bytes)))
    for _ in range(2):
        await give_up(client, server.url + "/")
        while len(client.drained):  # until the rest has come
            await deferLater(reactor, 0)
    server.respond_with(lambda _: ScriptedResponse(200, b"next"))
    answer = Answer()
    await client.exchange(request_to(server.url + "/"), answer)
    assert (answer.body, server.connections) == (b"next", connections)


@pytest_twisted.ensureDeferred
async def test_a_connection_that_is_gone_leaves_no_cycle(server: ScriptedS3) -> None:
    """It is old by then, so that no step of the garbage collector would find it."""
    from twisted.internet import reactor  # noqa: PLC0415

    client = HttpClient(
        reactor, places=ConnectionPlaces(free_work(reactor), 2), connect_timeout_seconds=10.0
    )
    server.respond_with(lambda _: ScriptedResponse(200))
    await client.exchange(request_to(server.url + "/"), Answer())
    (connection,) = client._connections._open
    tcp = tcp_under(connection)
    left = [weakref.ref(each) for each in (tcp, tcp.connector, tcp.connector.factory)]
    del connection, tcp
    gc.collect()
    gc.disable()
    try:
        await client.close()
        await server.all_gone()
        await deferLater(reactor, 0)
        assert [each() for each in left] == [None] * 3
    finally:
        gc.enable()


@pytest_twisted.ensureDeferred
async def test_idle_connections_to_one_origin_make_place_for_another(server: ScriptedS3) -> None:
    """All origins together have as many connections as there are requests at once."""
    from twisted.internet import reactor  # noqa: PLC0415

    other = await ScriptedS3.listen(reactor)
    client = HttpClient(
        reactor, places=ConnectionPlaces(free_work(reactor), 2), connect_timeout_seconds=10.0
    )
    try:
        replies: list[Deferred[ScriptedResponse]] = [Deferred(), Deferred()]
        unanswered = iter(replies)
        server.respond_with(lambda _: next(unanswered))
        both = [client.exchange(request_to(server.url + "/"), Answer()) for _ in range(2)]
        await server.arrived(2)
        for reply in replies:
            reply.callback(ScriptedResponse(200))
        await gatherResults(both)
        other.respond_with(lambda _: ScriptedResponse(200))
        await client.exchange(request_to(other.url + "/"), Answer())
        await server.all_gone()
        for _ in range(3):
            await client.exchange(request_to(other.url + "/"), Answer())
        assert other.connections == 1, "what is idle there is used again"
    finally:
        await client.close()
        await other.close()


@pytest_twisted.ensureDeferred
async def test_closing_ends_what_is_under_way(server: ScriptedS3, client: HttpClient) -> None:
    server.script(ScriptedResponse(is_silent=True))
    waiting = client.exchange(request_to(server.url + "/"), Answer())
    failed = waiting.addErrback(lambda failure: failure.check(CancelledError))
    await server.arrived(1)
    await client.close()
    assert await failed is CancelledError
    await server.all_gone()


@pytest_twisted.ensureDeferred
async def test_closing_may_end_several_at_once(server: ScriptedS3, client: HttpClient) -> None:
    """The parts of an upload end each other. The loop met one that had ended, and stopped."""
    server.respond_with(lambda _: ScriptedResponse(is_silent=True))
    both = [client.exchange(request_to(server.url + "/"), Answer()) for _ in range(2)]
    ends: list[Failure] = []

    def end_both(failure: Failure) -> None:
        ends.append(failure)
        for each in both:
            each.cancel()

    for each in both:
        each.addErrback(end_both)
    await server.arrived(2)
    await client.close()
    assert len(ends) == 2
    await server.all_gone()


@pytest_twisted.ensureDeferred
async def test_nothing_follows_what_was_closed(server: ScriptedS3, client: HttpClient) -> None:
    """The code that waited for the end of an exchange may begin another one, and must not."""
    server.script(ScriptedResponse(is_silent=True))
    waiting = client.exchange(request_to(server.url + "/"), Answer())
    following = waiting.addErrback(
        lambda failure: client.exchange(request_to(server.url + "/"), Answer())
    )
    await server.arrived(1)
    await client.close()
    with pytest.raises(ConnectFailed):
        await following
    await server.all_gone()
    assert server.connections == 1


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize("is_found", [True, False])
def test_there_is_a_connection_in_time_or_none(scheme: str, is_found: bool) -> None:
    """The resolver is silent, or the address that it finds."""
    reactor = MemoryReactorClock()
    if not is_found:
        reactor.installNameResolver(ScriptedNames(lambda _: None))
    client = HttpClient(
        reactor, places=ConnectionPlaces(free_work(reactor), 2), connect_timeout_seconds=7.0
    )
    waiting = client.exchange(request_to(f"{scheme}://store.example/"), Answer())
    failures: list[Failure] = []
    waiting.addErrback(failures.append)
    reactor.advance(7.0 + LOOKUP_SECONDS - 0.1)
    assert not failures
    assert len(reactor.tcpClients) == is_found
    reactor.advance(0.1)
    (failure,) = failures
    assert failure.check(ConnectFailed)
    assert "no connection within 17 seconds" in failure.getErrorMessage()
    assert not [call for call in reactor.getDelayedCalls() if call.active()]


@pytest_twisted.ensureDeferred
async def test_bodies_follow_each_other_on_one_encrypted_connection(
    certificate: Issued,
    ca_file: str,
) -> None:
    """The first one waits for the handshake and goes through Twisted; later ones do not."""
    from twisted.internet import reactor  # noqa: PLC0415

    server = ScriptedS3()
    port = TlsServer(server, certificate)
    await port.listen(reactor)
    client = HttpClient(
        reactor,
        places=ConnectionPlaces(free_work(reactor), 2),
        connect_timeout_seconds=10.0,
        find_authorities=lambda: Authorities(ca_file),
    )
    piece = bytes(range(251)) * 700
    bodies: list[Body] = [
        (piece, bytearray(piece), b"", memoryview(piece)[7:]) * 12,
        (),
        (b"small",),
        (piece * 20,),
        (b"tiny", piece * 9, bytearray(b"tail")) * 3,
    ]
    try:
        for body in bodies:
            server.script(ScriptedResponse(200))
            url = f"https://127.0.0.1:{port.port}/"
            await client.exchange(request_to(url, body), Answer())
        assert [each.body for each in server.requests] == [b"".join(body) for body in bodies]
        assert server.connections == 1
    finally:
        await client.close()
        await server.all_gone()
        await port.close()


class Hasty(TwistedProtocol):
    """Sends a success without a length, ends TLS, and still reads the rest of the request."""

    def __init__(self, gone: Deferred[None]) -> None:
        self._gone = gone

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._gone.callback(None)

    def dataReceived(self, data: bytes) -> None:
        if b"PUT" in data:
            self.transport.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\ndone")
            self.transport.loseConnection()


@pytest_twisted.ensureDeferred
async def test_an_early_success_is_none_over_tls_either(
    certificate: Issued,
    ca_file: str,
) -> None:
    """Bytes that are written after the end of TLS are dropped silently, and count as sent."""
    from twisted.internet import reactor  # noqa: PLC0415

    gone: Deferred[None] = Deferred()
    factory = Factory.forProtocol(lambda: Hasty(gone))  # type: ignore[arg-type]
    port = TlsServer(factory, certificate)
    await port.listen(reactor)
    client = HttpClient(
        reactor,
        places=ConnectionPlaces(free_work(reactor), 2),
        connect_timeout_seconds=10.0,
        find_authorities=lambda: Authorities(ca_file),
    )
    url = f"https://127.0.0.1:{port.port}/"
    try:
        with pytest.raises(ConnectionBroken):
            await client.exchange(request_to(url, (bytes(8_000_000),)), Answer())
    finally:
        await client.close()
        await gone
        await port.close()


class OtherTongue(TwistedProtocol):
    """Is no web server."""

    def dataReceived(self, data: bytes) -> None:
        self.transport.write(b"SSH-2.0-OpenSSH_9.9\r\n")

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.factory.gone.callback(None)  # type: ignore[union-attr]


@pytest_twisted.ensureDeferred
async def test_responses_that_are_no_http_fail_the_request(client: HttpClient) -> None:
    from twisted.internet import reactor  # noqa: PLC0415

    factory = Factory.forProtocol(OtherTongue)
    factory.gone = Deferred()  # type: ignore[attr-defined]
    port = reactor.listenTCP(0, factory, interface="127.0.0.1")
    host = f"127.0.0.1:{port.getHost().port}"  # type: ignore[attr-defined]
    try:
        with pytest.raises(NoHttp, match=f"{host} answers, but not in HTTP"):
            await client.exchange(request_to(f"http://{host}/"), Answer())
    finally:
        await client.close()
        await factory.gone  # type: ignore[attr-defined]
        await port.stopListening()


@pytest.mark.parametrize("is_trusted", [True, False])
@pytest_twisted.ensureDeferred
async def test_encryption_and_trust(certificate: Issued, ca_file: str, is_trusted: bool) -> None:
    from twisted.internet import reactor  # noqa: PLC0415

    server = ScriptedS3()
    port = TlsServer(server, certificate)
    await port.listen(reactor)
    client = HttpClient(
        reactor,
        places=ConnectionPlaces(free_work(reactor), 2),
        connect_timeout_seconds=10.0,
        find_authorities=lambda: Authorities(ca_file if is_trusted else ""),
    )
    body, answer = bytes(range(256)) * 4096, Answer()
    server.script(ScriptedResponse(200, body))
    url = f"https://127.0.0.1:{port.port}/"
    try:
        exchange = client.exchange(request_to(url, (body,)), answer)
        if is_trusted:
            await exchange
            assert (answer.body, server.requests[0].body) == (body, body)
        else:
            with pytest.raises(CertificateRefused):
                await exchange
            assert server.requests == []
    finally:
        await client.close()
        await server.all_gone()
        await port.close()


def responding(*, slow_seconds: float = 10.0) -> tuple[MemoryReactorClock, Any, list[Failure]]:
    """An exchange whose response has begun: the reactor, the connection, and how it has failed."""
    reactor = MemoryReactorClock()
    client = HttpClient(
        reactor, places=ConnectionPlaces(free_work(reactor), 2), connect_timeout_seconds=7.0
    )
    url = "http://127.0.0.1/"
    request = replace(request_to(url), method="GET", response_timeout_seconds=slow_seconds)
    failures: list[Failure] = []
    client.exchange(request, Answer()).addErrback(failures.append)
    ((_, _, factory, _, _),) = reactor.tcpClients
    connection = factory.buildProtocol(None)
    connection.makeConnection(StringTransport())
    connection.dataReceived(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
    return reactor, connection, failures


@pytest.mark.parametrize(
    ("piece_bytes", "goes_on"), [(1, False), (LEAST_BYTES // 20, False), (LEAST_BYTES // 5, True)]
)
def test_a_body_that_only_trickles_is_given_up(piece_bytes: int, goes_on: bool) -> None:
    """A byte every few seconds kept a request, its place and its memory for ever."""
    reactor, connection, failures = responding()
    for _ in range(20):
        reactor.advance(1.0)
        if not failures:
            connection.dataReceived(bytes(piece_bytes))
    assert bool(failures) is not goes_on
    assert all(failure.check(ExchangeTimedOut) for failure in failures)


def test_a_store_that_copies_may_send_a_space_now_and_then() -> None:
    reactor, connection, failures = responding(slow_seconds=300.0)
    for _ in range(200):
        reactor.advance(9.0)
        connection.dataReceived(b" ")
    assert not failures
    reactor.advance(10.0)
    assert failures
