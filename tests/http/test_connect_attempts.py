"""Connecting to hosts with several addresses takes a bounded number of sockets."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionRefusedError as Refused
from twisted.internet.interfaces import IProtocol
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.testing import MemoryReactorClock
from twisted.python.failure import Failure

from sftpgw.http.connect_attempts import BoundedHostEndpoint, MoreAttempts
from tests.scripted_names import ScriptedNames

ADDRESSES = [f"192.0.2.{number}" for number in range(16)]
TIMEOUT_SECONDS = 10.0


class Network(MemoryReactorClock):
    """A reactor whose attempts to connect end as the test says."""

    def __init__(self) -> None:
        super().__init__()
        self.installNameResolver(ScriptedNames(lambda _: ADDRESSES))
        self.under_way: list[Any] = []
        self.tried: list[str] = []
        self.most_under_way = 0

    def connectTCP(self, host: str, port: int, factory: Any, *rest: Any, **more: Any) -> Any:
        connector = super().connectTCP(host, port, factory, *rest, **more)
        attempt = (connector, factory)
        self.tried.append(host)
        self.under_way.append(attempt)
        self.most_under_way = max(self.most_under_way, len(self.under_way))

        def stop() -> None:
            self.fail(attempt)

        connector.stopConnecting = stop
        return connector

    def fail(self, attempt: Any) -> None:
        self.under_way.remove(attempt)
        connector, factory = attempt
        factory.clientConnectionFailed(connector, Failure(Refused()))

    def answer(self, attempt: Any) -> None:
        self.under_way.remove(attempt)
        attempt[1].buildProtocol(IPv4Address("TCP", "192.0.2.1", 443)).makeConnection(None)


class Clients:
    """Connections of one process."""

    def __init__(self, count: int, most: int) -> None:
        self.network, self.more = Network(), MoreAttempts(most)
        self.made: list[Any] = []
        self.waiting: list[Deferred[IProtocol]] = []
        for _ in range(count):
            endpoint = BoundedHostEndpoint(
                self.network, "store.example", 443, TIMEOUT_SECONDS, self.more
            )
            connecting = endpoint.connect(Factory.forProtocol(Protocol))
            connecting.addBoth(self.made.append)
            self.waiting.append(connecting)

    def pass_time(self, steps: int) -> None:
        for _ in range(steps):
            self.network.advance(0.3)


@pytest.mark.parametrize(("count", "most"), [(1, 32), (100, 32), (100, 0)])
def test_a_store_that_does_not_answer_takes_a_bounded_number_of_sockets(
    count: int, most: int
) -> None:
    """A hundred requests to 16 addresses took 1,600 descriptors."""
    clients = Clients(count, most)
    clients.pass_time(len(ADDRESSES))
    assert clients.network.most_under_way <= count + most
    assert len(clients.network.tried) == count * len(ADDRESSES), "each address has its try"
    assert clients.more.count == len(clients.network.under_way) - count
    for each in clients.waiting:
        each.cancel()
    assert (clients.network.under_way, clients.more.count) == ([], 0)


@pytest.mark.parametrize("most", [0, 1, 32])
def test_the_first_that_answers_wins_and_the_others_end(most: int) -> None:
    clients = Clients(2, most)
    clients.pass_time(3)
    clients.network.answer(clients.network.under_way[-1])
    assert len(clients.made) == 1
    assert isinstance(clients.made[0], Protocol)
    clients.waiting[0].cancel()
    clients.waiting[1].cancel()
    assert (clients.network.under_way, clients.more.count) == ([], 0)


def test_addresses_that_refuse_are_all_tried() -> None:
    clients = Clients(1, 0)
    for _ in ADDRESSES:
        clients.network.fail(clients.network.under_way[0])
        clients.pass_time(1)
    (failure,) = clients.made
    assert failure.check(Refused)
    assert clients.more.count == 0
