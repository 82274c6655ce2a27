"""Giving a file or a directory another name.

Knows: what may take which name, and the order of requests that loses nothing.
Must not know: SFTP, or who may do it beyond what it is told.

Rules, as POSIX has them (rename(2)) where SFTP's RENAME leaves room

1. RENAME replaces nothing, posix-rename does: a file by a file, an empty directory by a
   directory. That nothing is replaced is decided by the store, where it can do that.
2. Onto itself: success, and nothing happens. Into itself: an error.
3. A file is copied, the copy verified, and the original deleted if it still is what was
   copied. A directory: `files/renames/directory_rename`.
4. A file that is being written moves, too: it is published under its new name, and what it is
   made of is looked for there. Where its CLOSE comes while the rename is under way, it waits. Once
   its parts are on their way to S3 they belong to one key: see `files/uploads/relocation`.
5. Parents of the new name need not exist: they come with it.
6. A directory's new name may end with a slash, a file's may not: it names a directory. Nothing
   is put below a file, as `files/lookup` has it.
7. What is kept of an upload that was cut off has no file yet that could be renamed. As a
   target it is one.
"""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace as moved_info

from sftpgw.errors import (
    AlreadyExists,
    DirectoryNotEmpty,
    InvalidPath,
    IsADirectory,
    NotADirectory,
    ObjectChanged,
    PermissionDenied,
    PreconditionFailed,
)
from sftpgw.files.copies.copier import Copier
from sftpgw.files.empty_directories import EmptyDirectories
from sftpgw.files.existence import is_stored
from sftpgw.files.listing.markers import (
    ENTRIES_TO_BE_EMPTY,
    MARKER,
    hadoop_marker,
    require_empty,
    require_writable,
)
from sftpgw.files.lookup import Lookup
from sftpgw.files.paths import Location
from sftpgw.files.permissions import Operation, allows, require
from sftpgw.files.renames.directory_rename import DirectoryRename
from sftpgw.files.renames.recovery import RenameCompleter
from sftpgw.files.session_context import SessionContext
from sftpgw.files.transfers.registry import Registration
from sftpgw.files.uploads.suspended.storage import SuspendedUploads
from sftpgw.model.events.file_events import DirectoryRenamed, FileRenamed
from sftpgw.model.filesystem import FileKind
from sftpgw.model.store import ObjectInfo, WriteCondition

Uploads = tuple[Registration, ...]


class Renamer:
    """Renames for one session."""

    def __init__(
        self,
        context: SessionContext,
        lookup: Lookup,
        suspended_uploads: SuspendedUploads,
        empty_directories: EmptyDirectories,
        copier: Copier,
    ) -> None:
        self._lookup = lookup
        self._empty_directories = empty_directories
        self._suspended_uploads = suspended_uploads
        self._context = context
        self._store = context.store
        self._transfers = context.transfers
        self._events = context.events
        self._copier = copier
        self._completer = RenameCompleter(context.store, copier, context.clock, context.events)

    async def rename(self, source: Location, target: Location, *, replace: bool) -> None:
        """:raises FileError, StoreError: and both names are as they were, or the source is left."""
        if source.is_root or target.is_root:
            raise PermissionDenied("/: cannot be renamed or replaced")
        require_writable(source)
        require_writable(target)
        uploads = self._transfers.writing(source.file) if source.may_be_file else ()
        info = await self._lookup.find_file(source, with_checksum=True)
        if info is None and not uploads:
            await self._rename_directory(source, target, replace=replace)
        elif target.must_be_directory:
            raise await self._lookup.absent_file_error(target)
        elif target == source:
            return
        elif target.is_below(source):
            raise NotADirectory(f"{source.path}: is not a directory")
        else:
            await self._rename_file(info, uploads, source, target, replace=replace)
        self._lookup.cache.note_change(emptied=source.parent)

    # Files.

    async def _rename_file(
        self,
        info: ObjectInfo | None,
        uploads: Uploads,
        source: Location,
        target: Location,
        *,
        replace: bool,
    ) -> None:
        """:param uploads: to the source, when the rename was asked for; later ones stay there."""
        replaced = self._transfers.writing(target.file)
        await self._lookup.require_no_file_above(target)
        await self._transfers.settled(target.file)
        await self._transfers.bindings.wait_until_free(target.file, self._context.clock, uploads)
        condition = await self._demand_free(target, replace=replace)
        movable = [each for each in uploads if each.is_movable and each.name == source.file]
        if info is None and not movable:
            # They have ended while we looked: now it is a stored file, or none.
            await self.rename(source, target, replace=replace)
            return

        def redirect() -> None:
            if replace:
                for upload in set(replaced) & set(self._transfers.writing(target.file)):
                    upload.remove()  # on a disk, too, it would be nobody's file any more
            may_replace = allows(target, Operation.OVERWRITE) and (replace or info is not None)
            for upload in movable:
                if upload.is_movable and upload.name == source.file:
                    upload.rename(target.file, may_replace=may_replace)

        if info is None:
            redirect()
            return
        try:
            with ExitStack() as holding:  # what is held must not be waited for in here
                for upload in movable:
                    holding.enter_context(upload.commit.held())
                etag = await self._copy_file(info, target, condition)
                self._transfers.rebased(info, moved_info(info, name=target.file, etag=etag))
                redirect()
        except PreconditionFailed:
            raise await self._why_not_copied(target, condition) from None
        async with self._empty_directories.marker_ensured(source.parent, without=info.name.key):
            await self._delete_copied(info)
        self._lookup.cache.note_file(target)
        self._events.emit(
            FileRenamed(
                key=info.name.key,
                new_key=target.file.key,
                size_bytes=info.size_bytes,
                path=source.path,
                new_path=target.path,
                bucket=info.name.bucket,
                etag=etag.strip('"'),
            )
        )

    async def _demand_free(self, target: Location, *, replace: bool) -> WriteCondition:
        """The condition under which the target may be written.

        :raises AlreadyExists, IsADirectory, PermissionDenied:
        """
        await self._transfers.settled(target.file)
        kind = await self._lookup.kind_at(target)
        if kind is FileKind.DIRECTORY:
            raise IsADirectory(f"{target.path}: is a directory")
        if kind is FileKind.FILE or self._transfers.writing(target.file):
            if not replace:
                raise AlreadyExists(f"{target.path}: the file exists already")
            require(target, Operation.OVERWRITE)
        if kind is None and (found := await self._suspended_uploads.find(target.file)) is not None:
            if not replace:
                raise AlreadyExists(f"{target.path}: a part of the file exists already")
            await self._suspended_uploads.forget(found, reason="another file was given its name")
        may_replace = replace and allows(target, Operation.OVERWRITE)
        return WriteCondition.NONE if may_replace else WriteCondition.IF_ABSENT

    async def _copy_file(
        self, info: ObjectInfo, target: Location, condition: WriteCondition
    ) -> str:
        """Returns the copy's ETag. :raises PreconditionFailed:"""
        began_seconds = self._context.clock.seconds()
        etag = await self._copier.copy(info, target.file, condition)
        self._context.copied(info, target.file, etag, began_seconds)
        return etag

    async def _why_not_copied(
        self, target: Location, condition: WriteCondition
    ) -> AlreadyExists | ObjectChanged:
        exists = await self._lookup.find_file_summary(target) is not None
        if condition is WriteCondition.IF_ABSENT and exists:
            return AlreadyExists(f"{target.path}: the file exists already")
        return ObjectChanged("the file was replaced while it was being renamed")

    async def _delete_copied(self, source: ObjectInfo) -> None:
        try:
            await self._copier.delete_version(source.name, source.etag)
        except PreconditionFailed:
            raise ObjectChanged(
                "the file was replaced while it was being renamed: the old content is under the "
                "new name, the new content under the old one"
            ) from None

    # Directories.

    async def _rename_directory(self, source: Location, target: Location, *, replace: bool) -> None:
        lookup = self._lookup
        if not (await lookup.is_directory(source) or await lookup.has_hadoop_marker(source)):
            if source.may_be_file and self._transfers.newest(source.file) is not None:
                # Its upload has come in between; whoever looks for the file waits for it.
                await self.rename(source, target, replace=replace)
                return
            if source.may_be_file:
                await self._suspended_uploads.demand_none(source.file, source.path)
            raise await self._lookup.absent_file_error(source)
        if target == source:
            return
        if target.is_below(source):
            raise InvalidPath(f"{source.path}: a directory cannot be moved into itself")
        await self._lookup.require_no_file_above(target)
        await self._adopt_hadoop_marker(source)

        async def demand_free() -> bool:
            return await self._demand_directory_free(target, replace=replace)

        async def keep_parent() -> None:
            await self._empty_directories.ensure_marker(source.parent, without=source.prefix)

        moving = DirectoryRename(
            source,
            target,
            context=self._context,
            copier=self._copier,
            completer=self._completer,
        )
        with self._transfers.changes.leaving(source.bucket, source.prefix):
            count = await moving.move(demand_free=demand_free, before_deleting=keep_parent)
        if not count:
            await self._store.put(target.marker, (), MARKER)
        self._events.emit(
            DirectoryRenamed(
                key=source.prefix,
                new_key=target.prefix,
                objects=count,
                path=source.path,
                new_path=target.path,
                bucket=source.bucket,
            )
        )
        self._lookup.cache.note_directory_removed(source)
        for location in (source, target):
            self._context.times.forget_folder(location.marker)

    async def _demand_directory_free(self, target: Location, *, replace: bool) -> bool:
        """Whether the target, which may be taken, has a marker.

        :raises AlreadyExists, NotADirectory, DirectoryNotEmpty:
        """
        kind = await self._lookup.kind_at(target)
        if kind is None and self._transfers.writing(target.file):
            kind = FileKind.FILE
        if kind is None:
            return False
        if not replace and not (kind is FileKind.FILE and target.must_be_directory):
            raise AlreadyExists(f"{target.path}: exists already")
        if kind is FileKind.FILE:
            raise NotADirectory(f"{target.path}: is a file")
        page = await self._store.list(
            target.bucket, target.prefix, delimiter="/", limit=ENTRIES_TO_BE_EMPTY
        )
        require_empty(target, page)
        if self._transfers.has_uploads_under(target.bucket, target.prefix):
            raise DirectoryNotEmpty(f"{target.path}: the directory is not empty")
        return bool(page.objects)

    async def _adopt_hadoop_marker(self, source: Location) -> None:
        """Hadoop's marker is not below the directory; ours is, and so it moves along."""
        if await self._lookup.has_hadoop_marker(source):
            if not await is_stored(self._store, source.marker):  # else it may hold bytes
                await self._store.put(source.marker, (), MARKER)
            await self._store.delete(hadoop_marker(source))
