"""So many at once, and the others wait in a fair order.

Knows: how many slots there are, and what waits for one.
Must not know: what is done in a slot.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from twisted.internet.defer import Deferred

from sftpgw.aio.fair_order import FairOrder, Path


class FairSlots:
    """A semaphore whose waiters are served by user, session and channel.

    :param slots: how many may be held at the same time.
    :param weight_of: returns the weight of a user, as for `FairOrder`.
    :ivar held: how many are held now.
    """

    def __init__(self, slots: int, weight_of: Callable[[str], float] = lambda user: 1.0) -> None:
        self.held = 0
        self._slots = slots
        self._is_granting = False
        self._order: FairOrder[Deferred[None]] = FairOrder(weight_of)

    def __len__(self) -> int:
        """How many wait."""
        return len(self._order)

    @asynccontextmanager
    async def slot(self, path: Path) -> AsyncIterator[None]:
        """Wait for a slot, and hold it (``async with``).

        :param path: who wants it.
        """
        waiting = self.acquire(path)
        if waiting is not None:
            await waiting
        try:
            yield
        finally:
            self.release()

    def acquire(self, path: Path) -> Deferred[None] | None:
        """Take a slot now, and return None, or wait for one: cancel the Deferred to leave.

        :param path: who wants it.
        """
        if self.held < self._slots and self._order.is_empty:
            self.held += 1
            self._order.charge(path, 1.0)
            return None
        granted: Deferred[None] = Deferred(lambda _: self._order.remove(ticket))
        ticket = self._order.put(path, granted)
        return granted

    def release(self) -> None:
        """Give a slot back; the next one in order gets it.

        One that gives it back at once leads here again: a loop, not a recursion.
        """
        self.held -= 1
        if self._is_granting:
            return
        self._is_granting = True
        try:
            while self.held < self._slots and not self._order.is_empty:
                self.held += 1
                self._order.pop().item.callback(None)
        finally:
            self._is_granting = False
