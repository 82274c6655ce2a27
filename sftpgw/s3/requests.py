"""Headers and queries of requests that write, and how their responses are read.

Knows: PutObject, CopyObject and the operations of multipart uploads.
Must not know: how a request is sent, or what follows from a response.
"""

from __future__ import annotations

import base64
from collections.abc import Callable
from urllib.parse import quote

from sftpgw.aws.endpoints import UNRESERVED
from sftpgw.aws.signer import HeaderList
from sftpgw.errors import StoreError
from sftpgw.model.bucket_names import name_in_store
from sftpgw.model.limits import MAX_PARTS
from sftpgw.model.store import (
    Checksum,
    ChecksumAlgorithm,
    MultipartUpload,
    ObjectInfo,
    WriteCondition,
)
from sftpgw.model.units import Body
from sftpgw.s3.checksums import FULL_OBJECT, checksum_in, header_name
from sftpgw.s3.error_codes import CHECKSUM_DIFFERS, STORED_DAMAGED
from sftpgw.s3.error_responses import AttemptError, error_inside_success
from sftpgw.s3.headers import MissingHeader, header
from sftpgw.s3.retry.plan import Fault
from sftpgw.s3.s3_request import Response
from sftpgw.wire import s3xml

ARN_PREFIX = "arn:"
"""The beginning of a "bucket" that is the ARN of an access point."""


def size_of(body: Body) -> int:
    """The size in bytes."""
    return sum(memoryview(buffer).nbytes for buffer in body)


# Requests.


def part_query(upload: MultipartUpload, number: int) -> tuple[tuple[str, str], ...]:
    """The query that names a part. :raises StoreError: S3 has no part of this number"""
    if not 1 <= number <= MAX_PARTS:
        raise StoreError(f"there is no part number {number}", code="InvalidArgument")
    return ("partNumber", str(number)), ("uploadId", upload.upload_id)


def if_absent(condition: WriteCondition, *, is_supported: bool) -> HeaderList:
    """``If-None-Match: *`` if `condition` asks for it and the store supports it."""
    if condition is WriteCondition.IF_ABSENT and is_supported:
        return (("If-None-Match", "*"),)
    return ()


def if_matching(etag: str | None, *, is_supported: bool) -> HeaderList:
    """``If-Match`` with the ETag that a replaced object must have, if the store supports it."""
    if etag is not None and is_supported:
        return (("If-Match", etag),)
    return ()


def checksum_header(checksum: Checksum | None) -> HeaderList:
    """The checksum of this request's body."""
    if checksum is None:
        return ()
    return ((header_name(checksum.algorithm), s3xml.encode_checksum(checksum)),)


def content_md5(digest: bytes) -> HeaderList:
    """The MD5 of this request's body (RFC 1864)."""
    return (("Content-MD5", base64.b64encode(digest).decode("ascii")),)


def checksum_announcement(algorithm: ChecksumAlgorithm | None) -> HeaderList:
    """What CreateMultipartUpload needs if the parts will have checksums."""
    if algorithm is None:
        return ()
    return (
        ("x-amz-checksum-algorithm", algorithm.name),
        ("x-amz-checksum-type", FULL_OBJECT),
    )


def object_checksum(checksum: Checksum | None) -> HeaderList:
    """The checksum of the whole object, for Complete. Without it the store computes its own."""
    if checksum is None:
        return ()
    return (*checksum_header(checksum), ("x-amz-checksum-type", FULL_OBJECT))


def object_size(size_bytes: int, *, is_supported: bool) -> HeaderList:
    """The size of the whole object, for Complete, unless the store refuses the header."""
    return (("x-amz-mp-object-size", str(size_bytes)),) if is_supported else ()


def copy_source(source: ObjectInfo, *, is_guarded: bool, store: str = "") -> HeaderList:
    """The object to copy from.

    :param source: the object, as HEAD or a list showed it.
    :param is_guarded: the store checks that the source still has its ETag.
    :param store: the name of the store that the object is in; empty for ``[s3]``.

    https://docs.aws.amazon.com/AmazonS3/latest/API/API_CopyObject.html
    """
    bucket = name_in_store(source.name.bucket, store)
    if bucket.startswith(ARN_PREFIX):
        # Through an access point an object has an ARN of its own, always with slashes.
        bucket = f"{bucket.replace(':accesspoint:', ':accesspoint/')}/object"
    path = f"{bucket}/{source.name.key}"
    headers: HeaderList = (("x-amz-copy-source", quote(path, safe="/" + UNRESERVED)),)
    if is_guarded:
        headers += (("x-amz-copy-source-if-match", source.etag),)
    return headers


# Responses. Each function returns a reader of responses, which raises what is wrong with one.


def read_etag(sent: Checksum | None, *, is_part: bool = False) -> Callable[[Response], str]:
    """Reads the ETag that PutObject or UploadPart reports.

    It is "" if the store does not report that of an object; a part without one is an error.

    :param sent: the checksum that was sent: a store that did not check it may report another one.
    :param is_part: the request was UploadPart.
    """

    def read(response: Response) -> str:
        etag = s3xml.quoted(header(response.headers, "etag"))
        if not etag and is_part:
            raise MissingHeader("no ETag")
        if sent is not None:
            found = checksum_in(response.headers, sent.algorithm)
            _require_same(sent, found, is_part=is_part)
        return etag

    return read


def read_result(
    kind: str,
    final_codes: frozenset[str] = frozenset(),
    sent: Checksum | None = None,
) -> Callable[[Response], s3xml.WriteResult]:
    """Reads the document of a 200 that may be an error all the same.

    :param kind: the root element, as for `s3xml.parse_write_result`.
    :param final_codes: codes of an error after which the request is not sent again.
    :param sent: the checksum that the object must have.
    """

    def read(response: Response) -> s3xml.WriteResult:
        result = s3xml.parse_write_result(response.document, kind)
        if isinstance(result, s3xml.ErrorDocument):
            raise error_inside_success(result, response.headers, final_codes)
        if sent is not None:
            _require_same(sent, result.checksums.get(sent.algorithm), is_part=False)
        return result

    return read


def read_etag_of_result(
    kind: str, final_codes: frozenset[str] = frozenset(), sent: Checksum | None = None
) -> Callable[[Response], str]:
    """As `read_result`, for the ETag alone."""
    read = read_result(kind, final_codes, sent)
    return lambda response: read(response).etag


def _require_same(sent: Checksum, found: Checksum | None, *, is_part: bool) -> None:
    """:raises AttemptError: the store has other bytes than were sent; a part is sent again"""
    if found is not None and found != sent:
        code = CHECKSUM_DIFFERS if is_part else STORED_DAMAGED
        raise AttemptError(Fault(code, 200), "the store has other bytes than were sent")
