"""The open handles of one SFTP channel.

Knows: which handles exist, their files and directories, how many there may be, and what they count
for in the memory budget.
Must not know: what a file or directory does.

A handle is random: it tells nothing, is never used twice, and cannot be guessed. It ends when
CLOSE arrives, not when CLOSE is answered.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from twisted.internet.defer import DeferredLock

from sftpgw.aio.user_counts import UserCount
from sftpgw.errors import InvalidHandle, LimitReached
from sftpgw.files.memory.held_memory import NO_MEMORY
from sftpgw.model.memory import MemoryBudget
from sftpgw.model.units import KIB
from sftpgw.sftp.contracts import IGatewayDirectory, IGatewayFile
from sftpgw.wire.sftp import Name

RANDOM_BYTES = 8

HANDLE_BYTES = 8 * KIB
"""What an open file takes in memory, beside the bytes of its content: 7.3 KiB to write, 4.5 KiB to
read. A directory counts its pages as well (`files/listing/listing`)."""


FIRST_HANDLES = 16
"""So many are part of what a session takes. Further ones count in the budget, one by one."""


@dataclass(eq=False)
class OpenFile:
    """An open file, and the path that it was opened under."""

    path: bytes
    file: IGatewayFile
    is_written: bool = False
    ordered_requests: int = 0
    """Requests on this handle that are in a `HandleOrder` and have not ended."""


@dataclass(eq=False)
class OpenDirectory:
    """An open directory, and the entries that did not fit into the last reply."""

    path: bytes
    directory: IGatewayDirectory
    pending_entries: deque[Name] = field(default_factory=deque)
    lock: DeferredLock = field(default_factory=DeferredLock)
    """READDIRs that were sent ahead are answered one after the other."""


class Handles:
    """The open files and directories of one SFTP channel, by handle.

    :param limit: how many may be open at once.
    :param random_bytes: a cryptographic source of randomness, by number of bytes.
    :param user_count: counts the handles of all channels of the user; None to count nothing.
    :param memory: the user's share of the memory budget; None to count nothing.
    """

    def __init__(
        self,
        limit: int,
        random_bytes: Callable[[int], bytes],
        user_count: UserCount | None = None,
        memory: MemoryBudget | None = None,
    ) -> None:
        self.limit = limit
        self._random_bytes = random_bytes
        self._user_count = user_count
        self._memory = memory
        self._reserved = self._charged = 0
        self._open: dict[bytes, OpenFile | OpenDirectory] = {}
        self._is_over = False

    def __len__(self) -> int:
        return len(self._open)

    def reserve(self) -> None:
        """Count an OPEN or OPENDIR against the limits before it is carried out.

        :raises LimitReached: too many handles are open or being opened, or there is no memory.
        """
        if self._reserved + len(self._open) >= self.limit:
            raise LimitReached(
                f"{self.limit} files are open in this session ([ssh] handles_per_session); close "
                "some first"
            )
        user_count = self._user_count
        if user_count is not None and not user_count.try_add():
            raise LimitReached(
                f"{user_count.limit} files are open in all your sessions ([limits] "
                "handles_per_user); close some first"
            )
        if not self._charge():
            if user_count is not None:
                user_count.remove()
            raise LimitReached(NO_MEMORY)
        self._reserved += 1

    def _charge(self) -> bool:
        """Count a handle in the memory budget; whether it may be opened."""
        if self._memory is None or self._reserved + len(self._open) < FIRST_HANDLES:
            return True
        if not self._memory.try_charge(HANDLE_BYTES):
            return False
        self._charged += 1
        return True

    def unreserve(self) -> None:
        """The OPEN or OPENDIR has ended without a handle."""
        self._reserved -= 1
        self._give_back(1)

    def add(self, opened: OpenFile | OpenDirectory) -> bytes:
        """A handle for what was reserved. :raises InvalidHandle: the channel is closed."""
        if self._is_over:
            self.unreserve()
            raise InvalidHandle("the channel is closed")
        self._reserved -= 1
        handle = self._random_bytes(RANDOM_BYTES).hex().encode()
        self._open[handle] = opened
        return handle

    def _give_back(self, count: int) -> None:
        if self._user_count is not None:
            for _ in range(count):
                self._user_count.remove()
        left = max(0, self._reserved + len(self._open) - FIRST_HANDLES)
        if self._memory is not None and self._charged > left:
            unneeded, self._charged = self._charged - left, left
            self._memory.release(unneeded * HANDLE_BYTES)

    def find(self, handle: bytes) -> OpenFile | OpenDirectory | None:
        """The file or directory of a handle; None if there is none."""
        return self._open.get(handle)

    def file(self, handle: bytes) -> OpenFile:
        """:raises InvalidHandle: no open file has this handle."""
        found = self._open.get(handle)
        if not isinstance(found, OpenFile):
            raise InvalidHandle("no open file has this handle")
        return found

    def directory(self, handle: bytes) -> OpenDirectory:
        """:raises InvalidHandle: no open directory has this handle."""
        found = self._open.get(handle)
        if not isinstance(found, OpenDirectory):
            raise InvalidHandle("no open directory has this handle")
        return found

    def path(self, handle: bytes) -> bytes:
        """The path of an open file or directory. :raises InvalidHandle: nothing has this handle."""
        if handle not in self._open:
            raise InvalidHandle("nothing open has this handle")
        return self._open[handle].path

    def remove(self, handle: bytes) -> OpenFile | OpenDirectory:
        """Remove a handle. :raises InvalidHandle: nothing has this handle."""
        if handle not in self._open:
            raise InvalidHandle("nothing open has this handle")
        opened = self._open.pop(handle)
        self._give_back(1)
        return opened

    def forget(self, handle: bytes) -> None:
        """Remove a handle if it is there."""
        if self._open.pop(handle, None) is not None:
            self._give_back(1)

    def clear(self) -> list[OpenFile | OpenDirectory]:
        """The channel is closed: remove all handles, for good."""
        self._is_over = True
        opened = list(self._open.values())
        self._open.clear()
        if opened:
            self._give_back(len(opened))
        return opened
