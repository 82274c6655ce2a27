"""Counts connections from their making to their end.

Knows: Twisted's endpoints and protocol wrappers.
Must not know: HTTP.

Twisted's pool knows only of connections that idle. To leave the reactor clean
one must also wait for those that are in use or on their way out.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IProtocolFactory, IStreamClientEndpoint
from twisted.internet.protocol import connectionDone
from twisted.protocols.policies import ProtocolWrapper, WrappingFactory
from twisted.python.failure import Failure
from zope.interface import implementer

from sftpgw.aio.notifier import Notifier
from sftpgw.http.tls import tcp_below
from sftpgw.model.units import KIB, MIB

RECEIVED_BYTES = 256 * KIB
"""What is taken from TCP at a time. Each time costs a round of the reactor; Twisted has 64 KiB."""

SENT_BYTES = 1 * MIB
"""What the kernel is given at a time, of what Twisted's TLS has written. Twisted has 128 KiB."""


class Connections:
    """The connections that are not gone yet, idle, in use or closing."""

    def __init__(self) -> None:
        self._open: set[object] = set()
        self._last_gone = Notifier()

    def came(self, connection: object) -> None:
        self._open.add(connection)

    def went(self, connection: object) -> None:
        self._open.discard(connection)
        if not self._open:
            self._last_gone.notify_all()

    async def all_gone(self) -> None:
        if self._open:
            await self._last_gone.wait()


class _CountedConnection(ProtocolWrapper):
    """A connection that says when it is gone; the pool only knows of those that idle."""

    factory: _CountingFactory

    def makeConnection(self, transport: Any) -> None:
        tcp = tcp_below(transport)
        tcp.bufferSize = RECEIVED_BYTES
        tcp.SEND_LIMIT = SENT_BYTES
        super().makeConnection(transport)  # type: ignore[no-untyped-call]

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        super().connectionLost(reason)  # type: ignore[no-untyped-call]
        self.factory.connections.went(self)


class _CountingFactory(WrappingFactory):
    protocol = _CountedConnection
    noisy = False

    def __init__(self, wrapped: IProtocolFactory, connections: Connections) -> None:
        super().__init__(wrapped)  # type: ignore[no-untyped-call]
        self.connections = connections

    def registerProtocol(self, connection: _CountedConnection) -> None:
        super().registerProtocol(connection)  # type: ignore[no-untyped-call]
        self.connections.came(connection)


@implementer(IStreamClientEndpoint)
class CountedEndpoint:
    """An endpoint whose connections are counted, unseen by its callers."""

    def __init__(self, endpoint: IStreamClientEndpoint, connections: Connections) -> None:
        self._endpoint = endpoint
        self._connections = connections

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[Any]:
        quiet: Any = protocolFactory
        quiet.noisy = False  # or it logs a line for each connection
        factory = _CountingFactory(protocolFactory, self._connections)
        connecting: Deferred[Any] = self._endpoint.connect(factory)
        return connecting.addCallback(_wrapped)


def _wrapped(connection: Any) -> Any:
    return connection.wrappedProtocol
