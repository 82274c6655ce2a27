"""Bytes that belong to no request: they are never taken for the response to the next one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectionDone
from twisted.internet.testing import MemoryReactorClock, StringTransport
from twisted.protocols.policies import ProtocolWrapper
from twisted.python.failure import Failure

from sftpgw.aio.work.plan import WorkPlan
from sftpgw.aio.work.scheduler import Turns, WorkScheduler
from sftpgw.http.client import ConnectionPlaces, HttpClient, HttpRequest
from sftpgw.http.response_head import PIECE_BYTES
from sftpgw.testing.cpu_clocks import CpuClock
from tests.http.answers import Answer

URL = "http://127.0.0.1/"

LATE = b"HTTP/1.1 400 Bad Request\r\nContent-Length: 4\r\nConnection: close\r\n\r\nidle"
"""As S3 ends an idle connection."""


class Process:
    """A client of a store, in memory; an iteration takes a second of work."""

    def __init__(self) -> None:
        self.reactor, self.cpu = MemoryReactorClock(), CpuClock()
        plan: WorkPlan[Turns] = WorkPlan(round_seconds=1.0, quantum_seconds=1.0)
        self.work = WorkScheduler(self.reactor, self.cpu, plan, most_seconds=9.0)
        self.client = HttpClient(
            self.reactor, places=ConnectionPlaces(self.work, 2), connect_timeout_seconds=7.0
        )
        self.connections: list[Any] = []

    def send(
        self, answer: Answer, on_end: Callable[[Any], Any] = lambda end: None
    ) -> Deferred[Any]:
        request = HttpRequest("GET", URL, (("Host", "127.0.0.1"),), (), 10.0, 10.0)
        before = len(self.reactor.tcpClients)
        ending = self.client.exchange(request, answer)
        ending.addBoth(on_end)
        for _, _, factory, _, _ in self.reactor.tcpClients[before:]:
            connection = factory.buildProtocol(None)
            connection.makeConnection(StringTransport())
            self.connections.append(connection)
        return ending

    def use_up(self) -> None:
        """Others use up the iteration."""

        def work() -> None:
            self.cpu.now_seconds += 2.0

        self.work.turns(("mallory", "", ""), "work", work).ask()


@pytest.fixture(autouse=True)
def tcp(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sftpgw.http.connections.tcp_under", lambda transport: transport)


def test_what_arrives_on_an_idle_connection_does_not_wait_for_the_next_request() -> None:
    """It waited for its turn, and meanwhile a request used the connection."""
    process, first, second = Process(), Answer(), Answer()
    process.send(first)
    (connection,) = process.connections
    connection.dataReceived(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
    assert (first.status, first.body) == (200, b"ok")
    process.use_up()
    connection.dataReceived(LATE)
    process.send(second)
    process.reactor.advance(0)
    assert second.status == 0
    assert connection.transport.disconnecting
    assert len(process.connections) == 2, "the pool does not use the connection again"
    connection.connectionLost(Failure(ConnectionDone()))
    process.connections[1].dataReceived(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nnew")
    process.reactor.advance(0)
    assert (second.status, second.body) == (200, b"new")


@pytest.mark.parametrize("padding_bytes", [0, PIECE_BYTES])
def test_what_follows_a_response_is_not_the_next_one(padding_bytes: int) -> None:
    """The next request begins as soon as the response ends, which is within one read."""
    process, first, second = Process(), Answer(), Answer()
    ends: list[Any] = []
    process.send(first, lambda _: process.send(second, ends.append))
    (connection,) = process.connections
    padding = b"X-Padding: " + b"x" * padding_bytes + b"\r\n"
    stray = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nstray"
    response = b"HTTP/1.1 200 OK\r\n" + padding + b"Content-Length: 0\r\n\r\n"
    response += b" " * (-len(response) % PIECE_BYTES)
    connection.dataReceived(response + stray)
    assert first.status == 200
    assert second.status == 0


class LostTls(StringTransport):
    """As Twisted's TLS: once it is lost, it has no connection of OpenSSL to shut down."""

    def abortConnection(self) -> None:
        raise AttributeError("'NoneType' object has no attribute 'shutdown'")


def test_a_request_may_be_given_up_while_the_end_of_its_connection_waits() -> None:
    """Over TLS it never ended, and kept its place among the requests."""
    process, ends = Process(), list[Any]()
    ending = process.send(Answer(), ends.append)
    (connection,) = process.client._connections._open
    assert isinstance(connection, ProtocolWrapper)
    process.use_up()
    connection.connectionLost(Failure(ConnectionDone()))
    assert not ends
    connection.transport = LostTls()
    ending.cancel()
    (failure,) = ends
    assert failure.check(CancelledError)
    process.reactor.advance(0)
    assert not process.client._exchanges
    assert not process.client._connections.count


def test_a_connection_that_is_lost_behind_a_response_is_not_used_again() -> None:
    """The end waits for its turn, together with the response; then the next request begins."""
    process, first, second = Process(), Answer(), Answer()
    ends: list[Any] = []
    process.send(first, lambda _: process.send(second, ends.append))
    (connection,) = process.connections
    process.use_up()
    connection.dataReceived(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
    connection.connectionLost(Failure(ConnectionDone()))
    assert first.status == 0
    process.reactor.advance(0)
    assert (first.status, first.body) == (200, b"ok")
    assert not ends
    assert len(process.connections) == 2
    process.connections[1].dataReceived(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nnew")
    process.reactor.advance(0)
    assert (second.status, second.body) == (200, b"new")
