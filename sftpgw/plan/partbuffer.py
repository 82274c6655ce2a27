"""One part of an upload while it fills.

Knows: which of its bytes are there. Must not know: which part it is, or where it goes.
"""

from __future__ import annotations

from sftpgw.bytequeue import SMALL_PIECE_BYTES
from sftpgw.errors import LimitReached
from sftpgw.values import Body, Buffer

MAX_GAPS = 1000


class PartBuffer:
    """Bytes in place, growing as they come; gaps before later bytes hold zeros.

    What is written in order is kept in the pieces that it came in. The first write that
    is not joins them, and from then on all bytes are in one array.

    :param capacity_bytes: the size of the full part.
    """

    __slots__ = (
        "_array",
        "_gaps",
        "_pieces",
        "_size_bytes",
        "_small_piece_bytes",
        "capacity_bytes",
    )

    def __init__(self, capacity_bytes: int, small_piece_bytes: int = SMALL_PIECE_BYTES) -> None:
        self.capacity_bytes = capacity_bytes
        self._small_piece_bytes = small_piece_bytes
        self._pieces: list[Buffer] = []
        self._array: bytearray | None = None
        self._size_bytes = 0
        self._gaps: list[tuple[int, int]] = []

    def __len__(self) -> int:
        return self._size_bytes

    @property
    def body(self) -> Body:
        """All bytes, in order."""
        return tuple(self._pieces) if self._array is None else (self._array,)

    @property
    def is_complete(self) -> bool:
        """Every byte of the part is there."""
        return self._size_bytes == self.capacity_bytes and not self._gaps

    @property
    def first_missing(self) -> int:
        """The first offset that nobody has written."""
        return self._gaps[0][0] if self._gaps else self._size_bytes

    def append(self, piece: Buffer) -> None:
        """Put `piece` behind all the others; it fits."""
        last = self._pieces[-1] if self._pieces else None
        if self._array is not None:
            self._array += piece
        elif len(piece) >= self._small_piece_bytes:
            self._pieces.append(piece)
        elif isinstance(last, bytearray):
            last += piece
        else:
            self._pieces.append(bytearray(piece))
        self._size_bytes += len(piece)

    def write(self, offset: int, data: Buffer) -> None:
        """Put bytes at `offset` within the part; they fit.

        :raises LimitReached: so scattered that keeping track costs too much.
        """
        end = self._size_bytes
        if offset == end:
            self.append(data)
            return
        array = self._joined()
        if offset > end:
            if len(self._gaps) >= MAX_GAPS:
                raise LimitReached("the writes are too scattered for an upload; write in order")
            self._gaps.append((end, offset))
            array.extend(bytes(offset - end))
            array += data
        else:
            array[offset : min(end, offset + len(data))] = data[: end - offset]
            array += data[end - offset :]
            if self._gaps:
                self._close_gaps(offset, offset + len(data))
        self._size_bytes = len(array)

    def fill_gaps(self, size_bytes: int = 0) -> None:
        """Declare what is missing, up to `size_bytes`, to be zeros."""
        self._gaps = []
        if self._size_bytes < size_bytes:
            self.append(bytes(size_bytes - self._size_bytes))

    def truncate(self, size_bytes: int) -> None:
        """Forget everything from `size_bytes` on."""
        if size_bytes >= self._size_bytes:
            return
        array = self._joined()
        del array[size_bytes:]
        self._gaps = [
            (start, min(stop, size_bytes)) for start, stop in self._gaps if start < size_bytes
        ]
        # A gap at the very end is no gap: nothing behind it says that it was skipped.
        if self._gaps and self._gaps[-1][1] == len(array):
            del array[self._gaps.pop()[0] :]
        self._size_bytes = len(array)

    def _joined(self) -> bytearray:
        if self._array is None:
            self._array = bytearray().join(self._pieces)
            self._pieces = []
        return self._array

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
