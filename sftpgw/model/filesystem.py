"""Files, directories and their attributes, and the interfaces of a user's file tree."""

from __future__ import annotations

import enum
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

from twisted.internet.defer import Deferred

from sftpgw.model.store import ObjectName
from sftpgw.model.units import Body, Buffer

# Files, as a client sees them.


class FileKind(enum.Enum):
    FILE = "file"
    DIRECTORY = "directory"


@dataclass(frozen=True, slots=True)
class FileAttributes:
    """What STAT and READDIR tell of a file or directory; without a time where there is none."""

    kind: FileKind
    size_bytes: int = 0
    modified_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class DirectoryEntry:
    """A name in a directory, without any slash."""

    name: str
    attributes: FileAttributes


@dataclass(frozen=True, slots=True)
class AttributeChanges:
    """What SETSTAT, FSETSTAT, OPEN or MKDIR ask for; None leaves things as they are.

    Mode and owner are not here: an object has neither, they are accepted and ignored.
    """

    size_bytes: int | None = None
    modified_seconds: float | None = None


NO_CHANGES = AttributeChanges()


@dataclass(frozen=True, slots=True)
class WriteIntent:
    """What OPEN for writing asks for (draft-ietf-secsh-filexfer-02, section 6.3).

    `read`: what is written, and what stays of the old file, can be read meanwhile.
    `expected_bytes` is how long the file will be, where that is announced: scp does, SFTP cannot.
    """

    create: bool = True
    truncate: bool = True
    exclusive: bool = False
    append: bool = False
    expected_bytes: int | None = None
    read: bool = False


@dataclass(frozen=True, slots=True)
class Space:
    """What `df` shows. A bucket has no bounds, so the figures are nominal."""

    block_bytes: int
    total_blocks: int
    free_blocks: int
    name_bytes: int


# Files.


class TrafficCounter(Protocol):
    """Takes note of bytes of one open file that no client sent, or was sent."""

    def hashed(self, size_bytes: int) -> None:
        """So many of the bytes read were for a digest."""

    def copied_out(self, size_bytes: int) -> None:
        """So many of the bytes read are for another file."""

    def copied_in(self, size_bytes: int) -> None:
        """So many of the bytes written come from another file."""


Cork = Callable[[], AbstractContextManager[None]]


"""While it is held, answers gather; at its end they leave together."""


class FileReader(Protocol):
    """A file open for reading."""

    @property
    def traffic(self) -> TrafficCounter: ...

    def read(self, offset: int, length: int) -> Body | Deferred[Body]:
        """All of ``[offset, offset + length)`` that exists, in pieces.

        :raises EndOfFile: at or behind the end.
        :raises ObjectChanged: the object was replaced since the open.
        """

    def cork_with(self, cork: Cork) -> None:
        """Hold ``together()`` while several READs are answered at once."""

    async def attributes(self) -> FileAttributes: ...

    def close(self) -> None:
        """Stop fetching and let go of all memory."""


class FileWriter(Protocol):
    """A file open for writing. An error sticks: every later call raises it."""

    @property
    def published_as(self) -> ObjectName | None:
        """The object that `commit` would store, if it came now; None if it stores nothing."""

    @property
    def traffic(self) -> TrafficCounter: ...

    def write(self, offset: int, *pieces: Buffer) -> Deferred[None] | None:
        """Take `pieces` of bytes, one behind the other; they may be kept.

        None or a fired Deferred means: send more.
        """

    def read(self, offset: int, length: int) -> Body | Deferred[Body]:
        """The file as it would be now, as `FileReader.read`, if it was opened for that.

        :raises Unsupported: it was not, or the bytes are not to be had before the end.
        :raises PermissionDenied: the user may not.
        """

    async def set_attributes(self, changes: AttributeChanges) -> None: ...

    async def attributes(self) -> FileAttributes: ...

    @property
    def takes_time(self) -> bool:
        """Whether a time that came now would be stored with the file, and none has come yet."""

    def foresee_time(self, seconds: float) -> None:
        """The time that is about to be set once the file is published: it may have it at once."""

    async def sync(self) -> None:
        """Wait for the parts under way."""

    async def commit(self) -> None:
        """Publish. Returns when the store has confirmed the whole object."""

    async def abandon(self) -> None:
        """Publish nothing and leave nothing behind. Never raises."""


class DirectoryReader(Protocol):
    """A directory open for listing."""

    async def next_entries(self) -> tuple[DirectoryEntry, ...]:
        """The next entries, one page at the most; empty at the end."""

    def close(self) -> None: ...


class FileTree(Protocol):
    """One user's files: a bucket and prefix seen as a tree, behind the permission gate.

    Paths are bytes as the client sent them. Raises `sftpgw.errors.FileError`
    or `sftpgw.errors.StoreError`.
    """

    def canonical(self, path: bytes) -> bytes:
        """The absolute path that `path` stands for, existing or not."""

    async def stat(self, path: bytes) -> FileAttributes: ...

    async def open_reader(self, path: bytes) -> FileReader: ...

    async def open_made(
        self, path: bytes, intent: WriteIntent, changes: AttributeChanges
    ) -> FileReader:
        """A reader of a file that `intent` may have made or emptied before."""

    async def open_writer(
        self, path: bytes, intent: WriteIntent, changes: AttributeChanges
    ) -> FileWriter: ...

    def path_of(self, writer: FileWriter) -> bytes | None:
        """Under which path `writer` is to publish; None if under none of this user's."""

    async def open_directory(self, path: bytes) -> DirectoryReader: ...

    async def make_directory(self, path: bytes) -> None: ...

    async def remove_directory(self, path: bytes) -> None: ...

    async def remove_file(self, path: bytes) -> None: ...

    async def rename(self, old: bytes, new: bytes, *, replace: bool) -> None: ...

    async def set_attributes(self, path: bytes, changes: AttributeChanges) -> None: ...

    async def space(self, path: bytes) -> Space: ...
