"""The body of a small object, collected in memory."""

from __future__ import annotations

from sftpgw.model.store import ObjectInfo
from sftpgw.model.units import Body


class BodyCollector:
    """A `BodySink` with a bound. Bytes beyond it are dropped, and `is_complete` is false.

    :param max_bytes: the bound; if it is large, the caller counts it in the memory budget.
    :ivar info: the object; None before its headers have arrived.
    :ivar size_bytes: how many bytes have arrived, including those that were dropped.
    """

    def __init__(self, max_bytes: int) -> None:
        self.info: ObjectInfo | None = None
        self.size_bytes = 0
        self._max_bytes = max_bytes
        self._fragments: list[bytes] = []

    @property
    def body(self) -> Body:
        """The bytes that have arrived, without those that were dropped."""
        return tuple(self._fragments)

    @property
    def is_complete(self) -> bool:
        """Whether no bytes were dropped."""
        return self.size_bytes <= self._max_bytes

    def began(self, info: ObjectInfo) -> None:
        self.info = info

    def received(self, data: bytes) -> None:
        self.size_bytes += len(data)
        if self.is_complete:
            self._fragments.append(data)
