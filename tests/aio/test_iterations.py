"""`aio/work/iterations`: the length of each iteration of a real reactor, without a busy one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from twisted.internet.epollreactor import EPollReactor
from twisted.internet.task import Clock

from sftpgw.aio.work.iterations import REPORT_SECONDS, Iteration, IterationWatch
from sftpgw.aio.work.scheduler import WorkScheduler
from sftpgw.testing.cpu_clocks import CpuClock, free_work


class Watched:
    """A reactor of its own, whose clocks stand still unless its calls move them."""

    def __init__(self) -> None:
        self.reactor = EPollReactor()
        self.cpu, self.wall = CpuClock(), CpuClock()
        self.work = WorkScheduler(self.reactor, self.cpu)
        self.told: list[tuple[Iteration, int]] = []
        self.watch = IterationWatch(
            self.reactor,
            self.work,
            cpu_seconds=self.cpu,
            wall_seconds=self.wall,
            on_long=lambda iteration, count: self.told.append((iteration, count)),
        )
        assert self.watch.start()

    def iterate(self, cpu_seconds: float, wall_seconds: float = 0.0, kind: str = "") -> None:
        """One iteration in which work takes so long, and the wait that ends it."""

        def work() -> None:
            self.cpu.now_seconds += cpu_seconds
            self.wall.now_seconds += max(cpu_seconds, wall_seconds)

        turns = self.work.turns(("alice", "session", kind), kind, work)
        self.reactor.callLater(0, turns.ask if kind else work)
        self.reactor.iterate()


class Sleeping:
    """A poller that waits in its own way."""

    def __init__(self, poller: Any, wait: Callable[..., object]) -> None:
        self.register, self.unregister = poller.register, poller.unregister
        self.modify, self.poll = poller.modify, wait


@pytest.fixture
def watched() -> Iterator[Watched]:
    watched = Watched()
    yield watched
    watched.watch.stop()
    for call in watched.reactor.getDelayedCalls():
        call.cancel()
    watched.reactor.removeAll()
    watched.reactor.waker.connectionLost(None)


def test_the_longest_iteration_is_known_with_what_ran_in_it(watched: Watched) -> None:
    watched.iterate(0.01, kind="packets")
    watched.iterate(0.05, 0.06, kind="requests")
    watched.iterate(0.02, kind="digests")
    longest = watched.watch.longest
    assert (longest.cpu_seconds, longest.wall_seconds) == pytest.approx((0.05, 0.06))
    assert longest.longest.kind == "requests"
    assert longest.longest.path[0] == "alice"
    assert watched.told == []
    watched.watch.forget_longest()
    assert watched.watch.longest.cpu_seconds == 0.0


def test_a_long_one_is_told_once_a_minute_with_the_number_of_others(watched: Watched) -> None:
    watched.iterate(0.11, kind="packets")
    assert [(round(told.cpu_seconds, 2), count) for told, count in watched.told] == [(0.11, 1)]
    watched.iterate(0.3, kind="requests")
    watched.iterate(0.2, kind="packets")
    assert len(watched.told) == 1
    watched.wall.now_seconds += REPORT_SECONDS
    watched.iterate(0.15, kind="digests")
    told, count = watched.told[1]
    assert (round(told.cpu_seconds, 2), told.longest.kind, count) == (0.3, "requests", 3)
    assert watched.watch.long_count == 4


def test_a_machine_without_time_is_told_too(watched: Watched) -> None:
    watched.iterate(0.01, 1.5)
    ((told, _),) = watched.told
    assert told.wall_seconds == pytest.approx(1.5)
    assert told.longest.kind == ""


def test_the_wait_itself_does_not_count(watched: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    def sleep(*_: object) -> list[tuple[int, int]]:
        watched.wall.now_seconds += 1000.0
        return []

    watched.watch.stop()
    monkeypatch.setattr(watched.reactor, "_poller", Sleeping(watched.reactor._poller, sleep))
    watched.watch.start()
    for _ in range(3):
        watched.iterate(0.01)
    assert watched.told == []
    watched.watch.stop()


def test_afterwards_the_reactor_is_as_it_was(watched: Watched) -> None:
    watched.watch.stop()
    watched.watch.stop()
    watched.iterate(5.0)
    assert watched.watch.long_count == 0


def test_a_reactor_that_waits_in_another_way_is_not_measured() -> None:
    watch = IterationWatch(
        object(),
        free_work(Clock()),
        cpu_seconds=CpuClock(),
        wall_seconds=CpuClock(),
        on_long=lambda *_: None,
    )
    assert not watch.start()
    watch.stop()
