"""What one session has seen and done, so that later requests can be saved or decided.

Knows: which files and directories this session has met, and for how long that may be used.
Must not know: how to ask the store.

All of it is bounded, and the oldest entries are dropped first: some 0.7 MiB, most of them hashes,
and a first page of at most `MAX_FIRST_PAGE_BYTES`. Most entries are
hints: they decide only whether a request is worth its time, and the request then decides. Two are
used as they are: the first page of the directory listed last, for `LISTED_FOR_SECONDS` and until
this process changes anything; and the directories that this session has emptied, which exist until
they are removed.
"""

from __future__ import annotations

from dataclasses import dataclass

from sftpgw.aio.lru import LRUDict
from sftpgw.files.listing.listing import listed_bytes
from sftpgw.files.listing.markers import hadoop_marker, marks_directory
from sftpgw.files.paths import Location
from sftpgw.files.transfers.change_log import ChangeLog
from sftpgw.model.clock import Clock
from sftpgw.model.store import ListPage, ObjectInfo, ObjectName
from sftpgw.model.units import KIB, MIB

LISTED_FOR_SECONDS = 2.0
MAX_FIRST_PAGE_BYTES = 1 * MIB
"""A page of 1,000 names of 450 bytes, as `listed_bytes` counts it."""

MAX_DIRECTORIES = 1024
MAX_EMPTIED_BYTES = 64 * KIB
"""How long the prefixes are together of directories that are remembered as emptied."""

MAX_HASHES = 2048
"""Two full pages of a list; only the hashes of keys are stored."""


@dataclass(frozen=True, slots=True)
class _FirstPage:
    """The first page of a directory, with the count of changes and the time before its LIST."""

    marker: ObjectName
    page: ListPage
    changes: int
    at_seconds: float


class LookupCache:
    """The memory of one session's `Lookup`.

    :param changes: what all sessions of the process have changed.
    :param clock: dates the first page.
    """

    def __init__(self, changes: ChangeLog, clock: Clock) -> None:
        self._changes = changes
        self._clock = clock
        self._first_page: _FirstPage | None = None
        self._emptied_bytes = 0
        self._emptied: LRUDict[ObjectName, int] = LRUDict(MAX_DIRECTORIES)
        self._directories: LRUDict[int, None] = LRUDict(MAX_DIRECTORIES)
        self._files: LRUDict[int, None] = LRUDict(MAX_HASHES)
        self._listed_prefixes: LRUDict[int, None] = LRUDict(MAX_HASHES)
        self._hadoop_markers: LRUDict[int, None] = LRUDict(MAX_HASHES)

    # What the session sees.

    def note_file(self, location: Location) -> None:
        """The session has seen or made a file."""
        self._files.put(hash(location.file), None)
        self._directories.pop(hash(location.marker), None)

    def note_directory(self, location: Location) -> None:
        """The session has seen or made a directory."""
        self._directories.put(hash(location.marker), None)
        self._files.pop(hash(location.file), None)

    def note_page(self, directory: Location, page: ListPage) -> None:
        """The session has seen a page of a directory, with its files and directories."""
        self.note_directory(directory)
        for info in page.objects:
            self._files.put(hash(info.name), None)
        for prefix in page.prefixes:
            self._listed_prefixes.put(hash(ObjectName(directory.bucket, prefix)), None)
        self.note_hadoop_markers(page)

    def note_hadoop_markers(self, page: ListPage) -> None:
        """The session has seen a page, which may show directories by Hadoop's markers."""
        for info in page.objects:
            if marks_directory(info):
                self._hadoop_markers.put(hash(info.name), None)

    def knows_file(self, location: Location) -> bool:
        """Whether the session has seen a file here last."""
        return hash(location.file) in self._files

    def knows_directory(self, location: Location) -> bool:
        """Whether the session has seen a directory here last."""
        return hash(location.marker) in self._directories

    def was_listed(self, location: Location) -> bool:
        """Whether the directory above has listed this as a directory."""
        return hash(location.marker) in self._listed_prefixes

    def knows_hadoop_marker(self, location: Location) -> bool:
        """Whether the session has seen Hadoop's marker of this directory in a list."""
        return hash(hadoop_marker(location)) in self._hadoop_markers

    # What the session changes.

    def note_change(self, changed: Location, emptied: Location | None = None) -> None:
        """The session has changed something.

        :param changed: where; all of its mount counts as changed.
        :param emptied: a directory that may have lost its last entry.
        """
        self._changes.changed(changed.bucket, changed.mount.key_prefix)
        while emptied is not None and not emptied.is_fixed:
            self._note_emptied(emptied.marker)
            emptied = emptied.parent

    def _note_emptied(self, marker: ObjectName) -> None:
        if marker not in self._emptied:
            self._emptied_bytes += len(marker.key)
            while self._emptied and (
                self._emptied_bytes > MAX_EMPTIED_BYTES or len(self._emptied) >= MAX_DIRECTORIES
            ):
                self._forget_emptied(next(iter(self._emptied)))
        self._emptied.put(marker, self._changes.count)

    def _forget_emptied(self, marker: ObjectName) -> None:
        del self._emptied[marker]
        self._emptied_bytes -= len(marker.key)

    def note_directory_removed(self, location: Location) -> None:
        """The session has removed or renamed a directory, with everything below it."""
        removed = location.prefix
        self._changes.directory_gone(location.bucket, removed, location.mount.key_prefix)
        self._listed_prefixes.pop(hash(location.marker), None)
        self._hadoop_markers.pop(hash(hadoop_marker(location)), None)
        for marker in [
            each
            for each in self._emptied
            if each.bucket == location.bucket and each.key.startswith(removed)
        ]:
            self._forget_emptied(marker)

    def has_emptied(self, location: Location) -> bool:
        """Whether the session has removed the last entry of a directory that still counts."""
        since = self._emptied.get(location.marker)
        if since is None:
            return False
        return not self._changes.is_gone(location.bucket, location.prefix, since)

    # The first page of one directory.

    def forget_first_page(self) -> None:
        """Drop the page of `store_first_page`."""
        self._first_page = None

    def store_first_page(
        self, location: Location, page: ListPage, *, changes: int, at_seconds: float
    ) -> None:
        """Keep the first page of a directory for the OPENDIR that often follows a STAT.

        A page of very long names is not kept.

        :param location: the directory.
        :param page: its first page.
        :param changes: the count of changes before the LIST.
        :param at_seconds: when the LIST began.
        """
        if listed_bytes(page) > MAX_FIRST_PAGE_BYTES:
            return
        self._first_page = _FirstPage(location.marker, page, changes, at_seconds)

    def take_first_page(self, location: Location) -> ListPage | None:
        """The page that was stored for this directory, if it may still be used; only once."""
        stored, self._first_page = self._first_page, None
        if stored is None or stored.marker != location.marker:
            return None
        age_seconds = self._clock.seconds() - stored.at_seconds
        if age_seconds > LISTED_FOR_SECONDS or self._changes.is_changed(
            location.bucket, location.prefix, stored.changes
        ):
            return None
        return stored.page

    def marker_of(self, location: Location) -> ObjectInfo | None:
        """The marker of a directory, if the page that was stored for it shows one."""
        stored = self._first_page
        if stored is None or stored.marker != location.marker:
            return None
        return next((i for i in stored.page.objects if i.name == location.marker), None)
