"""The mtimes of directories, which their markers hold.

Knows: which requests read and set the mtime of a directory.
Must not know: permissions, SFTP.

A directory that is only a prefix has no mtime, and none is shown. One with a marker has the mtime
in the marker's metadata (``x-amz-meta-mtime``), or else the marker's Last-Modified. Setting the
mtime of a directory without a marker creates one; after that it exists without files, too, as on a
disk.
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
    """Reads and sets the mtimes of directories for one session.

    :param context: the objects that the session's files use.
    :param mtime_setter: sets the mtime of a marker that holds bytes.
    :param copier: rewrites a marker.
    """

    def __init__(self, context: SessionContext, mtime_setter: MtimeSetter, copier: Copier) -> None:
        self._store = context.store
        self._transfers = context.transfers
        self._cache = context.times
        self._clock = context.clock
        self._events = context.events
        self._mtime_setter = mtime_setter
        self._copier = copier
        self._is_exact = context.files.exact_times is not ExactTimes.NO
        self._are_ignored = context.files.late_times is LateTimes.IGNORE

    async def of(self, marker: ObjectInfo | None) -> float | None:
        """The mtime of a directory. A HEAD, unless the cache has it or `exact_times` is off.

        :param marker: the marker as a list has just shown it; None if there is none. If its HEAD
            fails, the mtime is its Last-Modified.
        """
        if marker is None:
            return None
        if not self._is_exact:
            return marker.modified_seconds
        if (cached := self._cache.find(marker)) is not None:
            return cached
        try:
            info = await self._store.head(marker.name)
        except NoSuchObject:
            return None
        except StoreError:
            return marker.modified_seconds
        self._cache.put_looked_up(marker, info, self._clock.seconds())
        return modified_seconds(info)

    async def set(self, location: Location, seconds: float) -> None:
        """Set the mtime of a directory that exists. A HEAD and a PUT.

        With `[files] late_times = ignore` it does nothing.

        :param location: the directory.
        :param seconds: the mtime.
        :raises ObjectChanged: another client has created the marker at the same moment.
        :raises StoreError: a request failed.
        """
        if self._are_ignored:
            return
        async with self._transfers.in_turn(location.marker):
            is_set = await self._set(location, seconds)
        self._cache.forget_directory(location.marker)  # the store may round the mtime
        if is_set:
            self._events.emit(
                TimeSet(key=location.prefix, bucket=location.bucket, path=location.path)
            )

    async def _set(self, location: Location, seconds: float) -> bool:
        """Returns whether the mtime was another one before."""
        try:
            info = await self._store.head(location.marker)
        except NoSuchObject:
            await self._create_marker(location, seconds)
            return True
        if int(modified_seconds(info)) == int(seconds):
            return False
        if is_empty_marker(info):
            await self._copier.put_marker(info, location.marker, modified_seconds=seconds)
        else:  # its bytes stay
            await self._mtime_setter.set_known(info, seconds, location.path)
        return True

    async def _create_marker(self, location: Location, seconds: float) -> None:
        properties = replace(MARKER, metadata={MTIME: mtime_text(seconds)})
        try:
            await self._store.put(location.marker, (), properties, WriteCondition.IF_ABSENT)
        except PreconditionFailed:
            raise ObjectChanged(
                f"{location.path}: the directory was created by another client while its time was "
                "being set"
            ) from None
