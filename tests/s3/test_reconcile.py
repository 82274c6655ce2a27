"""Whether an object is the one that was sent."""

from __future__ import annotations

import hashlib

import pytest
from twisted.web.http_headers import Headers

from sftpgw.model.store import ObjectInfo, ObjectName, StoredPart
from sftpgw.s3.reconcile import Expected, etag_of_body, etag_of_parts, is_ours

OURS, OTHER = "0123456789abcdef" * 2, "f" * 32
KMS = Headers({"x-amz-server-side-encryption": ["aws:kms"]})
SSE_S3 = Headers({"x-amz-server-side-encryption": ["AES256"]})
SSE_C = Headers({"x-amz-server-side-encryption-customer-algorithm": ["AES256"]})
NONE = Headers()


def info(
    etag: str, size_bytes: int = 5, modified_seconds: float = 100.0, **metadata: str
) -> ObjectInfo:
    name = ObjectName("b", "k")
    return ObjectInfo(name, size_bytes, etag, modified_seconds, metadata=metadata)


@pytest.mark.parametrize(
    ("found", "headers", "expected"),
    [
        (info(f'"{OURS}"'), NONE, True),
        (info(OURS), SSE_S3, True),
        (info(f'"{OTHER}"'), NONE, False),
        (info(f'"{OTHER}"'), SSE_S3, False),
        (info(f'"{OTHER}-2"'), NONE, False),
        # The ETag says nothing: size and time decide.
        (info(f'"{OTHER}"'), KMS, True),
        (info(f'"{OTHER}"'), SSE_C, True),
        (info('"opaque"'), NONE, True),
        (info(f'"{OTHER}"', size_bytes=6), KMS, False),
        (info(f'"{OTHER}"', modified_seconds=97.0), KMS, False),
    ],
)
def test_by_etag_else_by_size_and_time(found: ObjectInfo, headers: Headers, expected: bool) -> None:
    assert is_ours(found, headers, Expected(5, 100.0, OURS)) is expected


def test_metadata_must_be_the_same_if_it_is_known() -> None:
    expected = Expected(5, 100.0, metadata={"mtime": "1"})
    assert is_ours(info(OTHER, mtime="1"), NONE, expected)
    assert not is_ours(info(OTHER, mtime="2"), NONE, expected)
    assert not is_ours(info(OTHER), NONE, expected)


def test_the_etag_of_a_body() -> None:
    assert etag_of_body((b"ab", memoryview(b"c"))) == hashlib.md5(b"abc").hexdigest()


def test_the_etag_of_parts() -> None:
    parts = (StoredPart(1, 1, f'"{OURS}"'), StoredPart(2, 1, OTHER))
    joined = hashlib.md5(bytes.fromhex(OURS + OTHER)).hexdigest()
    assert etag_of_parts(parts) == f"{joined}-2"
    assert etag_of_parts((*parts, StoredPart(3, 1, '"opaque"'))) is None
