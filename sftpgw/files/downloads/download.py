"""One download: fetches the ranges that its plan asks for, and answers READs as bytes arrive.

Knows: the store, the ranges that are here or under way, how large the object is.
Must not know: SFTP, which range is fetched when (`downloads/plan/read_ahead`), how bytes are held
(`downloads/fetched_ranges`), in which order READs are answered (`downloads/read_queue`).

Each range is fetched under the ETag of the first one, so that no READ mixes two versions of an
object.
"""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from sftpgw.errors import (
    EndOfFile,
    GatewayError,
    InvalidHandle,
    ObjectChanged,
    PreconditionFailed,
    RangeNotSatisfiable,
    StoreTrouble,
    again,
)
from sftpgw.files.downloads.fetched_ranges import FetchedRange, OpeningRange
from sftpgw.files.downloads.plan.read_ahead import ReadAhead, Segment
from sftpgw.files.downloads.range_memory import RangeMemory
from sftpgw.files.downloads.read_queue import ReadQueue
from sftpgw.files.session_context import SessionContext
from sftpgw.files.traffic import READ_FOR_EDIT, FileTraffic
from sftpgw.files.transfers.transfer_view import TransferKind, TransferView
from sftpgw.model.events.file_events import FileRead
from sftpgw.model.events.gateway_events import Defect
from sftpgw.model.filesystem import Cork, FileAttributes
from sftpgw.model.store import ByteRange, ObjectInfo, ObjectName
from sftpgw.model.units import Body

END = "end of file"
REPLACED = "the file was replaced while it was being read"


class Download:
    """Implements `FileReader`.

    :param context: the objects that the session's files use.
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
        self._is_base = edit_traffic is not None
        self._context = context
        self._name = name
        self._path = path
        self._etag = etag
        self._store = context.store
        self._budget = context.budget
        self._transfers = context.transfers
        self._clock = context.clock
        self._part_bytes = context.settings_of(name.bucket).download_part_size_bytes
        self._info: ObjectInfo | None = None
        self._plan = self._new_plan(0)
        self._ranges: dict[Segment, FetchedRange] = {}
        self._queue = ReadQueue(self)
        self._memory = RangeMemory(context.budget, context.clock, self._fetch_more)
        self._failure: GatewayError | None = None
        self._is_closed = False
        self._opened_seconds = context.clock.seconds()
        self._read_bytes = 0
        # False after a failure: read-ahead is not tried again before the next READ.
        self._reads_ahead = True

    def _new_plan(self, size_bytes: int) -> ReadAhead:
        concurrency = self._context.settings_of(self._name.bucket).download_concurrency
        return ReadAhead(size_bytes, part_bytes=self._part_bytes, concurrency=concurrency)

    # The open file.

    async def open(self, *, may_wait: bool = True) -> None:
        """Fetch the first range, and return when the object's size is known.

        :param may_wait: whether to wait in the queue if there is no memory; a transfer that holds
            memory must not.
        :raises StoreError: as `ObjectStore.get` says; an empty object is fine.
        :raises ObjectChanged: it is not the version that was asked for.
        :raises LimitReached: there is no memory.
        """
        self._transfers.begin_download(self, is_shown=not self._is_base)
        self._budget.watch(self._on_pressure, is_transfer=True)
        try:
            first_bytes = await self._memory.reserve_first(self._part_bytes, may_wait=may_wait)
            first = OpeningRange(self, Segment(0, first_bytes, 0))
            self._start(first, if_match=self._etag)
            await first.opened
        except RangeNotSatisfiable:
            # There is no byte to send: the object is empty, and the response tells no more of it.
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
            self._context.user,
            self._context.session,
            self._path,
            self._name.key,
            done_bytes=self._read_bytes,
            size_bytes=None if self._info is None else self._info.size_bytes,
            since_seconds=self._opened_seconds,
        )

    def cork_with(self, cork: Cork) -> None:
        self._queue.cork = cork

    async def attributes(self) -> FileAttributes:
        if not self._known.etag:
            info = await self._store.head(self._name)
            if info.size_bytes:
                self._fail(ObjectChanged(REPLACED))
                raise ObjectChanged(REPLACED)
            self._info = info
        return self._context.times.attributes(self._known)

    def close(self) -> None:
        self._fail(InvalidHandle("the file is closed"))
        if not self._is_closed:
            self._is_closed = True
            self._emit_end()
            if not self._is_base:
                self.traffic.end()
            self._budget.unwatch(self._on_pressure)
            self._transfers.end_download(self)
            self._queue.close()
            self._memory.close()

    def _emit_end(self) -> None:
        if self._info is not None:
            self._context.events.emit(
                FileRead(
                    key=self._name.key,
                    bucket=self._name.bucket,
                    path=self._path or None,
                    size_bytes=self._read_bytes,
                    file_bytes=self._info.size_bytes,
                    seconds=round(self._clock.seconds() - self._opened_seconds, 3),
                    etag=self._info.etag.strip('"'),
                    **(READ_FOR_EDIT if self._is_base else self.traffic.read_facts()),
                )
            )

    @property
    def _known(self) -> ObjectInfo:
        assert self._info is not None, "open() comes first"
        return self._info

    # READs.

    def read(self, offset: int, length: int) -> Body | Deferred[Body]:
        if self._failure is not None:
            raise again(self._failure)
        size_bytes = self._known.size_bytes
        if offset >= size_bytes:
            if not self._queue.reads:
                raise EndOfFile(END)
            return self._queue.put(ByteRange(offset, offset), Failure(EndOfFile(END)))
        wanted = ByteRange(offset, min(offset + length, size_bytes))
        self._reads_ahead = True
        data = None if self._queue.reads else self.take(wanted)
        self._plan.requested(wanted, now_seconds=self._clock.seconds(), is_here=data is not None)
        self._drop_stale()
        if data is not None:
            self._fetch_more()
            return data
        reply = self._queue.put(wanted)
        self._fetch_more()
        return reply

    def has_received(self, wanted: ByteRange) -> bool:
        """Whether all of `wanted` is here."""
        return self._plan.segments.has_received(wanted)

    def take(self, wanted: ByteRange) -> Body | None:
        """The bytes of `wanted`, which count as read then; None if they are not all here."""
        parts: list[tuple[FetchedRange, ByteRange]] = []
        at = wanted.start
        for segment in self._plan.segments:
            if segment.start <= at < segment.received_stop:
                stop = min(wanted.stop, segment.received_stop)
                parts.append((self._ranges[segment], ByteRange(at, stop)))
                at = stop
        if at < wanted.stop:
            return None
        fragments = tuple(fragment for each, part in parts for fragment in each.slices(part))
        self._read_bytes += wanted.size_bytes
        self.traffic.read_bytes += wanted.size_bytes
        # All at once: a transfer that is granted what is released may make this one release more.
        self._budget.release(sum(self._release_read(each) for each, _ in parts))
        return fragments

    def _release_read(self, each: FetchedRange) -> int:
        """Drop the bytes of a range that were read; how many that were."""
        freed_bytes = each.release_read()
        if each.segment.start == each.segment.stop:
            del self._ranges[each.segment]
            self._plan.dropped(each.segment)
        return freed_bytes

    def read_ended(self, wanted: ByteRange) -> None:
        """A READ that had to wait has its reply, will fail, or was given up."""
        self._plan.replied(wanted)

    # Ranges.

    def _fetch_more(self) -> None:
        self._plan.fair_share_bytes = self._budget.fair_share_bytes
        while self._failure is None and (fetch := self._plan.next_fetch()) is not None:
            wanted = self._memory.reserve(fetch, reads_ahead=self._reads_ahead)
            if wanted is None:
                if fetch.is_on_demand:
                    self._wait_for_memory(fetch.on_demand.size_bytes)
                return
            segment = self._plan.began(wanted)
            self._start(FetchedRange(self, segment), if_match=self._known.etag)

    def _wait_for_memory(self, size_bytes: int) -> None:
        """A READ waits for bytes that there is no memory for.

        While ranges are under way, earlier READs will be answered from them, and release some.
        """
        if not self._ranges:
            self._memory.queue(size_bytes)
        elif not any(each.segment.is_under_way for each in self._ranges.values()):
            # This download itself may hold the memory that the READ waits for.
            self._remove_all()
            self._fetch_more()

    def _start(self, each: FetchedRange, *, if_match: str | None) -> None:
        segment = each.segment
        self._ranges[segment] = each
        wanted = ByteRange(segment.start, segment.stop)
        fetching = self._store.get(self._name, wanted, each, if_match=if_match)
        each.request = Deferred.fromCoroutine(fetching)
        each.request.addCallbacks(self._fetched, self._not_fetched, (each,), {}, (each,), {})

    def on_opened(self, info: ObjectInfo, first: Segment) -> None:
        """The first response tells where the object ends."""
        self._info = info
        self._plan = self._new_plan(info.size_bytes)
        self._budget.release(self._plan.opened(first))

    def on_received(self) -> None:
        """Bytes of a range have arrived."""
        self._queue.answer()

    def on_opening_received(self, each: OpeningRange) -> None:
        """Cut the first range off if it is not read; bytes that are here may be wanted yet."""
        if each.request is not None and self._plan.runs_too_far(each.segment):
            self._budget.release(self._plan.cut_off(each.segment))
            each.end()
            self._fetch_more()  # a READ may have waited for the rest of the range

    def _fetched(self, _: None, each: FetchedRange) -> None:
        each.request = None
        self._plan.finished()
        if each.segment.is_under_way and each.segment in self._ranges:
            error = StoreTrouble("the store sent less than the object's size promises")
            self._range_failed(each, Failure(error))
            return
        self._fetch_more()

    def _not_fetched(self, failure: Failure, each: FetchedRange) -> None:
        each.request = None
        # A range that was cut off is still here: its bytes may be read yet.
        if each.segment in self._ranges and not each.is_over:
            self._range_failed(each, failure)

    def _range_failed(self, each: FetchedRange, failure: Failure) -> None:
        """A range has failed: so do the READs that wait for it."""
        self._reads_ahead = False
        self._remove(each)
        if isinstance(each, OpeningRange) and not each.opened.called:
            each.opened.errback(failure)
            return
        if failure.check(PreconditionFailed):
            self._fail(ObjectChanged(REPLACED))
            return
        if not failure.check(GatewayError):
            self._context.events.emit(Defect(where="download", failure=failure))
            failure = Failure(StoreTrouble("the read failed for an internal reason"))
        self._queue.refuse(ByteRange(each.segment.received_stop, each.segment.stop), failure)
        self._queue.answer()
        self._fetch_more()

    def _drop_stale(self) -> None:
        for each in [self._ranges[segment] for segment in self._plan.drop_stale()]:
            self._remove(each)

    def _remove(self, each: FetchedRange) -> None:
        """Forget a range, once: a transfer that is granted its memory may ask for more."""
        if self._ranges.pop(each.segment, None) is None:
            return
        if each.segment in self._plan.segments:
            self._plan.dropped(each.segment)
        self._budget.release(each.segment.stop - each.segment.start)
        each.drop()

    def _remove_all(self) -> None:
        for each in tuple(self._ranges.values()):
            self._remove(each)

    # The end.

    def _fail(self, error: GatewayError) -> None:
        """This handle reads no more bytes: release everything, and let READs that wait fail."""
        self._failure = self._failure or error
        self._memory.leave_queue()
        self._remove_all()
        self._queue.refuse_all(error)
        self._queue.answer()

    def _on_pressure(self) -> None:
        """Others wait for memory: bytes that no READ waits for can be fetched again."""
        if not self._queue.reads and self._info is not None:
            self._remove_all()
