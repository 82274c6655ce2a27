"""Renaming a directory: every key below it gets another prefix.

Knows: the order of requests in which nothing is lost, wherever it is interrupted.
Must not know: SFTP; what may be at the target, which its caller checks.

Rules (those of the journal are in `files/renames/plan`)

1. The intent is written first. If another rename of the same keys is in progress, this one is
   refused; if it was interrupted, it is settled first (`files/renames/exclusion`).
2. All objects are counted before the first is copied: there may be too many of them, or a new key
   may be too long.
3. Then, page by page: a HEAD for each object, the versions into the journal, a copy of each object
   unless its new key is taken. Memory holds one page, however large the directory is.
4. When all copies exist, the outcome is written. Open files get their new names. Only then the
   versions that were copied are deleted.
5. If anything fails before the outcome, the copies are deleted, and the source is as it was.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
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
from sftpgw.files.quotas.plan.usage import NOTHING_STORED, Usage, usage_of
from sftpgw.files.quotas.session_quotas import DirectoryMove
from sftpgw.files.renames.exclusion import RenameExclusion
from sftpgw.files.renames.journal import RenameJournal, start_heartbeat
from sftpgw.files.renames.plan import Entry, Intent, Outcome, journal_id, journals_prefix
from sftpgw.files.renames.settler import CONCURRENT_REQUESTS, RenameSettler
from sftpgw.files.session_context import SessionContext
from sftpgw.model.events.file_events import RenameLeftBehind, RenameSparedFiles
from sftpgw.model.limits import MAX_KEY_BYTES, MAX_LISTED_KEYS
from sftpgw.model.store import ObjectInfo, ObjectName, WriteCondition
from sftpgw.model.units import KIB

PAGE_OBJECTS = 200
PAGE_BYTES = 512 * KIB
"""The memory of a page if all its keys are as long as keys can be."""

Objects = tuple[ObjectInfo, ...]


class DirectoryRename:
    """One rename of a directory.

    :param source: the directory.
    :param target: its new location.
    :param context: the objects that the session's files use.
    :param copier: copies and verifies single objects.
    :param settler: carries out the outcome.
    """

    def __init__(
        self,
        source: Location,
        target: Location,
        *,
        context: SessionContext,
        copier: Copier,
        settler: RenameSettler,
    ) -> None:
        self._source = source
        self._target = target
        self._context = context
        self._store = context.store
        self._copier = copier
        self._settler = settler
        self._bucket = source.bucket
        self._intent = Intent(self._bucket, source.prefix, target.prefix)
        journals = journals_prefix(context.settings_of(self._bucket).state_prefix)
        key_prefix = f"{journals}{journal_id(token_hex(12), self._intent)}/"
        self._journal = RenameJournal(self._store, self._bucket, key_prefix)
        self._exclusion = RenameExclusion(context, self._journal, settler)
        self._heartbeat: PeriodicTask | None = None
        self._pages: tuple[int, ...] = ()
        self._moved = 0
        self._moved_usage = NOTHING_STORED
        self._quota_move: DirectoryMove | None = None
        if context.quotas is not None:
            self._quota_move = context.quotas.begin_directory_move(source.marker, target.marker)
        self._is_moved = False
        self._has_marker = False
        self._edited: list[tuple[ObjectInfo, ObjectInfo]] = []
        """Base objects of open files: each original, and its copy."""

    async def move(
        self,
        *,
        require_free: Callable[[], Awaitable[bool]],
        on_copied: Callable[[], Awaitable[None]],
    ) -> int:
        """Rename the directory. Returns the number of objects that were moved.

        :param require_free: raises unless the target may be taken; returns whether it has a marker.
        :param on_copied: is called when all copies exist, before anything is deleted.
        :raises FileError, StoreError: the source is as it was, unless the message says otherwise.
        """
        if not self._context.budget.try_charge(PAGE_BYTES):
            raise LimitReached(
                "there is no memory ([limits] memory) to rename a directory now; try again"
            )
        try:
            await self._write_intent()
            self._heartbeat = start_heartbeat(
                self._renew_lease, self._context.clock, self._context.events
            )
            if await self._copy(require_free, on_copied):
                await self._delete_source()
        finally:
            if self._heartbeat is not None:
                self._heartbeat.stop()
            self._context.budget.release(PAGE_BYTES)
            if self._quota_move is not None:
                self._quota_move.end(self._moved_usage if self._is_moved else NOTHING_STORED)
        return self._moved

    async def _write_intent(self) -> None:
        await self._journal.write_intent(self._intent)

    async def _renew_lease(self) -> None:
        await self._journal.renew(self._intent)

    async def _remove_journal(self) -> None:
        """Stop the heartbeat before: an intent written later would only keep others away."""
        if self._heartbeat is not None:
            await self._heartbeat.finish()
        await self._journal.remove(self._pages)

    # Up to the outcome.

    async def _copy(
        self,
        require_free: Callable[[], Awaitable[bool]],
        on_copied: Callable[[], Awaitable[None]],
    ) -> bool:
        """Copy all objects. Returns whether the outcome is *moved*, so that the source must go.

        It need not if an interrupted rename of the same directories was settled, which has moved
        all of it.
        """
        try:
            was_moved = await self._exclusion.require(self._intent, self._source.path)
            if was_moved and not await self._is_anything_left():
                await self._remove_journal()
                return False
            if await require_free():
                self._intent = replace(self._intent, over_marker=True)
                await self._write_intent()
            await self._check_size()
            await self._for_each_page(self._copy_page, PAGE_OBJECTS)
            await on_copied()
            if await self._journal.decide(Outcome.MOVED) is not Outcome.MOVED:
                raise ObjectChanged("another gateway has given this rename up; try again")
        except Exception:
            if await self._roll_back():
                raise
        return True

    async def _roll_back(self) -> bool:
        """Delete the copies. Returns False if the outcome is *moved*: then the rename goes on."""
        try:
            if self._pages:
                if await self._journal.decide(Outcome.ABANDONED) is Outcome.MOVED:
                    return False
                if not await self._exclusion.holds(self._intent):
                    self._emit_left_behind("others rename the same files by now")
                    return True
                await self._settle(Outcome.ABANDONED)
                await self._settler.clear_ghosts(self._intent, Outcome.ABANDONED)
            await self._remove_journal()
        except GatewayError as error:
            self._emit_left_behind(error.message)
        return True

    async def _check_size(self) -> None:
        """:raises LimitReached: there are too many objects, or no quota has space for them.
        :raises InvalidPath: a new key would be too long.
        """
        counted = 0
        total = NOTHING_STORED
        max_objects = self._context.files.rename_max_objects
        longer_by = len(self._intent.target.encode()) - len(self._intent.source.encode())

        async def check(objects: Objects) -> None:
            nonlocal counted, total
            counted += len(objects)
            total += _usage_of(objects)
            if counted > max_objects:
                raise LimitReached(
                    f"{self._source.path}: more than {max_objects} files are in this directory, "
                    "too many to rename it; see [files] rename_max_objects"
                )
            for info in objects:
                if len(info.name.key.encode()) + longer_by > MAX_KEY_BYTES:
                    path = self._suffix(info)
                    raise InvalidPath(f"{path}: its path would be longer than S3 allows")

        await self._for_each_page(check, MAX_LISTED_KEYS)
        if self._quota_move is not None:
            self._quota_move.reserve(total)

    async def _for_each_page(self, work: Callable[[Objects], Awaitable[None]], limit: int) -> None:
        async for page in all_pages(self._store, self._bucket, self._intent.source, limit=limit):
            await work(self._visible(page.objects))

    def _visible(self, objects: Objects) -> Objects:
        mount = self._source.mount
        return tuple(info for info in objects if not is_hidden(mount, info.name.key))

    async def _copy_page(self, listed: Objects) -> None:
        if not listed:
            return
        found: list[ObjectInfo] = []

        async def look(info: ObjectInfo) -> None:
            try:
                found.append(await self._store.head(info.name, with_checksum=True))
            except NoSuchObject:
                return

        await in_parallel(look, listed, CONCURRENT_REQUESTS)
        self._has_marker |= any(info.name == self._source.marker for info in found)
        number = len(self._pages) + 1
        entries = tuple(
            Entry(self._suffix(info), info.etag, info.modified_seconds) for info in found
        )
        self._pages += (number,)
        await self._journal.write_page(number, entries)
        await in_parallel(self._copy_object, found, CONCURRENT_REQUESTS)
        self._moved += len(found)
        self._moved_usage += _usage_of(found)

    async def _copy_object(self, info: ObjectInfo) -> None:
        suffix = self._suffix(info)
        target = ObjectName(self._bucket, self._intent.target + suffix)
        replaces_marker = self._intent.over_marker and not suffix
        condition = WriteCondition.NONE if replaces_marker else WriteCondition.IF_ABSENT
        began_seconds = self._context.clock.seconds()
        try:
            etag = await self._copier.copy(info, target, condition)
        except (NoSuchObject, PreconditionFailed):
            raise await self._copy_error(suffix, target) from None
        self._context.copied(info, target, etag, began_seconds)
        if self._context.transfers.is_edited(info):
            self._edited.append((info, replace(info, name=target, etag=etag)))

    async def _copy_error(self, suffix: str, target: ObjectName) -> AlreadyExists | ObjectChanged:
        """The error for a copy whose conditions did not hold."""
        try:
            with suppress(AccessDenied):  # a HEAD that is denied means that it exists
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

    async def _delete_source(self) -> None:
        self._is_moved = True
        self._move_uploads()
        try:
            spared = await self._settle(Outcome.MOVED)
            await self._remove_journal()
            is_anything_left = await self._clear_source()
        except StoreError as error:
            self._emit_left_behind(error.message)
            raise StoreTrouble(
                f"{self._target.path}: everything is here now, but not all of it could be removed "
                f"from {self._source.path}; the gateway will do that later"
            ) from None
        if spared or is_anything_left:
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

    async def _settle(self, outcome: Outcome) -> int:
        """Carry out the outcome. Returns the number of objects that were spared."""
        settled = await self._settler.settle(self._journal, self._pages, self._intent, outcome)
        return settled.spared

    def _move_uploads(self) -> None:
        """Give open files their new names, except where the key would be too long."""
        transfers = self._context.transfers
        may_replace = allows(self._target, Operation.OVERWRITE)
        for before, after in self._edited:
            transfers.rebased(before, after)
        for upload in transfers.writing_under(self._bucket, self._intent.source):
            key = self._intent.target + upload.name.key.removeprefix(self._intent.source)
            if upload.is_movable and len(key.encode()) <= MAX_KEY_BYTES:
                upload.rename(ObjectName(self._bucket, key), may_replace=may_replace)

    async def _clear_source(self) -> bool:
        """Remove a ghost directory from the source. Returns whether objects are left there.

        A LIST, and a DELETE of the marker where there was none. More requests only if something is
        left: objects that others have stored, or ghost directories.
        """
        source = self._intent.source
        page = await self._store.list(self._bucket, source, delimiter="/", limit=10)
        if page.prefixes or self._visible(page.objects):
            await self._settler.clear_ghosts(self._intent, Outcome.MOVED)
            return await self._is_anything_left()
        if not self._has_marker:
            await self._store.delete(self._source.marker)
        return False

    async def _is_anything_left(self) -> bool:
        page = await self._store.list(self._bucket, self._intent.source, limit=10)
        return bool(self._visible(page.objects))

    def _emit_left_behind(self, reason: str) -> None:
        self._context.events.emit(
            RenameLeftBehind(
                key=self._intent.source,
                new_key=self._intent.target,
                reason=reason,
                bucket=self._bucket,
                path=self._source.path,
            )
        )


def _usage_of(objects: Iterable[ObjectInfo]) -> Usage:
    """What objects count in quotas together."""
    return sum((usage_of(info.name.key, info.size_bytes) for info in objects), NOTHING_STORED)
