"""Connections through an HTTP proxy (CONNECT).

Knows: the request for a tunnel, and what its response means.
Must not know: what goes through the tunnel, or when one is needed (`http/proxies`).

Once the proxy has agreed, the connection itself is handed on: TLS then runs directly on TCP, as it
does without a proxy. https://www.rfc-editor.org/rfc/rfc9110#section-9.3.6
"""

from __future__ import annotations

import re
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IProtocolFactory, IStreamClientEndpoint
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from sftpgw.http.connections import Connections
from sftpgw.http.proxies import Proxy
from sftpgw.model.units import KIB

LONGEST_HEAD_BYTES = 16 * KIB

_STATUS = re.compile(rb"HTTP/1\.[01] +(\d{3})([^\r\n]*)")


class ProxyRefused(Exception):
    """The proxy makes no connection, and will not make one for the next request."""


class TunnelFailed(Exception):
    """The proxy made no connection this time; it may the next time."""


@implementer(IStreamClientEndpoint)
class TunnelEndpoint:
    """Connects to a host through a proxy.

    :param to_proxy: connects to the proxy.
    :param proxy: the proxy, for its authorization and for messages.
    :param host: the host to connect to.
    :param port: its port.
    :param connections: count a tunnel while it is being made.
    """

    def __init__(
        self,
        to_proxy: IStreamClientEndpoint,
        proxy: Proxy,
        host: str,
        port: int,
        connections: Connections,
    ) -> None:
        self._to_proxy = to_proxy
        self._proxy = proxy
        self._target = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        self._connections = connections

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[Any]:
        """Fires with the protocol of `protocolFactory`, connected.

        :raises ProxyRefused, TunnelFailed: there is no connection to the host
        """
        tunnel = _Tunnel(self._target, self._proxy, protocolFactory, self._connections)
        connecting: Deferred[Any] = self._to_proxy.connect(_OneTunnel(tunnel))
        return connecting.addCallback(lambda _: tunnel.made)


class _OneTunnel(Factory):
    noisy = False

    def __init__(self, tunnel: _Tunnel) -> None:
        self._tunnel = tunnel

    def buildProtocol(self, addr: object) -> _Tunnel:
        return self._tunnel


class _Tunnel(Protocol):
    """Asks for the tunnel, then lets the protocol of `inside` take its place.

    :param target: host and port.
    :param inside: makes the protocol that uses the tunnel.
    """

    def __init__(
        self, target: str, proxy: Proxy, inside: IProtocolFactory, connections: Connections
    ) -> None:
        self.made: Deferred[Any] = Deferred(lambda _: self._drop())
        self._target = target
        self._proxy = proxy
        self._inside = inside
        self._connections = connections
        self._head = b""

    def connectionMade(self) -> None:
        self._connections.add(self)
        lines = [f"CONNECT {self._target} HTTP/1.1", f"Host: {self._target}"]
        if self._proxy.authorization:
            lines.append(f"Proxy-Authorization: {self._proxy.authorization}")
        transport: Any = self.transport
        transport.write("\r\n".join([*lines, "", ""]).encode("ascii"))

    def dataReceived(self, data: bytes) -> None:
        self._head += data
        head, end, rest = self._head.partition(b"\r\n\r\n")
        if not end:
            if len(self._head) > LONGEST_HEAD_BYTES:
                self._fail(ProxyRefused(f"{self._proxy} is no HTTP proxy: its response has no end"))
            return
        error = self._error_in(head)
        if error is not None:
            self._fail(error)
        else:
            self._hand_over(rest)

    def _error_in(self, head: bytes) -> Exception | None:
        """The error that the proxy's response reports, None for a tunnel."""
        found = _STATUS.match(head)
        if found is None:
            return ProxyRefused(f"{self._proxy} is no HTTP proxy")
        status, words = int(found[1]), found[2].strip().decode("ascii", "replace")[:100]
        if 200 <= status < 300:
            return None
        text = f"the proxy {self._proxy} does not connect to {self._target}: {status} {words}"
        if status == 407:
            return ProxyRefused(f"{text}; {self._proxy.named_by} = http://USER:PASSWORD@HOST:PORT")
        return ProxyRefused(text) if 400 <= status < 500 else TunnelFailed(text)

    def _hand_over(self, rest: bytes) -> None:
        transport: Any = self.transport
        protocol: Any = self._inside.buildProtocol(transport.getPeer())
        if protocol is None:
            self._fail(TunnelFailed("no protocol for the tunnel"))
            return
        transport.protocol = protocol
        protocol.makeConnection(transport)
        self._connections.remove(self)
        if rest:
            protocol.dataReceived(rest)
        self.made.callback(protocol)

    def _fail(self, error: Exception) -> None:
        self._drop()
        self._finish(Failure(error))

    def _drop(self) -> None:
        transport: Any = self.transport
        transport.abortConnection()

    def _finish(self, failure: Failure) -> None:
        if not self.made.called:
            self.made.errback(failure)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._connections.remove(self)
        self._finish(Failure(TunnelFailed(f"the proxy {self._proxy} has closed the connection")))
