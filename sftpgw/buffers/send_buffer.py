"""The buffers that wait to be sent into a socket.

Knows: buffers in order, and how a socket takes them (``sendmsg``).
Must not know: what the bytes say, or when the socket takes more.

Twisted's ``write`` joins the data that it is given, joins the rest with the data that follows,
hands the kernel 128 KiB at a time, and does all of that only in the next reactor iteration. Here
nothing is joined or copied, and bytes that the socket takes at once leave at once. SSH connections
send like this, and so do requests to a store.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from itertools import islice
from typing import Any, Protocol

from twisted.internet.interfaces import ISystemHandle

from sftpgw.model.units import MIB, Buffer

GATHERED_BUFFERS = 512
"""Of the 1,024 that one ``sendmsg`` takes on Linux (IOV_MAX)."""

ITERATION_BYTES = 1 * MIB
"""How many bytes one connection sends in one reactor iteration; others send in it, too."""


class GatherSocket(Protocol):
    """A socket that does not block, or a replacement of one."""

    def sendmsg(self, buffers: list[Buffer], /) -> int:
        """How many bytes were taken, from the first buffer on.

        :raises OSError: none was taken.
        """


def sink_of(transport: Any) -> GatherSocket | None:
    """The socket of a transport, if bytes that are put into it leave unchanged; None under TLS."""
    handle = transport.getHandle() if ISystemHandle.providedBy(transport) else None
    return handle if hasattr(handle, "sendmsg") else None


class SendBuffer:
    """Buffers that wait, in order. They must not be changed until they are sent.

    :param buffers: the first ones.
    :ivar size_bytes: how many bytes wait.
    """

    __slots__ = ("_buffers", "_sent_bytes", "size_bytes")

    def __init__(self, buffers: Iterable[Buffer] = ()) -> None:
        self._buffers = deque(buffers)
        self._sent_bytes = 0  # of the first buffer
        self.size_bytes = sum(map(len, self._buffers))

    def extend(self, buffers: Iterable[Buffer], size_bytes: int) -> None:
        """Put `buffers`, which have `size_bytes` together, behind all others."""
        self._buffers.extend(buffers)
        self.size_bytes += size_bytes

    def send(self, sink: GatherSocket, limit_bytes: int) -> int:
        """Send as many bytes as the socket takes, about `limit_bytes` at most; how many it took.

        None where the connection is broken: its reader learns of that.
        """
        buffers = self._next(limit_bytes)
        try:
            sent_bytes = sink.sendmsg(buffers) if buffers else 0
        except OSError:
            return 0
        self._drop(sent_bytes)
        return sent_bytes

    def take_all(self) -> list[Buffer]:
        """Remove and return all buffers."""
        buffers = self._first(len(self._buffers))
        self.clear()
        return buffers

    def clear(self) -> None:
        """Drop all buffers."""
        self._buffers.clear()
        self._sent_bytes = self.size_bytes = 0

    def _next(self, limit_bytes: int) -> list[Buffer]:
        if self.size_bytes <= limit_bytes:
            return self._first(GATHERED_BUFFERS)
        count, size_bytes = 0, -self._sent_bytes
        for buffer in islice(self._buffers, GATHERED_BUFFERS):
            count += 1
            size_bytes += len(buffer)
            if size_bytes >= limit_bytes:
                break
        return self._first(count)

    def _first(self, count: int) -> list[Buffer]:
        buffers = list(islice(self._buffers, count))
        if self._sent_bytes:
            buffers[0] = memoryview(buffers[0])[self._sent_bytes :]
        return buffers

    def _drop(self, size_bytes: int) -> None:
        self.size_bytes -= size_bytes
        if not self.size_bytes:
            self.clear()
            return
        sent_of_head_bytes = self._sent_bytes + size_bytes
        while sent_of_head_bytes >= len(self._buffers[0]):
            sent_of_head_bytes -= len(self._buffers.popleft())
        self._sent_bytes = sent_of_head_bytes
