"""The objects that stand for directories.

Knows: what we write, and what others write.
Must not know: requests.

A directory is whatever has keys below it. One that is to exist without any has a marker:
``name/``, of no bytes, which we, S3's console, s3fs and others write, each with a content
type of its own. Hadoop's s3n and EMR write ``name_$folder$`` instead: without bytes it
stands for the directory ``name`` and is no file; with some it is a file like any other.

So it is with ``name/``: S3 lets it hold bytes, and these are somebody's. Such an object still
stands for its directory, which is listed with a file `MARKER_CONTENT` in it: that can be read,
and removed, which leaves the marker. Nothing else writes over it or deletes it.
https://docs.aws.amazon.com/AmazonS3/latest/userguide/using-folders.html
"""

from __future__ import annotations

from sftpgw.errors import DirectoryNotEmpty, PermissionDenied
from sftpgw.files.paths import MARKER_CONTENT, Location
from sftpgw.model.store import ListPage, ObjectInfo, ObjectName, ObjectProperties

MARKER = ObjectProperties(content_type="application/x-directory")

ENTRIES_TO_BE_EMPTY = 3
"""What a list is asked for to see if a directory is empty: its marker, itself as a prefix, more."""

HADOOP_SUFFIX = "_$folder$"


def is_empty_marker(info: ObjectInfo) -> bool:
    """Whether an object is a directory's marker, and nothing else."""
    return info.name.key.endswith("/") and not info.size_bytes


def hadoop_marker(location: Location) -> ObjectName:
    """What Hadoop would mark this directory with."""
    return ObjectName(location.bucket, location.prefix.removesuffix("/") + HADOOP_SUFFIX)


def require_writable(location: Location) -> None:
    """:raises PermissionDenied: the name stands for what a marker holds, or is below such a name.

    What was stored below it could not be seen: no listing shows a folder of that name.
    """
    if MARKER_CONTENT in location.segments[0 if location.mount.key_prefix else 1 :]:
        raise PermissionDenied(
            f"{location.path}: {MARKER_CONTENT} stands for the bytes of the folder's own object; "
            f"they "
            "can be read and removed, not written or renamed"
        )


def require_empty(directory: Location, page: ListPage) -> None:
    """:param page: of what is directly in it; its marker may be there.

    :raises DirectoryNotEmpty: there is more, or the marker holds bytes.
    """
    files = [info for info in page.objects if info.name != directory.marker]
    if files or any(prefix != directory.prefix for prefix in page.prefixes):
        raise DirectoryNotEmpty(f"{directory.path}: the directory is not empty")
    for marker in page.objects:
        if marker.size_bytes:
            raise DirectoryNotEmpty(
                f"{directory.path}: the folder's own object holds {marker.size_bytes} bytes; "
                f"remove {MARKER_CONTENT} in it first"
            )


def marks_directory(info: ObjectInfo) -> bool:
    """Whether an object whose name looks like Hadoop's marker is one."""
    return hadoop_directory(info.name.key, info.size_bytes) is not None


def hadoop_directory(key: str, size_bytes: int) -> str | None:
    """The directory that an object stands for in Hadoop's way, None if it is a file."""
    name = key.removesuffix(HADOOP_SUFFIX)
    if name == key or size_bytes or not name or name.endswith("/"):
        return None
    return name
