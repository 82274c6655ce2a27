"""Asks again and again for memory that is held idly, as long as anything waits for some.

Knows: how many wait, and when the next request is due. Must not know: who waits, or who is asked.

All that wait are served by one call each second. One for each of them would cost more the longer
they wait: 200 uploads that shared a slow core caused 22,000.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred

from sftpgw.aio.delayed_call import cancel_pending
from sftpgw.model.clock import Clock, DelayedCall

RECLAIM_SECONDS = 1.0
"""How often the others are asked to give back idle memory, while a transfer is in the queue."""


class Reclaims:
    """The requests of one budget.

    :param request: asks all once.
    """

    def __init__(self, request: Callable[[], None]) -> None:
        self._request = request
        self._waiting = 0
        self._call: DelayedCall | None = None

    def repeat_until(self, granted: Deferred[None], clock: Clock) -> None:
        """Ask from time to time until `granted` fires.

        :param granted: what one of those that wait is told by.
        :param clock: the process's clock.
        """
        self._waiting += 1
        granted.addBoth(self._stop)
        if self._call is None:
            self._schedule(clock)

    def _schedule(self, clock: Clock) -> None:
        self._call = clock.callLater(RECLAIM_SECONDS, self._repeat, clock)

    def _repeat(self, clock: Clock) -> None:
        self._schedule(clock)  # first: an error in here must not end the requests
        self._request()

    def _stop(self, outcome: Any) -> Any:
        self._waiting -= 1
        if not self._waiting:
            call, self._call = self._call, None
            cancel_pending(call)
        return outcome
