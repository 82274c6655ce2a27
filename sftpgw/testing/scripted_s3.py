"""An HTTP server that responds as a test has scripted, for faults that moto does not show.

Knows: HTTP, and how a server misbehaves: cut bodies, stalls, resets, early errors.
Must not know: S3. What it says is the test's business.

    server = await ScriptedS3.listen(reactor)
    server.script(scripted_error(503, "SlowDown"), ScriptedResponse(200))
    ... requests to server.url ...
    server.requests[0].method
    await server.close()

Each request gets the next response of the script. When the script is empty, the handler of
`respond_with` responds; without one the status is 599, which has no other meaning. The HTTP is
implemented here: a correct server cannot be made to be wrong.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any
from xml.sax.saxutils import escape

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.endpoints import TCP4ServerEndpoint
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure

NO_HEADERS: Mapping[str, str] = {}


@dataclass(frozen=True)
class ScriptedResponse:
    """One response, or its absence.

    :param status: the HTTP status.
    :param body: the body.
    :param headers: further headers.
    :param length: the value of ``Content-Length``, if it is not that of the body.
    :param is_chunked: send no length, and the body in chunks.
    :param cut_after_bytes: close the connection after so many bytes of the body.
    :param stalls: after `cut_after_bytes` send nothing more, and leave the connection open.
    :param is_silent: never respond.
    :param is_reset: drop the connection instead.
    :param is_early: respond when the head of the request has arrived, and do not read its body.
    """

    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=lambda: NO_HEADERS)
    length: int | None = None
    is_chunked: bool = False
    cut_after_bytes: int | None = None
    stalls: bool = False
    is_silent: bool = False
    is_reset: bool = False
    is_early: bool = False


@dataclass(frozen=True)
class RecordedRequest:
    """A request as it arrived; header names in lower case."""

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes


def scripted_error(
    status: int,
    code: str,
    headers: Mapping[str, str] = NO_HEADERS,
    *,
    region: str = "",
    message: str = "scripted",
) -> ScriptedResponse:
    """A response with S3's ``<Error>`` document."""
    return ScriptedResponse(status, error_document(code, region, message), headers)


def error_document(code: str, region: str = "", message: str = "scripted") -> bytes:
    """S3's ``<Error>`` document.

    :param code: S3's error code.
    :param region: the region that it names as the bucket's.
    :param message: the text for people.
    """
    element = f"<Region>{escape(region)}</Region>" if region else ""
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        f"<Error><Code>{escape(code)}</Code><Message>{escape(message)}</Message>{element}"
        "<RequestId>REQUEST1</RequestId></Error>"
    ).encode()


class ScriptedS3(Factory):
    """The server; `listen` makes it."""

    noisy = False

    def __init__(self) -> None:
        self.requests: list[RecordedRequest] = []
        self.connections = 0
        self.url = ""
        self._script: deque[ScriptedResponse] = deque()
        self._disturbances: list[tuple[Callable[[RecordedRequest], bool], ScriptedResponse]] = []
        self._handler: Callable[
            [RecordedRequest], ScriptedResponse | Deferred[ScriptedResponse]
        ] = _nothing_scripted
        self._open: set[_Connection] = set()
        self._port: Any = None
        self._is_away = False
        self._arrivals: list[tuple[int, Deferred[None]]] = []
        self._all_gone: Deferred[None] | None = None

    @classmethod
    async def listen(cls, reactor: Any) -> ScriptedS3:
        """A server on a free port of the loopback interface."""
        server = cls()
        server._port = await TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1").listen(server)
        server.url = f"http://127.0.0.1:{server._port.getHost().port}"
        return server

    def script(self, *responses: ScriptedResponse) -> None:
        """Respond to the next requests with `responses`, one each."""
        self._script.extend(responses)

    def respond_with(
        self, handler: Callable[[RecordedRequest], ScriptedResponse | Deferred[ScriptedResponse]]
    ) -> None:
        """Let `handler` respond to requests for which nothing is scripted."""
        self._handler = handler

    def disturb(
        self, concerns: Callable[[RecordedRequest], bool], *responses: ScriptedResponse
    ) -> None:
        """Respond with `responses` to the next requests for which `concerns` is true.

        :param concerns: sees the request without its body.
        :param responses: the responses, one for each such request.
        """
        self._disturbances.extend((concerns, response) for response in responses)

    @property
    def undisturbed(self) -> int:
        """How many of the responses of `disturb` are still unused."""
        return len(self._disturbances)

    def arrived(self, count: int) -> Deferred[None]:
        """Fires when `count` requests have arrived since the start."""
        arrival: Deferred[None] = Deferred()
        self._arrivals.append((count, arrival))
        self._tell_arrivals()
        return arrival

    def go_away(self) -> None:
        """Drop every connection, and each new one as soon as it is made.

        The port is kept: another process might take it before `come_back`.
        """
        self._is_away = True
        for connection in tuple(self._open):
            connection.abort()

    def come_back(self) -> None:
        """Be a server again."""
        self._is_away = False

    async def close(self) -> None:
        """Stop listening, drop every connection; returns when they are gone."""
        await maybeDeferred(self._port.stopListening)
        await self.all_gone(drop=True)

    async def all_gone(self, *, drop: bool = False) -> None:
        """Returns when no connection is left."""
        for connection in tuple(self._open) if drop else ():
            connection.abort()
        if self._open:
            self._all_gone = Deferred()
            await self._all_gone

    # For the connections.

    def buildProtocol(self, addr: object) -> _Connection | None:
        if self._is_away:
            return None
        connection = _Connection(self)
        self._open.add(connection)
        self.connections += 1
        return connection

    def next_response(self, head: RecordedRequest) -> ScriptedResponse | None:
        """The response that is due; None: ask `handle` when the body has arrived."""
        for disturbance in self._disturbances:
            concerns, response = disturbance
            if concerns(head):
                self._disturbances.remove(disturbance)
                return response
        return self._script.popleft() if self._script else None

    def handle(self, request: RecordedRequest) -> ScriptedResponse | Deferred[ScriptedResponse]:
        return self._handler(request)

    def record(self, request: RecordedRequest) -> None:
        self.requests.append(request)
        self._tell_arrivals()

    def closed(self, connection: _Connection) -> None:
        self._open.discard(connection)
        if self._all_gone is not None and not self._open:
            gone, self._all_gone = self._all_gone, None
            gone.callback(None)

    def _tell_arrivals(self) -> None:
        due = [pair for pair in self._arrivals if pair[0] <= len(self.requests)]
        self._arrivals = [pair for pair in self._arrivals if pair not in due]
        for _, arrival in due:
            arrival.callback(None)


class _Connection(Protocol):
    """Reads one request after the other and responds from the script."""

    transport: Any

    def __init__(self, owner: ScriptedS3) -> None:
        self._owner = owner
        self._buffer = bytearray()
        self._head: RecordedRequest | None = None  # of the request that is being read, …
        self._response: ScriptedResponse | None = None  # … and its response
        self._is_deaf = False

    def abort(self) -> None:
        self.transport.abortConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._owner.closed(self)

    def dataReceived(self, data: bytes) -> None:
        self._buffer += data
        while not self._is_deaf and self._has_head():
            head = self._head
            assert head is not None
            length = int(head.headers.get("content-length", "0"))
            if len(self._buffer) < length and not (self._response and self._response.is_early):
                return
            request = replace(head, body=bytes(self._buffer[:length]))
            del self._buffer[:length]
            response = self._response or self._owner.handle(request)
            self._head = self._response = None
            self._owner.record(request)
            if isinstance(response, Deferred):
                response.addCallback(partial(self._respond, head.method))
            else:
                self._respond(head.method, response)

    def _has_head(self) -> bool:
        """Read a head if there is one; what it will get is decided before the body comes."""
        if self._head is None and b"\r\n\r\n" in self._buffer:
            raw_head, _, rest = self._buffer.partition(b"\r\n\r\n")
            self._buffer = rest
            self._head = _parsed(bytes(raw_head))
            self._response = self._owner.next_response(self._head)
        return self._head is not None

    def _respond(self, method: str, response: ScriptedResponse) -> None:
        self._is_deaf = response.is_early or response.is_silent
        if response.is_reset:
            self.abort()
        elif not response.is_silent:
            self._write(method, response)
        if response.is_early:
            self.transport.pauseProducing()

    def _write(self, method: str, response: ScriptedResponse) -> None:
        body = b"" if method == "HEAD" else response.body
        length = len(response.body) if response.length is None else response.length
        lines = [f"HTTP/1.1 {response.status} Scripted"]
        lines.append(
            "Transfer-Encoding: chunked" if response.is_chunked else f"Content-Length: {length}"
        )
        if response.is_chunked and method != "HEAD":
            body = b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
        lines += [f"{name}: {value}" for name, value in response.headers.items()]
        self.transport.write("\r\n".join([*lines, "", ""]).encode())
        self.transport.write(body[: response.cut_after_bytes])
        if response.cut_after_bytes is not None and not response.stalls:
            self.transport.loseConnection()


def _nothing_scripted(request: RecordedRequest) -> ScriptedResponse:
    return ScriptedResponse(599, b"nothing is scripted")


def _parsed(head: bytes) -> RecordedRequest:
    """A request's head, strict where a real server would be."""
    first, *lines = head.decode("ascii").split("\r\n")
    method, target, version = first.split(" ")
    if version != "HTTP/1.1":
        raise ValueError(version)
    pairs = (line.split(": ", 1) for line in lines)
    return RecordedRequest(method, target, {name.lower(): value for name, value in pairs}, b"")
