"""`aio/cooperate`: one step in each iteration, in order."""

from __future__ import annotations

from sftpgw.aio.cooperate import StepQueue
from tests.iterations import IterationClock


def test_one_step_in_each_iteration_in_the_order_of_asking() -> None:
    clock, done = IterationClock(), []
    steps = StepQueue(clock)
    for name in "ab":
        steps.next_step().addCallback(lambda _, name=name: done.append(name))
    assert done == []
    clock.iterate()
    assert done == ["a"]
    clock.iterate()
    assert done == ["a", "b"]
    assert clock.getDelayedCalls() == []


def test_a_cancelled_one_leaves_and_nothing_stays_scheduled() -> None:
    clock, done = IterationClock(), []
    steps = StepQueue(clock)
    first, second = steps.next_step(), steps.next_step()
    first.addErrback(lambda _: None)
    second.addCallback(done.append)
    first.cancel()
    clock.iterate()
    assert done == [None]
    third = steps.next_step()
    third.addErrback(lambda _: None)
    third.cancel()
    assert clock.getDelayedCalls() == []
