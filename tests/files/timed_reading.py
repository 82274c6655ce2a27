"""A store with latency and bandwidth, and readers of every gait, on one simulated clock.

Knows: how long a store takes, and how clients read. Must not know: how a download decides.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from sftpgw.files.downloads.download import Download
from sftpgw.files.memory.budget import Budget
from sftpgw.model.settings import StoreSettings
from sftpgw.model.store import BodySink, ByteRange, ObjectInfo, ObjectName
from sftpgw.model.units import KIB, MIB
from sftpgw.testing.fake_store import FakeStore
from sftpgw.testing.session_contexts import session_context

NAME = ObjectName("bucket", "file")
CHUNK = bytes(256 * KIB)


class TimedStore(FakeStore):
    """Holds one object of zeros, and counts what it has sent of it.

    :param bytes_per_second: of each connection.
    """

    def __init__(
        self, clock: Clock, size_bytes: int, *, latency_seconds: float, bytes_per_second: float
    ) -> None:
        super().__init__()
        self.clock = clock
        self.latency_seconds = latency_seconds
        self.bytes_per_second = bytes_per_second
        self._info = ObjectInfo(NAME, size_bytes, '"1"', 0.0)
        self.sent_bytes = 0
        self.ranges: list[ByteRange] = []
        self.under_way = 0
        self.most_under_way = 0

    async def get(
        self,
        name: ObjectName,
        wanted: ByteRange | None,
        sink: BodySink,
        *,
        if_match: str | None = None,
    ) -> None:
        assert wanted is not None
        self.ranges.append(wanted)
        self.under_way += 1
        self.most_under_way = max(self.most_under_way, self.under_way)
        stop = min(wanted.stop, self._info.size_bytes)
        sending = _Sending(sink, self._info, wanted.start, stop, self)
        try:
            await sending.done
        finally:
            self.under_way -= 1


class _Sending:
    """One body under way; cancelling `done` stops it, even from within the sink."""

    def __init__(
        self, sink: BodySink, info: ObjectInfo, start: int, stop: int, store: TimedStore
    ) -> None:
        self.done: Deferred[None] = Deferred(lambda _: self._call.cancel())
        self._sink = sink
        self._at = start
        self._stop = stop
        self._store = store
        self._call = store.clock.callLater(store.latency_seconds, self._begin, info)

    def _begin(self, info: ObjectInfo) -> None:
        self._wait()
        self._sink.began(info)

    def _wait(self) -> None:
        self._chunk = CHUNK[: self._stop - self._at]
        seconds = len(self._chunk) / self._store.bytes_per_second
        self._call = self._store.clock.callLater(seconds, self._send)

    def _send(self) -> None:
        self._at += len(self._chunk)
        self._store.sent_bytes += len(self._chunk)
        chunk = self._chunk
        if self._at < self._stop:
            self._wait()
            self._sink.received(chunk)
        else:
            self._sink.received(chunk)
            self.done.callback(None)


@dataclass(frozen=True)
class Reading:
    """What a simulated reading has cost."""

    seconds: float
    asked_bytes: int
    fetched_bytes: int
    requests: int
    most_held_bytes: int
    held_at_last_bytes: int
    most_under_way: int

    @property
    def bytes_per_second(self) -> float:
        return self.asked_bytes / self.seconds

    @property
    def wasted_bytes(self) -> int:
        return self.fetched_bytes - self.asked_bytes


class TimedReading:
    """A reader with up to `pipelined` READs unanswered, that takes so many bytes a second."""

    def __init__(
        self,
        size_bytes: int,
        *,
        latency_seconds: float = 0.03,
        store_bytes_per_second: float = 90e6,
        reader_bytes_per_second: float = 400e6,
        pipelined: int = 64,
        round_trip_seconds: float = 0.0002,
        budget_bytes: int = 512 * MIB,
    ) -> None:
        self.clock = Clock()
        self.store = TimedStore(
            self.clock,
            size_bytes,
            latency_seconds=latency_seconds,
            bytes_per_second=store_bytes_per_second,
        )
        self.budget = Budget(budget_bytes, self.clock.seconds)
        context = session_context(
            self.store,
            budget=self.budget,
            clock=self.clock,
            settings=StoreSettings(download_part_size_bytes=8 * MIB, download_concurrency=4),
        )
        self.download = Download(context, NAME)
        self._rate = reader_bytes_per_second
        self._pipelined = pipelined
        self._round_trip_seconds = round_trip_seconds
        self._asked_bytes = 0
        self._most_held_bytes = 0
        self._unanswered = 0
        self._free_at = 0.0

    def run(self, reads: Iterable[tuple[int, int]], *, lingers_seconds: float = 0.0) -> Reading:
        """Open, read all, close."""
        opening = Deferred.fromCoroutine(self.download.open())
        while not opening.called:
            self._advance()
        rest = iter(reads)
        pending = self._send(rest)
        steps = 0
        while pending or self._unanswered:
            steps += 1
            assert steps < 1_000_000, "a READ has no answer"
            self._advance()
            if self._unanswered < self._pipelined:
                pending = self._send(rest)
        seconds = self.clock.seconds()
        while self.clock.seconds() < seconds + lingers_seconds:
            self._advance()
        held_bytes = self.budget.held_bytes
        self.download.close()
        assert self.budget.held_bytes == 0
        return Reading(
            seconds,
            self._asked_bytes,
            self.store.sent_bytes,
            len(self.store.ranges),
            self._most_held_bytes,
            held_bytes,
            self.store.most_under_way,
        )

    def slowing_down(
        self, reads: Iterable[tuple[int, int]], after_bytes: int, bytes_per_second: float
    ) -> Iterator[tuple[int, int]]:
        """`reads`, but the reader changes its pace on the way."""
        for read in reads:
            if self._asked_bytes >= after_bytes:
                self._rate = bytes_per_second
            yield read

    def _advance(self) -> None:
        calls = self.clock.getDelayedCalls()
        self._most_held_bytes = max(self._most_held_bytes, self.budget.held_bytes)
        due = min(call.getTime() for call in calls) if calls else self.clock.seconds() + 0.001
        self.clock.advance(max(0.0, due - self.clock.seconds()) + 1e-9)

    def _send(self, rest: Iterator[tuple[int, int]]) -> bool:
        while self._unanswered < self._pipelined:
            read = next(rest, None)
            if read is None:
                return False
            self._ask(*read)
        return True

    def _ask(self, offset: int, length: int) -> None:
        self._unanswered += 1
        self._asked_bytes += length
        data = self.download.read(offset, length)
        if isinstance(data, Deferred):
            data.addCallback(lambda _: self._take(length))
        else:
            self._take(length)

    def _take(self, length: int) -> None:
        """The answer is on its way to a client that takes one after the other."""
        now = self.clock.seconds()
        self._free_at = max(self._free_at, now) + length / self._rate
        self.clock.callLater(self._free_at - now + self._round_trip_seconds, self._taken)

    def _taken(self) -> None:
        self._unanswered -= 1


def sequential(start: int, stop: int, length: int = 32 * KIB) -> Iterator[tuple[int, int]]:
    return ((at, min(length, stop - at)) for at in range(start, stop, length))
