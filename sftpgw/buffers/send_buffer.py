"""Bytes on their way into the kernel, as they are.

Knows: buffers in order, and how a socket takes them (``sendmsg``).
Must not know: what the bytes say, or when the socket takes more.

Twisted's ``write`` joins what it is given, joins what is left with what follows, hands the kernel
128 KiB at a time, and all of that only in the reactor's next round. Here nothing is joined or
copied, and what the socket takes at once is gone at once. An SSH connection sends so, and so do
the requests to a store.
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
"""What one connection sends in one turn of the reactor; others want theirs."""


class GatherSocket(Protocol):
    """A socket that does not block, or what stands for one."""

    def sendmsg(self, buffers: list[Buffer], /) -> int:
        """How many bytes were taken, from the first buffer on. :raises OSError: none."""


def sink_of(transport: Any) -> GatherSocket | None:
    """The socket below a transport, if what is put into it goes out as it is; None below TLS."""
    handle = transport.getHandle() if ISystemHandle.providedBy(transport) else None
    return handle if hasattr(handle, "sendmsg") else None


class SendBuffer:
    """Buffers that wait, in order. They may not be changed until they are gone.

    :ivar size_bytes: how much waits.
    """

    __slots__ = ("_buffers", "_sent_bytes", "size_bytes")

    def __init__(self, buffers: Iterable[Buffer] = ()) -> None:
        self._buffers = deque(buffers)
        self._sent_bytes = 0  # of the first buffer
        self.size_bytes = sum(map(len, self._buffers))

    def extend(self, buffers: Iterable[Buffer], size_bytes: int) -> None:
        """Put `buffers`, which are `size_bytes` together, behind all others."""
        self._buffers.extend(buffers)
        self.size_bytes += size_bytes

    def send(self, sink: GatherSocket, limit_bytes: int) -> int:
        """Have the sink take what it takes, about `limit_bytes` at most; how much that was.

        Nothing, too, where the connection is broken: its reader hears of that.
        """
        buffers = self._next(limit_bytes)
        try:
            sent_bytes = sink.sendmsg(buffers) if buffers else 0
        except OSError:
            return 0
        self._drop(sent_bytes)
        return sent_bytes

    def take_all(self) -> list[Buffer]:
        """What waits, which waits no more."""
        buffers = self._first(len(self._buffers))
        self.clear()
        return buffers

    def clear(self) -> None:
        """Let go of everything."""
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
