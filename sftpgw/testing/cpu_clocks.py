"""CPU time for tests: none at all, or a fixed amount for each look at the clock."""

from __future__ import annotations

from sftpgw.aio.work.plan import WorkPlan
from sftpgw.aio.work.scheduler import Turns, WorkScheduler
from sftpgw.model.clock import Clock


class CpuClock:
    """A clock of CPU seconds that goes on by `step_seconds` with each look at it.

    :param step_seconds: how much work there is between two looks.
    """

    def __init__(self, step_seconds: float = 0.0) -> None:
        self.step_seconds = step_seconds
        self.now_seconds = 0.0

    def __call__(self) -> float:
        """The CPU seconds that have passed."""
        self.now_seconds += self.step_seconds
        return self.now_seconds


def free_work(clock: Clock) -> WorkScheduler:
    """A scheduler for work that takes no CPU time: what arrives is worked off at once.

    :param clock: whose iterations are meant.
    """
    return WorkScheduler(clock, CpuClock(), WorkPlan(round_seconds=float("inf")))


def dear_work(clock: Clock, steps: int, cpu: CpuClock | None = None) -> WorkScheduler:
    """A scheduler whose turns are over after so many looks at the clock.

    :param clock: whose iterations are meant.
    :param steps: how many looks one turn has.
    :param cpu: the CPU time; by default a second passes with each look.
    """
    plan: WorkPlan[Turns] = WorkPlan(round_seconds=steps, quantum_seconds=steps)
    return WorkScheduler(clock, cpu or CpuClock(1.0), plan, most_seconds=float("inf"))
