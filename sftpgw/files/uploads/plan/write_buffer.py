"""The bytes that a client has written and that are not sealed: a file with holes, in memory.

Knows: the bytes, in the fragments in which they came, and their offsets.
Must not know: which bytes belong into the holes, what a part is, or which READ wants them.

Bytes in order stay in their fragments, which become the body of a request as they are. A write over
bytes that are here changes their fragment, which is copied for that once; a fragment is no larger
than a packet, so that this costs little wherever it is.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator

from sftpgw.buffers.byte_queue import SMALL_FRAGMENT_BYTES
from sftpgw.errors import LimitReached
from sftpgw.files.uploads.plan.extents import Extents
from sftpgw.model.store import ByteRange
from sftpgw.model.units import KIB, Body, Buffer

MAX_EXTENTS = 4096
"""How many ranges with holes between them one upload may hold."""
JOINED_BYTES = 256 * KIB
"""Small fragments are joined up to this size."""

ZEROS = bytes(64 * KIB)


def zeros(size_bytes: int) -> Iterator[Buffer]:
    """Zeros, in fragments that share their memory."""
    for _ in range(size_bytes // len(ZEROS)):
        yield ZEROS
    if size_bytes % len(ZEROS):
        yield memoryview(ZEROS)[: size_bytes % len(ZEROS)]


class WriteBuffer:
    """Bytes by offset.

    :param small_fragment_bytes: smaller fragments are joined to the one before.
    :ivar extents: which offsets are here.
    :ivar size_bytes: how many bytes are here.
    """

    __slots__ = ("_fragments", "_small_fragment_bytes", "_starts", "extents", "size_bytes")

    def __init__(self, small_fragment_bytes: int = SMALL_FRAGMENT_BYTES) -> None:
        self.extents = Extents()
        self.size_bytes = 0
        self._small_fragment_bytes = small_fragment_bytes
        self._starts: list[int] = []
        self._fragments: list[Buffer] = []

    @property
    def body(self) -> Body:
        """All bytes, in order."""
        return tuple(self._fragments)

    # Bytes come.

    def append(self, *fragments: Buffer) -> None:
        """Put `fragments` behind the last byte; there must be one."""
        at = first = self.extents.stop
        for fragment in fragments:
            if not self._join(len(self._fragments) - 1, fragment):
                self._starts.append(at)
                self._fragments.append(self._storable(fragment))
            at += len(fragment)
        self.size_bytes += at - first
        self.extents.grow(at - first)

    def write(self, offset: int, *fragments: Buffer) -> None:
        """Put `fragments` at `offset`, over the bytes that are there.

        :raises LimitReached: there are too many holes.
        """
        if self._starts and offset == self.extents.stop:
            self.append(*fragments)
            return
        for fragment in fragments:
            self._put(offset, memoryview(fragment), over=True)
            offset += len(fragment)
        if len(self.extents) > MAX_EXTENTS:
            raise LimitReached("the writes are too scattered for an upload; write in order")

    def fill(self, offset: int, *fragments: Buffer) -> None:
        """Put `fragments` at `offset`, but only where no byte is."""
        for fragment in fragments:
            self._put(offset, memoryview(fragment), over=False)
            offset += len(fragment)

    def _put(self, offset: int, data: memoryview, *, over: bool) -> None:
        at, stop = offset, offset + len(data)
        index = bisect_right(self._starts, at) - 1
        while at < stop:
            here_stop = self._stop(index) if index >= 0 else 0
            if at < here_stop:
                upto = min(stop, here_stop)
                if over:
                    start = self._starts[index]
                    self._changeable(index)[at - start : upto - start] = data[
                        at - offset : upto - offset
                    ]
            else:
                upto = min(stop, self._start(index + 1, stop))
                index += self._insert(index, at, data[at - offset : upto - offset])
            at = upto
            index += self._start(index + 1, at + 1) <= at
        if stop > offset:
            self.extents.add(offset, stop)

    def _insert(self, index: int, offset: int, fragment: memoryview) -> int:
        """Put a fragment behind fragment `index`, into a hole; how many fragments that adds."""
        self.size_bytes += len(fragment)
        if index >= 0 and self._stop(index) == offset and self._join(index, fragment):
            return 0
        self._starts.insert(index + 1, offset)
        self._fragments.insert(index + 1, self._storable(fragment))
        return 1

    def _join(self, index: int, fragment: Buffer) -> bool:
        """Join a small fragment to the one before; whether that was possible."""
        if len(fragment) >= self._small_fragment_bytes or index < 0:
            return False
        before = self._fragments[index]
        if not isinstance(before, bytearray) or len(before) >= JOINED_BYTES:
            return False
        before += fragment
        return True

    def _storable(self, fragment: Buffer) -> Buffer:
        return bytearray(fragment) if len(fragment) < self._small_fragment_bytes else fragment

    def _changeable(self, index: int) -> bytearray:
        fragment = self._fragments[index]
        if not isinstance(fragment, bytearray):
            fragment = self._fragments[index] = bytearray(fragment)
        return fragment

    # Bytes go.

    def take(self, stop: int) -> Body:
        """Remove and return all bytes before `stop`."""
        self._split(stop)
        count = bisect_left(self._starts, stop)
        body = tuple(self._fragments[:count])
        del self._starts[:count], self._fragments[:count]
        self.extents.remove_before(stop)
        self.size_bytes -= sum(map(len, body))
        return body

    def truncate(self, size_bytes: int) -> None:
        """Remove the bytes from `size_bytes` on."""
        self._split(size_bytes)
        count = bisect_left(self._starts, size_bytes)
        self.size_bytes -= sum(map(len, self._fragments[count:]))
        del self._starts[count:], self._fragments[count:]
        self.extents.remove_from(size_bytes)

    def clear(self) -> None:
        """Remove all bytes."""
        self.truncate(0)

    def read(self, wanted: ByteRange) -> Body:
        """A copy or a safe view of the bytes of `wanted`, all of which are here."""
        found: list[Buffer] = []
        at, index = wanted.start, bisect_right(self._starts, wanted.start) - 1
        while at < wanted.stop:
            start, fragment = self._starts[index], self._fragments[index]
            part = memoryview(fragment)[at - start : wanted.stop - start]
            at, index = at + len(part), index + 1
            found.append(bytes(part) if isinstance(fragment, bytearray) else part)
        return tuple(found)

    # Fragments.

    def _split(self, offset: int) -> None:
        """Split the fragment that reaches across `offset`, if one does."""
        index = bisect_left(self._starts, offset) - 1
        if index < 0 or self._stop(index) <= offset:
            return
        fragment, head_bytes = self._fragments[index], offset - self._starts[index]
        # A bytearray with views cannot grow.
        view = memoryview(bytes(fragment) if isinstance(fragment, bytearray) else fragment)
        self._fragments[index] = view[:head_bytes]
        self._starts.insert(index + 1, offset)
        self._fragments.insert(index + 1, view[head_bytes:])

    def _start(self, index: int, otherwise: int) -> int:
        return self._starts[index] if index < len(self._starts) else otherwise

    def _stop(self, index: int) -> int:
        return self._starts[index] + len(self._fragments[index])
