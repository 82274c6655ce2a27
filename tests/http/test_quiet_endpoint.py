"""Connections to sources of users leave no lines of Twisted in the log."""

from __future__ import annotations

from typing import Any

from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol
from twisted.internet.protocol import Protocol
from twisted.internet.testing import MemoryReactorClock

from sftpgw.http.quiet_endpoint import QuietEndpoint, quiet_pool


def test_factories_of_a_quiet_endpoint_and_of_a_quiet_pool_are_quiet() -> None:
    reactor = MemoryReactorClock()
    endpoint = TCP4ClientEndpoint(reactor, "192.0.2.1", 389)
    connectProtocol(QuietEndpoint(endpoint), Protocol())
    quiet_pool(reactor).getConnection(("http", "192.0.2.1", 80), endpoint)
    factories: list[Any] = [client[2] for client in reactor.tcpClients]
    assert len(factories) == 2
    assert not any(factory._wrappedFactory.noisy for factory in factories)
