"""The memory that something other than a transfer holds: an open directory, an open handle.

Knows: how many bytes of the budget are held, and how long to wait for more.
Must not know: what the bytes are.
"""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.internet.defer import TimeoutError as WaitedTooLong

from sftpgw.errors import LimitReached
from sftpgw.model.clock import Clock
from sftpgw.model.memory import MemoryBudget

WAIT_SECONDS = 60.0
"""How long a request that holds nothing waits in the queue for memory."""

NO_MEMORY = "all of [limits] memory is in use; try again in a moment"


async def wait_for_memory(budget: MemoryBudget, clock: Clock, size_bytes: int) -> None:
    """Count bytes in the budget, after the requests that are in the queue already.

    :param budget: the user's share of the memory budget.
    :param clock: the process's clock.
    :param size_bytes: how many bytes to count.
    :raises LimitReached: there was no memory for a minute.
    """
    granted: Deferred[None] | None = budget.acquire(size_bytes)
    if granted is None:
        return
    budget.reclaim_until(granted, clock)
    try:
        await granted.addTimeout(WAIT_SECONDS, clock)  # type: ignore[arg-type]
    except WaitedTooLong:
        raise LimitReached(NO_MEMORY) from None


class HeldMemory:
    """Bytes of the budget that change in number. `close` it in the end.

    :param budget: the user's share of the memory budget.
    :param clock: the process's clock.
    :ivar held_bytes: how many bytes are counted now.
    """

    def __init__(self, budget: MemoryBudget, clock: Clock) -> None:
        self.held_bytes = 0
        self._budget = budget
        self._clock = clock
        self._is_closed = False

    async def reserve(self, more_bytes: int) -> None:
        """Count more bytes: at once if there is room or overdraft, else after a wait.

        :raises LimitReached: there is no memory, for a minute.
        """
        budget = self._budget
        if not (budget.try_acquire(more_bytes) or budget.try_charge(more_bytes)):
            await wait_for_memory(budget, self._clock, more_bytes)
        self._note(more_bytes)

    def try_reserve(self, more_bytes: int) -> bool:
        """Count more bytes if `MemoryBudget.try_acquire` does; whether they are counted.

        :param more_bytes: how many.
        """
        if self._is_closed or not self._budget.try_acquire(more_bytes):
            return False
        self._note(more_bytes)
        return True

    def settle(self, size_bytes: int) -> None:
        """Count `size_bytes` in place of what was counted before: they are in memory already."""
        more_bytes = 0 if self._is_closed else size_bytes - self.held_bytes
        if more_bytes > 0:
            self._budget.charge(more_bytes)
        elif more_bytes < 0:
            self._budget.release(-more_bytes)
        self.held_bytes += more_bytes

    def close(self) -> None:
        """Give back everything. What is reserved later is given back at once."""
        self._is_closed = True
        held_bytes, self.held_bytes = self.held_bytes, 0
        if held_bytes:
            self._budget.release(held_bytes)

    def _note(self, more_bytes: int) -> None:
        if self._is_closed:
            self._budget.release(more_bytes)
        else:
            self.held_bytes += more_bytes
