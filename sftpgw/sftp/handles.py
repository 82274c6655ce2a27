"""The open handles of one session.

Knows: which names were given out, what they stand for, and how many there may be.
Must not know: what is behind a handle.

A handle's name is random: it tells nothing, is never given out twice, and cannot
be guessed. It dies when CLOSE arrives, not when CLOSE is answered.
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
    """A file, and the path that it was opened under."""

    path: bytes
    file: IGatewayFile
    is_written: bool = False
    in_order: int = 0
    """Requests on this handle that `sftp.ordering.HandleOrder` has, and that have not ended."""


@dataclass(eq=False)
class OpenDirectory:
    """A directory, and the entries that did not fit into the last reply."""

    path: bytes
    directory: IGatewayDirectory
    left_over: deque[Name] = field(default_factory=deque)
    turn: DeferredLock = field(default_factory=DeferredLock)
    """READDIRs sent ahead are answered one after the other."""


class Handles:
    """Hands out names, and finds what they stand for.

    :param limit: how many may be open at once.
    :param random_bytes: a source of randomness that nobody can predict.
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
        """An OPEN or OPENDIR has come; it counts before it is granted.

        :raises LimitReached: too many handles are open or being opened.
        """
        if self._reserved + len(self._open) >= self.limit:
            raise LimitReached(f"{self.limit} files are open already; close some first")
        self._reserved += 1

    def unreserve(self) -> None:
        """It was answered, either way."""
        self._reserved -= 1

    def add(self, opened: OpenFile | OpenDirectory) -> bytes:
        """The name of a new handle. :raises InvalidHandle: the session is over."""
        if self._is_over:
            raise InvalidHandle("the session is over")
        name = self._random_bytes(HANDLE_BYTES).hex().encode()
        self._open[name] = opened
        return name

    def find(self, name: bytes) -> OpenFile | OpenDirectory | None:
        """What this handle stands for, None for nothing."""
        return self._open.get(name)

    def file(self, name: bytes) -> OpenFile:
        """:raises InvalidHandle: no open file has this handle."""
        found = self._open.get(name)
        if not isinstance(found, OpenFile):
            raise InvalidHandle("no open file has this handle")
        return found

    def directory(self, name: bytes) -> OpenDirectory:
        """:raises InvalidHandle: no open directory has this handle."""
        found = self._open.get(name)
        if not isinstance(found, OpenDirectory):
            raise InvalidHandle("no open directory has this handle")
        return found

    def path(self, name: bytes) -> bytes:
        """What was opened under this handle. :raises InvalidHandle: nothing was."""
        if name not in self._open:
            raise InvalidHandle("nothing open has this handle")
        return self._open[name].path

    def remove(self, name: bytes) -> OpenFile | OpenDirectory:
        """Take a handle away. :raises InvalidHandle: there is none."""
        if name not in self._open:
            raise InvalidHandle("nothing open has this handle")
        return self._open.pop(name)

    def forget(self, name: bytes) -> None:
        """Take a handle away, unless it is gone."""
        self._open.pop(name, None)

    def clear(self) -> list[OpenFile | OpenDirectory]:
        """The session is over: take all handles away."""
        self._is_over = True
        opened = list(self._open.values())
        self._open.clear()
        return opened
