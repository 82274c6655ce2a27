"""What a page of keys looks like as entries of a directory.

Knows: which keys can be named, and that a file hides a directory of its name.
Must not know: where pages come from.

`a` sorts before `a-`, and that before `a/`: the file and the directory of one
name may be pages apart, and Hadoop's marker ``a_$folder$`` comes even later. The sieve
remembers the names that a later directory could have as well: each is a beginning of the
name last seen, so they are few.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator

from sftpgw.plan.markers import hadoop_directory
from sftpgw.plan.paths import Root, can_be_named, is_hidden
from sftpgw.values import DirectoryEntry, FileAttributes, FileKind, ListPage, ObjectInfo


class EntrySieve:
    """Turns the pages of one directory, in order, into entries.

    `skipped` counts the keys that no client could name.
    """

    def __init__(self, root: Root, prefix: str) -> None:
        self._root = root
        self._prefix = prefix
        self._in_reach: list[str] = []
        self.skipped = 0

    def entries(self, page: ListPage) -> tuple[DirectoryEntry, ...]:
        """The entries of the next page, in S3's order of keys."""
        return tuple(self._sift(page))

    def _sift(self, page: ListPage) -> Iterator[DirectoryEntry]:
        objects = ((info.name.key, info) for info in page.objects)
        groups = ((prefix, None) for prefix in page.prefixes)
        for key, info in heapq.merge(objects, groups, key=lambda row: row[0].encode()):
            name = key[len(self._prefix) :].removesuffix("" if info else "/")
            if key == self._prefix or is_hidden(self._root, key):
                continue
            if not can_be_named(name):
                self.skipped += 1
                continue
            directory = name if info is None else hadoop_directory(name, info.size_bytes)
            if directory in self._in_reach:
                continue
            self._remember(directory or name)
            if directory is None and info is not None:
                yield DirectoryEntry(name, attributes_of(info))
            elif directory is not None:
                yield DirectoryEntry(directory, FileAttributes(FileKind.DIRECTORY))

    def _remember(self, name: str) -> None:
        kept = [each for each in self._in_reach if name.startswith(each)]
        self._in_reach = [*kept, name]


def attributes_of(info: ObjectInfo) -> FileAttributes:
    """An object as a file; its mtime is the one that was stored with it, if any."""
    return FileAttributes(FileKind.FILE, info.size_bytes, modified_seconds(info))


def modified_seconds(info: ObjectInfo) -> float:
    """``x-amz-meta-mtime`` in float seconds, as rclone and s3fs write it, else S3's own time."""
    try:
        seconds = float(info.metadata["mtime"])
    except (KeyError, ValueError):
        return info.modified_seconds
    in_range = 0 <= seconds < 2**63
    return seconds if in_range else info.modified_seconds
