"""The memory that one upload holds of the budget, and its position in the queue for more.

Knows: how to ask for more, give back and wait, how slow the client is, when an upload gives way.
Must not know: what the bytes are, or who else holds memory (`memory/plan`).

Only uploads use this. Downloads reserve by range, in `downloads/range_memory`.

An upload reserves what it holds, in steps, so that most WRITEs ask for nothing. *Progress* is bytes
that leave to the store, or new bytes of the file: bytes that are written again are none.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from twisted.internet.defer import Deferred

from sftpgw.errors import LimitReached
from sftpgw.files.memory.slow_uploads import IN_VAIN_SECONDS
from sftpgw.files.memory.stall import SLOW_SECONDS, STILL_SECONDS, StallTimeout
from sftpgw.model.clock import Clock
from sftpgw.model.memory import MemoryBudget
from sftpgw.model.units import KIB


class BufferedUpload(Protocol):
    """The memory that an upload's plan needs."""

    @property
    def sent_bytes(self) -> int:
        """How many bytes are held until the store confirms them."""

    @property
    def filling_bytes(self) -> int:
        """How many else are needed: the bytes of a small upload, steps of a large one."""

    @property
    def listed_bytes(self) -> int:
        """How many bytes the list of the parts takes that are stored."""

    @property
    def part_filling_bytes(self) -> int:
        """With how many filling bytes the next part can be sent."""

    @property
    def progress_bytes(self) -> int:
        """How many bytes of the file have come, each of them counted once."""

    @property
    def small_bytes(self) -> int:
        """Up to this size an upload does not wait in the queue; and the size of its first step."""

    step_bytes: int
    """How many bytes are reserved at once: a multiple of `small_bytes`, or `least_step_bytes`."""

    @property
    def least_step_bytes(self) -> int:
        """How many bytes a slow upload reserves at once."""

    @property
    def slow_filling_bytes(self) -> int:
        """As `filling_bytes`, in steps of `least_step_bytes`."""

    @property
    def waits_for_gap(self) -> bool:
        """Bytes are held that only a later write, or the end, releases."""

    @property
    def can_cut(self) -> bool:
        """What is here could be sent as a part, although it could be larger."""


class UploadReservation:
    """The reservation of one upload: it follows the plan. Implements `MovingUpload`.

    :param plan: what the upload needs.
    :param budget: the user's share of the memory budget.
    :param clock: the process's clock.
    :param stall_timeout: how long the upload may be silent while others wait.
    :param on_granted: called when the bytes that were waited for are reserved.
    :param on_cut: sends what is here as a part.
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
        on_cut: Callable[[], None],
        on_refused: Callable[[LimitReached], None],
        is_busy: Callable[[], bool],
    ) -> None:
        self._plan = plan
        self._budget = budget
        self._clock = clock
        self._stall_timeout = stall_timeout
        self._on_granted = on_granted
        self._on_refused = on_refused
        self._is_busy = is_busy
        self.cut = on_cut
        self.written_seconds = clock.seconds()
        """When the client wrote last."""
        self._silent_since_seconds = self._slow_since_seconds = self.written_seconds
        self._seen_bytes = 0
        self._still_since_seconds = self.written_seconds
        self._moved_bytes = 0  # the progress at `_still_since_seconds`
        self._lap_bytes = 0
        self._timed_bytes = 0  # the progress at `_slow_since_seconds`
        self._was_slow = False  # for the last step of new bytes
        self._memory = budget.open_upload(self)
        self._listed_bytes = 0
        self._count_list()  # a resumed upload has parts from the start
        self._is_closed = False
        self._waiting: Deferred[None] | None = None

    # What it holds.

    @property
    def held_bytes(self) -> int:
        """How many bytes are reserved now."""
        return self._memory.sent_bytes + self._memory.filling_bytes

    @property
    def is_waiting(self) -> bool:
        """Whether it waits in the queue."""
        return self._waiting is not None

    def follow_plan(self) -> None:
        """Reserve in the budget what the plan holds in buffers."""
        plan, memory = self._plan, self._memory
        filling_bytes = plan.filling_bytes
        if filling_bytes == memory.filling_bytes and plan.sent_bytes == memory.sent_bytes:
            return
        if self._is_closed:
            return
        self._note_lap()
        self._count_list()
        if self.is_slow or self.is_still:
            plan.step_bytes = plan.least_step_bytes
        memory.send(plan.sent_bytes)  # others may be served, or this one
        more_bytes = self._needed_bytes - memory.filling_bytes
        if more_bytes <= 0:
            self._leave_queue()
            if not memory.lent_bytes:
                memory.give_back(-more_bytes)
        elif self.is_waiting:
            memory.update(more_bytes, plan.part_filling_bytes)
        else:
            self._reserve(more_bytes)

    @property
    def _needed_bytes(self) -> int:
        # A loan is enough for the part: with a larger step it would not be.
        plan = self._plan
        return plan.slow_filling_bytes if self._memory.lent_bytes else plan.filling_bytes

    def _count_list(self) -> None:
        """The list of parts is here already, and stays until the end."""
        more_bytes = self._plan.listed_bytes - self._listed_bytes
        if more_bytes > 0:
            self._listed_bytes += more_bytes
            self._budget.charge(more_bytes)

    def _reserve(self, more_bytes: int) -> None:
        plan, memory = self._plan, self._memory
        is_small = self.held_bytes + more_bytes <= plan.small_bytes
        cannot_wait = is_small or plan.waits_for_gap
        part_bytes = plan.part_filling_bytes
        if memory.take(more_bytes, part_bytes, cannot_wait=cannot_wait):
            return
        if plan.can_cut:
            self.cut()
            return
        if self.is_slow or memory.is_in_vain or plan.waits_for_gap:
            memory.make_room(more_bytes)
        if self._is_closed or memory.take(more_bytes, part_bytes, cannot_wait=cannot_wait):
            return
        if plan.waits_for_gap:
            # In the queue it could not go on: the missing write is behind withheld replies.
            error = LimitReached(
                "there is no memory now for writes out of order, or here and there ([limits] "
                "memory); try again"
            )
            self._on_refused(error)
        else:
            self._wait(more_bytes, part_bytes)

    def _wait(self, more_bytes: int, part_bytes: int) -> None:
        waiting: Deferred[None] = Deferred()
        self._waiting = waiting
        self._memory.ask(more_bytes, part_bytes, self._granted)
        if not waiting.called:
            self._budget.reclaim_until(waiting, self._clock)
            self._budget.request_reclaim()

    def _granted(self) -> None:
        self._stop_waiting()
        self._on_granted()

    def _leave_queue(self) -> None:
        if self._waiting is not None:
            self._stop_waiting()
            self._memory.leave()

    def _stop_waiting(self) -> None:
        waiting, self._waiting = self._waiting, None
        if waiting is not None:
            waiting.callback(None)

    def close(self) -> None:
        """Give back everything."""
        self._is_closed = True
        self._leave_queue()
        self._memory.close()
        listed_bytes, self._listed_bytes = self._listed_bytes, 0
        if listed_bytes:
            self._budget.release(listed_bytes)
        # They lead back to the upload, which has this: no cycle is left.
        self._on_granted = self.cut = _do_nothing
        self._on_refused = _ignore
        self._is_busy = bool

    # How it gets on.

    def note_write(self) -> None:
        """The client has written something."""
        self.written_seconds = self._clock.seconds()

    def replies_leave(self) -> None:
        """Replies that were withheld leave: the client could not write before."""
        self._silent_since_seconds = self._slow_since_seconds = self._clock.seconds()
        self._still_since_seconds = self._slow_since_seconds
        self._timed_bytes = self._moved_bytes = self._plan.progress_bytes
        self._was_slow = False

    def _note_lap(self) -> None:
        """Note the time whenever a step of new bytes has come."""
        progress_bytes = self._plan.progress_bytes
        if progress_bytes - self._lap_bytes >= self._plan.small_bytes:
            self._was_slow = self._stall_timeout.is_over(self._slow_since_seconds, SLOW_SECONDS)
            now = self._clock.seconds()
            if not self._was_slow:
                self._memory.note_moving()
            self._choose_step(progress_bytes, now - self._slow_since_seconds)
            self._lap_bytes = self._timed_bytes = progress_bytes
            self._slow_since_seconds = now

    def _choose_step(self, progress_bytes: int, seconds: float) -> None:
        """Reserve what comes until it would be slow, but no more than has come already.

        So a fast upload asks once for a part, and one that stops takes twice what it has sent.
        """
        small_bytes = self._plan.small_bytes
        ahead_bytes = progress_bytes
        if seconds > 0:
            rate = (progress_bytes - self._timed_bytes) / seconds
            ahead_bytes = min(progress_bytes, int(rate * SLOW_SECONDS))
        self._plan.step_bytes = max(1, ahead_bytes // small_bytes) * small_bytes

    @property
    def is_slow(self) -> bool:
        if self._is_closed or self._is_busy() or self.is_waiting:
            return False
        return self._was_slow or self._stall_timeout.is_over(self._slow_since_seconds, SLOW_SECONDS)

    @property
    def is_still(self) -> bool:
        if self._is_closed or self._is_busy() or self.is_waiting:
            return False
        now, progress_bytes = self._clock.seconds(), self._plan.progress_bytes
        if progress_bytes - self._moved_bytes >= self._plan.least_step_bytes:
            self._moved_bytes, self._still_since_seconds = progress_bytes, now
            return False
        return now - self._still_since_seconds >= STILL_SECONDS

    @property
    def is_stalled(self) -> bool:
        return self.is_slow and self._stall_timeout.is_over(self._slow_since_seconds)

    @property
    def is_silent(self) -> bool:
        if self._is_closed or self._is_busy() or self.is_waiting:
            return False
        progress_bytes = self._plan.progress_bytes
        if progress_bytes > self._seen_bytes:
            self._seen_bytes = progress_bytes
            self._silent_since_seconds = max(self._silent_since_seconds, self.written_seconds)
        return self._stall_timeout.is_over(self._silent_since_seconds)

    @property
    def unused_bytes(self) -> int:
        return max(0, self._memory.filling_bytes - self._plan.slow_filling_bytes)

    @property
    def can_cut(self) -> bool:
        return self._plan.can_cut

    def come_again(self) -> None:
        """The upload gives way to others: it fails, and its client is told why."""
        self._on_refused(self._silence() if self.is_silent else self._slowness())

    def _silence(self) -> LimitReached:
        stall_timeout = self._stall_timeout
        return LimitReached(
            f"nothing new was written for {stall_timeout.limit_seconds():.0f} seconds while others "
            "waited for memory ([limits] memory); send the file "
            f"again{', and fewer at the same time' if stall_timeout.is_held_up else ''}"
        )

    def _slowness(self) -> LimitReached:
        plan = self._plan
        seconds = IN_VAIN_SECONDS
        if not self._memory.is_in_vain:
            seconds = self._stall_timeout.limit_seconds(SLOW_SECONDS)
        return LimitReached(
            f"hardly anything was written for {seconds:.0f} seconds (less than "
            f"{plan.small_bytes // KIB} KiB), and slow uploads hold all the memory that there is "
            "for them ([limits] memory); send the file again later, over a faster line, or fewer "
            "at the same time"
        )


def _do_nothing() -> None:
    """What an upload does that has ended."""


def _ignore(error: LimitReached) -> None:
    """An upload that has ended cannot fail."""
