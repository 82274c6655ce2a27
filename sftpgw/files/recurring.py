"""Work that comes round again and again.

Knows: the clock, and what is under way.
Must not know: what is done.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.python.failure import Failure

from sftpgw.interfaces import Clock, EventSink


class Recurring:
    """Rounds of `work`, one after the other, from `start` to `stop`.

    :param first_seconds: how long the first round is waited for, `every_seconds` each later
        one; both are spread by a half, so that processes do not meet.
    :param random: a number in [0, 1) each time.
    :param where: what the log calls it, should it turn out to be defective.
    """

    def __init__(
        self,
        work: Callable[[], Coroutine[Any, Any, None]],
        *,
        first_seconds: float,
        every_seconds: float,
        clock: Clock,
        random: Callable[[], float],
        events: EventSink,
        where: str,
    ) -> None:
        self._work = work
        self._first_seconds = first_seconds
        self._every_seconds = every_seconds
        self._clock = clock
        self._random = random
        self._events = events
        self._where = where
        self._timer: Any = None
        self._round: Deferred[None] | None = None

    def start(self) -> None:
        """The first round comes by itself."""
        self._wait(self._first_seconds)

    def stop(self) -> None:
        """Drop what is under way, and let nothing follow."""
        timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()
        under_way, self._round = self._round, None
        if under_way is not None:
            under_way.cancel()

    def _wait(self, seconds: float) -> None:
        self._timer = self._clock.callLater(seconds * (0.5 + self._random()), self._begin)

    def _begin(self) -> None:
        self._timer = None
        self._round = Deferred.fromCoroutine(self._work())
        self._round.addCallbacks(self._ended, self._broke_off)

    def _ended(self, _: None) -> None:
        self._round = None
        self._wait(self._every_seconds)

    def _broke_off(self, failure: Failure) -> None:
        if not failure.check(CancelledError):
            self._events.tell("defect", where=self._where, failure=failure)
            self._ended(None)
