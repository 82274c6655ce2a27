"""Requests that wait for a slot because their store has asked for fewer at once.

Knows: which requests wait, in which order, and when to report that a store is throttled.
Must not know: how many may be in flight (`s3/throttle/plan`), what a request says.

Users take turns, and the requests of one user go in order. While a store does not ask for fewer,
no request waits, and none needs an object to wait with. A wait has no limit of its own: each
request in flight ends, at the latest by its timeouts, and frees its slot. A request that may take
minutes (a copy, Complete) waits for a slot and frees it at once, so that others do not wait for it
where only one may be in flight.
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
    """The queues of the process, one for each bucket.

    :param clock: times throttling.
    :param events: takes the events of the first request that must wait, and of the last one.
    :param ceiling: a limit of this many requests counts as no limit.
    """

    def __init__(self, clock: Clock, events: EventSink, *, ceiling: int) -> None:
        self._clock = clock
        self._events = events
        self._ceiling = ceiling
        self._queues: dict[str, _SlotQueue] = {}

    def slot(self, bucket: str, user: str, *, is_slow: bool = False) -> Slot:
        """A slot to hold (``with``) while a request of `user` is in flight.

        :param bucket: the bucket that the request goes to.
        :param user: whose fair share the request counts against.
        :param is_slow: the request may take minutes: it frees the slot at once.
        """
        if bucket not in self._queues:
            self._queues[bucket] = _SlotQueue(bucket, self._clock, self._events, self._ceiling)
        return Slot(self._queues[bucket], user, is_slow=is_slow)


class Slot:
    """The right of one request to be in flight. Wait for `ready`, if there is one, then send.

    :param queue: of the bucket.
    :param user: whose request it is.
    :param is_slow: the request frees the slot at once.
    """

    def __init__(self, queue: _SlotQueue, user: str, *, is_slow: bool) -> None:
        self.ready: Deferred[None] | None = None
        """Fires when the request may be sent; None: now. Cancel it to leave the queue."""
        self._queue = queue
        self._user = user
        self._is_slow = is_slow
        self._began: int | None = None

    def __enter__(self) -> Slot:
        self.ready = self._queue.enter(self, self._user)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._began is not None and not self._is_slow:
            self._queue.leave()

    def begin(self) -> None:
        """The queue calls this when the request may be sent."""
        self._began = self._queue.throttle.began()
        if self._is_slow:
            self._queue.throttle.ended()

    def refused(self) -> None:
        """The store has asked for fewer requests."""
        if self._began is not None:
            self._queue.refused(self._began)

    def served(self) -> None:
        """The store has served the request."""
        self._queue.served()


class _SlotQueue:
    """The requests to one bucket that wait."""

    def __init__(self, bucket: str, clock: Clock, events: EventSink, ceiling: int) -> None:
        self.throttle = Throttle(ceiling)
        self._bucket = bucket
        self._clock = clock
        self._events = events
        self._began_seconds: float | None = None  # since when requests wait, as reported
        self._queue: FairQueue[Slot] = FairQueue()
        self._is_admitting = False

    def enter(self, slot: Slot, user: str) -> Deferred[None] | None:
        if self.throttle.has_room and self._queue.is_empty:
            slot.begin()
            return None
        ready = self._queue.put((user,), slot)
        self._report_begin()
        return ready

    def leave(self) -> None:
        self.throttle.ended()
        self._admit()

    def refused(self, began: int) -> None:
        self.throttle.refused(began, self._clock.seconds())

    def served(self) -> None:
        is_over = self.throttle.served(self._clock.seconds(), is_crowded=not self._queue.is_empty)
        if is_over and self._began_seconds is not None:
            seconds, self._began_seconds = self._clock.seconds() - self._began_seconds, None
            self._events.emit(
                ThrottlingEnded(
                    bucket=self._bucket,
                    seconds=round(seconds, 3),
                    refusals=self.throttle.refusals,
                )
            )

    def _report_begin(self) -> None:
        if self._began_seconds is None:
            self._began_seconds = self._clock.seconds()
            self._events.emit(
                ThrottlingBegan(bucket=self._bucket, in_flight=self.throttle.in_flight)
            )

    def _admit(self) -> None:
        """Let the next requests go, as many as may. One may end at once: the loop goes on then."""
        if self._is_admitting:
            return
        self._is_admitting = True
        while not self._queue.is_empty and self.throttle.has_room:
            _, slot, ready = self._queue.pop()
            slot.begin()
            ready.callback(None)
        self._is_admitting = False
