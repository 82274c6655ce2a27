"""Objects in a store, and the store itself: `ObjectStore` is the seam between files and S3."""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from types import MappingProxyType
from typing import Protocol

from sftpgw.model.limits import MAX_LISTED_KEYS
from sftpgw.model.units import Body

NO_METADATA: Mapping[str, str] = MappingProxyType({})


# Objects in a store.


@dataclass(frozen=True, slots=True)
class ObjectName:
    """Where an object is. Keys are text; S3 sees their UTF-8."""

    bucket: str
    key: str

    def __str__(self) -> str:
        return f"s3://{self.bucket}/{self.key}"


@dataclass(frozen=True, slots=True)
class ByteRange:
    """Bytes from `start` up to, not including, `stop`."""

    start: int
    stop: int

    @property
    def size_bytes(self) -> int:
        return self.stop - self.start


@dataclass(frozen=True, slots=True)
class ObjectInfo:
    """What HEAD, GET or a list say of an object.

    `etag` is as S3 sent it, quotes included. `metadata` is without the
    ``x-amz-meta-`` prefix, names in lower case; lists have none. `system_headers`
    are Cache-Control and its like, names in lower case, and `encryption` the
    ``x-amz-server-side-encryption`` ones: a rewrite must restate them, and the tags, if
    `tag_count` says that there are any (`ObjectStore.tags`). `checksum` is of the whole
    object, if it was asked for and the store has one.
    """

    name: ObjectName
    size_bytes: int
    etag: str
    modified_seconds: float
    storage_class: str = "STANDARD"
    metadata: Mapping[str, str] = field(default_factory=lambda: NO_METADATA)
    content_type: str = ""
    system_headers: Mapping[str, str] = field(default_factory=lambda: NO_METADATA)
    encryption: Mapping[str, str] = field(default_factory=lambda: NO_METADATA)
    tag_count: int = 0
    checksum: Checksum | None = None


@dataclass(frozen=True, slots=True)
class ListPage:
    """One page of ListObjectsV2, `next_token` None on the last."""

    objects: tuple[ObjectInfo, ...]
    prefixes: tuple[str, ...]
    next_token: str | None


@dataclass(frozen=True, slots=True)
class ObjectProperties:
    """What is fixed when an object, or its multipart upload, is created."""

    metadata: Mapping[str, str] = field(default_factory=lambda: NO_METADATA)
    content_type: str = ""
    storage_class: str = ""
    system_headers: Mapping[str, str] = field(default_factory=lambda: NO_METADATA)
    encryption: Mapping[str, str] = field(default_factory=lambda: NO_METADATA)
    tags: Mapping[str, str] = field(default_factory=lambda: NO_METADATA)


class ChecksumAlgorithm(enum.Enum):
    """How a checksum is made; all can be joined, so that parts' sums give the object's."""

    CRC64NVME = "crc64nvme"
    CRC32C = "crc32c"
    CRC32 = "crc32"


@dataclass(frozen=True, slots=True)
class Checksum:
    """The checksum of some bytes; `value` is a number of 64 or 32 bits."""

    algorithm: ChecksumAlgorithm
    value: int


class WriteCondition(enum.Enum):
    """Under which condition an object may be published."""

    NONE = "none"
    IF_ABSENT = "if-absent"  # If-None-Match: *


@dataclass(frozen=True, slots=True)
class MultipartUpload:
    """A multipart upload that S3 has opened.

    `checksum` is what was announced then; later requests must keep to it. Lists do not tell
    it; they say when an upload was opened, 0 is unknown. `may_refuse_copies`: nothing has shown
    yet that parts can be copied into it.
    """

    name: ObjectName
    upload_id: str
    checksum: ChecksumAlgorithm | None = field(default=None, compare=False)
    initiated_seconds: float = field(default=0.0, compare=False)
    may_refuse_copies: bool = field(default=False, compare=False)


@dataclass(frozen=True, slots=True)
class StoredPart:
    """A part that S3 has confirmed; without `checksum` if none was sent or told."""

    number: int
    size_bytes: int
    etag: str
    checksum: Checksum | None = None


@dataclass(frozen=True, slots=True)
class UploadsPage:
    """One page of ListMultipartUploads; `next_marker` is (key marker, id marker).

    `is_ambiguous`: the store does not tell whether its keys are URL-encoded, and some may be.
    """

    uploads: tuple[MultipartUpload, ...]
    next_marker: tuple[str, str] | None
    is_ambiguous: bool = False


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a store can do. AWS can do all; `[s3] unsupported` names what others lack.

    `conditional_copy`: CopyObject looks at If-None-Match and at If-Match of its target.
    `checksums`: CRC64NVME is checked with every PUT and part, and for the whole object.
    `object_size`: CompleteMultipartUpload does not mind being told the object's size.
    `copied_checksums`: parts are copied into uploads with checksums, too, and have the right one.
    `backslashes`: a key with a backslash is another key than the one with a slash there.
    """

    conditional_put: bool = True
    conditional_complete: bool = True
    conditional_copy: bool = True
    conditional_delete: bool = True
    copy_source_condition: bool = True
    part_copy: bool = True
    checksums: bool = True
    object_size: bool = True
    unequal_parts: bool = True
    copied_checksums: bool = True
    backslashes: bool = True

    def attributes(self, *, value: bool) -> list[str]:
        """The names of the fields that are `value`."""
        known = [field.name for field in fields(self)]
        return [name for name in known if getattr(self, name) is value]

    def names(self, *, value: bool) -> list[str]:
        """The same, as `[s3] unsupported` spells them."""
        return [name.replace("_", "-") for name in self.attributes(value=value)]

    def without(self, names: Iterable[str]) -> Capabilities:
        """The same but for `names`, spelled either way, which are lacking."""
        return replace(self, **{name.replace("-", "_"): False for name in names})


# The store.


class BodySink(Protocol):
    """Takes the body of a GET as it arrives."""

    def began(self, info: ObjectInfo) -> None:
        """The headers are there: `info` has the size of the whole object. Once only."""

    def received(self, data: bytes) -> None:
        """The next bytes of the range, in order, each once, retries unseen."""


class Cancellation(Protocol):
    """Whether the result of a request is still wanted. Once cancelled it stays so."""

    @property
    def is_cancelled(self) -> bool: ...

    def watch(self, on_cancel: Callable[[], None]) -> None:
        """Call `on_cancel`, once, when the token is cancelled; now if it is already."""

    def unwatch(self, on_cancel: Callable[[], None]) -> None:
        """Do not call it any more."""


class ObjectStore(Protocol):
    """An S3 bucket's worth of operations, retried where that can help.

    Raises `sftpgw.errors.StoreError` and its subclasses, and nothing else. To
    cancel, cancel the Deferred that runs the coroutine: the request is dropped.
    What is not among the bucket's capabilities (a condition, checksums) is left out
    of the request. https://docs.aws.amazon.com/AmazonS3/latest/API/
    """

    def capabilities_of(self, bucket: str) -> Capabilities:
        """What is known by now; final once something was written to the bucket."""

    async def learn_capabilities(self, bucket: str) -> Capabilities:
        """The same once it has been tried out, which may take a while. Never raises."""

    def assuming(self, capabilities: Capabilities) -> ObjectStore:
        """The same store, taken to be able to do exactly this: for trying that out."""

    def with_cancel(self, cancel_token: Cancellation) -> ObjectStore:
        """The same store, for requests that are of no use once `cancel_token` is lost.

        What is on its way then is waited for. Nothing is tried again, nor waits for a better
        moment, or for its turn; nothing need be begun. The error is StoreUnavailable.
        """

    async def head_bucket(self, bucket: str) -> None:
        """HeadBucket. :raises NoSuchBucket, AccessDenied:"""

    async def head(self, name: ObjectName, *, with_checksum: bool = False) -> ObjectInfo:
        """HeadObject.

        :param with_checksum: a caller that may not decrypt the object (KMS) is refused then.
        :raises NoSuchObject:
        """

    async def get(
        self,
        name: ObjectName,
        wanted: ByteRange | None,
        sink: BodySink,
        *,
        if_match: str | None = None,
    ) -> None:
        """GetObject into `sink`; returns when the body is whole.

        `wanted` may reach behind the end: what there is comes. A body that
        breaks off is gone on with from its last byte, with If-Match.

        :raises NoSuchObject, PreconditionFailed, ObjectArchived:
        :raises RangeNotSatisfiable: `wanted` begins at or behind the end.
        """

    async def put(
        self,
        name: ObjectName,
        body: Body,
        properties: ObjectProperties,
        condition: WriteCondition = WriteCondition.NONE,
        *,
        checksum: Checksum | None = None,
    ) -> str:
        """PutObject; returns the ETag.

        :param checksum: of `body`, for who knows it, or knows it to be wrong.
        :raises PreconditionFailed, ConditionalConflict:
        """

    async def delete(self, name: ObjectName, *, if_match: str | None = None) -> None:
        """DeleteObject; success if there was none. :raises PreconditionFailed:"""

    async def copy(
        self,
        source: ObjectInfo,
        target: ObjectName,
        condition: WriteCondition = WriteCondition.NONE,
        properties: ObjectProperties | None = None,
        *,
        if_match: str | None = None,
    ) -> str:
        """CopyObject (up to 5 GiB) if the source still has its ETag; returns the new ETag.

        Metadata and tags are kept unless `properties` replaces the metadata;
        the storage class is the source's.

        :param if_match: the ETag that the target must have, for a copy that replaces it.
        :raises NoSuchObject, PreconditionFailed, ObjectArchived:
        """

    async def tags(self, name: ObjectName) -> Mapping[str, str]:
        """GetObjectTagging. :raises NoSuchObject:"""

    async def list(
        self,
        bucket: str,
        prefix: str,
        *,
        delimiter: str = "",
        token: str | None = None,
        limit: int = MAX_LISTED_KEYS,
    ) -> ListPage:
        """One page of ListObjectsV2, keys in UTF-8 binary order."""

    async def create_upload(
        self, name: ObjectName, properties: ObjectProperties, *, copies: bool = False
    ) -> MultipartUpload:
        """CreateMultipartUpload.

        :param copies: whether parts may be copied into it. Where that does not go together with
            checksums, it gets none.
        """

    async def upload_part(
        self,
        upload: MultipartUpload,
        number: int,
        body: Body,
        *,
        checksum: Checksum | None = None,
    ) -> StoredPart:
        """UploadPart, 1 ≤ `number` ≤ 10,000; `checksum` as for `put`. :raises NoSuchUpload:"""

    async def copy_part(
        self, upload: MultipartUpload, number: int, source: ObjectInfo, wanted: ByteRange
    ) -> StoredPart:
        """UploadPartCopy if the source still has its ETag.

        :raises PreconditionFailed:
        :raises CopiesLackChecksums: another upload, begun now to copy into, would do.
        """

    async def complete_upload(
        self,
        upload: MultipartUpload,
        parts: tuple[StoredPart, ...],
        condition: WriteCondition = WriteCondition.NONE,
    ) -> str:
        """CompleteMultipartUpload; returns the object's ETag.

        If every part has a checksum, the object's is made of them and demanded.

        A 200 with an ``<Error>`` body is an error. An answer that was lost is
        settled by a HEAD before this returns or raises.

        :raises NoSuchUpload, PreconditionFailed, ConditionalConflict:
        """

    async def abort_upload(self, upload: MultipartUpload) -> None:
        """AbortMultipartUpload; success if it is gone already."""

    async def list_uploads(
        self, bucket: str, prefix: str, marker: tuple[str, str] | None = None
    ) -> UploadsPage:
        """One page of ListMultipartUploads."""


class SharedStore(ObjectStore, Protocol):
    """The store that all sessions share."""

    def bind(self, **context: str) -> ObjectStore:
        """The same store, whose events carry `context`: the session, the user."""
