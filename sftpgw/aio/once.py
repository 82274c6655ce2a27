"""What was told already, so that it is told once.

Knows: keys, in bounded memory. Must not know: what is told, or to whom.
"""

from __future__ import annotations

from typing import Generic, TypeVar

from sftpgw.aio.lru import LRUDict

K = TypeVar("K")


class Once(Generic[K]):
    """Tells whether a key is new.

    :param max_entries: how many keys it remembers; the one that was asked for longest ago goes for
        a new one, and is new again.
    """

    def __init__(self, max_entries: int) -> None:
        self._known: LRUDict[K, None] = LRUDict(max_entries)

    def is_new(self, key: K) -> bool:
        """Whether the key was never asked for, as far as is remembered; it is not new any more.

        :param key: what is to be told.
        """
        is_new = key not in self._known
        self._known.put(key, None)
        return is_new
