"""A small body, collected in memory.

Knows: how many bytes it may have. Must not know: what they are.
"""

from __future__ import annotations

from sftpgw.model.store import ObjectInfo
from sftpgw.model.units import Body


class BodyCollector:
    """A `BodySink`. What is over its bound is dropped, and `is_complete` is false.

    :param max_bytes: the bound; the caller counts it in the memory budget where it is large.
    """

    def __init__(self, max_bytes: int) -> None:
        self.info: ObjectInfo | None = None
        self.size_bytes = 0
        self._max_bytes = max_bytes
        self._fragments: list[bytes] = []

    @property
    def body(self) -> Body:
        """What has come, as far as it was within the bound."""
        return tuple(self._fragments)

    @property
    def is_complete(self) -> bool:
        """Whether nothing was dropped."""
        return self.size_bytes <= self._max_bytes

    def began(self, info: ObjectInfo) -> None:
        self.info = info

    def received(self, data: bytes) -> None:
        self.size_bytes += len(data)
        if self.is_complete:
            self._fragments.append(data)
