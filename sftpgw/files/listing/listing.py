"""One directory being listed, page by page.

Knows: that the next page is on its way, what is being written below the directory.
Must not know: SFTP, or how many entries a reply takes.

Memory is that of two pages, however large the directory. Files that are being written, and
not yet published, are those of the moment at which their page came.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import TypeAlias

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from sftpgw.files.listing.page_mtimes import PageMtimes
from sftpgw.files.listing.plan import NOTHING_WRITTEN, EntrySieve
from sftpgw.files.paths import Location, is_hidden
from sftpgw.files.session_context import SessionContext
from sftpgw.model.events.file_events import KeysSkipped
from sftpgw.model.filesystem import DirectoryEntry, FileAttributes, FileWriter
from sftpgw.model.store import ListPage, ObjectName, ObjectStore

_Prepared: TypeAlias = tuple[tuple[DirectoryEntry, ...], str | None]
"""A page's entries, and what leads to the next one."""


def _forget_page(_: ListPage) -> None:
    """No one remembers what the page shows."""


class Listing:
    """Implements `interfaces.DirectoryReader`.

    :param first: the page that showed that the directory exists.
    :param kept: by key, the files whose upload was cut off (`uploads/suspended/storage`).
    :param own: the session's own uploads: it sees what it has written.
    :param on_page: is called with each later page, before its entries are shown.
    """

    def __init__(
        self,
        location: Location,
        first: ListPage,
        context: SessionContext,
        kept: Mapping[str, FileAttributes] = NOTHING_WRITTEN,
        own: Collection[FileWriter] = (),
        *,
        on_page: Callable[[ListPage], None] = _forget_page,
    ) -> None:
        self._place = location
        self._on_page = on_page
        self._kept = kept
        self._own = own
        self._store = context.store
        self._transfers = context.transfers
        self._events = context.events
        self._sieve = EntrySieve(location.mount, location.prefix)
        self._times = PageMtimes(context, is_small=first.next_token is None)
        self._is_closed = False
        self._coming: Deferred[_Prepared] | None = Deferred.fromCoroutine(self._prepare(first))

    async def next_entries(self) -> tuple[DirectoryEntry, ...]:
        """The next page's entries; pages without any (all hidden) are passed over."""
        while self._coming is not None:
            coming, self._coming = self._coming, None
            entries, token = await coming
            if token is not None and not self._is_closed:
                self._coming = Deferred.fromCoroutine(self._fetch(token))
            if entries:
                return entries
        self._tell_skipped()
        return ()

    def close(self) -> None:
        self._is_closed = True
        self._times.stop()
        if self._coming is not None:
            coming, self._coming = self._coming, None
            coming.addErrback(_forget)
            coming.cancel()

    async def _fetch(self, token: str) -> _Prepared:
        page = await list_directory(self._store, self._place, token)
        self._on_page(page)
        return await self._prepare(page)

    async def _prepare(self, page: ListPage) -> _Prepared:
        bucket, prefix = self._place.bucket, self._place.prefix
        writers = self._transfers.directly_under(bucket, prefix)
        own_writers = self._transfers.directly_under(bucket, prefix, self._own)
        markers = [
            ObjectName(bucket, each)
            for each in page.prefixes
            if each != prefix and not is_hidden(self._place.mount, each)
        ]
        exact, folders = await self._times.put_into(page, markers)
        written = {key: await writer.attributes() for key, writer in writers}
        own = {key: await writer.attributes() for key, writer in own_writers}
        entries = self._sieve.entries(exact, {**self._kept, **written}, own, folders)
        return entries, page.next_token

    def _tell_skipped(self) -> None:
        if self._sieve.skipped:
            self._events.emit(
                KeysSkipped(
                    directory=self._place.path,
                    count=self._sieve.skipped,
                    reason="no SFTP path can name them",
                    bucket=self._place.bucket,
                )
            )
            self._sieve.skipped = 0


async def list_directory(
    store: ObjectStore, location: Location, token: str | None = None
) -> ListPage:
    """A page of what is directly in a directory: its files, and its directories as prefixes."""
    return await store.list(location.bucket, location.prefix, delimiter="/", token=token)


def _forget(_: Failure) -> None:
    """Nobody waits for this page any more."""
