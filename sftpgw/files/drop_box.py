"""Drop boxes: what a session may know where its user sees nothing.

Knows: what this session has stored or made itself, and how requests are answered from that.
Must not know: permissions, and what others have stored.

A user who has neither ``list`` nor ``download`` at a path (`AccessRule.is_blind`) must not learn
which names exist there. Clients look at what they upload, though, before and after.

Rules

1. STAT and OPENDIR show fixed directories (`mount_table`), what this session is uploading, has
   stored or made, and the partial uploads of the user. Nothing else exists for them. They send no
   request, or one for a record that only this user has. A path that ends with a slash shows as a
   directory to STAT: on S3, files can be stored there whether one exists or not.
2. MKDIR succeeds whether the directory was there or not. REMOVE does, too: the file is gone then.
   RMDIR is refused: it would tell whether a directory is empty.
3. An upload never keeps bytes of a stored file. Without ``overwrite`` it is refused if the name is
   taken: that is the one way to ask for a name, and it leaves a file where there was none.
4. RENAME and SETSTAT reach only what this session has stored.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace

from sftpgw.aio.lru import LRUDict
from sftpgw.errors import (
    AlreadyExists,
    ConditionalConflict,
    IsADirectory,
    NoSuchFile,
    PreconditionFailed,
)
from sftpgw.files.existence import is_stored
from sftpgw.files.listing.known_entries import DIRECTORY, directory_entries
from sftpgw.files.listing.markers import MARKER
from sftpgw.files.lookup import Lookup
from sftpgw.files.paths import Location
from sftpgw.files.session_context import SessionContext
from sftpgw.files.uploads.suspended.storage import SuspendedUploads
from sftpgw.files.uploads.upload import Upload
from sftpgw.model.filesystem import DirectoryEntry, FileAttributes, FileKind
from sftpgw.model.store import ObjectName, WriteCondition

MAX_REMEMBERED = 1024
"""How many files, and how many directories, a session remembers as its own."""


class DropBox:
    """What one session may know of the places where its user sees nothing.

    :param context: the objects that the session's files use.
    :param lookup: has the uploads of the session.
    :param suspended_uploads: the suspended uploads of the session's user.
    """

    def __init__(
        self, context: SessionContext, lookup: Lookup, suspended_uploads: SuspendedUploads
    ) -> None:
        self._store = context.store
        self._lookup = lookup
        self._suspended_uploads = suspended_uploads
        self._files: LRUDict[ObjectName, FileAttributes] = LRUDict(MAX_REMEMBERED)
        self._directories: LRUDict[ObjectName, None] = LRUDict(MAX_REMEMBERED)

    # What the session does.

    def watch(self, upload: Upload) -> None:
        """Remember the file of an upload once it is stored."""
        upload.on_stored = self._files.put

    def note_moved(self, source: Location, target: Location) -> None:
        """A file that the session has stored has another name now."""
        attributes = self._files.pop(source.file, None)
        if attributes is not None and target.access.is_blind:
            self._files.put(target.file, attributes)

    def note_removed(self, location: Location) -> None:
        """A file was removed."""
        self._files.pop(location.file, None)

    def note_time(self, location: Location, seconds: float) -> None:
        """A file that the session has stored has another mtime now."""
        attributes = self._files.get(location.file)
        if attributes is not None:
            self._files.put(location.file, replace(attributes, modified_seconds=seconds))

    # What it is told.

    def has_stored(self, location: Location) -> bool:
        """Whether this session has stored a file here."""
        return location.may_be_file and location.file in self._files

    def knows_directory(self, location: Location) -> bool:
        """Whether this is a directory that the session made, stored something in, or that stays."""
        if location.is_fixed or location.marker in self._directories:
            return True
        names = (*self._files, *self._directories)
        return any(_is_under(location, name) for name in names)

    async def attributes(self, location: Location) -> FileAttributes:
        """What STAT shows.

        :raises NoSuchFile: there may be nothing, as far as the session knows.
        """
        own = await self._lookup.own_upload(location)
        if own is not None:
            return await own.attributes()
        if self.has_stored(location):
            return self._files[location.file]
        if location.must_be_directory or self.knows_directory(location):
            return DIRECTORY
        if location.may_be_file:
            found = await self._suspended_uploads.find(location.file)
            if found is not None:
                return found.attributes
        raise unseen(location)

    async def require_renamable(self, source: Location, target: Location) -> None:
        """Check that a rename does not tell what is stored where the user sees nothing.

        :raises NoSuchFile: the source was not stored by this session, or the target can only name
            a directory.
        """
        is_known = self.has_stored(source) or not source.access.is_blind
        if not is_known and await self._lookup.own_upload(source) is None:
            raise unseen(source)
        if target.access.is_blind and target.must_be_directory:
            raise unseen(target)

    async def kind_at_target(self, target: Location, *, may_replace: bool) -> FileKind | None:
        """What is at the target of a rename, as far as it matters and the user may hear of it.

        :param target: the target, where the user sees nothing.
        :param may_replace: whether a file there is replaced.
        """
        if may_replace or await self._lookup.find_file_summary(target) is None:
            return None
        return FileKind.FILE

    def entries(self, directory: Location) -> tuple[DirectoryEntry, ...] | None:
        """What a listing shows; None if the session does not know the directory."""
        if not self.knows_directory(directory):
            return None
        shown = dict.fromkeys(directory.fixed_names, DIRECTORY)
        for name in (*self._files, *self._directories):
            if _is_under(directory, name):
                child, slash, _ = name.key[len(directory.prefix) :].partition("/")
                shown.setdefault(child, DIRECTORY if slash else self._files[name])
        return tuple(DirectoryEntry(name, found) for name, found in shown.items())

    # Directories.

    async def make_directory(self, location: Location) -> bool:
        """Make a directory, whether there is one or not. Returns whether a marker was stored.

        :raises AlreadyExists: the session knows it.
        """
        if self.knows_directory(location):
            raise AlreadyExists(f"{location.path}: exists already")
        is_made = False
        able = await self._store.learn_capabilities(location.bucket)
        if able.conditional_put or not await is_stored(self._store, location.marker):
            with suppress(PreconditionFailed, ConditionalConflict):
                await self._store.put(location.marker, (), MARKER, WriteCondition.IF_ABSENT)
                is_made = True
        self._directories.put(location.marker, None)
        return is_made


def fixed_entries_of(directory: Location) -> tuple[DirectoryEntry, ...]:
    """What is listed to who may list nothing in a directory: the way to other places."""
    return directory_entries(directory.fixed_names)


def unseen(location: Location) -> NoSuchFile:
    """The error for what the session does not know, whether it exists or not."""
    return NoSuchFile(f"{location.path}: No such file or directory")


def require_unseen_file_name(location: Location) -> None:
    """As `Lookup.require_file_name`, without a look.

    :raises IsADirectory: the path can only name a directory.
    :raises NoSuchFile: it stands for the bytes of a directory's marker.
    """
    if not location.may_be_file:
        raise IsADirectory(f"{location.path}: is a directory")
    if location.is_marker_content:
        raise unseen(location)


def _is_under(directory: Location, name: ObjectName) -> bool:
    is_inside = name.key.startswith(directory.prefix) and name.key != directory.prefix
    return is_inside and name.bucket == directory.bucket
