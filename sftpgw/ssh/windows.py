"""The receive window of a channel: how much a client may send ahead.

Knows: the window of RFC 4254, section 5.2, and how much of it is counted in the memory budget.
Must not know: channels, or what the bytes are.

Bytes that a client has sent wait in memory until they are processed, so that a window is memory
that the client was granted. Every channel has at least `LEAST_WINDOW_BYTES`, enough for one
request. The window grows to `WINDOW_BYTES`, which keeps a distant client busy, while there is free
memory and no other transfer waits for it. When one waits, the window shrinks: bytes that the client
has used are not granted again.

`window_shares` says when a window cannot be counted. A connection's first channel is opened all the
same, since the number of connections has a limit of its own. A further channel is refused then.
"""

from __future__ import annotations

from sftpgw.model.memory import WindowBudget
from sftpgw.model.units import KIB, MIB

WINDOW_BYTES = 2 * MIB
LEAST_WINDOW_BYTES = 336 * KIB
LONGEST_REQUEST_BYTES = 272 * KIB
"""The client may always send this much, so that the rest of a request gets through."""


class ReceiveWindow:
    """The window of one channel; its owner calls `close` in the end.

    :param memory: the budget of the user's windows; None for a full window at once.
    :param most_bytes: how far it may grow.
    """

    def __init__(self, memory: WindowBudget | None, most_bytes: int = WINDOW_BYTES) -> None:
        self.size_bytes = most_bytes if memory is None else LEAST_WINDOW_BYTES
        self._most_bytes = most_bytes
        self._memory = memory
        self._counted_bytes = 0
        self._creditable_bytes = 0
        self._is_shrinking = False

    def open(self) -> bool:
        """Count the smallest window, which the client is about to get.

        :returns: False if there is no memory for it.
        """
        memory = self._memory
        if memory is None:
            return True
        if not memory.try_charge(self.size_bytes):
            return False
        self._counted_bytes = self.size_bytes
        return True

    def close(self) -> None:
        """Give the memory back: nothing will be received any more."""
        memory, self._memory = self._memory, None
        if memory is not None:
            memory.unwatch(self._on_pressure)
            memory.release(self._counted_bytes)

    def consumed(self, size_bytes: int) -> int:
        """Count bytes that were processed; returns how many to grant the client now."""
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
        memory, more_bytes = self._memory, min(self.size_bytes, self._most_bytes - self.size_bytes)
        if memory is None or not more_bytes or not memory.try_acquire(more_bytes):
            return
        memory.watch(self._on_pressure)
        self._counted_bytes += more_bytes
        self.size_bytes += more_bytes
        self._creditable_bytes += more_bytes

    def _on_pressure(self) -> None:
        self._is_shrinking = True
        self._shrink()

    def _shrink(self) -> None:
        """Give back what the client has used. What it was granted before, it may still send."""
        if self._memory is None:
            return
        withheld_bytes = min(self._creditable_bytes, self.size_bytes - LEAST_WINDOW_BYTES)
        self._creditable_bytes -= withheld_bytes
        self._counted_bytes -= withheld_bytes
        self.size_bytes -= withheld_bytes
        if self.size_bytes == LEAST_WINDOW_BYTES:
            self._is_shrinking = False
            self._memory.unwatch(self._on_pressure)
        if withheld_bytes:
            self._memory.release(withheld_bytes)
