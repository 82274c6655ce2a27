"""RENAME of files and directories.

Knows: what may take which name, and the order of requests in which nothing is lost.
Must not know: SFTP; whether the user may rename at all.

Rules (as rename(2) of POSIX, where SFTP leaves room)

1. RENAME replaces nothing. posix-rename replaces a file by a file, and an empty directory by a
   directory. The store decides, by conditional writes, where it has them.
2. A rename onto the same name succeeds and does nothing. A rename into itself is an error.
3. A file is copied, the copy is verified, and the original is deleted if it is still the version
   that was copied. For a directory see `files/renames/directory_rename`.
4. The upload of an open file gets the new name, and CLOSE publishes it there; a base object moves
   along. A CLOSE that arrives during the rename waits for it. A multipart upload that was begun is
   bound to its key: see `files/uploads/relocation`.
5. The directories above the new name need not exist: they appear with it.
6. The new name of a directory may end with a slash, that of a file may not. Nothing is moved to
   below a file, as far as `files/lookup` knows.
7. A suspended upload is not a file that could be renamed yet. As a target it counts as one.
8. Between two mounts a file is renamed in the same way. Between two buckets the store copies it, or
   the gateway (`copies/bucket_copier`). A file that is being written stays in its bucket, and so do
   directories, whose journal belongs to it. Two buckets may be one under two names; therefore a
   file never replaces one of the same key.
9. A user renames only so many directories at once; further ones wait in turn by session, and look
   again then whether the source exists. Renames of others do not wait for them.
"""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace as moved_info

from sftpgw.errors import (
    AlreadyExists,
    DirectoryNotEmpty,
    FileError,
    InvalidPath,
    IsADirectory,
    NotADirectory,
    ObjectChanged,
    PermissionDenied,
    PreconditionFailed,
)
from sftpgw.files.copies.bucket_copier import BucketCopier
from sftpgw.files.copies.copier import Copier
from sftpgw.files.drop_box import DropBox
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
from sftpgw.files.permissions import (
    Operation,
    allows,
    require,
    require_file_name_allowed,
    require_movable_directory,
    require_no_gain,
)
from sftpgw.files.renames.directory_rename import DirectoryRename
from sftpgw.files.renames.settler import RenameSettler
from sftpgw.files.session_context import SessionContext, moving
from sftpgw.files.transfers.registry import Registration
from sftpgw.files.uploads.suspended.storage import SuspendedUploads
from sftpgw.model.events.file_events import DirectoryRenamed, FileRenamed
from sftpgw.model.filesystem import FileKind
from sftpgw.model.store import ObjectInfo, ObjectName, WriteCondition

Uploads = tuple[Registration, ...]


class Renamer:
    """Renames for one session.

    :param context: the objects that the session's files use.
    :param lookup: tells what exists.
    :param suspended_uploads: the suspended uploads of the session's user.
    :param empty_directories: gives a marker to a directory that would end with its last file.
    :param copier: copies and verifies single objects.
    :param drop_box: knows what the session has stored where its user sees nothing.
    """

    def __init__(
        self,
        context: SessionContext,
        lookup: Lookup,
        suspended_uploads: SuspendedUploads,
        empty_directories: EmptyDirectories,
        copier: Copier,
        *,
        drop_box: DropBox,
    ) -> None:
        self._drop_box = drop_box
        self._lookup = lookup
        self._empty_directories = empty_directories
        self._suspended_uploads = suspended_uploads
        self._context = context
        self._store = context.store
        self._transfers = context.transfers
        self._events = context.events
        self._copier = copier
        self._bucket_copier = BucketCopier(context, copier)
        self._settler = RenameSettler(context.store, copier, context.clock, context.events)

    async def rename(self, source: Location, target: Location, *, replace: bool) -> None:
        """Rename the file or directory at a location.

        :param source: the old location.
        :param target: the new location.
        :param replace: whether a file or an empty directory at the target is replaced.
        :raises FileError, StoreError: both are as they were, or the source exists as well.
        """
        for end in (source, target):
            if end.is_fixed:
                raise PermissionDenied(f"{end.path}: cannot be renamed or replaced")
        require_writable(source)
        require_writable(target)
        require_no_gain(source, target)
        await self._drop_box.require_renamable(source, target)
        uploads = self._transfers.writing(source.file) if source.may_be_file else ()
        info = await self._lookup.find_file(source, with_checksum=True)
        if info is None and not uploads:
            await self._rename_directory(source, target, replace=replace)
        else:
            require_file_name_allowed(source)
            if target.must_be_directory:
                raise await self._lookup.absent_file_error(target)
            if target.is_same(source):
                return
            if target.is_below(source):
                raise NotADirectory(f"{source.path}: is not a directory")
            await self._rename_file(info, uploads, source, target, replace=replace)
        self._lookup.cache.note_change(source, emptied=source.parent)
        if target.mount != source.mount:
            self._lookup.cache.note_change(target)

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
        """:param uploads: those to the source when RENAME came; later ones keep the old name."""
        require_file_name_allowed(target)
        if source.bucket != target.bucket:
            _require_closed(source, uploads)
            replace = replace and source.file.key != target.file.key
        self._require_same_quotas(source.file, target.file, source, uploads)
        replaced = self._transfers.writing(target.file)
        if not target.access.is_blind:
            await self._lookup.require_no_file_above(target)
        await self._transfers.settled(target.file)
        await self._transfers.bindings.wait_until_free(target.file, self._context.clock, uploads)
        condition = await self._require_free(target, replace=replace)
        movable = [each for each in uploads if each.is_movable and each.name == source.file]
        if info is None and not movable:
            # The uploads ended meanwhile: now there is a stored file, or none.
            await self.rename(source, target, replace=replace)
            return

        def redirect() -> None:
            if replace:
                for upload in set(replaced) & set(self._transfers.writing(target.file)):
                    upload.remove()  # the file that it writes is replaced, and has no name any more
            may_replace = allows(target, Operation.OVERWRITE) and (replace or info is not None)
            for upload in movable:
                if upload.is_movable and upload.name == source.file:
                    upload.rename(target.file, may_replace=may_replace)

        if info is None:
            redirect()
            return
        try:
            with ExitStack() as holding:  # in here, nothing may wait for a held commit
                for upload in movable:
                    holding.enter_context(upload.commit.held())
                etag = await self._copy_file(info, target, condition)
                if source.bucket != target.bucket:  # a base in another store could not be copied
                    _require_closed(source, self._transfers.writing(source.file))
                self._transfers.rebased(info, moved_info(info, name=target.file, etag=etag))
                redirect()
        except PreconditionFailed:
            raise await self._copy_error(target, condition) from None
        async with self._empty_directories.marker_ensured(source.parent, without=info.name.key):
            await self._delete_original(info)
        self._lookup.cache.note_file(target)
        self._drop_box.note_moved(source, target)
        self._events.emit(_renamed(info, source, target, etag))

    async def _require_free(self, target: Location, *, replace: bool) -> WriteCondition:
        """Check that a file may be moved to the target. Returns the condition for its copy.

        :raises AlreadyExists, IsADirectory, PermissionDenied: it may not.
        """
        await self._transfers.settled(target.file)
        may_replace = replace and allows(target, Operation.OVERWRITE)
        if target.access.is_blind:
            kind = await self._drop_box.kind_at_target(target, may_replace=may_replace)
        else:
            kind = await self._lookup.kind_at(target)
        if kind is FileKind.DIRECTORY:
            raise IsADirectory(f"{target.path}: is a directory")
        is_written = not target.access.is_blind and self._transfers.writing(target.file)
        if kind is FileKind.FILE or is_written:
            if not replace:
                raise AlreadyExists(f"{target.path}: the file exists already")
            require(target, Operation.OVERWRITE)
        if kind is None and (found := await self._suspended_uploads.find(target.file)) is not None:
            if not replace:
                raise AlreadyExists(f"{target.path}: a part of the file exists already")
            await self._suspended_uploads.forget(found, reason="another file was given its name")
        return WriteCondition.NONE if may_replace else WriteCondition.IF_ABSENT

    async def _copy_file(
        self, info: ObjectInfo, target: Location, condition: WriteCondition
    ) -> str:
        """Copy a file with its mtime. Returns the copy's ETag.

        :raises PreconditionFailed: the original has changed, or the target exists.
        """
        began_seconds = self._context.clock.seconds()
        if info.name.bucket == target.bucket:
            with moving(self._context, info, target.file):
                etag = await self._copier.copy(info, target.file, condition)
        else:
            etag = await self._bucket_copier.copy(info, target, condition)
        self._context.copied(info, target.file, etag, began_seconds)
        return etag

    async def _copy_error(
        self, target: Location, condition: WriteCondition
    ) -> AlreadyExists | ObjectChanged:
        """The error for a copy whose conditions did not hold."""
        exists = await self._lookup.find_file_summary(target) is not None
        if condition is WriteCondition.IF_ABSENT and exists:
            return AlreadyExists(f"{target.path}: the file exists already")
        return ObjectChanged("the file was replaced while it was being renamed")

    def _require_same_quotas(
        self, old: ObjectName, new: ObjectName, source: Location, uploads: Uploads
    ) -> None:
        """:raises FileError: a file that is being written would count in another quota."""
        quotas = self._context.quotas
        if uploads and quotas is not None and not quotas.counts_alike(old, new):
            raise FileError(
                f"{source.path}: is being written, so it cannot be moved to where another quota "
                "holds; close it first"
            )

    async def _delete_original(self, source: ObjectInfo) -> None:
        try:
            await self._copier.delete_version(source.name, source.etag)
            if self._context.quotas is not None:
                self._context.quotas.removed(source.name)
        except PreconditionFailed:
            raise ObjectChanged(
                "the file was replaced while it was being renamed: the old content is under the "
                "new name, the new content under the old one"
            ) from None

    # Directories.

    async def _rename_directory(self, source: Location, target: Location, *, replace: bool) -> None:
        if not await self._is_directory(source):
            if source.may_be_file and self._transfers.newest(source.file) is not None:
                # An upload began meanwhile; looking for the file waits for its commit.
                await self.rename(source, target, replace=replace)
                return
            if source.may_be_file:
                await self._suspended_uploads.require_none(source.file, source.path)
            raise await self._lookup.absent_file_error(source)
        if target.is_same(source):
            return
        if target.is_below(source):
            raise InvalidPath(f"{source.path}: a directory cannot be moved into itself")
        require_movable_directory(source, target)
        if source.bucket != target.bucket:
            raise FileError(
                f"{target.path}: is in another bucket than {source.path}, where directories cannot "
                "be moved to, as to another disk; move the files, or copy the directory"
            )
        path = (self._context.user, self._context.session)
        async with self._transfers.rename_slots.slot(path) as has_waited:
            if has_waited and not await self._is_directory(source):
                raise await self._lookup.absent_file_error(source)
            await self._move_directory(source, target, replace=replace)

    async def _is_directory(self, source: Location) -> bool:
        lookup = self._lookup
        return await lookup.is_directory(source) or await lookup.has_hadoop_marker(source)

    async def _move_directory(self, source: Location, target: Location, *, replace: bool) -> None:
        await self._lookup.require_no_file_above(target)
        below = self._transfers.writing_under(source.bucket, source.prefix)
        self._require_same_quotas(source.marker, target.marker, source, below)
        await self._adopt_hadoop_marker(source)

        async def require_free() -> bool:
            return await self._require_free_directory(target, replace=replace)

        async def ensure_parent() -> None:
            await self._empty_directories.ensure_marker(source.parent, without=source.prefix)

        directory_rename = DirectoryRename(
            source,
            target,
            context=self._context,
            copier=self._copier,
            settler=self._settler,
        )
        with self._transfers.changes.leaving(source.bucket, source.prefix):
            count = await directory_rename.move(require_free=require_free, on_copied=ensure_parent)
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
            self._context.times.forget_directory(location.marker)

    async def _require_free_directory(self, target: Location, *, replace: bool) -> bool:
        """Check that a directory may be moved to the target. Returns whether it has a marker.

        :raises AlreadyExists, NotADirectory, DirectoryNotEmpty: it may not.
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
        """Replace Hadoop's marker, which lies beside the directory, by ours, which moves along."""
        if await self._lookup.has_hadoop_marker(source):
            if not await is_stored(self._store, source.marker):  # an existing one may hold bytes
                await self._store.put(source.marker, (), MARKER)
            await self._store.delete(hadoop_marker(source))


def _require_closed(source: Location, uploads: Uploads) -> None:
    """:raises FileError: a file is being written, and would get a name in another bucket."""
    if uploads:
        raise FileError(
            f"{source.path}: is being written, so it cannot be moved to another bucket; close it "
            "first"
        )


def _renamed(info: ObjectInfo, source: Location, target: Location, etag: str) -> FileRenamed:
    return FileRenamed(
        key=info.name.key,
        new_key=target.file.key,
        size_bytes=info.size_bytes,
        path=source.path,
        new_path=target.path,
        bucket=info.name.bucket,
        etag=etag.strip('"'),
    )
