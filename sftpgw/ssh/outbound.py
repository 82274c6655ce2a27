"""Counts the memory of output that a client has asked for and does not read.

Knows: how much waits on one channel, in which budget it is counted, and when the client has last
taken some.
Must not know: channels, or what the bytes are.

A download gives the memory of its bytes back when a READ is answered with them. From then on they
wait in the channel until the client takes them. They are counted here in steps of `LOT_BYTES`,
beyond every limit, since they are already in memory; other transfers may take that much less. Only
closing the channel can free them. It is closed when other users have to wait for memory, this user
holds more than a fair share, and the client has taken less than one step in `UNREAD_SECONDS`.
"""

from __future__ import annotations

from collections.abc import Callable

from sftpgw.model.memory import MemoryBudget
from sftpgw.model.units import KIB

LOT_BYTES = 64 * KIB
"""Output is counted in steps of this size, so that a client that keeps up costs nothing."""

UNREAD_SECONDS = 60.0
"""How long a client may read less than `LOT_BYTES` while others need the memory."""


class OutboundBudget:
    """Counts the output that waits on one channel.

    :param memory: the budget that it is counted in; None to count nothing.
    :param seconds: returns the time.
    :param on_unread: called when others need the memory more; must close the channel.
    """

    def __init__(
        self,
        memory: MemoryBudget | None,
        seconds: Callable[[], float],
        on_unread: Callable[[], None],
    ) -> None:
        self._memory = memory
        self._seconds = seconds
        self._on_unread = on_unread
        self._counted_bytes = 0
        self._taken_seconds = 0.0

    def resize(self, size_bytes: int) -> None:
        """Count `size_bytes`, in place of what was counted before."""
        due_bytes = size_bytes - size_bytes % LOT_BYTES
        before_bytes, memory = self._counted_bytes, self._memory
        if due_bytes == before_bytes or memory is None:
            return
        self._counted_bytes = due_bytes
        if not before_bytes:
            memory.watch(self._on_pressure)
        elif not due_bytes:
            memory.unwatch(self._on_pressure)
        if due_bytes < before_bytes or not before_bytes:
            self._taken_seconds = self._seconds()
        if due_bytes > before_bytes:
            memory.charge(due_bytes - before_bytes)
        else:
            memory.release(before_bytes - due_bytes)

    def end(self) -> None:
        """No output waits any more, and none will: the channel is gone."""
        self.resize(0)
        self._memory = None
        self._seconds, self._on_unread = float, _do_nothing  # they led back to the channel

    def _on_pressure(self) -> None:
        is_unread = self._seconds() - self._taken_seconds >= UNREAD_SECONDS
        if is_unread and self._memory is not None and self._memory.is_over_fair_share():
            self._on_unread()


def _do_nothing() -> None:
    """What follows pressure when the channel is gone."""
