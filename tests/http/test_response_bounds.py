"""Responses that never come to an end, or cost more than they are worth."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
import pytest_twisted
from twisted.internet.defer import Deferred
from twisted.internet.protocol import Factory, connectionDone
from twisted.internet.protocol import Protocol as TwistedProtocol
from twisted.python.failure import Failure

from sftpgw.http.client import ConnectionBroken, ConnectionPlaces, HttpClient, HttpRequest, NoHttp
from sftpgw.http.response_head import MAX_HEAD_BYTES, PIECE_BYTES
from sftpgw.testing.cpu_clocks import free_work
from tests.http.answers import Answer

OK = b"HTTP/1.1 200 OK\r\n"
EMPTY = b"Content-Length: 0\r\n\r\n"


class Raw(Factory):
    """Sends the same bytes in response to each request."""

    noisy = False

    def __init__(self, response: bytes) -> None:
        self.response = response
        self.connections = 0
        self.gone: Deferred[None] = Deferred()

    def buildProtocol(self, addr: object) -> RawConnection:
        self.connections += 1
        connection = RawConnection()
        connection.factory = self
        return connection


class RawConnection(TwistedProtocol):
    factory: Raw

    def dataReceived(self, data: bytes) -> None:
        self.transport.write(self.factory.response)  # type: ignore[union-attr]

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if not self.factory.gone.called:
            self.factory.gone.callback(None)


@pytest.fixture
def client() -> Iterator[HttpClient]:
    from twisted.internet import reactor  # noqa: PLC0415

    client = HttpClient(
        reactor, places=ConnectionPlaces(free_work(reactor), 2), connect_timeout_seconds=10.0
    )
    yield client
    pytest_twisted.blockon(Deferred.fromCoroutine(client.close()))


async def ask(client: HttpClient, response: bytes, method: str = "GET", times: int = 1) -> Answer:
    """Send a request to a server that sends `response`."""
    from twisted.internet import reactor  # noqa: PLC0415

    factory, answer = Raw(response), Answer()
    port = reactor.listenTCP(0, factory, interface="127.0.0.1")
    host = f"127.0.0.1:{port.getHost().port}"  # type: ignore[attr-defined]
    try:
        for _ in range(times):
            request = HttpRequest(method, f"http://{host}/", (("Host", host),), (), 10.0, 10.0)
            await client.exchange(request, answer)
        assert factory.connections == 1
    finally:
        await client.close()
        await factory.gone
        await port.stopListening()
    return answer


def many(line: Callable[[int], bytes], count: int) -> bytes:
    return b"".join(map(line, range(count)))


@pytest.mark.parametrize(
    ("response", "reason"),
    [
        (OK + many(lambda n: b"X-%d: %s\r\n" % (n, b"x" * 1000), 100), "headers of over 65536"),
        (OK + b"X: y\r\n" + b" folded\r\n" * 10_000, "headers of over 65536|over 1000 lines"),
        (OK + many(lambda n: b"a%d:\n" % n, 40_000), "over 1000 lines of headers"),
        (b"HTTP/1.1 100 Continue\r\n\r\n" * 20_000, "over 20 responses without a final status"),
        (b"HTTP/1.1 103 Early\r\nX: y\r\n\r\n" * 20_000, "over 20 responses without a final"),
        (b"HTTP/1.1 700 What\r\n" + EMPTY, "sends the status 700"),
        (b"HTTP/1.1 99999999999999999999 What\r\n" + EMPTY, "sends the status 9999999"),
        (b"HTTP/1.1 -5 What\r\n" + EMPTY, "sends the status -5"),
        (OK + b"Content-Length: 99999999999999999999999999\r\n\r\n", "the length 99999999"),
        (OK + b"Transfer-Encoding: chunked\r\n\r\n" + b"1\r\nx\r\n" * 50_000, "over 10000 chunks"),
    ],
)
@pytest_twisted.ensureDeferred
async def test_a_response_is_given_up(client: HttpClient, response: bytes, reason: str) -> None:
    with pytest.raises(NoHttp, match=reason):
        await ask(client, response)


@pytest.mark.parametrize(
    "trailer",
    [
        b"0\r\n" + b"X: y\r\n" * 20_000 + b"\r\n",  # trailers of 120,000 bytes
        b"1" + b";x=y" * 1000 + b"\r\nx\r\n0\r\n\r\n",  # a chunk extension of 4,000 bytes
    ],
)
@pytest_twisted.ensureDeferred
async def test_twisted_bounds_what_chunks_bring_along(client: HttpClient, trailer: bytes) -> None:
    """If it ever does not, this is for us to do."""
    with pytest.raises(ConnectionBroken):
        await ask(client, OK + b"Transfer-Encoding: chunked\r\n\r\n" + trailer)


@pytest_twisted.ensureDeferred
async def test_what_is_within_bounds_is_read_on_one_connection(client: HttpClient) -> None:
    head = b"HTTP/1.1 103 Early\r\nLink: </>\r\n\r\n" * 20
    head += OK + many(lambda n: b"X-%d: %s\r\n" % (n, b"x" * 300), 150)
    assert MAX_HEAD_BYTES * 2 // 3 < len(head) < MAX_HEAD_BYTES
    body = b"\n" * 300_000
    answer = await ask(client, head + b"Content-Length: 300000\r\n\r\n" + body, times=3)
    assert answer.status == 200
    assert len(answer.body) == 900_000
    assert answer.headers.hasHeader(b"x-149")


@pytest.mark.parametrize("over_bytes", [-1, 0, 1, 2, 3, 4])
@pytest_twisted.ensureDeferred
async def test_a_head_may_end_anywhere_in_a_piece(client: HttpClient, over_bytes: int) -> None:
    head = OK + b"Content-Length: 5\r\nX: \r\n\r\n"
    filling = b"x" * (PIECE_BYTES + over_bytes - len(head))
    answer = await ask(client, head.replace(b"X: ", b"X: " + filling) + b"hello", times=2)
    assert len(answer.body) == 10
