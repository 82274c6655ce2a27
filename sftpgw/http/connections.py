"""Counts connections from the moment they are made until they are gone, and lets what arrives on
them wait for its turn.

Knows: Twisted's endpoints and protocol wrappers, and whose response is due on a connection.
Must not know: HTTP, but that a response has a head.

Twisted's pool knows only idle connections. To leave the reactor clean, the gateway must also wait
for those that are in use or closing. All bytes of a response come through here, so this is where
its head is counted (`http/response_head`).

A response may cause any amount of work: the request that waits for it goes on at once. So what
arrives waits for its turn (`aio/work`), and TCP holds back what the store sends meanwhile. The body
of an object waits in the kernel.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IProtocolFactory, IStreamClientEndpoint
from twisted.internet.protocol import connectionDone
from twisted.protocols.policies import ProtocolWrapper, WrappingFactory
from twisted.python.failure import Failure
from zope.interface import implementer

from sftpgw.aio.notifier import Notifier
from sftpgw.aio.work.scheduler import WorkScheduler
from sftpgw.aio.work.socket_reads import SocketReads
from sftpgw.http.response_head import PIECE_BYTES, ResponseHead
from sftpgw.http.tls import tcp_under
from sftpgw.model.units import KIB, MIB

RECEIVED_BYTES = 256 * KIB
"""How much is read from TCP at a time. Each time costs an iteration of the reactor; Twisted reads
64 KiB."""

QUIESCENT = "QUIESCENT"
"""The state of Twisted's ``HTTP11ClientProtocol`` while no response is due."""

SENT_BYTES = 1 * MIB
"""How much of the output of Twisted's TLS the kernel gets at a time. Twisted sends 128 KiB."""


class Connections:
    """The connections that are not gone yet, idle, in use or closing.

    :param work: hands out CPU time to what arrives on them.
    :param all_of_them: counts those of all origins; None: this does.
    :ivar work: the same.
    """

    def __init__(self, work: WorkScheduler, all_of_them: Connections | None = None) -> None:
        self.work = work
        self._all = all_of_them
        self._open: set[object] = set()
        self._last_gone = Notifier()

    @property
    def count(self) -> int:
        """How many there are."""
        return len(self._open)

    def add(self, connection: object) -> None:
        """The connection is made."""
        self._open.add(connection)
        if self._all is not None:
            self._all.add(connection)

    def remove(self, connection: object) -> None:
        """The connection is gone."""
        self._open.discard(connection)
        if not self._open:
            self._last_gone.notify_all()
        if self._all is not None:
            self._all.remove(connection)

    async def all_gone(self) -> None:
        """Wait until no connection is left."""
        if self._open:
            await self._last_gone.wait()


class _CountedConnection(ProtocolWrapper):
    """A connection that reports its end, and counts the heads of responses."""

    factory: _CountingFactory
    _head: ResponseHead | None = None
    _on_excess: Callable[[str], None]
    wrappedProtocol: Any
    transport: Any
    _reads: SocketReads

    def __init__(self, factory: _CountingFactory, wrappedProtocol: Any) -> None:
        super().__init__(factory, wrappedProtocol)  # type: ignore[arg-type]
        self._turns = factory.connections.work.turns(
            ("", "", ""), "responses", self._deliver, on_failure=self._abort
        )
        self._arrived = b""
        self._is_paused = False  # by the protocol
        self._is_in_use = False
        self._lost: Failure | None = None

    def serve(self, user: str) -> None:
        """From now on, responses are for this user."""
        self._is_in_use = True
        self._turns.path = (user, "", f"response {id(self)}")

    def rest(self) -> None:
        """No request is under way any more."""
        self._is_in_use = False
        protocol = self.wrappedProtocol
        if self._lost is not None and protocol is not None and protocol.state == QUIESCENT:
            protocol.abort()  # it is in the pool already, and has not learnt of its end

    def dataReceived(self, data: bytes) -> None:
        """Hand data to the protocol, now or when it is its turn."""
        self._arrived = self._arrived + data if self._arrived else data
        self._reads.has_more = len(data) >= RECEIVED_BYTES
        if not self._is_in_use:
            self._take_unwanted()
            return
        self._turns.ask()
        if self._turns.is_waiting:
            self._reads.hold()

    def _take_unwanted(self) -> None:
        """Take what no request waits for, without a turn: it is thrown away.

        It is the rest of a response, or follows none: so S3 says that it ends an idle connection.
        The next request would take that for its response, and must get another connection.
        """
        if self.wrappedProtocol.state == QUIESCENT:
            self._arrived = b""
            self.wrappedProtocol.abort()
        self._turns.leave()
        self._deliver()

    def _deliver(self) -> None:
        data, self._arrived = self._arrived, b""
        if data:
            self._hand_over(data)
        if self._lost is not None:
            self._lose(self._lost)
        elif self._reads.is_held:
            self._reads.go_on()

    def _may_read(self) -> bool:
        return not (self._is_paused or self._turns.is_waiting)

    def _may_stay(self) -> bool:
        """Only more of a body. The kernel drops an early answer if the store resets the
        connection, and the end of an idle connection must be known before its next request."""
        return self._is_in_use and self._head is None

    def _abort(self) -> None:
        """Nothing more can be handed over. Twisted does the same when `dataReceived` raises."""
        if self._lost is None:
            self.transport.abortConnection()
        else:
            self._lose(self._lost)

    def _hand_over(self, data: bytes) -> None:
        if self._head is None:
            self.wrappedProtocol.dataReceived(data)
        else:
            self._head_received(data)

    def pauseProducing(self) -> None:
        """The protocol takes no data now."""
        self._is_paused = True
        self.transport.pauseProducing()

    def resumeProducing(self) -> None:
        """The protocol takes data again."""
        self._is_paused = False
        if not self._reads.is_held:
            self.transport.resumeProducing()

    def makeConnection(self, transport: Any) -> None:
        tcp = tcp_under(transport)
        tcp.bufferSize = RECEIVED_BYTES
        tcp.SEND_LIMIT = SENT_BYTES
        self._reads = SocketReads(tcp, self._turns, self._may_read, self._may_stay)
        super().makeConnection(transport)  # type: ignore[no-untyped-call]

    def expect_head(self, on_excess: Callable[[str], None]) -> None:
        """The head of a response comes next.

        :param on_excess: is called with what there is too much of; it drops the connection.
        """
        self._head = ResponseHead()
        self._on_excess = on_excess

    def end_head(self) -> None:
        """The head has come."""
        self._head = None

    def _head_received(self, data: bytes) -> None:
        at, head = 0, self._head
        while at < len(data) and head is not None and self._head is head:
            piece = data[at : at + PIECE_BYTES]
            at += PIECE_BYTES
            self.wrappedProtocol.dataReceived(piece)
            if self._head is head and (excess := head.take(piece)):
                self._head = None
                self._on_excess(excess)
                return
        if at >= len(data):
            return
        if self._head is None:
            self.wrappedProtocol.dataReceived(data[at:])
        else:
            # The response has ended, and the next request has begun: it is not the answer to that.
            self.abortConnection()

    def abortConnection(self) -> None:
        """Drop the connection. Twisted's TLS cannot do that once it is lost."""
        if self._lost is None:
            self.transport.abortConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """End what is under way when it is its turn: a store that goes away ends hundreds at once.

        The pool learns of an idle connection at once, or it would use it again.
        """
        self._lost = reason
        self._reads.end()
        if self._is_in_use:
            self._turns.ask()
        else:
            self._turns.leave()
            self._deliver()

    def _lose(self, reason: Failure) -> None:
        self._turns.end()
        self._on_excess = _ignore  # which led to the last exchange
        try:
            super().connectionLost(reason)  # type: ignore[no-untyped-call]
        finally:
            self.factory.connections.remove(self)


class _CountingFactory(WrappingFactory):
    protocol = _CountedConnection
    noisy = False

    def __init__(self, wrapped: IProtocolFactory, connections: Connections) -> None:
        super().__init__(wrapped)  # type: ignore[no-untyped-call]
        self.connections = connections

    def registerProtocol(self, connection: _CountedConnection) -> None:
        super().registerProtocol(connection)  # type: ignore[no-untyped-call]
        self.connections.add(connection)


@implementer(IStreamClientEndpoint)
class CountedEndpoint:
    """An endpoint whose connections are counted.

    :param endpoint: makes the connections.
    :param connections: counts them.
    """

    def __init__(self, endpoint: IStreamClientEndpoint, connections: Connections) -> None:
        self._endpoint = endpoint
        self._connections = connections

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[Any]:
        quiet: Any = protocolFactory
        quiet.noisy = False  # else Twisted logs a line for each connection
        factory = _CountingFactory(protocolFactory, self._connections)
        connecting: Deferred[Any] = self._endpoint.connect(factory)
        return connecting.addCallback(_wrapped)


def _ignore(excess: str) -> None:
    """A connection that is gone is not dropped."""


def _wrapped(connection: Any) -> Any:
    return connection.wrappedProtocol
