"""The objects that Conch's SFTP interfaces ask for, on a `FileTree`.

Knows: Conch's words for requests (flags, attribute dicts) and ours (intents,
changes). Must not know: packets, handles, S3.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping
from functools import partial
from typing import Any

from twisted.internet.defer import Deferred
from zope.interface import implementer

from sftpgw.errors import NoSuchFile, Unsupported
from sftpgw.files.digests import Digester
from sftpgw.model.clock import Clock
from sftpgw.model.filesystem import (
    AttributeChanges,
    Cork,
    DirectoryEntry,
    DirectoryReader,
    FileAttributes,
    FileKind,
    FileReader,
    FileTree,
    FileWriter,
    Space,
    WriteIntent,
)
from sftpgw.model.messages import readable
from sftpgw.model.normalization import normalized_bytes
from sftpgw.model.settings import FilesSettings
from sftpgw.model.units import Body
from sftpgw.sftp.attributes import Appearance, from_wire
from sftpgw.sftp.contracts import IGatewayDirectory, IGatewayFile, IGatewayServer
from sftpgw.wire.sftp import MAX_NAMES_BYTES, Attributes, Name, OpenFlag


@implementer(IGatewayServer)
class GatewayServer:
    """The file server of one SFTP channel.

    :param avatar: Conch's word for the user; here the user's name.
    :param tree: the user's files.
    :param clock: tells the time for the lines of listings.
    :param settings: how files appear.
    :param digester: computes digests of files.
    """

    def __init__(
        self,
        avatar: str,
        tree: FileTree,
        clock: Clock,
        settings: FilesSettings,
        digester: Digester,
    ) -> None:
        self.avatar = avatar
        self._tree = tree
        self._clock = clock
        self._appearance = Appearance(avatar, settings)
        self._digester = digester

    def gotVersion(self, otherVersion: int, extData: Mapping[bytes, bytes]) -> dict[bytes, bytes]:
        return {}

    def openFile(self, filename: bytes, flags: int, attrs: Attributes) -> Deferred[IGatewayFile]:
        return Deferred.fromCoroutine(self._open(filename, OpenFlag(flags & _KNOWN_FLAGS), attrs))

    async def _open(self, path: bytes, flags: OpenFlag, attrs: Attributes) -> IGatewayFile:
        """Open a file as OpenSSH's server does.

        A handle writes if the flags have WRITE, with APPEND or without. Otherwise it reads, even
        without READ; CREAT and TRUNC take effect first.
        """
        intent = _intent_of(flags)
        if flags & OpenFlag.WRITE:
            writer = await self._tree.open_writer(path, intent, from_wire(attrs))
            return WritableFile(writer, self._appearance, partial(self._tree.path_of, writer))
        if flags & (OpenFlag.CREAT | OpenFlag.TRUNC):
            reader = await self._tree.open_made(path, intent, from_wire(attrs))
        else:
            reader = await self._tree.open_reader(path)
        change = partial(self._tree.set_attributes, path)
        return ReadableFile(reader, self._appearance, change, self._digester)

    def removeFile(self, filename: bytes) -> Deferred[None]:
        return Deferred.fromCoroutine(self._tree.remove_file(filename))

    def renameFile(self, oldpath: bytes, newpath: bytes) -> Deferred[None]:
        return Deferred.fromCoroutine(self._tree.rename(oldpath, newpath, replace=False))

    def replaceFile(self, oldpath: bytes, newpath: bytes) -> Deferred[None]:
        return Deferred.fromCoroutine(self._tree.rename(oldpath, newpath, replace=True))

    def makeDirectory(self, path: bytes, attrs: Attributes) -> Deferred[None]:
        return Deferred.fromCoroutine(self._tree.make_directory(path))

    def removeDirectory(self, path: bytes) -> Deferred[None]:
        return Deferred.fromCoroutine(self._tree.remove_directory(path))

    def openDirectory(self, path: bytes) -> Deferred[IGatewayDirectory]:
        return Deferred.fromCoroutine(self._open_directory(path))

    async def _open_directory(self, path: bytes) -> IGatewayDirectory:
        reader = await self._tree.open_directory(path)
        try:
            # So the next page comes before READDIR asks for it.
            await reader.fetch_first()
        except BaseException:  # the client may be gone
            reader.close()
            raise
        return ListedDirectory(reader, self._appearance, self._clock)

    def getAttrs(self, path: bytes, followLinks: bool) -> Deferred[Attributes]:
        return Deferred.fromCoroutine(self._stat(path))

    async def _stat(self, path: bytes) -> Attributes:
        return self._appearance.attributes(await self._tree.stat(path))

    def setAttrs(self, path: bytes, attrs: Attributes) -> Deferred[None]:
        return Deferred.fromCoroutine(self._tree.set_attributes(path, from_wire(attrs)))

    def readLink(self, path: bytes) -> Deferred[bytes]:
        raise Unsupported("there are no symbolic links in an object store")

    def makeLink(self, linkPath: bytes, targetPath: bytes) -> Deferred[None]:
        raise Unsupported("an object store has no links; upload the file twice, or copy it")

    def realPath(self, path: bytes) -> bytes:
        return self._tree.canonical(path)

    def expandPath(self, path: bytes) -> bytes:
        if not path.startswith(b"~"):
            return self.realPath(path)
        user, _, rest = path[1:].partition(b"/")
        return self.realPath(self.homeDirectory(user) + rest)

    def homeDirectory(self, user: bytes) -> bytes:
        own = normalized_bytes(self.avatar.encode())
        if user and normalized_bytes(user) != own:
            # The same for every other name, so that no client learns which users exist.
            raise NoSuchFile("no home directory but your own can be reached here")
        return b"/"

    def namesOfOwners(
        self, uids: tuple[int, ...], gids: tuple[int, ...]
    ) -> tuple[list[bytes], list[bytes]]:
        return [*map(self._appearance.user_name, uids)], [*map(self._appearance.group_name, gids)]

    def space(self, path: bytes) -> Deferred[Space]:
        return Deferred.fromCoroutine(self._tree.space(path))

    def extendedRequest(self, extendedName: bytes, extendedData: bytes) -> bytes:
        raise NotImplementedError(f"extension {readable(extendedName)}")


_KNOWN_FLAGS = 0x3F

REPLY_NAMES_BYTES = MAX_NAMES_BYTES // 2
"""The names of one reply to READDIR, each of which comes twice."""

DOT_ENTRIES = tuple(
    DirectoryEntry(name, FileAttributes(FileKind.DIRECTORY)) for name in (".", "..")
)


def _intent_of(flags: OpenFlag) -> WriteIntent:
    return WriteIntent(
        create=bool(flags & OpenFlag.CREAT),
        truncate=bool(flags & OpenFlag.TRUNC),
        exclusive=bool(flags & OpenFlag.EXCL),
        append=bool(flags & OpenFlag.APPEND),
        read=bool(flags & OpenFlag.READ),
    )


@implementer(IGatewayFile)
class ReadableFile:
    """A file open for reading.

    :param reader: has the bytes.
    :param appearance: how its attributes look to the client.
    :param change: sets the attributes of the file that is stored under its path.
    :param digester: computes digests.
    """

    def __init__(
        self,
        reader: FileReader,
        appearance: Appearance,
        change: Callable[[AttributeChanges], Coroutine[Any, Any, None]],
        digester: Digester,
    ) -> None:
        self.traffic = reader.traffic
        self._reader = reader
        self._appearance = appearance
        self._change = change
        self._digester = digester

    def readChunk(self, offset: int, length: int) -> Body | Deferred[Body]:
        return self._reader.read(offset, length)

    def corkWith(self, cork: Cork) -> None:
        self._reader.cork_with(cork)

    def writeChunk(self, offset: int, data: Body) -> None:
        raise Unsupported("the file is open for reading only")

    def getAttrs(self) -> Deferred[Attributes]:
        return Deferred.fromCoroutine(_attributes(self._reader, self._appearance))

    def setAttrs(self, attrs: Attributes) -> Deferred[None] | None:
        changes = from_wire(attrs)
        if changes.size_bytes is not None:
            raise Unsupported("the file is open for reading only")
        if changes.modified_seconds is None:
            return None
        return Deferred.fromCoroutine(self._change(changes))

    def sync(self) -> None:
        """Nothing was written."""

    def digests(self, algorithm: str, start: int, length: int, block: int) -> Deferred[list[bytes]]:
        stop = start + length if length else 0
        made = self._digester.digest_blocks(self._reader, algorithm, start, stop, block)
        return Deferred.fromCoroutine(made)

    def publishedPath(self) -> None:
        """It publishes nothing."""

    def takesTime(self) -> bool:
        return False

    def announceTime(self, attrs: Attributes) -> None:
        """It stores nothing."""

    def close(self) -> None:
        self._reader.close()

    def abandon(self) -> None:
        self._reader.close()


@implementer(IGatewayFile)
class WritableFile:
    """A file open for writing, or for reading and writing.

    :param writer: takes the bytes.
    :param appearance: how its attributes look to the client.
    :param path: tells the path that the file has now; None if it has none.
    """

    def __init__(
        self, writer: FileWriter, appearance: Appearance, path: Callable[[], bytes | None]
    ) -> None:
        self.traffic = writer.traffic
        self._writer = writer
        self._appearance = appearance
        self._path = path

    def readChunk(self, offset: int, length: int) -> Body | Deferred[Body]:
        return self._writer.read(offset, length)

    def corkWith(self, cork: Cork) -> None:
        """Replies that leave one by one are fast enough here."""

    def writeChunk(self, offset: int, data: Body) -> Deferred[None] | None:
        return self._writer.write(offset, *data)

    def getAttrs(self) -> Deferred[Attributes]:
        return Deferred.fromCoroutine(_attributes(self._writer, self._appearance))

    def setAttrs(self, attrs: Attributes) -> Deferred[None]:
        return Deferred.fromCoroutine(self._writer.set_attributes(from_wire(attrs)))

    def sync(self) -> Deferred[None]:
        return Deferred.fromCoroutine(self._writer.sync())

    def digests(self, algorithm: str, start: int, length: int, block: int) -> Deferred[list[bytes]]:
        raise Unsupported("a file that is being uploaded cannot be hashed before it is closed")

    def publishedPath(self) -> bytes | None:
        return self._path()

    def takesTime(self) -> bool:
        return self._writer.takes_time

    def announceTime(self, attrs: Attributes) -> None:
        if (seconds := from_wire(attrs).modified_seconds) is not None:
            self._writer.announce_time(seconds)

    def close(self) -> Deferred[None]:
        return Deferred.fromCoroutine(self._writer.commit())

    def abandon(self) -> Deferred[None]:
        return Deferred.fromCoroutine(self._writer.abandon())


async def _attributes(opened: FileReader | FileWriter, appearance: Appearance) -> Attributes:
    return appearance.attributes(await opened.attributes())


@implementer(IGatewayDirectory)
class ListedDirectory:
    """A directory open for listing. As in OpenSSH's server, ``.`` and ``..`` come first."""

    def __init__(self, reader: DirectoryReader, appearance: Appearance, clock: Clock) -> None:
        self._reader = reader
        self._appearance = appearance
        self._clock = clock
        self._dots: tuple[DirectoryEntry, ...] = DOT_ENTRIES

    def nextEntries(self) -> Deferred[list[Name]]:
        return Deferred.fromCoroutine(self._next())

    async def _next(self) -> list[Name]:
        found = await self._reader.next_entries(REPLY_NAMES_BYTES)
        dots, self._dots = self._dots, ()
        now_seconds = self._clock.seconds()
        return [self._appearance.entry(each, now_seconds) for each in (*dots, *found)]

    def close(self) -> None:
        self._reader.close()
