"""The bytes of the ranges that a download has fetched, or is fetching.

Knows: chunks, how they answer a READ, and when they can go.
Must not know: which ranges are fetched, who waits for them, memory (`downloads`).

The data's way: a chunk from the HTTP body is kept as it came. A READ is answered
with views of chunks: no copy here, unless a view is less than an eighth of its chunk.
Chunks are let go as soon as they have been read.

Copies of a byte on its whole way through the process, beside those that the kernel makes
(``recv``, ``sendmsg``): two over http, seven over https.

- http, none: Twisted's parser passes on what was received, but for what came with the head
  of the answer, and `s3` only counts it.
- https, five: into OpenSSL's BIO; into its record, where it is deciphered in place; out of that;
  into `bytes`; and into one chunk with all the records that have come (`http/tls`).
- from the chunk to the packet, none: SFTP's header stands before the pieces, the channel queues
  them (`bytequeue`; those below 4 KiB are joined) and takes views.
- the packet, two (`ssh/packet_cipher`): joined with its padding, and written anew by the cipher.
  The socket is given that as it is (`ssh/packet_writer`, `outflow`).
"""

from __future__ import annotations

from bisect import bisect_right
from typing import Protocol

from twisted.internet.defer import Deferred

from sftpgw.files.downloads.plan.read_ahead import Segment
from sftpgw.model.store import ByteRange, ObjectInfo
from sftpgw.model.units import Buffer

LARGEST_PINNED = 8
"""So many times its own size may an answer keep in memory."""


class RangeOwner(Protocol):
    """Whom a range tells what has come: the download that it belongs to."""

    def arrived(self) -> None:
        """Bytes, of any range."""

    def learned(self, info: ObjectInfo, first: Segment) -> None:
        """How large the object is, from the answer for the range it was opened with."""

    def opening_received(self, each: OpeningRange) -> None:
        """Bytes of that range."""


class FetchedRange:
    """The bytes of one segment; takes them from the store as a `BodySink`."""

    def __init__(self, owner: RangeOwner, segment: Segment) -> None:
        self.segment = segment
        self.request: Deferred[None] | None = None
        self._owner = owner
        self.is_over = False
        self._starts: list[int] = []
        self._chunks: list[bytes] = []
        self._unread: list[int] = []

    def began(self, info: ObjectInfo) -> None:
        """Nothing new: a later range of an object that is known already."""

    def end(self) -> None:
        """Take no more bytes, and drop the request; a store may still be in a call of ours."""
        self.is_over = True
        if self.request is not None:
            request, self.request = self.request, None
            request.cancel()

    def received(self, data: bytes) -> None:
        if self.is_over:
            return
        self._starts.append(self.segment.received)
        self._chunks.append(data)
        self._unread.append(len(data))
        self.segment.received += len(data)
        self._owner.arrived()

    def slices(self, wanted: ByteRange) -> list[Buffer]:
        """The pieces of `wanted`, all of which has arrived.

        Views of chunks, but where a chunk is much larger: an answer that waits to be read
        would keep all of it in memory, which nobody counts any more.
        """
        pieces: list[Buffer] = []
        index = bisect_right(self._starts, wanted.start) - 1
        at = wanted.start
        while at < wanted.stop:
            chunk, begin = self._chunks[index], self._starts[index]
            piece = memoryview(chunk)[at - begin : wanted.stop - begin]
            is_small = LARGEST_PINNED * len(piece) < len(chunk)
            pieces.append(bytes(piece) if is_small else piece)
            self._unread[index] -= len(piece)
            at, index = at + len(piece), index + 1
        return pieces

    def let_go(self) -> int:
        """Drop what has been read from the left on; how many bytes that was."""
        count = 0
        while count < len(self._unread) and self._unread[count] <= 0:
            count += 1
        freed_bytes = sum(map(len, self._chunks[:count]))
        del self._starts[:count], self._chunks[:count], self._unread[:count]
        self.segment.start += freed_bytes
        return freed_bytes


class OpeningRange(FetchedRange):
    """The range that the file is opened with: with it comes the object's size."""

    def __init__(self, owner: RangeOwner, segment: Segment) -> None:
        super().__init__(owner, segment)
        self.answered: Deferred[None] = Deferred()

    def began(self, info: ObjectInfo) -> None:
        self._owner.learned(info, self.segment)
        self.answered.callback(None)

    def received(self, data: bytes) -> None:
        super().received(data)
        self._owner.opening_received(self)
