"""A port that cannot accept pauses, and clients wait in the kernel's backlog."""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterator
from typing import Any

import pytest
import pytest_twisted
from twisted.internet import task
from twisted.internet.defer import Deferred
from twisted.internet.protocol import Factory, Protocol

from sftpgw.pausing_ports import MAX_ACCEPTS, PAUSE_SECONDS, PausingPort


class Greeting(Protocol):
    """Says hello."""

    def connectionMade(self) -> None:
        self.gone: Deferred[None] = Deferred()
        self.factory.made.append(self)
        self.transport.write(b"hello")

    def connectionLost(self, reason: object = None) -> None:
        self.gone.callback(None)


class FaultyListener:
    """A listening socket whose `accept` fails for as long as `fault` says so."""

    def __init__(self, listener: socket.socket) -> None:
        self.fault = 0
        self.tried: Deferred[None] = Deferred()
        self._listener = listener

    def __getattr__(self, name: str) -> Any:
        return getattr(self._listener, name)

    def accept(self) -> Any:
        if not self.fault:
            return self._listener.accept()
        from twisted.internet import reactor  # noqa: PLC0415

        tried, self.tried = self.tried, Deferred()
        reactor.callLater(0, tried.callback, None)  # the port has paused by then
        raise OSError(self.fault, "no")


class Listening:
    """A port that pauses, and a client that connects."""

    def __init__(self, reactor: Any) -> None:
        self.clock = task.Clock()
        self.faults: list[str] = []
        self.factory: Any = Factory.forProtocol(Greeting)
        self.factory.made = []  # type: ignore[attr-defined]
        self.port = reactor.listenTCP(0, self.factory, interface="127.0.0.1")
        self.listener = self.port.socket = FaultyListener(self.port.socket)
        self.pausing = PausingPort(self.port, self.clock, self.faults.append)

    def connect(self) -> socket.socket:
        """A client, connected as far as it can see."""
        return socket.create_connection(("127.0.0.1", self.port.getHost().port))


@pytest.fixture
def listening() -> Iterator[Listening]:
    from twisted.internet import reactor  # noqa: PLC0415

    listening = Listening(reactor)
    yield listening
    pytest_twisted.blockon(listening.port.stopListening())
    for greeting in listening.factory.made:
        pytest_twisted.blockon(greeting.gone)


async def heard(client: socket.socket) -> bytes:
    """The first bytes that the client receives; empty if it is cut off."""
    from twisted.internet.threads import deferToThread  # noqa: PLC0415

    client.settimeout(20.0)
    return await deferToThread(client.recv, 100)


@pytest_twisted.ensureDeferred
async def test_a_client_waits_and_is_served_in_the_end(listening: Listening) -> None:
    listening.listener.fault = errno.EMFILE
    tried = listening.listener.tried
    with listening.connect() as client:
        await tried
        tried = listening.listener.tried
        listening.clock.advance(PAUSE_SECONDS)
        await tried
        listening.listener.fault = 0
        listening.clock.advance(PAUSE_SECONDS)
        assert await heard(client) == b"hello"
    assert listening.faults == ["EMFILE", "EMFILE"], "one for each pause"


@pytest_twisted.ensureDeferred
async def test_other_faults_are_left_to_twisted(listening: Listening) -> None:
    listening.listener.fault = errno.ECONNABORTED
    tried = listening.listener.tried
    with listening.connect() as client:
        await tried
        listening.listener.fault = 0
        assert await heard(client) == b"hello"
    assert listening.faults == []


@pytest_twisted.ensureDeferred
async def test_a_port_that_stops_does_not_go_on(listening: Listening) -> None:
    listening.listener.fault = errno.ENFILE
    tried = listening.listener.tried
    with listening.connect():
        await tried
    listening.pausing.stop()
    assert not listening.clock.getDelayedCalls()
    assert listening.faults == ["ENFILE"]


@pytest_twisted.ensureDeferred
async def test_clients_are_accepted_a_few_at_a_time(listening: Listening) -> None:
    """Twisted takes 100 in one iteration, then 120, 140, …: each costs a key exchange's begin."""
    many = 2 * MAX_ACCEPTS + 1
    clients = [listening.connect() for _ in range(many)]
    listening.port.numberAccepts = 500
    for accepted in (MAX_ACCEPTS, 2 * MAX_ACCEPTS, many):
        listening.port.doRead()
        assert len(listening.factory.made) == accepted
    for client in clients:
        client.close()
