"""Copies one object within the store, of any size, with all its properties.

Knows: the requests of a copy, which properties must be stated, how a copy is verified.
Must not know: paths, users, or what becomes of the original.

Rules

1. Up to 5 GiB a copy is one CopyObject; a larger object is copied in parts, several at a time.
   Either way nothing is left out: metadata, tags, class, encryption. An mtime that was shown but
   not stored in metadata is stored from now on. An empty directory's marker is put anew: stores
   that keep files on a disk have directories there, which they do not copy.
2. The store is told which version is meant, and, if wanted, to replace nothing. Where the store
   ignores such conditions, the object was looked at directly before, which is all that can be done.
3. A copy counts when it is verified: by an ETag that is the MD5 of the same bytes, else by a HEAD
   that tells the same size, and the same checksum if both have one.
4. A copy that fails leaves no upload behind, and no object that differs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from sftpgw.aio.parallel import in_parallel
from sftpgw.errors import (
    CopiesLackChecksums,
    LimitReached,
    NoSuchObject,
    ObjectChanged,
    PreconditionFailed,
    StoreTrouble,
)
from sftpgw.files.copies.plan import PART_BYTES, copy_ranges, is_same, proves_same
from sftpgw.files.copies.preserved_properties import restated, untold_time
from sftpgw.files.listing.markers import is_empty_marker
from sftpgw.files.multipart_abort import abort_or_report
from sftpgw.files.transfers.registry import TransferRegistry
from sftpgw.model.events import EventSink
from sftpgw.model.events.file_events import CopyDiffered
from sftpgw.model.limits import MAX_COPY_BYTES
from sftpgw.model.store import (
    NO_METADATA,
    ByteRange,
    MultipartUpload,
    ObjectInfo,
    ObjectName,
    ObjectProperties,
    ObjectStore,
    StoredPart,
    WriteCondition,
)


class Copier:
    """Copies objects.

    :param store: where they are.
    :param transfers: the process's registry; its uploads wait for deletions.
    :param events: told of uploads that are left behind, and of copies that differ.
    :param limit_bytes: up to this size one request copies an object.
    :param part_bytes: how much each request copies of a larger one.
    :param at_once: how many parts of one object are copied at the same time.
    """

    def __init__(
        self,
        store: ObjectStore,
        transfers: TransferRegistry,
        events: EventSink,
        *,
        limit_bytes: int = MAX_COPY_BYTES,
        part_bytes: int = PART_BYTES,
        at_once: int = 8,
    ) -> None:
        self._store = store
        self._transfers = transfers
        self._events = events
        self._limit_bytes = limit_bytes
        self._part_bytes = part_bytes
        self._at_once = at_once

    async def copy(
        self,
        source: ObjectInfo,
        target: ObjectName,
        condition: WriteCondition = WriteCondition.NONE,
    ) -> str:
        """Copy an object, and verify the copy. Returns its ETag.

        :param source: the object, as HEAD has just described it, with its checksum.
        :param target: the name of the copy.
        :param condition: what must hold when the copy is stored.
        :raises PreconditionFailed: the source is another version, or the target exists.
        :raises LimitReached: the store cannot copy parts, and the object needs several.
        :raises StoreTrouble: the copy differs, and was removed.
        """
        if source.size_bytes > self._limit_bytes:
            etag = await self._copy_parts(source, target, condition)
        elif is_empty_marker(source):
            etag = await self.put_marker(
                source, target, condition, modified_seconds=untold_time(source)
            )
        else:
            seconds = untold_time(source)
            properties = restated(source, modified_seconds=seconds) if seconds else None
            etag = await self._store.copy(source, target, condition, properties)
        if not proves_same(source.etag, etag):
            await self._verify(source, target, etag)
        return etag

    async def put_marker(
        self,
        source: ObjectInfo,
        target: ObjectName,
        condition: WriteCondition = WriteCondition.NONE,
        *,
        modified_seconds: float | None = None,
    ) -> str:
        """Store a directory marker with all properties of `source`. Returns its ETag.

        :param source: a marker.
        :param target: the name of the new one.
        :param condition: what must hold when it is stored.
        :param modified_seconds: a new mtime; None preserves the old one.
        """
        properties = restated(
            source, modified_seconds=modified_seconds, tags=await self._tags(source)
        )
        if source.storage_class == "STANDARD":  # stores without classes know none by name
            properties = replace(properties, storage_class="")
        return await self._store.put(target, (), properties, condition)

    async def delete_version(
        self, name: ObjectName, etag: str, *, is_in_turn: bool = False
    ) -> None:
        """Delete an object if it still is this version.

        :param name: the object.
        :param etag: the version.
        :param is_in_turn: whether other commits of this object wait for the caller already.
        :raises PreconditionFailed: it is another version.
        """
        able = await self._store.learn_capabilities(name.bucket)
        if able.conditional_delete and etag:  # s3proxy has none for markers
            await self._store.delete(name, if_match=etag)
        elif is_in_turn:
            await self._delete_if_found(name, etag)
        else:
            await self._delete_in_turn(name, etag)

    async def _delete_in_turn(self, name: ObjectName, etag: str) -> None:
        """The store ignores the condition, so that the uploads of this process wait instead."""
        async with self._transfers.in_turn(name):
            await self._delete_if_found(name, etag)

    async def _delete_if_found(self, name: ObjectName, etag: str) -> None:
        try:
            found = await self._store.head(name)
            if found.etag != etag:
                raise PreconditionFailed("it was replaced", code="PreconditionFailed")
            await self._store.delete(name, if_match=etag or None)
        except NoSuchObject:
            return

    # In parts.

    async def _copy_parts(
        self, source: ObjectInfo, target: ObjectName, condition: WriteCondition
    ) -> str:
        able = await self._store.learn_capabilities(target.bucket)
        if not able.part_copy:
            raise LimitReached(
                f"this store cannot copy files over {self._limit_bytes} bytes, so they cannot be "
                "renamed"
            )
        tags = await self._tags(source)
        properties = restated(source, modified_seconds=untold_time(source), tags=tags)
        try:
            return await self._assembled(source, target, properties, condition)
        except CopiesLackChecksums:  # that is known from now on
            return await self._assembled(source, target, properties, condition)

    async def _tags(self, source: ObjectInfo) -> Mapping[str, str]:
        return await self._store.tags(source.name) if source.tag_count else NO_METADATA

    async def _assembled(
        self,
        source: ObjectInfo,
        target: ObjectName,
        properties: ObjectProperties,
        condition: WriteCondition,
    ) -> str:
        upload = await self._store.create_upload(target, properties, copies=True)
        self._transfers.pinned.add(upload)
        try:
            parts = await self._parts(upload, source)
            return await self._store.complete_upload(upload, parts, condition)
        except Exception:
            await self._abort(upload)
            raise
        finally:
            self._transfers.pinned.discard(upload)

    async def _parts(self, upload: MultipartUpload, source: ObjectInfo) -> tuple[StoredPart, ...]:
        stored: list[StoredPart] = []

        async def copy_one(numbered: tuple[int, ByteRange]) -> None:
            number, wanted = numbered
            stored.append(await self._store.copy_part(upload, number, source, wanted))

        ranges = copy_ranges(source.size_bytes, part_bytes=self._part_bytes)
        await in_parallel(copy_one, enumerate(ranges, 1), self._at_once)
        return tuple(sorted(stored, key=lambda part: part.number))

    async def _abort(self, upload: MultipartUpload) -> None:
        await abort_or_report(self._store, self._events, upload)

    # Verifying.

    async def _verify(self, source: ObjectInfo, target: ObjectName, etag: str) -> None:
        """Check that the copy, which has this ETag, is the same."""
        try:
            copied = await self._store.head(target, with_checksum=True)
        except NoSuchObject:
            raise ObjectChanged("the copy was removed by another client meanwhile") from None
        if is_same(source, copied):
            return
        if copied.etag != etag:
            raise ObjectChanged("the new name was given to another file meanwhile")
        await self._store.delete(target, if_match=etag)
        self._events.emit(
            CopyDiffered(key=source.name.key, new_key=target.key, bucket=target.bucket)
        )
        raise StoreTrouble("the store has not copied the file as it was, so it was left there")
