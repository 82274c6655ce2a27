"""Finds out what a store supports, by trying it.

Knows: `ObjectStore`, and which condition leaves which trace.
Must not know: HTTP, or any vendor's name.

Stores that ignore a condition or a checksum do so silently. So each check looks at the objects: a
condition is supported if the store refused the request *and* left the object as it was.

First one object is written, read and deleted under the state prefix. Where the gateway may not do
that, nothing more is left behind. All objects of the probe are under the state prefix and are
deleted at the end; a probe takes about 70 requests. The objects are tiny, except one of 5 MiB. It
is sent to stores that passed all earlier checks of copied parts, or that copy no smaller ranges, as
AWS. Only with it can the probe try what an edited file needs: copied and sent parts in one upload
with checksums. Whether parts may differ in size is taken from the settings.

A check fails if the store responds oddly, or not at all, while plain requests still work.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

from sftpgw.errors import (
    AccessDenied,
    ConditionalConflict,
    CredentialsUnavailable,
    NoSuchBucket,
    NoSuchObject,
    PreconditionFailed,
    StoreError,
    StoreUnavailable,
)
from sftpgw.model.limits import MIN_PART_BYTES
from sftpgw.model.store import (
    ByteRange,
    Capabilities,
    Checksum,
    ChecksumAlgorithm,
    MultipartUpload,
    ObjectInfo,
    ObjectName,
    ObjectProperties,
    ObjectStore,
    WriteCondition,
)
from sftpgw.model.units import KIB, Body, Buffer
from sftpgw.s3.checksums import RunningChecksum
from sftpgw.s3.error_codes import BAD_ANSWER, CONNECTION_LOST

PROPERTIES = ObjectProperties()
WRONG_SUM = Checksum(ChecksumAlgorithm.CRC64NVME, 1)
LARGE_BYTES = MIN_PART_BYTES
"""The least size of a part that is not the last one; AWS copies no range of a smaller source."""

ZEROS: Body = (bytes(64 * KIB),) * (LARGE_BYTES // (64 * KIB))


@dataclass(frozen=True)
class _Assembly:
    """An object that is made of parts: a range of another object, and perhaps bytes that are sent.

    :param source: the key of the other object.
    :param body: the bytes of the other object.
    :param wanted: its range.
    :param copied: the bytes of the range.
    :param tail: the bytes that are sent behind it.
    """

    source: str
    body: Body
    wanted: ByteRange
    copied: Body
    tail: Body = ()


WHOLE = _Assembly("tiny", (b"123",), ByteRange(0, 3), (b"123",))
RANGE = _Assembly("tiny", (b"123",), ByteRange(1, 3), (b"23",))
LONG = _Assembly("large", (*ZEROS, b"1"), ByteRange(0, LARGE_BYTES), ZEROS, (b"2",))


WRONG_ETAG = '"00000000000000000000000000000000"'

_ODD_CODES = frozenset({BAD_ANSWER, CONNECTION_LOST})
_ODD_STATUSES = frozenset({500, 501, 502})
_NOT_NOW = (CredentialsUnavailable, NoSuchBucket, StoreUnavailable)
_OTHER_TROUBLE = (AccessDenied, *_NOT_NOW)


async def probe_capabilities(
    store: ObjectStore, bucket: str, state_prefix: str, token: str
) -> Capabilities:
    """Try what `store` supports in `bucket`.

    :param store: its own capabilities do not matter, except `unequal_parts`, which is not tried.
    :param bucket: where the probe writes, and removes, its objects.
    :param state_prefix: the prefix of the gateway's own objects.
    :param token: a unique text, so that simultaneous probes use different keys.
    :raises StoreError: the store cannot be used at all, or not now.
    """
    probe = _Probe(store, bucket, f"{state_prefix}probe/{token}/")
    try:
        await probe.try_rights(ObjectName(bucket, f"{state_prefix}probe/rights"))
        return await probe.run()
    finally:
        await probe.clean_up()


class _Probe:
    """The objects of one probe and the checks that use them."""

    def __init__(self, store: ObjectStore, bucket: str, prefix: str) -> None:
        # Checksums and sizes are tried apart: a store that refuses them would fail every check.
        self._store = store.assuming(Capabilities(checksums=False, object_size=False))
        self._summing = store.assuming(Capabilities(object_size=False))
        self._sizing = store.assuming(Capabilities(checksums=False))
        self._unequal_parts = store.capabilities_of(bucket).unequal_parts
        self._bucket = bucket
        self._prefix = prefix
        self._rights = ObjectName(bucket, f"{prefix}rights")
        self._copies_tiny_ranges = False
        self._names: set[ObjectName] = set()
        self._uploads: list[MultipartUpload] = []

    async def run(self) -> Capabilities:
        found = Capabilities(
            conditional_put=await self._found(self._conditional_put),
            conditional_complete=await self._found(self._conditional_complete),
            conditional_copy=await self._found(self._conditional_copy),
            conditional_delete=await self._found(self._conditional_delete),
            copy_source_condition=await self._found(self._copy_source_condition),
            part_copy=await self._found(self._part_copy),
            checksums=await self._found(self._checksums_of_puts)
            and await self._found(self._checksums_of_parts),
            object_size=await self._found(self._object_size),
            unequal_parts=self._unequal_parts,
            backslashes=await self._found(self._backslashes),
        )
        if not (found.part_copy and found.checksums):
            return found  # there is no combination to try
        return replace(found, copied_checksums=await self._found(self._copied_checksums))

    async def _found(self, check: Callable[[], Awaitable[bool]]) -> bool:
        """The result of a check. An odd response is a no, if plain requests still work.

        :raises StoreError: the store cannot be used now
        """
        try:
            return await check()
        except StoreUnavailable as error:
            if error.code not in _ODD_CODES and error.status not in _ODD_STATUSES:
                raise
            await self.try_rights(self._rights)
            return False

    async def try_rights(self, name: ObjectName) -> None:
        """:raises StoreError: the gateway may not write, read or delete here, or not now"""
        await self._store.put(name, (b"1",), PROPERTIES)
        with suppress(NoSuchObject):  # another process has just deleted it
            await self._store.head(name)
        await self._store.delete(name)

    async def clean_up(self) -> None:
        """Delete the objects of the checks. The sweeper deletes those that remain."""
        for upload in self._uploads:
            await _ignoring_errors(self._store.abort_upload(upload))
        for name in self._names:
            await _ignoring_errors(self._store.delete(name))

    # The checks. Bodies differ in length, so that HEAD shows which one is stored.

    async def _conditional_put(self) -> bool:
        name = self._name("put")
        if await _refused(self._store.put(name, (b"1",), PROPERTIES, WriteCondition.IF_ABSENT)):
            return False
        second = self._store.put(name, (b"22",), PROPERTIES, WriteCondition.IF_ABSENT)
        return await _refused_by_condition(second) and await self._size_bytes(name) == 1

    async def _conditional_complete(self) -> bool:
        existing = await self._stored("complete")
        upload = await self._upload(existing.name)
        part = await self._store.upload_part(upload, 1, (b"22",))
        second = self._store.complete_upload(upload, (part,), WriteCondition.IF_ABSENT)
        return await _refused_by_condition(second) and await self._size_bytes(existing.name) == 1

    async def _conditional_copy(self) -> bool:
        existing, source = await self._stored("copy"), await self._stored("source", b"22")
        absent = self._store.copy(source, existing.name, WriteCondition.IF_ABSENT)
        if not await _refused_by_condition(absent):
            return False
        wrong = self._store.copy(source, existing.name, if_match=WRONG_ETAG)
        if not await _refused_by_condition(wrong) or await self._size_bytes(existing.name) != 1:
            return False
        right = self._store.copy(source, existing.name, if_match=existing.etag)
        return not await _refused(right)

    async def _conditional_delete(self) -> bool:
        existing = await self._stored("delete")
        wrong = self._store.delete(existing.name, if_match=WRONG_ETAG)
        if not await _refused_by_condition(wrong):
            return False
        right = self._store.delete(existing.name, if_match=existing.etag)
        return not await _refused(right) and await self._size_bytes(existing.name) is None

    async def _copy_source_condition(self) -> bool:
        source, target = await self._stored("source", b"22"), self._name("copied")
        wrong = self._store.copy(replace(source, etag=WRONG_ETAG), target)
        return await _refused_by_condition(wrong) and await self._size_bytes(target) is None

    async def _part_copy(self) -> bool:
        """Copies of whole objects and of ranges: of any object, or only of large ones."""
        if not await self._assembles(WHOLE):
            return False
        self._copies_tiny_ranges = await self._assembles(RANGE)
        return self._copies_tiny_ranges or await self._assembles(LONG)

    async def _copied_checksums(self) -> bool:
        if self._copies_tiny_ranges and not await self._assembles(RANGE, with_checksums=True):
            return False
        return await self._assembles(LONG, with_checksums=True)

    async def _assembles(self, made: _Assembly, *, with_checksums: bool = False) -> bool:
        """Whether an object has the bytes of its parts, and no checksum contradicts that."""
        store = self._summing if with_checksums else self._store
        source = await self._stored(made.source, *made.body)
        name = self._name(f"from-{made.source}")
        try:
            upload = await self._upload(name, store, copies=True)
            if with_checksums and upload.checksum is None:
                return False
            parts = [await store.copy_part(upload, 1, source, made.wanted)]
            if parts[0].checksum not in (None, _checksum(made.copied)):
                return False
            if made.tail:
                parts.append(await store.upload_part(upload, 2, made.tail))
            await store.complete_upload(upload, tuple(parts))
            found = await self._store.head(name, with_checksum=with_checksums)
        except _OTHER_TROUBLE:
            raise
        except StoreError:
            return False
        whole = (*made.copied, *made.tail)
        is_right = found.checksum in (None, _checksum(whole))
        return is_right and found.size_bytes == sum(map(len, whole))

    async def _backslashes(self) -> bool:
        name, other = self._name("back\\slash"), self._name("back/slash")
        if await _refused(self._store.put(name, (b"1",), PROPERTIES)):
            return False
        return await self._size_bytes(name) == 1 and await self._size_bytes(other) is None

    async def _checksums_of_puts(self) -> bool:
        name = self._name("sum")
        if await _refused_at_all(self._summing.put(name, (b"1",), PROPERTIES)):
            return False
        wrong = self._summing.put(name, (b"22",), PROPERTIES, checksum=WRONG_SUM)
        return await _refused_at_all(wrong) and await self._size_bytes(name) == 1

    async def _checksums_of_parts(self) -> bool:
        name = self._name("sums")
        try:
            upload = await self._upload(name, self._summing)
            wrong = self._summing.upload_part(upload, 1, (b"22",), checksum=WRONG_SUM)
            if not await _refused_at_all(wrong):
                return False
            part = await self._summing.upload_part(upload, 1, (b"1",))
            await self._summing.complete_upload(upload, (part,))
        except _NOT_NOW:
            raise
        except StoreError:
            return False
        return await self._size_bytes(name) == 1

    async def _object_size(self) -> bool:
        """A store may ignore the size; it must only complete the object."""
        upload = await self._upload(self._name("size"), self._sizing)
        part = await self._sizing.upload_part(upload, 1, (b"1",))
        return not await _refused_at_all(self._sizing.complete_upload(upload, (part,)))

    # Steps of the checks.

    def _name(self, key: str) -> ObjectName:
        name = ObjectName(self._bucket, self._prefix + key)
        self._names.add(name)
        return name

    async def _stored(self, key: str, *body: Buffer) -> ObjectInfo:
        name = self._name(key)
        await self._store.put(name, body or (b"1",), PROPERTIES)
        return await self._store.head(name)

    async def _upload(
        self, name: ObjectName, store: ObjectStore | None = None, *, copies: bool = False
    ) -> MultipartUpload:
        upload = await (store or self._store).create_upload(name, PROPERTIES, copies=copies)
        self._uploads.append(upload)
        return upload

    async def _size_bytes(self, name: ObjectName) -> int | None:
        try:
            return (await self._store.head(name)).size_bytes
        except (NoSuchObject, AccessDenied):
            # A missing object is a 403 where the bucket may not be listed. An existing one can be
            # read, as `try_rights` has shown.
            return None


def _checksum(body: Body) -> Checksum:
    running = RunningChecksum(ChecksumAlgorithm.CRC64NVME)
    for buffer in body:
        running.update(buffer)
    return running.checksum


async def _refused(request: Coroutine[Any, Any, object]) -> bool:
    """Whether the store refuses the request, for any reason but an outage or missing rights."""
    try:
        await request
    except _OTHER_TROUBLE:
        raise
    except StoreError:
        return True
    return False


async def _refused_at_all(request: Coroutine[Any, Any, object]) -> bool:
    """Whether the store refuses the request, also by AccessDenied (some do so to new headers)."""
    try:
        return await _refused(request)
    except AccessDenied:
        return True


async def _refused_by_condition(request: Coroutine[Any, Any, object]) -> bool:
    """Whether the store refuses the request because its condition does not hold."""
    try:
        await request
    except (PreconditionFailed, ConditionalConflict):
        return True
    except _OTHER_TROUBLE:
        raise
    except StoreError:
        return False
    return False


async def _ignoring_errors(request: Coroutine[Any, Any, object]) -> None:
    try:
        await request
    except StoreError:
        return
