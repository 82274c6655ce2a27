"""A queue in which users take turns.

Knows: whose entries wait, and in which order. Must not know: what they wait for.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Set
from typing import Generic, TypeVar

from twisted.internet.defer import Deferred

T = TypeVar("T")


class FairQueue(Generic[T]):
    """Round robin between users, first in, first out within one user.

    :param on_leave: is called after a waiter was cancelled and has left the queue.
    """

    def __init__(self, on_leave: Callable[[], None] | None = None) -> None:
        # The next user comes first; a user that was served goes to the end.
        self._entries: dict[str, deque[tuple[T, Deferred[None]]]] = {}
        self._on_leave = on_leave
        self.is_empty = True
        """Whether nothing waits. An attribute, since each READ and each part asks."""

    def __len__(self) -> int:
        """How many entries wait."""
        return sum(map(len, self._entries.values()))

    @property
    def users(self) -> Set[str]:
        """The users that have entries in the queue."""
        return self._entries.keys()

    @property
    def next_user(self) -> str:
        """Whose entry is the next one. The queue must not be empty."""
        return next(iter(self._entries))

    @property
    def next_item(self) -> T:
        """What was put in with the next entry. The queue must not be empty."""
        return self._entries[self.next_user][0][0]

    def put(self, user: str, item: T) -> Deferred[None]:
        """Put `item` at the end of the user's entries.

        Returns what `pop` hands out with it, for the caller of `pop` to fire. Cancel it to leave.
        """
        granted: Deferred[None] = Deferred(lambda granted: self._leave(user, granted))
        self._entries.setdefault(user, deque()).append((item, granted))
        self.is_empty = False
        return granted

    def pop(self) -> tuple[str, T, Deferred[None]]:
        """Take out the next entry: its user, its item, and the Deferred that waits for it."""
        user = self.next_user
        entries = self._entries.pop(user)
        item, granted = entries.popleft()
        if entries:
            self._entries[user] = entries
        self.is_empty = not self._entries
        return user, item, granted

    def _leave(self, user: str, granted: Deferred[None]) -> None:
        left = deque(entry for entry in self._entries[user] if entry[1] is not granted)
        if left:
            self._entries[user] = left
        else:
            del self._entries[user]
        self.is_empty = not self._entries
        if self._on_leave is not None:
            self._on_leave()
