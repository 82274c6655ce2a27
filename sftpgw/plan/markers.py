"""The objects that stand for directories.

Knows: what we write, and what others write.
Must not know: requests.

A directory is whatever has keys below it. One that is to exist without any has a marker:
``name/``, of no bytes, which we, S3's console, s3fs and others write, each with a content
type of its own. Hadoop's s3n and EMR write ``name_$folder$`` instead: without bytes it
stands for the directory ``name`` and is no file; with some it is a file like any other.
https://docs.aws.amazon.com/AmazonS3/latest/userguide/using-folders.html
"""

from __future__ import annotations

from sftpgw.plan.paths import Place
from sftpgw.values import ObjectInfo, ObjectName, ObjectProperties

MARKER = ObjectProperties(content_type="application/x-directory")

HADOOP_SUFFIX = "_$folder$"


def is_empty_marker(info: ObjectInfo) -> bool:
    """Whether an object is a directory's marker, and nothing else."""
    return info.name.key.endswith("/") and not info.size_bytes


def hadoop_marker(place: Place) -> ObjectName:
    """What Hadoop would mark this directory with."""
    return ObjectName(place.file.bucket, place.file.key + HADOOP_SUFFIX)


def marks_directory(info: ObjectInfo) -> bool:
    """Whether an object whose name looks like Hadoop's marker is one."""
    return hadoop_directory(info.name.key, info.size_bytes) is not None


def hadoop_directory(key: str, size_bytes: int) -> str | None:
    """The directory that an object stands for in Hadoop's way, None if it is a file."""
    name = key.removesuffix(HADOOP_SUFFIX)
    if name == key or size_bytes or not name or name.endswith("/"):
        return None
    return name
