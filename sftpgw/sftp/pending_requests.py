"""The requests of one channel that have no reply yet: how many there may be.

Knows: how many requests are pending, what they take in memory, how many bytes they read.
Must not know: what a request does, when its turn comes, how its reply is sent.

Rules

1. At most `MAX_PENDING` requests and `MAX_PENDING_READ_BYTES` are pending at once.
2. More than `FREE_PENDING_BYTES` of what they take count in the memory budget, in lots; without
   room there, none begins.
3. Requests that have begun go on when their channel is lost. While a user has too many of these,
   none begins on the user's other channels (`sftp/unfinished`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sftpgw.model.memory import MemoryBudget
from sftpgw.model.units import KIB, MIB
from sftpgw.sftp.unfinished import Unfinished
from sftpgw.wire import sftp as wire

MAX_PENDING = 256
"""Requests that have begun, or wait for others, and have no reply yet."""

PENDING_BYTES = 8 * KIB
"""What a pending request takes in memory."""

PENDING_SMALL_BYTES = 4 * KIB
"""What a READ or a WRITE takes, beside the bytes of the file."""

FREE_PENDING_BYTES = 256 * KIB
"""So much of that is part of what a channel takes: the 64 READs or WRITEs of OpenSSH's sftp."""

PENDING_LOT_BYTES = 384 * KIB
"""Further ones are counted in steps of this size."""

MAX_PENDING_READ_BYTES = 4 * MIB
"""The bytes that pending READs ask for, with the replies that the client has not taken yet."""


class PendingRequests:
    """Counts the pending requests of one channel.

    :param memory: the user's share of the memory budget; None to count nothing.
    :param unfinished: what other channels of the user have left.
    :param on_room: called when there are fewer of those again, after a request had to wait.
    :ivar count: how many requests are pending.
    """

    def __init__(
        self,
        memory: MemoryBudget | None,
        unfinished: Unfinished,
        on_room: Callable[[], None],
    ) -> None:
        self.count = 0
        self._memory = memory
        self._unfinished = unfinished
        self._on_room = on_room
        self._has_left = False
        self._held_bytes = 0
        self._may_hold_bytes = FREE_PENDING_BYTES
        self._read_bytes = 0

    def has_room(self, unsent_bytes: int) -> bool:
        """Whether another request may begin.

        :param unsent_bytes: the replies that the client has not taken yet.
        """
        if self._unfinished.is_full:
            self._unfinished.wait(self._on_room)
            return False
        return (
            self.count < MAX_PENDING
            and (self._held_bytes <= self._may_hold_bytes or self._counts_more())
            and self._read_bytes + unsent_bytes < MAX_PENDING_READ_BYTES
        )

    def begin(self, request: Any) -> Callable[[], None]:
        """A request has no reply yet. Returns what is to be called, once, when it has one."""
        is_read = isinstance(request, wire.Read)
        read_bytes = min(request.length, wire.MAX_READ_BYTES) if is_read else 0
        is_small = is_read or isinstance(request, wire.Write)
        held_bytes = PENDING_SMALL_BYTES if is_small else PENDING_BYTES
        self.count += 1
        self._held_bytes += held_bytes
        self._read_bytes += read_bytes

        def end() -> None:
            self.count -= 1
            self._held_bytes -= held_bytes
            self._read_bytes -= read_bytes
            if self._has_left:
                self._unfinished.end_one()
            if self._may_hold_bytes > FREE_PENDING_BYTES:
                self._uncount()

        return end

    def leave(self) -> None:
        """The channel is lost. What has begun goes on, and counts for the user."""
        self._unfinished.leave(self._on_room)
        self._unfinished.add(self.count)
        self._has_left = True
        self._on_room = _do_nothing  # which led back to the channel: no cycle is left
        self._uncount()

    def _counts_more(self) -> bool:
        """Count a lot of pending requests more in the budget, if it has room; whether it has."""
        if self._memory is not None and not self._memory.try_charge(PENDING_LOT_BYTES):
            return False
        self._may_hold_bytes += PENDING_LOT_BYTES
        return True

    def _uncount(self) -> None:
        """Give the memory back of lots that are not needed any more."""
        needed_bytes = self._held_bytes and self._held_bytes + PENDING_LOT_BYTES
        while self._may_hold_bytes > max(needed_bytes, FREE_PENDING_BYTES):
            self._may_hold_bytes -= PENDING_LOT_BYTES
            if self._memory is not None:
                self._memory.release(PENDING_LOT_BYTES)


def _do_nothing() -> None:
    """What follows room for requests of a channel that is lost."""
