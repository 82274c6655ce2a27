"""The interfaces of file servers, files and directories, as the SFTP protocol uses them.

Knows: Conch's interfaces, with the types that they leave open, and the calls that they lack.
Must not know: the classes that provide them.

These are zope interfaces, since Conch's are. As in Conch, a result may be a value or a Deferred
of it.
"""

from __future__ import annotations

from typing import TypeAlias, TypeVar

from twisted.conch.interfaces import ISFTPFile, ISFTPServer
from twisted.internet.defer import Deferred
from zope.interface import Attribute, Interface

from sftpgw.model.filesystem import Cork, Space, TrafficCounter
from sftpgw.model.units import Body
from sftpgw.wire.sftp import Attributes, Name

T = TypeVar("T")
Eventual: TypeAlias = T | Deferred[T]


class IGatewayFile(ISFTPFile):
    """An open file. Its methods are called in the order of the client's requests."""

    traffic: TrafficCounter = Attribute(
        "Counts the bytes that neither go to the client nor come from it."
    )

    def readChunk(offset: int, length: int) -> Eventual[Body]:
        """As in Conch, but as a list of buffers, which need not be joined."""

    def corkWith(cork: Cork) -> None:
        """Answer several READs inside ``cork()``, so that their replies leave together."""

    def writeChunk(offset: int, data: Body) -> Deferred[None] | None:
        """As in Conch, but `data` is a list of buffers, which need not be joined."""

    def getAttrs() -> Eventual[Attributes]:
        """As in Conch."""

    def setAttrs(attrs: Attributes) -> Deferred[None] | None:
        """As in Conch."""

    def publishedPath() -> bytes | None:
        """The path that CLOSE would publish the file under now; None if it publishes nothing."""

    def takesTime() -> bool:
        """Whether a time that came now would be stored with the file, and none has come yet."""

    def announceTime(attrs: Attributes) -> None:
        """Store the file with the time in these attributes, which came right behind CLOSE."""

    def close() -> Deferred[None] | None:
        """As in Conch, but called for CLOSE only. After ``abandon`` it fails."""

    def abandon() -> Deferred[None] | None:
        """Close without publishing: the client is lost."""

    def sync() -> Deferred[None] | None:
        """fsync@openssh.com: wait for the requests to the store, and raise their errors."""

    def digests(algorithm: str, start: int, length: int, block: int) -> Deferred[list[bytes]]:
        """check-file-handle: the digests of the blocks of a range.

        :param algorithm: its name, of `files/digests`.
        :param start: the offset of the range.
        :param length: in bytes; 0: to the end of the file.
        :param block: the bytes of a block; 0: the range is one block.
        """


class IGatewayDirectory(Interface):
    """An open directory."""

    def nextEntries() -> Deferred[list[Name]]:
        """The next entries, about one reply, at least one; an empty list at the end."""

    def close() -> None:
        """The client has closed the directory."""


class IGatewayServer(ISFTPServer):
    """The file server of one SFTP channel."""

    def gotVersion(otherVersion: int, extData: dict[bytes, bytes]) -> dict[bytes, bytes]:
        """As in Conch."""

    def openFile(filename: bytes, flags: int, attrs: Attributes) -> Eventual[IGatewayFile]:
        """As in Conch."""

    def openDirectory(path: bytes) -> Eventual[IGatewayDirectory]:
        """As in Conch."""

    def removeFile(filename: bytes) -> Deferred[None] | None:
        """As in Conch."""

    def renameFile(oldpath: bytes, newpath: bytes) -> Deferred[None] | None:
        """As in Conch. Never replaces anything."""

    def makeDirectory(path: bytes, attrs: Attributes) -> Deferred[None] | None:
        """As in Conch."""

    def removeDirectory(path: bytes) -> Deferred[None] | None:
        """As in Conch."""

    def getAttrs(path: bytes, followLinks: bool) -> Eventual[Attributes]:
        """As in Conch."""

    def setAttrs(path: bytes, attrs: Attributes) -> Deferred[None] | None:
        """As in Conch."""

    def readLink(path: bytes) -> Eventual[bytes]:
        """As in Conch."""

    def makeLink(linkPath: bytes, targetPath: bytes) -> Deferred[None] | None:
        """As in Conch."""

    def realPath(path: bytes) -> Eventual[bytes]:
        """As in Conch."""

    def replaceFile(oldpath: bytes, newpath: bytes) -> Deferred[None] | None:
        """posix-rename@openssh.com: rename, replacing what is there."""

    def expandPath(path: bytes) -> Eventual[bytes]:
        """expand-path@openssh.com: as realPath, for paths that may begin with ``~``."""

    def homeDirectory(user: bytes) -> Eventual[bytes]:
        """home-directory: of a user; the logged-in user's for an empty name."""

    def namesOfOwners(
        uids: tuple[int, ...], gids: tuple[int, ...]
    ) -> tuple[list[bytes], list[bytes]]:
        """users-groups-by-id@openssh.com: the names; an empty one for an unknown id."""

    def space(path: bytes) -> Eventual[Space]:
        """statvfs@openssh.com."""
