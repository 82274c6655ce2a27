"""What a store can do, found out by trying.

Knows: `ObjectStore`, and which condition leaves which trace.
Must not know: HTTP, or any vendor's name.

Stores that ignore a condition or a checksum do so silently, so each check looks at
what became of the objects: a condition is supported if the store refused *and* left
the object as it was. Whether the gateway may write, read and delete under the state
prefix at all is tried first, and with one object: where it may not, no more than that
is left behind. The probe's objects are tiny, live under the state prefix, and are
removed again; it all takes about 50 requests. Whether parts may differ in size cannot
be tried with tiny objects: that is taken from the settings.
"""

from __future__ import annotations

from collections.abc import Coroutine
from contextlib import suppress
from dataclasses import replace
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
from sftpgw.interfaces import ObjectStore
from sftpgw.values import (
    ByteRange,
    Capabilities,
    Checksum,
    ChecksumAlgorithm,
    MultipartUpload,
    ObjectInfo,
    ObjectName,
    ObjectProperties,
    WriteCondition,
)

PROPERTIES = ObjectProperties()
WRONG_SUM = Checksum(ChecksumAlgorithm.CRC64NVME, 1)
WRONG_ETAG = '"00000000000000000000000000000000"'

_NOT_NOW = (CredentialsUnavailable, NoSuchBucket, StoreUnavailable)
_OTHER_TROUBLE = (AccessDenied, *_NOT_NOW)


async def probe_capabilities(
    store: ObjectStore, bucket: str, state_prefix: str, token: str
) -> Capabilities:
    """Try out what `store` can do with `bucket`.

    :param store: whatever it believes of itself; only `unequal_parts` is taken from it.
    :param token: unique, so that probes at the same time do not meet.
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
        # Checksums and sizes are tried apart: what cannot take them could do nothing with them.
        self._store = store.believing(Capabilities(checksums=False, object_size=False))
        self._summing = store.believing(Capabilities(object_size=False))
        self._sizing = store.believing(Capabilities(checksums=False))
        self._unequal_parts = store.capabilities_of(bucket).unequal_parts
        self._bucket = bucket
        self._prefix = prefix
        self._names: set[ObjectName] = set()
        self._uploads: list[MultipartUpload] = []

    async def run(self) -> Capabilities:
        return Capabilities(
            conditional_put=await self._conditional_put(),
            conditional_complete=await self._conditional_complete(),
            conditional_copy=await self._conditional_copy(),
            conditional_delete=await self._conditional_delete(),
            copy_source_condition=await self._copy_source_condition(),
            part_copy=await self._part_copy(),
            checksums=await self._checksums_of_puts() and await self._checksums_of_parts(),
            object_size=await self._object_size(),
            unequal_parts=self._unequal_parts,
        )

    async def try_rights(self, name: ObjectName) -> None:
        """:raises StoreError: the gateway may not write, read or delete here, or not now"""
        await self._store.put(name, (b"1",), PROPERTIES)
        with suppress(NoSuchObject):  # another process tries it, too, and was faster
            await self._store.head(name)
        await self._store.delete(name)

    async def clean_up(self) -> None:
        """Remove what the checks left. What cannot be removed now is left to the sweeper."""
        for upload in self._uploads:
            await _ignoring_errors(self._store.abort_upload(upload))
        for name in self._names:
            await _ignoring_errors(self._store.delete(name))

    # The checks. Bodies differ in length, so that a HEAD tells which one is there.

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
        source = await self._stored("source", b"22")
        upload = await self._upload(self._name("parts"))
        try:
            part = await self._store.copy_part(upload, 1, source, ByteRange(0, 2))
            await self._store.complete_upload(upload, (part,))
        except _OTHER_TROUBLE:
            raise
        except StoreError:
            return False
        return await self._size_bytes(upload.name) == 2

    async def _checksums_of_puts(self) -> bool:
        name = self._name("sum")
        if await _unable(self._summing.put(name, (b"1",), PROPERTIES)):
            return False
        wrong = self._summing.put(name, (b"22",), PROPERTIES, checksum=WRONG_SUM)
        return await _unable(wrong) and await self._size_bytes(name) == 1

    async def _checksums_of_parts(self) -> bool:
        name = self._name("sums")
        try:
            upload = await self._upload(name, self._summing)
            wrong = self._summing.upload_part(upload, 1, (b"22",), checksum=WRONG_SUM)
            if not await _unable(wrong):
                return False
            part = await self._summing.upload_part(upload, 1, (b"1",))
            await self._summing.complete_upload(upload, (part,))
        except _NOT_NOW:
            raise
        except StoreError:
            return False
        return await self._size_bytes(name) == 1

    async def _object_size(self) -> bool:
        """To be told in vain does no harm: what counts is that the object is completed."""
        upload = await self._upload(self._name("size"), self._sizing)
        part = await self._sizing.upload_part(upload, 1, (b"1",))
        return not await _unable(self._sizing.complete_upload(upload, (part,)))

    # What they are made of.

    def _name(self, key: str) -> ObjectName:
        name = ObjectName(self._bucket, self._prefix + key)
        self._names.add(name)
        return name

    async def _stored(self, key: str, body: bytes = b"1") -> ObjectInfo:
        name = self._name(key)
        await self._store.put(name, (body,), PROPERTIES)
        return await self._store.head(name)

    async def _upload(self, name: ObjectName, store: ObjectStore | None = None) -> MultipartUpload:
        upload = await (store or self._store).create_upload(name, PROPERTIES)
        self._uploads.append(upload)
        return upload

    async def _size_bytes(self, name: ObjectName) -> int | None:
        try:
            return (await self._store.head(name)).size_bytes
        except (NoSuchObject, AccessDenied):
            # What is missing is a 403 where the bucket may not be listed; and what is there
            # can be looked at, as `try_rights` has shown.
            return None


async def _refused(request: Coroutine[Any, Any, object]) -> bool:
    """Whether the store says no, for whatever reason that is not a trouble of its own."""
    try:
        await request
    except _OTHER_TROUBLE:
        raise
    except StoreError:
        return True
    return False


async def _unable(request: Coroutine[Any, Any, object]) -> bool:
    """Whether the store says no, even as if it were a matter of rights: of unknown headers."""
    try:
        return await _refused(request)
    except AccessDenied:
        return True


async def _refused_by_condition(request: Coroutine[Any, Any, object]) -> bool:
    """Whether the store says no because a condition does not hold, not because it knows none."""
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
