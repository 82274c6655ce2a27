"""Names in order, so that those under a prefix are found at once.

Knows: names. Must not know: what has these names.

A bisection for the first name under a prefix, and one more for each subdirectory that is passed:
no question looks at names elsewhere, however many files are open. A name takes one place in a list;
a tree of directories would take a node for each of the 500 that a path may have.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterator

from sftpgw.model.store import ObjectName

_AFTER_SLASH = chr(ord("/") + 1)


class NameIndex:
    """A set of object names."""

    def __init__(self) -> None:
        self._keys: dict[str, list[str]] = {}
        """The keys of each bucket, sorted."""

    def add(self, name: ObjectName) -> None:
        """Add a name that is not in here."""
        insort(self._keys.setdefault(name.bucket, []), name.key)

    def remove(self, name: ObjectName) -> None:
        """Remove a name that is in here."""
        keys = self._keys[name.bucket]
        del keys[bisect_left(keys, name.key)]
        if not keys:
            del self._keys[name.bucket]

    def under(self, bucket: str, prefix: str) -> Iterator[str]:
        """The keys that begin with a prefix, in order. The set must not change meanwhile.

        :param bucket: the bucket.
        :param prefix: the prefix; empty for all keys of the bucket.
        """
        keys = self._keys.get(bucket, [])
        for at in range(bisect_left(keys, prefix), len(keys)):
            if not keys[at].startswith(prefix):
                return
            yield keys[at]

    def directly_under(self, bucket: str, prefix: str) -> list[str]:
        """Those of `under` that have no slash behind the prefix.

        :param bucket: the bucket.
        :param prefix: the prefix.
        """
        keys = self._keys.get(bucket, [])
        found = []
        at = bisect_left(keys, prefix)
        while at < len(keys) and keys[at].startswith(prefix):
            key = keys[at]
            slash = key.find("/", len(prefix))
            if slash < 0:
                found.append(key)
                at += 1
            else:
                at = bisect_left(keys, key[:slash] + _AFTER_SLASH, at)
        return found
