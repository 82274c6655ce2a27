"""The times of folders, which their markers keep.

Knows: which requests tell a folder's time, and which set it.
Must not know: who may do it, SFTP.

A folder that is only a prefix has no time, and none is told. One with a marker has the time that
was stored with it (``x-amz-meta-mtime``), or else the marker's own date. A time that is set on a
folder without a marker makes one: it lives on without files then, as on a disk.
"""

from __future__ import annotations

from dataclasses import replace

from sftpgw.errors import NoSuchObject, ObjectChanged, PreconditionFailed, StoreError
from sftpgw.files.copies.copier import Copier
from sftpgw.files.copies.preserved_properties import MTIME, mtime_text
from sftpgw.files.listing.markers import MARKER, is_empty_marker
from sftpgw.files.listing.plan import modified_seconds
from sftpgw.files.mtimes.setter import MtimeSetter
from sftpgw.files.paths import Location
from sftpgw.files.session_context import SessionContext
from sftpgw.model.events.file_events import TimeSet
from sftpgw.model.settings import ExactTimes, LateTimes
from sftpgw.model.store import ObjectInfo, WriteCondition


class DirectoryMtimes:
    """Tells and sets the times of folders for one session."""

    def __init__(self, context: SessionContext, mtime_setter: MtimeSetter, copier: Copier) -> None:
        self._store = context.store
        self._transfers = context.transfers
        self._known = context.times
        self._clock = context.clock
        self._events = context.events
        self._mtime_setter = mtime_setter
        self._copier = copier
        self._is_exact = context.files.exact_times is not ExactTimes.NO
        self._are_ignored = context.files.late_times is LateTimes.IGNORE

    async def of(self, marker: ObjectInfo | None) -> float | None:
        """The time of a folder. A HEAD, unless it is known or exact times are not wanted.

        :param marker: as a list has just told; None if there is none. Where it cannot be looked at,
            its date in that list is the time.
        """
        if marker is None:
            return None
        if not self._is_exact:
            return marker.modified_seconds
        if (known := self._known.find(marker)) is not None:
            return known
        try:
            told = await self._store.head(marker.name)
        except NoSuchObject:
            return None
        except StoreError:
            return marker.modified_seconds
        self._known.learn(marker, told, self._clock.seconds())
        return modified_seconds(told)

    async def set(self, location: Location, seconds: float) -> None:
        """Set the time of a folder that exists. A HEAD and a PUT.

        Does nothing with `[files] late_times = ignore`.

        :raises ObjectChanged: its marker was made by somebody else at the same moment.
        :raises StoreError:
        """
        if self._are_ignored:
            return
        async with self._transfers.in_turn(location.marker):
            is_set = await self._set(location, seconds)
        self._known.forget_folder(location.marker)  # what is shown is what the store has kept
        if is_set:
            self._events.emit(
                TimeSet(key=location.prefix, bucket=location.bucket, path=location.path)
            )

    async def _set(self, location: Location, seconds: float) -> bool:
        """Whether it was another one before."""
        try:
            info = await self._store.head(location.marker)
        except NoSuchObject:
            await self._make(location, seconds)
            return True
        if int(modified_seconds(info)) == int(seconds):
            return False
        if is_empty_marker(info):
            await self._copier.put_marker(info, location.marker, modified_seconds=seconds)
        else:  # its bytes are somebody's
            await self._mtime_setter.set_in_turn(info, seconds, location.path)
        return True

    async def _make(self, location: Location, seconds: float) -> None:
        properties = replace(MARKER, metadata={MTIME: mtime_text(seconds)})
        try:
            await self._store.put(location.marker, (), properties, WriteCondition.IF_ABSENT)
        except PreconditionFailed:
            raise ObjectChanged(
                f"{location.path}: the folder was made by somebody else while its time was being "
                f"set"
            ) from None
