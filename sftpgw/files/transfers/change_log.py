"""The changes that the sessions of this process have made in the store.

Knows: how many changes there were, which directories went, and which keys are being removed now.
Must not know: which session remembers a listing, or for how long.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from sftpgw.aio.lru import LRUDict

MAX_GONE = 1024
"""How many removed directories are remembered."""


class ChangeLog:
    """Tells each session what others changed.

    :ivar count: the number of changes so far; a listing of an older count is out of date.
    """

    def __init__(self) -> None:
        self.count = 0
        self._leaving: Counter[tuple[str, str]] = Counter()
        self._gone: LRUDict[tuple[str, str], int] = LRUDict(MAX_GONE)

    def changed(self) -> None:
        """A session has changed something in the store."""
        self.count += 1

    @contextmanager
    def leaving(self, bucket: str, key: str) -> Iterator[None]:
        """An object, or all keys under a prefix, is about to be removed, or just was."""
        entry = (bucket, key)
        self._leaving[entry] += 1
        try:
            yield
        finally:
            self._leaving[entry] -= 1
            if not self._leaving[entry]:
                del self._leaving[entry]

    def leaving_under(self, bucket: str, prefix: str) -> set[str]:
        """The keys and prefixes that are about to be removed and begin with `prefix`."""
        return {key for held, key in self._leaving if held == bucket and key.startswith(prefix)}

    def directory_gone(self, bucket: str, prefix: str) -> None:
        """A directory was removed or renamed; a session that remembers it must ask again."""
        self.changed()
        self._gone.put((bucket, prefix), self.count)

    def is_gone(self, bucket: str, prefix: str, since: int) -> bool:
        """Whether a directory, or one above it, went after there were `since` changes."""
        ends = [end for end, byte in enumerate(prefix, 1) if byte == "/"]
        return any(self._gone.get((bucket, prefix[:end]), 0) > since for end in ends)
