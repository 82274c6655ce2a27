"""`aio/work/socket_reads`: what waits for a turn stays in the kernel."""

from __future__ import annotations

from collections import deque
from typing import Any

import pytest
from twisted.internet.main import CONNECTION_DONE
from twisted.internet.testing import StringTransport

from sftpgw.aio.work.plan import WorkPlan
from sftpgw.aio.work.scheduler import Turns, WorkScheduler
from sftpgw.aio.work.socket_reads import SocketReads
from sftpgw.testing.cpu_clocks import CpuClock
from tests.iterations import IterationClock

BUFFER_BYTES = 4


class Socket(StringTransport):
    """A TCP transport as the reactor sees it, with what the kernel has.

    An empty item is the end of the connection.
    """

    def __init__(self, owner: Owner) -> None:
        super().__init__()
        self.kernel: deque[bytes] = deque()
        self._owner = owner

    def doRead(self) -> Any:
        if not self.kernel:
            return None
        data = self.kernel.popleft()
        if not data:
            return CONNECTION_DONE
        return self._owner.dataReceived(data)

    @property
    def is_watched(self) -> bool:
        return self.producerState == "producing"


class Owner:
    """Takes a second for each read."""

    def __init__(self, work: WorkScheduler, cpu: CpuClock, user: str) -> None:
        self.received: list[bytes] = []
        self.has_ended = False
        self.ends_with = b"-"
        self.turns = work.turns((user, "", ""), "reads", self.work)
        self.socket = Socket(self)
        self.reads = SocketReads(self.socket, self.turns, lambda: not self._must_wait())
        self._cpu = cpu
        self._arrived = b""

    def _must_wait(self) -> bool:
        return self.has_ended or self.turns.is_waiting

    def dataReceived(self, data: bytes) -> None:
        self._arrived = data
        self.reads.has_more = len(data) >= BUFFER_BYTES
        self.turns.ask()

    def work(self) -> None:
        if self._arrived:
            self.received.append(self._arrived)
            self.has_ended = self._arrived == self.ends_with
            self._arrived = b""
            self._cpu.now_seconds += 1.0
        self.reads.go_on()


class Process:
    """Some connections, in a process where an iteration takes two reads, or two in a row."""

    def __init__(self) -> None:
        self.clock, self.cpu = IterationClock(), CpuClock()
        plan: WorkPlan[Turns] = WorkPlan(round_seconds=2.0, quantum_seconds=2.0)
        self.work = WorkScheduler(self.clock, self.cpu, plan, most_seconds=2.0)
        self.busy = Owner(self.work, self.cpu, "mallory")
        self.owner = Owner(self.work, self.cpu, "alice")

    def use_up(self) -> None:
        """Nothing more is worked off in this iteration."""
        for _ in range(2):
            self.busy.dataReceived(b"abc")

    def read(self) -> Any:
        """The reactor sees that the connection can be read."""
        assert self.owner.socket.is_watched
        return self.owner.socket.doRead()


@pytest.fixture
def process() -> Process:
    return Process()


def test_a_connection_is_read_at_once_while_there_is_time(process: Process) -> None:
    process.owner.socket.kernel.append(b"abc")
    assert process.read() is None
    assert process.owner.received == [b"abc"]
    assert process.owner.socket.is_watched


def test_what_cannot_be_worked_off_stays_in_the_kernel_until_the_turn(process: Process) -> None:
    process.use_up()
    socket = process.owner.socket
    socket.kernel.append(b"abc")
    process.read()
    assert list(socket.kernel) == [b"abc"]
    assert not socket.is_watched
    process.clock.iterate()
    assert process.owner.received == [b"abc"]
    assert socket.is_watched
    assert not process.owner.turns.is_waiting


def test_a_turn_reads_on_while_the_buffer_is_filled_and_there_is_time(process: Process) -> None:
    process.use_up()
    socket = process.owner.socket
    socket.kernel.extend([b"abcd"] * 3 + [b"x"])
    process.read()
    process.clock.iterate()
    assert len(process.owner.received) == 2
    assert not socket.is_watched
    process.clock.iterate()
    assert process.owner.received == [b"abcd"] * 3 + [b"x"]
    assert socket.is_watched


def test_an_end_that_a_turn_finds_is_told_to_the_reactor(process: Process) -> None:
    process.use_up()
    process.owner.socket.kernel.append(b"")
    assert process.read() is None
    process.clock.iterate()
    process.use_up()
    assert process.read() is CONNECTION_DONE


def test_an_owner_that_ends_in_its_turn_is_not_read_any_more(process: Process) -> None:
    process.use_up()
    process.owner.socket.kernel.extend([b"last", b"next"])
    process.owner.ends_with = b"last"
    process.read()
    process.clock.iterate()
    assert process.owner.received == [b"last"]
    assert not process.owner.socket.is_watched


def test_nothing_of_it_is_left_at_a_connection_that_is_lost(process: Process) -> None:
    process.owner.reads.end()
    assert "doRead" not in vars(process.owner.socket)
    process.owner.reads.end()
