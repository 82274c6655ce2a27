"""Which size the files had that this process has seen a moment ago.

Knows: names by their hash, and for how long a size is believed.
Must not know: where sizes come from.

An OPEN that replaces a file does not ask how large it is, since that would cost a request. What a
STAT, a listing of one name or an earlier upload has told is remembered instead.
"""

from __future__ import annotations

from collections.abc import Callable

from sftpgw.aio.lru import SharedLRU
from sftpgw.files.quotas.plan.usage import NOTHING_STORED, Usage, usage_of
from sftpgw.model.store import ObjectName

MAX_KNOWN = 16_384
"""How many sizes are remembered, at 0.3 KiB each; users share them."""

BELIEVED_SECONDS = 600.0
"""Others may have replaced or removed a file meanwhile."""


class KnownSizes:
    """The sizes that were seen, for all users of the process.

    :param weight_of: returns the weight of a user.
    """

    def __init__(self, weight_of: Callable[[str], float] = lambda user: 1.0) -> None:
        self._known: SharedLRU[int, tuple[Usage, float]] = SharedLRU(MAX_KNOWN, weight_of)
        self._weight_of = weight_of

    def __len__(self) -> int:
        return len(self._known)

    def note(self, user: str, name: ObjectName, size_bytes: int | None, now_seconds: float) -> None:
        """A file was seen.

        :param user: the user on whose behalf.
        :param name: the object.
        :param size_bytes: its size; None if there is none.
        :param now_seconds: the time.
        """
        found = NOTHING_STORED if size_bytes is None else usage_of(name.key, size_bytes)
        self._known.put(user, hash(name), (found, now_seconds))

    def find(self, name: ObjectName, now_seconds: float) -> Usage | None:
        """What a file counts; None if that is not known.

        :param name: the object.
        :param now_seconds: the time.
        """
        known = self._known.get(hash(name))
        if known is None or not 0 <= now_seconds - known[1] < BELIEVED_SECONDS:
            return None
        return known[0]

    def forget_all(self) -> None:
        """Many files have other names now."""
        self._known = SharedLRU(MAX_KNOWN, self._weight_of)
