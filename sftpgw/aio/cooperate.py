"""One step of work in each iteration of the reactor, however many jobs wait for theirs.

Knows: which jobs wait. Must not know: what a step does.

Twisted's `Cooperator` gives each of its tasks a step in turn, and steps generators; here a
coroutine awaits its next step, wherever it stands, and decides itself whether it is the next again
(`hasher`) or goes to the end of the queue (`digests`).
"""

from __future__ import annotations

from collections import deque

from twisted.internet.defer import Deferred

from sftpgw.model.clock import Clock, DelayedCall


class StepQueue:
    """Grants steps in the order in which they were asked for, one in each iteration.

    :param clock: whose iterations are meant; nothing is timed.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._waiters: deque[Deferred[None]] = deque()
        self._call: DelayedCall | None = None

    def next_step(self) -> Deferred[None]:
        """Fires in the iteration in which the caller may do its next step. Cancel it to leave."""
        waiter: Deferred[None] = Deferred(self._leave)
        self._waiters.append(waiter)
        self._schedule()
        return waiter

    def _leave(self, waiter: Deferred[None]) -> None:
        self._waiters.remove(waiter)
        self._schedule()

    def _schedule(self) -> None:
        if self._waiters and self._call is None:
            self._call = self._clock.callLater(0, self._grant)
        elif not self._waiters and self._call is not None:
            self._call.cancel()
            self._call = None

    def _grant(self) -> None:
        self._call = None
        waiter = self._waiters.popleft()
        self._schedule()
        waiter.callback(None)
