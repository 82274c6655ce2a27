"""An open directory: READDIR, page by page.

Knows: that the next page is fetched while one is sent, and which files are unpublished.
Must not know: SFTP, how many entries fit into a reply.

Two pages are in memory at most, however large the directory is. Unpublished files are shown as they
were when their page arrived.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import TypeAlias

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from sftpgw.files.listing.page_mtimes import PageMtimes
from sftpgw.files.listing.plan import NO_FILES, EntrySieve
from sftpgw.files.paths import Location, is_hidden
from sftpgw.files.session_context import SessionContext
from sftpgw.model.events.file_events import KeysSkipped
from sftpgw.model.filesystem import DirectoryEntry, FileAttributes, FileWriter
from sftpgw.model.store import ListPage, ObjectName, ObjectStore

_Prepared: TypeAlias = tuple[tuple[DirectoryEntry, ...], str | None]
"""The entries of a page, and the token of the next page."""


def _ignore_page(_: ListPage) -> None:
    """The default of `on_page`."""


class Listing:
    """Implements `DirectoryReader`.

    :param location: the directory.
    :param first: its first page, which has shown that it exists.
    :param context: the objects that the session's files use.
    :param suspended: the suspended uploads of the directory, by key.
    :param own_uploads: the uploads of this session, which are shown instead of published files.
    :param on_page: is called with each later page, before its entries are returned.
    """

    def __init__(
        self,
        location: Location,
        first: ListPage,
        context: SessionContext,
        suspended: Mapping[str, FileAttributes] = NO_FILES,
        own_uploads: Collection[FileWriter] = (),
        *,
        on_page: Callable[[ListPage], None] = _ignore_page,
    ) -> None:
        self._location = location
        self._on_page = on_page
        self._suspended = suspended
        self._own_uploads = own_uploads
        self._store = context.store
        self._transfers = context.transfers
        self._events = context.events
        self._sieve = EntrySieve(location.mount, location.prefix)
        self._mtimes = PageMtimes(context, is_small=first.next_token is None)
        self._is_closed = False
        self._coming: Deferred[_Prepared] | None = Deferred.fromCoroutine(self._prepare(first))

    async def next_entries(self) -> tuple[DirectoryEntry, ...]:
        """The entries of the next page that has any; empty at the end."""
        while self._coming is not None:
            coming, self._coming = self._coming, None
            entries, token = await coming
            if token is not None and not self._is_closed:
                self._coming = Deferred.fromCoroutine(self._fetch(token))
            if entries:
                return entries
        self._report_skipped()
        return ()

    def close(self) -> None:
        """Stop fetching."""
        self._is_closed = True
        self._mtimes.stop()
        if self._coming is not None:
            coming, self._coming = self._coming, None
            coming.addErrback(_ignore)
            coming.cancel()

    async def _fetch(self, token: str) -> _Prepared:
        page = await list_directory(self._store, self._location, token)
        self._on_page(page)
        return await self._prepare(page)

    async def _prepare(self, page: ListPage) -> _Prepared:
        bucket, prefix = self._location.bucket, self._location.prefix
        writers = self._transfers.directly_under(bucket, prefix)
        own_writers = self._transfers.directly_under(bucket, prefix, self._own_uploads)
        markers = [
            ObjectName(bucket, each)
            for each in page.prefixes
            if each != prefix and not is_hidden(self._location.mount, each)
        ]
        page, directory_mtimes = await self._mtimes.put_into(page, markers)
        written = {key: await writer.attributes() for key, writer in writers}
        own = {key: await writer.attributes() for key, writer in own_writers}
        unpublished = {**self._suspended, **written}
        entries = self._sieve.entries(page, unpublished, own, directory_mtimes)
        return entries, page.next_token

    def _report_skipped(self) -> None:
        if self._sieve.skipped:
            self._events.emit(
                KeysSkipped(
                    directory=self._location.path,
                    count=self._sieve.skipped,
                    reason="no SFTP path can name them",
                    bucket=self._location.bucket,
                )
            )
            self._sieve.skipped = 0


async def list_directory(
    store: ObjectStore, location: Location, token: str | None = None
) -> ListPage:
    """One page of a directory: files as objects, directories as prefixes.

    :param store: the store.
    :param location: the directory.
    :param token: the token that the page before has returned; None for the first page.
    :raises StoreError: as the LIST does.
    """
    return await store.list(location.bucket, location.prefix, delimiter="/", token=token)


def _ignore(_: Failure) -> None:
    """The page was cancelled."""
