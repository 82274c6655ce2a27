"""Connections that a load balancer hands over: whose they are is in their first bytes.

Knows: which networks may speak for others, and how long the header of the PROXY protocol may take.
Must not know: how a header is written (`wire/proxy_header`), or SSH.

Rules:

- Only who connects from a balancer's network is listened to. What has no address, such as a UNIX
  socket, is trusted: permissions of its folder say who may connect to it.
- There is no connection, for the limits or in the log, before the header is there: the client that
  it names is what is admitted and told.
- What names no client, or the balancer itself as HAProxy's checks by version 1 do, is the
  balancer's own, a health check as a rule: without limits per address, and no matter if it is
  silent.
- What connects and leaves without a byte is a health check, too, and is not even counted. A header
  that is late or wrong is counted as a connection that was refused.
- So many may be without a header as may be without a login. They are not among those.
"""

# mypy: disallow-untyped-calls=False
# (Twisted's factories have no types)

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IListeningPort, IStreamServerEndpoint
from twisted.internet.protocol import Factory, Protocol
from twisted.python.failure import Failure
from zope.interface import implementer

from sftpgw.model.clock import DelayedCall
from sftpgw.model.settings import Network
from sftpgw.ssh.admission import Refusal, address_of
from sftpgw.ssh.factory import GatewayFactory
from sftpgw.wire.proxy_header import BadProxyHeader, ProxyHeader, parse_proxy_header

HEADER_SECONDS = 10.0
"""How long a header may take: a balancer sends it at once, and a lost segment again within 3."""


class BalancedFactory(Factory):
    """Stands before a `GatewayFactory` on a port where balancers connect.

    :param networks: where balancers connect from.
    """

    noisy = False

    def __init__(self, gateway: GatewayFactory, networks: Sequence[Network]) -> None:
        self.gateway = gateway
        self.waiting: set[BalancedConnection] = set()
        self._networks = networks

    def doStart(self) -> None:
        super().doStart()
        self.gateway.doStart()

    def doStop(self) -> None:
        """Nothing listens here any more: headers are waited for no longer."""
        super().doStop()
        for connection in tuple(self.waiting):
            connection.give_up()
        self.gateway.doStop()

    def buildProtocol(self, addr: Any) -> Any:
        """A connection that waits for its header; None, and Twisted hangs up."""
        host = getattr(addr, "host", None)
        if not self._is_balancer(host):
            self.gateway.refused(Refusal.NO_BALANCER, host)
            return None
        if len(self.waiting) >= self.gateway.settings.max_startups.full:
            self.gateway.refused(Refusal.FULL, host)
            return None
        return BalancedConnection(self)

    def _is_balancer(self, host: str | None) -> bool:
        address = address_of(host)
        return host is None or any(address in network for network in self._networks if address)


class BalancedConnection(Protocol):
    """Reads the header, then is nothing but the way to the connection of the client."""

    factory: BalancedFactory
    transport: Any

    def __init__(self, factory: BalancedFactory) -> None:
        self.factory = factory
        self._begun = b""
        self._client: Any = None
        self._deadline: DelayedCall | None = None

    def connectionMade(self) -> None:
        gateway = self.factory.gateway
        self.factory.waiting.add(self)
        seconds = min(HEADER_SECONDS, gateway.settings.login_grace_seconds)
        self._deadline = gateway.clock.callLater(seconds, self._refuse, Refusal.NO_HEADER)

    def dataReceived(self, data: bytes) -> None:
        """Until the header is complete; from then on, Twisted calls the client's."""
        if self not in self.factory.waiting:
            return
        self._begun += data
        try:
            header = parse_proxy_header(self._begun)
        except BadProxyHeader:
            self._refuse(Refusal.BAD_HEADER)
            return
        if header is not None:
            self._hand_over(header)

    def _hand_over(self, header: ProxyHeader) -> None:
        self._stop_waiting()
        rest, self._begun = self._begun[header.size_bytes :], b""
        balancer = self.transport.getPeer()
        own = address_of(getattr(balancer, "host", None))
        if header.client is None or header.client[0] == str(own):
            client = self.factory.gateway.take(None, seen_as=balancer, is_balancer=True)
        else:
            address = _address(*header.client)
            client = self.factory.gateway.take(address.host, seen_as=address, via=balancer)
        if client is None:
            self.transport.abortConnection()
            return
        self._client = client
        self.dataReceived = client.dataReceived  # type: ignore[method-assign]
        client.makeConnection(self.transport)
        if rest:
            client.dataReceived(rest)

    def connectionLost(self, reason: Failure | None = None) -> None:
        """The client's connection is gone, or a header did not come."""
        was_waiting = self in self.factory.waiting
        self._stop_waiting()
        if self._client is not None:
            self._client.connectionLost(reason)
        elif was_waiting and self._begun:
            self._count(Refusal.BAD_HEADER)

    def give_up(self) -> None:
        """Hang up, if the header has not come."""
        self._stop_waiting()
        self.transport.abortConnection()

    def _refuse(self, refusal: Refusal) -> None:
        self._count(refusal)
        self.give_up()

    def _count(self, refusal: Refusal) -> None:
        host = getattr(self.transport.getPeer(), "host", None)
        self.factory.gateway.refused(refusal, host)

    def _stop_waiting(self) -> None:
        self.factory.waiting.discard(self)
        if self._deadline is not None and self._deadline.active():
            self._deadline.cancel()


@implementer(IStreamServerEndpoint)
class BalancedEndpoint:
    """An endpoint on which balancers connect; takes the place of Twisted's ``haproxy:``.

    Twisted's tells the wrapped protocol of the connection before the header is there, waits for it
    for ever, and lets any peer send one.
    """

    def __init__(self, endpoint: IStreamServerEndpoint, networks: Sequence[Network]) -> None:
        self._endpoint = endpoint
        self._networks = networks

    def listen(self, factory: Any) -> Deferred[IListeningPort]:
        """Listen for a `GatewayFactory`."""
        listening: Deferred[IListeningPort] = self._endpoint.listen(
            BalancedFactory(factory, self._networks)
        )
        return listening


def _address(host: str, port: int) -> IPv4Address | IPv6Address:
    return (IPv6Address if ":" in host else IPv4Address)("TCP", host, port)
