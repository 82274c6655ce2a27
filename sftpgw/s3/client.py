"""`S3Client`: the operations of `ObjectStore` in S3's REST API.

Knows: each operation's request, its answer, and what its errors mean.
Must not know: signing, connections, retries (`sending`), paths, SFTP.

https://docs.aws.amazon.com/AmazonS3/latest/API/API_Operations_Amazon_Simple_Storage_Service.html
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar
from urllib.parse import quote

from twisted.web.http_headers import Headers

from sftpgw.errors import (
    NoSuchBucket,
    NoSuchObject,
    NoSuchUpload,
    PreconditionFailed,
    StoreError,
)
from sftpgw.interfaces import BodySink, EventSink
from sftpgw.s3.downloads import Download
from sftpgw.s3.endpoints import UNRESERVED
from sftpgw.s3.headers import MissingHeader, count, header, object_info, property_headers
from sftpgw.s3.sending import Answer, S3Request, Sender, Trail, refused_inside_success
from sftpgw.s3.settling import Expected, etag_of_body, etag_of_parts, is_ours
from sftpgw.s3.signing import HeaderList
from sftpgw.values import (
    Body,
    ByteRange,
    Capabilities,
    ListPage,
    MultipartUpload,
    ObjectInfo,
    ObjectName,
    ObjectProperties,
    StoredPart,
    UploadsPage,
    WriteCondition,
)
from sftpgw.wire import s3xml

MAX_PART_NUMBER = 10_000

T = TypeVar("T")


class S3Client:
    """An S3 store. Views made by `bind` share everything but what their events carry."""

    def __init__(self, sender: Sender, events: EventSink) -> None:
        self._sender = sender
        self._events = events

    def bind(self, **facts: object) -> S3Client:
        """The same store, whose events carry `facts`."""
        return S3Client(self._sender, self._events.bind(**facts))

    @property
    def requests(self) -> Counter[str]:
        """Requests sent so far, retries included, by S3's names of the operations."""
        return self._sender.requests

    @property
    def capabilities(self) -> Capabilities:
        return self._sender.settings.capabilities

    async def close(self) -> None:
        """Drop every connection, of all views; returns when they are gone."""
        await self._sender.http.close()

    # Reading.

    async def head_bucket(self, bucket: str) -> None:
        await self._send(S3Request("HeadBucket", "HEAD", bucket, missing=NoSuchBucket))

    async def head(self, name: ObjectName) -> ObjectInfo:
        info, _ = await self._head(name)
        return info

    async def get(
        self,
        name: ObjectName,
        wanted: ByteRange | None,
        sink: BodySink,
        *,
        if_match: str | None = None,
    ) -> None:
        if wanted is not None and not 0 <= wanted.start < wanted.stop:
            raise StoreError("an empty range", code="BadRequest")
        download = Download(name, wanted, sink, if_match)
        await self._sender.send(download.next_request, self._events, stream=download)

    async def list(
        self,
        bucket: str,
        prefix: str,
        *,
        delimiter: str = "",
        token: str | None = None,
        start_after: str = "",
        limit: int = 1000,
    ) -> ListPage:
        query = [("list-type", "2"), ("encoding-type", "url"), ("max-keys", str(limit))]
        optional = (
            ("prefix", prefix),
            ("delimiter", delimiter),
            ("continuation-token", token or ""),
            ("start-after", start_after),
        )
        query += [(name, value) for name, value in optional if value]
        request = S3Request("ListObjectsV2", "GET", bucket, query=tuple(query))
        return await self._send_for(request, lambda a: s3xml.parse_object_list(a.document, bucket))

    async def list_uploads(
        self, bucket: str, prefix: str, marker: tuple[str, str] | None = None
    ) -> UploadsPage:
        key_marker, id_marker = marker or ("", "")
        query = [("uploads", ""), ("encoding-type", "url")]
        optional = (
            ("prefix", prefix),
            ("key-marker", key_marker),
            ("upload-id-marker", id_marker),
        )
        query += [(name, value) for name, value in optional if value]
        request = S3Request("ListMultipartUploads", "GET", bucket, query=tuple(query))
        return await self._send_for(request, lambda a: s3xml.parse_upload_list(a.document, bucket))

    # Writing.

    async def put(
        self,
        name: ObjectName,
        body: Body,
        properties: ObjectProperties,
        condition: WriteCondition = WriteCondition.NONE,
    ) -> str:
        demanded = _if_absent(condition, self.capabilities.conditional_put)
        request = S3Request(
            "PutObject",
            "PUT",
            name.bucket,
            name.key,
            headers=self._creation(properties) + demanded,
            body=body,
            missing=NoSuchBucket,
        )
        began_seconds = self._sender.signer.now_seconds()
        return await self._send_settled(
            request,
            _etag,
            lambda: Expected(
                _size_bytes(body), began_seconds, etag_of_body(body), properties.metadata
            ),
        )

    async def delete(self, name: ObjectName, *, if_match: str | None = None) -> None:
        is_demanded = if_match is not None and self.capabilities.conditional_delete
        headers: HeaderList = (("If-Match", if_match or ""),) if is_demanded else ()
        trail = Trail()
        try:
            await self._send(
                S3Request("DeleteObject", "DELETE", name.bucket, name.key, headers=headers), trail
            )
        except NoSuchObject:
            return
        except PreconditionFailed:
            if not trail.may_have_happened or await self._exists(name):
                raise

    async def copy(
        self,
        source: ObjectInfo,
        target: ObjectName,
        condition: WriteCondition = WriteCondition.NONE,
        properties: ObjectProperties | None = None,
    ) -> str:
        headers = self._copy_source(source) + _if_absent(
            condition, self.capabilities.conditional_copy
        )
        request = S3Request(
            "CopyObject",
            "PUT",
            target.bucket,
            target.key,
            headers=headers + _copied_properties(source, properties),
            is_slow=True,
        )
        began_seconds = self._sender.signer.now_seconds()
        metadata = source.metadata if properties is None else properties.metadata
        return await self._send_settled(
            request,
            _write_result("CopyObjectResult"),
            lambda: Expected(source.size_bytes, began_seconds, metadata=metadata),
        )

    # Multipart uploads.

    async def create_upload(
        self, name: ObjectName, properties: ObjectProperties
    ) -> MultipartUpload:
        request = S3Request(
            "CreateMultipartUpload",
            "POST",
            name.bucket,
            name.key,
            query=(("uploads", ""),),
            headers=self._creation(properties),
            missing=NoSuchBucket,
        )
        return await self._send_for(
            request, lambda answer: s3xml.parse_created_upload(answer.document, name)
        )

    async def upload_part(self, upload: MultipartUpload, number: int, body: Body) -> StoredPart:
        request = S3Request(
            "UploadPart",
            "PUT",
            upload.name.bucket,
            upload.name.key,
            query=_part_query(upload, number),
            body=body,
            missing=NoSuchUpload,
        )
        etag = await self._send_for(request, _etag)
        return StoredPart(number, _size_bytes(body), etag)

    async def copy_part(
        self, upload: MultipartUpload, number: int, source: ObjectInfo, wanted: ByteRange
    ) -> StoredPart:
        headers = self._copy_source(source)
        if wanted != ByteRange(0, source.size_bytes):  # S3 refuses ranges of small sources
            headers += (("x-amz-copy-source-range", f"bytes={wanted.start}-{wanted.stop - 1}"),)
        request = S3Request(
            "UploadPartCopy",
            "PUT",
            upload.name.bucket,
            upload.name.key,
            query=_part_query(upload, number),
            headers=headers,
            is_slow=True,
        )
        etag = await self._send_for(request, _write_result("CopyPartResult"))
        return StoredPart(number, wanted.size_bytes, etag)

    async def complete_upload(
        self,
        upload: MultipartUpload,
        parts: tuple[StoredPart, ...],
        condition: WriteCondition = WriteCondition.NONE,
    ) -> str:
        request = S3Request(
            "CompleteMultipartUpload",
            "POST",
            upload.name.bucket,
            upload.name.key,
            query=(("uploadId", upload.upload_id),),
            headers=(
                ("content-type", "application/xml"),
                *_if_absent(condition, self.capabilities.conditional_complete),
            ),
            body=(s3xml.build_complete_upload(parts),),
            missing=NoSuchUpload,
            is_slow=True,
            conflict_is_final=True,
        )
        began_seconds = self._sender.signer.now_seconds()
        return await self._send_settled(
            request,
            _write_result("CompleteMultipartUploadResult", conflict_is_final=True),
            lambda: Expected(
                sum(part.size_bytes for part in parts), began_seconds, etag_of_parts(parts)
            ),
        )

    async def abort_upload(self, upload: MultipartUpload) -> None:
        request = S3Request(
            "AbortMultipartUpload",
            "DELETE",
            upload.name.bucket,
            upload.name.key,
            query=(("uploadId", upload.upload_id),),
            missing=NoSuchUpload,
        )
        try:
            await self._send(request)
        except NoSuchUpload:
            return

    # Common to several.

    async def _send(self, request: S3Request, trail: Trail | None = None) -> Answer:
        return await self._sender.send(request, self._events, trail=trail)

    async def _send_for(
        self, request: S3Request, read: Callable[[Answer], T], trail: Trail | None = None
    ) -> T:
        """Send for what `read` finds in the answer; an answer without it is tried again."""
        found: list[T] = []
        await self._sender.send(
            request, self._events, accept=lambda answer: found.append(read(answer)), trail=trail
        )
        return found[-1]

    async def _send_settled(
        self,
        request: S3Request,
        read_etag: Callable[[Answer], str],
        expected: Callable[[], Expected],
    ) -> str:
        """Publish an object. Refused after an answer was lost, it may be there: look."""
        trail = Trail()
        try:
            return await self._send_for(request, read_etag, trail)
        except StoreError:
            name = ObjectName(request.bucket, request.key)
            if trail.may_have_happened and (etag := await self._settled(name, expected())):
                return etag
            raise

    async def _settled(self, name: ObjectName, expected: Expected) -> str | None:
        """The ETag of the object if it is the one expected, None if it is not, or in doubt."""
        try:
            info, headers = await self._head(name)
        except StoreError:
            return None
        return info.etag if is_ours(info, headers, expected) else None

    async def _head(self, name: ObjectName) -> tuple[ObjectInfo, Headers]:
        def read(answer: Answer) -> tuple[ObjectInfo, Headers]:
            size_bytes = count(answer.headers, "content-length")
            return object_info(name, size_bytes, answer.headers), answer.headers

        return await self._send_for(S3Request("HeadObject", "HEAD", name.bucket, name.key), read)

    async def _exists(self, name: ObjectName) -> bool:
        try:
            await self._head(name)
        except NoSuchObject:
            return False
        return True

    def _creation(self, properties: ObjectProperties) -> HeaderList:
        return tuple(property_headers(properties, self._sender.settings.storage_class))

    def _copy_source(self, source: ObjectInfo) -> HeaderList:
        path = f"{source.name.bucket}/{source.name.key}"
        headers: HeaderList = (("x-amz-copy-source", quote(path, safe="/" + UNRESERVED)),)
        if self.capabilities.copy_source_condition:
            headers += (("x-amz-copy-source-if-match", source.etag),)
        return headers


def _copied_properties(source: ObjectInfo, properties: ObjectProperties | None) -> HeaderList:
    """What CopyObject must be told so that nothing is lost: its class, and all of a rewrite."""
    source_class = "" if source.storage_class == "STANDARD" else source.storage_class
    if properties is None:
        return (("x-amz-storage-class", source_class),) if source_class else ()
    restated = replace(properties, content_type=properties.content_type or source.content_type)
    return (
        ("x-amz-metadata-directive", "REPLACE"),
        *property_headers(restated, source_class),
        *source.system_headers.items(),
    )


def _if_absent(condition: WriteCondition, is_supported: bool) -> HeaderList:
    if condition is WriteCondition.IF_ABSENT and is_supported:
        return (("If-None-Match", "*"),)
    return ()


def _part_query(upload: MultipartUpload, number: int) -> tuple[tuple[str, str], ...]:
    if not 1 <= number <= MAX_PART_NUMBER:
        raise StoreError(f"there is no part number {number}", code="InvalidArgument")
    return ("partNumber", str(number)), ("uploadId", upload.upload_id)


def _size_bytes(body: Body) -> int:
    return sum(memoryview(buffer).nbytes for buffer in body)


def _etag(answer: Answer) -> str:
    if etag := header(answer.headers, "etag"):
        return etag
    raise MissingHeader("no ETag")


def _write_result(kind: str, *, conflict_is_final: bool = False) -> Callable[[Answer], str]:
    """Reads an answer that may be an error although its status is 200."""

    def read(answer: Answer) -> str:
        result = s3xml.parse_write_result(answer.document, kind)
        if isinstance(result, s3xml.ErrorDocument):
            raise refused_inside_success(
                result, answer.headers, conflict_is_final=conflict_is_final
            )
        return result.etag

    return read
