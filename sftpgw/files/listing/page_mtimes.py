"""The exact mtimes of the files in one listing.

Knows: for which listings HEADs are worth it, how many at once, for how long.
Must not know: SFTP, what becomes of the pages.

Rules

1. With ``exact_times = no``, a listing shows the Last-Modified of each object. Otherwise it shows
   the mtimes that are in `MtimeCache`. It sends a HEAD for each unknown file, and for each
   directory to its marker, always (``yes``), or if the directory fits into one page of 1,000 names
   (``auto``). At 30 ms for a HEAD, these 1,000 take 1.4 seconds, and 0.6 seconds of CPU, the first
   time.
2. One listing waits for `MAX_HEADS` of them, the listings of a session together for
   `mtimes.cache.MAX_HEADS_TOGETHER`. When each is sent is up to the one budget of requests, in
   which users take turns, then their sessions (`s3/request_budget`).
3. A listing waits `MAX_WAIT_SECONDS` for the HEADs of a page. Then, and where a HEAD is refused, it
   shows the Last-Modified. One refusal may concern a single object; but after `MAX_REFUSED` of them
   without any success, or if the store fails, the listing sends no more.
4. Listings of one user that want the same HEAD share it. It must have begun after the listing: an
   older one may show what the listing does not. Users share none: one would wait in the queue of
   the other.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from twisted.internet.defer import Deferred, DeferredList

from sftpgw.aio.delayed_call import cancel_pending
from sftpgw.errors import NoSuchObject, StoreError, refuses_one_object
from sftpgw.files.listing.markers import is_empty_marker
from sftpgw.files.listing.plan import modified_seconds
from sftpgw.files.session_context import SessionContext
from sftpgw.model.events.file_events import TimesUnknown
from sftpgw.model.settings import ExactTimes
from sftpgw.model.store import ListPage, ObjectInfo, ObjectName

MAX_HEADS = 32
MAX_WAIT_SECONDS = 10.0
MAX_REFUSED = 64


class PageMtimes:
    """Puts exact mtimes into the pages of one listing, as far as they can be had.

    :param context: the objects that the session's files use.
    :param is_small: whether the whole directory fits into its first page.
    :param is_wanted: whether the times are looked at; a pattern needs only names.
    """

    def __init__(self, context: SessionContext, *, is_small: bool, is_wanted: bool = True) -> None:
        choice = context.files.exact_times if is_wanted else ExactTimes.NO
        self._store = context.store
        self._cache = context.times
        self._user = context.user
        self._path = (context.user, context.session, f"{id(self)}")
        self._mark = self._cache.heads.mark
        self._clock = context.clock
        self._events = context.events
        self._shows = choice is not ExactTimes.NO
        self._asks = choice is ExactTimes.YES or (choice is ExactTimes.AUTO and is_small)
        self._unknown: deque[ObjectInfo | ObjectName] = deque()
        """Objects of the list, and markers that directories may have."""
        self._answered = 0
        self._refused = 0

    async def put_into(
        self, page: ListPage, markers: Iterable[ObjectName] = ()
    ) -> tuple[ListPage, Mapping[str, float | None]]:
        """The page with exact mtimes, and the mtimes of its directories by prefix. Never raises.

        :param page: the page as it was listed.
        :param markers: the markers that its directories would have.
        """
        if not self._shows:
            return page, {}
        now_seconds = self._clock.seconds()
        directories = tuple(markers)
        if self._asks:
            self._unknown.extend(
                each for each in directories if not self._cache.has_directory(each, now_seconds)
            )
        page = await self._put_into(page)
        return page, {each.key: self._cache.directory_mtime(each) for each in directories}

    async def _put_into(self, page: ListPage) -> ListPage:
        found = {info.name: self._cache.find(info) for info in page.objects if _is_file(info)}
        if self._asks:
            self._unknown.extend(info for info in page.objects if found.get(info.name, 0) is None)
        if self._unknown:
            await self._ask(found)
        return replace(page, objects=tuple(_with_mtime(info, found) for info in page.objects))

    def stop(self) -> None:
        """Send no more HEADs."""
        self._asks = False
        self._unknown.clear()

    async def _ask(self, found: dict[ObjectName, float | None]) -> None:
        """Send a HEAD for each unknown object; the mtimes are put into `found`."""
        workers = [
            Deferred.fromCoroutine(self._work(found))
            for _ in range(min(MAX_HEADS, len(self._unknown)))
        ]
        # It succeeds once all workers have ended, cancelled or not.
        ended = DeferredList(workers, consumeErrors=True)
        timer = self._clock.callLater(MAX_WAIT_SECONDS, self._on_timeout, ended)
        try:
            await ended
        finally:
            cancel_pending(timer)

    def _on_timeout(self, ended: Deferred[Any]) -> None:
        self._unknown.clear()
        ended.cancel()

    async def _work(self, found: dict[ObjectName, float | None]) -> None:
        while self._unknown:
            async with self._cache.head_slots.slot(self._path):
                if self._unknown:
                    await self._look(self._unknown.popleft(), found)

    async def _look(
        self, listed: ObjectInfo | ObjectName, found: dict[ObjectName, float | None]
    ) -> None:
        """Send the HEAD of a listed object, or of the marker that a directory may have."""
        name = listed if isinstance(listed, ObjectName) else listed.name
        if self._is_known(listed, found):
            return
        try:
            info = await self._cache.heads.result(
                (self._user, name), self._mark, lambda: self._head(name)
            )
        except StoreError as error:
            self._on_refused(name, error)
            return
        self._answered += 1
        if isinstance(listed, ObjectName):
            seconds = modified_seconds(info) if info else None
            self._cache.put_directory(listed, seconds, self._clock.seconds())
        elif info is not None:
            found[name] = self._cache.put_looked_up(listed, info, self._clock.seconds())

    def _is_known(
        self, listed: ObjectInfo | ObjectName, found: dict[ObjectName, float | None]
    ) -> bool:
        """Whether another listing has asked for it while this one waited."""
        if isinstance(listed, ObjectName):
            return self._cache.has_directory(listed, self._clock.seconds())
        found[listed.name] = seconds = self._cache.find(listed)
        return seconds is not None

    async def _head(self, name: ObjectName) -> ObjectInfo | None:
        """The object; None if there is none."""
        try:
            return await self._store.head(name)
        except NoSuchObject:
            return None

    def _on_refused(self, name: ObjectName, error: StoreError) -> None:
        """Count a refusal; the first one of a listing becomes an event."""
        if self._asks and not self._refused:
            self._events.emit(TimesUnknown(key=name.key, bucket=name.bucket, reason=error.message))
        self._refused += 1
        are_all_refused = not self._answered and self._refused >= MAX_REFUSED
        if are_all_refused or not refuses_one_object(error):
            self.stop()


def _is_file(info: ObjectInfo) -> bool:
    return not is_empty_marker(info)


def _with_mtime(info: ObjectInfo, found: dict[ObjectName, float | None]) -> ObjectInfo:
    seconds = found.get(info.name)
    if seconds is None or seconds == info.modified_seconds:
        return info
    return replace(info, modified_seconds=seconds)
