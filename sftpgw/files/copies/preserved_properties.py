"""Which properties a rewrite must state, so that the object does not lose them.

Knows: which properties of an object a copy in parts, or one with other metadata, does not take
along.
Must not know: how they are written into a request.

S3 fixes properties when a multipart upload is created. A property that is not stated gets its
default: the class STANDARD, the bucket's encryption, no Content-Type.
https://docs.aws.amazon.com/AmazonS3/latest/API/API_CreateMultipartUpload.html
"""

from __future__ import annotations

from collections.abc import Mapping

from sftpgw.model.store import NO_METADATA, ObjectInfo, ObjectProperties

MTIME = "mtime"

ARCHIVES = frozenset({"GLACIER", "DEEP_ARCHIVE"})
"""Classes whose objects must be restored before they can be read or copied. A copy of a restored
object would have to be restored again."""


def restated(
    info: ObjectInfo,
    *,
    modified_seconds: float | None = None,
    tags: Mapping[str, str] = NO_METADATA,
) -> ObjectProperties:
    """The properties of `info`, stated for another object of the same kind.

    :param info: the object, as HEAD describes it.
    :param modified_seconds: a new mtime; None preserves the old one.
    :param tags: the tags, from `ObjectStore.tags`; HEAD only counts them.
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
    """The mtime that a copy must be given, since its Last-Modified differs from that of `info`.

    None if the object's metadata has an mtime, which the copy takes along.
    """
    return None if MTIME in info.metadata else info.modified_seconds


def is_archived(info: ObjectInfo) -> bool:
    """Whether the store would refuse to copy it, as far as the class says."""
    return info.storage_class in ARCHIVES


def mtime_text(modified_seconds: float) -> str:
    """Float seconds, as rclone and s3fs write them into ``x-amz-meta-mtime``."""
    return f"{modified_seconds:.9f}".rstrip("0").rstrip(".")
