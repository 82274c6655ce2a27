"""How a stored object is copied, and whether the copy is the same.

Knows: how much one request copies, and what sizes, ETags and checksums prove.
Must not know: requests.

One CopyObject copies up to 5 GiB, and so does each UploadPartCopy; there are 10,000 part numbers.
Parts are as equal as possible: some stores want that, and no part takes longer than the others.
https://docs.aws.amazon.com/AmazonS3/latest/API/API_UploadPartCopy.html
"""

from __future__ import annotations

import re

from sftpgw.model.limits import MAX_PARTS
from sftpgw.model.store import ByteRange, ObjectInfo
from sftpgw.model.units import GIB

PART_BYTES = GIB
"""Parts of this size, copied at the same time, are faster than few large ones."""

_PLAIN_MD5 = re.compile(r'"[0-9a-f]{32}"')


def copy_ranges(
    size_bytes: int, *, part_bytes: int = PART_BYTES, max_parts: int = MAX_PARTS
) -> tuple[ByteRange, ...]:
    """The ranges of the parts that together copy an object; all equal but the last.

    :param size_bytes: the size of the object.
    :param part_bytes: the size that a part should have; it has more where the numbers run out.
    :param max_parts: how many part numbers there are.
    """
    count = min(max_parts, max(1, -(-size_bytes // part_bytes)))
    each_bytes = -(-size_bytes // count)
    starts = range(0, size_bytes, each_bytes) if each_bytes else range(1)
    return tuple(ByteRange(start, min(start + each_bytes, size_bytes)) for start in starts)


def proves_same(source_etag: str, copied_etag: str) -> bool:
    """Whether two ETags prove the bytes the same: plain MD5s that are equal.

    Those of multipart uploads depend on the parts, those of objects under KMS on the key.
    """
    return source_etag == copied_etag and _PLAIN_MD5.fullmatch(source_etag) is not None


def is_same(source: ObjectInfo, copied: ObjectInfo) -> bool:
    """Whether a copy has the bytes of its source, as far as size, ETag and checksum tell."""
    if source.size_bytes != copied.size_bytes:
        return False
    if proves_same(source.etag, copied.etag):
        return True
    ours, theirs = source.checksum, copied.checksum
    if ours is None or theirs is None or ours.algorithm is not theirs.algorithm:
        return True
    return ours == theirs


def is_surely_same(source: ObjectInfo, found: ObjectInfo) -> bool:
    """Whether two objects have the same bytes beyond doubt."""
    if source.size_bytes != found.size_bytes:
        return False
    has_same_sum = source.checksum is not None and source.checksum == found.checksum
    return has_same_sum or proves_same(source.etag, found.etag)
