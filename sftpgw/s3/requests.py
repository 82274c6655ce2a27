"""What single writing requests say, and how their answers are read.

Knows: headers and queries of PutObject, CopyObject and of multipart uploads.
Must not know: how they are sent, or what follows from an answer.
"""

from __future__ import annotations

import base64
from collections.abc import Callable
from dataclasses import replace
from urllib.parse import quote

from sftpgw.aws.endpoints import UNRESERVED
from sftpgw.aws.signer import HeaderList
from sftpgw.errors import StoreError
from sftpgw.model.limits import MAX_PARTS
from sftpgw.model.store import (
    Checksum,
    ChecksumAlgorithm,
    MultipartUpload,
    ObjectInfo,
    ObjectProperties,
    WriteCondition,
)
from sftpgw.model.units import Body
from sftpgw.s3.checksums import FULL_OBJECT, header_name, told_checksum
from sftpgw.s3.error_responses import AttemptFailed, refused_inside_success
from sftpgw.s3.headers import MissingHeader, header, property_headers
from sftpgw.s3.request_executor import Response
from sftpgw.s3.retry.plan import CHECKSUM_DIFFERS, STORED_DAMAGED, Fault
from sftpgw.wire import s3xml

ARN = "arn:"
"""How a bucket begins that is an access point."""


def size_of(body: Body) -> int:
    """Bytes."""
    return sum(memoryview(buffer).nbytes for buffer in body)


# Requests.


def part_query(upload: MultipartUpload, number: int) -> tuple[tuple[str, str], ...]:
    """:raises StoreError: there is no part of this number"""
    if not 1 <= number <= MAX_PARTS:
        raise StoreError(f"there is no part number {number}", code="InvalidArgument")
    return ("partNumber", str(number)), ("uploadId", upload.upload_id)


def if_absent(condition: WriteCondition, *, is_supported: bool) -> HeaderList:
    """The condition, left out where the store knows none."""
    if condition is WriteCondition.IF_ABSENT and is_supported:
        return (("If-None-Match", "*"),)
    return ()


def if_matching(etag: str | None, *, is_supported: bool) -> HeaderList:
    """What is replaced must have this ETag, left out where the store does not look at it."""
    if etag is not None and is_supported:
        return (("If-Match", etag),)
    return ()


def checksum_header(checksum: Checksum | None) -> HeaderList:
    """What the bytes of this request must come to."""
    if checksum is None:
        return ()
    return ((header_name(checksum.algorithm), s3xml.encode_checksum(checksum)),)


def content_md5(digest: bytes) -> HeaderList:
    """The MD5 of the bytes of this request, RFC 1864."""
    return (("Content-MD5", base64.b64encode(digest).decode("ascii")),)


def checksum_announcement(algorithm: ChecksumAlgorithm | None) -> HeaderList:
    """What CreateMultipartUpload must be told if parts will have sums."""
    if algorithm is None:
        return ()
    return (
        ("x-amz-checksum-algorithm", algorithm.name),
        ("x-amz-checksum-type", FULL_OBJECT),
    )


def object_checksum(checksum: Checksum | None) -> HeaderList:
    """What Complete must be told of the whole; without a sum the store makes its own."""
    if checksum is None:
        return ()
    return (*checksum_header(checksum), ("x-amz-checksum-type", FULL_OBJECT))


def object_size(size_bytes: int, *, is_supported: bool) -> HeaderList:
    """What the parts must come to, left out where the store would refuse to be told."""
    return (("x-amz-mp-object-size", str(size_bytes)),) if is_supported else ()


def copy_source(source: ObjectInfo, *, is_guarded: bool) -> HeaderList:
    """What is copied; guarded: only if it is still the same.

    https://docs.aws.amazon.com/AmazonS3/latest/API/API_CopyObject.html
    """
    bucket = source.name.bucket
    if bucket.startswith(ARN):
        # By an access point an object has an ARN of its own, always with slashes.
        bucket = f"{bucket.replace(':accesspoint:', ':accesspoint/')}/object"
    path = f"{bucket}/{source.name.key}"
    headers: HeaderList = (("x-amz-copy-source", quote(path, safe="/" + UNRESERVED)),)
    if is_guarded:
        headers += (("x-amz-copy-source-if-match", source.etag),)
    return headers


def copied_properties(source: ObjectInfo, properties: ObjectProperties | None) -> HeaderList:
    """What CopyObject must be told so that nothing is lost: its class, and all of a rewrite."""
    source_class = "" if source.storage_class == "STANDARD" else source.storage_class
    kept = ObjectProperties(storage_class=source_class, encryption=source.encryption)
    if properties is None:
        return tuple(property_headers(kept, ""))
    return (
        ("x-amz-metadata-directive", "REPLACE"),
        *property_headers(
            replace(
                properties,
                storage_class=properties.storage_class or source_class,
                content_type=properties.content_type or source.content_type,
                system_headers=properties.system_headers or source.system_headers,
                encryption=properties.encryption or source.encryption,
                tags={},  # they come along, since nothing is said of them
            ),
            "",
        ),
    )


# Answers. Each function returns what reads an answer, and raises what is wrong with it.


def read_etag(sent: Checksum | None, *, is_part: bool = False) -> Callable[[Response], str]:
    """The ETag of what PutObject or UploadPart has stored; "" if that of an object is not told.

    A store that has not checked what it was told to check may yet tell what it has.

    :param sent: the checksum of what was sent.
    """

    def read(answer: Response) -> str:
        etag = s3xml.quoted(header(answer.headers, "etag"))
        if not etag and is_part:
            raise MissingHeader("no ETag")
        if sent is not None:
            _demand_same(sent, told_checksum(answer.headers, sent.algorithm), is_part=is_part)
        return etag

    return read


def read_result(
    kind: str,
    final_codes: frozenset[str] = frozenset(),
    sent: Checksum | None = None,
) -> Callable[[Response], s3xml.WriteResult]:
    """The document of a 200 that may be an error nevertheless.

    :param kind: as for `s3xml.parse_write_result`.
    :param sent: the checksum that the object must have.
    """

    def read(answer: Response) -> s3xml.WriteResult:
        result = s3xml.parse_write_result(answer.document, kind)
        if isinstance(result, s3xml.ErrorDocument):
            raise refused_inside_success(result, answer.headers, final_codes)
        if sent is not None:
            _demand_same(sent, result.checksums.get(sent.algorithm), is_part=False)
        return result

    return read


def _demand_same(sent: Checksum, told: Checksum | None, *, is_part: bool) -> None:
    """:raises AttemptFailed: the store has something else; a part is sent again"""
    if told is not None and told != sent:
        code = CHECKSUM_DIFFERS if is_part else STORED_DAMAGED
        raise AttemptFailed(Fault(code, 200), "the store has other bytes than were sent")
