"""Which bytes of a file are here: ranges in order.

Knows: where each range begins and stops. Must not know: the bytes, or why they are here.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator

from sftpgw.model.store import ByteRange


class Extents:
    """A set of offsets, as ranges that neither overlap nor touch."""

    __slots__ = ("_starts", "_stops")

    def __init__(self) -> None:
        self._starts: list[int] = []
        self._stops: list[int] = []

    def __len__(self) -> int:
        return len(self._starts)

    def __iter__(self) -> Iterator[ByteRange]:
        return map(ByteRange, self._starts, self._stops)

    @property
    def start(self) -> int:
        """Where the first range begins; there must be one."""
        return self._starts[0]

    @property
    def stop(self) -> int:
        """Where the last range stops, 0 if there is none."""
        return self._stops[-1] if self._stops else 0

    def grow(self, size_bytes: int) -> None:
        """The last range becomes longer; there must be one."""
        self._stops[-1] += size_bytes

    def add(self, start: int, stop: int) -> None:
        """The bytes of ``[start, stop)``, which is not empty, are here now."""
        low = bisect_left(self._stops, start)
        high = bisect_right(self._starts, stop)
        if low < high:
            start = min(start, self._starts[low])
            stop = max(stop, self._stops[high - 1])
        self._starts[low:high] = [start]
        self._stops[low:high] = [stop]

    def remove_before(self, offset: int) -> None:
        """Bytes before `offset` are not here any more."""
        gone = bisect_right(self._stops, offset)
        del self._starts[:gone], self._stops[:gone]
        if self._starts:
            self._starts[0] = max(self._starts[0], offset)

    def remove_from(self, offset: int) -> None:
        """Bytes from `offset` on are not here any more."""
        left = bisect_left(self._starts, offset)
        del self._starts[left:], self._stops[left:]
        if self._stops:
            self._stops[-1] = min(self._stops[-1], offset)

    def run_stop(self, offset: int) -> int:
        """The first offset from `offset` on whose byte is not here."""
        index = bisect_right(self._starts, offset) - 1
        return max(offset, self._stops[index]) if index >= 0 else offset

    def last_stop(self, offset: int) -> int:
        """Where the last range that begins at or before `offset` stops, 0 if there is none."""
        index = bisect_right(self._starts, offset) - 1
        return self._stops[index] if index >= 0 else 0

    def gaps(self, start: int, stop: int) -> Iterator[ByteRange]:
        """The ranges of ``[start, stop)`` that are not here, in order."""
        at = start
        for index in range(bisect_right(self._stops, start), len(self._starts)):
            if self._starts[index] >= stop:
                break
            if self._starts[index] > at:
                yield ByteRange(at, self._starts[index])
            at = self._stops[index]
        if at < stop:
            yield ByteRange(at, stop)
