"""What a rewrite must say of an object, so that nothing of it is lost.

Knows: which properties an object has that a copy in parts, or one with other metadata,
does not take along.
Must not know: how they are written into a request.

S3 fixes them when the multipart upload is created, and gives everything that is not
stated its default: the class STANDARD, the bucket's encryption, no Content-Type.
https://docs.aws.amazon.com/AmazonS3/latest/API/API_CreateMultipartUpload.html
"""

from __future__ import annotations

from collections.abc import Mapping

from sftpgw.model.store import NO_METADATA, ObjectInfo, ObjectProperties

MTIME = "mtime"

ARCHIVES = frozenset({"GLACIER", "DEEP_ARCHIVE"})
"""Classes whose objects are neither read nor copied before they were restored. A copy of a
restored one would have to be restored again."""


def restated(
    info: ObjectInfo,
    *,
    modified_seconds: float | None = None,
    tags: Mapping[str, str] = NO_METADATA,
) -> ObjectProperties:
    """The properties of `info`, as HEAD tells them, for another object of the same kind.

    :param modified_seconds: a new mtime, None keeps the old.
    :param tags: as `ObjectStore.tags` tells them; HEAD only counts them.
    """
    metadata = dict(info.metadata)
    if modified_seconds is not None:
        metadata[MTIME] = mtime_text(modified_seconds)
    return ObjectProperties(
        metadata=metadata,
        content_type=info.content_type,
        storage_class=info.storage_class,
        system_headers=info.system_headers,
        encryption=info.encryption,
        tags=tags,
    )


def untold_time(info: ObjectInfo) -> float | None:
    """The time that a copy has to be given to show what `info` shows, its date being another.

    None: it has one of its own.
    """
    return None if MTIME in info.metadata else info.modified_seconds


def is_archived(info: ObjectInfo) -> bool:
    """Whether the store would refuse to copy it, as far as the class says."""
    return info.storage_class in ARCHIVES


def mtime_text(modified_seconds: float) -> str:
    """Float seconds, as rclone and s3fs write them into ``x-amz-meta-mtime``."""
    return f"{modified_seconds:.9f}".rstrip("0").rstrip(".")
