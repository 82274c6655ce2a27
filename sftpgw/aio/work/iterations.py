"""How long the reactor's iterations are: until one ends, no client is served.

Knows: where Twisted's reactors wait for sockets. Must not know: what runs in an iteration, apart
from what the scheduler has measured.

An iteration lies between two waits. Twisted has no public hook there, and a call that is scheduled
again and again would never let an idle process sleep. So the object that waits (`epoll`, `poll`) is
replaced by one that looks at two clocks and waits: a microsecond for each iteration. A reactor
without such an object is not measured.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sftpgw.aio.work.scheduler import NO_WORK, Quantum, Seconds, WorkScheduler

LONG_CPU_SECONDS = 0.1
"""No iteration takes longer by what clients or stores send. This is CPU time, without what other
processes take of the core."""

LONG_WALL_SECONDS = 1.0
"""A machine that has so little left for the gateway is worth a line, too."""

REPORT_SECONDS = 60.0
"""How long further ones are only counted."""


@dataclass(frozen=True, slots=True)
class Iteration:
    """One iteration of the reactor.

    :ivar cpu_seconds: CPU time of the reactor's thread.
    :ivar wall_seconds: how long clients had to wait for its end.
    :ivar longest: the work in it that took longest in a row.
    """

    cpu_seconds: float = 0.0
    wall_seconds: float = 0.0
    longest: Quantum = NO_WORK


class IterationWatch:
    """Measures each iteration of a reactor, from `start` to `stop`.

    :param reactor: Twisted's.
    :param work: knows what ran.
    :param cpu_seconds: the CPU time of the reactor's thread.
    :param wall_seconds: a clock that is never set (``time.monotonic``).
    :param on_long: is called with the longest one since the last call, and with how many were long;
        once in `REPORT_SECONDS` at most.
    :ivar longest: the longest one since the start or `forget_longest`.
    :ivar long_count: how many were long so far.
    """

    def __init__(
        self,
        reactor: Any,
        work: WorkScheduler,
        *,
        cpu_seconds: Seconds,
        wall_seconds: Seconds,
        on_long: Callable[[Iteration, int], None],
    ) -> None:
        self.longest = Iteration()
        self.long_count = 0
        self._reactor = reactor
        self._work = work
        self._cpu_seconds = cpu_seconds
        self._wall_seconds = wall_seconds
        self._on_long = on_long
        self._poller: Any = None
        self._untold = Iteration()
        self._untold_count = 0
        self._tell_at_seconds = float("-inf")

    def start(self) -> bool:
        """Begin to measure, with the next iteration; returns whether this reactor can be."""
        poller = getattr(self._reactor, "_poller", None)
        if poller is None or self._poller is not None:
            return False
        self._poller = poller
        self._reactor._poller = _WatchedPoller(
            poller, self, self._work, self._cpu_seconds, self._wall_seconds
        )
        return True

    def stop(self) -> None:
        """Measure no more."""
        if self._poller is not None:
            self._reactor._poller, self._poller = self._poller, None

    def forget_longest(self) -> None:
        """Begin anew to look for the longest one."""
        self.longest = Iteration()

    def ended(self, cpu_seconds: float, wall_seconds: float) -> None:
        """An iteration has ended that is longer than all before, or long.

        :param cpu_seconds: CPU time of the reactor's thread.
        :param wall_seconds: how long it was by the clock.
        """
        iteration = Iteration(cpu_seconds, wall_seconds, self._work.longest)
        if cpu_seconds > self.longest.cpu_seconds:
            self.longest = iteration
        if cpu_seconds > LONG_CPU_SECONDS or wall_seconds > LONG_WALL_SECONDS:
            self._count_long(iteration)

    def _count_long(self, iteration: Iteration) -> None:
        self.long_count += 1
        self._untold_count += 1
        if iteration.cpu_seconds >= self._untold.cpu_seconds:
            self._untold = iteration
        now_seconds = self._wall_seconds()
        if now_seconds < self._tell_at_seconds:
            return
        self._tell_at_seconds = now_seconds + REPORT_SECONDS
        told, self._untold = self._untold, Iteration()
        count, self._untold_count = self._untold_count, 0
        self._on_long(told, count)


class _WatchedPoller:
    """Takes the place of a reactor's ``epoll`` or ``poll`` object.

    :param poller: the object itself.
    :param watch: is told of iterations that are longer than all before, or long.
    :param work: knows the longest turn of an iteration.
    :param cpu_seconds: the CPU time of the reactor's thread.
    :param wall_seconds: a clock that is never set.
    """

    def __init__(
        self,
        poller: Any,
        watch: IterationWatch,
        work: WorkScheduler,
        cpu_seconds: Seconds,
        wall_seconds: Seconds,
    ) -> None:
        self.register = poller.register
        self.unregister = poller.unregister
        self.modify = poller.modify
        wait = poller.poll
        ended_cpu_seconds, began_seconds = cpu_seconds(), wall_seconds()

        def poll(*arguments: Any) -> Any:
            # Each iteration comes here, so that nothing else is called in most of them.
            nonlocal ended_cpu_seconds, began_seconds
            now_seconds = cpu_seconds()
            used_seconds, ended_cpu_seconds = now_seconds - ended_cpu_seconds, now_seconds
            passed_seconds = wall_seconds() - began_seconds
            if used_seconds > watch.longest.cpu_seconds or passed_seconds > LONG_CPU_SECONDS:
                watch.ended(used_seconds, passed_seconds)
            work.longest = NO_WORK
            try:
                return wait(*arguments)
            finally:
                began_seconds = wall_seconds()

        self.poll = poll
