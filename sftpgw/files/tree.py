"""One user's files: the store seen as a tree.

Knows: which requests each file operation comes to, in which order, and what
their answers mean. Must not know: SFTP's codes, or how bytes are moved.

Rules

1. Every operation passes the path jail, then the permission gate, then goes on.
2. What is asked of a file waits for a commit of it that is under way; so does
   what would replace it.
3. A file is an object. A directory exists if its marker (``name/``) or anything
   below it does; where both a file and a directory of one name exist, the file wins.
4. No check that costs a request is made unless its answer changes ours.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

from sftpgw.errors import (
    AccessDenied,
    AlreadyExists,
    DirectoryNotEmpty,
    IsADirectory,
    LimitReached,
    NoSuchFile,
    NoSuchObject,
    NotADirectory,
    ObjectChanged,
    PreconditionFailed,
    Unsupported,
)
from sftpgw.files.downloads import Download
from sftpgw.files.inflight import InFlight
from sftpgw.files.listings import Listing, list_directory
from sftpgw.files.uploads import Upload
from sftpgw.interfaces import Clock, EventSink, MemoryBudget, ObjectStore
from sftpgw.plan.listing import attributes_of
from sftpgw.plan.opening import decide, must_look
from sftpgw.plan.partsizes import allowance_bytes, choose_ladder
from sftpgw.plan.paths import Place, Root, canonical, locate
from sftpgw.plan.permissions import Operation, allows, require
from sftpgw.plan.pieces import Layout, choose_layout
from sftpgw.plan.uploading import UploadPlan
from sftpgw.values import (
    GIB,
    MIB,
    AttributeChanges,
    FileAttributes,
    FileKind,
    LimitSettings,
    ListPage,
    ObjectInfo,
    ObjectProperties,
    Space,
    StoreSettings,
    User,
    WriteCondition,
    WriteIntent,
)

DIRECTORY = FileAttributes(FileKind.DIRECTORY)
MARKER = ObjectProperties(content_type="application/x-directory")

COPY_LIMIT_BYTES = 5 * GIB
LISTED_FOR_SECONDS = 2.0
MAX_EMPTIED = 1024
NOMINAL_BYTES = 1024 * 1024 * GIB


@dataclass(frozen=True, slots=True)
class _Listed:
    """The first page of a directory, and when the bucket looked like that."""

    prefix: str
    page: ListPage
    changes: int
    at_seconds: float


class Tree:
    """Implements `interfaces.FileTree` for one session of one user."""

    def __init__(
        self,
        user: User,
        *,
        store: ObjectStore,
        budget: MemoryBudget,
        in_flight: InFlight,
        clock: Clock,
        events: EventSink,
        settings: StoreSettings,
        limits: LimitSettings,
    ) -> None:
        self._granted = user.permissions
        self._root = Root(user.bucket, user.key_prefix, settings.state_prefix)
        self._store = store
        self._budget = budget
        self._in_flight = in_flight
        self._clock = clock
        self._events = events
        self._settings = settings
        self._limits = limits
        self._listed: _Listed | None = None
        self._emptied: OrderedDict[str, None] = OrderedDict()

    def canonical(self, path: bytes) -> bytes:
        return ("/" + "/".join(canonical(path))).encode()

    # Looking.

    async def stat(self, path: bytes) -> FileAttributes:
        place = self._enter(Operation.LOOK, path)
        if place.is_root:
            return DIRECTORY
        info = await self._find_file(place)
        if info is not None:
            return attributes_of(info)
        writer = self._in_flight.newest(place.file)
        if writer is not None:
            return await writer.attributes()
        if await self._is_directory(place):
            return DIRECTORY
        raise NoSuchFile(f"{place.path}: no such file or directory")

    async def open_directory(self, path: bytes) -> Listing:
        place = self._enter(Operation.LIST, path)
        page = self._just_listed(place) or await list_directory(self._store, place)
        if not self._exists(page) and not place.is_root and not self._has_emptied(place):
            raise await self._no_directory(place)
        return Listing(place, page, store=self._store, events=self._events)

    async def space(self, path: bytes) -> Space:
        self._enter(Operation.LOOK, path)
        blocks = NOMINAL_BYTES // MIB
        return Space(block_bytes=MIB, total_blocks=blocks, free_blocks=blocks, name_bytes=255)

    # Files.

    async def open_reader(self, path: bytes) -> Download:
        place = self._enter(Operation.READ, path)
        if place.is_root:
            raise IsADirectory("/: is a directory")
        self._in_flight.demand_open()
        await self._in_flight.settled(place.file)
        download = Download(
            place.file,
            store=self._store,
            budget=self._budget,
            in_flight=self._in_flight,
            clock=self._clock,
            events=self._events,
            part_bytes=self._settings.download_part_size_bytes,
            concurrency=self._settings.download_concurrency,
        )
        try:
            await download.open()
        except NoSuchObject:
            raise await self._no_file(place) from None
        return download

    async def open_writer(
        self, path: bytes, intent: WriteIntent, changes: AttributeChanges
    ) -> Upload:
        place = self._enter(Operation.WRITE, path)
        if place.is_root or path.endswith(b"/"):
            raise IsADirectory(f"{place.path}: is a directory")
        self._in_flight.demand_open()
        await self._in_flight.settled(place.file)
        may_overwrite = allows(self._granted, Operation.OVERWRITE)
        existing, is_hidden = None, False
        if must_look(intent, may_overwrite=may_overwrite):
            existing, is_hidden = await self._look(place)
        opening = decide(
            intent, existing, may_overwrite=may_overwrite, path=place.path, is_hidden=is_hidden
        )
        below = opening.overlaid
        plan = UploadPlan(
            self._layout(),
            concurrency=self._settings.upload_concurrency,
            allowance_bytes=allowance_bytes(self._limits.memory_bytes),
            reorder_bytes=self._limits.reorder_allowance_bytes,
            overlaid_bytes=below.size_bytes if below else None,
        )
        self._changed()
        return Upload(
            plan,
            place.file,
            store=self._store,
            budget=self._budget,
            in_flight=self._in_flight,
            clock=self._clock,
            events=self._events,
            state_prefix=self._settings.state_prefix,
            condition=opening.condition,
            storage_class=self._settings.storage_class,
            modified_seconds=changes.modified_seconds,
        )

    def _layout(self) -> Layout:
        """Chosen at each OPEN: what the store can do may have been found out meanwhile."""
        able = self._store.capabilities_of(self._root.bucket)
        ladder = choose_ladder(
            self._settings.part_size_bytes,
            self._limits.memory_bytes,
            concurrency=self._settings.upload_concurrency,
            unequal_parts=able.unequal_parts,
        )
        return choose_layout(ladder, part_copy=able.part_copy, unequal_parts=able.unequal_parts)

    async def remove_file(self, path: bytes) -> None:
        place = self._enter(Operation.REMOVE, path)
        if await self._find_file(place) is None:
            raise await self._no_file(place)
        await self._store.delete(place.file)
        self._events.tell("file-removed", key=place.file.key)
        self._changed(emptied=place.parent)

    async def rename(self, old: bytes, new: bytes, *, replace: bool) -> None:
        source_place = self._enter(Operation.RENAME, old)
        target = self._enter(Operation.RENAME, new)
        self._in_flight.demand_open()
        self._in_flight.work_began()
        try:
            await self._rename(source_place, target, replace=replace)
        finally:
            self._in_flight.work_ended()

    async def _rename(self, source_place: Place, target: Place, *, replace: bool) -> None:
        source = await self._find_file(source_place)
        if source is None:
            raise await self._no_renaming(source_place)
        if target == source_place:
            return
        if source.size_bytes > COPY_LIMIT_BYTES:
            raise LimitReached(f"{source_place.path}: files over 5 GiB cannot be renamed")
        guarded = await self._demand_free(target, replace=replace)
        await self._copy(source, target, guarded)
        await self._delete_copied(source)
        self._events.tell("file-renamed", key=source.name.key, to=target.file.key)
        self._changed(emptied=source_place.parent)

    async def set_attributes(self, path: bytes, changes: AttributeChanges) -> None:
        place = self._enter(Operation.LOOK, path)
        if changes.size_bytes is None and changes.modified_seconds is None:
            await self.stat(path)  # a mode or an owner: only whether the file is there matters
            return
        require(self._granted, Operation.SET_ATTRIBUTES, place.path)
        if changes.size_bytes is not None:
            raise Unsupported(f"{place.path}: the size of a stored file cannot be changed")
        await self.stat(path)
        # An object's metadata cannot be changed in place: times set after the
        # upload are accepted, as chmod and chown are, and not kept.

    # Directories.

    async def make_directory(self, path: bytes) -> None:
        place = self._enter(Operation.MAKE_DIRECTORY, path)
        if place.is_root or await self._what_is_at(place) is not None:
            raise AlreadyExists(f"{place.path}: exists already")
        await self._store.put(place.marker, (), MARKER)
        self._events.tell("directory-made", key=place.prefix)
        self._changed()

    async def remove_directory(self, path: bytes) -> None:
        place = self._enter(Operation.REMOVE_DIRECTORY, path)
        if place.is_root:
            raise DirectoryNotEmpty("/: cannot be removed")
        page = await self._store.list(place.root.bucket, place.prefix, limit=2)
        below = [info for info in page.objects if info.name != place.marker]
        if below or self._in_flight.below(place.root.bucket, place.prefix):
            raise DirectoryNotEmpty(f"{place.path}: the directory is not empty")
        if not page.objects and not self._has_emptied(place):
            raise await self._no_directory(place)
        if page.objects:
            await self._store.delete(place.marker)
        self._events.tell("directory-removed", key=place.prefix)
        self._changed(emptied=place.parent)
        self._emptied.pop(place.prefix, None)

    # How it is found out.

    def _enter(self, operation: Operation, path: bytes) -> Place:
        """The jail and the gate."""
        place = locate(self._root, path)
        require(self._granted, operation, place.path)
        return place

    async def _find_file(self, place: Place) -> ObjectInfo | None:
        """The object of a place, None if there is none."""
        if place.is_root:
            return None
        await self._in_flight.settled(place.file)
        try:
            return await self._store.head(place.file)
        except NoSuchObject:
            return None

    async def _look(self, place: Place) -> tuple[ObjectInfo | None, bool]:
        """The object of a place, and whether the store does not tell if there is one.

        :raises AccessDenied: it does not tell, and could not keep us from overwriting it.
        """
        try:
            return await self._find_file(place), False
        except AccessDenied:
            able = await self._store.learn_capabilities(place.root.bucket)
            if able.conditional_put and able.conditional_complete:
                return None, True
            raise

    async def _is_directory(self, place: Place) -> bool:
        """Whether anything says so; the page is kept, since clients go on with OPENDIR."""
        changes, at_seconds = self._in_flight.changes, self._clock.seconds()
        page = await list_directory(self._store, place)
        if not self._exists(page):
            return self._has_emptied(place)
        self._listed = _Listed(place.prefix, page, changes, at_seconds)
        return True

    def _just_listed(self, place: Place) -> ListPage | None:
        listed, self._listed = self._listed, None
        if listed is None or listed.prefix != place.prefix:
            return None
        age_seconds = self._clock.seconds() - listed.at_seconds
        is_fresh = age_seconds <= LISTED_FOR_SECONDS and listed.changes == self._in_flight.changes
        return listed.page if is_fresh else None

    async def _what_is_at(self, place: Place) -> FileKind | None:
        """File, directory or nothing, by one list request where two names are not too close.

        The key itself sorts first among all that begin with it. Its directory
        comes after names like ``key-`` and ``key.``: only if these fill a page
        must be asked again.
        """
        key = place.file.key
        page = await self._store.list(place.root.bucket, key, delimiter="/")
        if any(info.name == place.file for info in page.objects):
            return FileKind.FILE
        if place.prefix in page.prefixes:
            return FileKind.DIRECTORY
        passed = any(name > place.prefix for name in _names(page))
        if page.next_token is None or passed:
            return FileKind.DIRECTORY if self._has_emptied(place) else None
        return FileKind.DIRECTORY if await self._is_directory(place) else None

    @staticmethod
    def _exists(page: ListPage) -> bool:
        return bool(page.objects or page.prefixes)

    async def _no_file(self, place: Place) -> NoSuchFile | IsADirectory:
        if place.is_root or await self._is_directory(place):
            return IsADirectory(f"{place.path}: is a directory")
        return NoSuchFile(f"{place.path}: no such file")

    async def _no_directory(self, place: Place) -> NoSuchFile | NotADirectory:
        if await self._find_file(place) is not None:
            return NotADirectory(f"{place.path}: is not a directory")
        return NoSuchFile(f"{place.path}: no such directory")

    async def _no_renaming(self, place: Place) -> NoSuchFile | Unsupported:
        if place.is_root or await self._is_directory(place):
            return Unsupported(f"{place.path}: directories cannot be renamed")
        return NoSuchFile(f"{place.path}: no such file")

    # Parts of a rename.

    async def _demand_free(self, target: Place, *, replace: bool) -> WriteCondition:
        """The condition under which the target may be written.

        :raises AlreadyExists, IsADirectory, PermissionDenied:
        """
        await self._in_flight.settled(target.file)
        may_replace = replace and allows(self._granted, Operation.OVERWRITE)
        if not may_replace and await self._find_file(target) is not None:
            if replace:
                require(self._granted, Operation.OVERWRITE, target.path)
            raise AlreadyExists(f"{target.path}: the file exists already")
        if target.is_root or await self._is_directory(target):
            raise IsADirectory(f"{target.path}: is a directory")
        return WriteCondition.NONE if may_replace else WriteCondition.IF_ABSENT

    async def _copy(self, source: ObjectInfo, target: Place, condition: WriteCondition) -> None:
        try:
            await self._store.copy(source, target.file, condition)
        except PreconditionFailed:
            if condition is WriteCondition.IF_ABSENT and await self._find_file(target) is not None:
                raise AlreadyExists(f"{target.path}: the file exists already") from None
            raise ObjectChanged("the file was replaced while it was being renamed") from None

    async def _delete_copied(self, source: ObjectInfo) -> None:
        try:
            await self._store.delete(source.name, if_match=source.etag)
        except PreconditionFailed:
            raise ObjectChanged(
                "the file was replaced while it was being renamed: the old content is under the "
                "new name, the new content under the old one"
            ) from None

    # What this session has just done.

    def _changed(self, emptied: Place | None = None) -> None:
        """Something is different now; `emptied` has perhaps lost its last entry."""
        self._in_flight.changed()
        while emptied is not None and not emptied.is_root:
            self._emptied[emptied.prefix] = None
            self._emptied.move_to_end(emptied.prefix)
            emptied = emptied.parent
        while len(self._emptied) > MAX_EMPTIED:
            self._emptied.popitem(last=False)

    def _has_emptied(self, place: Place) -> bool:
        """An implicit directory whose last entry this session has removed still counts."""
        return place.prefix in self._emptied


def _names(page: ListPage) -> list[str]:
    return [info.name.key for info in page.objects] + list(page.prefixes)
