"""The changes that the sessions of this process have made in the store.

Knows: how many changes there were, which directories went, and which keys are being removed now.
Must not know: which session remembers a listing, or for how long.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import islice

from sftpgw.aio.lru import SharedLRU
from sftpgw.files.transfers.name_index import NameIndex
from sftpgw.model.store import ObjectName

MAX_GONE = 1024
"""How many removed directories are remembered. Each mount has a fair share of them, so that no user
makes others believe in directories that are gone."""

MAX_CHANGES = 1024
"""How many changes are remembered with their keys. Behind more, every listing is out of date."""


class ChangeLog:
    """Tells each session what others changed.

    :param weight_of: returns the weight of a user, for the keys that are remembered as gone.
    :ivar count: the number of changes so far.
    """

    def __init__(self, weight_of: Callable[[str], float] = lambda user: 1.0) -> None:
        self.count = 0
        self._leaving: Counter[ObjectName] = Counter()
        self._leaving_names = NameIndex()
        self._gone: SharedLRU[tuple[str, str], int] = SharedLRU(MAX_GONE, weight_of)
        self._last: deque[tuple[str, str]] = deque(maxlen=MAX_CHANGES)

    def changed(self, bucket: str, prefix: str) -> None:
        """A session has changed something in the store.

        :param bucket: the bucket.
        :param prefix: the key, or the beginning of all keys that may have changed.
        """
        self.count += 1
        self._last.append((bucket, prefix))

    def is_changed(self, bucket: str, prefix: str, since: int) -> bool:
        """Whether keys under `prefix` may have changed after there were `since` changes.

        :param bucket: the bucket.
        :param prefix: the beginning of the keys.
        :param since: an earlier `count`.
        """
        newer = self.count - since
        if newer > len(self._last):
            return True
        return any(
            where == bucket and (changed.startswith(prefix) or prefix.startswith(changed))
            for where, changed in islice(reversed(self._last), newer)
        )

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

    def directory_gone(self, bucket: str, prefix: str, mount_prefix: str) -> None:
        """A directory was removed or renamed; a session that remembers it must ask again.

        :param bucket: the bucket.
        :param prefix: the prefix of the directory.
        :param mount_prefix: that of the mount; its share of what is remembered is used.
        """
        self.changed(bucket, prefix)
        self._gone.put(f"{bucket}/{mount_prefix}", (bucket, prefix), self.count)

    def is_gone(self, bucket: str, prefix: str, since: int) -> bool:
        """Whether a directory, or one above it, went after there were `since` changes."""
        ends = [end for end, byte in enumerate(prefix, 1) if byte == "/"]
        return any((self._gone.get((bucket, prefix[:end])) or 0) > since for end in ends)
