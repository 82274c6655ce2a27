"""What our SFTP protocol asks of server and file objects.

Knows: Conch's interfaces, with the types that they leave open, and what they
cannot say. Must not know: who provides it.

zope interfaces, since these are Twisted's seams. As in Conch, an answer may be a
value or a Deferred of it.
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
    """An open file. Its calls come in the order of the client's requests."""

    traffic: TrafficCounter = Attribute("Takes note of what is not for the client, nor from it.")

    def readChunk(offset: int, length: int) -> Eventual[Body]:
        """As in Conch, but in pieces, which nobody has joined yet."""

    def corkWith(cork: Cork) -> None:
        """Hold ``together()`` while several READs are answered: they leave together then."""

    def writeChunk(offset: int, data: Body) -> Deferred[None] | None:
        """As in Conch, but `data` comes in pieces, which nobody has joined yet."""

    def getAttrs() -> Eventual[Attributes]:
        """As in Conch."""

    def setAttrs(attrs: Attributes) -> Deferred[None] | None:
        """As in Conch."""

    def publishedPath() -> bytes | None:
        """What CLOSE would store the file as, if it came now; None if it stores nothing."""

    def takesTime() -> bool:
        """Whether the file would be stored with a time that came now, and none has come yet."""

    def foreseeTime(attrs: Attributes) -> None:
        """These attributes come right behind CLOSE: the file may be stored with their time."""

    def close() -> Deferred[None] | None:
        """As in Conch, but called for CLOSE only. After ``abandon`` it fails."""

    def abandon() -> Deferred[None] | None:
        """The client is lost: publish nothing."""

    def sync() -> Deferred[None] | None:
        """fsync@openssh.com: wait for what is under way, and report its errors."""

    def digests(algorithm: str, start: int, length: int, block: int) -> Deferred[list[bytes]]:
        """check-file-handle: of a range, to the end if `length` is 0, in blocks unless 0."""


class IGatewayDirectory(Interface):
    """An open directory. Iterating yields the entries in hand, as Conch's READDIR wants it."""

    def nextEntries() -> Deferred[list[Name]]:
        """The next entries, some; an empty list at the end."""

    def close() -> None:
        """The client is done with it."""


class IGatewayServer(ISFTPServer):
    """One session's file server."""

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
        """home-directory: of a user; without a name, of the one who asks."""

    def namesOfOwners(
        uids: tuple[int, ...], gids: tuple[int, ...]
    ) -> tuple[list[bytes], list[bytes]]:
        """users-groups-by-id@openssh.com: the names, empty for what is nobody's."""

    def space(path: bytes) -> Eventual[Space]:
        """statvfs@openssh.com."""
