"""So many at once for each user; what a user asks for beyond that waits, in a fair order.

Knows: who holds how many slots. Must not know: what is done in a slot.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from sftpgw.aio.fair_order import Path
from sftpgw.aio.fair_slots import FairSlots


class UserSlots:
    """A semaphore for each user. A user's sessions take turns; users do not wait for each other.

    :param slots: how many a user may hold at the same time.
    :param max_waiting: how many of a user may wait.
    :param refusal: makes the error for those beyond.
    """

    def __init__(self, slots: int, max_waiting: int, refusal: Callable[[], Exception]) -> None:
        self._slots = slots
        self._max_waiting = max_waiting
        self._refusal = refusal
        self._users: dict[str, FairSlots] = {}

    def __len__(self) -> int:
        """How many users hold slots."""
        return len(self._users)

    @asynccontextmanager
    async def slot(self, path: Path) -> AsyncIterator[bool]:
        """Wait for a slot, and hold it (``async with``). Tells whether there was a wait.

        :param path: who wants it; the user comes first.
        :raises Exception: too many of the user wait; what `refusal` has made.
        """
        user = path[0]
        slots = self._users.setdefault(user, FairSlots(self._slots))
        if len(slots) >= self._max_waiting:
            raise self._refusal()
        waiting = slots.acquire(path)
        if waiting is not None:
            await waiting
        try:
            yield waiting is not None
        finally:
            slots.release()
            if not (slots.held or len(slots)) and self._users.get(user) is slots:
                del self._users[user]
