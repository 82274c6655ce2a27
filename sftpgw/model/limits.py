"""The limits that S3 sets, each with the page that states it.

Other stores set the same limits or wider ones. Narrower ones show in their errors.
"""

from __future__ import annotations

from sftpgw.model.units import GIB, MIB

MAX_PARTS = 10_000
"""Part numbers of a multipart upload go from 1 to this.
https://docs.aws.amazon.com/AmazonS3/latest/API/API_UploadPart.html"""

MIN_PART_BYTES = 5 * MIB
"""The least size of all parts of an upload but the last one.
https://docs.aws.amazon.com/AmazonS3/latest/API/API_CompleteMultipartUpload.html"""

MAX_PART_BYTES = 5 * GIB
"""The largest part, whether it is sent (UploadPart) or copied (UploadPartCopy).
https://docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html"""

MAX_COPY_BYTES = 5 * GIB
"""The largest object that CopyObject takes.
https://docs.aws.amazon.com/AmazonS3/latest/API/API_CopyObject.html"""

MAX_KEY_BYTES = 1024
"""The longest key, in UTF-8.
https://docs.aws.amazon.com/AmazonS3/latest/userguide/object-keys.html"""

MAX_LISTED_KEYS = 1000
"""The keys and common prefixes on one page of ListObjectsV2 (``max-keys``).
https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListObjectsV2.html"""

MAX_NAME_BYTES = 255
"""The longest name of a file where a store keeps objects as files (NAME_MAX of ext4 and XFS)."""


def is_longer_than_files(key: str) -> bool:
    """Whether a store that keeps its objects as files may be unable to have this key.

    A name has at most 255 bytes there (NAME_MAX of ext4 and XFS); S3 knows no names, only keys.
    """
    encoded = key.encode("utf-8", "surrogateescape")
    return len(encoded) > MAX_KEY_BYTES or any(
        len(name) > MAX_NAME_BYTES for name in encoded.split(b"/")
    )
