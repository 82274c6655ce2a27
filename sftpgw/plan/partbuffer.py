"""One part of an upload while it fills.

Knows: which of its bytes are there. Must not know: which part it is, or where it goes.
"""

from __future__ import annotations

from sftpgw.errors import LimitReached

MAX_GAPS = 1000


class PartBuffer:
    """Bytes in place, growing as they come; gaps before later bytes hold zeros.

    :param capacity_bytes: the size of the full part.
    """

    __slots__ = ("_gaps", "capacity_bytes", "data")

    def __init__(self, capacity_bytes: int) -> None:
        self.capacity_bytes = capacity_bytes
        self.data = bytearray()
        self._gaps: list[tuple[int, int]] = []

    def __len__(self) -> int:
        return len(self.data)

    @property
    def is_complete(self) -> bool:
        """Every byte of the part is there."""
        return len(self.data) == self.capacity_bytes and not self._gaps

    @property
    def first_missing(self) -> int:
        """The first offset that nobody has written."""
        return self._gaps[0][0] if self._gaps else len(self.data)

    def write(self, offset: int, data: memoryview | bytes) -> None:
        """Put bytes at `offset` within the part; they fit.

        :raises LimitReached: so scattered that keeping track costs too much.
        """
        end = len(self.data)
        if offset == end:
            self.data += data
            return
        if offset > end:
            if len(self._gaps) >= MAX_GAPS:
                raise LimitReached("the writes are too scattered for an upload; write in order")
            self._gaps.append((end, offset))
            self.data.extend(bytes(offset - end))
            self.data += data
            return
        self.data[offset : min(end, offset + len(data))] = data[: end - offset]
        self.data += data[end - offset :]
        if self._gaps:
            self._close_gaps(offset, offset + len(data))

    def fill_gaps(self, size_bytes: int = 0) -> None:
        """Declare what is missing, up to `size_bytes`, to be zeros."""
        self._gaps = []
        if len(self.data) < size_bytes:
            self.data.extend(bytes(size_bytes - len(self.data)))

    def truncate(self, size_bytes: int) -> None:
        """Forget everything from `size_bytes` on."""
        del self.data[size_bytes:]
        self._gaps = [
            (start, min(stop, size_bytes)) for start, stop in self._gaps if start < size_bytes
        ]
        # A gap at the very end is no gap: nothing behind it says that it was skipped.
        if self._gaps and self._gaps[-1][1] == len(self.data):
            del self.data[self._gaps.pop()[0] :]

    def _close_gaps(self, start: int, stop: int) -> None:
        left: list[tuple[int, int]] = []
        for gap_start, gap_stop in self._gaps:
            if gap_stop <= start or gap_start >= stop:
                left.append((gap_start, gap_stop))
                continue
            if gap_start < start:
                left.append((gap_start, start))
            if gap_stop > stop:
                left.append((stop, gap_stop))
        if len(left) > MAX_GAPS:
            raise LimitReached("the writes are too scattered for an upload; write in order")
        self._gaps = left
