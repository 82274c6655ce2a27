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
    """The name of an object. Keys are text; S3 gets them in UTF-8."""

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
    """The properties of an object, from HEAD, GET or a list.

    A request that rewrites the object must restate `system_headers`, `encryption` and the tags.

    :param name: bucket and key.
    :param size_bytes: of the whole object.
    :param etag: with its quotes.
    :param modified_seconds: Last-Modified, seconds since 1970; 0 if it is not known.
    :param storage_class: S3's name of the class.
    :param metadata: without the prefix ``x-amz-meta-``, names in lower case; a list has none.
    :param content_type: the Content-Type; a list has none.
    :param system_headers: Cache-Control and the like, names in lower case.
    :param encryption: the headers ``x-amz-server-side-encryption…``, names in lower case.
    :param tag_count: how many tags `ObjectStore.tags` would return.
    :param checksum: of the whole object, if it was asked for and the store has one.
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
    """One page of ListObjectsV2.

    :param objects: in the order of their keys.
    :param prefixes: the common prefixes, each with its delimiter.
    :param next_token: for the next page; None on the last one.
    """

    objects: tuple[ObjectInfo, ...]
    prefixes: tuple[str, ...]
    next_token: str | None


@dataclass(frozen=True, slots=True)
class ObjectProperties:
    """Properties that are fixed when an object, or its multipart upload, is created.

    Empty values leave the choice to the store.
    """

    metadata: Mapping[str, str] = field(default_factory=lambda: NO_METADATA)
    content_type: str = ""
    storage_class: str = ""
    system_headers: Mapping[str, str] = field(default_factory=lambda: NO_METADATA)
    encryption: Mapping[str, str] = field(default_factory=lambda: NO_METADATA)
    tags: Mapping[str, str] = field(default_factory=lambda: NO_METADATA)


class ChecksumAlgorithm(enum.Enum):
    """The algorithms of checksums; the checksums of parts can be joined to that of the object."""

    CRC64NVME = "crc64nvme"
    CRC32C = "crc32c"
    CRC32 = "crc32"


@dataclass(frozen=True, slots=True)
class Checksum:
    """The checksum of some bytes; `value` has 64 or 32 bits."""

    algorithm: ChecksumAlgorithm
    value: int


class WriteCondition(enum.Enum):
    """The condition under which an object may be published."""

    NONE = "none"
    IF_ABSENT = "if-absent"  # If-None-Match: *


@dataclass(frozen=True, slots=True)
class MultipartUpload:
    """An open multipart upload.

    :param name: the object that it will create.
    :param upload_id: the store's name for the upload.
    :param checksum: the algorithm that was announced at the creation; the parts must use it. A
        list does not report it.
    :param initiated_seconds: when it was created, seconds since 1970; only a list reports it, 0 is
        unknown.
    :param may_refuse_copies: nothing has shown yet that parts can be copied into it.
    """

    name: ObjectName
    upload_id: str
    checksum: ChecksumAlgorithm | None = field(default=None, compare=False)
    initiated_seconds: float = field(default=0.0, compare=False)
    may_refuse_copies: bool = field(default=False, compare=False)


@dataclass(frozen=True, slots=True)
class StoredPart:
    """A part that S3 has confirmed; `checksum` is None if none was sent or reported."""

    number: int
    size_bytes: int
    etag: str
    checksum: Checksum | None = None


@dataclass(frozen=True, slots=True)
class UploadsPage:
    """One page of ListMultipartUploads.

    :param uploads: open uploads, in the order of the store.
    :param next_marker: (key marker, id marker) of the next page; None on the last one.
    :param is_ambiguous: the store does not say whether its keys are URL-encoded, and some may be.
    """

    uploads: tuple[MultipartUpload, ...]
    next_marker: tuple[str, str] | None
    is_ambiguous: bool = False


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a store supports. AWS supports all; `[s3] unsupported` names what others lack.

    :param conditional_put: PutObject checks If-None-Match.
    :param conditional_complete: CompleteMultipartUpload checks If-None-Match.
    :param conditional_copy: CopyObject checks If-None-Match and If-Match of its target.
    :param conditional_delete: DeleteObject checks If-Match.
    :param copy_source_condition: CopyObject and UploadPartCopy check the ETag of their source.
    :param part_copy: UploadPartCopy copies ranges of objects.
    :param checksums: CRC64NVME is checked with every PUT and part, and for the whole object.
    :param object_size: CompleteMultipartUpload accepts the header with the object's size.
    :param unequal_parts: the parts of an upload may differ in size.
    :param copied_checksums: parts can be copied into uploads with checksums, and get right ones.
    :param backslashes: a key with a backslash differs from the key with a slash in its place.
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
        """The headers have arrived; `info` has the size of the whole object. Called once."""

    def received(self, data: bytes) -> None:
        """The next bytes of the range, in order, each byte once, whatever was retried."""


class Cancellation(Protocol):
    """Whether the result of a request is still wanted. Once cancelled it stays so."""

    @property
    def is_cancelled(self) -> bool: ...

    def watch(self, on_cancel: Callable[[], None]) -> None:
        """Call `on_cancel`, once, when the token is cancelled; now if it is already."""

    def unwatch(self, on_cancel: Callable[[], None]) -> None:
        """Do not call `on_cancel` any more."""


class ObjectStore(Protocol):
    """The operations on objects in S3, retried where that can help.

    Raises `sftpgw.errors.StoreError` and its subclasses, and nothing else. Cancelling the Deferred
    that runs the coroutine drops the request. A condition or checksum that the bucket's
    capabilities lack is left out of the request. https://docs.aws.amazon.com/AmazonS3/latest/API/
    """

    def capabilities_of(self, bucket: str) -> Capabilities:
        """What the bucket is believed to support; final once an object was written to it."""

    async def learn_capabilities(self, bucket: str) -> Capabilities:
        """The same after a probe, which may take some time. Never raises."""

    def assuming(self, capabilities: Capabilities) -> ObjectStore:
        """The same store, believed to support exactly `capabilities`: for probes."""

    def with_cancel(self, cancel_token: Cancellation) -> ObjectStore:
        """The same store, for requests that are of no use once `cancel_token` is cancelled.

        A request in flight then goes on to its end. Nothing is retried, waits for a slot, or begins
        any more: the error is StoreUnavailable.
        """

    def for_state(self) -> ObjectStore:
        """The same store, for the gateway's own objects, under the state prefix.

        Where sessions have credentials of their own, only this view is signed with the gateway's,
        and everything but its own objects is refused here.
        """

    def of_gateway(self) -> ObjectStore:
        """The same store, for the gateway's own work: its requests wait behind no user's.

        Of a session's view it is the view of `for_state`.
        """

    async def head_bucket(self, bucket: str) -> None:
        """HeadBucket. :raises NoSuchBucket: it does not exist"""

    async def head(self, name: ObjectName, *, with_checksum: bool = False) -> ObjectInfo:
        """HeadObject.

        :param name: the object.
        :param with_checksum: ask for the checksum; a client that may not decrypt the object (KMS)
            is refused then.
        :raises NoSuchObject: it does not exist
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

        After a body that breaks off, the rest is fetched with If-Match.

        :param name: the object.
        :param wanted: the range; it may reach behind the end. None: all.
        :param sink: takes the properties and the bytes.
        :param if_match: the ETag that the object must have.
        :raises NoSuchObject, PreconditionFailed, ObjectArchived: the object cannot be read
        :raises RangeNotSatisfiable: `wanted` begins at or behind the end
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

        :param name: the object to create or replace.
        :param body: its buffers, in order; they are never joined.
        :param properties: of the new object.
        :param condition: checked by the store if it supports that.
        :param checksum: of `body`, if it is known; None: it is computed.
        :raises PreconditionFailed, ConditionalConflict: the condition does not hold
        """

    async def delete(self, name: ObjectName, *, if_match: str | None = None) -> None:
        """DeleteObject; a missing object counts as deleted.

        :param name: the object.
        :param if_match: the ETag that the object must have.
        :raises PreconditionFailed: it has another one
        """

    def can_copy(self, source_bucket: str, target_bucket: str) -> bool:
        """Whether `copy` and `copy_part` can be asked to copy between these buckets: they are in
        one store. Else the bytes must be read and stored."""

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

        The copy has the tags and the storage class of the source.

        :param source: the object to copy, as HEAD or a list showed it.
        :param target: the object to create or replace.
        :param condition: checked by the store if it supports that.
        :param properties: replace the metadata; None: the copy has the source's.
        :param if_match: the ETag that the target must have, for a copy that replaces it.
        :raises NoSuchObject, PreconditionFailed, ObjectArchived: the object cannot be copied
        :raises StoresDiffer: `can_copy` says no
        """

    async def tags(self, name: ObjectName) -> Mapping[str, str]:
        """GetObjectTagging. :raises NoSuchObject: it does not exist"""

    async def list(
        self,
        bucket: str,
        prefix: str,
        *,
        delimiter: str = "",
        token: str | None = None,
        limit: int = MAX_LISTED_KEYS,
    ) -> ListPage:
        """One page of ListObjectsV2, in the binary order of the keys' UTF-8.

        :param bucket: the bucket to list.
        :param prefix: what the listed keys begin with.
        :param delimiter: groups keys into common prefixes; "": it does not.
        :param token: `ListPage.next_token` of the page before; None: the first page.
        :param limit: the largest page.
        """

    async def create_upload(
        self, name: ObjectName, properties: ObjectProperties, *, copies: bool = False
    ) -> MultipartUpload:
        """CreateMultipartUpload.

        :param name: the object that the upload will create.
        :param properties: of the new object.
        :param copies: parts may be copied into the upload; it has no checksums if the store cannot
            do both.
        """

    async def upload_part(
        self,
        upload: MultipartUpload,
        number: int,
        body: Body,
        *,
        checksum: Checksum | None = None,
    ) -> StoredPart:
        """UploadPart.

        :param upload: the open upload.
        :param number: from 1 to 10,000.
        :param body: its buffers, in order; they are never joined.
        :param checksum: of `body`, if it is known; None: it is computed.
        :raises NoSuchUpload: the upload is not open
        """

    async def copy_part(
        self, upload: MultipartUpload, number: int, source: ObjectInfo, wanted: ByteRange
    ) -> StoredPart:
        """UploadPartCopy of the range `wanted`, if the source still has its ETag.

        :raises PreconditionFailed: it has another one
        :raises CopiesLackChecksums: this upload takes no copies; one that is created now does
        :raises StoresDiffer: `can_copy` says no
        """

    async def complete_upload(
        self,
        upload: MultipartUpload,
        parts: tuple[StoredPart, ...],
        condition: WriteCondition = WriteCondition.NONE,
    ) -> str:
        """CompleteMultipartUpload; returns the object's ETag.

        If every part has a checksum, the store must come to the checksum that they join to. A 200
        with an ``<Error>`` body is an error. If a response is lost, a HEAD finds out the result
        before this returns or raises.

        :raises NoSuchUpload, PreconditionFailed, ConditionalConflict: the object is not published
        """

    async def abort_upload(self, upload: MultipartUpload) -> None:
        """AbortMultipartUpload; an upload that is gone counts as aborted."""

    async def list_uploads(
        self, bucket: str, prefix: str, marker: tuple[str, str] | None = None
    ) -> UploadsPage:
        """One page of ListMultipartUploads."""
