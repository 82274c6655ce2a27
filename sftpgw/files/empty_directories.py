"""Keeping directories that would be gone with their last file.

Knows: whether it is wanted, and which request shows that a file is the last one. Of files
that are removed at the same time, be it by several sessions of the process, none is another's
company.
Must not know: what takes the file away.

On S3 a directory is what its keys begin with, and ends with the last of them. With `[files]
keep_empty_directories` it gets a marker before that, for a LIST request each time that
something is removed or renamed.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from sftpgw.files.listing.markers import MARKER
from sftpgw.files.paths import Location, is_hidden
from sftpgw.files.session_context import SessionContext


class EmptyDirectories:
    """Keeps directories, if it is wanted."""

    def __init__(self, context: SessionContext) -> None:
        self._store = context.store
        self._transfers = context.transfers
        self._is_wanted = context.files.keep_empty_directories

    @asynccontextmanager
    async def kept(self, directory: Location, *, without: str) -> AsyncIterator[None]:
        """Make sure that `directory` outlives an entry, which is removed in here.

        :param without: the entry: the key of a file, or a prefix.
        """
        with self._transfers.changes.leaving(directory.bucket, without):
            await self.keep(directory, without=without)
            yield

    async def keep(self, directory: Location, *, without: str) -> None:
        """Make sure that `directory` outlives an entry, which is removed next."""
        if not self._is_wanted or directory.is_root:
            return
        bucket, prefix = directory.bucket, directory.prefix
        leaving = {without, *self._transfers.changes.leaving_under(bucket, prefix)}
        # These, the state prefix, and one more.
        page = await self._store.list(bucket, prefix, delimiter="/", limit=len(leaving) + 2)
        leaving |= self._transfers.changes.leaving_under(bucket, prefix)
        entries = [*(info.name.key for info in page.objects), *page.prefixes]
        if all(key in leaving or is_hidden(directory.mount, key) for key in entries):
            await self._store.put(directory.marker, (), MARKER)
