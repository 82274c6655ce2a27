"""Work that is repeated until it is stopped.

Knows: the clock, and whether a round is under way. Must not know: what a round does.

Twisted's `LoopingCall` keeps to a grid of times, and ends with the first failure. Here the pause
begins when a round has ended, may be spread at random, and a failure does not end it.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from sftpgw.model.clock import Clock, DelayedCall


def _no_spread() -> float:
    return 0.5


class PeriodicTask:
    """Rounds of `work`, one after the other, from `start` to `stop` or `finish`.

    :param work: one round.
    :param first_seconds: the pause before the first round.
    :param every_seconds: the pause after each round.
    :param clock: schedules the rounds.
    :param on_failure: is told of a round that has failed; the next one follows all the same, even
        if this raises.
    :param random: a number in [0, 1) each time: pauses are spread by a half to either side, so
        that processes do not meet. Without it they are exact.
    """

    _log = Logger()

    def __init__(
        self,
        work: Callable[[], Coroutine[Any, Any, None]],
        *,
        first_seconds: float,
        every_seconds: float,
        clock: Clock,
        on_failure: Callable[[Failure], None],
        random: Callable[[], float] = _no_spread,
    ) -> None:
        self._work = work
        self._first_seconds = first_seconds
        self._every_seconds = every_seconds
        self._clock = clock
        self._on_failure = on_failure
        self._random = random
        self._is_running = False
        self._next_seconds = float("inf")
        self._due_seconds = 0.0
        self._timer: DelayedCall | None = None
        self._round: Deferred[None] | None = None

    def start(self) -> None:
        """Schedule the first round."""
        self._is_running = True
        self._pause(self._first_seconds)

    def stop(self) -> None:
        """Cancel the round under way, and let none follow."""
        self._let_none_follow()
        if self._round is not None:
            self._round.cancel()

    async def finish(self) -> None:
        """Let none follow. Returns when the round under way has ended, if there is one."""
        self._let_none_follow()
        if self._round is not None:
            await self._round

    def _let_none_follow(self) -> None:
        self._is_running = False
        timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()

    def hasten(self, seconds: float) -> None:
        """Let the next round begin after this pause at most; after the round under way if there is.

        :param seconds: the pause.
        """
        due_seconds = self._clock.seconds() + seconds
        if not self._is_running:
            return
        if self._timer is None:
            self._next_seconds = min(self._next_seconds, seconds)
        elif due_seconds < self._due_seconds:
            self._timer.cancel()
            self._schedule(seconds)

    def _pause(self, seconds: float) -> None:
        self._schedule(min(self._next_seconds, seconds * (0.5 + self._random())))

    def _schedule(self, seconds: float) -> None:
        self._next_seconds = float("inf")
        self._due_seconds = self._clock.seconds() + seconds
        self._timer = self._clock.callLater(seconds, self._begin)

    def _begin(self) -> None:
        self._timer = None
        self._round = Deferred.fromCoroutine(self._work())
        self._round.addErrback(self._failed)
        self._round.addCallback(self._ended)

    def _failed(self, failure: Failure) -> None:
        if failure.check(CancelledError):
            return
        try:
            self._on_failure(failure)
        except Exception:
            # The next round must follow, and `finish` must not raise.
            self._log.failure("the failure of a periodic task could not be reported")

    def _ended(self, _: None) -> None:
        self._round = None
        if self._is_running:
            self._pause(self._every_seconds)
