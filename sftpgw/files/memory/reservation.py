"""The memory that one upload holds of the budget, and its position in the queue for more.

Knows: the budget, how to ask for more, give back and wait, and when an upload gives way.
Must not know: what the bytes are.

Only uploads use this. Downloads reserve by range, in `downloads/range_memory`.

A transfer that waits in the queue holds only bytes on their way to the store, and these are
released whatever others do. So the queue always moves on. Released bytes go to the head of the
queue and not to the transfer that released them, which waits behind. So each transfer is served
in the end.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from twisted.internet.defer import Deferred

from sftpgw.aio.delayed_call import cancel_pending
from sftpgw.errors import LimitReached
from sftpgw.files.memory.stall import StallTimeout
from sftpgw.model.clock import Clock, DelayedCall
from sftpgw.model.memory import MemoryBudget

RECLAIM_SECONDS = 10.0
"""How often a transfer in the queue asks the others to give back idle memory."""


def request_reclaim_while_waiting(
    budget: MemoryBudget, clock: Clock, granted: Deferred[None]
) -> None:
    """Until `granted` fires, ask from time to time for memory that is held idly."""
    pending: DelayedCall

    def reclaim() -> None:
        nonlocal pending
        # Scheduled first: an error in here must not end the requests.
        pending = clock.callLater(RECLAIM_SECONDS, reclaim)
        budget.request_reclaim()

    def stop(outcome: Any) -> Any:
        cancel_pending(pending)
        return outcome

    pending = clock.callLater(RECLAIM_SECONDS, reclaim)
    granted.addBoth(stop)


class Reservation:
    """Holds bytes of the budget for one transfer. `close` it in the end.

    :param budget: the user's share of the memory budget.
    :param clock: the process's clock.
    :param on_granted: called when the bytes that were waited for are reserved.
    :param on_pressure: called when others wait for memory: give back idle memory.
    :ivar held_bytes: how many bytes are reserved now.
    """

    def __init__(
        self,
        budget: MemoryBudget,
        clock: Clock,
        *,
        on_granted: Callable[[], None],
        on_pressure: Callable[[], None],
    ) -> None:
        self.held_bytes = 0
        self._budget = budget
        self._clock = clock
        self._on_granted = on_granted
        self._on_pressure = on_pressure
        self._sent_bytes = 0
        self._asked_bytes = 0
        self._is_closed = False
        self._waiting: Deferred[None] | None = None
        budget.watch(on_pressure)

    @property
    def is_waiting(self) -> bool:
        """Whether it waits in the queue."""
        return self._waiting is not None

    @property
    def is_over_fair_share(self) -> bool:
        """Whether others wait while its user holds more of the budget than they could."""
        return self._budget.is_over_fair_share()

    def settle(self, sent_bytes: int, filling_bytes: int) -> int:
        """Release the bytes that are not needed now. Returns how many are missing.

        :param sent_bytes: how many bytes are on their way to the store.
        :param filling_bytes: how many else are needed; the queue is for these.
        """
        stored_bytes, self._sent_bytes = self._sent_bytes - sent_bytes, sent_bytes
        needed_bytes = sent_bytes + filling_bytes
        if self.is_waiting:
            self._give_back(min(self.held_bytes, max(0, stored_bytes)))
            if needed_bytes >= self.held_bytes + self._asked_bytes:
                return 0
            self._leave_queue()
        self._give_back(max(0, self.held_bytes - needed_bytes))
        return 0 if self._is_closed else needed_bytes - self.held_bytes

    def take(self, more_bytes: int) -> bool:
        """Reserve without the queue, as far as the overdraft goes; whether that worked."""
        if not self._budget.try_charge(more_bytes):
            return False
        self.held_bytes += more_bytes
        return True

    def ask(self, more_bytes: int) -> None:
        """Reserve now, if the queue is empty and there is room; else wait in the queue."""
        if self._budget.try_acquire(more_bytes):
            self.held_bytes += more_bytes
            return
        idle_bytes = max(0, self.held_bytes - self._sent_bytes)
        self._give_back(idle_bytes)
        if self._is_closed:
            return
        granted = self._budget.acquire(more_bytes + idle_bytes)
        if granted is None:
            self.held_bytes += more_bytes + idle_bytes
            return
        self._waiting = granted
        self._asked_bytes = more_bytes + idle_bytes
        request_reclaim_while_waiting(self._budget, self._clock, granted)
        granted.addCallbacks(self._granted, lambda _: None)
        if self._is_closed:  # waiting makes others give way, and perhaps this transfer itself
            self.close()

    def close(self) -> None:
        """Give back everything."""
        self._is_closed = True
        self._leave_queue()
        self._budget.unwatch(self._on_pressure)
        self._give_back(self.held_bytes)

    def _give_back(self, size_bytes: int) -> None:
        if size_bytes:
            self.held_bytes -= size_bytes
            self._budget.release(size_bytes)

    def _granted(self, _: None) -> None:
        self.held_bytes += self._asked_bytes
        self._stop_waiting()
        self._on_granted()

    def _leave_queue(self) -> None:
        waiting = self._waiting
        if waiting is not None:
            self._stop_waiting()
            waiting.cancel()

    def _stop_waiting(self) -> None:
        self._waiting = None
        self._asked_bytes = 0


class BufferedUpload(Protocol):
    """The memory that an upload's plan needs."""

    @property
    def sent_bytes(self) -> int:
        """How many bytes are held until the store confirms them."""

    @property
    def filling_bytes(self) -> int:
        """How many else are needed: the bytes of a small upload, whole parts of a large one."""

    @property
    def small_bytes(self) -> int:
        """Up to this size an upload does not wait in the queue."""

    @property
    def waits_for_gap(self) -> bool:
        """Bytes are held that only a later write, or the end, releases."""


class UploadReservation(Reservation):
    """The reservation of one upload: it follows the plan, and gives way when the upload stalls.

    :param plan: what the upload needs.
    :param budget: the user's share of the memory budget.
    :param clock: the process's clock.
    :param stall_timeout: how long the upload may be silent while others wait.
    :param on_granted: called when the bytes that were waited for are reserved.
    :param on_refused: ends the upload with this error, for want of memory.
    :param is_busy: whether requests of the upload are under way.
    """

    def __init__(
        self,
        plan: BufferedUpload,
        budget: MemoryBudget,
        clock: Clock,
        stall_timeout: StallTimeout,
        *,
        on_granted: Callable[[], None],
        on_refused: Callable[[LimitReached], None],
        is_busy: Callable[[], bool],
    ) -> None:
        super().__init__(budget, clock, on_granted=on_granted, on_pressure=self._reclaim)
        self._plan = plan
        self._stall_timeout = stall_timeout
        self._on_refused = on_refused
        self._is_busy = is_busy
        self.written_seconds = clock.seconds()
        """When the client wrote last."""
        self._silent_since_seconds = self._slow_since_seconds = self.written_seconds
        self._moved_bytes = 0

    def follow_plan(self) -> None:
        """Reserve in the budget what the plan holds in buffers."""
        if self._is_closed:
            return
        more_bytes = self.settle(self._plan.sent_bytes, self._plan.filling_bytes)
        if more_bytes:
            self._reserve(more_bytes)

    def _reserve(self, more_bytes: int) -> None:
        is_small = self.held_bytes + more_bytes <= self._plan.small_bytes
        waits_for_gap = self._plan.waits_for_gap
        if (is_small or waits_for_gap) and self.take(more_bytes):
            return
        if waits_for_gap:
            # In the queue it could not go on: the missing write is behind withheld replies.
            error = LimitReached(
                "there is no memory now for writes out of order, or here and there; try again"
            )
            self._on_refused(error)
        else:
            self.ask(more_bytes)

    def note_progress(self, size_bytes: int) -> None:
        """The client has written `size_bytes`."""
        self.written_seconds = self._silent_since_seconds = self._clock.seconds()
        self._moved_bytes += size_bytes
        if self._moved_bytes >= self._plan.small_bytes:
            self._moved_bytes = 0
            self._slow_since_seconds = self._silent_since_seconds

    def replies_leave(self) -> None:
        """Replies that were withheld leave: the client could not write before."""
        self._silent_since_seconds = self._slow_since_seconds = self._clock.seconds()

    def _reclaim(self) -> None:
        """Others wait for memory: an upload that holds some and does not move on gives way."""
        if not self.held_bytes or self._is_busy() or self.is_waiting:
            return
        is_silent = self._stall_timeout.is_over(self._silent_since_seconds)
        is_slow = self._stall_timeout.is_over(self._slow_since_seconds)
        if is_silent or (is_slow and self.is_over_fair_share):
            self._on_refused(self._stalled(is_silent=is_silent))

    def _stalled(self, *, is_silent: bool) -> LimitReached:
        stall_timeout = self._stall_timeout
        return LimitReached(
            f"{'nothing' if is_silent else 'hardly anything'} was written for "
            f"{stall_timeout.limit_seconds:.0f} seconds while others waited for memory; send the "
            f"file "
            f"again{', and fewer at the same time' if stall_timeout.is_held_up else ''}"
        )
