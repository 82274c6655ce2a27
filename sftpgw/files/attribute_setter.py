"""SETSTAT by path: the size and the mtime of files and directories.

Knows: which object or upload has to change.
Must not know: permissions; FSETSTAT, which asks the open file itself.

Rules

1. A size is set by opening the file for writing, truncating or extending it, and committing it.
2. The mtime of a file that this session is writing is given to that upload. That of a stored file
   is stored with the object, even if another session is writing a new version: that version may
   never be published, and has an mtime of its own.
3. The mtime of a fixed directory (`files/mount_table`) is accepted and not stored: it may have no
   object to store it with.
"""

from __future__ import annotations

from sftpgw.errors import NoSuchFile, NoSuchObject
from sftpgw.files.drop_box import DropBox, unseen
from sftpgw.files.file_opener import FileOpener
from sftpgw.files.lookup import Lookup
from sftpgw.files.mtimes.directory_mtimes import DirectoryMtimes
from sftpgw.files.mtimes.setter import MtimeSetter
from sftpgw.files.paths import Location
from sftpgw.files.permissions import may_be_allowed_file
from sftpgw.files.transfers.registry import TransferRegistry
from sftpgw.files.uploads.suspended.storage import SuspendedUploads
from sftpgw.model.filesystem import NO_CHANGES, AttributeChanges, WriteIntent

IN_PLACE = WriteIntent(create=False, truncate=False)


class AttributeSetter:
    """Sets attributes for one session.

    :param lookup: tells what exists.
    :param transfers: the process's registry of transfers.
    :param suspended_uploads: the suspended uploads of the session's user.
    :param file_opener: opens a file whose size is set.
    :param mtime_setter: sets the mtimes of stored files.
    :param directory_mtimes: sets the mtimes of directories.
    :param drop_box: knows what the session has stored where its user sees nothing.
    """

    def __init__(
        self,
        lookup: Lookup,
        transfers: TransferRegistry,
        suspended_uploads: SuspendedUploads,
        *,
        file_opener: FileOpener,
        mtime_setter: MtimeSetter,
        directory_mtimes: DirectoryMtimes,
        drop_box: DropBox,
    ) -> None:
        self._drop_box = drop_box
        self._lookup = lookup
        self._transfers = transfers
        self._suspended_uploads = suspended_uploads
        self._file_opener = file_opener
        self._mtime_setter = mtime_setter
        self._directory_mtimes = directory_mtimes

    async def set(self, location: Location, changes: AttributeChanges) -> None:
        """Set the attributes that `changes` has; first the size, then the mtime.

        :raises FileError, StoreError: it is not possible; the size may be set by then.
        """
        if location.access.is_blind and not location.is_fixed:
            await self._set_unseen(location, changes)
            return
        if changes.size_bytes is not None:
            await self._lookup.require_file_name(location)
            await self._set_size(location, changes.size_bytes)
        if changes.modified_seconds is not None:
            await self._set_mtime(location, changes.modified_seconds)

    async def _set_unseen(self, location: Location, changes: AttributeChanges) -> None:
        """Change what this session is writing or has stored; what others have does not exist."""
        own = await self._lookup.own_upload(location)
        seconds = changes.modified_seconds
        if own is not None:
            await own.set_attributes(changes)
        elif changes.size_bytes is None and seconds is not None:
            await self._set_unseen_mtime(location, seconds)
        else:
            raise unseen(location)

    async def _set_unseen_mtime(self, location: Location, seconds: float) -> None:
        if self._drop_box.has_stored(location):
            try:
                await self._mtime_setter.set(location.file, seconds, location.path)
            except NoSuchObject:
                raise unseen(location) from None
            self._drop_box.note_time(location, seconds)
        elif self._drop_box.knows_directory(location):
            await self._directory_mtimes.set(location, seconds)
        else:
            raise unseen(location)

    # The size.

    async def _set_size(self, location: Location, size_bytes: int) -> None:
        try:
            writer = await self._file_opener.open_writer(
                location, IN_PLACE, NO_CHANGES, may_resume=False
            )
        except NoSuchFile:
            await self._set_size_of_upload(location, size_bytes)
            return
        try:
            await writer.set_attributes(AttributeChanges(size_bytes=size_bytes))
            await writer.commit()
        finally:
            await writer.abandon()

    async def _set_size_of_upload(self, location: Location, size_bytes: int) -> None:
        """Set the size of a file that is not published yet, whichever session writes it."""
        writing = [each.writer for each in self._transfers.writing(location.file) if each.writer]
        if writing:
            await writing[-1].set_attributes(AttributeChanges(size_bytes=size_bytes))
        elif self._transfers.newest(location.file) is not None:  # it was closed meanwhile
            await self._set_size(location, size_bytes)
        else:
            raise await self._lookup.absent_file_error(location)

    # The mtime.

    async def _set_mtime(self, location: Location, seconds: float) -> None:
        if location.is_fixed:
            return
        if location.must_be_directory or not may_be_allowed_file(location):
            await self._set_mtime_of_directory(location, seconds)
            return
        if location.is_marker_content and await self._lookup.find_file(location) is None:
            # The mtime of an empty marker is that of its directory, which has another path.
            raise await self._lookup.absent_file_error(location)
        changes = AttributeChanges(modified_seconds=seconds)
        if (own := await self._lookup.own_upload(location)) is not None:
            await own.set_attributes(changes)
            return
        try:
            await self._mtime_setter.set(location.file, seconds, location.path)
        except NoSuchObject:
            if (writer := self._transfers.newest(location.file)) is not None:
                await writer.set_attributes(changes)
            else:
                await self._set_mtime_of_directory(location, seconds)

    async def _set_mtime_of_directory(self, location: Location, seconds: float) -> None:
        if await self._lookup.is_directory(location):
            await self._directory_mtimes.set(location, seconds)
            self._lookup.cache.note_change(location)
            return
        if location.must_be_directory:
            raise await self._lookup.absent_directory_error(location)
        await self._suspended_uploads.require_none(location.file, location.path)
        raise NoSuchFile(f"{location.path}: No such file or directory")
