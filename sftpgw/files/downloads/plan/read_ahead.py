"""What a download fetches next.

Knows: which bytes READs have asked for, which are here or on their way, and by
`downloads/plan/access_pattern` how the reader moves.
Must not know: how bytes are fetched, or what they are.

Rules

1. Ranges that READs wait for come first, in the order in which the READs came; at most
   `concurrency` such ranges are under way. READs that adjoin share a range.
2. Beside the range that the next reply comes from, at most `concurrency` are under way that no
   READ waits for.
3. Ranges never overlap: each byte is fetched once, unless it was released before it was read.
4. A run is fetched ahead of from its second READ on: up to its window, and up to four times its
   own length. A range is a share of the window, and at most a part. A shorter range is begun only
   for a READ that waits, or at the end of the object.
5. Bytes that are fetched and never asked for are counted. A reader that has caused some is given
   an eighth of each run in advance, or the rest of an eighth of all bytes that it has asked for;
   but a run of more than two parts has proved itself.
6. A stride is fetched READ by READ.
7. Bytes that lie near no run, no stride and no waiting READ are stale. A file that fits into one
   part is held whole.
8. Where memory is short, the bytes that are held count against the fair share, except for the
   rest of the range that the file was opened with. At most two ranges are under way, and nothing
   is fetched ahead while READs wait.
9. The range that a large file was opened with is cut off where it runs too far ahead; without any
   READ, after a quarter of a part. Cutting it off sooner would cost a client that is 20 ms away and
   reads from the start an eighth more time for 16 MiB, and twice the requests. Rule 5 does not
   count it: a client that resumes a download would begin slowly.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from sftpgw.files.downloads.plan.access_pattern import Movement, Run
from sftpgw.model.store import ByteRange

SHARES_OF_A_PART = 8
"""The smallest range that is fetched ahead is an eighth of a part."""

LEAST_SHARE = 4
"""The smallest window is a quarter of a part."""

SPARE_PARTS = 2
"""How many parts may wait for a fast reader beside those under way."""

PAUSE_SHARE = 8
"""After an eighth of a smallest range has been read, the plan decides again about read-ahead."""

SPARE_RANGES = 2
"""Where memory is short, one range is read from while one is fetched, and READs behind them wait
to be fetched together: more ranges would be smaller, and each costs a request."""

RUNS_AT_ONCE = 8
"""How many runs, those used last, are fetched ahead of."""

TRUST = 4
UNASKED_SHARE = 8
"""An eighth of the bytes asked for may be fetched in vain: with the rest, less than a fifth."""

ADVANCE_SHARE = 8
PROVEN_PARTS = 2


@dataclass(eq=False, slots=True)
class Segment:
    """A range that was fetched or is being fetched; it shrinks from the left as it is read.

    Only its own methods, and those of the plan, change it.

    :param start: the first byte that was not read yet.
    :param stop: the end of the range.
    :param received_stop: the end of the bytes that have arrived.
    """

    start: int
    stop: int
    received_stop: int

    @property
    def is_under_way(self) -> bool:
        return self.received_stop < self.stop

    @property
    def size_bytes(self) -> int:
        return self.stop - self.start

    def received(self, size_bytes: int) -> int:
        """Bytes have arrived; returns the offset of the first."""
        offset = self.received_stop
        self.received_stop = offset + size_bytes
        return offset

    def consumed(self, size_bytes: int) -> None:
        """Bytes were read, from the left on, and are not held any more."""
        self.start += size_bytes

    def cut(self, stop: int) -> int:
        """The range ends at `stop`, if that is earlier; returns how many bytes that leaves out."""
        left_out_bytes = max(0, self.stop - stop)
        self.stop -= left_out_bytes
        return left_out_bytes


@dataclass(frozen=True, slots=True)
class Fetch:
    """A range to be fetched.

    :param wanted: the range.
    :param on_demand: the part of it that a READ waits for. Where there is no memory for all of
        the range, this part is enough.
    """

    wanted: ByteRange
    on_demand: ByteRange

    @property
    def is_on_demand(self) -> bool:
        return self.on_demand.size_bytes > 0


class SegmentList(list[Segment]):
    """The ranges of one file that are here or on their way, in order; they do not overlap."""

    def insert_in_order(self, segment: Segment) -> None:
        """A range is being fetched."""
        self.append(segment)
        self.sort(key=lambda each: each.start)

    def has_received(self, wanted: ByteRange) -> bool:
        """Whether all of `wanted` is here."""
        at = wanted.start
        for segment in self:
            if segment.start <= at < segment.received_stop:
                at = segment.received_stop
        return at >= wanted.stop

    def first_uncovered(self, offset: int) -> int:
        """The first offset from `offset` on that is neither here nor on its way."""
        for segment in self:
            if segment.start <= offset < segment.stop:
                offset = segment.stop
        return offset

    def lowest_covered(self, offset: int) -> int:
        """How far down the bytes that end at `offset` are here or on their way."""
        for segment in reversed(self):
            if segment.start < offset <= segment.stop:
                offset = segment.start
        return offset

    def last_uncovered(self, offset: int) -> int:
        """Where the uncovered bytes before `offset` begin."""
        return max((each.stop for each in self if each.stop <= offset), default=0)

    def next_start(self, start: int, limit: int) -> int:
        """Where the next range behind `start` begins, at most `limit`."""
        return min([limit, *(segment.start for segment in self if segment.start > start)])


class ReadAhead:
    """The plan of one open file.

    :param size_bytes: the size of the object; nothing is fetched behind it.
    :param part_bytes: the largest range of one request.
    :param concurrency: how many ranges are fetched at the same time.
    :ivar fair_share_bytes: how many bytes may be held that no READ waits for.
    """

    def __init__(self, size_bytes: int, *, part_bytes: int, concurrency: int) -> None:
        self._size_bytes = size_bytes
        self._part_bytes = part_bytes
        self._concurrency = concurrency
        self._least_range_bytes = max(1, part_bytes // SHARES_OF_A_PART)
        self._least_window_bytes = max(1, part_bytes // LEAST_SHARE)
        self._most_bytes = (concurrency + SPARE_PARTS) * part_bytes
        self._movement = Movement(
            least_bytes=self._least_window_bytes,
            most_bytes=self._most_bytes,
            idle_bytes=part_bytes,
        )
        self._waiting_reads: list[ByteRange] = []
        self._missing: list[ByteRange] = []  # waiting READs not known to be covered
        self._decide_again_bytes = 0
        self._opening: Segment | None = None
        self._wasted_bytes = 0
        self.segments = SegmentList()
        self.fair_share_bytes = self._most_bytes

    # Events.

    def requested(self, wanted: ByteRange, *, now_seconds: float, is_here: bool) -> None:
        """A READ has come.

        :param wanted: the bytes that it asks for.
        :param now_seconds: when it came.
        :param is_here: it is answered at once; otherwise it waits until `replied`.
        """
        is_idle = is_here and not any(each.received_stop < each.stop for each in self.segments)
        self._movement.requested(wanted, now_seconds=now_seconds, is_here=is_here, is_idle=is_idle)
        if not is_here:
            self._waiting_reads.append(wanted)
            self._missing.append(wanted)

    def replied(self, wanted: ByteRange) -> None:
        """A READ that had to wait has its reply, be it bytes or an error."""
        self._waiting_reads.remove(wanted)
        if wanted in self._missing:
            self._missing.remove(wanted)

    def opened(self, segment: Segment) -> int:
        """The file was opened with this range, before its size was known.

        Whether a READ wants it is not known yet. Returns by how many bytes the range reaches
        behind the end of the file; it ends there now.
        """
        self._opening = segment
        self.segments.append(segment)
        return segment.cut(self._size_bytes)

    def began(self, wanted: ByteRange) -> Segment:
        """A range is being fetched."""
        segment = Segment(wanted.start, wanted.stop, wanted.start)
        self.segments.insert_in_order(segment)
        self._decide_again_bytes = 0
        return segment

    def finished(self) -> None:
        """The request for a range has ended: another one may begin."""
        self._decide_again_bytes = 0

    def dropped(self, segment: Segment) -> None:
        """A range has been read to its end, given up, or has failed."""
        self.segments.remove(segment)
        self._decide_again_bytes = 0
        if segment.size_bytes:
            self._missing = list(self._waiting_reads)

    # Decisions.

    def next_fetch(self) -> Fetch | None:
        """The next range to fetch, if any. Call `began` before asking again."""
        if self._waiting_reads and (fetch := self._fetch_on_demand()) is not None:
            return fetch
        if self._is_short and self._missing:
            return None
        if self._movement.requested_bytes < self._decide_again_bytes:
            return None
        if self._under_way_ahead() < self._concurrency:
            fetch = next(self._fetches_ahead(), None)
            if fetch is not None:
                return fetch
        pause_bytes = self._least_range_bytes // PAUSE_SHARE
        self._decide_again_bytes = self._movement.requested_bytes + pause_bytes
        return None

    def drop_stale(self) -> list[Segment]:
        """Forget, and return, the ranges that are held or under way in vain."""
        if not self.segments or self._size_bytes <= self._part_bytes:
            return []
        near = [*self._waiting_reads, *self._movement.stride.expected(self._concurrency)]
        near += [self._near(run) for run in self._movement.runs]
        stale = [
            segment
            for segment in self.segments
            if not any(_overlap(segment, each) for each in near)
        ]
        for segment in stale:
            self.segments.remove(segment)
            if segment is not self._opening:
                self._wasted_bytes += segment.received_stop - segment.start
        return stale

    def cut_off(self, segment: Segment) -> int:
        """A range ends with the bytes that have arrived; returns how many that leaves out."""
        left_out_bytes = segment.cut(segment.received_stop)
        self._missing = list(self._waiting_reads)
        self._decide_again_bytes = 0
        return left_out_bytes

    def runs_too_far(self, opening: Segment) -> bool:
        """Whether the range that a large file was opened with is too far ahead by now."""
        if not opening.is_under_way or self._size_bytes <= self._part_bytes:
            return False
        read = [run for run in self._movement.runs if run.start < opening.received_stop]
        stop = max((run.stop for run in read), default=opening.start)
        ahead = max((self._ahead_bytes(run) for run in read), default=0)
        return opening.received_stop >= stop + max(self._least_window_bytes, ahead)

    @property
    def _is_short(self) -> bool:
        """Whether there is less memory than this file could use."""
        return self.fair_share_bytes < self._most_bytes

    # READs that wait.

    def _fetch_on_demand(self) -> Fetch | None:
        missing = self._missing
        if not missing or missing[0] is not self._waiting_reads[0]:
            # A READ of the same bytes may have consumed the bytes that were here for this one.
            missing.insert(0, self._waiting_reads[0])
        while missing:
            gap, stop = self.segments.first_uncovered(missing[0].start), missing[0].stop
            if gap >= stop:
                del missing[0]
                continue
            if self._under_way_on_demand() >= (
                SPARE_RANGES if self._is_short else self._concurrency
            ):
                return None
            for each in missing[1:]:
                if each.start <= stop < each.stop <= gap + self._part_bytes:
                    stop = each.stop
            return self._enlarged(self._clipped(gap, stop))
        return None

    def _under_way_on_demand(self) -> int:
        """How many ranges are under way that READs wait for."""
        return sum(
            segment.is_under_way and any(_overlap(segment, each) for each in self._waiting_reads)
            for segment in self.segments
        )

    def _enlarged(self, on_demand: ByteRange) -> Fetch:
        """A little more than READs wait for, in the direction in which the reader goes."""
        run = next((each for each in self._movement.runs if each.touches(on_demand)), None)
        if run is None or not run.is_followed:
            return Fetch(on_demand, on_demand)
        size_bytes = min(self._part_bytes, max(on_demand.size_bytes, self._range_bytes(run)))
        more_bytes = min(size_bytes - on_demand.size_bytes, self._ahead_bytes(run))
        is_at_its_end = (
            on_demand.start == run.start if run.is_backward else on_demand.stop == run.stop
        )
        if more_bytes <= 0 or not is_at_its_end:
            return Fetch(on_demand, on_demand)
        if run.is_backward:
            lowest = self.segments.last_uncovered(on_demand.start)
            start = max(lowest, on_demand.start - more_bytes)
            return Fetch(ByteRange(start, on_demand.stop), on_demand)
        return Fetch(self._clipped(on_demand.start, on_demand.stop + more_bytes), on_demand)

    # Read-ahead.

    def _under_way_ahead(self) -> int:
        """How many ranges are under way beside the one that the next reply comes from."""
        next_offset = self._waiting_reads[0].start if self._waiting_reads else -1
        return sum(
            segment.is_under_way and not segment.start <= next_offset < segment.stop
            for segment in self.segments
        )

    def _fetches_ahead(self) -> Iterator[Fetch]:
        for expected in self._movement.stride.expected(self._concurrency):
            gap = self.segments.first_uncovered(expected.start)
            if gap < min(expected.stop, self._size_bytes):
                yield _ahead(self._clipped(gap, expected.stop))
        for run in self._movement.runs[:RUNS_AT_ONCE]:
            ahead_bytes = self._ahead_bytes(run)
            if ahead_bytes > 0:
                find = self._next_downwards if run.is_backward else self._next_upwards
                wanted = find(run, ahead_bytes)
                if wanted.size_bytes > 0:
                    yield _ahead(wanted)

    def _next_upwards(self, run: Run, ahead_bytes: int) -> ByteRange:
        """The next range of a run that goes upwards; empty if it need not be fetched yet."""
        size_bytes = self._range_bytes(run)
        start = self.segments.first_uncovered(run.stop)
        whole = self._clipped(start, start + size_bytes)
        is_in_reach = whole.stop <= run.stop + ahead_bytes
        return whole if is_in_reach else ByteRange(start, start)

    def _next_downwards(self, run: Run, ahead_bytes: int) -> ByteRange:
        """The next range of a run that goes downwards."""
        stop = self.segments.lowest_covered(run.start)
        start = max(self.segments.last_uncovered(stop), stop - self._range_bytes(run))
        is_in_reach = start >= run.start - ahead_bytes
        return ByteRange(start, stop) if is_in_reach and start < stop else ByteRange(stop, stop)

    def _range_bytes(self, run: Run) -> int:
        share_bytes = min(
            run.window_bytes // self._concurrency, self.fair_share_bytes // SPARE_RANGES
        )
        return min(self._part_bytes, max(self._least_range_bytes, share_bytes))

    def _ahead_bytes(self, run: Run) -> int:
        """How far beyond a run bytes may be fetched."""
        if not run.is_followed:
            return 0
        rivals = sum(each.is_followed for each in self._movement.runs)
        held_elsewhere_bytes = self._held_bytes() - self._held_ahead_bytes(run)
        return min(
            max(run.window_bytes, self._least_window_bytes),
            self._most_bytes // rivals,
            self.fair_share_bytes - held_elsewhere_bytes,
            max(self._advance_bytes(run), self._earned_bytes(run) - held_elsewhere_bytes),
        )

    def _held_bytes(self) -> int:
        return sum(each.stop - each.start for each in self.segments if each is not self._opening)

    def _held_ahead_bytes(self, run: Run) -> int:
        """How many of the next bytes of a run are here or on their way."""
        if run.is_backward:
            return run.start - self.segments.lowest_covered(run.start)
        return self.segments.first_uncovered(run.stop) - run.stop

    def _earned_bytes(self, run: Run) -> int:
        """How many bytes of the file may be held that no READ waits for."""
        if self._wasted_bytes:
            return self._movement.requested_bytes // UNASKED_SHARE - self._wasted_bytes
        return TRUST * run.size_bytes

    def _advance_bytes(self, run: Run) -> int:
        """How many bytes a run is given, whatever was wasted before."""
        proven_bytes = max(0, run.size_bytes - PROVEN_PARTS * self._part_bytes)
        return run.size_bytes // ADVANCE_SHARE + proven_bytes

    def _near(self, run: Run) -> ByteRange:
        """The bytes that a run may want, however small its window is, or has just passed."""
        if not run.is_followed:
            return ByteRange(run.start, run.stop)
        far_bytes = self._most_bytes + self._part_bytes
        back_bytes = self._least_window_bytes
        if run.is_backward:
            return ByteRange(run.start - far_bytes, run.start + back_bytes)
        return ByteRange(run.stop - back_bytes, run.stop + far_bytes)

    def _clipped(self, start: int, stop: int) -> ByteRange:
        """From `start` up to `stop`, the next segment or the end of the object."""
        return ByteRange(start, self.segments.next_start(start, min(stop, self._size_bytes)))


def _ahead(wanted: ByteRange) -> Fetch:
    return Fetch(wanted, ByteRange(wanted.start, wanted.start))


def _overlap(segment: Segment, other: ByteRange) -> bool:
    return segment.start < other.stop and other.start < segment.stop
