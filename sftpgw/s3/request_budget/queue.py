"""Requests that wait until they may be under way.

Knows: what a request waits with, when to report that a store is throttled, or that too many wait.
Must not know: which request is next (`plan`), what a request says.

While there is room, no request waits, and none needs an object to wait with. A wait has no limit of
its own: each request under way ends, at the latest by its timeouts, and the next one begins.
"""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import TypeAlias

from twisted.internet.defer import Deferred

from sftpgw.model.clock import Clock
from sftpgw.model.events import EventSink
from sftpgw.model.events.store_events import RequestsWaiting, ThrottlingBegan, ThrottlingEnded
from sftpgw.s3.request_budget.plan import PlannedRequest, RequestLimits, RequestPlan

THROTTLE_CEILING = 64
"""A limit of this many requests in flight to one bucket is no limit: any store can take them."""

FULL_SECONDS = 1.0
"""A shorter wait for other requests is nothing to report."""

REPORT_SECONDS = 60.0
"""How long nothing is reported after a report that requests wait."""

SETTING = "[s3] max_requests"

RequestPath: TypeAlias = tuple[str, str, str]
"""The user, the session, and the upload or the operation."""


class RequestQueue:
    """The requests of the process, to all buckets.

    :param limits: how many may be under way.
    :param clock: times throttling.
    :param events: takes the events of the first request that a throttled bucket makes wait, and of
        the end of that, and of requests that wait for others.
    :param weight_of: returns the weight of a user.
    """

    def __init__(
        self,
        limits: RequestLimits,
        clock: Clock,
        events: EventSink,
        weight_of: Callable[[str], float] = lambda user: 1.0,
    ) -> None:
        self.plan: RequestPlan[Slot] = RequestPlan(limits, THROTTLE_CEILING, weight_of)
        self._clock = clock
        self._events = events
        self._crowded_since: dict[str, float] = {}  # by bucket, as reported
        self._full_since: float | None = None
        self._told_seconds: float | None = None  # when requests were last reported to wait
        self._is_admitting = False

    def slot(self, bucket: str, path: RequestPath, *, is_slow: bool = False) -> Slot:
        """A slot to hold (``with``) while a request is under way.

        :param bucket: the bucket that the request goes to.
        :param path: whose request it is.
        :param is_slow: the store may need minutes, as in `PlannedRequest`.
        """
        return Slot(self, bucket, path, is_slow=is_slow)

    def enter(self, slot: Slot) -> Deferred[None] | None:
        """For `Slot`: the request is due; None if it begins now."""
        if self.plan.enter(slot):
            return None
        ready: Deferred[None] = Deferred(lambda _: slot.leave())
        slot.ready = ready
        self._admit()
        self._report_crowd(slot.bucket)
        self._look_whether_full()
        return ready

    def leave(self, slot: Slot) -> None:
        """For `Slot`: the request has ended, or waits no more."""
        self.plan.leave(slot)
        if self.plan.waiting:
            self._admit()
        if self._full_since is not None:
            self._look_whether_full()

    def refused(self, slot: Slot) -> None:
        """For `Slot`: the store has asked for fewer requests."""
        if slot.began is not None and slot.throttle is not None:
            slot.throttle.refused(slot.began, self._clock.seconds())
            self._report_crowd(slot.bucket)

    def served(self, bucket: str) -> None:
        """For `Slot`: the store has served a request to a throttled bucket."""
        throttle = self.plan.throttle_of(bucket)
        is_crowded = self.plan.is_crowded(bucket)
        is_over = throttle.served(self._clock.seconds(), is_crowded=is_crowded)
        if is_over and bucket in self._crowded_since:
            seconds = self._clock.seconds() - self._crowded_since.pop(bucket)
            self._events.emit(
                ThrottlingEnded(
                    bucket=bucket, seconds=round(seconds, 3), refusals=throttle.refusals
                )
            )

    def _report_crowd(self, bucket: str) -> None:
        if bucket not in self._crowded_since and self.plan.is_crowded(bucket):
            self._crowded_since[bucket] = self._clock.seconds()
            in_flight = self.plan.throttle_of(bucket).in_flight
            self._events.emit(ThrottlingBegan(bucket=bucket, in_flight=in_flight))

    def _look_whether_full(self) -> None:
        """Report requests that wait since the process has as many under way as it may."""
        plan = self.plan
        if not plan.is_full:
            self._full_since = None
            return
        now = self._clock.seconds()
        if self._full_since is None:
            self._full_since = now
        seconds = now - self._full_since
        is_told = self._told_seconds is not None and now - self._told_seconds < REPORT_SECONDS
        if seconds < FULL_SECONDS or is_told:
            return
        self._told_seconds = now
        self._events.emit(
            RequestsWaiting(
                setting=SETTING,
                at_once=plan.limits.at_once,
                waiting=plan.waiting,
                users=plan.waiting_users,
                seconds=round(seconds, 3),
            )
        )

    def _admit(self) -> None:
        """Let the next requests go, as many as may. One may end at once: the loop goes on then."""
        if self._is_admitting:
            return
        self._is_admitting = True
        try:
            while (begun := self.plan.next_begun()) is not None:
                begun.begin()
        finally:
            self._is_admitting = False


class Slot(PlannedRequest):
    """The right of one request to be under way. Wait for `ready`, if there is one, then send.

    :param queue: of all requests.
    :param bucket: the bucket that the request goes to.
    :param path: whose request it is.
    :param is_slow: as for `PlannedRequest`.
    """

    __slots__ = ("_is_left", "_queue", "ready")

    def __init__(
        self, queue: RequestQueue, bucket: str, path: RequestPath, *, is_slow: bool
    ) -> None:
        super().__init__(bucket, path, is_slow=is_slow)
        self.ready: Deferred[None] | None = None
        """Fires when the request may be sent; None: now. Cancel it to leave the queue."""
        self._queue = queue
        self._is_left = False

    def __enter__(self) -> Slot:
        self.ready = self._queue.enter(self)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.leave()

    def begin(self) -> None:
        """The queue calls this when a request that has waited may be sent."""
        if self.ready is not None:
            self.ready.callback(None)

    def leave(self) -> None:
        """Give the slot, or the place in the queue, back. Repeated calls have no effect."""
        if not self._is_left:
            self._is_left = True
            self._queue.leave(self)

    def refused(self) -> None:
        """The store has asked for fewer requests."""
        self._queue.refused(self)

    def served(self) -> None:
        """The store has served the request."""
        if self.throttle is not None and self.throttle.limit is not None:
            self._queue.served(self.bucket)
