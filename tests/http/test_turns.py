"""What arrives from stores waits for its turn, and TCP holds back the rest meanwhile."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.error import ConnectionDone
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.testing import StringTransport
from twisted.protocols.policies import ProtocolWrapper
from twisted.python.failure import Failure

from sftpgw.aio.work.plan import WorkPlan
from sftpgw.aio.work.scheduler import Turns, WorkScheduler
from sftpgw.http.connections import Connections, _CountingFactory
from sftpgw.testing.cpu_clocks import CpuClock
from tests.conftest import LoggedFailures
from tests.iterations import IterationClock


class Parser(Protocol):
    """Takes a second for each response."""

    def __init__(self, cpu: CpuClock) -> None:
        self.cpu = cpu
        self.received: list[bytes] = []
        self.is_lost = False

    def dataReceived(self, data: bytes) -> None:
        assert not self.is_lost
        self.received.append(data)
        self.cpu.now_seconds += 1.0

    def connectionLost(self, reason: object = None) -> None:
        self.is_lost = True
        self.cpu.now_seconds += 1.0


def parser_of(connection: ProtocolWrapper) -> Parser:
    parser = connection.wrappedProtocol
    assert isinstance(parser, Parser)
    return parser


class Process:
    """Connections to a store, in a process where an iteration takes two responses."""

    def __init__(self, users: list[str]) -> None:
        self.clock, self.cpu = IterationClock(), CpuClock()
        plan: WorkPlan[Turns] = WorkPlan(round_seconds=2.0, quantum_seconds=1.0)
        work = WorkScheduler(self.clock, self.cpu, plan, most_seconds=2.0)
        connections = Connections(work)
        factory = _CountingFactory(
            Factory.forProtocol(lambda: Parser(self.cpu)),  # type: ignore[arg-type]
            connections,
        )
        self.connections = [factory.buildProtocol(None) for _ in users]  # type: ignore[arg-type]
        self.transports = [StringTransport() for _ in users]
        for connection, transport, user in zip(
            self.connections, self.transports, users, strict=True
        ):
            connection.makeConnection(transport)
            connection.serve(user)

    @property
    def received(self) -> list[int]:
        return [len(parser_of(each).received) for each in self.connections]

    @property
    def reading(self) -> list[bool]:
        return [transport.producerState == "producing" for transport in self.transports]


@pytest.fixture(autouse=True)
def tcp(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sftpgw.http.connections.tcp_under", lambda transport: transport)


def test_an_iteration_takes_some_responses_and_the_others_wait() -> None:
    process = Process(["mallory"] * 5)
    for connection in process.connections:
        connection.dataReceived(b"response")
    assert process.received == [1, 1, 0, 0, 0]
    assert process.reading == [True, True, False, False, False]
    process.clock.iterate()
    assert sum(process.received) == 4
    process.clock.iterate()
    assert process.received == [1] * 5
    assert process.reading == [True] * 5


def test_a_response_for_another_user_comes_first() -> None:
    process = Process(["mallory"] * 8 + ["alice"])
    for connection in process.connections:
        connection.dataReceived(b"response")
    assert process.received[-1] == 0
    process.clock.iterate()
    assert process.received[-1] == 1
    assert sum(process.received) == 4


def test_a_protocol_that_has_paused_stays_paused() -> None:
    process = Process(["mallory"] * 3)
    last, transport = process.connections[-1], process.transports[-1]
    for connection in process.connections:
        connection.dataReceived(b"response")
    last.pauseProducing()
    process.clock.iterate()
    assert process.received[-1] == 1
    assert transport.producerState == "paused"
    last.resumeProducing()
    assert transport.producerState == "producing"


def test_one_that_resumes_before_its_turn_waits_for_the_turn() -> None:
    process = Process(["mallory"] * 3)
    last, transport = process.connections[-1], process.transports[-1]
    for connection in process.connections:
        connection.dataReceived(b"response")
    last.resumeProducing()
    assert transport.producerState == "paused"
    process.clock.iterate()
    assert transport.producerState == "producing"


def test_what_has_arrived_is_delivered_before_the_connection_is_lost() -> None:
    process = Process(["mallory"] * 3)
    for connection in process.connections:
        connection.dataReceived(b"response")
    last = process.connections[-1]
    parser = parser_of(last)
    last.connectionLost(Failure(ConnectionDone()))
    assert not parser.is_lost
    process.clock.iterate()
    assert parser.received == [b"response"]
    assert parser.is_lost
    process.clock.iterate()
    assert parser.received == [b"response"]


def test_a_store_that_goes_away_ends_its_requests_in_turns() -> None:
    """Each is tried again, and logged."""
    process = Process(["mallory"] * 7)
    parsers = [parser_of(each) for each in process.connections]
    for connection in process.connections:
        connection.connectionLost(Failure(ConnectionDone()))
    assert sum(parser.is_lost for parser in parsers) == 2
    process.clock.iterate()
    assert sum(parser.is_lost for parser in parsers) == 4
    process.clock.iterate()
    process.clock.iterate()
    assert all(parser.is_lost for parser in parsers)


def test_an_idle_connection_is_lost_at_once() -> None:
    process = Process(["mallory"] * 7)
    parsers = [parser_of(each) for each in process.connections]
    for connection in process.connections:
        connection.rest()
        connection.connectionLost(Failure(ConnectionDone()))
    assert all(parser.is_lost for parser in parsers)


def test_a_response_that_cannot_be_taken_in_its_turn_ends_the_connection(
    monkeypatch: pytest.MonkeyPatch, logged_failures: LoggedFailures
) -> None:
    """Twisted does that when it is taken at once. Else TCP stays paused, and the request waits."""
    process = Process(["mallory"] * 3)
    for connection in process.connections:
        connection.dataReceived(b"response")

    def broken(data: bytes) -> None:
        raise RuntimeError("a defect")

    monkeypatch.setattr(process.connections[-1].wrappedProtocol, "dataReceived", broken)
    process.clock.iterate()
    assert [transport.disconnected for transport in process.transports] == [False, False, True]
    (failure,) = logged_failures.found
    logged_failures.found.clear()
    assert "a defect" in failure


class Socket(StringTransport):
    """A TCP transport as the reactor sees it, with what the kernel has."""

    def __init__(self) -> None:
        super().__init__()
        self.kernel: list[bytes] = []
        self.owner: Any = None

    def doRead(self) -> None:
        if self.kernel:
            self.owner.dataReceived(self.kernel.pop(0))


def test_more_of_a_body_stays_in_the_kernel_and_heads_do_not() -> None:
    process = Process(["mallory"] * 2)
    connection, socket = process.connections[0], Socket()
    socket.owner = connection
    connection.makeConnection(socket)
    parser = parser_of(connection)
    connection.dataReceived(b"x" * 9)
    process.connections[1].dataReceived(b"response")
    # Nothing more is worked off in this iteration.
    socket.kernel = [b"y" * 9]
    socket.doRead()
    assert len(socket.kernel) == 1
    assert socket.producerState == "paused"
    process.clock.iterate()
    assert [len(each) for each in parser.received] == [9] * 2
    assert socket.producerState == "producing"
    for other in process.connections:
        other.dataReceived(b"response")
    connection.expect_head(lambda excess: None)
    socket.kernel = [b"an early answer"]
    socket.doRead()
    assert not socket.kernel
    assert len(parser.received) < 4
    process.clock.iterate()
    assert parser.received[-1] == b"an early answer"
