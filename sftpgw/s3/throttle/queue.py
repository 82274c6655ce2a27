"""Requests that wait because their store has asked for fewer at once.

Knows: who waits, in which order, and when to say that a store is being spared.
Must not know: how many may be in flight (`s3/throttle/plan`), what a request says.

Users take turns, and the requests of one user go in order. While a store does not ask for fewer,
no request waits, and none costs an object to wait with. A wait has no limit of its own: each
request in flight ends, if only by its timeouts, and lets the next one go. A request that may take
minutes (a copy, Complete) waits in the queue and lets the next one go at once: others should not
wait for it where only one may be in flight.
"""

from __future__ import annotations

from types import TracebackType

from twisted.internet.defer import Deferred

from sftpgw.aio.fair_queue import FairQueue
from sftpgw.model.clock import Clock
from sftpgw.model.events import EventSink
from sftpgw.model.events.store_events import ThrottlingBegan, ThrottlingEnded
from sftpgw.s3.throttle.plan import Throttle


class Throttles:
    """The lines of a process, one for each bucket.

    :param ceiling: as many requests at once are no reason to count them.
    :param events: is told when the first request has to wait, and when none has to any more.
    """

    def __init__(self, clock: Clock, events: EventSink, *, ceiling: int) -> None:
        self._clock = clock
        self._events = events
        self._ceiling = ceiling
        self._lines: dict[str, _SlotQueue] = {}

    def slot(self, bucket: str, user: str, *, is_slow: bool = False) -> Slot:
        """To be held (``with``) while a request of `user` is in flight.

        :param is_slow: it may take minutes; see above.
        """
        if bucket not in self._lines:
            self._lines[bucket] = _SlotQueue(bucket, self._clock, self._events, self._ceiling)
        return Slot(self._lines[bucket], user, is_slow=is_slow)


class Slot:
    """One request's among those to its bucket. Wait for `turn`, if there is one, then send."""

    def __init__(self, line: _SlotQueue, user: str, *, is_slow: bool) -> None:
        self.turn: Deferred[None] | None = None
        """Fires when the request may be sent; None: now. Cancel it to leave the line."""
        self._line = line
        self._user = user
        self._is_slow = is_slow
        self._began: int | None = None

    def __enter__(self) -> Slot:
        self.turn = self._line.enter(self, self._user)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._began is not None and not self._is_slow:
            self._line.leave()

    def begin(self) -> None:
        """For the line: the turn has come."""
        self._began = self._line.throttle.began()
        if self._is_slow:
            self._line.throttle.ended()

    def refused(self) -> None:
        """The store has asked for fewer requests."""
        if self._began is not None:
            self._line.refused(self._began)

    def served(self) -> None:
        """The store has done what it was asked for."""
        self._line.served()


class _SlotQueue:
    """Those to one bucket."""

    def __init__(self, bucket: str, clock: Clock, events: EventSink, ceiling: int) -> None:
        self.throttle = Throttle(ceiling)
        self._bucket = bucket
        self._clock = clock
        self._events = events
        self._told_seconds: float | None = None  # when the log was told that requests wait
        self._queue: FairQueue[Slot] = FairQueue()
        self._is_calling = False

    def enter(self, slot: Slot, user: str) -> Deferred[None] | None:
        if self.throttle.has_room and self._queue.is_empty:
            slot.begin()
            return None
        turn = self._queue.put(user, slot)
        self._tell_begin()
        return turn

    def leave(self) -> None:
        self.throttle.ended()
        self._call()

    def refused(self, began: int) -> None:
        self.throttle.refused(began, self._clock.seconds())

    def served(self) -> None:
        is_over = self.throttle.served(self._clock.seconds(), is_crowded=not self._queue.is_empty)
        if is_over and self._told_seconds is not None:
            seconds, self._told_seconds = self._clock.seconds() - self._told_seconds, None
            self._events.emit(
                ThrottlingEnded(
                    bucket=self._bucket,
                    seconds=round(seconds, 3),
                    refusals=self.throttle.refusals,
                )
            )

    def _tell_begin(self) -> None:
        if self._told_seconds is None:
            self._told_seconds = self._clock.seconds()
            self._events.emit(
                ThrottlingBegan(bucket=self._bucket, in_flight=self.throttle.in_flight)
            )

    def _call(self) -> None:
        """Let in whom there is room for. Whom we call may leave at once: then this goes on."""
        if self._is_calling:
            return
        self._is_calling = True
        while not self._queue.is_empty and self.throttle.has_room:
            _, slot, turn = self._queue.pop()
            slot.begin()
            turn.callback(None)
        self._is_calling = False
