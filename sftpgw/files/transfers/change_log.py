"""The changes that the sessions of this process have made in the store.

Knows: how many changes there were, which directories went, and which keys are being removed now.
Must not know: which session remembers a listing, or for how long.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from sftpgw.aio.lru import LRUDict
from sftpgw.files.transfers.name_index import NameIndex
from sftpgw.model.store import ObjectName

MAX_GONE = 1024
"""How many removed directories are remembered."""


class ChangeLog:
    """Tells each session what others changed.

    :ivar count: the number of changes so far; a listing of an older count is out of date.
    """

    def __init__(self) -> None:
        self.count = 0
        self._leaving: Counter[ObjectName] = Counter()
        self._leaving_names = NameIndex()
        self._gone: LRUDict[tuple[str, str], int] = LRUDict(MAX_GONE)

    def changed(self) -> None:
        """A session has changed something in the store."""
        self.count += 1

    @contextmanager
    def leaving(self, bucket: str, key: str) -> Iterator[None]:
        """An object, or all keys under a prefix, is about to be removed, or just was."""
        name = ObjectName(bucket, key)
        self._leaving[name] += 1
        if self._leaving[name] == 1:
            self._leaving_names.add(name)
        try:
            yield
        finally:
            self._leaving[name] -= 1
            if not self._leaving[name]:
                del self._leaving[name]
                self._leaving_names.remove(name)

    def leaving_under(self, bucket: str, prefix: str) -> set[str]:
        """The keys and prefixes that are about to be removed and begin with `prefix`."""
        return set(self._leaving_names.under(bucket, prefix))

    def directory_gone(self, bucket: str, prefix: str) -> None:
        """A directory was removed or renamed; a session that remembers it must ask again."""
        self.changed()
        self._gone.put((bucket, prefix), self.count)

    def is_gone(self, bucket: str, prefix: str, since: int) -> bool:
        """Whether a directory, or one above it, went after there were `since` changes."""
        ends = [end for end, byte in enumerate(prefix, 1) if byte == "/"]
        return any(self._gone.get((bucket, prefix[:end]), 0) > since for end in ends)
