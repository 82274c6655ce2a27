"""Markers for directories that would end with their last file.

Knows: whether the settings ask for them, and which LIST shows that a file is the last one.
Must not know: what removes the file.

On S3 a directory exists as long as keys begin with its prefix. With `[files]
keep_empty_directories` it gets a marker before its last key goes. That costs a LIST for each file
that is removed or renamed. Several files may be removed at the same time, by any sessions of the
process; then none of them counts as an entry that is left.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from sftpgw.files.listing.markers import MARKER
from sftpgw.files.paths import Location, is_hidden
from sftpgw.files.session_context import SessionContext


class EmptyDirectories:
    """Gives markers to directories that become empty, if the settings ask for it.

    :param context: the objects that the session's files use.
    """

    def __init__(self, context: SessionContext) -> None:
        self._store = context.store
        self._transfers = context.transfers
        self._is_wanted = context.files.keep_empty_directories

    @asynccontextmanager
    async def marker_ensured(self, directory: Location, *, without: str) -> AsyncIterator[None]:
        """As `ensure_marker`; the entry is removed in the body of the ``async with``."""
        with self._transfers.changes.leaving(directory.bucket, without):
            await self.ensure_marker(directory, without=without)
            yield

    async def ensure_marker(self, directory: Location, *, without: str) -> None:
        """Store the marker of a directory if nothing else is in it but an entry about to go.

        :param directory: the directory.
        :param without: the entry that is removed next: the key of a file, or a prefix.
        :raises StoreError: the marker could not be stored; nothing may be removed.
        """
        if not self._is_wanted or directory.is_fixed:
            return
        bucket, prefix = directory.bucket, directory.prefix
        leaving = {without, *self._transfers.changes.leaving_under(bucket, prefix)}
        # One page of these, the state prefix, and one more.
        page = await self._store.list(bucket, prefix, delimiter="/", limit=len(leaving) + 2)
        leaving |= self._transfers.changes.leaving_under(bucket, prefix)
        entries = [*(info.name.key for info in page.objects), *page.prefixes]
        if all(key in leaving or is_hidden(directory.mount, key) for key in entries):
            await self._store.put(directory.marker, (), MARKER)
