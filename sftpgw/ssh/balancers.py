"""Connections from load balancers: the PROXY protocol's header names the client of each.

Knows: which networks may send a header, and how long a header may take.
Must not know: the format of a header (`wire/proxy_header`), or SSH.

Rules:

- A header is read only from peers in the balancers' networks. A peer without an address, such as a
  UNIX socket, is trusted: the permissions of the socket's folder decide which processes connect.
- Before the header is complete there is no connection, neither for the limits nor in the log. The
  client that the header names is the one that is admitted and logged.
- A header without a client, or with the balancer's own address as HAProxy's checks by version 1
  have, is the balancer's own connection, as a rule a health check. It has no limits per address,
  and is not counted if it stays silent.
- A connection that closes without a byte is a health check as well, and not counted. A header that
  is late or malformed is counted as a refused connection.
- As many connections may wait for a header as may wait for a login; the two are counted apart.
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

from sftpgw.aio.delayed_call import cancel_pending
from sftpgw.model.addresses import Network, address_of
from sftpgw.model.clock import DelayedCall
from sftpgw.ssh.admission import Refusal
from sftpgw.ssh.factory import GatewayFactory
from sftpgw.wire.proxy_header import BadProxyHeader, ProxyHeader, parse_proxy_header

HEADER_SECONDS = 10.0
"""How long a header may take. Balancers send it at once; TCP repeats a lost segment within 3."""


class BalancedFactory(Factory):
    """Listens in place of a `GatewayFactory` on a port where balancers connect.

    :param gateway: makes the connections of the clients.
    :param networks: the networks that balancers connect from.
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
        """Close the connections whose headers have not come. Called by Twisted."""
        super().doStop()
        for connection in tuple(self.waiting):
            connection.close()
        self.gateway.doStop()

    def buildProtocol(self, addr: Any) -> Any:
        """A connection that waits for its header; None makes Twisted close it."""
        host = getattr(addr, "host", None)
        if not self._is_balancer(host):
            self.gateway.count_refusal(Refusal.NO_BALANCER, host)
            return None
        if len(self.waiting) >= self.gateway.settings.max_startups.full:
            self.gateway.count_refusal(Refusal.FULL, host)
            return None
        return BalancedConnection(self)

    def _is_balancer(self, host: str | None) -> bool:
        address = address_of(host)
        return host is None or any(address in network for network in self._networks if address)


class BalancedConnection(Protocol):
    """Reads the header, then passes everything on to the connection of the client.

    :param factory: knows which connections wait for a header.
    """

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
        """Read the header. Afterwards Twisted calls the client's method, without a detour."""
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
            client = self.factory.gateway.accept(None, address=balancer, is_balancer=True)
        else:
            address = _address(*header.client)
            client = self.factory.gateway.accept(address.host, address=address, via=balancer)
        if client is None:
            self.transport.abortConnection()
            return
        self._client = client
        self.dataReceived = client.dataReceived  # type: ignore[method-assign]
        client.makeConnection(self.transport)
        if rest:
            client.dataReceived(rest)

    def connectionLost(self, reason: Failure | None = None) -> None:
        """Tell the client's connection, or count a header that was cut off."""
        was_waiting = self in self.factory.waiting
        self._stop_waiting()
        if self._client is not None:
            self._client.connectionLost(reason)
        elif was_waiting and self._begun:
            self._count(Refusal.BAD_HEADER)

    def close(self) -> None:
        """Close the connection, whose header has not come."""
        self._stop_waiting()
        self.transport.abortConnection()

    def _refuse(self, refusal: Refusal) -> None:
        self._count(refusal)
        self.close()

    def _count(self, refusal: Refusal) -> None:
        host = getattr(self.transport.getPeer(), "host", None)
        self.factory.gateway.count_refusal(refusal, host)

    def _stop_waiting(self) -> None:
        self.factory.waiting.discard(self)
        cancel_pending(self._deadline)


@implementer(IStreamServerEndpoint)
class BalancedEndpoint:
    """An endpoint where balancers connect; takes the place of Twisted's ``haproxy:``.

    Twisted's `HAProxyWrappingFactory` connects the wrapped protocol before the header is there,
    waits for the header without a limit, and accepts one from any peer.

    :param endpoint: listens.
    :param networks: the networks that balancers connect from.
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
