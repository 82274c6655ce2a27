"""The memory budget of the process, and each user's share in it.

Knows: how many bytes each user holds, and who waits for more, in order.
Must not know: what the bytes are.

Rules

1. Uploads wait in line for whole parts, so that no two hold half of what they need.
   Users take turns; within one user it is first come, first served. Whose turn it is
   is waited for: a large part is not passed by small ones.
2. Read-ahead takes only what is free while nobody is in line. Once half of all is taken, none
   takes more than a fair share of its user's: who came first would leave so little to the others
   that each of their READs became a request.
3. What cannot wait (a READ, a write behind a gap, a small file) may pass the line and
   overdraw by a tenth, so that the bound holds whatever clients do.
4. What has been fetched and answered with, and is not read, counts as long as it waits: nobody
   can let go of it, so that it may pass every bound. It is the last that grows: READs and OPENs
   stand in line like all others once the overdraft is spent.
5. Who has to wait makes everybody else give back what they hold in vain.
6. A user is *greedy* who holds more than an equal share while others wait, or who is
   next in line behind transfers of their own: what they hold and do not move on with,
   they lose first.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from twisted.internet.defer import Deferred

from sftpgw.aio.fair_queue import FairQueue

OVERDRAFT_SHARE = 10
PLENTY_SHARE = 2
"""Memory is short when more than this fraction of it is taken: a half."""


class Budget:
    """What all transfers hold together. Implements `interfaces.MemoryBudget`, as does `share`.

    :param limit_bytes: what all transfers may hold together.
    """

    def __init__(self, limit_bytes: int) -> None:
        self.limit_bytes = limit_bytes
        self.held_bytes = 0
        self._held_by: Counter[str] = Counter()
        self._queue: FairQueue[int] = FairQueue(self._serve)
        self._watchers: dict[Callable[[], None], str | None] = {}  # and whose transfer it is
        self._transfers: Counter[str] = Counter()

    @classmethod
    def within(cls, memory_bytes: int) -> Budget:
        """A budget that stays within `memory_bytes`, what is overdrawn included."""
        return cls(memory_bytes * OVERDRAFT_SHARE // (OVERDRAFT_SHARE + 1))

    def share(self, user: str, at_most_bytes: int | None = None) -> Share:
        """The budget as `user` sees it, and may use of it; any number of them for one user."""
        return Share(self, user, at_most_bytes)

    def held_by(self, user: str) -> int:
        """What all shares of `user` hold together."""
        return self._held_by[user]

    @property
    def waiting(self) -> int:
        """How many stand in line."""
        return len(self._queue)

    def try_acquire(self, size_bytes: int, user: str = "") -> bool:
        if not (self._queue.is_empty and self._fits(size_bytes)):
            return False
        self._count(user, size_bytes)
        return True

    def try_charge(self, size_bytes: int, user: str = "") -> bool:
        overdrawn_bytes = self.held_bytes + size_bytes - self.limit_bytes
        if overdrawn_bytes > self.limit_bytes // OVERDRAFT_SHARE:
            return False
        self._count(user, size_bytes)
        return True

    def charge(self, size_bytes: int, user: str = "") -> None:
        self._count(user, size_bytes)

    def acquire(self, size_bytes: int, user: str = "") -> Deferred[None] | None:
        if self.try_acquire(size_bytes, user):
            return None
        granted = self._queue.put(user, size_bytes)
        self.request_reclaim()
        return granted

    def release(self, size_bytes: int, user: str = "") -> None:
        self._count(user, -size_bytes)
        self._serve()

    def is_over_fair_share(self, user: str = "") -> bool:
        if self._queue.is_empty:
            return False
        if user == self._queue.next_user:
            return True
        users = len(self._held_by.keys() | self._queue.users)
        return self._held_by[user] > self.limit_bytes // users

    @property
    def fair_share_bytes(self) -> int:
        return self.fair_share_bytes_of("")

    def fair_share_bytes_of(self, user: str) -> int:
        """What one transfer of `user` may hold for nobody yet."""
        if self.held_bytes * PLENTY_SHARE <= self.limit_bytes:
            return self.limit_bytes
        users, transfers = max(1, len(self._transfers)), max(1, self._transfers[user])
        return self.limit_bytes // users // transfers

    def watch(
        self, on_pressure: Callable[[], None], *, is_transfer: bool = True, user: str = ""
    ) -> None:
        self.unwatch(on_pressure)
        self._watchers[on_pressure] = user if is_transfer else None
        if is_transfer:
            self._transfers[user] += 1

    def unwatch(self, on_pressure: Callable[[], None]) -> None:
        user = self._watchers.pop(on_pressure, None)
        if user is not None:
            self._transfers[user] -= 1
            if not self._transfers[user]:
                del self._transfers[user]

    def request_reclaim(self) -> None:
        for on_pressure in tuple(self._watchers):
            if self._queue.is_empty:
                return
            on_pressure()

    # How it is kept.

    def _count(self, user: str, size_bytes: int) -> None:
        self.held_bytes += size_bytes
        self._held_by[user] += size_bytes
        if not self._held_by[user]:
            del self._held_by[user]

    def _fits(self, size_bytes: int) -> bool:
        # Whoever asks for more than there is gets it when all is free, else never.
        return self.held_bytes + size_bytes <= self.limit_bytes or self.held_bytes == 0

    def _serve(self) -> None:
        while not self._queue.is_empty and self._fits(self._queue.next_item):
            user, size_bytes, granted = self._queue.pop()
            self._count(user, size_bytes)
            granted.callback(None)


class Share:
    """Implements `interfaces.MemoryBudget` for one user."""

    def __init__(self, budget: Budget, user: str, at_most_bytes: int | None = None) -> None:
        self._user = user
        self._budget = budget
        self._at_most_bytes = at_most_bytes
        self.unwatch = budget.unwatch
        self.request_reclaim = budget.request_reclaim

    @property
    def fair_share_bytes(self) -> int:
        return self._budget.fair_share_bytes_of(self._user)

    def watch(self, on_pressure: Callable[[], None], *, is_transfer: bool = True) -> None:
        self._budget.watch(on_pressure, is_transfer=is_transfer, user=self._user)

    def try_acquire(self, size_bytes: int) -> bool:
        return self._allows(size_bytes) and self._budget.try_acquire(size_bytes, self._user)

    def try_charge(self, size_bytes: int) -> bool:
        return self._allows(size_bytes) and self._budget.try_charge(size_bytes, self._user)

    def charge(self, size_bytes: int) -> None:
        self._budget.charge(size_bytes, self._user)

    def acquire(self, size_bytes: int) -> Deferred[None] | None:
        return self._budget.acquire(size_bytes, self._user)

    def release(self, size_bytes: int) -> None:
        self._budget.release(size_bytes, self._user)

    def is_over_fair_share(self) -> bool:
        return self._budget.is_over_fair_share(self._user)

    def _allows(self, size_bytes: int) -> bool:
        at_most_bytes = self._at_most_bytes
        return (
            at_most_bytes is None or self._budget.held_by(self._user) + size_bytes <= at_most_bytes
        )
