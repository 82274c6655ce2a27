"""How many of something each user has at once, over all connections.

Knows: counts and limits by user. Must not know: what is counted.
"""

from __future__ import annotations

from collections import Counter
from typing import TypeAlias

_Key: TypeAlias = tuple[str, str]


class UserCounts:
    """The counts of all users of the process."""

    def __init__(self) -> None:
        self._counts: Counter[_Key] = Counter()

    def __len__(self) -> int:
        """How many counts there are that are not 0."""
        return len(self._counts)

    def of(self, user: str, what: str, limit: int) -> UserCount:
        """One user's count of one thing. A session asks for it once.

        :param user: the name of the user.
        :param what: the thing.
        :param limit: how many of it the user may have at once.
        """
        return UserCount(self._counts, (user, what), limit)


class UserCount:
    """One user's count of one thing.

    :param counts: the counts of all users and things.
    :param key: the user and the thing.
    :param limit: how many the user may have at once.
    """

    def __init__(self, counts: Counter[_Key], key: _Key, limit: int) -> None:
        self.limit = limit
        self._counts = counts
        self._key = key

    def try_add(self) -> bool:
        """Count one more, unless the user has as many as allowed; whether it is counted."""
        if self._counts.get(self._key, 0) >= self.limit:
            return False
        self._counts[self._key] += 1
        return True

    def remove(self) -> None:
        """Count one less."""
        self._counts[self._key] -= 1
        if not self._counts[self._key]:
            del self._counts[self._key]


class CountedOnce:
    """One thing that is counted for a user, or not.

    :param count: of the user; None to count nothing.
    """

    __slots__ = ("_count", "_is_counted")

    def __init__(self, count: UserCount | None) -> None:
        self._count = count
        self._is_counted = False

    def try_add(self) -> bool:
        """Count it; returns False if the user has too many."""
        self._is_counted = self._count is None or self._count.try_add()
        return self._is_counted

    def remove(self) -> None:
        """Count it no more. May be called again."""
        if self._is_counted and self._count is not None:
            self._count.remove()
        self._is_counted = False
