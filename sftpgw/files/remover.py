"""REMOVE and RMDIR.

Knows: which objects and uploads a name stands for, and in which order they go.
Must not know: permissions.

As on a disk, a file that is removed while it is open has no name any more: its writer goes on, and
CLOSE publishes nothing. Uploads that begin after the request are another file, and stay.
"""

from __future__ import annotations

from sftpgw.errors import DirectoryNotEmpty, PermissionDenied
from sftpgw.files.drop_box import DropBox, require_unseen_file_name
from sftpgw.files.empty_directories import EmptyDirectories
from sftpgw.files.listing.markers import (
    ENTRIES_TO_BE_EMPTY,
    MARKER,
    hadoop_marker,
    require_empty,
)
from sftpgw.files.lookup import Lookup
from sftpgw.files.paths import Location
from sftpgw.files.session_context import SessionContext
from sftpgw.files.transfers.registry import Registration
from sftpgw.files.uploads.suspended.storage import SuspendedUploads
from sftpgw.model.events.file_events import DirectoryRemoved, FileRemoved
from sftpgw.model.store import ObjectInfo


class Remover:
    """Removes files and directories for one session.

    :param context: the objects that the session's files use.
    :param lookup: tells what exists.
    :param suspended_uploads: the suspended uploads of the session's user.
    :param empty_directories: gives a marker to a directory that would end with its last file.
    :param drop_box: knows what the session has stored where its user sees nothing.
    """

    def __init__(
        self,
        context: SessionContext,
        lookup: Lookup,
        suspended_uploads: SuspendedUploads,
        empty_directories: EmptyDirectories,
        drop_box: DropBox,
    ) -> None:
        self._drop_box = drop_box
        self._quotas = context.quotas
        self._store = context.store
        self._transfers = context.transfers
        self._times = context.times
        self._events = context.events
        self._lookup = lookup
        self._suspended_uploads = suspended_uploads
        self._empty_directories = empty_directories

    async def remove_file(self, location: Location) -> None:
        """Remove a file: its object, its uploads, and its suspended upload.

        :raises NoSuchFile, IsADirectory, NotADirectory: there is no such file.
        :raises StoreError: the object may be left.
        """
        if location.access.is_blind:
            await self._remove_unseen(location)
            return
        await self._lookup.require_file_name(location)
        uploads = self._transfers.writing(location.file)
        info = await self._lookup.find_file_summary(location)
        was_suspended = await self._suspended_uploads.drop(
            location.file, reason="the file was removed"
        )
        if info is None and not uploads and not was_suspended:
            raise await self._lookup.absent_file_error(location)
        if info is not None and location.is_marker_content:
            await self._store.put(location.file, (), MARKER)  # the directory stays
            self._times.forget_directory(location.file)
        elif info is not None:
            async with self._empty_directories.marker_ensured(
                location.parent, without=location.file.key
            ):
                await self._store.delete(location.file)
        self._count_removed(location)
        await self._remove_uploads(location, uploads)
        self._report_removed(location, info)

    async def _remove_unseen(self, location: Location) -> None:
        """Remove a file, whether there is one or not: the client does not learn it.

        :raises IsADirectory: the path can only name a directory.
        :raises StoreError: the object may be left.
        """
        require_unseen_file_name(location)
        uploads = self._transfers.writing(location.file)
        await self._suspended_uploads.drop(location.file, reason="the file was removed")
        async with self._empty_directories.marker_ensured(
            location.parent, without=location.file.key
        ):
            await self._store.delete(location.file)
        self._count_removed(location)
        await self._remove_uploads(location, uploads)
        self._drop_box.note_removed(location)
        self._report_removed(location, None)

    async def _remove_uploads(self, location: Location, uploads: tuple[Registration, ...]) -> None:
        """Take the name from the uploads that were open before the requests for the removal."""
        for upload in uploads:
            upload.remove()
        if any(upload.commit.has_begun for upload in uploads):  # closed during these requests
            await self._transfers.settled(location.file)
            await self._store.delete(location.file)
            self._count_removed(location)

    def _count_removed(self, location: Location) -> None:
        if self._quotas is not None:
            self._quotas.removed(location.file)

    def _report_removed(self, location: Location, info: ObjectInfo | None) -> None:
        self._events.emit(
            FileRemoved(
                key=location.file.key,
                bucket=location.bucket,
                path=location.path,
                size_bytes=info.size_bytes if info else None,
                etag=info.etag.strip('"') if info else None,
            )
        )
        self._lookup.cache.note_change(location, emptied=location.parent)

    async def remove_directory(self, location: Location) -> None:
        """Remove an empty directory: its markers.

        :raises DirectoryNotEmpty: there is something in it, or it is fixed.
        :raises NoSuchFile, NotADirectory: there is no such directory.
        :raises StoreError: a marker may be left.
        """
        if location.is_fixed:
            raise DirectoryNotEmpty(f"{location.path}: cannot be removed")
        if location.access.is_blind:
            raise PermissionDenied(
                f"{location.path}: you may not see what is here, so not whether the directory is "
                "empty; it cannot be removed"
            )
        page = await self._store.list(
            location.bucket, location.prefix, delimiter="/", limit=ENTRIES_TO_BE_EMPTY
        )
        require_empty(location, page)
        is_used = self._transfers.has_uploads_under(location.bucket, location.prefix)
        if is_used or await self._suspended_uploads.is_any_in(location.bucket, location.prefix):
            raise DirectoryNotEmpty(f"{location.path}: the directory is not empty")
        markers = [info.name for info in page.objects]
        if await self._lookup.has_hadoop_marker(location):
            markers.append(hadoop_marker(location))
        exists = markers or self._lookup.cache.has_emptied(location)
        if not exists and not await self._lookup.is_ghost(location):
            raise await self._lookup.absent_directory_error(location)
        # A directory without a marker gets a DELETE, too: it may be a ghost directory
        # (`files/housekeeping/ghost_directories`).
        markers = markers or [location.marker]
        async with self._empty_directories.marker_ensured(location.parent, without=location.prefix):
            for marker in markers:
                await self._store.delete(marker)
        self._events.emit(
            DirectoryRemoved(key=location.prefix, bucket=location.bucket, path=location.path)
        )
        self._lookup.cache.note_change(location, emptied=location.parent)
        self._lookup.cache.note_directory_removed(location)
        self._times.forget_directory(location.marker)
