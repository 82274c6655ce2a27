"""An `ObjectStore` in memory, with faults that a test can program.

Knows: what S3 promises (conditions, part rules, order of keys), and nothing slower.
Must not know: HTTP. It passes the same contract suite as the real client.

    store = FakeStore()
    store.fail("upload_part", StoreUnavailable("down"))      # the next one raises
    gate = store.hold("put")                                 # the next ones wait
    gate.open()                                              # until here
    store.requests["put"]                                    # how many there were
"""

from __future__ import annotations

import hashlib
from collections import Counter, deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from twisted.internet.defer import Deferred

from sftpgw.errors import (
    CopiesLackChecksums,
    NoSuchBucket,
    NoSuchObject,
    NoSuchUpload,
    ObjectArchived,
    PreconditionFailed,
    RangeNotSatisfiable,
    StoreError,
)
from sftpgw.files.copies.preserved_properties import ARCHIVES
from sftpgw.model.limits import MAX_COPY_BYTES, MAX_LISTED_KEYS, MAX_PARTS, MIN_PART_BYTES
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
from sftpgw.s3.checksums import RunningChecksum, joined


@dataclass(frozen=True)
class StoredObject:
    """An object as the fake keeps it."""

    data: bytes
    etag: str
    modified_seconds: float
    properties: ObjectProperties

    def info(self, name: ObjectName, *, listed: bool = False) -> ObjectInfo:
        return ObjectInfo(
            name,
            len(self.data),
            self.etag,
            self.modified_seconds,
            storage_class=self.properties.storage_class or "STANDARD",
            metadata={} if listed else dict(self.properties.metadata),
            content_type="" if listed else self.properties.content_type,
            system_headers={} if listed else dict(self.properties.system_headers),
            encryption={} if listed else dict(self.properties.encryption),
            tag_count=0 if listed else len(self.properties.tags),
        )


@dataclass
class StartedUpload:
    """A multipart upload under way; `parts` maps number to (data, etag)."""

    upload: MultipartUpload
    properties: ObjectProperties
    parts: dict[int, tuple[bytes, str]] = field(default_factory=dict)


class Gate:
    """Holds the operations that meet it until it opens."""

    def __init__(self) -> None:
        self._waiting: list[Deferred[None]] = []
        self._open = False

    @property
    def waiting(self) -> int:
        """How many operations stand before the gate."""
        return len(self._waiting)

    async def passed(self) -> None:
        if not self._open:
            arrived: Deferred[None] = Deferred(self._waiting.remove)
            self._waiting.append(arrived)
            await arrived

    def open(self) -> None:
        """Let all pass, now and from now on."""
        self._open = True
        while self._waiting:
            self._waiting.pop(0).callback(None)

    def open_one(self) -> None:
        """Let the operation that has waited longest pass."""
        self._waiting.pop(0).callback(None)

    def open_last(self) -> None:
        """Let the operation that came last pass."""
        self._waiting.pop().callback(None)


class FakeStore:
    """S3 in a dict.

    :param min_part_bytes: what Complete demands of every part but the last.
    :param chunk_bytes: how GET slices a body when it feeds a sink.
    :param page_limit: the largest page that a list returns, whatever is asked.
    :param keeps_folders: whether directories that were made for a key stay when it is gone.
    :ivar refused: by key, how HEAD, GET and copies of an object are refused.
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
    ) -> None:
        self.buckets = set(buckets)
        self.objects: dict[ObjectName, StoredObject] = {}
        self.uploads: dict[str, StartedUpload] = {}
        self.requests: Counter[str] = Counter()
        self.now_seconds = 1_700_000_000.0
        self.folders: set[ObjectName] = set()
        self._keeps_folders = keeps_folders
        self.refused: dict[str, StoreError] = {}
        self._capabilities = capabilities or Capabilities()
        self._min_part_bytes = min_part_bytes
        self._chunk_bytes = chunk_bytes
        self._page_limit = page_limit
        self._faults: dict[str, deque[Exception | None]] = {}
        self._late_faults: dict[str, deque[Exception]] = {}
        self._cut_bodies: deque[int] = deque()
        self._gates: dict[str, Gate] = {}
        self._serial = 0

    # What a test programs.

    def fail(self, operation: str, error: Exception, *, times: int = 1, skip: int = 0) -> None:
        """After `skip` calls of `operation`, the next `times` raise and change nothing."""
        faults: list[Exception | None] = [None] * skip + [error] * times
        self._faults.setdefault(operation, deque()).extend(faults)

    def lose_answer(self, operation: str, error: Exception) -> None:
        """The next call of `operation` does its work, and then raises."""
        self._late_faults.setdefault(operation, deque()).append(error)

    def cut_body(self, after_bytes: int) -> None:
        """The next GET delivers `after_bytes` and then fails for good."""
        self._cut_bodies.append(after_bytes)

    def hold(self, operation: str) -> Gate:
        """From now on `operation` waits until the gate is opened."""
        gate = self._gates[operation] = Gate()
        return gate

    def content(self, key: str, bucket: str = "bucket") -> bytes:
        """What is stored under a key. :raises KeyError:"""
        return self.objects[ObjectName(bucket, key)].data

    def keys(self, bucket: str = "bucket") -> list[str]:
        """All keys of a bucket, in S3's order."""
        names = (name.key for name in self.objects if name.bucket == bucket)
        return sorted(names, key=_binary)

    def seed(
        self,
        key: str,
        data: bytes = b"",
        bucket: str = "bucket",
        *,
        storage_class: str = "",
        **metadata: str,
    ) -> None:
        """Store an object without a request."""
        properties = ObjectProperties(metadata=metadata, storage_class=storage_class)
        self._store(ObjectName(bucket, key), data, properties, _md5(data))

    # ObjectStore.

    def capabilities_of(self, bucket: str) -> Capabilities:
        return self._capabilities

    async def learn_capabilities(self, bucket: str) -> Capabilities:
        return self._capabilities

    def bind(self, **context: str) -> FakeStore:
        return self

    def assuming(self, capabilities: Capabilities) -> FakeStore:
        """Itself: it is what its own capabilities say, whatever others believe."""
        return self

    def with_cancel(self, cancel_token: Cancellation) -> FakeStore:
        """Itself: it sends nothing again, so that no request waits."""
        return self

    async def head_bucket(self, bucket: str) -> None:
        await self._enter("head_bucket", bucket)
        self._leave("head_bucket")

    async def head(self, name: ObjectName, *, with_checksum: bool = False) -> ObjectInfo:
        await self._enter("head", name.bucket)
        self._demand_key(name)
        stored = self._find(name)
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
        _demand_etag(stored, if_match)
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
        self._demand(name, condition, self._capabilities.conditional_put)
        etag = self._store(name, data, properties, _md5(data))
        self._leave("put")
        return etag

    async def delete(self, name: ObjectName, *, if_match: str | None = None) -> None:
        await self._enter("delete", name.bucket)
        if name in self.objects:
            if self._capabilities.conditional_delete:
                _demand_etag(self.objects[name], if_match)
            if not self._has_children(name):
                del self.objects[name]
        if not self._has_children(name):
            self.folders.discard(name)
        self._leave("delete")

    async def copy(
        self,
        source: ObjectInfo,
        target: ObjectName,
        condition: WriteCondition = WriteCondition.NONE,
        properties: ObjectProperties | None = None,
        *,
        if_match: str | None = None,
    ) -> str:
        await self._enter("copy", target.bucket)
        stored = self._copy_source(source)
        if len(stored.data) > MAX_COPY_BYTES:
            raise StoreError("over 5 GiB", code="InvalidRequest", status=400)
        self._demand(target, condition, self._capabilities.conditional_copy)
        if if_match is not None and self._capabilities.conditional_copy:
            _demand_etag(self._find(target), if_match)
        kept = stored.properties
        if properties is not None:
            kept = replace(properties, tags=kept.tags)
        etag = self._store(target, stored.data, kept, _md5(stored.data))
        self._leave("copy")
        return etag

    async def tags(self, name: ObjectName) -> Mapping[str, str]:
        await self._enter("tags", name.bucket)
        found = dict(self._find(name).properties.tags)
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
        folders = [name.key for name in self.folders if name.bucket == bucket and delimiter]
        rows = _grouped(
            [*self.keys(bucket), *(key for key in folders if self._is_shown(key, prefix))],
            prefix,
            delimiter,
        )
        rows = [row for row in rows if token is None or _binary(row) > _binary(token)]
        size = min(limit, self._page_limit)
        page, more = rows[:size], len(rows) > size
        prefixes = tuple(row for row in page if _is_group(row, prefix, delimiter))
        found = [ObjectName(bucket, row) for row in page if row not in prefixes]
        infos = tuple(self.objects[name].info(name, listed=True) for name in found)
        self._leave("list")
        return ListPage(infos, prefixes, page[-1] if more else None)

    async def create_upload(
        self, name: ObjectName, properties: ObjectProperties, *, copies: bool = False
    ) -> MultipartUpload:
        await self._enter("create_upload", name.bucket)
        self._serial += 1
        able = self._capabilities
        has_sums = able.checksums and (able.copied_checksums or not copies)
        upload = MultipartUpload(
            name,
            f"upload-{self._serial}",
            ChecksumAlgorithm.CRC64NVME if has_sums else None,
            self.now_seconds,
        )
        self.uploads[upload.upload_id] = StartedUpload(upload, properties)
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
        opened = self._upload(upload)
        bodies = [self._named_part(opened, part) for part in parts]
        if not bodies or [part.number for part in parts] != sorted({p.number for p in parts}):
            raise StoreError("parts out of order", code="InvalidPartOrder", status=400)
        if any(len(body) < self._min_part_bytes for body in bodies[:-1]):
            raise StoreError("a part is too small", code="EntityTooSmall", status=400)
        whole = b"".join(bodies)
        self._checked(whole, joined(parts, ChecksumAlgorithm.CRC64NVME))
        self._demand(upload.name, condition, self._capabilities.conditional_complete)
        etag = self._store(upload.name, whole, opened.properties, _joined_etag(parts))
        del self.uploads[upload.upload_id]
        self._leave("complete_upload")
        return etag

    async def abort_upload(self, upload: MultipartUpload) -> None:
        await self._enter("abort_upload", upload.name.bucket)
        self.uploads.pop(upload.upload_id, None)
        self._leave("abort_upload")

    async def list_uploads(
        self, bucket: str, prefix: str, marker: tuple[str, str] | None = None
    ) -> UploadsPage:
        await self._enter("list_uploads", bucket)
        found = sorted(
            (
                opened.upload
                for opened in self.uploads.values()
                if opened.upload.name.bucket == bucket and opened.upload.name.key.startswith(prefix)
            ),
            key=_upload_order,
        )
        rest = [u for u in found if marker is None or _upload_order(u) > marker]
        page = rest[: self._page_limit]
        self._leave("list_uploads")
        return UploadsPage(tuple(page), _upload_order(page[-1]) if len(rest) > len(page) else None)

    # How it is done.

    async def _enter(self, operation: str, bucket: str) -> None:
        self.requests[operation] += 1
        if operation in self._gates:
            await self._gates[operation].passed()
        faults = self._faults.get(operation)
        if faults and (error := faults.popleft()):
            raise error
        if bucket not in self.buckets:
            raise NoSuchBucket(f"no bucket {bucket}", code="NoSuchBucket", status=404)

    def _leave(self, operation: str) -> None:
        if self._late_faults.get(operation):
            raise self._late_faults[operation].popleft()

    def _find(self, name: ObjectName) -> StoredObject:
        if name not in self.objects:
            raise NoSuchObject(f"no object {name}", code="NoSuchKey", status=404)
        return self.objects[name]

    def _demand_key(self, name: ObjectName) -> None:
        """:raises StoreError: to be looked at, the object wants a key that the gateway lacks."""
        if name.key in self.refused:
            raise self.refused[name.key]

    def _readable(self, name: ObjectName) -> StoredObject:
        self._demand_key(name)
        stored = self._find(name)
        if stored.properties.storage_class in ARCHIVES:
            raise ObjectArchived(f"{name} is archived", code="InvalidObjectState", status=403)
        return stored

    def _store(self, name: ObjectName, data: bytes, properties: ObjectProperties, etag: str) -> str:
        self.now_seconds += 1
        self.objects[name] = StoredObject(data, etag, self.now_seconds, properties)
        if self._keeps_folders:
            ends = [end for end, character in enumerate(name.key, 1) if character == "/"]
            self.folders.update(ObjectName(name.bucket, name.key[:end]) for end in ends)
        return etag

    def _is_shown(self, folder: str, prefix: str) -> bool:
        """SeaweedFS hides an empty folder from the lists of its own name."""
        return folder.removesuffix("/") != prefix.removesuffix("/")

    def _has_children(self, name: ObjectName) -> bool:
        """Whether a folder that is kept has anything in it, so that it cannot be deleted."""
        return name in self.folders and any(
            each != name and each.bucket == name.bucket and each.key.startswith(name.key)
            for each in (*self.objects, *self.folders)
        )

    def _demand(self, name: ObjectName, condition: WriteCondition, enforced: bool) -> None:
        if enforced and condition is WriteCondition.IF_ABSENT and name in self.objects:
            raise PreconditionFailed(f"{name} exists", code="PreconditionFailed", status=412)

    def _copy_source(self, source: ObjectInfo) -> StoredObject:
        stored = self._readable(source.name)
        if self._capabilities.copy_source_condition:
            _demand_etag(stored, source.etag)
        return stored

    async def _deliver(self, data: bytes, sink: BodySink) -> None:
        cut = self._cut_bodies.popleft() if self._cut_bodies else None
        for start in range(0, len(data), self._chunk_bytes):
            chunk = data[start : start + self._chunk_bytes]
            if "body" in self._gates:
                await self._gates["body"].passed()
            if cut is not None and start + len(chunk) >= cut:
                if cut > start:
                    sink.received(chunk[: cut - start])
                raise StoreError("the body broke off", code="ConnectionLost")
            sink.received(chunk)

    def _upload(self, upload: MultipartUpload) -> StartedUpload:
        if upload.upload_id not in self.uploads:
            raise NoSuchUpload(f"no upload {upload.upload_id}", code="NoSuchUpload", status=404)
        return self.uploads[upload.upload_id]

    def _keep_part(self, upload: MultipartUpload, number: int, data: bytes) -> StoredPart:
        if not 1 <= number <= MAX_PARTS:
            raise StoreError("part number", code="InvalidArgument", status=400)
        etag = _md5(data)
        self._upload(upload).parts[number] = (data, etag)
        has_sum = self._upload(upload).upload.checksum is not None
        return StoredPart(number, len(data), etag, self._checked(data, None) if has_sum else None)

    def _checked(self, data: bytes, claimed: Checksum | None) -> Checksum | None:
        """The checksum of `data`, None if the store knows none."""
        if not self._capabilities.checksums:
            return None
        running = RunningChecksum(ChecksumAlgorithm.CRC64NVME)
        running.update(data)
        if claimed is not None and claimed != running.checksum:
            raise StoreError("other bytes than claimed", code="BadDigest", status=400)
        return running.checksum

    def _named_part(self, opened: StartedUpload, part: StoredPart) -> bytes:
        data, etag = opened.parts.get(part.number, (b"", ""))
        if etag != part.etag:
            raise StoreError(f"part {part.number}", code="InvalidPart", status=400)
        return data


def _binary(key: str) -> bytes:
    return key.encode("utf-8", "surrogateescape")


def _md5(data: bytes) -> str:
    return f'"{hashlib.md5(data, usedforsecurity=False).hexdigest()}"'


def _joined_etag(parts: tuple[StoredPart, ...]) -> str:
    digests = b"".join(bytes.fromhex(part.etag.strip('"')) for part in parts)
    return f'"{hashlib.md5(digests, usedforsecurity=False).hexdigest()}-{len(parts)}"'


def _upload_order(upload: MultipartUpload) -> tuple[str, str]:
    return upload.name.key, upload.upload_id


def _demand_etag(stored: StoredObject, etag: str | None) -> None:
    if etag is not None and etag not in ("*", stored.etag):
        raise PreconditionFailed("the ETag is another", code="PreconditionFailed", status=412)


def _grouped(keys: list[str], prefix: str, delimiter: str) -> list[str]:
    """Keys and common prefixes below `prefix`, in S3's order, each once."""
    rows = dict.fromkeys(_group(key, prefix, delimiter) for key in keys if key.startswith(prefix))
    return sorted(rows, key=_binary)


def _group(key: str, prefix: str, delimiter: str) -> str:
    if delimiter and (at := key.find(delimiter, len(prefix))) >= 0:
        return key[: at + len(delimiter)]
    return key


def _is_group(row: str, prefix: str, delimiter: str) -> bool:
    return bool(delimiter) and row.endswith(delimiter) and len(row) > len(prefix)
