"""Long work in steps: it takes turns with clients, and ends when it is not wanted any more."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any, TypeVar

import pytest
from twisted.internet.defer import CancelledError, Deferred
from twisted.python.failure import Failure

from sftpgw.aio.work.plan import QUANTUM_SECONDS, ROUND_SECONDS
from sftpgw.aio.work.scheduler import WorkScheduler
from sftpgw.aio.work.stepped import in_turns
from sftpgw.model.steps import Steps
from tests.iterations import IterationClock

STEP_SECONDS = 0.0005
T = TypeVar("T")


class World:
    def __init__(self) -> None:
        self.clock = IterationClock()
        self.now = 0.0
        self.work = WorkScheduler(self.clock, lambda: self.now)
        self.done = 0
        self.is_closed = False

    def count_to(self, number: int) -> Steps[str]:
        try:
            for self.done in range(1, number + 1):
                self.now += STEP_SECONDS
                yield
            return "counted"
        finally:
            self.is_closed = True

    def start(self, steps: Steps[T]) -> Deferred[T]:
        work: Coroutine[Any, Any, T] = in_turns(self.work, ("/users", "", ""), "users", steps)
        return Deferred.fromCoroutine(work)

    def iterate(self) -> int:
        """One iteration of the reactor; how many steps it did."""
        before = self.done
        self.clock.iterate()
        return self.done - before


def test_all_steps_are_done_a_round_in_each_iteration() -> None:
    world = World()
    outcomes: list[str] = []
    world.start(world.count_to(100)).addCallback(outcomes.append)
    assert world.done == 0, "not in the call itself"
    most = round(ROUND_SECONDS / STEP_SECONDS)
    steps = []
    while not outcomes:
        steps.append(world.iterate())
        assert steps[-1] <= most
    assert sum(steps) == 100
    assert len(steps) == pytest.approx(100 / most, abs=1.5)
    assert outcomes == ["counted"]


def test_a_client_gets_as_much_time_as_all_steps_together() -> None:
    """A transfer beside a reload: each of the two gets its quantum, and none waits for the end."""
    world = World()
    packets = 0

    def on_turn() -> None:
        nonlocal packets
        packets += 1
        world.now += QUANTUM_SECONDS
        client.wait()

    client = world.work.turns(("alice", "1", "channel"), "channel", on_turn)
    client.wait()
    world.start(world.count_to(1000))
    while world.done < 900:
        assert world.iterate() <= round(ROUND_SECONDS / STEP_SECONDS)
    for_steps = world.done * STEP_SECONDS
    assert packets * QUANTUM_SECONDS == pytest.approx(for_steps, rel=0.05)


def test_what_is_cancelled_does_no_more_steps() -> None:
    world = World()
    failures: list[Failure] = []
    work = world.start(world.count_to(1000))
    work.addErrback(failures.append)
    world.iterate()
    done = world.done
    work.cancel()
    world.iterate()
    assert world.done == done
    assert world.is_closed
    assert failures[0].check(CancelledError)


def test_a_failure_is_that_of_the_work() -> None:
    world = World()

    def failing() -> Steps[None]:
        yield
        raise ValueError("no user")

    failures: list[Failure] = []
    world.start(failing()).addErrback(failures.append)
    world.iterate()
    assert failures[0].check(ValueError)
