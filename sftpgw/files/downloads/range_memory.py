"""The memory that a download reserves for the ranges that it fetches.

Knows: the budget, the download's position in its queue, and the granted bytes that are unused.
Must not know: which ranges are fetched, or which READs wait.

Only downloads use this. Uploads reserve what their plan holds, in `memory/reservation`.

Where there is no memory at all, an OPEN waits in the queue for a while, as READs do. A download
that waits in the queue holds nothing, so that no two transfers wait for each other.
"""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.defer import Deferred

from sftpgw.errors import LimitReached
from sftpgw.files.downloads.plan.read_ahead import Fetch
from sftpgw.files.memory.held_memory import NO_MEMORY, wait_for_memory
from sftpgw.model.clock import Clock
from sftpgw.model.memory import MemoryBudget
from sftpgw.model.store import ByteRange
from sftpgw.model.units import KIB

FIRST_BYTES_WHEN_SHORT_OF_MEMORY = 256 * KIB


class RangeMemory:
    """Reserves memory of the budget for one download.

    :param budget: the user's share of the memory budget.
    :param clock: the process's clock.
    :param on_granted: called when memory that was waited for may be taken; the rest that it
        does not take is released.
    """

    def __init__(self, budget: MemoryBudget, clock: Clock, on_granted: Callable[[], None]) -> None:
        self._budget = budget
        self._clock = clock
        self._on_granted = on_granted
        self._waiting: Deferred[None] | None = None
        self._granted_bytes = 0

    def close(self) -> None:
        """Nothing is waited for any more: what leads back to the download goes."""
        del self._on_granted

    async def reserve_first(self, part_bytes: int, *, may_wait: bool) -> int:
        """Reserve the range that the file is opened with: a part, or less if memory is short.

        :param part_bytes: the size of a part.
        :param may_wait: whether to wait in the queue if there is no memory.
        :raises LimitReached: there is no memory.
        """
        first_bytes = min(part_bytes, self._budget.fair_share_bytes)
        if self._budget.try_acquire(first_bytes):
            return first_bytes
        first_bytes = min(first_bytes, FIRST_BYTES_WHEN_SHORT_OF_MEMORY)
        if not self._budget.try_charge(first_bytes):
            if not may_wait:
                raise LimitReached(NO_MEMORY)
            await wait_for_memory(self._budget, self._clock, first_bytes)
        return first_bytes

    def reserve(self, fetch: Fetch, *, reads_ahead: bool) -> ByteRange | None:
        """Reserve a range, or the part of it that a READ waits for; None if neither fits.

        :param fetch: the range.
        :param reads_ahead: whether bytes may be fetched that no READ waits for.
        """
        may_take = fetch.is_on_demand or reads_ahead
        if may_take and self._budget.try_acquire(fetch.wanted.size_bytes):
            return fetch.wanted
        if not fetch.is_on_demand:
            return None
        on_demand = fetch.on_demand
        if self._granted_bytes:
            granted_bytes = min(self._granted_bytes, on_demand.size_bytes)
            self._granted_bytes -= granted_bytes
            return ByteRange(on_demand.start, on_demand.start + granted_bytes)
        return on_demand if self._budget.try_charge(on_demand.size_bytes) else None

    def queue(self, size_bytes: int) -> None:
        """Wait in the queue for `size_bytes`, unless it waits already."""
        if self._waiting is not None:
            return
        self._waiting = self._budget.acquire(size_bytes)
        if self._waiting is None:
            self._granted(None, size_bytes)
        else:
            self._budget.reclaim_until(self._waiting, self._clock)
            self._waiting.addCallbacks(self._granted, lambda _: None, callbackArgs=(size_bytes,))

    def _granted(self, _: None, size_bytes: int) -> None:
        self._waiting = None
        self._granted_bytes = size_bytes
        try:
            self._on_granted()
        finally:
            # The READ that it was for may have been given up, or may have asked for less.
            unused_bytes, self._granted_bytes = self._granted_bytes, 0
            self._budget.release(unused_bytes)

    def leave_queue(self) -> None:
        """Do not wait any more."""
        if self._waiting is not None:
            waiting, self._waiting = self._waiting, None
            waiting.cancel()
