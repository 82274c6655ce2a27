"""An `ObjectStore` in memory, with faults that a test can program.

Knows: what S3 promises (conditions, part rules, order of keys). It responds at once.
Must not know: HTTP. It passes the same contract suite as the real client.

    store = FakeStore()
    store.fail("upload_part", StoreUnavailable("down"))      # the next one raises
    gate = store.hold("put")                                 # the next ones wait
    gate.open()                                              # until here
    store.requests["put"]                                    # how many there were
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping
from dataclasses import replace

from sftpgw.errors import (
    CopiesLackChecksums,
    ObjectArchived,
    PreconditionFailed,
    RangeNotSatisfiable,
    StoreError,
    StoresDiffer,
)
from sftpgw.files.copies.preserved_properties import ARCHIVES
from sftpgw.model.bucket_names import store_of_bucket
from sftpgw.model.limits import MAX_COPY_BYTES, MAX_LISTED_KEYS, MIN_PART_BYTES
from sftpgw.model.object_settings import ObjectTable
from sftpgw.model.store import (
    BodySink,
    ByteRange,
    Cancellation,
    Capabilities,
    Checksum,
    ChecksumAlgorithm,
    ListPage,
    MultipartUpload,
    ObjectInfo,
    ObjectName,
    ObjectProperties,
    StoredPart,
    UploadsPage,
    WriteCondition,
)
from sftpgw.model.units import Body
from sftpgw.model.users import User
from sftpgw.s3.checksums import RunningChecksum, joined
from sftpgw.testing.programmable_store import ProgrammableStore
from sftpgw.testing.store_memory import (
    StartedUpload,
    StoredObject,
    binary,
    etag_of,
    etag_of_upload,
    is_group,
    upload_order,
)


class FakeStore(ProgrammableStore):
    """S3 in memory.

    :param buckets: the buckets that exist.
    :param capabilities: what the store supports; None: all.
    :param min_part_bytes: the least size of each part but the last.
    :param chunk_bytes: the size of the chunks in which GET passes a body to its sink.
    :param page_limit: the largest page of a list, whatever is asked for.
    :param keeps_folders: the folders of a key stay when the key is gone.
    :param stores: the stores of which ``NAME:bucket`` is one; nothing is copied between two.
    """

    def __init__(
        self,
        buckets: Iterable[str] = ("bucket",),
        *,
        capabilities: Capabilities | None = None,
        min_part_bytes: int = MIN_PART_BYTES,
        chunk_bytes: int = 64 * 1024,
        page_limit: int = MAX_LISTED_KEYS,
        keeps_folders: bool = False,
        stores: Container[str] = (),
    ) -> None:
        super().__init__(buckets, chunk_bytes=chunk_bytes, keeps_folders=keeps_folders)
        self._stores = stores
        self._capabilities = capabilities or Capabilities()
        self._min_part_bytes = min_part_bytes
        self._page_limit = page_limit

    # ObjectStore.

    def capabilities_of(self, bucket: str) -> Capabilities:
        return self._capabilities

    async def learn_capabilities(self, bucket: str) -> Capabilities:
        return self._capabilities

    def bind(
        self, objects: ObjectTable | None = None, *, owner: User | None = None, **context: str
    ) -> FakeStore:
        return self

    def assuming(self, capabilities: Capabilities) -> FakeStore:
        """Itself: it supports what its own capabilities say, whatever is assumed."""
        return self

    def with_cancel(self, cancel_token: Cancellation) -> FakeStore:
        """Itself: it never retries and never queues, so that there is nothing to give up."""
        return self

    def for_state(self) -> FakeStore:
        """Itself: it asks for no credentials."""
        return self

    def of_gateway(self) -> FakeStore:
        """Itself: it has no queue."""
        return self

    async def head_bucket(self, bucket: str) -> None:
        await self._enter("head_bucket", bucket)
        self._leave("head_bucket")

    async def head(self, name: ObjectName, *, with_checksum: bool = False) -> ObjectInfo:
        await self._enter("head", name.bucket)
        self._require_key(name)
        stored = self._memory.find(name)
        info = stored.info(name)
        self._leave("head")
        return replace(info, checksum=self._checked(stored.data, None)) if with_checksum else info

    async def get(
        self,
        name: ObjectName,
        wanted: ByteRange | None,
        sink: BodySink,
        *,
        if_match: str | None = None,
    ) -> None:
        await self._enter("get", name.bucket)
        stored = self._readable(name)
        _require_etag(stored, if_match)
        start, stop = (wanted.start, wanted.stop) if wanted else (0, len(stored.data))
        if wanted and start >= len(stored.data):
            raise RangeNotSatisfiable(
                f"{name} ends before {start}", code="InvalidRange", status=416
            )
        sink.began(stored.info(name))
        await self._deliver(stored.data[start:stop], sink)
        self._leave("get")

    async def put(
        self,
        name: ObjectName,
        body: Body,
        properties: ObjectProperties,
        condition: WriteCondition = WriteCondition.NONE,
        *,
        checksum: Checksum | None = None,
    ) -> str:
        data = b"".join(body)
        await self._enter("put", name.bucket)
        self._checked(data, checksum)
        self._require_condition(name, condition, self._capabilities.conditional_put)
        etag = self._memory.store(name, data, properties, etag_of(data))
        self._leave("put")
        return etag

    async def delete(self, name: ObjectName, *, if_match: str | None = None) -> None:
        await self._enter("delete", name.bucket)
        if name in self.objects and self._capabilities.conditional_delete:
            _require_etag(self.objects[name], if_match)
        self._memory.delete(name)
        self._leave("delete")

    def can_copy(self, source_bucket: str, target_bucket: str) -> bool:
        return store_of_bucket(source_bucket, self._stores) == store_of_bucket(
            target_bucket, self._stores
        )

    def _require_one_store(self, source_bucket: str, target_bucket: str) -> None:
        if not self.can_copy(source_bucket, target_bucket):
            raise StoresDiffer(f"{source_bucket} and {target_bucket} are in two stores")

    async def copy(
        self,
        source: ObjectInfo,
        target: ObjectName,
        condition: WriteCondition = WriteCondition.NONE,
        properties: ObjectProperties | None = None,
        *,
        if_match: str | None = None,
    ) -> str:
        self._require_one_store(source.name.bucket, target.bucket)
        await self._enter("copy", target.bucket)
        stored = self._copy_source(source)
        if len(stored.data) > MAX_COPY_BYTES:
            raise StoreError("over 5 GiB", code="InvalidRequest", status=400)
        self._require_condition(target, condition, self._capabilities.conditional_copy)
        if if_match is not None and self._capabilities.conditional_copy:
            _require_etag(self._memory.find(target), if_match)
        copied = stored.properties
        if properties is not None:
            copied = replace(properties, tags=copied.tags)
        etag = self._memory.store(target, stored.data, copied, etag_of(stored.data))
        self._leave("copy")
        return etag

    async def tags(self, name: ObjectName) -> Mapping[str, str]:
        await self._enter("tags", name.bucket)
        found = dict(self._memory.find(name).properties.tags)
        self._leave("tags")
        return found

    async def list(
        self,
        bucket: str,
        prefix: str,
        *,
        delimiter: str = "",
        token: str | None = None,
        limit: int = MAX_LISTED_KEYS,
    ) -> ListPage:
        await self._enter("list", bucket)
        rows = self._memory.rows(bucket, prefix, delimiter)
        rows = [row for row in rows if token is None or binary(row) > binary(token)]
        size = min(limit, self._page_limit)
        page, more = rows[:size], len(rows) > size
        prefixes = tuple(row for row in page if is_group(row, prefix, delimiter))
        found = [ObjectName(bucket, row) for row in page if row not in prefixes]
        infos = tuple(self.objects[name].info(name, listed=True) for name in found)
        self._leave("list")
        return ListPage(infos, prefixes, page[-1] if more else None)

    async def create_upload(
        self, name: ObjectName, properties: ObjectProperties, *, copies: bool = False
    ) -> MultipartUpload:
        await self._enter("create_upload", name.bucket)
        capabilities = self._capabilities
        has_checksums = capabilities.checksums and (capabilities.copied_checksums or not copies)
        algorithm = ChecksumAlgorithm.CRC64NVME if has_checksums else None
        upload = self._memory.start_upload(name, properties, algorithm)
        self._leave("create_upload")
        return upload

    async def upload_part(
        self,
        upload: MultipartUpload,
        number: int,
        body: Body,
        *,
        checksum: Checksum | None = None,
    ) -> StoredPart:
        data = b"".join(body)
        await self._enter("upload_part", upload.name.bucket)
        self._checked(data, checksum)
        part = self._keep_part(upload, number, data)
        self._leave("upload_part")
        return part

    async def copy_part(
        self, upload: MultipartUpload, number: int, source: ObjectInfo, wanted: ByteRange
    ) -> StoredPart:
        self._require_one_store(source.name.bucket, upload.name.bucket)
        await self._enter("copy_part", upload.name.bucket)
        if self._upload(upload).upload.checksum and not self._capabilities.copied_checksums:
            raise CopiesLackChecksums("no sum, no part", code="InvalidArgument", status=400)
        stored = self._copy_source(source)
        if wanted.stop > len(stored.data):
            raise StoreError("range past the end", code="InvalidArgument", status=400)
        part = self._keep_part(upload, number, stored.data[wanted.start : wanted.stop])
        self._leave("copy_part")
        return part

    async def complete_upload(
        self,
        upload: MultipartUpload,
        parts: tuple[StoredPart, ...],
        condition: WriteCondition = WriteCondition.NONE,
    ) -> str:
        await self._enter("complete_upload", upload.name.bucket)
        started = self._upload(upload)
        bodies = [self._named_part(started, part) for part in parts]
        if not bodies or [part.number for part in parts] != sorted({p.number for p in parts}):
            raise StoreError("parts out of order", code="InvalidPartOrder", status=400)
        if any(len(body) < self._min_part_bytes for body in bodies[:-1]):
            raise StoreError("a part is too small", code="EntityTooSmall", status=400)
        whole = b"".join(bodies)
        self._checked(whole, joined(parts, ChecksumAlgorithm.CRC64NVME))
        self._require_condition(upload.name, condition, self._capabilities.conditional_complete)
        etag = self._memory.store(upload.name, whole, started.properties, etag_of_upload(parts))
        del self.uploads[upload.upload_id]
        self._leave("complete_upload")
        return etag

    async def abort_upload(self, upload: MultipartUpload) -> None:
        await self._enter("abort_upload", upload.name.bucket)
        self._memory.forget(upload)
        self._leave("abort_upload")

    async def list_uploads(
        self, bucket: str, prefix: str, marker: tuple[str, str] | None = None
    ) -> UploadsPage:
        await self._enter("list_uploads", bucket)
        found = self._memory.uploads_under(bucket, prefix)
        rest = [u for u in found if marker is None or upload_order(u) > marker]
        page = rest[: self._page_limit]
        self._leave("list_uploads")
        return UploadsPage(tuple(page), upload_order(page[-1]) if len(rest) > len(page) else None)

    # Steps of the operations; some tests override them.

    def _upload(self, upload: MultipartUpload) -> StartedUpload:
        return self._memory.started(upload)

    def _keep_part(self, upload: MultipartUpload, number: int, data: bytes) -> StoredPart:
        started = self._upload(upload)
        etag = started.add_part(number, data)
        checksum = self._checked(data, None) if started.upload.checksum is not None else None
        return StoredPart(number, len(data), etag, checksum)

    def _named_part(self, started: StartedUpload, part: StoredPart) -> bytes:
        return started.body_of(part)

    # What S3 requires.

    def _require_key(self, name: ObjectName) -> None:
        """:raises StoreError: the object is encrypted with a key that the gateway lacks"""
        if name.key in self.refused:
            raise self.refused[name.key]

    def _readable(self, name: ObjectName) -> StoredObject:
        self._require_key(name)
        stored = self._memory.find(name)
        if stored.properties.storage_class in ARCHIVES:
            raise ObjectArchived(f"{name} is archived", code="InvalidObjectState", status=403)
        return stored

    def _copy_source(self, source: ObjectInfo) -> StoredObject:
        stored = self._readable(source.name)
        if self._capabilities.copy_source_condition:
            _require_etag(stored, source.etag)
        return stored

    def _require_condition(
        self, name: ObjectName, condition: WriteCondition, enforced: bool
    ) -> None:
        if enforced and condition is WriteCondition.IF_ABSENT and name in self.objects:
            raise PreconditionFailed(f"{name} exists", code="PreconditionFailed", status=412)

    def _checked(self, data: bytes, claimed: Checksum | None) -> Checksum | None:
        """The checksum of `data`, None if the store does not support checksums."""
        if not self._capabilities.checksums:
            return None
        running = RunningChecksum(ChecksumAlgorithm.CRC64NVME)
        running.update(data)
        if claimed is not None and claimed != running.checksum:
            raise StoreError("other bytes than claimed", code="BadDigest", status=400)
        return running.checksum


def _require_etag(stored: StoredObject, etag: str | None) -> None:
    if etag is not None and etag not in ("*", stored.etag):
        raise PreconditionFailed("the ETag is another", code="PreconditionFailed", status=412)
