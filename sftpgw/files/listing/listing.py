"""An open directory: READDIR, page by page.

Knows: that the next page is fetched while one is sent, and which files are unpublished.
Must not know: SFTP, how many entries fit into a reply.

Two pages are in memory at most, however large the directory is, both packed. Unpublished files are
shown as they were when their page arrived.

Memory

1. All that a listing holds is in the budget: `LIST_BYTES` while a LIST is under way, then what the
   page takes as it came, then what it takes packed. A LIST that a client needs waits for memory,
   for a minute at most; the next page is fetched ahead only if there is room.
2. While others wait for memory, a listing gives back the pages of which nothing was taken for
   `IDLE_SECONDS`, and asks for them again when its client reads on. So a client that opens
   directories and reads nothing keeps no memory from others.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from copy import copy
from dataclasses import dataclass, replace

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from sftpgw.files.listing.known_entries import directory_entries
from sftpgw.files.listing.packed_entries import PackedEntries
from sftpgw.files.listing.page_mtimes import PageMtimes
from sftpgw.files.listing.plan import NO_FILES, EntrySieve
from sftpgw.files.listing.progress import Progress
from sftpgw.files.memory.held_memory import HeldMemory
from sftpgw.files.paths import Location, is_hidden
from sftpgw.files.permissions import shown_names
from sftpgw.files.session_context import SessionContext
from sftpgw.model.events.file_events import KeysSkipped
from sftpgw.model.filesystem import DirectoryEntry, FileAttributes, FileWriter
from sftpgw.model.store import ListPage, ObjectName, ObjectStore
from sftpgw.model.units import MIB

LIST_BYTES = 1 * MIB
"""What a LIST of 1,000 keys takes in memory while it is under way: the document and its rows."""

ROW_BYTES = 600
"""What a row of a page takes in memory beside its key, before it is packed."""

IDLE_SECONDS = 10.0

ROWS_AT_ONCE = 100
"""A page with more rows is not put together in a turn that is over: 1,000 rows take 10
milliseconds."""


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a page begins.

    :param token: its token; None for the first page.
    :param sieve: the sieve as the page before has left it.
    :param progress: that of the pages before.
    :param taken: what was taken of it when it was dropped (`PackedEntries.taken`).
    """

    token: str | None
    sieve: EntrySieve
    progress: Progress
    taken: tuple[int, bytes] = (0, b"")


@dataclass(frozen=True, slots=True)
class _Loaded:
    """A page, and the place of the next one; None at the end."""

    entries: PackedEntries
    next_place: _Place | None


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
    :param memory: the memory that was reserved for the first page; the listing closes it.
    :param with_times: whether exact times are wanted.
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
        memory: HeldMemory | None = None,
        with_times: bool = True,
    ) -> None:
        self._location = location
        self._on_page = on_page
        self._suspended = suspended
        self._own_uploads = own_uploads
        self._store = context.store
        self._transfers = context.transfers
        self._events = context.events
        self._clock = context.clock
        self._budget = context.budget
        self._work = context.work
        self._memory = memory or HeldMemory(context.budget, context.clock)
        self._mtimes = PageMtimes(context, is_small=first.next_token is None, is_wanted=with_times)
        self._is_closed = False
        self._is_loading = False
        self._used_seconds = self._clock.seconds()
        self._skipped = 0
        self._page = PackedEntries()
        self._coming_bytes = 0
        sieve = EntrySieve(
            location.mount,
            location.prefix,
            fixed_names=location.fixed_names,
            is_shown=shown_names(location),
        )
        beginning = _Place(None, sieve, Progress())
        self._place = self._coming_place = beginning
        self._next_place: _Place | None = None
        """The place of the page that is loaded next, unless one is coming already."""
        self._budget.watch(self._on_pressure)
        self._coming: Deferred[_Loaded] | None = Deferred.fromCoroutine(
            self._prepare(beginning, first)
        )

    async def fetch_first(self) -> None:
        """Wait for the first page, and begin to fetch the next one."""
        await self._load_until_some()

    async def next_entries(self, names_bytes: int | None = None) -> tuple[DirectoryEntry, ...]:
        await self._load_until_some()
        if not self._page:
            self._report_skipped()
            return ()
        taken = self._page.take(names_bytes)
        if not self._page:
            self._settle()
        return taken

    def close(self) -> None:
        """Stop fetching."""
        self._is_closed = True
        self._mtimes.stop()
        self._budget.unwatch(self._on_pressure)
        self._drop_coming()
        self._next_place = None
        self._page = PackedEntries()
        self._memory.close()

    # Pages.

    async def _load_until_some(self) -> None:
        """Load the next page that has entries, unless some are left or the directory ends."""
        self._used_seconds = self._clock.seconds()
        if self._page:
            return
        self._is_loading = True
        try:
            while not self._page and (self._coming or self._next_place):
                await self._load_next()
        finally:
            self._is_loading = False
            self._settle()

    async def _load_next(self) -> None:
        coming, place = self._coming, self._coming_place
        self._coming = None
        if coming is None and self._next_place is not None:
            place, self._next_place = self._next_place, None
        try:
            loaded = await (coming or self._fetch_now(place))
        except BaseException:
            # The next READDIR tries again. It must not take what has failed for the end.
            self._next_place = None if self._is_closed else place
            raise
        finally:
            self._coming_bytes = 0
        self._place, self._page = place, loaded.entries
        self._page.skip(place.taken)
        if self._is_closed:
            self._page = PackedEntries()
        elif loaded.next_place is not None:
            self._fetch_ahead(loaded.next_place)

    async def _fetch_now(self, place: _Place) -> _Loaded:
        """Fetch a page that the client waits for."""
        self._page = PackedEntries()
        await self._reserve_list()
        return await self._fetch(place)

    def _fetch_ahead(self, place: _Place) -> None:
        """Fetch the page behind the one in hand, if there is memory for it."""
        self._settle()
        if self._memory.try_reserve(LIST_BYTES):
            self._coming_bytes = LIST_BYTES
            self._coming_place = place
            self._coming = Deferred.fromCoroutine(self._fetch(place))
        else:
            self._next_place = place

    async def _fetch(self, place: _Place) -> _Loaded:
        page = await list_directory(self._store, self._location, place.token)
        self._on_page(page)
        return await self._prepare(place, page)

    async def _prepare(self, place: _Place, page: ListPage) -> _Loaded:
        self._coming_bytes = listed_bytes(page)
        self._settle()
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
        if len(page.objects) + len(page.prefixes) > ROWS_AT_ONCE and self._work.is_late():
            await self._work.next_step("listings")
        sieve = copy(place.sieve)
        found = sieve.entries(page, unpublished, own, directory_mtimes)
        is_first = place.token is None
        entries = PackedEntries((*fixed_entries(self._location), *found) if is_first else found)
        self._skipped = sieve.skipped
        self._coming_bytes = entries.size_bytes
        self._settle()
        if (token := page.next_token) is None:
            return _Loaded(entries, None)
        progress = place.progress.after(token, is_empty=not entries)
        return _Loaded(entries, _Place(token, sieve, progress))

    # Memory.

    async def _reserve_list(self) -> None:
        """Reserve the memory of a LIST that the client waits for. :raises LimitReached: none."""
        self._settle()
        await self._memory.reserve(LIST_BYTES)
        self._coming_bytes = LIST_BYTES

    def _settle(self) -> None:
        """Count what is held: the page in hand, and the one behind it."""
        page_bytes = self._page.size_bytes if self._page else 0
        self._memory.settle(page_bytes + self._coming_bytes)

    def _on_pressure(self) -> None:
        """Others wait for memory: give back pages that the client does not read."""
        is_used = self._is_loading or self._clock.seconds() - self._used_seconds < IDLE_SECONDS
        is_coming = self._coming is not None and not self._coming.called
        if is_used or is_coming or not self._memory.held_bytes:
            return
        if self._page:
            self._next_place = replace(self._place, taken=self._page.taken)
        elif self._coming is not None:
            self._next_place = self._coming_place
        self._drop_coming()
        self._page = PackedEntries()
        self._settle()

    def _drop_coming(self) -> None:
        coming, self._coming = self._coming, None
        self._coming_bytes = 0
        if coming is not None:
            coming.addErrback(_ignore)
            coming.cancel()

    def _report_skipped(self) -> None:
        if self._skipped:
            self._events.emit(
                KeysSkipped(
                    directory=self._location.path,
                    count=self._skipped,
                    reason="no SFTP path can name them",
                    bucket=self._location.bucket,
                )
            )
            self._skipped = 0


def fixed_entries(location: Location) -> tuple[DirectoryEntry, ...]:
    """The entries of the fixed directories in a directory, which its first page shows."""
    return directory_entries(location.fixed_names)


def listed_bytes(page: ListPage) -> int:
    """About how many bytes of memory a page takes as a LIST returns it."""
    rows = len(page.objects) + len(page.prefixes)
    keys_bytes = sum(len(info.name.key) for info in page.objects) + sum(map(len, page.prefixes))
    return ROW_BYTES * rows + keys_bytes


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
