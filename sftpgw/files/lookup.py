"""What exists at a location: a file, a directory, or nothing.

Knows: which requests tell, and in which order they are sent.
Must not know: permissions, and what the result is used for.

Rules

1. A question about a file waits for commits of it that are in progress.
2. A file is an object. A directory exists if its marker (``name/``) or any key below it exists.
   Where a file and a directory have the same name, the file is found, unless its name is hidden.
3. Some directories exist without any key. Those that are fixed always do (`files/mount_table`). One
   that this session has emptied exists until any session removes or renames it, as on a disk, or
   until this session ends. One that something is being uploaded to exists until that upload ends.
4. A session that writes a file sees the bytes that it has written. Other sessions see the published
   object; only where there is none do they see the upload.
5. Some stores go on listing directories that have become empty (ghost directories,
   `files/housekeeping/ghost_directories`). Where this session has seen such a prefix in a list, or
   is about to remove it, one more LIST asks for it.
6. Hadoop's marker of a directory lies beside it, not below. A HEAD asks for it where this session
   has seen it in a list, or is about to remove or rename the directory; with `[files]
   hadoop_markers` always.
7. Nothing is created below a file, as far as that costs no request: a file that is being written is
   known; one that this session has only seen is asked for once more. With `[files] strict_parents`
   every directory above is asked for, with a HEAD the first time. Where a file and a directory
   have the same name, files can be created in the directory.
"""

from __future__ import annotations

from dataclasses import replace
from weakref import WeakSet

from sftpgw.aio.delayed_call import cancel_pending
from sftpgw.errors import (
    AccessDenied,
    IsADirectory,
    NoSuchFile,
    NoSuchObject,
    NotADirectory,
    StoreError,
    refuses_one_object,
)
from sftpgw.files.listing.listing import list_directory
from sftpgw.files.listing.markers import hadoop_marker, is_empty_marker, marks_directory
from sftpgw.files.lookup_cache import LookupCache
from sftpgw.files.paths import Location
from sftpgw.files.permissions import hides_file
from sftpgw.files.session_context import SessionContext
from sftpgw.files.unlisted_directories import UnlistedDirectories, listed_object
from sftpgw.model.filesystem import FileKind, FileWriter
from sftpgw.model.store import ListPage, ObjectInfo

CLOSE_WAIT_SECONDS = 3.0


class Lookup:
    """One session's view of the store.

    :param context: the objects that the session's files use.
    :ivar cache: what the session has seen and done.
    :ivar own_uploads: the uploads of this session.
    """

    def __init__(self, context: SessionContext) -> None:
        self._store = context.store
        self._transfers = context.transfers
        self._clock = context.clock
        self._asks_for_hadoop_markers = context.files.hadoop_markers
        self._asks_for_parents = context.files.strict_parents
        self._quotas = context.quotas
        self._unlisted = UnlistedDirectories(context.store)
        self._is_list_denied = False
        self.cache = LookupCache(context.transfers.changes, context.clock)
        self.own_uploads: WeakSet[FileWriter] = WeakSet()

    # Files.

    async def find_file(
        self, location: Location, *, with_checksum: bool = False
    ) -> ObjectInfo | None:
        """The file at a location, None if there is none. A HEAD, unless the path names no file.

        :param location: the file.
        :param with_checksum: whether the checksum that the store has of it is wanted.
        :raises StoreError: the store does not tell.
        """
        if not location.may_be_file:
            return None
        await self._transfers.settled(location.file)
        try:
            info = await self._store.head(location.file, with_checksum=with_checksum)
        except NoSuchObject:
            self._note_size(location, None)
            return None
        if location.is_marker_content and is_empty_marker(info):
            return None
        self._note_size(location, info)
        self.cache.note_file(location)
        return info

    def _note_size(self, location: Location, info: ObjectInfo | None) -> None:
        """What replaces the file counts the difference in quotas."""
        if self._quotas is not None:
            self._quotas.note(location.file, info.size_bytes if info is not None else None)

    async def find_file_summary(self, location: Location) -> ObjectInfo | None:
        """As `find_file`, for callers that need only the name, size and date of the object.

        If the store refuses the HEAD for this one object (`refuses_one_object`), a LIST tells.

        :raises StoreError: the store tells neither way.
        """
        try:
            return await self.find_file(location)
        except StoreError as error:
            if not refuses_one_object(error):
                raise
            listed = await self._find_listed_file(location)
            if listed is None:
                raise
            self.cache.note_file(location)
            return listed

    async def find_file_for_open(
        self, location: Location, *, needs_all: bool
    ) -> tuple[ObjectInfo | None, bool]:
        """The file that is about to be written, and whether it is unknown if there is one.

        It may stay unknown where conditional writes keep the gateway from replacing it.

        :param location: the file.
        :param needs_all: whether its metadata and ETag are needed, which no LIST tells.
        :raises AccessDenied: it is unknown, and the store has no conditional writes.
        :raises StoreError: the store does not tell.
        """
        try:
            return await self.find_file(location), False
        except StoreError as error:
            if not refuses_one_object(error):
                raise
            if (listed := await self._find_listed_file(location)) is not None:
                if needs_all:
                    raise
                return listed, False
            able = await self._store.learn_capabilities(location.bucket)
            if able.conditional_put and able.conditional_complete:
                return None, True
            raise

    async def _find_listed_file(self, location: Location) -> ObjectInfo | None:
        """The file at a location as a LIST shows it; None if absent, or if LIST is denied."""
        if self._is_list_denied:
            return None
        try:
            found = await listed_object(self._store, location.file)
        except AccessDenied:
            self._is_list_denied = True
            return None
        is_marker = found is not None and location.is_marker_content and is_empty_marker(found)
        return None if is_marker else found

    async def require_file_name(self, location: Location, *, creates: bool = False) -> None:
        """Check that a path can name a file.

        :param location: the path, resolved.
        :param creates: a missing file would be created; then the name alone decides, as in
            open(2) with EISDIR.
        :raises IsADirectory, NotADirectory, NoSuchFile: it cannot.
        """
        if location.may_be_file:
            return
        if creates:
            raise IsADirectory(f"{location.path}: is a directory")
        raise await self.absent_file_error(location)

    async def absent_file_error(
        self, location: Location
    ) -> NoSuchFile | IsADirectory | NotADirectory:
        """The error for a location where no file was found, or where none can be."""
        if location.is_fixed or await self.is_directory(location):
            return IsADirectory(f"{location.path}: is a directory")
        if location.must_be_directory:
            return await self.absent_directory_error(location)
        return NoSuchFile(f"{location.path}: No such file or directory")

    # Files that are being written.

    def note_upload(self, upload: FileWriter, location: Location) -> None:
        """The session has begun to write a file."""
        self.own_uploads.add(upload)
        self.cache.note_file(location)

    async def own_upload(self, location: Location) -> FileWriter | None:
        """The unpublished upload of this session to a location.

        sshfs asks by name for the size of a file that it has open. If the reply had the size of the
        published object, the kernel would not let programs read the bytes written behind it.
        """
        if not location.may_be_file:
            return None
        await self._transfers.settled(location.file)
        return self._transfers.newest(location.file, self.own_uploads)

    async def wait_for_close(self, location: Location, *, appends: bool = False) -> None:
        """Wait until this session has closed its uploads to a location, at most three seconds.

        sshfs sends the OPEN of a file before the CLOSE of the handle that a program closed earlier.
        The OPEN must see the bytes written through that handle, or repeated ``echo line >> f``
        loses lines. If a client keeps the handle open, the wait is in vain, but only once.

        :param location: the file.
        :param appends: wait for other sessions, too: with `max_conns`, sshfs sends that CLOSE on
            another connection, and of two appends to the same base object one must fail.
        """
        deadline_seconds = self._clock.seconds() + CLOSE_WAIT_SECONDS
        uploads = self._transfers.to_be_closed(location.file, None if appends else self.own_uploads)
        for upload in uploads:
            if upload.name != location.file or not upload.is_awaited:
                continue  # that has changed while an earlier one was awaited
            left_seconds = max(0.0, deadline_seconds - self._clock.seconds())
            # `leave_open` ends all waits for the upload, in the order in which they began.
            limit = self._clock.callLater(left_seconds, upload.leave_open)
            try:
                await upload.wait_for_close()
            finally:
                cancel_pending(limit)

    # Directories.

    async def is_directory(self, location: Location) -> bool:
        """Whether a directory exists. A LIST, which a following `first_page` can use."""
        self.cache.forget_first_page()
        changes, at_seconds = self._transfers.changes.count, self._clock.seconds()
        page = await list_directory(self._store, location)
        if not _has_entries(page):
            return self._is_implied(location) or await self._exists_without_keys(location)
        self.cache.note_page(location, page)
        self.cache.store_first_page(location, page, changes=changes, at_seconds=at_seconds)
        return True

    async def first_page(self, location: Location) -> ListPage:
        """The first page of a directory. A LIST, unless `is_directory` has just sent it.

        :raises NoSuchFile, NotADirectory: there is no directory.
        """
        page = self.cache.take_first_page(location)
        page = page or await list_directory(self._store, location)
        exists = _has_entries(page) or location.is_fixed or self._is_implied(location)
        if not exists and not await self._exists_without_keys(location):
            raise await self.absent_directory_error(location)
        self.cache.note_page(location, page)
        return page

    async def require_no_directory(self, location: Location) -> None:
        """Check that a file that is about to be stored would not hide a directory.

        A LIST, but only for directories that this session has seen or emptied, and for those that
        something is being uploaded to: other uploads shall not cost a LIST.

        :raises IsADirectory: it would.
        """
        is_suspected = self.cache.knows_directory(location) or self._is_implied(location)
        try:
            is_found = is_suspected and await self.is_directory(location)
        except AccessDenied:  # the store does not tell, and others' uploads are no answer then
            return
        if is_found:
            raise IsADirectory(f"{location.path}: is a directory")

    async def require_no_file_above(self, location: Location) -> None:
        """Check that a file or directory that is about to be created would not be below a file.

        No request, unless a file is known or suspected there, or `[files] strict_parents` is on.

        :raises NotADirectory: it would; on a disk this is not possible.
        """
        above = location.parent
        while not above.is_fixed:
            if await self._is_only_file(above):
                raise NotADirectory(f"{above.path}: is not a directory")
            above = above.parent

    async def _is_only_file(self, location: Location) -> bool:
        """Whether there is a file here, and no directory of the same name."""
        if hides_file(location):
            return False
        is_being_written = self._transfers.newest(location.file) is not None
        is_suspected = self.cache.knows_file(location)
        is_unknown = self._asks_for_parents and not self.cache.knows_directory(location)
        if not (is_being_written or is_suspected or is_unknown):
            return False
        try:
            is_file = is_being_written or await self.find_file_summary(location) is not None
            if is_file and not await self.is_directory(location):
                return True
        except AccessDenied:  # the store does not tell
            return False
        self.cache.note_directory(location)
        return False

    async def has_hadoop_marker(self, location: Location) -> bool:
        """Whether Hadoop's marker of this directory exists; see `UnlistedDirectories`."""
        return await self._unlisted.has_hadoop_marker(location)

    async def is_ghost(self, location: Location) -> bool:
        """Whether this is a ghost directory; see `UnlistedDirectories`."""
        return await self._unlisted.is_ghost(location)

    async def _exists_without_keys(self, location: Location) -> bool:
        """Whether a directory exists although no key begins with its prefix (rules 5 and 6)."""
        asks = self._asks_for_hadoop_markers or self.cache.knows_hadoop_marker(location)
        if asks and await self.has_hadoop_marker(location):
            return True
        return self.cache.was_listed(location) and await self.is_ghost(location)

    async def absent_directory_error(self, location: Location) -> NoSuchFile | NotADirectory:
        """The error for a location where no directory was found."""
        file = replace(location, must_be_directory=False)
        if not hides_file(location) and await self.find_file_summary(file) is not None:
            return NotADirectory(f"{location.path}: is not a directory")
        return NoSuchFile(f"{location.path}: No such file or directory")

    def _is_implied(self, location: Location) -> bool:
        """Whether a directory exists without anything in the store (rule 3)."""
        return self.cache.has_emptied(location) or self._transfers.has_uploads_under(
            location.bucket, location.prefix
        )

    # Either.

    async def kind_at(self, location: Location) -> FileKind | None:
        """Whether a file, a directory or nothing exists, mostly by a single LIST.

        The key of the file sorts first of all keys that begin with it. The prefix of the directory
        sorts behind keys such as ``key-`` and ``key.``; only if these fill the page, a second LIST
        is needed.
        """
        if hides_file(location):
            return FileKind.DIRECTORY if await self.is_directory(location) else None
        key = location.file.key
        page = await self._store.list(location.bucket, key, delimiter="/")
        found = next((info for info in page.objects if info.name == location.file), None)
        self._note_size(location, found)
        if found is not None:
            self.cache.note_file(location)
            return FileKind.FILE
        if location.prefix in page.prefixes:
            return FileKind.DIRECTORY
        marker = hadoop_marker(location)
        if any(info.name == marker and marks_directory(info) for info in page.objects):
            return FileKind.DIRECTORY
        is_past = any(name > marker.key for name in _names(page))
        if page.next_token is None or is_past:
            return FileKind.DIRECTORY if self._is_implied(location) else None
        return FileKind.DIRECTORY if await self.is_directory(location) else None


def _has_entries(page: ListPage) -> bool:
    return bool(page.objects or page.prefixes)


def _names(page: ListPage) -> list[str]:
    return [info.name.key for info in page.objects] + list(page.prefixes)
