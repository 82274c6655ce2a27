"""One user's files: the store seen as a tree.

Knows: which requests each file operation comes to, in which order, and what
their answers mean. Must not know: SFTP's codes, or how bytes are moved.

Rules

1. Every operation passes the path jail, then the permission gate, then goes on.
2. What is at a place is `files/looking`'s to say; what would replace a file waits for
   a commit of it that is under way, as looking at it does.
3. No check that costs a request is made unless its answer changes ours.
4. A size is set by opening the file, cutting it and closing it, and needs what that needs.
5. An OPEN that needs to know what the file holds waits for a while for the CLOSE of a handle with
   which the same session writes it: sshfs sends them the wrong way round.
6. What can only be a directory (`Place.must_be_directory`) is no file, whatever has its name:
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
    PermissionDenied,
)
from sftpgw.files.copying import Copying
from sftpgw.files.downloads import Download
from sftpgw.files.foldertimes import FolderTimes
from sftpgw.files.keeping import Keeping
from sftpgw.files.listings import Listing
from sftpgw.files.looking import Looking
from sftpgw.files.partials import Partials, incomplete
from sftpgw.files.patience import Patience
from sftpgw.files.readback import NoReadback, Readback
from sftpgw.files.renaming import Renaming
from sftpgw.files.resources import Resources
from sftpgw.files.timing import Timing
from sftpgw.files.traffic import Traffic
from sftpgw.files.uploads import Upload
from sftpgw.interfaces import FileWriter
from sftpgw.plan.cutting import Below
from sftpgw.plan.markers import (
    ENTRIES_TO_BE_EMPTY,
    MARKER,
    demand_empty,
    demand_writable,
    hadoop_marker,
)
from sftpgw.plan.opening import Opening, decide, must_look
from sftpgw.plan.partials import Partial
from sftpgw.plan.partsizes import allowance_bytes, choose_ladder
from sftpgw.plan.paths import Place, Root, canonical, locate
from sftpgw.plan.permissions import Operation, allows, require
from sftpgw.plan.pieces import layout_for
from sftpgw.plan.uploading import UploadPlan
from sftpgw.values import (
    GIB,
    MIB,
    NO_CHANGES,
    AttributeChanges,
    FileAttributes,
    FileKind,
    ObjectInfo,
    ObjectName,
    Space,
    User,
    WriteIntent,
)

DIRECTORY = FileAttributes(FileKind.DIRECTORY)
IN_PLACE = WriteIntent(create=False, truncate=False)
NOMINAL_BYTES = 1024 * 1024 * GIB


class Tree:
    """Implements `interfaces.FileTree` for one session of one user."""

    def __init__(self, user: User, resources: Resources) -> None:
        self._granted = user.permissions
        self._root = Root(user.bucket, user.key_prefix, resources.settings.state_prefix)
        self._resources = resources
        self._store = resources.store
        self._in_flight = resources.in_flight
        self._events = resources.events
        self._looking = Looking(
            resources.store,
            resources.in_flight,
            resources.clock,
            strict_parents=resources.files.strict_parents,
            hadoop_markers=resources.files.hadoop_markers,
        )
        self._patience = Patience(resources.clock)
        self._timing = Timing(resources)
        self._partials = Partials(user.name, resources)
        self._keeping = Keeping(resources)
        copying = Copying(resources.store, resources.in_flight, resources.events)
        self._folder_times = FolderTimes(resources, self._timing, copying)
        self._renaming = Renaming(
            user.permissions,
            self._looking,
            self._keeping,
            resources,
            copying,
            partials=self._partials,
        )

    def canonical(self, path: bytes) -> bytes:
        return ("/" + "/".join(canonical(path))).encode()

    # Looking.

    async def stat(self, path: bytes) -> FileAttributes:
        place = self._enter(Operation.LOOK, path)
        if place.is_root:
            return DIRECTORY
        if place.must_be_directory:
            return await self._stat_of_no_file(place)
        own = await self._looking.own_upload(place)
        was_written = self._in_flight.newest(place.file) is not None
        info = None if own else await self._looking.glance(place)
        if info is not None:
            return self._resources.times.shown(info)
        writer = own or self._in_flight.newest(place.file)
        if writer is not None:
            return await writer.attributes()
        # If it has ended while we looked, it has been published, or not.
        return await (self.stat(path) if was_written else self._stat_of_no_file(place))

    async def _stat_of_no_file(self, place: Place) -> FileAttributes:
        if await self._looking.is_directory(place):
            marker = self._looking.marker_seen(place)
            return replace(DIRECTORY, modified_seconds=await self._folder_times.of(marker))
        if place.must_be_directory:
            raise await self._looking.no_directory(place)
        if (found := await self._partials.find(place.file)) is not None:
            return found.attributes
        raise NoSuchFile(f"{place.path}: No such file or directory")

    async def open_directory(self, path: bytes) -> Listing:
        place = self._enter(Operation.LIST, path)
        page = await self._looking.first_page(place)
        kept = await self._partials.in_directory(place.root.bucket, place.prefix)
        looking = self._looking
        return Listing(
            place,
            page,
            self._resources,
            kept,
            looking.own,
            on_page=looking.learn_hadoop_markers,
        )

    async def space(self, path: bytes) -> Space:
        self._enter(Operation.LOOK, path)
        blocks = NOMINAL_BYTES // MIB
        return Space(block_bytes=MIB, total_blocks=blocks, free_blocks=blocks, name_bytes=255)

    # Files.

    async def open_reader(self, path: bytes) -> Download:
        place = await self._enter_file(Operation.READ, path)
        self._in_flight.demand_open()
        await self._looking.wait_for_close(place)
        await self._in_flight.settled(place.file)
        was_written = bool(self._in_flight.writing(place.file))
        download = self._download(place.file)
        try:
            await download.open()
        except NoSuchObject:
            if was_written and not self._in_flight.writing(place.file):
                return await self.open_reader(path)  # it was closed while we looked
            await self._partials.demand_none(place.file, place.path)
            raise await self._looking.no_file(place) from None
        if place.is_marker_content:
            await self._demand_content(download, place)
        return download

    async def _demand_content(self, download: Download, place: Place) -> None:
        """:raises NoSuchFile: the marker of the place's directory holds no bytes."""
        try:
            if not (await download.attributes()).size_bytes:
                raise await self._looking.no_file(place)
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
        place = self._enter(Operation.READ, path)
        await self._demand_file_name(place, creates=intent.create)
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

    def _download(
        self, name: ObjectName, etag: str | None = None, *, through: Traffic | None = None
    ) -> Download:
        return Download(
            name,
            store=self._store,
            budget=self._resources.budget,
            in_flight=self._in_flight,
            clock=self._resources.clock,
            events=self._events,
            part_bytes=self._resources.settings.download_part_size_bytes,
            concurrency=self._resources.settings.download_concurrency,
            etag=etag,
            traffic=through or self._resources.traffic.begin(),
            is_below=through is not None,
            shown=self._resources.times.shown,
        )

    async def open_writer(
        self,
        path: bytes,
        intent: WriteIntent,
        changes: AttributeChanges,
        *,
        may_resume: bool = True,
    ) -> Upload:
        place = self._enter(Operation.WRITE, path)
        await self._demand_file_name(place, creates=intent.create)
        demand_writable(place)
        self._in_flight.demand_open()
        if must_look(intent, may_overwrite=True):
            await self._looking.wait_for_close(place, appends=intent.append)
        return await self._open_writer(place, intent, changes, may_resume=may_resume)

    def path_of(self, writer: FileWriter) -> bytes | None:
        name = writer.published_as
        if name is None or name.bucket != self._root.bucket:
            return None
        if not name.key.startswith(self._root.key_prefix):
            return None  # another session, with another root, has renamed it
        return ("/" + name.key[len(self._root.key_prefix) :]).encode()

    async def _open_writer(
        self, place: Place, intent: WriteIntent, changes: AttributeChanges, *, may_resume: bool
    ) -> Upload:
        await self._in_flight.settled(place.file)
        may_overwrite = allows(self._granted, Operation.OVERWRITE)
        existing, is_hidden = None, False
        if must_look(intent, may_overwrite=may_overwrite):
            # With TRUNC nothing of it is kept, with EXCL there must be none.
            needs_all = not (intent.truncate or (intent.create and intent.exclusive))
            existing, is_hidden = await self._looking.file_if_told(place, needs_all=needs_all)
        if existing is None:
            await self._looking.demand_no_directory(place)
        found = None if existing else await self._partials.find(place.file)
        if found is not None and not may_resume:
            raise incomplete(found, place.path)
        if existing is None and intent.create:
            await self._looking.demand_no_file_above(place)
        opening = decide(
            intent,
            existing,
            may_overwrite=may_overwrite,
            path=place.path,
            is_hidden=is_hidden,
            is_partial=found is not None,
        )
        if opening.overlaid is not None:
            require(self._granted, Operation.CHANGE, place.path)
            await self._store.learn_capabilities(self._root.bucket)
        # Nothing can be gone on with; but has the client been told so?
        is_sure = intent.truncate or existing is not None
        may_skip = is_sure or not (self._partials.is_wanted or self._in_flight.newest(place.file))
        resumed = None
        if found is not None:
            resumed = await self._partials.go_on(found, place.path, truncate=intent.truncate)
        self._looking.changed()
        plan = self._upload_plan(intent, opening.overlaid, resumed, may_skip=may_skip)
        upload = self._upload(place, intent, opening, changes, plan=plan, resumed=resumed)
        self._looking.began(upload, place)
        return upload

    def _upload(
        self,
        place: Place,
        intent: WriteIntent,
        opening: Opening,
        changes: AttributeChanges,
        *,
        plan: UploadPlan,
        resumed: Partial | None,
    ) -> Upload:
        traffic = self._resources.traffic.begin()
        return Upload(
            plan,
            place.file,
            store=self._store,
            budget=self._resources.budget,
            in_flight=self._in_flight,
            clock=self._resources.clock,
            events=self._events,
            state_prefix=self._resources.settings.state_prefix,
            condition=opening.condition,
            storage_class=self._resources.settings.storage_class,
            modified_seconds=changes.modified_seconds,
            timing=self._timing,
            may_set_times=allows(self._granted, Operation.SET_TIMES),
            patience=self._patience,
            below=opening.overlaid,
            readback=self._readback(place, intent, plan, opening.overlaid, traffic),
            partials=self._partials if self._partials.is_wanted else None,
            resumed=resumed,
            traffic=traffic,
        )

    def _upload_plan(
        self,
        intent: WriteIntent,
        overlaid: ObjectInfo | None,
        resumed: Partial | None,
        *,
        may_skip: bool,
    ) -> UploadPlan:
        """What the store can do is asked at each OPEN: it may have been found out meanwhile."""
        able = self._store.capabilities_of(self._root.bucket)
        settings, limits = self._resources.settings, self._resources.limits
        ladder = choose_ladder(
            settings.part_size_bytes,
            limits.memory_bytes,
            concurrency=settings.upload_concurrency,
            unequal_parts=able.unequal_parts,
            expected_bytes=intent.expected_bytes,
        )
        below = None
        if overlaid is not None:
            below = Below(overlaid.size_bytes, can_copy=able.part_copy and able.unequal_parts)
        plan = UploadPlan(
            layout_for(ladder, able, intent.expected_bytes, is_edit=overlaid is not None),
            concurrency=settings.upload_concurrency,
            allowance_bytes=allowance_bytes(limits.memory_bytes),
            reorder_bytes=limits.reorder_allowance_bytes,
            below=below,
            appends=intent.append,
            kept=resumed.parts if resumed else (),
            tail_bytes=self._partials.tail_bytes(able),
            may_skip=may_skip,
        )
        if intent.expected_bytes is not None:
            plan.expect(intent.expected_bytes)
        return plan

    def _readback(
        self,
        place: Place,
        intent: WriteIntent,
        plan: UploadPlan,
        overlaid: ObjectInfo | None,
        traffic: Traffic,
    ) -> Readback | NoReadback | None:
        """How to read through a handle that writes; None if it was not opened for that."""
        if not intent.read:
            return None
        if not allows(self._granted, Operation.READ):
            return NoReadback(PermissionDenied(f"{place.path}: you may not download files here"))
        return Readback(
            plan,
            overlaid,
            lambda base: self._download(base.name, base.etag, through=traffic),
            traffic=traffic,
        )

    async def remove_file(self, path: bytes) -> None:
        place = await self._enter_file(Operation.REMOVE, path)
        uploads = self._in_flight.writing(place.file)  # later ones are another file
        info = await self._looking.glance(place)
        was_partial = await self._partials.drop(place.file, why="the file was removed")
        if info is None and not uploads and not was_partial:
            raise await self._looking.no_file(place)
        if info is not None and place.is_marker_content:
            await self._store.put(place.file, (), MARKER)  # the directory stays
            self._resources.times.forget_folder(place.file)
        elif info is not None:
            async with self._keeping.kept(place.parent, without=place.file.key):
                await self._store.delete(place.file)
        for upload in uploads:
            upload.remove()  # as on a disk, where it would go on without a name
        if any(upload.is_committing for upload in uploads):  # closed while we looked
            await self._in_flight.settled(place.file)
            await self._store.delete(place.file)
        self._events.tell("file-removed", key=place.file.key)
        self._looking.changed(emptied=place.parent)

    async def rename(self, old: bytes, new: bytes, *, replace: bool) -> None:
        source_place = self._enter(Operation.RENAME, old)
        target = self._enter(Operation.RENAME, new)
        self._in_flight.demand_open()
        self._in_flight.work_began()
        try:
            await self._renaming.rename(source_place, target, replace=replace)
        finally:
            self._in_flight.work_ended()

    async def set_attributes(self, path: bytes, changes: AttributeChanges) -> None:
        place = locate(self._root, path)
        if changes.modified_seconds is not None:
            require(self._granted, Operation.SET_TIMES, place.path)
        if changes.size_bytes is not None:
            require(self._granted, Operation.TRUNCATE, place.path)
            await self._demand_file_name(place)
            await self._resize(place, changes.size_bytes)
        if changes.modified_seconds is not None:
            await self._set_time(place, changes.modified_seconds)
        elif changes.size_bytes is None:
            await self.stat(path)  # a mode or an owner: only whether the file is there matters

    async def _set_time(self, place: Place, seconds: float) -> None:
        """Of the root it is accepted and not kept: it may have no object to keep it."""
        if place.is_root:
            return
        if place.must_be_directory:
            await self._set_folder_time(place, seconds)
            return
        if place.is_marker_content and await self._looking.file(place) is None:
            raise await self._looking.no_file(place)  # the folder's own time is set by its name
        changes = AttributeChanges(modified_seconds=seconds)
        if (own := await self._looking.own_upload(place)) is not None:
            await own.set_attributes(changes)
            return
        try:
            # What another session writes there may never be published: its own time is its own.
            await self._timing.set(place.file, seconds, place.path)
        except NoSuchObject:
            if (writer := self._in_flight.newest(place.file)) is not None:
                await writer.set_attributes(changes)
            else:
                await self._set_folder_time(place, seconds)

    async def _set_folder_time(self, place: Place, seconds: float) -> None:
        if await self._looking.is_directory(place):
            await self._folder_times.set(place, seconds)
            self._looking.changed()
            return
        if place.must_be_directory:
            raise await self._looking.no_directory(place)
        await self._partials.demand_none(place.file, place.path)
        raise NoSuchFile(f"{place.path}: No such file or directory")

    async def _resize(self, place: Place, size_bytes: int) -> None:
        """Cut a file, or make it longer with zeros."""
        try:
            writer = await self.open_writer(
                place.path.encode(), IN_PLACE, NO_CHANGES, may_resume=False
            )
        except NoSuchFile:
            await self._resize_unpublished(place, size_bytes)
            return
        try:
            await writer.set_attributes(AttributeChanges(size_bytes=size_bytes))
            await writer.commit()
        finally:
            await writer.abandon()

    async def _resize_unpublished(self, place: Place, size_bytes: int) -> None:
        """Of a file that is only being written, by this session or another one."""
        writing = [each.writer for each in self._in_flight.writing(place.file) if each.writer]
        if writing:
            await writing[-1].set_attributes(AttributeChanges(size_bytes=size_bytes))
        elif self._in_flight.newest(place.file) is not None:  # closed while we looked
            await self._resize(place, size_bytes)
        else:
            raise await self._looking.no_file(place)

    # Directories.

    async def make_directory(self, path: bytes) -> None:
        place = self._enter(Operation.MAKE_DIRECTORY, path)
        demand_writable(place)
        if place.is_root or await self._looking.kind_at(place) is not None:
            raise AlreadyExists(f"{place.path}: exists already")
        await self._looking.demand_no_file_above(place)
        await self._store.put(place.marker, (), MARKER)
        self._events.tell("directory-made", key=place.prefix)
        self._looking.met(place)
        self._looking.changed()
        self._resources.times.forget_folder(place.marker)

    async def remove_directory(self, path: bytes) -> None:
        place = self._enter(Operation.REMOVE_DIRECTORY, path)
        if place.is_root:
            raise DirectoryNotEmpty("/: cannot be removed")
        page = await self._store.list(
            place.root.bucket, place.prefix, delimiter="/", limit=ENTRIES_TO_BE_EMPTY
        )
        demand_empty(place, page)
        is_used = self._in_flight.below(place.root.bucket, place.prefix)
        if is_used or await self._partials.is_any_in(place.root.bucket, place.prefix):
            raise DirectoryNotEmpty(f"{place.path}: the directory is not empty")
        markers = [info.name for info in page.objects]
        if await self._looking.has_hadoop_marker(place):
            markers.append(hadoop_marker(place))
        is_there = markers or self._looking.has_emptied(place)
        if not is_there and not await self._looking.is_only_listed(place):
            raise await self._looking.no_directory(place)
        # Of what is only a prefix, too: the store may keep it as a folder (`files/ghosts`).
        markers = markers or [place.marker]
        async with self._keeping.kept(place.parent, without=place.prefix):
            for marker in markers:
                await self._store.delete(marker)
        self._events.tell("directory-removed", key=place.prefix)
        self._looking.changed(emptied=place.parent)
        self._looking.removed(place)
        self._resources.times.forget_folder(place.marker)

    # How it is found out.

    def _enter(self, operation: Operation, path: bytes) -> Place:
        """The jail and the gate."""
        place = locate(self._root, path)
        require(self._granted, operation, place.path)
        return place

    async def _enter_file(self, operation: Operation, path: bytes) -> Place:
        """As `_enter`, for what is done to files only.

        :raises IsADirectory, NotADirectory, NoSuchFile: the path cannot name a file.
        """
        place = self._enter(operation, path)
        await self._demand_file_name(place)
        return place

    async def _demand_file_name(self, place: Place, *, creates: bool = False) -> None:
        """:param creates: what is not there would be made; then no request is needed."""
        if place.may_be_file:
            return
        if creates:  # the name alone decides it (open(2), EISDIR)
            raise IsADirectory(f"{place.path}: is a directory")
        raise await self._looking.no_file(place)
