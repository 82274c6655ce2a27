"""Connecting to a host that has several addresses, with a bounded number of sockets.

Knows: Twisted's endpoint, and which attempts to connect are under way.
Must not know: what a connection is for.

Twisted tries the next address every 0.3 seconds while the last one has not answered (RFC 8305,
"Happy Eyeballs"), so that an address that leads nowhere costs little time. But each attempt has a
socket: a store with 16 addresses that does not answer would take 16 for each request, and a process
has reckoned with one. So all of them together have a few more; without one of these, the next
attempt takes the place of the oldest.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import HostnameEndpoint
from twisted.internet.interfaces import (
    IAddress,
    IConnector,
    IProtocol,
    IProtocolFactory,
    IReactorPluggableNameResolver,
    IStreamClientEndpoint,
)
from twisted.internet.protocol import ClientFactory
from twisted.python.failure import Failure
from zope.interface import implementer

MORE_ATTEMPTS = 32
"""How many sockets all attempts together may have beside the first one for each connection."""


class MoreAttempts:
    """The attempts under way beside the first one for each connection.

    :param most: how many there may be.
    :ivar count: how many there are.
    """

    def __init__(self, most: int = MORE_ATTEMPTS) -> None:
        self.most = most
        self.count = 0


@implementer(IStreamClientEndpoint)
class BoundedHostEndpoint:
    """An endpoint that connects as `HostnameEndpoint` does, with a bounded number of sockets.

    :param reactor: connects.
    :param host: the name or the address of the host.
    :param port: its port.
    :param timeout: how long an attempt may take, seconds.
    :param more: what all connections share.
    """

    def __init__(
        self, reactor: Any, host: str, port: int, timeout: float, more: MoreAttempts
    ) -> None:
        self._reactor = reactor
        self._host = host
        self._port = port
        self._timeout_seconds = timeout
        self._more = more

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:
        """Connect to the first address that answers."""
        attempts: Any = _ConnectAttempts(self._reactor, self._more)
        endpoint = HostnameEndpoint(attempts, self._host, self._port, timeout=self._timeout_seconds)
        return endpoint.connect(protocolFactory)


@implementer(IReactorPluggableNameResolver)
class _ConnectAttempts:
    """The attempts for one connection, in place of the reactor."""

    def __init__(self, reactor: Any, more: MoreAttempts) -> None:
        self._reactor = reactor
        self._more = more
        self._under_way: dict[_ConnectAttempt, None] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._reactor, name)

    def connectTCP(
        self,
        host: str,
        port: int,
        factory: ClientFactory,
        timeout: float = 30,
        bindAddress: tuple[str, int] | None = None,
    ) -> IConnector:
        """Begin an attempt, instead of the oldest one if there may not be more of them."""
        if self._under_way and self._more.count >= self._more.most:
            next(iter(self._under_way)).stop()
        attempt = _ConnectAttempt(factory, self)
        if self._under_way:
            self._more.count += 1
        self._under_way[attempt] = None
        connector: IConnector = self._reactor.connectTCP(host, port, attempt, timeout, bindAddress)
        return connector

    def ended(self, attempt: _ConnectAttempt) -> None:
        """An attempt has a connection, or none."""
        if attempt in self._under_way:
            del self._under_way[attempt]
            if self._under_way:
                self._more.count -= 1


class _ConnectAttempt(ClientFactory):
    """The factory of one attempt; it tells when the attempt is over.

    :param factory: makes the protocol.
    :param attempts: is told.
    """

    noisy = False

    def __init__(self, factory: ClientFactory, attempts: _ConnectAttempts) -> None:
        self._factory = factory
        self._attempts = attempts
        self._connector: Any = None

    def stop(self) -> None:
        """Give up."""
        self._attempts.ended(self)
        if self._connector is not None:
            self._connector.stopConnecting()

    def doStart(self) -> None:
        self._factory.doStart()

    def doStop(self) -> None:
        """The last call, for an attempt that has failed and for a connection that is lost.

        Twisted's connector leads to its transport and to its factories, which lead back to it:
        without this each connection would leave a cycle for the garbage collector.
        """
        self._factory.doStop()
        if self._connector is not None:
            self._connector.transport = None
        self._connector = None
        self._factory = ClientFactory()

    def startedConnecting(self, connector: IConnector) -> None:
        self._connector = connector
        self._factory.startedConnecting(connector)

    def buildProtocol(self, addr: IAddress | None) -> Any:
        self._attempts.ended(self)
        return self._factory.buildProtocol(addr)

    def clientConnectionFailed(self, connector: IConnector, reason: Failure) -> None:
        self._attempts.ended(self)
        self._factory.clientConnectionFailed(connector, reason)

    def clientConnectionLost(self, connector: IConnector, reason: Failure) -> None:
        self._factory.clientConnectionLost(connector, reason)
