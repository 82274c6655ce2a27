"""An HTTP server that answers as a test has written down, for faults that moto does not show.

Knows: HTTP, and how a server misbehaves: cut bodies, stalls, resets, early refusals.
Must not know: S3. What it says is the test's business.

    server = await ScriptedS3.listen(reactor)
    server.script(Reply(503, body=b"<Error>...", headers={"retry-after": "1"}), Reply(200))
    ... requests to server.url ...
    server.requests[0].method
    await server.close()

Each request takes the next reply; one more than scripted is answered by what
`answer_with` was given, or 599, which has no other meaning. The HTTP is our
own: a server made to be right does not lend itself to being wrong.
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
class Reply:
    """One answer, or the lack of it.

    :param length: what ``Content-Length`` promises instead of the body's.
    :param is_chunked: tell no length, and send the body in chunks.
    :param cut_after_bytes: close the connection after so much of the body.
    :param stalls: send what there is to send of the body, and then nothing, for ever.
    :param is_silent: never answer at all.
    :param is_reset: drop the connection instead of answering.
    :param is_early: answer when the request's headers are there, and read no body.
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
class Recorded:
    """A request as it came in; header names in lower case."""

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes


def error_reply(
    status: int,
    code: str,
    headers: Mapping[str, str] = NO_HEADERS,
    *,
    region: str = "",
    message: str = "scripted",
) -> Reply:
    """A reply with S3's ``<Error>`` document."""
    return Reply(status, error_document(code, region, message), headers)


def error_document(code: str, region: str = "", message: str = "scripted") -> bytes:
    """S3's ``<Error>`` document; `region` is where it says that the bucket is."""
    place = f"<Region>{escape(region)}</Region>" if region else ""
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        f"<Error><Code>{escape(code)}</Code><Message>{escape(message)}</Message>{place}"
        "<RequestId>REQUEST1</RequestId></Error>"
    ).encode()


class ScriptedS3(Factory):
    """The server. Made by `listen`."""

    noisy = False

    def __init__(self) -> None:
        self.requests: list[Recorded] = []
        self.connections = 0
        self.url = ""
        self._script: deque[Reply] = deque()
        self._disturbances: list[tuple[Callable[[Recorded], bool], Reply]] = []
        self._handler: Callable[[Recorded], Reply | Deferred[Reply]] = _nothing_scripted
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

    def script(self, *replies: Reply) -> None:
        """Answer the next requests like this."""
        self._script.extend(replies)

    def answer_with(self, handler: Callable[[Recorded], Reply | Deferred[Reply]]) -> None:
        """Answer like this what nothing is scripted for, now or later."""
        self._handler = handler

    def disturb(self, concerns: Callable[[Recorded], bool], *replies: Reply) -> None:
        """Answer the next requests like this that `concerns` is true of, told before the body."""
        self._disturbances.extend((concerns, reply) for reply in replies)

    @property
    def undisturbed(self) -> int:
        """How many disturbances no request has met yet."""
        return len(self._disturbances)

    def arrived(self, count: int) -> Deferred[None]:
        """Fires when `count` requests have come in altogether."""
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

    def next_reply(self, head: Recorded) -> Reply | None:
        """What to answer; None: ask `handle` when the body is there."""
        for disturbance in self._disturbances:
            concerns, reply = disturbance
            if concerns(head):
                self._disturbances.remove(disturbance)
                return reply
        return self._script.popleft() if self._script else None

    def handle(self, request: Recorded) -> Reply | Deferred[Reply]:
        return self._handler(request)

    def record(self, request: Recorded) -> None:
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
    """Reads one request after the other and answers from the script."""

    transport: Any

    def __init__(self, owner: ScriptedS3) -> None:
        self._owner = owner
        self._buffer = bytearray()
        self._head: Recorded | None = None  # of the request that is being read, …
        self._reply: Reply | None = None  # … and what it will get
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
            if len(self._buffer) < length and not (self._reply and self._reply.is_early):
                return
            request = replace(head, body=bytes(self._buffer[:length]))
            del self._buffer[:length]
            reply = self._reply or self._owner.handle(request)
            self._head = self._reply = None
            self._owner.record(request)
            if isinstance(reply, Deferred):
                reply.addCallback(partial(self._answer, head.method))
            else:
                self._answer(head.method, reply)

    def _has_head(self) -> bool:
        """Read a head if there is one; what it will get is decided before the body comes."""
        if self._head is None and b"\r\n\r\n" in self._buffer:
            raw_head, _, rest = self._buffer.partition(b"\r\n\r\n")
            self._buffer = rest
            self._head = _parsed(bytes(raw_head))
            self._reply = self._owner.next_reply(self._head)
        return self._head is not None

    def _answer(self, method: str, reply: Reply) -> None:
        self._is_deaf = reply.is_early or reply.is_silent
        if reply.is_reset:
            self.abort()
        elif not reply.is_silent:
            self._write(method, reply)
        if reply.is_early:
            self.transport.pauseProducing()

    def _write(self, method: str, reply: Reply) -> None:
        body = b"" if method == "HEAD" else reply.body
        length = len(reply.body) if reply.length is None else reply.length
        lines = [f"HTTP/1.1 {reply.status} Scripted"]
        lines.append(
            "Transfer-Encoding: chunked" if reply.is_chunked else f"Content-Length: {length}"
        )
        if reply.is_chunked and method != "HEAD":
            body = b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
        lines += [f"{name}: {value}" for name, value in reply.headers.items()]
        self.transport.write("\r\n".join([*lines, "", ""]).encode())
        self.transport.write(body[: reply.cut_after_bytes])
        if reply.cut_after_bytes is not None and not reply.stalls:
            self.transport.loseConnection()


def _nothing_scripted(request: Recorded) -> Reply:
    return Reply(599, b"nothing is scripted")


def _parsed(head: bytes) -> Recorded:
    """A request's head, strict where a real server would be."""
    first, *lines = head.decode("ascii").split("\r\n")
    method, target, version = first.split(" ")
    if version != "HTTP/1.1":
        raise ValueError(version)
    pairs = (line.split(": ", 1) for line in lines)
    return Recorded(method, target, {name.lower(): value for name, value in pairs}, b"")
