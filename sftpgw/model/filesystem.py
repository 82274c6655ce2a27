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

# Attributes.


class FileKind(enum.Enum):
    """The kinds of entries in a directory; S3 has no links and no devices."""

    FILE = "file"
    DIRECTORY = "directory"


@dataclass(frozen=True, slots=True)
class FileAttributes:
    """The attributes that STAT and READDIR show of a file or directory.

    :param kind: whether it is a file or a directory.
    :param size_bytes: the size of a file; 0 for a directory.
    :param modified_seconds: the mtime, in seconds since 1970; None where there is none.
    """

    kind: FileKind
    size_bytes: int = 0
    modified_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class DirectoryEntry:
    """An entry of a directory.

    :param name: its name, without slashes.
    :param attributes: its attributes.
    """

    name: str
    attributes: FileAttributes


@dataclass(frozen=True, slots=True)
class AttributeChanges:
    """The attributes that SETSTAT, FSETSTAT, OPEN or MKDIR set; None leaves one as it is.

    Mode and owner are accepted and ignored: an object has neither.

    :param size_bytes: the size; the file is truncated, or extended with zeros.
    :param modified_seconds: the mtime, in seconds since 1970.
    """

    size_bytes: int | None = None
    modified_seconds: float | None = None


NO_CHANGES = AttributeChanges()


@dataclass(frozen=True, slots=True)
class WriteIntent:
    """The flags of OPEN for writing (draft-ietf-secsh-filexfer-02, section 6.3).

    :param create: CREAT: a missing file is created.
    :param truncate: TRUNC: no bytes of an existing file are preserved.
    :param exclusive: EXCL: with `create`, the file must not exist.
    :param append: APPEND: every WRITE goes to the end of the file, whatever its offset.
    :param expected_bytes: the size that the client announces; scp does, SFTP cannot.
    :param read: READ: written and preserved bytes can be read through the same handle.
    """

    create: bool = True
    truncate: bool = True
    exclusive: bool = False
    append: bool = False
    expected_bytes: int | None = None
    read: bool = False


@dataclass(frozen=True, slots=True)
class Space:
    """The numbers that `df` shows: those of a quota, else nominal ones. A bucket has no size.

    :param block_bytes: the size of a block.
    :param total_blocks: all blocks.
    :param free_blocks: the free ones.
    :param name_bytes: the longest name.
    :param total_files: how many files there may be.
    :param free_files: how many more.
    """

    block_bytes: int
    total_blocks: int
    free_blocks: int
    name_bytes: int
    total_files: int = 0xFFFFFFFF
    free_files: int = 0xFFFFFFFF


# Files.


class TrafficCounter(Protocol):
    """Counts the bytes of one open file that were not exchanged with the client."""

    def hashed(self, size_bytes: int) -> None:
        """Some of the bytes read were hashed."""

    def copied_out(self, size_bytes: int) -> None:
        """Some of the bytes read go into another file."""

    def copied_in(self, size_bytes: int) -> None:
        """Some of the bytes written come from another file."""


Cork = Callable[[], AbstractContextManager[None]]
"""Holds back replies while the context is entered; at its end they leave together."""


class FileReader(Protocol):
    """A file open for reading."""

    @property
    def traffic(self) -> TrafficCounter: ...

    def read(self, offset: int, length: int) -> Body | Deferred[Body]:
        """The bytes of ``[offset, offset + length)``, up to the end of the file, as fragments.

        :param offset: the first byte.
        :param length: the number of bytes.
        :raises EndOfFile: the offset is at the end or behind it.
        :raises ObjectChanged: the object was replaced since OPEN.
        """

    def cork_with(self, cork: Cork) -> None:
        """Enter `cork` whenever several READs are answered at once."""

    async def attributes(self) -> FileAttributes: ...

    def close(self) -> None:
        """Stop fetching, and release all memory."""


class FileWriter(Protocol):
    """A file open for writing. After an error every later call raises that error."""

    @property
    def published_as(self) -> ObjectName | None:
        """The object that `commit` would store now; None if the file was removed."""

    @property
    def traffic(self) -> TrafficCounter: ...

    def write(self, offset: int, *fragments: Buffer) -> Deferred[None] | None:
        """Write bytes at an offset.

        :param offset: the position of the first byte.
        :param fragments: the bytes, as buffers that follow each other; they must not be changed
            afterwards.
        :returns: None if more may be written at once, else a Deferred that fires when it may.
        """

    def read(self, offset: int, length: int) -> Body | Deferred[Body]:
        """The bytes of the file as it would be published now, as `FileReader.read`.

        :param offset: the first byte.
        :param length: the number of bytes.
        :raises Unsupported: the file was not opened for reading, or the bytes are already in the
            store and cannot be read before the end.
        :raises PermissionDenied: the user may not download files.
        """

    async def set_attributes(self, changes: AttributeChanges) -> None: ...

    async def attributes(self) -> FileAttributes: ...

    @property
    def takes_time(self) -> bool:
        """Whether an mtime that comes now is stored with the object, and none has come yet."""

    def announce_time(self, seconds: float) -> None:
        """Announce the mtime that the client sets after CLOSE: it is stored with the object."""

    async def sync(self) -> None:
        """Wait for the parts in flight."""

    async def commit(self) -> None:
        """Publish the file. Returns when the store has confirmed the whole object."""

    async def abandon(self) -> None:
        """End without publishing, unless `commit` has published. Never raises.

        What was sent is removed, or suspended for a client that comes back.
        """


class DirectoryReader(Protocol):
    """A directory open for listing."""

    async def fetch_first(self) -> None:
        """Wait for the first page."""

    async def next_entries(self, names_bytes: int | None = None) -> tuple[DirectoryEntry, ...]:
        """The next entries, at most one page; empty at the end.

        :param names_bytes: about how long their names may be together, each with 48 bytes beside
            it; None for the rest of the page. At least one entry is returned if any is left.
        """

    def close(self) -> None: ...


class FileTree(Protocol):
    """The files of one session, seen as a tree, behind the permission gate.

    Paths are bytes as the client sent them. All methods raise `sftpgw.errors.FileError` and
    `sftpgw.errors.StoreError`.
    """

    def canonical(self, path: bytes) -> bytes:
        """The absolute form of a path, whether the file exists or not."""

    async def stat(self, path: bytes) -> FileAttributes: ...

    async def open_reader(self, path: bytes) -> FileReader: ...

    async def open_made(
        self, path: bytes, intent: WriteIntent, changes: AttributeChanges
    ) -> FileReader:
        """Open a file for reading, after creating or emptying it as `intent` says."""

    async def open_writer(
        self, path: bytes, intent: WriteIntent, changes: AttributeChanges
    ) -> FileWriter: ...

    def path_of(self, writer: FileWriter) -> bytes | None:
        """The path under which a writer publishes; None if this user has no path to it."""

    async def open_directory(self, path: bytes, *, with_times: bool = True) -> DirectoryReader:
        """List a directory.

        :param path: the directory.
        :param with_times: whether exact times are wanted, which may take a request for each file.
        """

    async def make_directory(self, path: bytes) -> None: ...

    async def remove_directory(self, path: bytes) -> None: ...

    async def remove_file(self, path: bytes) -> None: ...

    async def rename(self, old: bytes, new: bytes, *, replace: bool) -> None: ...

    async def set_attributes(self, path: bytes, changes: AttributeChanges) -> None: ...

    async def space(self, path: bytes) -> Space: ...
