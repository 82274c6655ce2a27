"""One directory being listed, page by page.

Knows: the page in hand, and that the next one is on its way.
Must not know: SFTP, or how many entries a reply takes.

Memory is that of two pages, however large the directory.
"""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from sftpgw.interfaces import EventSink, ObjectStore
from sftpgw.plan.listing import EntrySieve
from sftpgw.plan.paths import Place
from sftpgw.values import DirectoryEntry, ListPage


class Listing:
    """Implements `interfaces.DirectoryReader`.

    :param first: the page that showed that the directory exists.
    """

    def __init__(
        self, place: Place, first: ListPage, *, store: ObjectStore, events: EventSink
    ) -> None:
        self._place = place
        self._store = store
        self._events = events
        self._sieve = EntrySieve(place.root, place.prefix)
        self._page: ListPage | None = first
        self._is_closed = False
        self._coming: Deferred[ListPage] | None = None
        self._fetch_after(first)

    async def next_entries(self) -> tuple[DirectoryEntry, ...]:
        """The next page's entries; pages without any (all hidden) are passed over."""
        while (page := await self._next_page()) is not None:
            if entries := self._sieve.entries(page):
                return entries
        self._tell_skipped()
        return ()

    def close(self) -> None:
        self._is_closed = True
        self._page = None
        if self._coming is not None:
            coming, self._coming = self._coming, None
            coming.addErrback(_forget)
            coming.cancel()

    async def _next_page(self) -> ListPage | None:
        if self._page is None and self._coming is not None:
            coming, self._coming = self._coming, None
            self._page = await coming
            self._fetch_after(self._page)
        page, self._page = self._page, None
        return page

    def _fetch_after(self, page: ListPage) -> None:
        if page.next_token is not None and not self._is_closed:
            self._coming = Deferred.fromCoroutine(
                list_directory(self._store, self._place, page.next_token)
            )

    def _tell_skipped(self) -> None:
        if self._sieve.skipped:
            self._events.tell(
                "keys-skipped",
                directory=self._place.path,
                count=self._sieve.skipped,
                why="no SFTP path can name them",
            )
            self._sieve.skipped = 0


async def list_directory(store: ObjectStore, place: Place, token: str | None = None) -> ListPage:
    """A page of what is directly in a directory: its files, and its directories as prefixes."""
    return await store.list(place.root.bucket, place.prefix, delimiter="/", token=token)


def _forget(_: Failure) -> None:
    """Nobody waits for this page any more."""
