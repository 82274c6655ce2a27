"""The exact times of the files in one listing.

Knows: for which listings HEADs are spent, how many at once, and for how long.
Must not know: what becomes of the pages, SFTP.

Rules

1. ``exact_times = no``: the times of the list. Else what is known is shown, and what is not
   known is asked for, a HEAD each, of folders that of their marker: always (``yes``), or
   (``auto``) if the directory fits into one page of a list, which is 1,000 names. At 30 ms a
   HEAD these take 1.4 seconds, and 0.6 of CPU, the first time.
2. So many HEADs of a listing are under way at once, and so many of all listings
   (`KnownTimes.looks`), in turns.
3. A listing waits for a page's HEADs for `PATIENCE_SECONDS` at most. Where there was no
   answer, the list's time is shown. A refusal may be about its object only; but where
   `MAX_REFUSED` came and no answer, all are refused, and nothing more is asked. Nor is anything
   once the store has failed.
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

LOOKS_OF_ONE = 32
PATIENCE_SECONDS = 10.0
MAX_REFUSED = 64


class PageMtimes:
    """Puts the exact times into the pages of one listing, as far as they can be had.

    :param is_small: whether its first page is its last one.
    """

    def __init__(self, context: SessionContext, *, is_small: bool) -> None:
        choice = context.files.exact_times
        self._store = context.store
        self._known = context.times
        self._clock = context.clock
        self._events = context.events
        self._shows = choice is not ExactTimes.NO
        self._asks = choice is ExactTimes.YES or (choice is ExactTimes.AUTO and is_small)
        self._unknown: deque[ObjectInfo | ObjectName] = deque()
        self._told = 0
        self._refused = 0

    async def put_into(
        self, page: ListPage, markers: Iterable[ObjectName] = ()
    ) -> tuple[ListPage, Mapping[str, float | None]]:
        """The same page with exact times, and those of folders, by their prefixes. Never raises.

        :param markers: those that the folders in it would have.
        """
        if not self._shows:
            return page, {}
        now_seconds = self._clock.seconds()
        folders = tuple(markers)
        if self._asks:
            self._unknown.extend(
                each for each in folders if not self._known.knows_folder(each, now_seconds)
            )
        page = await self._put_into(page)
        return page, {each.key: self._known.folder(each) for each in folders}

    async def _put_into(self, page: ListPage) -> ListPage:
        found = {info.name: self._known.find(info) for info in page.objects if _is_file(info)}
        if self._asks:
            self._unknown.extend(info for info in page.objects if found.get(info.name, 0) is None)
        if self._unknown:
            await self._ask(found)
        return replace(page, objects=tuple(_timed(info, found) for info in page.objects))

    def stop(self) -> None:
        """Nobody wants the rest."""
        self._asks = False
        self._unknown.clear()

    async def _ask(self, found: dict[ObjectName, float | None]) -> None:
        """Ask for all that is unknown; what was found out is put into `found`."""
        workers = [
            Deferred.fromCoroutine(self._work(found))
            for _ in range(min(LOOKS_OF_ONE, len(self._unknown)))
        ]
        # It succeeds once all workers have ended, cancelled or not.
        ended = DeferredList(workers, consumeErrors=True)
        timer = self._clock.callLater(PATIENCE_SECONDS, self._lose_patience, ended)
        try:
            await ended
        finally:
            cancel_pending(timer)

    def _lose_patience(self, ended: Deferred[Any]) -> None:
        self._unknown.clear()
        ended.cancel()

    async def _work(self, found: dict[ObjectName, float | None]) -> None:
        while self._unknown:
            await self._known.looks.acquire()
            try:
                if self._unknown:
                    await self._look(self._unknown.popleft(), found)
            finally:
                self._known.looks.release()

    async def _look(
        self, listed: ObjectInfo | ObjectName, found: dict[ObjectName, float | None]
    ) -> None:
        """At an object in the list, or at the marker that a folder may have."""
        name = listed if isinstance(listed, ObjectName) else listed.name
        told: ObjectInfo | None = None
        try:
            told = await self._store.head(name)
        except NoSuchObject:
            pass
        except StoreError as error:
            self._note_failure(name, error)
            return
        self._told += 1
        if isinstance(listed, ObjectName):
            seconds = modified_seconds(told) if told else None
            self._known.learn_folder(listed, seconds, self._clock.seconds())
        elif told is not None:
            found[name] = self._known.learn(listed, told, self._clock.seconds())

    def _note_failure(self, name: ObjectName, error: StoreError) -> None:
        """The log hears of the first one of a listing."""
        if self._asks and not self._refused:
            self._events.emit(TimesUnknown(key=name.key, bucket=name.bucket, reason=error.message))
        self._refused += 1
        are_all_refused = not self._told and self._refused >= MAX_REFUSED
        if are_all_refused or not refuses_one_object(error):
            self.stop()


def _is_file(info: ObjectInfo) -> bool:
    return not is_empty_marker(info)


def _timed(info: ObjectInfo, found: dict[ObjectName, float | None]) -> ObjectInfo:
    seconds = found.get(info.name)
    if seconds is None or seconds == info.modified_seconds:
        return info
    return replace(info, modified_seconds=seconds)
