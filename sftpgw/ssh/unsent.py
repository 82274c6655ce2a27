"""The memory that answers take which a client has asked for and does not read.

Knows: how much waits on one channel, and whom it is counted for.
Must not know: channels, or what the bytes are.

Whoever has fetched bytes gives their memory back when a READ is answered with them. Then they
wait here, until the client takes them: so they are counted once more, in lots, and past every
bound, since they are here already. What others may fetch shrinks by it.
"""

from __future__ import annotations

from sftpgw.interfaces import MemoryBudget
from sftpgw.values import KIB

LOT_BYTES = 64 * KIB
"""What a fast client leaves waiting, at times, is not worth counting."""


class UnsentMemory:
    """What waits on one channel.

    :param memory: what it is counted in, if it is.
    """

    def __init__(self, memory: MemoryBudget | None) -> None:
        self._memory = memory
        self._counted_bytes = 0

    def is_now(self, size_bytes: int) -> None:
        """So much waits."""
        due_bytes = size_bytes - size_bytes % LOT_BYTES
        if due_bytes == self._counted_bytes or self._memory is None:
            return
        more_bytes, self._counted_bytes = due_bytes - self._counted_bytes, due_bytes
        if more_bytes > 0:
            self._memory.charge(more_bytes)
        else:
            self._memory.release(-more_bytes)
