"""Renaming a directory: every key below it gets another beginning.

Knows: the order of requests after which, wherever they end, nothing is lost.
Must not know: whether the user may do it, or what else is at either name.

Rules (what is written down is told in `files/renames/plan`)

1. First the intent; then a look whether another rename concerns the same keys. If it is
   alive, this one is refused; if it was left alone, it is finished first.
2. Everything is counted before anything is copied: there may be too much, or a name that
   would be too long.
3. A page of objects at a time: HEAD each, write down their versions, copy each unless its
   new name is taken, verify. Memory holds one page, however large the directory.
4. When all copies are there, the outcome is decided, and files that are being written go
   on under their new name. Only then the versions that were copied are deleted.
5. What fails before the outcome takes the copies away again, and the source is as it was.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import replace
from secrets import token_hex

from sftpgw.aio.parallel import in_parallel
from sftpgw.aio.periodic import PeriodicTask
from sftpgw.errors import (
    AccessDenied,
    AlreadyExists,
    GatewayError,
    InvalidPath,
    LimitReached,
    NoSuchObject,
    ObjectChanged,
    PreconditionFailed,
    StoreError,
    StoreTrouble,
)
from sftpgw.files.copies.copier import Copier
from sftpgw.files.housekeeping.pages import all_pages
from sftpgw.files.paths import Location, is_hidden
from sftpgw.files.permissions import Operation, allows
from sftpgw.files.renames.journal import RenameJournal, heartbeat, list_records
from sftpgw.files.renames.plan import (
    LEASE_SECONDS,
    Entry,
    FoundRename,
    Intent,
    Outcome,
    records_prefix,
)
from sftpgw.files.renames.recovery import AT_ONCE, RenameCompleter
from sftpgw.files.session_context import SessionContext
from sftpgw.model.events.file_events import RenameLeftBehind, RenameSparedFiles
from sftpgw.model.limits import MAX_KEY_BYTES, MAX_LISTED_KEYS
from sftpgw.model.store import ObjectInfo, ObjectName, WriteCondition
from sftpgw.model.units import KIB

PAGE_OBJECTS = 200
PAGE_BYTES = 512 * KIB
"""What a page may hold in memory, were all its names as long as names can be."""

Objects = tuple[ObjectInfo, ...]


class DirectoryRename:
    """One rename of a directory."""

    def __init__(
        self,
        source: Location,
        target: Location,
        *,
        context: SessionContext,
        copier: Copier,
        completer: RenameCompleter,
    ) -> None:
        self._source = source
        self._target = target
        self._context = context
        self._store = context.store
        self._copier = copier
        self._completer = completer
        self._bucket = source.bucket
        self._state_prefix = context.settings.state_prefix
        self._intent = Intent(self._bucket, source.prefix, target.prefix)
        key_prefix = f"{records_prefix(self._state_prefix)}{token_hex(12)}/"
        self._record = RenameJournal(self._store, self._bucket, key_prefix)
        self._heartbeat: PeriodicTask | None = None
        self._pages: tuple[int, ...] = ()
        self._moved = 0
        self._has_marker = False
        self._edited: list[tuple[ObjectInfo, ObjectInfo]] = []
        """What is being edited of what was copied, before and after."""
        self._has_been_done = False

    async def move(
        self,
        *,
        demand_free: Callable[[], Awaitable[bool]],
        before_deleting: Callable[[], Awaitable[None]],
    ) -> int:
        """Returns how many objects have a new name.

        :param demand_free: raises unless the target may be taken; whether it has a marker.
        :param before_deleting: called when all copies are there.
        :raises FileError, StoreError: and the source is as it was, unless the error says more.
        """
        if not self._context.budget.try_charge(PAGE_BYTES):
            raise LimitReached("there is no memory to rename a directory now; try again")
        try:
            await self._write_intent()
            self._heartbeat = heartbeat(self._write_intent, self._context.clock)
            await self._copy(demand_free, before_deleting)
            if not self._has_been_done:
                await self._delete()
        finally:
            if self._heartbeat is not None:
                self._heartbeat.stop()
            self._context.budget.release(PAGE_BYTES)
        return self._moved

    async def _remove_record(self) -> None:
        """An intent that was written behind this would keep others away, for nothing."""
        if self._heartbeat is not None:
            await self._heartbeat.finish()
        await self._record.remove(self._pages)

    async def _write_intent(self) -> None:
        await self._record.write_intent(self._intent)

    # Up to the outcome.

    async def _copy(
        self,
        demand_free: Callable[[], Awaitable[bool]],
        before_deleting: Callable[[], Awaitable[None]],
    ) -> None:
        """Returns when the outcome is that it is moved."""
        try:
            await self._demand_alone()
            if self._has_been_done and not await self._anything_left():
                await self._remove_record()
                return
            self._has_been_done = False
            if await demand_free():
                self._intent = replace(self._intent, over_marker=True)
                await self._write_intent()
            await self._count()
            await self._each_page(self._copy_page, PAGE_OBJECTS)
            await before_deleting()
            if await self._record.decide(Outcome.MOVED) is not Outcome.MOVED:
                raise ObjectChanged("another gateway has given this rename up; try again")
        except Exception:
            if await self._is_given_up():
                raise

    async def _is_given_up(self) -> bool:
        """Take back what was done; False if it cannot be, since the outcome is another."""
        try:
            if self._pages:
                if await self._record.decide(Outcome.ABANDONED) is Outcome.MOVED:
                    return False
                if not await self._is_alone():
                    self._tell_left("others rename the same files by now")
                    return True
                await self._finish(Outcome.ABANDONED)
                await self._completer.clear_folders(self._intent, Outcome.ABANDONED)
            await self._remove_record()
        except GatewayError as error:
            self._tell_left(error.message)
        return True

    async def _demand_alone(self) -> None:
        """:raises LimitReached: another rename that concerns the same keys is under way."""
        for found in await list_records(self._store, self._bucket, self._state_prefix):
            if found.has_intent and found.key_prefix != self._record.key_prefix:
                await self._demand_apart(found)

    async def _is_alone(self) -> bool:
        """Whether nobody else's intent concerns the same keys; ours is written before."""
        await self._write_intent()
        for found in await list_records(self._store, self._bucket, self._state_prefix):
            if found.has_intent and found.key_prefix != self._record.key_prefix:
                with suppress(NoSuchObject):
                    other = RenameJournal(self._store, self._bucket, found.key_prefix)
                    if (await other.intent()).overlaps(self._intent):
                        await self._record.bury()
                        return False
        return True

    async def _demand_apart(self, found: FoundRename) -> None:
        try:
            other = await RenameJournal(self._store, self._bucket, found.key_prefix).intent()
        except NoSuchObject:
            return
        if not other.overlaps(self._intent):
            return
        if found.is_left_alone(self._context.clock.seconds()):
            finished = await self._completer.take_up(self._bucket, found)
            if finished is not None:
                is_the_same = (other.source, other.target) == (
                    self._source.prefix,
                    self._target.prefix,
                )
                self._has_been_done |= is_the_same and finished.outcome is Outcome.MOVED
                return
        raise LimitReached(
            f"{self._source.path}: this directory, or one above or below, is being renamed, or "
            f"its rename was interrupted; try again in {LEASE_SECONDS:.0f} seconds"
        )

    async def _count(self) -> None:
        """:raises LimitReached, InvalidPath: nothing was copied yet"""
        counted = 0
        most = self._context.files.rename_max_objects
        longer_by = len(self._intent.target.encode()) - len(self._intent.source.encode())

        async def count(objects: Objects) -> None:
            nonlocal counted
            counted += len(objects)
            if counted > most:
                raise LimitReached(
                    f"{self._source.path}: more than {most} files are in this directory, too many "
                    "to rename it; see rename_max_objects"
                )
            for info in objects:
                if len(info.name.key.encode()) + longer_by > MAX_KEY_BYTES:
                    path = self._suffix(info)
                    raise InvalidPath(f"{path}: its path would be longer than S3 allows")

        await self._each_page(count, MAX_LISTED_KEYS)

    async def _each_page(self, work: Callable[[Objects], Awaitable[None]], limit: int) -> None:
        async for page in all_pages(self._store, self._bucket, self._intent.source, limit=limit):
            await work(self._visible(page.objects))

    def _visible(self, objects: Objects) -> Objects:
        root = self._source.mount
        return tuple(info for info in objects if not is_hidden(root, info.name.key))

    async def _copy_page(self, listed: Objects) -> None:
        if not listed:
            return
        found: list[ObjectInfo] = []

        async def look(info: ObjectInfo) -> None:
            try:
                found.append(await self._store.head(info.name, with_checksum=True))
            except NoSuchObject:
                return

        await in_parallel(look, listed, AT_ONCE)
        self._has_marker |= any(info.name == self._source.marker for info in found)
        number = len(self._pages) + 1
        entries = tuple(
            Entry(self._suffix(info), info.etag, info.modified_seconds) for info in found
        )
        self._pages += (number,)
        await self._record.write_page(number, entries)
        await in_parallel(self._copy_one, found, AT_ONCE)
        self._moved += len(found)

    async def _copy_one(self, info: ObjectInfo) -> None:
        suffix = self._suffix(info)
        target = ObjectName(self._bucket, self._intent.target + suffix)
        is_marked = self._intent.over_marker and not suffix
        condition = WriteCondition.NONE if is_marked else WriteCondition.IF_ABSENT
        began_seconds = self._context.clock.seconds()
        try:
            etag = await self._copier.copy(info, target, condition)
        except (NoSuchObject, PreconditionFailed):
            raise await self._why_not(suffix, target) from None
        self._context.copied(info, target, etag, began_seconds)
        if self._context.transfers.is_edited(info):
            self._edited.append((info, replace(info, name=target, etag=etag)))

    async def _why_not(self, suffix: str, target: ObjectName) -> AlreadyExists | ObjectChanged:
        try:
            with suppress(AccessDenied):  # then it is there
                await self._store.head(target)
        except NoSuchObject:
            return ObjectChanged(
                f"{self._source.path}/{suffix}: was changed while the directory was being "
                "renamed; nothing was renamed, try again"
            )
        return AlreadyExists(f"{self._target.path}/{suffix}: exists already")

    def _suffix(self, info: ObjectInfo) -> str:
        return info.name.key.removeprefix(self._intent.source)

    # From the outcome on.

    async def _delete(self) -> None:
        self._take_uploads_along()
        try:
            spared = await self._finish(Outcome.MOVED)
            await self._remove_record()
            is_left = await self._anything_left_of_source()
        except StoreError as error:
            self._tell_left(error.message)
            raise StoreTrouble(
                f"{self._target.path}: everything is here now, but not all of it could be removed "
                f"from {self._source.path}; the gateway will do that later"
            ) from None
        if spared or is_left:
            self._context.events.emit(
                RenameSparedFiles(
                    key=self._intent.source,
                    new_key=self._intent.target,
                    replaced=spared,
                    bucket=self._bucket,
                    path=self._source.path,
                )
            )
            raise ObjectChanged(
                f"{self._source.path}: was renamed, but files that were stored here meanwhile are "
                "left under the old name"
            )

    async def _finish(self, outcome: Outcome) -> int:
        finished = await self._completer.finish(self._record, self._pages, self._intent, outcome)
        return finished.spared

    def _take_uploads_along(self) -> None:
        """Files that are being written move with their directory, as far as they can."""
        transfers = self._context.transfers
        may_replace = allows(self._target, Operation.OVERWRITE)
        for before, after in self._edited:
            transfers.rebased(before, after)
        for upload in transfers.writing_under(self._bucket, self._intent.source):
            key = self._intent.target + upload.name.key.removeprefix(self._intent.source)
            if upload.is_movable and len(key.encode()) <= MAX_KEY_BYTES:
                upload.rename(ObjectName(self._bucket, key), may_replace=may_replace)

    async def _anything_left(self) -> bool:
        page = await self._store.list(self._bucket, self._intent.source, limit=10)
        return bool(self._visible(page.objects))

    async def _anything_left_of_source(self) -> bool:
        """A LIST, and a DELETE where there was no marker; more where something is left.

        That may be objects of others, or folders that the store keeps.
        """
        source = self._intent.source
        page = await self._store.list(self._bucket, source, delimiter="/", limit=10)
        if page.prefixes or self._visible(page.objects):
            await self._completer.clear_folders(self._intent, Outcome.MOVED)
            return await self._anything_left()
        if not self._has_marker:
            await self._store.delete(self._source.marker)
        return False

    def _tell_left(self, reason: str) -> None:
        self._context.events.emit(
            RenameLeftBehind(
                key=self._intent.source,
                new_key=self._intent.target,
                reason=reason,
                bucket=self._bucket,
                path=self._source.path,
            )
        )
