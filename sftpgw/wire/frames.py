"""A stream of SFTP packets, cut into frames.

Knows: where a frame ends, and which bytes of it the data of a WRITE are.
Must not know: a frame's fields (`wire/sftp`).

A frame is ``uint32 length, byte type, body`` (draft-ietf-secsh-filexfer-02, section 3). One that
is shorter than a type and an id, or longer than `MAX_FRAME_BYTES`, means that the stream is
lost: no frame after it can be found.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from sftpgw.buffers.byte_queue import SMALL_FRAGMENT_BYTES, ByteQueue
from sftpgw.errors import GatewayError
from sftpgw.model.units import Body, Buffer

MAX_FRAME_BYTES = 256 * 1024 + 1024
MIN_FRAME_BYTES = 5
WRITE = 6
"""The type of the one frame that brings a file's bytes (section 3)."""

_LENGTH_BYTES = 4
_WRITE_UP_TO_HANDLE = struct.Struct(">BLL")
_OFFSET_AND_LENGTH = struct.Struct(">QL")


class FramingLost(GatewayError):
    """The stream cannot be read any further."""


@dataclass(frozen=True, slots=True)
class Frame:
    """A frame without its length.

    :ivar head: type and body; of a WRITE, up to the length of the data.
    :ivar tail: the data of a WRITE, as a list of buffers.
    """

    head: bytes
    tail: Body = ()

    @property
    def size_bytes(self) -> int:
        """The bytes of the frame in the stream, its length included."""
        return _LENGTH_BYTES + len(self.head) + sum(map(len, self.tail))


class Frames:
    """Cuts a stream into frames, without copying the bytes that a WRITE brings.

    Buffers wait as they came until their frames are taken. Only small ones are joined: a million
    of one byte each would take a hundred times as much memory as they hold.
    """

    def __init__(
        self,
        max_frame_bytes: int = MAX_FRAME_BYTES,
        small_piece_bytes: int = SMALL_FRAGMENT_BYTES,
    ) -> None:
        self._queue = ByteQueue(small_piece_bytes)
        self._frame_bytes: int | None = None
        self._max_frame_bytes = max_frame_bytes

    def feed(self, data: bytes | memoryview) -> bool:
        """Add the next bytes of the stream, which must not change any more.

        :returns: whether `next` finds a frame, or raises. Most packets are the middle of a WRITE.
        """
        queue = self._queue
        queue.append(memoryview(data))
        size_bytes = self._length()
        if size_bytes is None:
            return False
        is_allowed = MIN_FRAME_BYTES <= size_bytes <= self._max_frame_bytes
        return queue.size_bytes >= size_bytes or not is_allowed

    @property
    def is_empty(self) -> bool:
        """Whether nothing is left of the stream, so that there is no use in `next`."""
        return not self._queue.size_bytes and self._frame_bytes is None

    def next(self) -> Frame | None:
        """The next frame; None until it is whole.

        :raises FramingLost: the length is out of bounds.
        """
        size_bytes = self._length()
        if size_bytes is None:
            return None
        self._check(size_bytes)
        if self._queue.size_bytes < size_bytes:
            return None
        self._frame_bytes = None
        head = self._take(min(size_bytes, _WRITE_UP_TO_HANDLE.size))
        if head[0] != WRITE:
            return Frame(head + self._take(size_bytes - len(head)))
        head += self._take(min(size_bytes - len(head), _rest_of_write_head(head)))
        return Frame(head, self._take_pieces(size_bytes - len(head)))

    def _length(self) -> int | None:
        """How long the next frame is; None until that is known."""
        if self._frame_bytes is None and self._queue.size_bytes >= _LENGTH_BYTES:
            self._frame_bytes = int.from_bytes(self._take(_LENGTH_BYTES), "big")
        return self._frame_bytes

    def _check(self, size_bytes: int) -> None:
        if not MIN_FRAME_BYTES <= size_bytes <= self._max_frame_bytes:
            raise FramingLost(
                f"an SFTP packet of {size_bytes} bytes; from {MIN_FRAME_BYTES} to "
                f"{self._max_frame_bytes} are accepted"
            )

    def _take(self, size_bytes: int) -> bytes:
        """The next bytes, copied."""
        view = self._queue.take_from_first(size_bytes)
        return bytes(view) if view is not None else b"".join(self._queue.take(size_bytes))

    def _take_pieces(self, size_bytes: int) -> Body:
        """The next bytes, as the buffers in which they came."""
        return tuple(map(_alone, self._queue.take(size_bytes)))


def _alone(piece: Buffer) -> Buffer:
    """A copy of a view, if the view is much smaller than the buffer that it keeps in memory."""
    if isinstance(piece, memoryview) and 16 * len(piece) < 15 * memoryview(piece.obj).nbytes:
        return bytes(piece)
    return piece


def _rest_of_write_head(head: bytes) -> int:
    """How many bytes there are between handle's and data's lengths in a WRITE, inclusive."""
    if len(head) < _WRITE_UP_TO_HANDLE.size:
        return 0
    handle_bytes = int.from_bytes(head[5:9], "big")
    return handle_bytes + _OFFSET_AND_LENGTH.size
