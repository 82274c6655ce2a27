"""Whether a stored object is the one that was sent, after a response was lost.

Knows: checksums, how S3 makes the ETags of objects and multipart uploads, and when ETags say
nothing about the bytes.
Must not know: requests (`s3/publisher`).

A checksum of the whole object decides, where one was sent and the store reports it. Else the ETag
does: it is the MD5 of the bytes, or of the parts' MD5s followed by ``-N``, unless the object is
encrypted with KMS or customer keys. Where the ETag says nothing, an object counts as the one that
was sent if size and metadata are the same and it was stored after the request began. In doubt it
is not: a request that failed by mistake can be repeated, one that succeeded by mistake loses a
file.
https://docs.aws.amazon.com/AmazonS3/latest/API/API_Object.html
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from twisted.web.http_headers import Headers

from sftpgw.model.store import Checksum, ObjectInfo, StoredPart
from sftpgw.model.units import Body
from sftpgw.s3.checksums import checksum_in, new_md5
from sftpgw.s3.headers import header

CLOCK_SLACK_SECONDS = 2.0  # Last-Modified has whole seconds

_MD5 = re.compile(r'"?([0-9a-f]{32})"?')
_MD5_OR_MULTIPART = re.compile(r'"?[0-9a-f]{32}(-\d+)?"?')


@dataclass(frozen=True, slots=True)
class Expected:
    """What was sent.

    :param size_bytes: of the whole object.
    :param since_seconds: when the request began, seconds since 1970 by the store's clock.
    :param etag: the ETag that such an object has; None: not known.
    :param metadata: without the prefix ``x-amz-meta-``; None: not known.
    :param checksum: the one that was sent; None: none was.
    """

    size_bytes: int
    since_seconds: float
    etag: str | None = None
    metadata: Mapping[str, str] | None = None
    checksum: Checksum | None = None


def is_ours(found: ObjectInfo, headers: Headers, expected: Expected) -> bool:
    """Whether `found`, with the `headers` of its HEAD, is the object that was sent."""
    if expected.checksum is not None:
        checksum = checksum_in(headers, expected.checksum.algorithm)
        if checksum is not None:
            return checksum == expected.checksum and found.size_bytes == expected.size_bytes
    if expected.etag is not None and _is_of_bytes(found.etag, headers):
        return found.etag.strip('"') == expected.etag.strip('"')
    return (
        found.size_bytes == expected.size_bytes
        and found.modified_seconds >= expected.since_seconds - CLOCK_SLACK_SECONDS
        and (expected.metadata is None or dict(found.metadata) == dict(expected.metadata))
    )


def etag_of_body(body: Body) -> str | None:
    """The ETag of an object stored by one PutObject; None if this Python has no MD5."""
    digest = new_md5()
    if digest is None:
        return None
    for buffer in body:
        digest.update(buffer)
    return str(digest.hexdigest())


def etag_of_parts(parts: tuple[StoredPart, ...]) -> str | None:
    """The ETag of a multipart upload; None if a part's ETag is no MD5, or Python has none."""
    matches = [_MD5.fullmatch(part.etag) for part in parts]
    digests = [bytes.fromhex(match.group(1)) for match in matches if match]
    digest = new_md5()
    if len(digests) < len(parts) or digest is None:
        return None
    digest.update(b"".join(digests))
    return f"{digest.hexdigest()}-{len(parts)}"


def _is_of_bytes(etag: str, headers: Headers) -> bool:
    """Whether an ETag is made from the stored bytes."""
    return (
        not header(headers, "x-amz-server-side-encryption").startswith("aws:kms")
        and not header(headers, "x-amz-server-side-encryption-customer-algorithm")
        and _MD5_OR_MULTIPART.fullmatch(etag) is not None
    )
