"""One user's files: the store seen as a tree.

Knows: which requests each file operation comes to, in which order, and what
their answers mean. Must not know: SFTP's codes, or how bytes are moved.

Rules

1. Every operation passes the path jail, then the permission gate, then goes on.
2. What is at a place is `files/lookup`'s to say; what would replace a file waits for
   a commit of it that is under way, as looking at it does.
3. No check that costs a request is made unless its answer changes ours.
4. A size is set by opening the file, cutting it and closing it, and needs what that needs.
5. An OPEN that needs to know what the file holds waits for a while for the CLOSE of a handle with
   which the same session writes it: sshfs sends them the wrong way round.
6. What can only be a directory (`Location.must_be_directory`) is no file, whatever has its name:
   it never reaches an object that is one.
"""

from __future__ import annotations

from dataclasses import replace

from sftpgw.errors import (
    AlreadyExists,
    DirectoryNotEmpty,
    IsADirectory,
    NoSuchFile,
    NoSuchObject,
)
from sftpgw.files.copies.copier import Copier
from sftpgw.files.downloads.download import Download
from sftpgw.files.empty_directories import EmptyDirectories
from sftpgw.files.listing.listing import Listing
from sftpgw.files.listing.markers import (
    ENTRIES_TO_BE_EMPTY,
    MARKER,
    demand_empty,
    demand_writable,
    hadoop_marker,
)
from sftpgw.files.lookup import Lookup
from sftpgw.files.mtimes.directory_mtimes import DirectoryMtimes
from sftpgw.files.mtimes.setter import MtimeSetter
from sftpgw.files.paths import Location, Mount, canonical, locate
from sftpgw.files.permissions import Operation, allows, require
from sftpgw.files.renames.renamer import Renamer
from sftpgw.files.session_context import SessionContext
from sftpgw.files.uploads.open_mode import decide, must_look
from sftpgw.files.uploads.opener import UploadOpener
from sftpgw.files.uploads.suspended.storage import SuspendedUploads, incomplete
from sftpgw.files.uploads.upload import Upload
from sftpgw.model.events.file_events import DirectoryMade, DirectoryRemoved, FileRemoved
from sftpgw.model.filesystem import (
    NO_CHANGES,
    AttributeChanges,
    FileAttributes,
    FileKind,
    FileWriter,
    Space,
    WriteIntent,
)
from sftpgw.model.units import GIB, MIB
from sftpgw.model.users import User

DIRECTORY = FileAttributes(FileKind.DIRECTORY)
IN_PLACE = WriteIntent(create=False, truncate=False)
NOMINAL_BYTES = 1024 * 1024 * GIB


class Tree:
    """Implements `interfaces.FileTree` for one session of one user."""

    def __init__(self, user: User, context: SessionContext) -> None:
        self._mount = Mount(
            user.bucket, user.key_prefix, context.settings.state_prefix, user.permissions
        )
        self._context = context
        self._store = context.store
        self._transfers = context.transfers
        self._events = context.events
        self._lookup = Lookup(
            context.store,
            context.transfers,
            context.clock,
            strict_parents=context.files.strict_parents,
            hadoop_markers=context.files.hadoop_markers,
        )
        self._upload_opener = UploadOpener(context)
        self._mtime_setter = MtimeSetter(context)
        self._suspended_uploads = SuspendedUploads(context)
        self._empty_directories = EmptyDirectories(context)
        copier = Copier(context.store, context.transfers, context.events)
        self._directory_mtimes = DirectoryMtimes(context, self._mtime_setter, copier)
        self._renamer = Renamer(
            self._lookup,
            self._empty_directories,
            context,
            copier,
            suspended_uploads=self._suspended_uploads,
        )

    def canonical(self, path: bytes) -> bytes:
        return ("/" + "/".join(canonical(path))).encode()

    # Looking.

    async def stat(self, path: bytes) -> FileAttributes:
        location = self._enter(Operation.LOOK, path)
        if location.is_root:
            return DIRECTORY
        if location.must_be_directory:
            return await self._stat_of_no_file(location)
        own = await self._lookup.own_upload(location)
        was_written = self._transfers.newest(location.file) is not None
        info = None if own else await self._lookup.glance(location)
        if info is not None:
            return self._context.times.shown(info)
        writer = own or self._transfers.newest(location.file)
        if writer is not None:
            return await writer.attributes()
        # If it has ended while we looked, it has been published, or not.
        return await (self.stat(path) if was_written else self._stat_of_no_file(location))

    async def _stat_of_no_file(self, location: Location) -> FileAttributes:
        if await self._lookup.is_directory(location):
            marker = self._lookup.marker_seen(location)
            return replace(DIRECTORY, modified_seconds=await self._directory_mtimes.of(marker))
        if location.must_be_directory:
            raise await self._lookup.no_directory(location)
        if (found := await self._suspended_uploads.find(location.file)) is not None:
            return found.attributes
        raise NoSuchFile(f"{location.path}: No such file or directory")

    async def open_directory(self, path: bytes) -> Listing:
        location = self._enter(Operation.LIST, path)
        page = await self._lookup.first_page(location)
        kept = await self._suspended_uploads.in_directory(location.bucket, location.prefix)
        lookup = self._lookup
        return Listing(
            location,
            page,
            self._context,
            kept,
            lookup.own,
            on_page=lookup.learn_hadoop_markers,
        )

    async def space(self, path: bytes) -> Space:
        self._enter(Operation.LOOK, path)
        blocks = NOMINAL_BYTES // MIB
        return Space(block_bytes=MIB, total_blocks=blocks, free_blocks=blocks, name_bytes=255)

    # Files.

    async def open_reader(self, path: bytes) -> Download:
        location = await self._enter_file(Operation.READ, path)
        self._transfers.require_open()
        await self._lookup.wait_for_close(location)
        await self._transfers.settled(location.file)
        was_written = bool(self._transfers.writing(location.file))
        download = Download(self._context, location.file, path=location.path)
        try:
            await download.open()
        except NoSuchObject:
            if was_written and not self._transfers.writing(location.file):
                return await self.open_reader(path)  # it was closed while we looked
            await self._suspended_uploads.demand_none(location.file, location.path)
            raise await self._lookup.no_file(location) from None
        if location.is_marker_content:
            await self._demand_content(download, location)
        return download

    async def _demand_content(self, download: Download, location: Location) -> None:
        """:raises NoSuchFile: the marker of the place's directory holds no bytes."""
        try:
            if not (await download.attributes()).size_bytes:
                raise await self._lookup.no_file(location)
        except BaseException:  # the client may be gone
            download.close()
            raise

    async def open_made(
        self, path: bytes, intent: WriteIntent, changes: AttributeChanges
    ) -> Download:
        """A file to be read that is made before if `intent` says so, or emptied.

        OPEN with CREAT or TRUNC and without WRITE (open(2) with O_RDONLY). What it makes is
        stored when this returns. What is there already costs a GET as for `open_reader`, unless
        it is to be emptied or must not be there.

        :raises AlreadyExists: the file must not be there, and is.
        """
        location = self._enter(Operation.READ, path)
        await self._demand_file_name(location, creates=intent.create)
        if not (intent.truncate or (intent.create and intent.exclusive)):
            try:
                return await self.open_reader(path)
            except NoSuchFile:
                pass
        await self._make(path, intent, changes)
        return await self.open_reader(path)

    async def _make(self, path: bytes, intent: WriteIntent, changes: AttributeChanges) -> None:
        """Store a file of no bytes, unless it is there by now and `intent` does not mind."""
        only_if_absent = not intent.truncate
        try:
            writer = await self.open_writer(
                path, replace(intent, exclusive=only_if_absent or intent.exclusive), changes
            )
            try:
                await writer.commit()
            finally:
                await writer.abandon()
        except AlreadyExists:
            if intent.exclusive:
                raise

    async def open_writer(
        self,
        path: bytes,
        intent: WriteIntent,
        changes: AttributeChanges,
        *,
        may_resume: bool = True,
    ) -> Upload:
        location = self._enter(Operation.WRITE, path)
        await self._demand_file_name(location, creates=intent.create)
        demand_writable(location)
        self._transfers.require_open()
        if must_look(intent, may_overwrite=True):
            await self._lookup.wait_for_close(location, appends=intent.append)
        return await self._open_writer(location, intent, changes, may_resume=may_resume)

    def path_of(self, writer: FileWriter) -> bytes | None:
        # A session of another user may have renamed the file, to where this user has no path.
        name = writer.published_as
        return None if name is None else self._mount.path_of(name)

    async def _open_writer(
        self,
        location: Location,
        intent: WriteIntent,
        changes: AttributeChanges,
        *,
        may_resume: bool,
    ) -> Upload:
        await self._transfers.settled(location.file)
        may_overwrite = allows(location, Operation.OVERWRITE)
        existing, is_hidden = None, False
        if must_look(intent, may_overwrite=may_overwrite):
            # With TRUNC nothing of it is kept, with EXCL there must be none.
            needs_all = not (intent.truncate or (intent.create and intent.exclusive))
            existing, is_hidden = await self._lookup.file_if_told(location, needs_all=needs_all)
        if existing is None:
            await self._lookup.demand_no_directory(location)
        found = None if existing else await self._suspended_uploads.find(location.file)
        if found is not None and not may_resume:
            raise incomplete(found, location.path)
        if existing is None and intent.create:
            await self._lookup.demand_no_file_above(location)
        mode = decide(
            intent,
            existing,
            may_overwrite=may_overwrite,
            path=location.path,
            is_hidden=is_hidden,
            is_suspended=found is not None,
        )
        if mode.base is not None:
            require(location, Operation.CHANGE)
            await self._store.learn_capabilities(location.bucket)
        # Nothing can be gone on with; but has the client been told so?
        is_sure = intent.truncate or existing is not None
        may_skip = is_sure or not (
            self._suspended_uploads.is_wanted or self._transfers.newest(location.file)
        )
        if found is not None:
            resumed = await self._suspended_uploads.go_on(
                found, location.path, truncate=intent.truncate
            )
            mode = replace(mode, resumed=resumed)
        self._lookup.changed()
        upload = self._upload_opener.open(
            location,
            intent,
            mode,
            changes,
            may_skip=may_skip,
            may_read=allows(location, Operation.READ),
            may_set_times=allows(location, Operation.SET_TIMES),
        )
        self._lookup.began(upload, location)
        return upload

    async def remove_file(self, path: bytes) -> None:
        location = await self._enter_file(Operation.REMOVE, path)
        uploads = self._transfers.writing(location.file)  # later ones are another file
        info = await self._lookup.glance(location)
        was_partial = await self._suspended_uploads.drop(
            location.file, reason="the file was removed"
        )
        if info is None and not uploads and not was_partial:
            raise await self._lookup.no_file(location)
        if info is not None and location.is_marker_content:
            await self._store.put(location.file, (), MARKER)  # the directory stays
            self._context.times.forget_folder(location.file)
        elif info is not None:
            async with self._empty_directories.kept(location.parent, without=location.file.key):
                await self._store.delete(location.file)
        for upload in uploads:
            upload.remove()  # as on a disk, where it would go on without a name
        if any(upload.commit.has_begun for upload in uploads):  # closed while we looked
            await self._transfers.settled(location.file)
            await self._store.delete(location.file)
        self._events.emit(
            FileRemoved(
                key=location.file.key,
                bucket=location.file.bucket,
                path=location.path,
                size_bytes=info.size_bytes if info else None,
                etag=info.etag.strip('"') if info else None,
            )
        )
        self._lookup.changed(emptied=location.parent)

    async def rename(self, old: bytes, new: bytes, *, replace: bool) -> None:
        source_place = self._enter(Operation.RENAME, old)
        target = self._enter(Operation.RENAME, new)
        self._transfers.require_open()
        self._transfers.begin_work()
        try:
            await self._renamer.rename(source_place, target, replace=replace)
        finally:
            self._transfers.end_work()

    async def set_attributes(self, path: bytes, changes: AttributeChanges) -> None:
        location = self._resolve(path)
        if changes.modified_seconds is not None:
            require(location, Operation.SET_TIMES)
        if changes.size_bytes is not None:
            require(location, Operation.TRUNCATE)
            await self._demand_file_name(location)
            await self._resize(location, changes.size_bytes)
        if changes.modified_seconds is not None:
            await self._set_time(location, changes.modified_seconds)
        elif changes.size_bytes is None:
            await self.stat(path)  # a mode or an owner: only whether the file is there matters

    async def _set_time(self, location: Location, seconds: float) -> None:
        """Of the root it is accepted and not kept: it may have no object to keep it."""
        if location.is_root:
            return
        if location.must_be_directory:
            await self._set_folder_time(location, seconds)
            return
        if location.is_marker_content and await self._lookup.file(location) is None:
            raise await self._lookup.no_file(location)  # the folder's own time is set by its name
        changes = AttributeChanges(modified_seconds=seconds)
        if (own := await self._lookup.own_upload(location)) is not None:
            await own.set_attributes(changes)
            return
        try:
            # What another session writes there may never be published: its own time is its own.
            await self._mtime_setter.set(location.file, seconds, location.path)
        except NoSuchObject:
            if (writer := self._transfers.newest(location.file)) is not None:
                await writer.set_attributes(changes)
            else:
                await self._set_folder_time(location, seconds)

    async def _set_folder_time(self, location: Location, seconds: float) -> None:
        if await self._lookup.is_directory(location):
            await self._directory_mtimes.set(location, seconds)
            self._lookup.changed()
            return
        if location.must_be_directory:
            raise await self._lookup.no_directory(location)
        await self._suspended_uploads.demand_none(location.file, location.path)
        raise NoSuchFile(f"{location.path}: No such file or directory")

    async def _resize(self, location: Location, size_bytes: int) -> None:
        """Cut a file, or make it longer with zeros."""
        try:
            writer = await self.open_writer(
                location.path.encode(), IN_PLACE, NO_CHANGES, may_resume=False
            )
        except NoSuchFile:
            await self._resize_unpublished(location, size_bytes)
            return
        try:
            await writer.set_attributes(AttributeChanges(size_bytes=size_bytes))
            await writer.commit()
        finally:
            await writer.abandon()

    async def _resize_unpublished(self, location: Location, size_bytes: int) -> None:
        """Of a file that is only being written, by this session or another one."""
        writing = [each.writer for each in self._transfers.writing(location.file) if each.writer]
        if writing:
            await writing[-1].set_attributes(AttributeChanges(size_bytes=size_bytes))
        elif self._transfers.newest(location.file) is not None:  # closed while we looked
            await self._resize(location, size_bytes)
        else:
            raise await self._lookup.no_file(location)

    # Directories.

    async def make_directory(self, path: bytes) -> None:
        location = self._enter(Operation.MAKE_DIRECTORY, path)
        demand_writable(location)
        if location.is_root or await self._lookup.kind_at(location) is not None:
            raise AlreadyExists(f"{location.path}: exists already")
        await self._lookup.demand_no_file_above(location)
        await self._store.put(location.marker, (), MARKER)
        self._events.emit(
            DirectoryMade(key=location.prefix, bucket=location.bucket, path=location.path)
        )
        self._lookup.met(location)
        self._lookup.changed()
        self._context.times.forget_folder(location.marker)

    async def remove_directory(self, path: bytes) -> None:
        location = self._enter(Operation.REMOVE_DIRECTORY, path)
        if location.is_root:
            raise DirectoryNotEmpty("/: cannot be removed")
        page = await self._store.list(
            location.bucket, location.prefix, delimiter="/", limit=ENTRIES_TO_BE_EMPTY
        )
        demand_empty(location, page)
        is_used = self._transfers.has_uploads_under(location.bucket, location.prefix)
        if is_used or await self._suspended_uploads.is_any_in(location.bucket, location.prefix):
            raise DirectoryNotEmpty(f"{location.path}: the directory is not empty")
        markers = [info.name for info in page.objects]
        if await self._lookup.has_hadoop_marker(location):
            markers.append(hadoop_marker(location))
        is_there = markers or self._lookup.has_emptied(location)
        if not is_there and not await self._lookup.is_only_listed(location):
            raise await self._lookup.no_directory(location)
        # Of what is only a prefix, too: the store may keep it as a folder
        # (`files/housekeeping/ghost_directories`).
        markers = markers or [location.marker]
        async with self._empty_directories.kept(location.parent, without=location.prefix):
            for marker in markers:
                await self._store.delete(marker)
        self._events.emit(
            DirectoryRemoved(key=location.prefix, bucket=location.bucket, path=location.path)
        )
        self._lookup.changed(emptied=location.parent)
        self._lookup.removed(location)
        self._context.times.forget_folder(location.marker)

    # How it is found out.

    def _resolve(self, path: bytes) -> Location:
        """The path jail: the one place that turns paths into locations.

        :raises InvalidPath, PermissionDenied: no location of the user has this path.
        """
        return locate(self._mount, path)

    def _enter(self, operation: Operation, path: bytes) -> Location:
        """The jail and the gate."""
        location = self._resolve(path)
        require(location, operation)
        return location

    async def _enter_file(self, operation: Operation, path: bytes) -> Location:
        """As `_enter`, for what is done to files only.

        :raises IsADirectory, NotADirectory, NoSuchFile: the path cannot name a file.
        """
        location = self._enter(operation, path)
        await self._demand_file_name(location)
        return location

    async def _demand_file_name(self, location: Location, *, creates: bool = False) -> None:
        """:param creates: what is not there would be made; then no request is needed."""
        if location.may_be_file:
            return
        if creates:  # the name alone decides it (open(2), EISDIR)
            raise IsADirectory(f"{location.path}: is a directory")
        raise await self._lookup.no_file(location)
