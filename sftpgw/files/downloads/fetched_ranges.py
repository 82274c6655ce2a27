"""The bytes of the ranges that a download has fetched, or is fetching.

Knows: chunks, how they answer a READ, and when they can be dropped.
Must not know: which ranges are fetched, which READs wait for them, memory (`downloads/download`).

The data's way: a chunk from the HTTP body is held as it came. A READ is answered with views of
chunks: no copy here, unless a view is less than an eighth of its chunk. Chunks are dropped as soon
as they have been read.

Copies of a byte on its whole way through the process, beside those that the kernel makes
(``recv``, ``sendmsg``): two over http, seven over https.

- http, none: Twisted's parser passes on the chunks of the socket, except for bytes that came with
  the head of the response, and `s3` only counts them.
- https, five: into OpenSSL's BIO; into its record, where it is deciphered in place; out of that;
  into `bytes`; and into one chunk with all the records that have come (`http/tls`).
- from the chunk to the packet, none: SFTP's header stands before the fragments, the channel queues
  them (`buffers/byte_queue`; those below 4 KiB are joined) and takes views.
- the packet, two (`ssh/packet_cipher`): joined with its padding, and written anew by the cipher.
  The socket is given that as it is (`ssh/packet_writer`, `buffers/send_buffer`).
"""

from __future__ import annotations

from bisect import bisect_right
from typing import Protocol

from twisted.internet.defer import Deferred

from sftpgw.files.downloads.plan.read_ahead import Segment
from sftpgw.model.store import ByteRange, ObjectInfo
from sftpgw.model.units import Buffer

LARGEST_PINNED = 8
"""A fragment may pin a chunk of up to eight times its own size in memory."""


class RangeOwner(Protocol):
    """The download that a range belongs to."""

    def on_opened(self, info: ObjectInfo, first: Segment) -> None:
        """The response for the range that the file was opened with tells the object's size."""

    def on_received(self) -> None:
        """Bytes of any range have arrived."""

    def on_opening_received(self, each: OpeningRange) -> None:
        """Bytes of the range that the file was opened with have arrived."""


class FetchedRange:
    """The bytes of one segment; takes them from the store as a `BodySink`.

    :param owner: the download; told of what arrives.
    :param segment: the segment in the download's plan.
    :ivar request: the request, while it is under way.
    :ivar is_over: no more bytes are taken.
    """

    def __init__(self, owner: RangeOwner, segment: Segment) -> None:
        self.segment = segment
        self.request: Deferred[None] | None = None
        self.is_over = False
        self._owner = owner
        self._starts: list[int] = []
        self._chunks: list[bytes] = []
        self._unread: list[int] = []

    def began(self, info: ObjectInfo) -> None:
        """The object is known already: this is a later range of it."""

    def end(self) -> None:
        """Take no more bytes, and cancel the request; the store may be calling this range."""
        self.is_over = True
        if self.request is not None:
            request, self.request = self.request, None
            request.cancel()

    def drop(self) -> None:
        """Take no more bytes, and hold none: a request that is given up may hold this range on."""
        self.end()
        for each in (self._starts, self._chunks, self._unread):
            each.clear()

    def received(self, data: bytes) -> None:
        if self.is_over:
            return
        self._starts.append(self.segment.received(len(data)))
        self._chunks.append(data)
        self._unread.append(len(data))
        self._owner.on_received()

    def slices(self, wanted: ByteRange) -> list[Buffer]:
        """The fragments of `wanted`, all of which has arrived.

        They are views of chunks. Where a chunk is much larger it is copied: a reply that waits in
        a channel would pin the whole chunk in memory, which the budget does not count any more.
        """
        fragments: list[Buffer] = []
        index = bisect_right(self._starts, wanted.start) - 1
        at = wanted.start
        while at < wanted.stop:
            chunk, begin = self._chunks[index], self._starts[index]
            fragment = memoryview(chunk)[at - begin : wanted.stop - begin]
            is_small = LARGEST_PINNED * len(fragment) < len(chunk)
            fragments.append(bytes(fragment) if is_small else fragment)
            self._unread[index] -= len(fragment)
            at, index = at + len(fragment), index + 1
        return fragments

    def release_read(self) -> int:
        """Drop the chunks that have been read, from the left on; how many bytes that were."""
        count = 0
        while count < len(self._unread) and self._unread[count] <= 0:
            count += 1
        freed_bytes = sum(map(len, self._chunks[:count]))
        del self._starts[:count], self._chunks[:count], self._unread[:count]
        self.segment.consumed(freed_bytes)
        return freed_bytes


class OpeningRange(FetchedRange):
    """The range that the file is opened with: its response tells the object's size.

    :ivar opened: fires when the size is known.
    """

    def __init__(self, owner: RangeOwner, segment: Segment) -> None:
        super().__init__(owner, segment)
        self.opened: Deferred[None] = Deferred()

    def began(self, info: ObjectInfo) -> None:
        self._owner.on_opened(info, self.segment)
        self.opened.callback(None)

    def received(self, data: bytes) -> None:
        super().received(data)
        self._owner.on_opening_received(self)
