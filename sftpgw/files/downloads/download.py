"""One download: fetches what `downloads/plan/read_ahead` decides, and answers READs as bytes
arrive.

Knows: the store, the budget, the ranges under way, and who waits for which bytes.
Must not know: SFTP, what is fetched when, how bytes are kept (`ranges`).

READs are answered in the order in which they came, errors and EOF too, though SFTP
would allow any. OpenSSH 9.2's scp cuts a file off where two answers change places,
and calls it whole; PuTTY's pscp stops at an EOF that overtakes data.

Where there is no memory at all, an OPEN stands in line for a little, as READs do.

Every range is fetched under the ETag of the first, so no read ever mixes two
versions of an object.
"""

from __future__ import annotations

from collections import deque
from contextlib import nullcontext
from dataclasses import dataclass

from twisted.internet.defer import Deferred
from twisted.internet.defer import TimeoutError as WaitedTooLong
from twisted.python.failure import Failure

from sftpgw.errors import (
    EndOfFile,
    GatewayError,
    InvalidHandle,
    LimitReached,
    ObjectChanged,
    PreconditionFailed,
    RangeNotSatisfiable,
    StoreTrouble,
)
from sftpgw.files.downloads.fetched_ranges import FetchedRange, OpeningRange
from sftpgw.files.downloads.plan.read_ahead import Fetch, ReadAhead, Segment
from sftpgw.files.memory.reservation import request_reclaim_while_waiting
from sftpgw.files.session_context import SessionContext
from sftpgw.files.traffic import READ_FOR_EDIT, FileTraffic
from sftpgw.files.transfers.transfer_view import TransferKind, TransferView
from sftpgw.model.events.file_events import FileRead
from sftpgw.model.events.gateway_events import Defect
from sftpgw.model.filesystem import Cork, FileAttributes
from sftpgw.model.store import ByteRange, ObjectInfo, ObjectName
from sftpgw.model.units import KIB, Body

FIRST_BYTES_WHEN_SHORT_OF_MEMORY = 256 * KIB

OPEN_PATIENCE_SECONDS = 60.0
"""So long does an OPEN stand in line for memory."""

NO_MEMORY = "all memory is in use by other transfers; try again in a moment"
REPLACED = "the file was replaced while it was being read"


@dataclass(eq=False, slots=True)
class _WaitingRead:
    """A READ in line. `failure` is its answer once it is known that bytes will not come."""

    wanted: ByteRange
    answer: Deferred[Body]
    failure: Failure | None = None


class Download:
    """Implements `FileReader`.

    :param context: what the session's files stand on.
    :param name: the object that is read.
    :param path: the file's path, as the client opened it.
    :param etag: the version to read; None takes the current one.
    :param edit_traffic: the traffic of the file that is being written over this object; None if
        the object is read for itself.
    """

    def __init__(
        self,
        context: SessionContext,
        name: ObjectName,
        *,
        path: str = "",
        etag: str | None = None,
        edit_traffic: FileTraffic | None = None,
    ) -> None:
        self.traffic = edit_traffic or context.traffic.begin()
        self._is_below = edit_traffic is not None
        self._shown = context.times.attributes
        self._name = name
        self._path = path
        self._user, self._session = context.user, context.session
        self._etag = etag
        self._store = context.store
        self._budget = context.budget
        self._transfers = context.transfers
        self._clock = context.clock
        self._events = context.events
        self._part_bytes = part_bytes = context.settings.download_part_size_bytes
        self._concurrency = concurrency = context.settings.download_concurrency
        self._info: ObjectInfo | None = None
        self._plan = ReadAhead(0, part_bytes=part_bytes, concurrency=concurrency)
        self._ranges: dict[Segment, FetchedRange] = {}
        self._waiting: deque[_WaitingRead] = deque()
        self._failure: GatewayError | None = None
        self._is_closed = False
        self._cork: Cork = nullcontext
        # Of the budget: our place in its line, and what it has granted, not yet in use.
        self._turn: Deferred[None] | None = None
        self._granted_bytes = 0
        self._opened_seconds = context.clock.seconds()
        self._answered_bytes = 0
        # False after a failure: read-ahead is not tried again before the next READ.
        self._reads_ahead = True

    async def open(self, *, may_wait: bool = True) -> None:
        """Fetch the first range, and return when the object's size is known.

        :param may_wait: in line, if there is no memory; who holds some must not.
        :raises StoreError: as `ObjectStore.get` says; an empty object is fine.
        :raises ObjectChanged: it is not the version that was asked for.
        :raises LimitReached: there is no memory.
        """
        self._begin()
        self._budget.watch(self._shed)
        try:
            first = OpeningRange(self, Segment(0, await self._first_bytes(may_wait=may_wait), 0))
            self._start(first, if_match=self._etag)
            await first.answered
        except RangeNotSatisfiable:
            # No byte to send: the object is empty, and S3 tells no more of it.
            self._info = ObjectInfo(self._name, 0, "", 0.0)
        except PreconditionFailed:
            self.close()
            raise ObjectChanged(REPLACED) from None
        except BaseException:
            self.close()
            raise

    def view(self) -> TransferView:
        return TransferView(
            TransferKind.DOWNLOAD,
            self._user,
            self._session,
            self._path,
            self._name.key,
            done_bytes=self._answered_bytes,
            size_bytes=None if self._info is None else self._info.size_bytes,
            since_seconds=self._opened_seconds,
        )

    def _begin(self) -> None:
        if self._is_below:
            self._transfers.begin_work()
        else:
            self._transfers.begin_download(self)

    def _end(self) -> None:
        if self._is_below:
            self._transfers.end_work()
        else:
            self._transfers.end_download(self)

    async def _first_bytes(self, *, may_wait: bool) -> int:
        """How much to open the file with: a part, or less if memory is short."""
        first_bytes = min(self._part_bytes, self._budget.fair_share_bytes)
        if self._budget.try_acquire(first_bytes):
            return first_bytes
        first_bytes = min(first_bytes, FIRST_BYTES_WHEN_SHORT_OF_MEMORY)
        if not self._budget.try_charge(first_bytes):
            if not may_wait:
                raise LimitReached(NO_MEMORY)
            await self._wait_for_memory(first_bytes)
        return first_bytes

    async def _wait_for_memory(self, size_bytes: int) -> None:
        """Stand in line with nothing in hand; cancel it to leave."""
        turn = self._budget.acquire(size_bytes)
        if turn is None:
            return
        request_reclaim_while_waiting(self._budget, self._clock, turn)
        try:
            await turn.addTimeout(OPEN_PATIENCE_SECONDS, self._clock)  # type: ignore[arg-type]
        except WaitedTooLong:
            raise LimitReached(NO_MEMORY) from None

    def learned(self, info: ObjectInfo, first: Segment) -> None:
        """The first answer: until now nobody knew where the object ends."""
        self._info = info
        self._plan = ReadAhead(
            info.size_bytes, part_bytes=self._part_bytes, concurrency=self._concurrency
        )
        self._plan.opened(first)
        excess_bytes = max(0, first.stop - info.size_bytes)
        first.stop -= excess_bytes
        self._budget.release(excess_bytes)

    def opening_received(self, each: OpeningRange) -> None:
        """Cut it off if nobody reads what it brings; what is here may be wanted yet."""
        if each.request is not None and self._plan.runs_too_far(each.segment):
            self._budget.release(self._plan.cut_off(each.segment))
            each.end()
            self._fetch_more()  # a READ may have waited for what it would have brought

    def read(self, offset: int, length: int) -> Body | Deferred[Body]:
        if self._failure is not None:
            raise self._failure.with_traceback(None)
        size_bytes = self._known.size_bytes
        if offset >= size_bytes:
            return self._end_of_file(offset)
        wanted = ByteRange(offset, min(offset + length, size_bytes))
        self._reads_ahead = True
        data = None if self._waiting else self._taken(wanted)
        self._plan.asked(wanted, now_seconds=self._clock.seconds(), is_here=data is not None)
        self._drop_stale()
        if data is not None:
            self._fetch_more()
            return data
        waiting = _WaitingRead(wanted, Deferred(self._stop_waiting))
        self._waiting.append(waiting)
        self._fetch_more()
        return waiting.answer

    def _end_of_file(self, offset: int) -> Deferred[Body]:
        error = EndOfFile("end of file")
        if not self._waiting:
            raise error
        waiting = _WaitingRead(ByteRange(offset, offset), Deferred(self._stop_waiting))
        waiting.failure = Failure(error)
        self._waiting.append(waiting)
        return waiting.answer

    def cork_with(self, cork: Cork) -> None:
        self._cork = cork

    async def attributes(self) -> FileAttributes:
        if not self._known.etag:
            info = await self._store.head(self._name)
            if info.size_bytes:
                self._fail(ObjectChanged(REPLACED))
                raise ObjectChanged(REPLACED)
            self._info = info
        return self._shown(self._known)

    def close(self) -> None:
        self._fail(InvalidHandle("the file is closed"))
        if not self._is_closed:
            self._is_closed = True
            self._tell_end()
            if not self._is_below:
                self.traffic.end()
            self._budget.unwatch(self._shed)
            self._end()

    def _tell_end(self) -> None:
        if self._info is not None:
            self._events.emit(
                FileRead(
                    key=self._name.key,
                    bucket=self._name.bucket,
                    path=self._path or None,
                    size_bytes=self._answered_bytes,
                    file_bytes=self._info.size_bytes,
                    seconds=round(self._clock.seconds() - self._opened_seconds, 3),
                    etag=self._info.etag.strip('"'),
                    **(READ_FOR_EDIT if self._is_below else self.traffic.read_facts()),
                )
            )

    @property
    def _known(self) -> ObjectInfo:
        assert self._info is not None, "open() comes first"
        return self._info

    # Ranges.

    def _fetch_more(self) -> None:
        self._plan.fair_share_bytes = self._budget.fair_share_bytes
        while self._failure is None and (fetch := self._plan.next_fetch()) is not None:
            wanted = self._affordable(fetch)
            if wanted is None:
                return
            segment = self._plan.began(wanted)
            self._start(FetchedRange(self, segment), if_match=self._known.etag)

    def _affordable(self, fetch: Fetch) -> ByteRange | None:
        """What there is memory for; without any, a READ stands in line for its bytes."""
        may_take = fetch.is_demanded or self._reads_ahead
        if may_take and self._budget.try_acquire(fetch.wanted.size_bytes):
            return fetch.wanted
        if not fetch.is_demanded:
            return None
        size_bytes = fetch.demanded.size_bytes
        if self._granted_bytes:
            granted_bytes = min(self._granted_bytes, size_bytes)
            self._granted_bytes -= granted_bytes
            return ByteRange(fetch.demanded.start, fetch.demanded.start + granted_bytes)
        if self._budget.try_charge(size_bytes):
            return fetch.demanded
        if not self._ranges:
            self._stand_in_line(size_bytes)
        elif not any(each.segment.is_under_way for each in self._ranges.values()):
            self._let_all_go()
        return None  # once the READs before it are answered

    def _let_all_go(self) -> None:
        """There is no memory, and what the READ waits for may be what we hold ourselves.

        Whoever stands in line holds nothing, so that no two wait for each other.
        """
        for each in tuple(self._ranges.values()):
            self._remove(each)
        self._fetch_more()

    def _stand_in_line(self, size_bytes: int) -> None:
        if self._turn is not None:
            return
        self._turn = self._budget.acquire(size_bytes)
        if self._turn is None:
            self._granted(None, size_bytes)
        else:
            request_reclaim_while_waiting(self._budget, self._clock, self._turn)
            self._turn.addCallbacks(self._granted, lambda _: None, callbackArgs=(size_bytes,))

    def _granted(self, _: None, size_bytes: int) -> None:
        self._turn = None
        self._granted_bytes = size_bytes
        self._fetch_more()
        # The READ that it was for may have been given up, or may have asked for less.
        unused_bytes, self._granted_bytes = self._granted_bytes, 0
        self._budget.release(unused_bytes)

    def _start(self, each: FetchedRange, *, if_match: str | None) -> None:
        segment = each.segment
        self._ranges[segment] = each
        wanted = ByteRange(segment.start, segment.stop)
        fetching = self._store.get(self._name, wanted, each, if_match=if_match)
        each.request = Deferred.fromCoroutine(fetching)
        each.request.addCallbacks(self._fetched, self._not_fetched, (each,), {}, (each,), {})

    def _fetched(self, _: None, each: FetchedRange) -> None:
        each.request = None
        self._plan.finished()
        if each.segment.is_under_way and each.segment in self._ranges:
            error = StoreTrouble("the store sent less than the object's size promises")
            self._give_up(each, Failure(error))
            return
        self._fetch_more()

    def _not_fetched(self, failure: Failure, each: FetchedRange) -> None:
        each.request = None
        # One that was cut off is still here: its bytes may be read yet.
        if each.segment in self._ranges and not each.is_over:
            self._give_up(each, failure)

    def _give_up(self, each: FetchedRange, failure: Failure) -> None:
        """A range has failed: so do the READs that wait for it."""
        self._reads_ahead = False
        self._remove(each)
        if isinstance(each, OpeningRange) and not each.answered.called:
            each.answered.errback(failure)
            return
        if failure.check(PreconditionFailed):
            self._fail(ObjectChanged(REPLACED))
            return
        if not failure.check(GatewayError):
            self._events.emit(Defect(where="download", failure=failure))
            failure = Failure(StoreTrouble("the read failed for an internal reason"))
        self._refuse(ByteRange(each.segment.received, each.segment.stop), failure)
        self.arrived()
        self._fetch_more()

    def _refuse(self, lost: ByteRange, failure: Failure) -> None:
        """These bytes will not come: whoever waits for them will be told in turn."""
        for waiting in self._waiting:
            wanted = waiting.wanted
            if waiting.failure is None and wanted.start < lost.stop and lost.start < wanted.stop:
                waiting.failure = failure
                self._plan.answered(wanted)

    def _drop_stale(self) -> None:
        for each in [self._ranges[segment] for segment in self._plan.drop_stale()]:
            self._remove(each)

    def _remove(self, each: FetchedRange) -> None:
        """Once only: whom we give memory back to may make us give back more, meanwhile."""
        if self._ranges.pop(each.segment, None) is None:
            return
        if each.segment in self._plan.segments:
            self._plan.dropped(each.segment)
        self._budget.release(each.segment.stop - each.segment.start)
        each.end()

    # READs.

    def arrived(self) -> None:
        """Something has come: answer the READs at the head of the line that have theirs."""
        if self._waiting and self._has_answer(self._waiting[0]):
            with self._cork():
                while self._waiting and self._answer_head():
                    pass

    def _has_answer(self, head: _WaitingRead) -> bool:
        return head.failure is not None or self._plan.has_received(head.wanted)

    def _answer_head(self) -> bool:
        """Answer the READ whose turn it is; False if it has to wait."""
        head = self._waiting[0]
        if head.failure is not None:
            self._waiting.popleft()
            head.answer.errback(head.failure)
            return True
        data = self._taken(head.wanted)
        if data is None:
            return False
        self._waiting.popleft()
        self._plan.answered(head.wanted)
        head.answer.callback(data)
        return True

    def _taken(self, wanted: ByteRange) -> Body | None:
        """The bytes of a READ if all of them are here; they count as read then."""
        parts: list[tuple[FetchedRange, ByteRange]] = []
        at = wanted.start
        for segment in self._plan.segments:
            if segment.start <= at < segment.received:
                stop = min(wanted.stop, segment.received)
                parts.append((self._ranges[segment], ByteRange(at, stop)))
                at = stop
        if at < wanted.stop:
            return None
        pieces = tuple(piece for each, part in parts for piece in each.slices(part))
        self._answered_bytes += wanted.size_bytes
        self.traffic.read_bytes += wanted.size_bytes
        # All of it before anything is given back: whoever gets it may make us let go of more.
        self._budget.release(sum(self._let_go(each) for each, _ in parts))
        return pieces

    def _let_go(self, each: FetchedRange) -> int:
        """Drop what has been read of a range; how many bytes that was."""
        freed_bytes = each.let_go()
        if each.segment.start == each.segment.stop:
            del self._ranges[each.segment]
            self._plan.dropped(each.segment)
        return freed_bytes

    def _stop_waiting(self, answer: Deferred[Body]) -> None:
        for waiting in self._waiting:
            if waiting.answer is answer:
                self._waiting.remove(waiting)
                if waiting.failure is None:
                    self._plan.answered(waiting.wanted)
                return

    def _fail(self, error: GatewayError) -> None:
        """No more bytes from this handle: let go of everything, and tell who waits."""
        if self._failure is None:
            self._failure = error
        if self._turn is not None:
            turn, self._turn = self._turn, None
            turn.cancel()
        for each in tuple(self._ranges.values()):
            self._remove(each)
        for waiting in self._waiting:
            waiting.failure = waiting.failure or Failure(error)
        self.arrived()

    def _shed(self) -> None:
        """Others wait for memory: what nobody waits for here can be fetched again."""
        if not self._waiting and self._info is not None:
            for each in tuple(self._ranges.values()):
                self._remove(each)
