"""The objects that stand for directories.

Knows: the markers that this gateway writes, and those of other programs.
Must not know: requests.

A directory exists as long as any key begins with its prefix. An empty directory needs a marker: the
object ``name/`` without bytes. This gateway, S3's console, s3fs and others write it, each with a
content type of its own. Hadoop's s3n and EMR write ``name_$folder$`` instead: if it is empty, it
stands for the directory ``name`` and is not a file; if it has bytes, it is a file like any other.

S3 allows ``name/`` to hold bytes, too, and these may matter to the program that wrote them. Such an
object still stands for its directory. The directory then lists a file `MARKER_CONTENT`, which can
be read, and removed, which leaves an empty marker. No other operation overwrites or deletes it.
https://docs.aws.amazon.com/AmazonS3/latest/userguide/using-folders.html
"""

from __future__ import annotations

from sftpgw.errors import DirectoryNotEmpty, PermissionDenied
from sftpgw.files.paths import MARKER_CONTENT, Location
from sftpgw.model.store import ListPage, ObjectInfo, ObjectName, ObjectProperties

MARKER = ObjectProperties(content_type="application/x-directory")

ENTRIES_TO_BE_EMPTY = 3
"""The rows of a list that shows whether a directory is empty: its marker, its own prefix (which
some stores list), and one more."""

HADOOP_SUFFIX = "_$folder$"


def is_empty_marker(info: ObjectInfo) -> bool:
    """Whether an object is the marker of a directory, without bytes."""
    return info.name.key.endswith("/") and not info.size_bytes


def hadoop_marker(location: Location) -> ObjectName:
    """The object that Hadoop would write for a directory."""
    return ObjectName(location.bucket, location.prefix.removesuffix("/") + HADOOP_SUFFIX)


def require_writable(location: Location) -> None:
    """Check that nothing in a path is called `MARKER_CONTENT`.

    A file below a directory of that name could not be seen: no listing shows the directory.

    :raises PermissionDenied: it is.
    """
    if MARKER_CONTENT in location.segments[0 if location.mount.key_prefix else 1 :]:
        raise PermissionDenied(
            f"{location.path}: {MARKER_CONTENT} stands for the bytes of the folder's own object; "
            "they can be read and removed, not written or renamed"
        )


def require_empty(directory: Location, page: ListPage) -> None:
    """Check that a directory is empty.

    :param directory: the directory.
    :param page: its first page, of at least `ENTRIES_TO_BE_EMPTY` rows.
    :raises DirectoryNotEmpty: there is something besides the marker, or the marker holds bytes.
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
    """Whether an object is Hadoop's marker of a directory."""
    return hadoop_directory(info.name.key, info.size_bytes) is not None


def hadoop_directory(key: str, size_bytes: int) -> str | None:
    """The directory that an object stands for as Hadoop's marker; None if it is a file.

    :param key: its key, or the last segment of it.
    :param size_bytes: its size.
    """
    name = key.removesuffix(HADOOP_SUFFIX)
    if name == key or size_bytes or not name or name.endswith("/"):
        return None
    return name
