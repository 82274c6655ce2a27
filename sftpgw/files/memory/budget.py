"""The memory budget of the process, and each user's share of it.

Knows: how many bytes each user holds, and which transfers wait for more, in order.
Must not know: what the bytes are.

Rules

1. Uploads wait in a queue for whole parts, so that two of them never hold half of what they need.
   The queue is fair between users; the transfers of one user are served in their order. No request
   that waits in the queue is served before the head: small parts do not overtake a large one.
2. Read-ahead takes only bytes that are free while the queue is empty. Once half of the budget is
   taken, a download takes no more than a fair share: the first downloads would leave so little to
   the others that each of their READs became a request.
3. Bytes that cannot wait (a READ, a write behind a gap, a small file) may pass the queue and
   overdraw the budget by a tenth. Beyond that they fail or wait in the queue.
4. Bytes that were fetched and sent in reply, and that the client does not read, count until they
   leave: they cannot be released, so that they may pass every bound. They are the last to grow:
   READs and OPENs wait in the queue like all others once the overdraft is spent.
5. A transfer that has to wait makes all others give back the bytes that they hold idly.
6. A user is *over the fair share* who holds more than an equal part while others wait, or who is
   next in the queue behind transfers of their own: bytes of theirs that do not move are reclaimed
   first.
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
    """The bytes that all transfers hold together. Implements `MemoryBudget`, as do its shares.

    :param limit_bytes: how many bytes all transfers may hold together.
    :ivar held_bytes: how many they hold now.
    """

    def __init__(self, limit_bytes: int) -> None:
        self.limit_bytes = limit_bytes
        self.held_bytes = 0
        self._held_by: Counter[str] = Counter()
        self._queue: FairQueue[int] = FairQueue(self._serve)
        self._watchers: dict[Callable[[], None], str | None] = {}  # with the user of the transfer
        self._transfers: Counter[str] = Counter()

    @classmethod
    def within(cls, memory_bytes: int) -> Budget:
        """A budget that stays within `memory_bytes`, including the overdraft."""
        return cls(memory_bytes * OVERDRAFT_SHARE // (OVERDRAFT_SHARE + 1))

    def share(self, user: str, at_most_bytes: int | None = None) -> Share:
        """The budget for one user; a user may have several shares.

        :param user: the name of the user.
        :param at_most_bytes: how many bytes `try_acquire` and `try_charge` may count for the user;
            None for no bound.
        """
        return Share(self, user, at_most_bytes)

    def held_by(self, user: str) -> int:
        """How many bytes all shares of `user` hold together."""
        return self._held_by[user]

    @property
    def waiting(self) -> int:
        """How many transfers wait in the queue."""
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
        granted = self._queue.put((user,), size_bytes)
        self.request_reclaim()
        return granted

    def release(self, size_bytes: int, user: str = "") -> None:
        self._count(user, -size_bytes)
        self._serve()

    def is_over_fair_share(self, user: str = "") -> bool:
        if self._queue.is_empty:
            return False
        if user == self._queue.next_path[0]:
            return True
        users = len(self._held_by.keys() | set(self._queue.users))
        return self._held_by[user] > self.limit_bytes // users

    @property
    def fair_share_bytes(self) -> int:
        return self.fair_share_bytes_of("")

    def fair_share_bytes_of(self, user: str) -> int:
        """How many bytes one transfer of `user` may hold that no READ waits for."""
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

    # Counting.

    def _count(self, user: str, size_bytes: int) -> None:
        self.held_bytes += size_bytes
        self._held_by[user] += size_bytes
        if not self._held_by[user]:
            del self._held_by[user]

    def _fits(self, size_bytes: int) -> bool:
        # A request for more than the limit is granted when all is free; otherwise it never would.
        return self.held_bytes + size_bytes <= self.limit_bytes or self.held_bytes == 0

    def _serve(self) -> None:
        while not self._queue.is_empty and self._fits(self._queue.next_item):
            (user,), size_bytes, granted = self._queue.pop()
            self._count(user, size_bytes)
            granted.callback(None)


class Share:
    """Implements `MemoryBudget` for one user.

    :param budget: the budget of the process.
    :param user: the name of the user.
    :param at_most_bytes: how many bytes `try_acquire` and `try_charge` may count for the user;
        None for no bound.
    """

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
