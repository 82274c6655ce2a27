"""One object's copy within the store, of any size, as good as the original.

Knows: the requests that a copy takes, what must be restated, how it is verified.
Must not know: paths, users, or what becomes of the original.

Rules

1. Up to 5 GiB a copy is one CopyObject, beyond that parts, copied side by side. Either way
   nothing is left out: metadata, tags, class, encryption. A time that was never stored with
   the object, but shown, is from now on. An empty directory's marker is put anew: stores that
   keep files on a disk have directories there, which they do not copy.
2. The store is told which version is meant, and, if so wanted, to replace nothing; where
   it cannot be told, it was looked at just before, and that is all that can be done.
3. A copy counts when it is proved: by an ETag that is the MD5 of the same bytes, else by a
   HEAD that tells the same size, and the same checksum if there are two to compare.
4. What fails leaves no upload behind, and no copy that is not the same.
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
    StoreError,
    StoreTrouble,
)
from sftpgw.files.copies.plan import PART_BYTES, copy_ranges, is_same, proves_same
from sftpgw.files.copies.preserved_properties import restated, untold_time
from sftpgw.files.listing.markers import is_empty_marker
from sftpgw.files.transfers.registry import TransferRegistry
from sftpgw.model.events import EventSink
from sftpgw.model.events.file_events import CopyDiffered
from sftpgw.model.events.upload_events import UploadLeftBehind, store_failure_facts
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

    :param limit_bytes: up to here one request copies an object.
    :param part_bytes: beyond that, what a request copies.
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
        """Returns the copy's ETag when it is verified.

        :param source: as HEAD has just told, with its checksum.
        :raises PreconditionFailed: the source is another, or the target exists.
        :raises LimitReached: the store can copy no parts, and the object has several.
        :raises StoreTrouble: what came out is not the same, and was removed.
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
        """Store a marker with all that `source` has, which is one, and its ETag.

        :param modified_seconds: a new time, None keeps the old.
        """
        properties = restated(
            source, modified_seconds=modified_seconds, tags=await self._tags(source)
        )
        if source.storage_class == "STANDARD":  # stores without classes know none by name
            properties = replace(properties, storage_class="")
        return await self._store.put(target, (), properties, condition)

    async def delete_version(self, name: ObjectName, etag: str, *, has_turn: bool = False) -> None:
        """Delete an object if it still is this version.

        :param has_turn: other commits of this object wait for the caller already.
        :raises PreconditionFailed: it is another.
        """
        able = await self._store.learn_capabilities(name.bucket)
        if able.conditional_delete and etag:  # s3proxy has none for markers
            await self._store.delete(name, if_match=etag)
        elif has_turn:
            await self._delete_if_found(name, etag)
        else:
            await self._delete_in_turn(name, etag)

    async def _delete_in_turn(self, name: ObjectName, etag: str) -> None:
        """What the store does not decide is decided here; this process's uploads wait for it."""
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
        try:
            await self._store.abort_upload(upload)
        except StoreError as error:
            self._events.emit(
                UploadLeftBehind(
                    key=upload.name.key,
                    bucket=upload.name.bucket,
                    upload_id=upload.upload_id,
                    **store_failure_facts(error),
                )
            )

    # Verifying.

    async def _verify(self, source: ObjectInfo, target: ObjectName, etag: str) -> None:
        """Demand that the copy, which has this ETag, is the same."""
        try:
            copied = await self._store.head(target, with_checksum=True)
        except NoSuchObject:
            raise ObjectChanged("the copy was removed by somebody else meanwhile") from None
        if is_same(source, copied):
            return
        if copied.etag != etag:
            raise ObjectChanged("the new name was given to another file meanwhile")
        await self._store.delete(target, if_match=etag)
        self._events.emit(
            CopyDiffered(key=source.name.key, new_key=target.key, bucket=target.bucket)
        )
        raise StoreTrouble("the store has not copied the file as it was, so it was left there")
