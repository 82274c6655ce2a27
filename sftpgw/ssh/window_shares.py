"""The memory that receive windows may hold together, shared between users.

Knows: how much the windows of each user hold. Must not know: channels, or what is in a window.

Rules

1. All windows together hold `limit_bytes`, which the users share by weight. While there is room,
   each may have as much as wanted.
2. Once there is no room, a user who holds less than a fair share still gets the smallest window of
   a channel: others hold more than theirs, since they came first. Bytes that a client was granted
   cannot be taken back, so that windows exceed `limit_bytes` then. Those who hold more than their
   share shrink to the smallest windows as their clients use them.
3. A user at or above the fair share is refused, and told which setting helps.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from sftpgw.aio.active_weights import ActiveWeights
from sftpgw.model.memory import MemoryBudget, WindowBudget


class WindowMemory:
    """The windows of all users.

    :param budget: counts what they hold.
    :param limit_bytes: how much they may hold together.
    :param weight_of: returns the weight of a user.
    :ivar held_bytes: how much they hold.
    """

    def __init__(
        self,
        budget: MemoryBudget,
        limit_bytes: int,
        weight_of: Callable[[str], float] = lambda user: 1.0,
    ) -> None:
        self.held_bytes = 0
        self._budget = budget
        self._limit_bytes = limit_bytes
        self._held_by: Counter[str] = Counter()
        self._weights = ActiveWeights(weight_of)  # of the users in `_held_by`
        self._grown: dict[Callable[[], None], str] = {}

    def share(self, user: str) -> WindowBudget:
        """The windows of one user; a user's sessions have a share together."""
        return _UserWindows(self, user)

    def held_by(self, user: str) -> int:
        """How many bytes the windows of a user hold."""
        return self._held_by[user]

    def fair_share_bytes(self, user: str) -> float:
        """How much a user may hold whatever others hold."""
        return self._weights.share(user, self._limit_bytes)

    def try_charge(self, size_bytes: int, user: str) -> bool:
        """Count the smallest window of a channel; returns whether it is counted."""
        has_room = self._has_room(size_bytes)
        if not has_room and self._held_by[user] + size_bytes > self.fair_share_bytes(user):
            return False
        if not self._budget.try_charge(size_bytes):
            return False
        self._count(size_bytes, user)
        if not has_room:
            self._shrink_others(user)
        return True

    def try_acquire(self, size_bytes: int, user: str) -> bool:
        """Count growth; returns whether it is counted."""
        if not (self._has_room(size_bytes) and self._budget.try_acquire(size_bytes)):
            return False
        self._count(size_bytes, user)
        return True

    def release(self, size_bytes: int, user: str) -> None:
        """Give bytes back."""
        self._count(-size_bytes, user)
        self._budget.release(size_bytes)

    def watch(self, on_pressure: Callable[[], None], user: str) -> None:
        """Call `on_pressure` when others need what a window has beyond the smallest one."""
        self._grown[on_pressure] = user
        self._budget.watch(on_pressure)

    def unwatch(self, on_pressure: Callable[[], None]) -> None:
        """Do not call it any more."""
        self._grown.pop(on_pressure, None)
        self._budget.unwatch(on_pressure)

    def _has_room(self, size_bytes: int) -> bool:
        return self.held_bytes + size_bytes <= self._limit_bytes

    def _shrink_others(self, user: str) -> None:
        for on_pressure, other in tuple(self._grown.items()):
            if other != user and self._held_by[other] > self.fair_share_bytes(other):
                on_pressure()

    def _count(self, size_bytes: int, user: str) -> None:
        was_known = user in self._held_by
        self.held_bytes += size_bytes
        self._held_by[user] += size_bytes
        if not self._held_by[user]:
            del self._held_by[user]
        if was_known != (user in self._held_by):
            (self._weights.remove if was_known else self._weights.add)(user)


class _UserWindows:
    """Implements `WindowBudget` for the windows of one user.

    :param memory: the windows of all users.
    :param user: the user's name.
    """

    def __init__(self, memory: WindowMemory, user: str) -> None:
        self._memory = memory
        self._user = user
        self.unwatch = memory.unwatch

    def try_charge(self, size_bytes: int) -> bool:
        return self._memory.try_charge(size_bytes, self._user)

    def try_acquire(self, size_bytes: int) -> bool:
        return self._memory.try_acquire(size_bytes, self._user)

    def release(self, size_bytes: int) -> None:
        self._memory.release(size_bytes, self._user)

    def watch(self, on_pressure: Callable[[], None]) -> None:
        self._memory.watch(on_pressure, self._user)
