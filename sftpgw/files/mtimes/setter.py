"""Setting the mtimes of stored files.

Knows: which requests that takes, what keeps them from undoing an overwrite, when it is impossible.
Must not know: permissions, SFTP.

Rules

1. SFTP has whole seconds. An mtime that differs from the stored one only by a fraction of a second
   is set already.
2. Otherwise the store copies the object onto itself, with all its properties restated. Source and
   target must be the version that was looked at. Where the store does not check such conditions,
   at least the uploads of this process wait.
3. An object over 5 GiB, or an archived one, cannot be copied: `[files] setstat` decides whether
   that is an error.
4. `[files] late_times` decides whether an mtime is set at all. With *defer* this process shows it
   (`files/mtimes/cache`) but does not store it; with *ignore* it is dropped.
5. An mtime that arrives too late for the metadata of an upload is set after the upload was
   published, before CLOSE is answered; so is that of a file that was opened for editing and not
   changed. The file is stored by then: if its mtime cannot be set, there is an event, and CLOSE
   succeeds.
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
    """Sets the mtimes of files for one session.

    :param context: the objects that the session's files use.
    """

    def __init__(self, context: SessionContext) -> None:
        self._store = context.store
        self._transfers = context.transfers
        self._cache = context.times
        self._clock = context.clock
        self._events = context.events
        self._late_times = context.files.late_times
        self._must_not_ignore = context.files.setstat is SetStat.FAIL

    async def set(self, name: ObjectName, seconds: float, path: str) -> None:
        """Set the mtime of a stored file, after the commits of it that are in progress.

        :param name: the object.
        :param seconds: the mtime.
        :param path: the file, for messages.
        :raises NoSuchObject: it does not exist.
        :raises LimitReached, PermissionDenied: it cannot be copied, and `setstat` is `fail`.
        :raises ObjectChanged: it was replaced meanwhile.
        """
        async with self._transfers.in_turn(name):
            info = await self._store.head(name)
            await self.set_known(info, seconds, path)

    def require_possible(self, size_bytes: int) -> None:
        """Check that the mtime of an upload could still be set after its end.

        :param size_bytes: the size of the upload so far.
        :raises LimitReached: it is too large to be copied, and `setstat` is `fail`.
        """
        is_copied = self._late_times is LateTimes.APPLY
        if size_bytes > MAX_COPY_BYTES and self._must_not_ignore and is_copied:
            raise LimitReached(TOO_LARGE)

    async def on_published(
        self, stored: ObjectInfo, *, created_with: float | None, wanted: float | None
    ) -> None:
        """Cache the mtime of a published upload, and set it if it came late. Never raises.

        The caller is in its turn (`TransferRegistry.in_turn`).

        :param stored: its name, size and ETag, with the time of its OPEN as its date.
        :param created_with: the mtime in its metadata; None if there is none.
        :param wanted: the mtime that the client has set; None if it has set none.
        """
        self._cache_stored(stored, created_with)
        is_late = wanted is not None and wanted != created_with
        if wanted is not None and is_late and self._late_times is not LateTimes.IGNORE:
            await self.set_if_same(stored, wanted)

    async def set_if_same(self, stored: ObjectInfo, seconds: float) -> None:
        """Set the mtime of a file, unless it was replaced. Never raises.

        :param stored: the version; the caller is in its turn.
        :param seconds: the mtime.
        """
        try:
            info = await self._store.head(stored.name)
            if info.etag.strip('"') == stored.etag.strip('"'):
                await self.set_known(info, seconds, stored.name.key)
        except (FileError, StoreError) as error:
            self._events.emit(
                TimeNotSet(key=stored.name.key, bucket=stored.name.bucket, reason=error.message)
            )

    async def set_known(self, info: ObjectInfo, seconds: float, path: str) -> None:
        """As `set`, for a caller that is in the object's turn and has just sent a HEAD.

        :param info: the object as the HEAD shows it.
        :param seconds: the mtime.
        :param path: the file, for messages.
        """
        if self._late_times is LateTimes.DEFER:
            self._cache.defer(info, seconds)
        is_set = int(modified_seconds(info)) == int(seconds)
        if is_set or self._late_times is not LateTimes.APPLY:
            return
        if info.size_bytes > MAX_COPY_BYTES:
            self._refuse(LimitReached(f"{path}: {TOO_LARGE}"), info)
            return
        if is_archived(info):
            self._refuse(PermissionDenied(f"{path}: {ARCHIVED}"), info)
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
        except ObjectArchived:  # HEAD does not show every archive tier
            self._refuse(PermissionDenied(f"{path}: {ARCHIVED}"), info)
            return
        # Edits of it go on: the bytes are the same, even if the ETag is another.
        self._transfers.rebased(info, replace(info, etag=etag))
        self._cache_stored(replace(info, etag=etag, modified_seconds=began_seconds), seconds)
        self._events.emit(TimeSet(key=info.name.key, bucket=info.name.bucket))

    def _refuse(self, error: FileError, info: ObjectInfo) -> None:
        """:raises FileError: `error`, if `setstat` is `fail`; else there is an event."""
        if self._must_not_ignore:
            raise error
        self._events.emit(
            TimeNotSet(key=info.name.key, bucket=info.name.bucket, reason=error.message)
        )

    def _cache_stored(self, stored: ObjectInfo, mtime_seconds: float | None) -> None:
        now_seconds = self._clock.seconds()
        self._cache.put_stored(stored, mtime_seconds=mtime_seconds, now_seconds=now_seconds)
