"""The control socket's protocol: lines, bounds, and what clients that misbehave can do."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectionDone
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure

from sftpgw.control.control_lines import (
    MAX_ANSWER_BYTES,
    MAX_REQUEST_BYTES,
    ControlError,
    error_line,
    read_request,
    read_result,
    request_line,
    result_line,
)
from sftpgw.control.control_server import (
    MAX_CLIENTS,
    SILENCE_SECONDS,
    ControlFactory,
    ControlProtocol,
)
from sftpgw.testing.ssh_pairs import RecordedEvents

arguments_of = st.dictionaries(st.text(), st.text() | st.integers() | st.none(), max_size=5)


@given(name=st.text(), arguments=arguments_of)
def test_a_request_is_read_as_it_was_written(name: str, arguments: dict[str, Any]) -> None:
    line = request_line(name, arguments)
    assert b"\n" not in line
    read = read_request(line)
    assert (read.name, read.arguments) == (name, arguments)


@given(result=st.recursive(st.text() | st.booleans() | st.none(), st.lists, max_leaves=20))
def test_a_result_is_read_as_it_was_written(result: Any) -> None:
    line = result_line(result)
    assert b"\n" not in line
    assert read_result(line) == result


@given(text=st.text())
def test_an_error_is_read_as_it_was_written(text: str) -> None:
    with pytest.raises(ControlError) as raised:
        read_result(error_line(text))
    assert str(raised.value) == text


@given(line=st.binary(max_size=200))
def test_what_is_no_request_is_refused(line: bytes) -> None:
    with pytest.raises(ControlError):
        read_request(line)


@pytest.mark.parametrize(
    "line",
    [
        b"[]",
        b'"bans"',
        b'{"request": "bans"}',
        b'{"version": 2, "request": "bans"}',
        b'{"version": 1}',
        b'{"version": 1, "request": 5}',
        b'{"version": 1, "request": "bans", "arguments": []}',
        b"[" * 10_000,
    ],
)
def test_a_line_of_another_shape_is_refused(line: bytes) -> None:
    with pytest.raises(ControlError):
        read_request(line)


def test_a_result_that_would_be_too_long_is_an_error() -> None:
    with pytest.raises(ControlError, match="too long"):
        read_result(result_line("x" * MAX_ANSWER_BYTES))


LARGE = "x" * 100_000


class FullTransport(StringTransport):
    """Tells its producer to pause while a client has not read what was written."""

    def write(self, data: bytes) -> None:
        super().write(data)
        if self.producer is not None and len(self.value()) > 65_536:
            self.producer.pauseProducing()


class World:
    """A server with some handlers, and connections to it."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.events = RecordedEvents()
        self.asked: list[Mapping[str, Any]] = []
        self.waiting: Deferred[Any] = Deferred()
        handlers = {"echo": self._echo, "wait": self._wait, "fail": self._fail, "bug": self._bug}
        handlers["large"] = self._large
        self.factory = ControlFactory(handlers, self.clock, self.events)

    async def _echo(self, arguments: Mapping[str, Any]) -> Any:
        self.asked.append(arguments)
        return arguments

    async def _wait(self, arguments: Mapping[str, Any]) -> Any:
        self.waiting = Deferred()
        return await self.waiting

    async def _large(self, arguments: Mapping[str, Any]) -> Any:
        return LARGE

    async def _fail(self, arguments: Mapping[str, Any]) -> Any:
        raise ControlError("no such thing")

    async def _bug(self, arguments: Mapping[str, Any]) -> Any:
        raise ValueError("secret detail")

    def connect(self) -> Client:
        protocol = self.factory.buildProtocol(None)
        assert protocol is not None
        return Client(protocol)


class Client:
    """One connection."""

    def __init__(self, protocol: ControlProtocol) -> None:
        self.protocol = protocol
        self.transport = FullTransport()
        protocol.makeConnection(self.transport)

    def ask(self, name: str, **arguments: Any) -> None:
        self.protocol.dataReceived(request_line(name, arguments) + b"\n")

    def drain(self) -> None:
        """Read what there is."""
        self.transport.clear()
        if self.transport.producer is not None:
            self.transport.producer.resumeProducing()

    @property
    def answers(self) -> list[dict[str, Any]]:
        lines = self.transport.value().splitlines()
        return [{k: v for k, v in json.loads(line).items() if k != "version"} for line in lines]

    @property
    def is_closed(self) -> bool:
        return self.transport.disconnecting or self.transport.disconnected

    def lose(self) -> None:
        self.protocol.connectionLost(Failure(ConnectionDone()))


@pytest.fixture
def world():
    world = World()
    yield world
    for client in tuple(world.factory.clients):
        client.connectionLost(Failure(ConnectionDone()))
    assert world.clock.getDelayedCalls() == []


def test_requests_are_answered_in_their_order(world: World) -> None:
    client = world.connect()
    client.ask("echo", a=1)
    client.ask("fail")
    client.ask("nonsense")
    assert client.answers == [
        {"result": {"a": 1}},
        {"error": "no such thing"},
        {"error": "there is no request 'nonsense'; known: bug, echo, fail, large, wait"},
    ]


def test_nothing_is_read_while_a_request_is_under_way(world: World) -> None:
    client = world.connect()
    client.ask("wait")
    client.ask("echo", a=1)
    assert client.transport.producerState == "paused"
    assert world.asked == []
    world.clock.advance(10 * SILENCE_SECONDS)
    assert not client.is_closed, "a request has the time that it needs"
    world.waiting.callback("done")
    assert client.answers == [{"result": "done"}, {"result": {"a": 1}}]


def test_a_client_that_does_not_read_is_not_answered_further(world: World) -> None:
    client = world.connect()
    client.protocol.dataReceived((request_line("large", {}) + b"\n") * 1_000)
    assert len(client.answers) == 1, "all of them would be 100 MB"
    client.drain()
    assert len(client.answers) == 1
    client.ask("echo", a=1)
    world.clock.advance(SILENCE_SECONDS + 1)
    assert client.is_closed
    assert client.answers != [{"result": {"a": 1}}]


def test_a_client_that_reads_gets_all_answers(world: World) -> None:
    client, answers = world.connect(), 0
    client.protocol.dataReceived((request_line("large", {}) + b"\n") * 10)
    client.ask("echo")
    for _ in range(10):
        (answer,) = client.answers
        answers += answer == {"result": LARGE}
        client.drain()
    assert (answers, client.answers) == (10, [{"result": {}}])


def test_a_client_that_goes_cancels_its_request(world: World) -> None:
    client = world.connect()
    client.ask("wait")
    client.lose()
    cancelled: list[Any] = []
    world.waiting.addErrback(cancelled.append)
    assert not world.factory.clients
    assert world.clock.getDelayedCalls() == []
    assert client.answers == []
    assert all(failure.check(CancelledError) for failure in cancelled)


def test_a_silent_client_is_closed(world: World) -> None:
    client = world.connect()
    world.clock.advance(SILENCE_SECONDS - 1)
    client.ask("echo")
    world.clock.advance(SILENCE_SECONDS - 1)
    assert not client.is_closed
    world.clock.advance(2)
    assert client.is_closed


def test_a_line_without_an_end_is_refused(world: World) -> None:
    client = world.connect()
    for _ in range(1 + MAX_REQUEST_BYTES // 100):
        if not client.is_closed:
            client.protocol.dataReceived(b"x" * 100)
    assert client.is_closed
    assert client.answers == [{"error": f"a request has at most {MAX_REQUEST_BYTES} bytes"}]


def test_so_many_clients_at_once(world: World) -> None:
    clients = [world.connect() for _ in range(MAX_CLIENTS)]
    assert world.factory.buildProtocol(None) is None
    clients[0].lose()
    assert world.connect()


def test_a_defect_of_a_handler_is_logged_and_tells_the_client_nothing(world: World) -> None:
    client = world.connect()
    client.ask("bug")
    client.ask("echo")
    assert client.answers[0] == {"error": "internal error; the gateway's log says more"}
    assert client.answers[1] == {"result": {}}
    (defect,) = world.events.facts("defect")
    assert defect["where"] == "control"


def test_the_end_of_the_gateway_closes_all(world: World) -> None:
    clients = [world.connect(), world.connect()]
    clients[0].ask("wait")
    ended: list[None] = []
    Deferred.fromCoroutine(world.factory.disconnect_all()).addCallback(ended.append)
    assert all(client.is_closed for client in clients)
    assert ended == []
    for client in clients:
        client.lose()
    assert ended == [None]
