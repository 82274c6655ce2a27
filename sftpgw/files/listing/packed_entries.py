"""The entries of one page of a directory, packed.

Knows: how entries are kept in few bytes, and which of them were taken.
Must not know: where they come from, or SFTP.

A page of 1,000 entries is half a mebibyte as Python objects, and 40 KiB here. An open directory
holds two of them for as long as its client likes, so entries become objects when they are taken.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable
from math import isnan, nan

from sftpgw.model.filesystem import DirectoryEntry, FileAttributes, FileKind

_DIRECTORY = -1
"""Stands for the size of a directory."""

_LARGEST_BYTES = 2**63 - 1
_FIXED_BYTES = 512
_ROW_BYTES = 16


class PackedEntries:
    """The entries of a page, in order, of which the first ones may have been taken.

    :param entries: the entries; no name has a slash.
    """

    __slots__ = ("_at", "_index", "_last_name", "_names", "_sizes", "_times")

    def __init__(self, entries: Iterable[DirectoryEntry] = ()) -> None:
        names: list[bytes] = []
        self._sizes = array("q")
        self._times = array("d")
        for entry in entries:
            found = entry.attributes
            is_file = found.kind is FileKind.FILE
            names.append(entry.name.encode())
            self._sizes.append(min(found.size_bytes, _LARGEST_BYTES) if is_file else _DIRECTORY)
            seconds = found.modified_seconds
            self._times.append(nan if seconds is None else seconds)
        self._names = b"/".join((*names, b""))
        self._at = self._index = 0
        self._last_name = b""

    def __len__(self) -> int:
        """How many were not taken yet."""
        return len(self._sizes) - self._index

    @property
    def size_bytes(self) -> int:
        """How many bytes of memory they are, those that were taken included."""
        return _FIXED_BYTES + len(self._names) + _ROW_BYTES * len(self._sizes)

    @property
    def taken(self) -> tuple[int, bytes]:
        """How many were taken, and the name of the last one."""
        return self._index, self._last_name

    def take(self, names_bytes: int | None = None) -> tuple[DirectoryEntry, ...]:
        """The next entries; at least one if any is left.

        :param names_bytes: about how long their names may be together, each with `ENTRY_BYTES`
            beside it; None for all that are left.
        """
        taken: list[DirectoryEntry] = []
        while self._index < len(self._sizes) and (names_bytes is None or names_bytes > 0):
            entry = self._next()
            taken.append(entry)
            if names_bytes is not None:
                names_bytes -= ENTRY_BYTES + len(self._last_name)
        return tuple(taken)

    def skip(self, taken: tuple[int, bytes]) -> None:
        """Skip what was taken of an earlier version of this page: up to the name taken last.

        :param taken: `taken` of that version.
        """
        count, last_name = taken
        needle = b"/" + last_name + b"/"
        found = (b"/" + self._names).find(needle) if last_name else -1
        if found >= 0:
            count = self._names.count(b"/", 0, found + len(last_name) + 1)
        while self._index < min(count, len(self._sizes)):
            self._next()

    def _next(self) -> DirectoryEntry:
        end = self._names.index(b"/", self._at)
        self._last_name = self._names[self._at : end]
        size_bytes, seconds = self._sizes[self._index], self._times[self._index]
        self._at = end + 1
        self._index += 1
        attributes = FileAttributes(
            FileKind.DIRECTORY if size_bytes == _DIRECTORY else FileKind.FILE,
            max(0, size_bytes),
            None if isnan(seconds) else seconds,
        )
        return DirectoryEntry(self._last_name.decode(), attributes)


ENTRY_BYTES = 48
"""What `take` counts for an entry beside its name: in a reply to READDIR the name comes twice,
with about 96 bytes."""
