"""Setting the times of files that are stored.

Knows: which requests that takes, what keeps them from undoing an overwrite, and when it
cannot be done at all.
Must not know: who may do it, SFTP.

Rules

1. SFTP has whole seconds: a time that is the stored one up to its fraction is set already.
2. Else the store copies the object onto itself, with all that it has restated. Source and
   target must still be what was looked at; where the store does not look at such
   conditions, at least the uploads of this process wait.
3. What is over 5 GiB or archived cannot be copied: `[files] setstat` decides.
4. `[files] late_times` decides whether it is done at all. What is deferred is shown by this
   process (`files/mtimes/cache`) and stored nowhere; what is ignored is not even that.
5. Times that come too late for an upload's metadata are set when it has been published,
   before its CLOSE is answered; so are those of a file that was opened to be edited, and then
   was not. The file is stored by then: if they cannot be set the log
   says so, and CLOSE succeeds.
"""

from __future__ import annotations

from dataclasses import replace

from sftpgw.errors import (
    FileError,
    LimitReached,
    ObjectArchived,
    ObjectChanged,
    PermissionDenied,
    PreconditionFailed,
    StoreError,
)
from sftpgw.files.copies.preserved_properties import is_archived, restated
from sftpgw.files.listing.plan import modified_seconds
from sftpgw.files.session_context import SessionContext
from sftpgw.model.events.file_events import TimeNotSet, TimeSet
from sftpgw.model.limits import MAX_COPY_BYTES
from sftpgw.model.settings import LateTimes, SetStat
from sftpgw.model.store import ObjectInfo, ObjectName

TOO_LARGE = "files over 5 GiB keep their time: S3 cannot copy them onto themselves"
ARCHIVED = "archived files keep their time: the object must be restored before it can change"


class MtimeSetter:
    """Sets times for one session."""

    def __init__(self, context: SessionContext) -> None:
        self._store = context.store
        self._transfers = context.transfers
        self._known = context.times
        self._clock = context.clock
        self._events = context.events
        self._late_times = context.files.late_times
        self._must_not_ignore = context.files.setstat is SetStat.FAIL

    async def set(self, name: ObjectName, seconds: float, path: str) -> None:
        """Set the time of a stored file, after the commits of it that are under way.

        :raises NoSuchObject: it is not stored.
        :raises LimitReached, PermissionDenied: it cannot be set, and that is not to be ignored.
        :raises ObjectChanged: somebody else has replaced the file.
        """
        async with self._transfers.in_turn(name):
            info = await self._store.head(name)
            await self._change(info, seconds, path)

    def demand_possible(self, size_bytes: int) -> None:
        """Whether an upload that has got so large can still be given a time at its end.

        :raises LimitReached: it cannot, and that is not to be ignored.
        """
        is_copied = self._late_times is LateTimes.APPLY
        if size_bytes > MAX_COPY_BYTES and self._must_not_ignore and is_copied:
            raise LimitReached(TOO_LARGE)

    async def published(
        self, stored: ObjectInfo, *, created_with: float | None, wanted: float | None
    ) -> None:
        """An upload was published; whoever stored it still holds its turn. Never raises.

        :param stored: its name, size and ETag, and when it was begun.
        :param created_with: the time in its metadata, None without one.
        :param wanted: the time that it shall have.
        """
        self._remember(stored, created_with)
        is_late = wanted is not None and wanted != created_with
        if wanted is not None and is_late and self._late_times is not LateTimes.IGNORE:
            await self.touched(stored, wanted)

    async def touched(self, stored: ObjectInfo, seconds: float) -> None:
        """Set the time of a file, unless it is another by now. Never raises.

        :param stored: as whoever asks, and holds its turn, has seen it last.
        """
        try:
            info = await self._store.head(stored.name)
            if info.etag.strip('"') == stored.etag.strip('"'):
                await self._change(info, seconds, stored.name.key)
        except (FileError, StoreError) as error:
            self._events.emit(
                TimeNotSet(key=stored.name.key, bucket=stored.name.bucket, reason=error.message)
            )

    async def set_in_turn(self, info: ObjectInfo, seconds: float, path: str) -> None:
        """As `set`, for whoever has the object's turn and has just looked at it."""
        await self._change(info, seconds, path)

    async def _change(self, info: ObjectInfo, seconds: float, path: str) -> None:
        if self._late_times is LateTimes.DEFER:
            self._known.defer(info, seconds)
        is_set = int(modified_seconds(info)) == int(seconds)
        if is_set or self._late_times is not LateTimes.APPLY:
            return
        if info.size_bytes > MAX_COPY_BYTES:
            self._give_up(LimitReached(f"{path}: {TOO_LARGE}"), info)
            return
        if is_archived(info):
            self._give_up(PermissionDenied(f"{path}: {ARCHIVED}"), info)
            return
        await self._copy(info, seconds, path)

    async def _copy(self, info: ObjectInfo, seconds: float, path: str) -> None:
        properties = restated(info, modified_seconds=seconds)
        began_seconds = self._clock.seconds()
        try:
            etag = await self._store.copy(
                info, info.name, properties=properties, if_match=info.etag
            )
        except PreconditionFailed:
            raise ObjectChanged(
                f"{path}: the file was replaced while its time was being set"
            ) from None
        except ObjectArchived:  # in a tier that HEAD does not name as its class
            self._give_up(PermissionDenied(f"{path}: {ARCHIVED}"), info)
            return
        # Whoever edits it edits the same bytes, though the ETag may be another.
        self._transfers.rebased(info, replace(info, etag=etag))
        self._remember(replace(info, etag=etag, modified_seconds=began_seconds), seconds)
        self._events.emit(TimeSet(key=info.name.key, bucket=info.name.bucket))

    def _give_up(self, why: FileError, info: ObjectInfo) -> None:
        """:raises FileError: `why`, unless that is to be ignored."""
        if self._must_not_ignore:
            raise why
        self._events.emit(
            TimeNotSet(key=info.name.key, bucket=info.name.bucket, reason=why.message)
        )

    def _remember(self, stored: ObjectInfo, mtime_seconds: float | None) -> None:
        now_seconds = self._clock.seconds()
        self._known.stored(stored, mtime_seconds=mtime_seconds, now_seconds=now_seconds)
