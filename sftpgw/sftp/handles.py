"""The open handles of one SFTP channel.

Knows: which handles exist, their files and directories, and how many there may be.
Must not know: what a file or directory does.

A handle is random: it tells nothing, is never used twice, and cannot be guessed. It ends when
CLOSE arrives, not when CLOSE is answered.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from twisted.internet.defer import DeferredLock

from sftpgw.errors import InvalidHandle, LimitReached
from sftpgw.sftp.contracts import IGatewayDirectory, IGatewayFile
from sftpgw.wire.sftp import Name

HANDLE_BYTES = 8


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
    """

    def __init__(self, limit: int, random_bytes: Callable[[int], bytes]) -> None:
        self.limit = limit
        self._random_bytes = random_bytes
        self._reserved = 0
        self._open: dict[bytes, OpenFile | OpenDirectory] = {}
        self._is_over = False

    def __len__(self) -> int:
        return len(self._open)

    def reserve(self) -> None:
        """Count an OPEN or OPENDIR against the limit before it is carried out.

        :raises LimitReached: too many handles are open or being opened.
        """
        if self._reserved + len(self._open) >= self.limit:
            raise LimitReached(f"{self.limit} files are open already; close some first")
        self._reserved += 1

    def unreserve(self) -> None:
        """The OPEN or OPENDIR has ended, with a handle or without."""
        self._reserved -= 1

    def add(self, opened: OpenFile | OpenDirectory) -> bytes:
        """A new handle. :raises InvalidHandle: the channel is closed."""
        if self._is_over:
            raise InvalidHandle("the channel is closed")
        handle = self._random_bytes(HANDLE_BYTES).hex().encode()
        self._open[handle] = opened
        return handle

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
        return self._open.pop(handle)

    def forget(self, handle: bytes) -> None:
        """Remove a handle if it is there."""
        self._open.pop(handle, None)

    def clear(self) -> list[OpenFile | OpenDirectory]:
        """The channel is closed: remove all handles, for good."""
        self._is_over = True
        opened = list(self._open.values())
        self._open.clear()
        return opened
