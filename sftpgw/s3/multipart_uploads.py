"""The operations of multipart uploads.

Knows: each operation's request, its response, and what its errors mean.
Must not know: how a request is sent, how a lost response is settled (`s3/publisher`).

https://docs.aws.amazon.com/AmazonS3/latest/userguide/mpuoverview.html
"""

from __future__ import annotations

from dataclasses import replace

from sftpgw.errors import NoSuchBucket, NoSuchUpload, StoreError
from sftpgw.model.store import (
    ByteRange,
    Checksum,
    MultipartUpload,
    ObjectInfo,
    ObjectName,
    ObjectProperties,
    StoredPart,
    WriteCondition,
)
from sftpgw.model.units import Body
from sftpgw.s3.checksums import joined
from sftpgw.s3.error_codes import CONFLICTS, DAMAGE
from sftpgw.s3.error_responses import refuses_checksums, refuses_unequal_parts
from sftpgw.s3.reconcile import Expected, etag_of_parts
from sftpgw.s3.requests import (
    checksum_announcement,
    copy_source,
    if_absent,
    object_checksum,
    object_size,
    part_query,
    read_etag,
    read_etag_of_result,
    read_result,
    size_of,
)
from sftpgw.s3.s3_request import S3Request
from sftpgw.s3.write_support import WriteSupport
from sftpgw.wire import s3xml


class MultipartUploads:
    """The operations of a view on multipart uploads.

    :param support: what all writing operations use.
    """

    def __init__(self, support: WriteSupport) -> None:
        self._support = support

    async def create(
        self, name: ObjectName, properties: ObjectProperties, *, copies: bool
    ) -> MultipartUpload:
        support, source = self._support, self._support.capability_source
        capabilities = await support.fallbacks.for_writing(name)
        algorithm = source.checksum(name.bucket)
        if copies and not capabilities.copied_checksums:
            algorithm = None
        announcement = checksum_announcement(algorithm)
        request = S3Request(
            "CreateMultipartUpload",
            "POST",
            name.bucket,
            name.key,
            query=(("uploads", ""),),
            headers=(*support.new_object_headers(name, properties), *announcement),
            missing=NoSuchBucket,
            optional=support.integrity.optional(announcement),
            find_reason=lambda: support.reasons.folder_in_the_way(name),
        )
        created = await support.fallbacks.send(
            request,
            lambda adapted: support.executor.send_for(
                adapted, lambda response: s3xml.parse_created_upload(response.document, name)
            ),
        )
        # The store may have refused the checksum just now.
        algorithm = source.checksum(name.bucket) and algorithm
        is_proved = algorithm is None or source.is_proved(name.bucket, "copied_checksums")
        return replace(created, checksum=algorithm, may_refuse_copies=not is_proved)

    async def upload_part(
        self, upload: MultipartUpload, number: int, body: Body, checksum: Checksum | None
    ) -> StoredPart:
        support = self._support
        final_codes = DAMAGE if checksum else frozenset[str]()
        if checksum is None:
            checksum = await support.integrity.checksum(body, upload.checksum, support.user)
        request = S3Request(
            "UploadPart",
            "PUT",
            upload.name.bucket,
            upload.name.key,
            query=part_query(upload, number),
            headers=await support.integrity.headers(body, checksum, support.user),
            body=body,
            missing=NoSuchUpload,
            final_codes=final_codes,
        )
        etag = await support.executor.send_for(request, read_etag(checksum, is_part=True))
        return StoredPart(number, size_of(body), etag, checksum)

    async def copy_part(
        self, upload: MultipartUpload, number: int, source: ObjectInfo, wanted: ByteRange
    ) -> StoredPart:
        support = self._support
        capabilities = await support.capability_source.known(upload.name.bucket)
        headers = copy_source(
            source,
            is_guarded=capabilities.copy_source_condition,
            store=support.store_name,
        )
        if wanted != ByteRange(0, source.size_bytes):  # S3 refuses ranges of small sources
            headers += (("x-amz-copy-source-range", f"bytes={wanted.start}-{wanted.stop - 1}"),)
        request = S3Request(
            "UploadPartCopy",
            "PUT",
            upload.name.bucket,
            upload.name.key,
            query=part_query(upload, number),
            headers=headers,
            is_slow=True,
            source=source.name,
        )
        try:
            result = await support.executor.send_for(request, read_result("CopyPartResult"))
        except StoreError as error:
            if upload.checksum is None or not refuses_checksums(error):
                raise
            raise support.fallbacks.copies_lack_checksums(upload, error.message) from error
        if upload.checksum is None:
            return StoredPart(number, wanted.size_bytes, result.etag)
        checksum = result.checksums.get(upload.checksum)
        await support.fallbacks.require_credible_copy(upload, source, wanted, checksum)
        return StoredPart(number, wanted.size_bytes, result.etag, checksum)

    async def complete(
        self,
        upload: MultipartUpload,
        parts: tuple[StoredPart, ...],
        condition: WriteCondition,
    ) -> str:
        support = self._support
        capabilities = await support.capability_source.known(upload.name.bucket)
        whole = joined(parts, upload.checksum) if upload.checksum else None
        size_bytes = sum(part.size_bytes for part in parts)
        request = S3Request(
            "CompleteMultipartUpload",
            "POST",
            upload.name.bucket,
            upload.name.key,
            query=(("uploadId", upload.upload_id),),
            headers=(
                ("content-type", "application/xml"),
                *if_absent(condition, is_supported=capabilities.conditional_complete),
                *object_checksum(whole),
                *object_size(size_bytes, is_supported=capabilities.object_size),
            ),
            body=(s3xml.build_complete_upload(parts),),
            missing=NoSuchUpload,
            is_slow=True,
            final_codes=CONFLICTS | DAMAGE,
            optional=(
                ("conditional_complete", "If-None-Match"),
                ("object_size", "x-amz-mp-object-size"),
            ),
            find_reason=lambda: support.reasons.upload_not_completed(upload),
        )
        began_seconds = support.now_seconds()
        try:
            return await support.publisher.publish(
                request,
                read_etag_of_result("CompleteMultipartUploadResult", request.final_codes, whole),
                lambda: Expected(size_bytes, began_seconds, etag_of_parts(parts), checksum=whole),
            )
        except StoreError as error:
            if upload.checksum is not None and whole is None and refuses_checksums(error):
                raise support.fallbacks.copies_lack_checksums(upload, error.message) from error
            if not refuses_unequal_parts(error):
                raise
            raise support.fallbacks.parts_must_be_equal(upload, error) from error

    async def abort(self, upload: MultipartUpload) -> None:
        request = S3Request(
            "AbortMultipartUpload",
            "DELETE",
            upload.name.bucket,
            upload.name.key,
            query=(("uploadId", upload.upload_id),),
            missing=NoSuchUpload,
        )
        try:
            await self._support.executor.send(request)
        except NoSuchUpload:
            return
