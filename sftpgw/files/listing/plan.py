"""From pages of keys to the entries of a directory.

Knows: which keys a path can name, which entry wins where names collide, on which page an
unpublished file belongs.
Must not know: where pages come from.

A file and a directory may have the same name; then the listing shows only the file. But ``a`` sorts
before ``a-``, and that before ``a/``: the two may be pages apart, and Hadoop's marker
``a_$folder$`` comes even later. So the sieve remembers each name that a later directory may still
have. Each of these is a beginning of the name seen last, so there are few.

The sieve also remembers the last key of the page before. An unpublished file is shown once, on the
page whose range of keys includes its key, unless that page has an object of this key.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from types import MappingProxyType
from typing import Any

from sftpgw.files.listing.markers import hadoop_directory
from sftpgw.files.paths import MARKER_CONTENT, can_be_named, is_hidden
from sftpgw.model.filesystem import DirectoryEntry, FileAttributes, FileKind
from sftpgw.model.mounts import Mount
from sftpgw.model.store import ListPage, ObjectInfo

_LONGEST_MTIME = 40
"""Nanoseconds of 2**63 have 29 characters."""

NO_FILES: Mapping[str, FileAttributes] = MappingProxyType({})
NO_MTIMES: Mapping[str, float | None] = MappingProxyType({})


class EntrySieve:
    """Turns the pages of one directory, in order, into entries.

    :param mount: the mount of the directory, which knows the hidden prefix.
    :param prefix: the prefix of the directory.
    :param fixed_names: the names of fixed directories, which hide what is stored under them
        (`files/mount_table`); the listing shows them itself.
    :param is_shown: tells whether a name is shown, and is told whether it is that of a file; None:
        all are.
    :ivar skipped: how many keys no path can name, so far.
    """

    def __init__(
        self,
        mount: Mount,
        prefix: str,
        *,
        fixed_names: Collection[str] = frozenset(),
        is_shown: Callable[[str, bool], bool] | None = None,
    ) -> None:
        self._mount = mount
        self._prefix = prefix
        self._fixed_names = fixed_names
        self._is_shown = is_shown
        self._open_names: list[str] = []
        self._last_key = b""
        self.skipped = 0

    def entries(
        self,
        page: ListPage,
        unpublished: Mapping[str, FileAttributes] = NO_FILES,
        own: Mapping[str, FileAttributes] = NO_FILES,
        directory_mtimes: Mapping[str, float | None] = NO_MTIMES,
    ) -> tuple[DirectoryEntry, ...]:
        """The entries of the next page, in S3's order of keys.

        :param page: the page.
        :param unpublished: files that are shown where no object is published, by key.
        :param own: files that are shown even if an object is published, by key.
        :param directory_mtimes: the mtimes of directories, by prefix.
        """
        rows = self._rows(page, {**unpublished, **own}, own)
        return tuple(self._sift(rows, directory_mtimes))

    def _sift(
        self,
        rows: Iterable[tuple[str, FileAttributes | None]],
        directory_mtimes: Mapping[str, float | None],
    ) -> Iterator[DirectoryEntry]:
        for key, found in rows:
            name = key[len(self._prefix) :].removesuffix("" if found else "/")
            if is_hidden(self._mount, key):
                continue
            if key == self._prefix:
                if found is not None and found.size_bytes and self._shows(MARKER_CONTENT, True):
                    yield DirectoryEntry(MARKER_CONTENT, found)
                continue
            # In the top of a bucket, an object or directory may have this name of its own.
            if not (can_be_named(name) or key.rstrip("/") == MARKER_CONTENT):
                self.skipped += 1
                continue
            directory = name if found is None else hadoop_directory(name, found.size_bytes)
            if directory in self._open_names or (directory or name) in self._fixed_names:
                continue
            if not self._shows(directory or name, directory is None):
                continue
            self._remember(directory or name)
            if directory is not None:
                attributes = FileAttributes(FileKind.DIRECTORY, 0, directory_mtimes.get(key))
                yield DirectoryEntry(directory, attributes)
            elif found is not None:
                yield DirectoryEntry(name, found)

    def _shows(self, name: str, is_file: bool) -> bool:
        return self._is_shown is None or self._is_shown(name, is_file)

    def _rows(
        self,
        page: ListPage,
        added: Mapping[str, FileAttributes],
        own: Mapping[str, FileAttributes],
    ) -> Iterator[tuple[str, FileAttributes | None]]:
        """Keys and attributes, in order of the keys; None stands for a directory."""
        objects = [
            (info.name.key, own.get(info.name.key) or attributes_of(info)) for info in page.objects
        ]
        groups = [(prefix, None) for prefix in page.prefixes]
        after, self._last_key = self._last_key, _last_of(page, self._last_key)
        has_more = page.next_token is not None
        stored = {key for key, _ in objects} if added else ()
        in_range = [
            (key, attributes)
            for key, attributes in sorted(added.items(), key=_order)
            if key not in stored
            and _binary(key) > after
            and not (has_more and _binary(key) > self._last_key)
        ]
        return heapq.merge(objects, groups, in_range, key=_order)

    def _remember(self, name: str) -> None:
        beginnings = [each for each in self._open_names if name.startswith(each)]
        self._open_names = [*beginnings, name]


def _last_of(page: ListPage, before: bytes) -> bytes:
    """The last key or prefix of a page; `before` if the page is empty."""
    ends = [info.name.key for info in page.objects[-1:]] + list(page.prefixes[-1:])
    return max([_binary(end) for end in ends], default=before)


def _order(row: tuple[str, Any]) -> bytes:
    return _binary(row[0])


def _binary(key: str) -> bytes:
    """The bytes by which S3 sorts keys, also for keys of other stores that are not UTF-8."""
    return key.encode("utf-8", "surrogateescape")


def attributes_of(info: ObjectInfo) -> FileAttributes:
    """The attributes of an object as a file, with the mtime of `modified_seconds`."""
    return FileAttributes(FileKind.FILE, info.size_bytes, modified_seconds(info))


def modified_seconds(info: ObjectInfo) -> float:
    """The mtime of an object in seconds: ``x-amz-meta-mtime``, or else its Last-Modified.

    rclone and s3fs write the same header, as a decimal fraction.
    """
    try:
        seconds = float(info.metadata["mtime"][:_LONGEST_MTIME])
    except (KeyError, ValueError):
        return info.modified_seconds
    in_range = 0 <= seconds < 2**63
    return seconds if in_range else info.modified_seconds
