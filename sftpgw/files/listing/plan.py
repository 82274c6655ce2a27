"""What a page of keys looks like as entries of a directory.

Knows: which keys can be named, what the bytes of a marker are called, that a file hides a
directory of its name, and between which keys of a page a file belongs that is being written.
Must not know: where pages come from.

`a` sorts before `a-`, and that before `a/`: the file and the directory of one
name may be pages apart, and Hadoop's marker ``a_$folder$`` comes even later. The sieve
remembers the names that a later directory could have as well: each is a beginning of the
name last seen, so they are few. It also remembers which key the last page ended with: what
is being written is shown with the page in whose range it falls, once, and not at all if
that page has an object of its name.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator, Mapping
from types import MappingProxyType
from typing import Any

from sftpgw.files.listing.markers import hadoop_directory
from sftpgw.files.paths import MARKER_CONTENT, Mount, can_be_named, is_hidden
from sftpgw.model.filesystem import DirectoryEntry, FileAttributes, FileKind
from sftpgw.model.store import ListPage, ObjectInfo

NOTHING_WRITTEN: Mapping[str, FileAttributes] = MappingProxyType({})
NO_TIMES: Mapping[str, float | None] = MappingProxyType({})


class EntrySieve:
    """Turns the pages of one directory, in order, into entries.

    `skipped` counts the keys that no client could name.
    """

    def __init__(self, mount: Mount, prefix: str) -> None:
        self._mount = mount
        self._prefix = prefix
        self._in_reach: list[str] = []
        self._reached = b""
        self.skipped = 0

    def entries(
        self,
        page: ListPage,
        written: Mapping[str, FileAttributes] = NOTHING_WRITTEN,
        own: Mapping[str, FileAttributes] = NOTHING_WRITTEN,
        folders: Mapping[str, float | None] = NO_TIMES,
    ) -> tuple[DirectoryEntry, ...]:
        """The entries of the next page, in S3's order of keys.

        :param written: by key, the files of the directory that are being written, to be shown
            where nothing is published.
        :param own: those that are to be shown whatever is published.
        :param folders: the times of directories, by their prefixes.
        """
        return tuple(self._sift(self._rows(page, {**written, **own}, own), folders))

    def _sift(
        self,
        rows: Iterable[tuple[str, FileAttributes | None]],
        folders: Mapping[str, float | None],
    ) -> Iterator[DirectoryEntry]:
        for key, found in rows:
            name = key[len(self._prefix) :].removesuffix("" if found else "/")
            if is_hidden(self._mount, key):
                continue
            if key == self._prefix:
                if found is not None and found.size_bytes:
                    yield DirectoryEntry(MARKER_CONTENT, found)
                continue
            if not (can_be_named(name) or key.rstrip("/") == MARKER_CONTENT):  # of a whole bucket
                self.skipped += 1
                continue
            directory = name if found is None else hadoop_directory(name, found.size_bytes)
            if directory in self._in_reach:
                continue
            self._remember(directory or name)
            if directory is not None:
                attributes = FileAttributes(FileKind.DIRECTORY, 0, folders.get(key))
                yield DirectoryEntry(directory, attributes)
            elif found is not None:
                yield DirectoryEntry(name, found)

    def _rows(
        self,
        page: ListPage,
        written: Mapping[str, FileAttributes],
        own: Mapping[str, FileAttributes],
    ) -> Iterator[tuple[str, FileAttributes | None]]:
        """Keys and what they are, in order; None is a directory."""
        objects = [
            (info.name.key, own.get(info.name.key) or attributes_of(info)) for info in page.objects
        ]
        groups = [(prefix, None) for prefix in page.prefixes]
        after, self._reached = self._reached, _last_of(page, self._reached)
        has_more = page.next_token is not None
        stored = {key for key, _ in objects} if written else ()
        added = [
            (key, attributes)
            for key, attributes in sorted(written.items(), key=_order)
            if key not in stored
            and _binary(key) > after
            and not (has_more and _binary(key) > self._reached)
        ]
        return heapq.merge(objects, groups, added, key=_order)

    def _remember(self, name: str) -> None:
        kept = [each for each in self._in_reach if name.startswith(each)]
        self._in_reach = [*kept, name]


def _last_of(page: ListPage, before: bytes) -> bytes:
    """The last key or prefix of a page, `before` if it has none."""
    ends = [info.name.key for info in page.objects[-1:]] + list(page.prefixes[-1:])
    return max([_binary(end) for end in ends], default=before)


def _order(row: tuple[str, Any]) -> bytes:
    return _binary(row[0])


def _binary(key: str) -> bytes:
    """What S3 sorts by; keys of other stores that are not UTF-8 included."""
    return key.encode("utf-8", "surrogateescape")


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
