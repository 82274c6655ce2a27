"""The file tree of one session: the entrance to all operations on files.

Knows: which operation a request is, and which collaborator carries it out.
Must not know: SFTP and its status codes, the store's requests, how bytes are moved.

Rules

1. Every operation resolves its paths first (`mount_table`) and passes the permission gate next,
   before any request. The gate has the table of permissions, and lists what is asked of it later
   (`files/permissions`).
2. A path that can only name a directory (`Location.must_be_directory`) never reaches a file, even
   if one has that name.
3. No operation sends a request whose result would not change its own result.

Where things are: `file_opener` has OPEN, `attribute_reader` STAT, `attribute_setter` SETSTAT,
`remover` REMOVE and RMDIR, `renames/renamer` RENAME, `listing/listing` READDIR. All of them ask
`lookup` what exists.
"""

from __future__ import annotations

from dataclasses import replace

from sftpgw.errors import AlreadyExists, IsADirectory
from sftpgw.files.attribute_reader import AttributeReader
from sftpgw.files.attribute_setter import AttributeSetter
from sftpgw.files.copies.copier import Copier
from sftpgw.files.downloads.download import Download
from sftpgw.files.drop_box import DropBox, fixed_entries_of
from sftpgw.files.empty_directories import EmptyDirectories
from sftpgw.files.file_opener import FileOpener
from sftpgw.files.listing.known_entries import DIRECTORY, KnownEntries, directory_entries
from sftpgw.files.listing.listing import LIST_BYTES, Listing
from sftpgw.files.listing.markers import MARKER, require_writable
from sftpgw.files.lookup import Lookup
from sftpgw.files.memory.held_memory import HeldMemory
from sftpgw.files.mount_table import MountTable, Unmounted
from sftpgw.files.mtimes.directory_mtimes import DirectoryMtimes
from sftpgw.files.mtimes.setter import MtimeSetter
from sftpgw.files.paths import Location, canonical
from sftpgw.files.permissions import (
    Operation,
    allows,
    hides_file,
    may_be_allowed_file,
    require,
    require_file_name_allowed,
    unmounted_error,
)
from sftpgw.files.remover import Remover
from sftpgw.files.renames.renamer import Renamer
from sftpgw.files.session_context import SessionContext
from sftpgw.files.uploads.suspended.storage import SuspendedUploads
from sftpgw.files.uploads.upload import Upload
from sftpgw.model.events.file_events import DirectoryMade
from sftpgw.model.filesystem import (
    NO_CHANGES,
    AttributeChanges,
    DirectoryEntry,
    DirectoryReader,
    FileAttributes,
    FileKind,
    FileWriter,
    Space,
    WriteIntent,
)
from sftpgw.model.units import GIB, MIB
from sftpgw.model.users import User

NOMINAL_BYTES = 1024 * 1024 * GIB
"""The size of a bucket as `df` shows it: 1 PiB. S3 has no limit."""


class Tree:
    """Implements `FileTree` for one session.

    :param user: the session's user.
    :param context: the objects that the session's files use.
    """

    def __init__(self, user: User, context: SessionContext) -> None:
        self._mounts = MountTable(
            replace(each, state_prefix=context.settings_of(each.bucket).state_prefix)
            for each in user.mounts
        )
        self._context = context
        self._lookup = lookup = Lookup(context)
        self._suspended_uploads = suspended = SuspendedUploads(context)
        empty_directories = EmptyDirectories(context)
        copier = Copier(context.store, context.transfers, context.events)
        self._mtime_setter = MtimeSetter(context)
        directory_mtimes = DirectoryMtimes(context, self._mtime_setter, copier)
        self._drop_box = drop_box = DropBox(context, lookup, suspended)
        self._file_opener = FileOpener(context, lookup, suspended, drop_box)
        self._attribute_reader = AttributeReader(context, lookup, suspended, directory_mtimes)
        self._attribute_setter = AttributeSetter(
            lookup,
            context.transfers,
            suspended,
            file_opener=self._file_opener,
            mtime_setter=self._mtime_setter,
            directory_mtimes=directory_mtimes,
            drop_box=drop_box,
        )
        self._remover = Remover(context, lookup, suspended, empty_directories, drop_box)
        self._renamer = Renamer(
            context, lookup, suspended, empty_directories, copier, drop_box=drop_box
        )

    # Paths.

    def canonical(self, path: bytes) -> bytes:
        return ("/" + "/".join(canonical(path))).encode()

    def path_of(self, writer: FileWriter) -> bytes | None:
        # A session of another user may have renamed the file, to where this user has no path.
        name = writer.published_as
        return None if name is None else self._mounts.path_of(name)

    def _enter(self, operation: Operation, path: bytes) -> Location:
        """Resolve a path and pass the permission gate.

        :raises FileError: the user may not do that there, or has no mount there.
        """
        found = self._mounts.resolve(path)
        if isinstance(found, Unmounted):
            raise unmounted_error(found, operation)
        require(found, operation)
        # A hidden file is not there: then the path can only name a directory.
        return replace(found, must_be_directory=True) if hides_file(found) else found

    async def _enter_file(self, operation: Operation, path: bytes) -> Location:
        """As `_enter`, for an operation on files.

        :raises IsADirectory: no file may have that name, and it is that of a directory.
        """
        location = self._enter(operation, path)
        if not may_be_allowed_file(location):
            is_blind = location.access.is_blind
            if not is_blind and await self._lookup.is_directory(location):
                raise IsADirectory(f"{location.path}: is a directory")
            require_file_name_allowed(location)
        return location

    # Files and directories.

    async def stat(self, path: bytes) -> FileAttributes:
        if self._stays(path):
            return DIRECTORY
        location = self._enter(Operation.LOOK, path)
        if location.access.is_blind:
            return await self._drop_box.attributes(location)
        attributes = await self._attribute_reader.read(location)
        if attributes.kind is FileKind.FILE:
            require_file_name_allowed(location)
        return attributes

    def _stays(self, path: bytes) -> bool:
        """Whether this is a directory that every user may see: it leads to mounts or drop boxes."""
        found = self._mounts.resolve(path)
        return bool(found.names) if isinstance(found, Unmounted) else found.is_fixed

    async def set_attributes(self, path: bytes, changes: AttributeChanges) -> None:
        if changes == NO_CHANGES:
            # Only a mode or an owner was given: these are ignored, but the file must exist.
            await self.stat(path)
            return
        sets_time = changes.modified_seconds is not None
        location = self._enter(Operation.SET_TIMES if sets_time else Operation.TRUNCATE, path)
        if changes.size_bytes is not None:
            require(location, Operation.TRUNCATE)
            require_file_name_allowed(location)
        await self._attribute_setter.set(location, changes)

    async def rename(self, old: bytes, new: bytes, *, replace: bool) -> None:
        source = self._enter(Operation.RENAME, old)
        target = self._enter(Operation.RENAME, new)
        transfers = self._context.transfers
        transfers.require_open()
        transfers.begin_work()
        try:
            await self._renamer.rename(source, target, replace=replace)
        finally:
            transfers.end_work()

    async def space(self, path: bytes) -> Space:
        if not self._stays(path):
            self._enter(Operation.LOOK, path)
        blocks = NOMINAL_BYTES // MIB
        nominal = Space(block_bytes=MIB, total_blocks=blocks, free_blocks=blocks, name_bytes=255)
        quotas, found = self._context.quotas, self._mounts.resolve(path)
        if quotas is None or isinstance(found, Unmounted) or found.access.is_blind:
            return nominal
        await quotas.wait_until_known(found.marker)
        return quotas.space(found.marker, nominal)

    # Files.

    async def open_reader(self, path: bytes) -> Download:
        return await self._file_opener.open_reader(await self._enter_file(Operation.READ, path))

    async def open_made(
        self, path: bytes, intent: WriteIntent, changes: AttributeChanges
    ) -> Download:
        location = await self._enter_file(Operation.READ, path)
        return await self._file_opener.open_made(location, intent, changes)

    async def open_writer(
        self, path: bytes, intent: WriteIntent, changes: AttributeChanges
    ) -> Upload:
        location = await self._enter_file(Operation.WRITE, path)
        return await self._file_opener.open_writer(location, intent, changes)

    async def remove_file(self, path: bytes) -> None:
        await self._remover.remove_file(await self._enter_file(Operation.REMOVE, path))

    # Directories.

    async def open_directory(self, path: bytes, *, with_times: bool = True) -> DirectoryReader:
        found = self._mounts.resolve(path)
        if isinstance(found, Unmounted) and found.names:
            return KnownEntries(directory_entries(found.names))
        if isinstance(found, Location) and not allows(found, Operation.LIST):
            return KnownEntries(self._known_entries(found))
        location = self._enter(Operation.LIST, path)
        memory = HeldMemory(self._context.budget, self._context.clock)
        try:
            await memory.reserve(LIST_BYTES)
            page = await self._lookup.first_page(location)
            suspended = await self._suspended_uploads.in_directory(location.bucket, location.prefix)
        except BaseException:  # the client may be gone
            memory.close()
            raise
        return Listing(
            location,
            page,
            self._context,
            suspended,
            self._lookup.own_uploads,
            on_page=self._lookup.cache.note_hadoop_markers,
            memory=memory,
            with_times=with_times,
        )

    def _known_entries(self, directory: Location) -> tuple[DirectoryEntry, ...]:
        """What a user sees who may not list a directory.

        :raises PermissionDenied: nothing.
        """
        is_drop_box = directory.access.is_blind and allows(directory, Operation.WRITE)
        entries = self._drop_box.entries(directory) if is_drop_box else None
        entries = entries if entries is not None else fixed_entries_of(directory)
        if not entries and not (is_drop_box and self._drop_box.knows_directory(directory)):
            require(directory, Operation.LIST)
        return entries

    async def make_directory(self, path: bytes) -> None:
        location = self._enter(Operation.MAKE_DIRECTORY, path)
        require_writable(location)
        if location.access.is_blind:
            if await self._drop_box.make_directory(location):
                self._report_made(location)
            return
        if location.is_fixed or await self._lookup.kind_at(location) is not None:
            raise AlreadyExists(f"{location.path}: exists already")
        await self._lookup.require_no_file_above(location)
        await self._context.store.put(location.marker, (), MARKER)
        self._report_made(location)
        self._lookup.cache.note_directory(location)

    def _report_made(self, location: Location) -> None:
        self._context.events.emit(
            DirectoryMade(key=location.prefix, bucket=location.bucket, path=location.path)
        )
        self._lookup.cache.note_change(location)
        self._context.times.forget_directory(location.marker)

    async def remove_directory(self, path: bytes) -> None:
        await self._remover.remove_directory(self._enter(Operation.REMOVE_DIRECTORY, path))
