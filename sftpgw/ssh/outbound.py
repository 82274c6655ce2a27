"""The memory that answers take which a client has asked for and does not read.

Knows: how much waits on one channel, whom it is counted for, and when some was last taken.
Must not know: channels, or what the bytes are.

Whoever has fetched bytes gives their memory back when a READ is answered with them. Then they
wait here, until the client takes them: so they are counted once more, in lots, and past every
bound, since they are here already. What others may fetch shrinks by it. Nobody can let go of
them but by ending the channel: so it ends when others have to wait for memory, its user holds more
than their share, and its client has not taken a lot of it for a minute.
"""

from __future__ import annotations

from collections.abc import Callable

from sftpgw.model.memory import MemoryBudget
from sftpgw.model.units import KIB

LOT_BYTES = 64 * KIB
"""What a fast client leaves waiting, at times, is not worth counting."""

UNREAD_SECONDS = 60.0


class OutboundBudget:
    """What waits on one channel.

    :param memory: what it is counted in, if it is.
    :param seconds: tells the time.
    :param give_up: called when others need the memory more; what waits is then let go of.
    """

    def __init__(
        self,
        memory: MemoryBudget | None,
        seconds: Callable[[], float],
        give_up: Callable[[], None],
    ) -> None:
        self._memory = memory
        self._seconds = seconds
        self._give_up = give_up
        self._counted_bytes = 0
        self._taken_seconds = 0.0

    def resize(self, size_bytes: int) -> None:
        """So much waits."""
        due_bytes = size_bytes - size_bytes % LOT_BYTES
        before_bytes, memory = self._counted_bytes, self._memory
        if due_bytes == before_bytes or memory is None:
            return
        self._counted_bytes = due_bytes
        if not before_bytes:
            memory.watch(self._shed, is_transfer=False)
        elif not due_bytes:
            memory.unwatch(self._shed)
        if due_bytes < before_bytes or not before_bytes:
            self._taken_seconds = self._seconds()
        if due_bytes > before_bytes:
            memory.charge(due_bytes - before_bytes)
        else:
            memory.release(before_bytes - due_bytes)

    def _shed(self) -> None:
        """Others wait for memory."""
        is_unread = self._seconds() - self._taken_seconds >= UNREAD_SECONDS
        if is_unread and self._memory is not None and self._memory.is_over_fair_share():
            self._give_up()
