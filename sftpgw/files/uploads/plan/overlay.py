"""A file as it would be if it were closed now.

Knows: which bytes were written, which are preserved of the base object, which are zero, which are
sealed.
Must not know: part numbers, requests, when bytes are sealed.

Before the *cursor* all bytes are sealed: sent, or left to the store to copy. Behind it, bytes that
were not written are those of the base object as far as that reaches, or reached before the file
was cut; then come zeros.
"""

from __future__ import annotations

from collections.abc import Iterator

from sftpgw.files.uploads.plan.boundaries import BaseObject, Cut, next_cut
from sftpgw.files.uploads.plan.write_buffer import WriteBuffer, zeros
from sftpgw.model.store import ByteRange
from sftpgw.model.units import Body


class OverlayFile:
    """The bytes of one file while it is written.

    :param base: the object that is edited; None for a file that starts empty.
    :ivar buffer: the bytes that are not sealed.
    :ivar cursor: where they begin.
    :ivar base_stop: where preserved bytes end.
    :ivar written_stop: where the bytes end that the client has written, or the size it has set.
    :ivar is_changed: whether the file differs from its base.
    """

    def __init__(self, base: BaseObject | None) -> None:
        self.base = base or BaseObject(0)
        self.buffer = WriteBuffer()
        self.cursor = 0
        self.base_stop = self.base.size_bytes
        self.written_stop = 0
        self.is_changed = base is None

    @property
    def size_bytes(self) -> int:
        return max(self.written_stop, self.base_stop)

    @property
    def first_missing(self) -> int:
        """The first offset whose byte is neither written nor preserved."""
        return self.buffer.extents.run_stop(max(self.cursor, self.base_stop))

    @property
    def is_scattered(self) -> bool:
        """Whether bytes are held that only a later write, or the end, releases."""
        extents = self.buffer.extents
        return len(extents) > 1 or (
            len(extents) == 1 and extents.start > max(self.cursor, self.base_stop)
        )

    def in_order_bytes(self) -> int:
        """How many bytes behind the cursor are here, if all are in order; else 0."""
        run_stop = self.buffer.extents.run_stop(self.cursor)
        return run_stop - self.cursor if run_stop == self.written_stop else 0

    # Writes.

    def append(self, size_bytes: int, fragments: Body) -> None:
        """Put bytes behind others that are here and in order."""
        self.buffer.append(*fragments)
        self.written_stop += size_bytes

    def write(self, offset: int, stop: int, fragments: Body) -> None:
        """Put bytes behind the cursor, over those that are there.

        :raises LimitReached: the writes are too scattered.
        """
        self.is_changed = True
        self.buffer.write(offset, *fragments)
        self.written_stop = max(self.written_stop, stop)

    def resize(self, size_bytes: int) -> None:
        """Cut the file behind the cursor, or make it longer with zeros."""
        self.is_changed = True
        self.buffer.truncate(size_bytes)
        self.base_stop = min(self.base_stop, size_bytes)
        is_longer = size_bytes > self.base_stop
        self.written_stop = size_bytes if is_longer else min(self.written_stop, size_bytes)

    # Parts.

    def next_cut(self, limit: int, part_bytes: int, *, is_last: bool) -> Cut | None:
        """As `boundaries.next_cut`."""
        return next_cut(
            self.cursor,
            limit,
            part_bytes=part_bytes,
            is_last=is_last,
            written=self.buffer.extents,
            base=self.base,
            base_stop=self.base_stop,
        )

    def add_fetched(self, wanted: ByteRange, body: Body) -> None:
        """Put fetched bytes where none were written, and the file was not cut, meanwhile."""
        at, stop = wanted.start, min(wanted.stop, self.base_stop)
        for fragment in body:
            self.buffer.fill(at, memoryview(fragment)[: max(0, stop - at)])
            at += len(fragment)

    def fill_with_zeros(self, stop: int) -> None:
        """Bytes before `stop` that are not here are zeros."""
        for gap in tuple(self.buffer.extents.gaps(self.cursor, stop)):
            self.buffer.fill(gap.start, *zeros(gap.size_bytes))

    def seal(self, stop: int) -> Body:
        """Take the bytes before `stop` that are here out of the buffer; the cursor moves there."""
        self.cursor = stop
        return self.buffer.take(stop)

    def unsealed(self, wanted: ByteRange) -> Iterator[Body | ByteRange]:
        """Where bytes behind the cursor are: here, or in a range of the base object."""
        at = wanted.start
        for gap in self.buffer.extents.gaps(at, wanted.stop):
            if gap.start > at:
                yield self.buffer.read(ByteRange(at, gap.start))
            base_stop = min(max(self.base_stop, gap.start), gap.stop)
            if base_stop > gap.start:
                yield ByteRange(gap.start, base_stop)
            if gap.stop > base_stop:
                yield tuple(zeros(gap.stop - base_stop))
            at = gap.stop
        if at < wanted.stop:
            yield self.buffer.read(ByteRange(at, wanted.stop))
