"""Giving a file another name: a copy, then a delete.

Knows: the order of requests that loses nothing, and their conditions.
Must not know: SFTP, or who may do it beyond what it is told.
"""

from __future__ import annotations

from sftpgw.errors import (
    AlreadyExists,
    IsADirectory,
    LimitReached,
    NoSuchFile,
    ObjectChanged,
    PreconditionFailed,
    Unsupported,
)
from sftpgw.files.looking import Looking
from sftpgw.files.resources import Resources
from sftpgw.plan.paths import Place
from sftpgw.plan.permissions import Operation, allows, require
from sftpgw.values import GIB, ObjectInfo, Permission, WriteCondition

COPY_LIMIT_BYTES = 5 * GIB


class Renaming:
    """Renames for one session of one user, who has been `granted` these permissions."""

    def __init__(self, granted: Permission, looking: Looking, resources: Resources) -> None:
        self._granted = granted
        self._looking = looking
        self._store = resources.store
        self._in_flight = resources.in_flight
        self._events = resources.events

    async def rename(self, source_place: Place, target: Place, *, replace: bool) -> None:
        """:raises FileError, StoreError: and both names are as they were, or the source is left."""
        source = await self._looking.file(source_place)
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
        self._looking.changed(emptied=source_place.parent)

    async def _no_renaming(self, place: Place) -> NoSuchFile | Unsupported:
        if place.is_root or await self._looking.is_directory(place):
            return Unsupported(f"{place.path}: directories cannot be renamed")
        return NoSuchFile(f"{place.path}: no such file")

    async def _demand_free(self, target: Place, *, replace: bool) -> WriteCondition:
        """The condition under which the target may be written.

        :raises AlreadyExists, IsADirectory, PermissionDenied:
        """
        await self._in_flight.settled(target.file)
        may_replace = replace and allows(self._granted, Operation.OVERWRITE)
        if not may_replace and await self._looking.file(target) is not None:
            if replace:
                require(self._granted, Operation.OVERWRITE, target.path)
            raise AlreadyExists(f"{target.path}: the file exists already")
        if target.is_root or await self._looking.is_directory(target):
            raise IsADirectory(f"{target.path}: is a directory")
        return WriteCondition.NONE if may_replace else WriteCondition.IF_ABSENT

    async def _copy(self, source: ObjectInfo, target: Place, condition: WriteCondition) -> None:
        try:
            await self._store.copy(source, target.file, condition)
        except PreconditionFailed:
            exists = await self._looking.file(target) is not None
            if condition is WriteCondition.IF_ABSENT and exists:
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
