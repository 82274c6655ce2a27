"""How much a client may send ahead on one channel.

Knows: the window of RFC 4254, section 5.2, and what of it is counted in the budget.
Must not know: channels, or what the bytes are.

What a client sends without an answer waits in memory, so a window is memory that was
granted. Every channel has the least that lets a request through. It grows to the full
window, by which a client far away is kept busy, while there is memory and nobody waits
for it. When somebody does, what is given back by the client is not granted again.

A connection's first channel is opened whether its least window can be counted or not: the number
of connections has a limit of its own. A further one is not.
"""

from __future__ import annotations

from sftpgw.model.memory import MemoryBudget
from sftpgw.model.units import KIB, MIB

WINDOW_BYTES = 2 * MIB
LEAST_WINDOW_BYTES = 336 * KIB
LONGEST_REQUEST_BYTES = 272 * KIB
"""Less than this may never be left, or the rest of a request would not get through."""


class ReceiveWindow:
    """The window of one channel; `close` it in the end.

    :param memory: what windows may hold together; None for a full window at once.
    """

    def __init__(self, memory: MemoryBudget | None) -> None:
        self.size_bytes = WINDOW_BYTES if memory is None else LEAST_WINDOW_BYTES
        self._memory = memory
        self._counted_bytes = 0
        self._creditable_bytes = 0
        self._is_shrinking = False

    def open(self) -> bool:
        """The client is about to get it: count the least; False if there is no memory for it."""
        memory = self._memory
        if memory is None:
            return True
        if not memory.try_charge(self.size_bytes):
            return False
        self._counted_bytes = self.size_bytes
        return True

    def close(self) -> None:
        """Nothing will be received any more."""
        memory, self._memory = self._memory, None
        if memory is not None:
            memory.unwatch(self._shed)
            memory.release(self._counted_bytes)

    def consumed(self, size_bytes: int) -> int:
        """So many bytes have been dealt with; returns how many to grant now."""
        self._creditable_bytes += size_bytes
        if self._is_shrinking:
            self._shrink()
        enough_bytes = min(self.size_bytes // 2, self.size_bytes - LONGEST_REQUEST_BYTES)
        if self._creditable_bytes < enough_bytes:
            return 0
        self._grow()
        granted_bytes, self._creditable_bytes = self._creditable_bytes, 0
        return granted_bytes

    def _grow(self) -> None:
        memory, more_bytes = self._memory, min(self.size_bytes, WINDOW_BYTES - self.size_bytes)
        if memory is None or not more_bytes or not memory.try_acquire(more_bytes):
            return
        memory.watch(self._shed, is_transfer=False)
        self._counted_bytes += more_bytes
        self.size_bytes += more_bytes
        self._creditable_bytes += more_bytes

    def _shed(self) -> None:
        self._is_shrinking = True
        self._shrink()

    def _shrink(self) -> None:
        """Keep what came back. What the client still has comes back as it sends."""
        if self._memory is None:
            return
        kept_bytes = min(self._creditable_bytes, self.size_bytes - LEAST_WINDOW_BYTES)
        self._creditable_bytes -= kept_bytes
        self._counted_bytes -= kept_bytes
        self.size_bytes -= kept_bytes
        if self.size_bytes == LEAST_WINDOW_BYTES:
            self._is_shrinking = False
            self._memory.unwatch(self._shed)
        if kept_bytes:
            self._memory.release(kept_bytes)
