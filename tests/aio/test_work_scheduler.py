"""`aio/work/scheduler`: turns in each reactor iteration, charged as they are measured."""

from __future__ import annotations

import pytest
from twisted.internet.defer import CancelledError, Deferred

from sftpgw.aio.work.plan import WorkPlan
from sftpgw.aio.work.scheduler import Turns, WorkScheduler
from sftpgw.testing.cpu_clocks import CpuClock
from tests.conftest import LoggedFailures
from tests.iterations import IterationClock

ROUND, QUANTUM, MOST = 10.0, 4.0, 100.0


class Process:
    """A scheduler, its clocks, and what was done."""

    def __init__(self) -> None:
        self.clock = IterationClock()
        self.cpu = CpuClock()
        plan: WorkPlan[Turns] = WorkPlan(round_seconds=ROUND, quantum_seconds=QUANTUM)
        self.work = WorkScheduler(self.clock, self.cpu, plan, most_seconds=MOST)
        self.done: list[str] = []

    def worker(self, name: str, steps: int, step_seconds: float = 1.0, user: str = "") -> Turns:
        """Turns that do so many steps, each of which takes so long."""
        left = [steps]

        def work() -> None:
            while left[0]:
                left[0] -= 1
                self.cpu.now_seconds += step_seconds
                self.done.append(name)
                if left[0] and not turns.has_time():
                    turns.wait()
                    return

        turns = self.work.turns((user or name, "", ""), "steps", work)
        return turns

    @property
    def is_asleep(self) -> bool:
        return not self.clock.getDelayedCalls()


@pytest.fixture
def process() -> Process:
    return Process()


def test_little_work_is_done_at_once_and_schedules_nothing(process: Process) -> None:
    for _ in range(3):
        process.worker("a", 3).ask()
    assert process.done == ["a"] * 9
    assert process.is_asleep


def test_much_work_goes_on_in_later_iterations(process: Process) -> None:
    turns = process.worker("a", 25)
    turns.ask()
    assert len(process.done) == ROUND
    assert turns.is_waiting
    process.clock.iterate()
    assert len(process.done) == 2 * ROUND
    process.clock.iterate()
    assert len(process.done) == 25
    process.clock.iterate()
    assert process.is_asleep


def test_once_an_iteration_is_used_up_others_wait_and_then_take_turns(process: Process) -> None:
    process.worker("a", 30).ask()
    process.worker("b", 30).ask()
    assert process.done == ["a"] * 10
    process.clock.iterate()
    assert process.done[10:] == ["b"] * 10
    process.clock.iterate()
    assert process.done[20:] == ["a"] * 4 + ["b"] * 4 + ["a"] * 2


def test_work_within_a_turn_is_done_there(process: Process) -> None:
    inner = process.worker("inner", 2)
    outer = process.work.turns(("alice", "", ""), "outer", inner.ask)
    outer.ask()
    assert process.done == ["inner"] * 2
    assert process.work.longest.path == ("alice", "", "")
    assert process.work.longest.seconds == 2.0


def test_one_who_leaves_is_not_called(process: Process) -> None:
    turns = process.worker("a", 25)
    turns.ask()
    turns.leave()
    turns.leave()
    process.clock.iterate()
    assert len(process.done) == ROUND
    assert process.is_asleep


def test_a_coroutine_waits_for_each_step(process: Process) -> None:
    async def steps() -> None:
        for _ in range(15):
            await process.work.next_step(("alice", "", "digest"), "digest")
            process.cpu.now_seconds += 1.0
            process.done.append("step")

    ended = Deferred.fromCoroutine(steps())
    assert process.done == []
    process.clock.iterate()
    assert len(process.done) == ROUND
    process.clock.iterate()
    assert ended.called
    assert process.is_asleep


def test_a_cancelled_step_leaves_the_queue(process: Process) -> None:
    step = process.work.next_step(("alice", "", "digest"), "digest")
    failures: list[object] = []
    step.addErrback(lambda failure: failures.append(failure.trap(CancelledError)))
    step.cancel()
    assert failures == [CancelledError]
    assert process.is_asleep


def test_a_failure_does_not_take_the_turns_of_others(
    process: Process, logged_failures: LoggedFailures
) -> None:
    def broken() -> None:
        raise RuntimeError("a defect")

    process.work.turns(("alice", "", "a"), "broken", broken).wait()
    process.worker("b", 1).wait()
    process.clock.iterate()
    assert process.done == ["b"]
    (failure,) = logged_failures.found
    logged_failures.found.clear()
    assert "the kind broken" in failure


def test_a_panic_does_not_end_all_turns(process: Process, logged_failures: LoggedFailures) -> None:
    """The reactor logs it and goes on, but no round ever followed."""

    class Panic(BaseException):
        """As of `cryptography`, whose errors in Rust are no `Exception`."""

    def broken() -> None:
        raise Panic

    def end() -> None:
        process.done.append("ended")
        raise Panic

    process.work.turns(("alice", "", "a"), "broken", broken, on_failure=end).wait()
    process.worker("b", 1).wait()
    process.clock.iterate()
    process.worker("c", 1).wait()
    process.clock.iterate()
    assert process.done == ["ended", "b", "c"]
    assert len(logged_failures.found) == 2
    logged_failures.found.clear()


def test_work_that_fails_in_its_turn_is_ended(
    process: Process, logged_failures: LoggedFailures
) -> None:
    def broken() -> None:
        raise RuntimeError("a defect")

    def end() -> None:
        process.done.append("ended")
        raise RuntimeError("another defect")

    process.work.turns(("alice", "", "a"), "broken", broken, on_failure=end).wait()
    process.worker("b", 1).wait()
    process.clock.iterate()
    assert process.done == ["ended", "b"]
    first, second = logged_failures.found
    logged_failures.found.clear()
    assert "a defect" in first
    assert "another defect" in second
    with pytest.raises(RuntimeError, match="a defect"):
        process.work.turns(("alice", "", "a"), "broken", broken, on_failure=end).ask()
    assert process.done == ["ended", "b"]


def test_the_longest_quantum_is_known_with_its_owner(process: Process) -> None:
    process.worker("a", 1, 2.0).ask()
    process.worker("b", 1, 5.0).ask()
    process.worker("c", 1, 1.0).ask()
    longest = process.work.longest
    assert (longest.seconds, longest.kind, longest.path[0]) == (5.0, "steps", "b")


def test_one_in_whose_turn_the_process_stood_still_is_soon_served_again(process: Process) -> None:
    def stopped() -> None:
        process.cpu.now_seconds += 30 * MOST

    others = process.worker("b", 2000)
    others.wait()
    process.work.turns(("a", "", ""), "steps", stopped).wait()
    process.clock.iterate()
    assert process.work.longest.seconds == 30 * MOST
    process.worker("a", 1).wait()
    rounds = 0
    while "a" not in process.done:
        process.clock.iterate()
        rounds += 1
    assert rounds <= 1 + MOST / ROUND
    others.leave()
