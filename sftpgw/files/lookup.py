"""What is at a place: a file, a directory, or nothing.

Knows: which requests answer that, in which order, and what this session has just seen
and done. Must not know: why it is asked, who may ask.

Rules

1. What is asked of a file waits for a commit of it that is under way.
2. A file is an object. A directory exists if its marker (``name/``) or anything
   below it does; where both a file and a directory of one name exist, the file wins.
3. A directory that this session has emptied counts until the session ends: on a disk
   it would still be there, until it is removed or renamed, by whatever session. So does one
   that something is being uploaded to.
4. A session that writes a file sees what it has written of it; others see what is published,
   and the upload only where there is nothing else.
5. What the listing of a directory shows as a directory is one, even where nothing is in it:
   some stores keep folders that nothing makes one any more
   (`files/housekeeping/ghost_directories`). Where this session
   has seen it listed, or is about to remove it, a LIST asks for it once more. Hadoop's marker
   lies beside its directory: a HEAD asks for it where this session has seen it listed, or is about
   to remove or rename the directory; with `[files] hadoop_markers`, always.
6. Nothing is made below a file, as far as that is known for nothing: a file that this session
   has seen, or that is being written. What is only remembered is asked for before it is believed.
   With `[files] strict_parents` each directory above is asked for, a HEAD the first time. Where
   a store holds both a file and a directory of one name, the directory can be used.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from weakref import WeakSet

from twisted.internet.defer import TimeoutError as WaitedTooLong

from sftpgw.aio.lru import LRUDict
from sftpgw.errors import (
    AccessDenied,
    IsADirectory,
    NoSuchFile,
    NoSuchObject,
    NotADirectory,
    StoreError,
    refuses_one_object,
)
from sftpgw.files.housekeeping.pages import all_pages
from sftpgw.files.listing.listing import list_directory
from sftpgw.files.listing.markers import hadoop_marker, is_empty_marker, marks_directory
from sftpgw.files.paths import Location
from sftpgw.files.transfers.registry import TransferRegistry
from sftpgw.model.clock import Clock
from sftpgw.model.filesystem import FileKind, FileWriter
from sftpgw.model.limits import is_longer_than_files
from sftpgw.model.store import ListPage, ObjectInfo, ObjectName, ObjectStore

LISTED_FOR_SECONDS = 2.0
CLOSE_WAIT_SECONDS = 3.0
MAX_REMEMBERED = 1024
MAX_PAGES_OF_SIBLINGS = 5
MAX_SEEN = 2048
"""Two full pages of a list, by the hashes of their keys."""


@dataclass(frozen=True, slots=True)
class _Listed:
    """The first page of a directory, and when the bucket looked like that."""

    prefix: str
    page: ListPage
    changes: int
    at_seconds: float


class Lookup:
    """One session's view of the store, with what it remembers of it.

    :param strict_parents: whether a request is spent on what is not known of the directories
        above something new.
    :param hadoop_markers: whether a request is spent on a directory that only Hadoop's marker
        could stand for, and no listing has shown.
    """

    def __init__(
        self,
        store: ObjectStore,
        transfers: TransferRegistry,
        clock: Clock,
        *,
        strict_parents: bool = False,
        hadoop_markers: bool = False,
    ) -> None:
        self._store = store
        self._hadoop_markers = hadoop_markers
        self._strict_parents = strict_parents
        self._transfers = transfers
        self._clock = clock
        self._listed: _Listed | None = None
        self._emptied: LRUDict[str, int] = LRUDict(MAX_REMEMBERED)
        self._met: LRUDict[str, None] = LRUDict(MAX_REMEMBERED)
        self._files_seen: LRUDict[int, None] = LRUDict(MAX_SEEN)
        self._folders_seen: LRUDict[int, None] = LRUDict(MAX_SEEN)
        self._hadoop_markers_seen: LRUDict[int, None] = LRUDict(MAX_SEEN)
        self._may_not_list = False
        self.own: WeakSet[FileWriter] = WeakSet()

    # Files.

    async def file(self, location: Location, *, with_checksum: bool = False) -> ObjectInfo | None:
        """The object of a place, None if there is none. A HEAD, unless it can be no file."""
        if not location.may_be_file:
            return None
        return await self._object(location, with_checksum=with_checksum)

    async def _object(
        self, location: Location, *, with_checksum: bool = False
    ) -> ObjectInfo | None:
        await self._transfers.settled(location.file)
        try:
            info = await self._store.head(location.file, with_checksum=with_checksum)
        except NoSuchObject:
            return None
        if location.is_marker_content and is_empty_marker(info):
            return None
        self.saw_file(location)
        return info

    async def glance(self, location: Location) -> ObjectInfo | None:
        """The object of a place, for what needs nothing of it but name, size and date.

        A HEAD that is refused for this one object (`refuses_one_object`) says that there is one,
        or that the store does not tell; then a LIST tells the rest.

        :raises StoreError: neither tells.
        """
        try:
            return await self.file(location)
        except StoreError as error:
            if (
                not refuses_one_object(error)
                or (listed := await self._listed_file(location)) is None
            ):
                raise
            self.saw_file(location)
            return listed

    async def _listed_file(self, location: Location) -> ObjectInfo | None:
        """What a list says of the object of a place; None if it may not be listed, or is not."""
        if self._may_not_list:
            return None
        try:
            found = await self._row(location.file)
        except AccessDenied:
            self._may_not_list = True
            return None
        is_marker = found is not None and location.is_marker_content and is_empty_marker(found)
        return None if is_marker else found

    async def _row(self, name: ObjectName) -> ObjectInfo | None:
        """What a list says of one object, which sorts first of all that its key begins. A LIST."""
        page = await self._store.list(name.bucket, name.key, delimiter="/", limit=1)
        return next((info for info in page.objects if info.name == name), None)

    async def own_upload(self, location: Location) -> FileWriter | None:
        """What this session is writing here, as far as it is not yet published.

        sshfs asks by name for the size of a file that it has open; told the published one, the
        kernel would no longer let anybody read what was written behind that.
        """
        if not location.may_be_file:
            return None
        await self._transfers.settled(location.file)
        return self._transfers.newest(location.file, self.own)

    async def wait_for_close(self, location: Location, *, appends: bool = False) -> None:
        """Wait until what is written here is closed, by this session, for a few seconds at most.

        sshfs sends the OPEN of a file before the CLOSE of a handle that its user has closed before.
        What is opened must hold what was written through that: else ``echo line >> f``, again and
        again, loses lines. A client that keeps the handle open is waited for in vain, once.

        :param appends: other sessions are waited for, too. With `max_conns`, sshfs sends that CLOSE
            on another connection, and of two that append to the same bytes one must fail.
        """
        until_seconds = self._clock.seconds() + CLOSE_WAIT_SECONDS
        for upload in self._transfers.to_be_closed(location.file, None if appends else self.own):
            left_seconds = max(0.0, until_seconds - self._clock.seconds())
            try:
                await upload.wait_for_close().addTimeout(left_seconds, self._clock)  # type: ignore[arg-type]
            except WaitedTooLong:
                upload.leave_open()

    async def file_if_told(
        self, location: Location, *, needs_all: bool
    ) -> tuple[ObjectInfo | None, bool]:
        """The object of a place, and whether the store does not tell if there is one.

        :param needs_all: it is not only asked whether there is one.
        :raises AccessDenied: it does not tell, and could not keep us from overwriting it.
        """
        try:
            return await self.file(location), False
        except StoreError as error:
            if not refuses_one_object(error):
                raise
            if (listed := await self._listed_file(location)) is not None:
                if needs_all:
                    raise
                return listed, False
            able = await self._store.learn_capabilities(location.bucket)
            if able.conditional_put and able.conditional_complete:
                return None, True
            raise

    async def no_file(self, location: Location) -> NoSuchFile | IsADirectory | NotADirectory:
        """Why there is no file at a place that has none, or can have none."""
        if location.is_root or await self.is_directory(location):
            return IsADirectory(f"{location.path}: is a directory")
        if location.must_be_directory:
            return await self.no_directory(location)
        return NoSuchFile(f"{location.path}: No such file or directory")

    # Directories.

    async def is_directory(self, location: Location) -> bool:
        """Whether anything says so; the page is kept, since clients go on with OPENDIR. A LIST."""
        self._listed = None
        changes, at_seconds = self._transfers.changes.count, self._clock.seconds()
        page = await list_directory(self._store, location)
        if not _shows_something(page):
            return self._is_implied(location) or await self._stands_without_entries(location)
        self._learn(location, page)
        self._listed = _Listed(location.prefix, page, changes, at_seconds)
        return True

    def marker_seen(self, location: Location) -> ObjectInfo | None:
        """The marker of a directory, if `is_directory` has just seen one."""
        if self._listed is None or self._listed.prefix != location.prefix:
            return None
        return next((i for i in self._listed.page.objects if i.name == location.marker), None)

    async def first_page(self, location: Location) -> ListPage:
        """What a directory begins with; none or one LIST.

        :raises NoSuchFile, NotADirectory: there is no directory.
        """
        page = self._just_listed(location) or await list_directory(self._store, location)
        is_there = _shows_something(page) or location.is_root or self._is_implied(location)
        if not is_there and not await self._stands_without_entries(location):
            raise await self.no_directory(location)
        self._learn(location, page)
        return page

    async def demand_no_directory(self, location: Location) -> None:
        """What is about to be stored here would hide a directory. A LIST, if one may be here.

        No upload is worth a LIST on mere suspicion: only directories that this session has met
        are noticed, and those to which something is being uploaded.

        :raises IsADirectory:
        """
        is_suspected = location.prefix in self._met or self._is_implied(location)
        if is_suspected and await self.is_directory(location):
            raise IsADirectory(f"{location.path}: is a directory")

    async def demand_no_file_above(self, location: Location) -> None:
        """What is about to be made here would lie below a file.

        No request, unless a file is known or suspected there, or `strict_parents` asks for one.

        :raises NotADirectory: as a disk does.
        """
        above = location.parent
        while not above.is_root:
            if await self._is_file_only(above):
                raise NotADirectory(f"{above.path}: is not a directory")
            above = above.parent

    async def _is_file_only(self, location: Location) -> bool:
        is_being_written = self._transfers.newest(location.file) is not None
        is_suspected = hash(location.file.key) in self._files_seen
        is_unknown = self._strict_parents and location.prefix not in self._met
        if not (is_being_written or is_suspected or is_unknown):
            return False
        try:
            is_file = is_being_written or await self.glance(location) is not None
            if is_file and not await self.is_directory(location):
                return True
        except AccessDenied:  # the store does not tell
            return False
        self.met(location)
        return False

    async def is_only_listed(self, location: Location) -> bool:
        """Whether what is above shows a directory here, in which nothing is. A LIST, usually.

        One character less of its name is asked for: SeaweedFS shows an empty folder in every list
        but that of its own name. Of many names that begin alike, so many pages are looked at.
        """
        pages = 0
        async for page in all_pages(
            self._store, location.bucket, location.prefix[:-2], delimiter="/"
        ):
            pages += 1
            if location.prefix in page.prefixes:
                return True
            has_passed = any(name > location.prefix for name in page.prefixes)
            if has_passed or pages == MAX_PAGES_OF_SIBLINGS:
                break
        return False

    async def _stands_without_entries(self, location: Location) -> bool:
        """Whether a directory exists although no key begins with its prefix.

        No request, unless this session has seen it listed, or `hadoop_markers` asks for one.
        """
        was_seen = hash(hadoop_marker(location).key) in self._hadoop_markers_seen
        if (was_seen or self._hadoop_markers) and await self.has_hadoop_marker(location):
            return True
        was_listed = hash(location.prefix) in self._folders_seen
        return was_listed and await self.is_only_listed(location)

    async def has_hadoop_marker(self, location: Location) -> bool:
        """Whether an object stands for this directory in Hadoop's way. A HEAD.

        None, if such a name is longer than file systems have: no tool would have written it, and
        stores on file systems refuse to look for it.
        """
        marker = hadoop_marker(location)
        if is_longer_than_files(marker.key):
            return False
        try:
            return marks_directory(await self._store.head(marker))
        except NoSuchObject:
            return False
        except StoreError as error:
            if not refuses_one_object(error):
                raise
            # Its owner has encrypted it: it is there. Or else the store does not tell.
            found = await self._row(marker)
            return found is not None and marks_directory(found)

    async def no_directory(self, location: Location) -> NoSuchFile | NotADirectory:
        """Why there is no directory at a place that has none."""
        unended = replace(location, must_be_directory=False)
        if await self.glance(unended) is not None:
            return NotADirectory(f"{location.path}: is not a directory")
        return NoSuchFile(f"{location.path}: No such file or directory")

    def _is_implied(self, location: Location) -> bool:
        """A directory that has nothing in the store."""
        return self.has_emptied(location) or self._transfers.has_uploads_under(
            location.bucket, location.prefix
        )

    def _just_listed(self, location: Location) -> ListPage | None:
        listed, self._listed = self._listed, None
        if listed is None or listed.prefix != location.prefix:
            return None
        age_seconds = self._clock.seconds() - listed.at_seconds
        is_fresh = (
            age_seconds <= LISTED_FOR_SECONDS and listed.changes == self._transfers.changes.count
        )
        return listed.page if is_fresh else None

    # Either.

    async def kind_at(self, location: Location) -> FileKind | None:
        """File, directory or nothing, by one list request where two names are not too close.

        The key itself sorts first among all that begin with it. Its directory
        comes after names like ``key-`` and ``key.``: only if these fill a page
        must be asked again.
        """
        key = location.file.key
        page = await self._store.list(location.bucket, key, delimiter="/")
        if any(info.name == location.file for info in page.objects):
            self.saw_file(location)
            return FileKind.FILE
        if location.prefix in page.prefixes:
            return FileKind.DIRECTORY
        if any(
            info.name == hadoop_marker(location) and marks_directory(info) for info in page.objects
        ):
            return FileKind.DIRECTORY
        passed = any(name > hadoop_marker(location).key for name in _names(page))
        if page.next_token is None or passed:
            return FileKind.DIRECTORY if self._is_implied(location) else None
        return FileKind.DIRECTORY if await self.is_directory(location) else None

    # What this session has just done.

    def changed(self, emptied: Location | None = None) -> None:
        """Something is different now; `emptied` has perhaps lost its last entry."""
        self._transfers.changes.changed()
        while emptied is not None and not emptied.is_root:
            self._emptied.put(emptied.prefix, self._transfers.changes.count)
            emptied = emptied.parent

    def met(self, directory: Location) -> None:
        """This session has seen or made a directory."""
        self._met.put(directory.prefix, None)
        self._files_seen.pop(hash(directory.file.key), None)

    def saw_file(self, location: Location) -> None:
        """This session has seen or made a file."""
        self._files_seen.put(hash(location.file.key), None)
        self._met.pop(location.prefix, None)

    def _learn(self, directory: Location, page: ListPage) -> None:
        """A page of a directory was seen, and the files in it."""
        self.met(directory)
        for info in page.objects:
            self._files_seen.put(hash(info.name.key), None)
        for prefix in page.prefixes:
            self._folders_seen.put(hash(prefix), None)
        self.learn_hadoop_markers(page)

    def learn_hadoop_markers(self, page: ListPage) -> None:
        """Remember which directories a page of a listing shows by Hadoop's markers."""
        for info in page.objects:
            if marks_directory(info):
                self._hadoop_markers_seen.put(hash(info.name.key), None)

    def began(self, upload: FileWriter, location: Location) -> None:
        """This session writes a file."""
        self.own.add(upload)
        self.saw_file(location)

    def removed(self, location: Location) -> None:
        """The directory is gone, and all below it, whatever was remembered of it."""
        gone = location.prefix
        self._transfers.changes.directory_gone(location.bucket, gone)
        self._folders_seen.pop(hash(gone), None)
        self._hadoop_markers_seen.pop(hash(hadoop_marker(location).key), None)
        for prefix in [each for each in self._emptied if each.startswith(gone)]:
            del self._emptied[prefix]

    def has_emptied(self, location: Location) -> bool:
        """An implicit directory whose last entry this session has removed still counts."""
        since = self._emptied.get(location.prefix)
        if since is None:
            return False
        return not self._transfers.changes.is_gone(location.bucket, location.prefix, since)


def _shows_something(page: ListPage) -> bool:
    return bool(page.objects or page.prefixes)


def _names(page: ListPage) -> list[str]:
    return [info.name.key for info in page.objects] + list(page.prefixes)
