"""STAT: the attributes of files and directories.

Knows: in which order stored files, unpublished uploads and directories are looked for.
Must not know: the mode bits and owners that SFTP also shows.
"""

from __future__ import annotations

from dataclasses import replace

from sftpgw.errors import NoSuchFile
from sftpgw.files.listing.known_entries import DIRECTORY
from sftpgw.files.lookup import Lookup
from sftpgw.files.mtimes.directory_mtimes import DirectoryMtimes
from sftpgw.files.paths import Location
from sftpgw.files.session_context import SessionContext
from sftpgw.files.uploads.suspended.storage import SuspendedUploads
from sftpgw.model.filesystem import FileAttributes


class AttributeReader:
    """Reads attributes for one session.

    :param context: the objects that the session's files use.
    :param lookup: tells what exists.
    :param suspended_uploads: the suspended uploads of the session's user.
    :param directory_mtimes: tells the mtimes of directories.
    """

    def __init__(
        self,
        context: SessionContext,
        lookup: Lookup,
        suspended_uploads: SuspendedUploads,
        directory_mtimes: DirectoryMtimes,
    ) -> None:
        self._transfers = context.transfers
        self._times = context.times
        self._lookup = lookup
        self._suspended_uploads = suspended_uploads
        self._directory_mtimes = directory_mtimes

    async def read(self, location: Location) -> FileAttributes:
        """The attributes of a file or directory.

        :raises NoSuchFile, NotADirectory: neither exists.
        :raises StoreError: the store does not tell.
        """
        if location.is_fixed:
            return DIRECTORY
        if location.must_be_directory:
            return await self._read_unstored(location)
        own = await self._lookup.own_upload(location)
        was_written = self._transfers.newest(location.file) is not None
        info = None if own else await self._lookup.find_file_summary(location)
        if info is not None:
            return self._times.attributes(info)
        writer = own or self._transfers.newest(location.file)
        if writer is not None:
            return await writer.attributes()
        # An upload that ended during the HEAD was either published or abandoned.
        return await (self.read(location) if was_written else self._read_unstored(location))

    async def _read_unstored(self, location: Location) -> FileAttributes:
        """The attributes of a directory, or else of a suspended upload."""
        if await self._lookup.is_directory(location):
            marker = self._lookup.cache.marker_of(location)
            return replace(DIRECTORY, modified_seconds=await self._directory_mtimes.of(marker))
        if location.must_be_directory:
            raise await self._lookup.absent_directory_error(location)
        if (found := await self._suspended_uploads.find(location.file)) is not None:
            return found.attributes
        raise NoSuchFile(f"{location.path}: No such file or directory")
