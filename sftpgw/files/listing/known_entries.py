"""An open directory whose entries are known without any request.

Knows: entries. Must not know: where they come from, or SFTP.
"""

from __future__ import annotations

from collections.abc import Iterable

from sftpgw.files.listing.packed_entries import PackedEntries
from sftpgw.model.filesystem import DirectoryEntry, FileAttributes, FileKind

DIRECTORY = FileAttributes(FileKind.DIRECTORY)


class KnownEntries:
    """Implements `DirectoryReader`.

    :param entries: what the directory shows.
    """

    def __init__(self, entries: Iterable[DirectoryEntry]) -> None:
        self._entries = PackedEntries(entries)

    async def fetch_first(self) -> None:
        """There is nothing to wait for."""

    async def next_entries(self, names_bytes: int | None = None) -> tuple[DirectoryEntry, ...]:
        return self._entries.take(names_bytes)

    def close(self) -> None:
        """Nothing is held."""


def directory_entries(names: Iterable[str]) -> tuple[DirectoryEntry, ...]:
    """Entries of directories without a time."""
    return tuple(DirectoryEntry(name, DIRECTORY) for name in names)
