"""What a download fetches next.

Knows: which bytes were asked for, which are here or on their way, and by
`downloads/plan/access_pattern` how the reader moves. Must not know: how bytes are fetched, or what
they are.

Rules

1. What READs wait for comes first, in the order in which they came; at most
   `concurrency` such ranges are under way. READs that adjoin share a range.
2. Beside the range that the next answer comes from, at most `concurrency` are under way
   without being waited for.
3. Ranges never overlap: each byte is fetched once, unless it was let go.
4. A run is fetched ahead of from its second READ on: up to its window, and up to four
   times what it is long. A range is a share of the window, at most a part. Without a
   READ that waits no range is begun that is shorter than that, but for a last one.
5. Bytes that are fetched and never asked for are counted. Whoever has caused some is
   given an eighth of each run in advance, or what is left of an eighth of all it has
   asked for; but a run of more than two parts has proved itself.
6. A stride is fetched READ by READ.
7. What lies nowhere near a run, a stride or a READ that waits is stale. A file that fits
   into one part is kept whole.
8. Where memory is short, what is held, but for what is left of the range that the file was
   opened with, counts against what is spare, at most two ranges are under way, and nothing is
   fetched ahead while READs wait for their turn.
9. The range that a large file was opened with is cut off where it runs too far ahead; after a
   quarter of a part, if no READ has come by then. Sooner would cost whoever reads from the start
   and is 20 ms away an eighth more time for 16 MiB, and twice the requests. Rule 5 does not
   count it, or whoever goes on with a download would begin slowly.
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
"""So much of a smallest range is read before it is looked again what to fetch ahead."""

SPARE_RANGES = 2
"""Where memory is short, one range is read from while one is fetched, and READs behind them wait
to be fetched together: more ranges would be smaller, and each costs a request."""

RUNS_AT_ONCE = 8
"""Of so many runs, the last used, more is fetched ahead."""

TRUST = 4
UNASKED_SHARE = 8
"""An eighth of what was asked for may be fetched in vain: with the rest, less than a fifth."""

ADVANCE_SHARE = 8
PROVEN_PARTS = 2


@dataclass(eq=False, slots=True)
class Segment:
    """A range that was fetched or is being fetched; it shrinks from the left as it is read."""

    start: int
    stop: int
    received: int
    """Where the bytes that have arrived end."""

    @property
    def is_under_way(self) -> bool:
        return self.received < self.stop

    @property
    def size_bytes(self) -> int:
        return self.stop - self.start


@dataclass(frozen=True, slots=True)
class Fetch:
    """A range to be fetched, and the part of it that a READ waits for.

    Without the memory for all of it, what is demanded alone will do.
    """

    wanted: ByteRange
    demanded: ByteRange

    @property
    def is_demanded(self) -> bool:
        return self.demanded.size_bytes > 0


class ReadAhead:
    """The plan of one open file.

    :param size_bytes: of the object; nothing is fetched behind it.
    :param part_bytes: the largest range of one request.
    :ivar spare_bytes: what may be held for nobody yet, as there is memory.
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
        self._demands: list[ByteRange] = []
        self._missing: list[ByteRange] = []  # demands not known to be covered
        self._look_again_bytes = 0
        self._opening: Segment | None = None
        self._wasted_bytes = 0
        self.segments: list[Segment] = []
        self.fair_share_bytes = self._most_bytes

    # What has happened.

    def asked(self, wanted: ByteRange, *, now_seconds: float, is_here: bool) -> None:
        """A READ has come. Unless it can be answered at once it is a demand until `answered`."""
        is_idle = is_here and not any(each.received < each.stop for each in self.segments)
        self._movement.asked(wanted, now_seconds=now_seconds, is_here=is_here, is_idle=is_idle)
        if not is_here:
            self._demands.append(wanted)
            self._missing.append(wanted)

    def answered(self, wanted: ByteRange) -> None:
        """A READ that had to wait has its answer, be it bytes or an error."""
        self._demands.remove(wanted)
        if wanted in self._missing:
            self._missing.remove(wanted)

    def opened(self, segment: Segment) -> None:
        """The file was opened with this range; whether anybody wants it is not known yet."""
        self._opening = segment
        self.segments.append(segment)

    def began(self, wanted: ByteRange) -> Segment:
        """A range is being fetched."""
        segment = Segment(wanted.start, wanted.stop, wanted.start)
        self.segments.append(segment)
        self.segments.sort(key=lambda each: each.start)
        self._look_again_bytes = 0
        return segment

    def finished(self) -> None:
        """A range has come to its end: there is room for another."""
        self._look_again_bytes = 0

    def dropped(self, segment: Segment) -> None:
        """A range has been read to its end, given up, or has failed."""
        self.segments.remove(segment)
        self._look_again_bytes = 0
        if segment.size_bytes:
            self._missing = list(self._demands)

    def has_received(self, wanted: ByteRange) -> bool:
        """Whether all of `wanted` is here."""
        at = wanted.start
        for segment in self.segments:
            if segment.start <= at < segment.received:
                at = segment.received
        return at >= wanted.stop

    # What follows.

    def next_fetch(self) -> Fetch | None:
        """What to fetch now, if anything. Call `began` before asking again."""
        if self._demands and (fetch := self._demanded_fetch()) is not None:
            return fetch
        if self._is_short and self._missing:
            return None
        if self._movement.asked_bytes < self._look_again_bytes:
            return None
        if self._under_way_ahead() < self._concurrency:
            fetch = next(self._fetches_ahead(), None)
            if fetch is not None:
                return fetch
        self._look_again_bytes = self._movement.asked_bytes + self._least_range_bytes // PAUSE_SHARE
        return None

    def drop_stale(self) -> list[Segment]:
        """Forget, and return, what is held or under way in vain."""
        if not self.segments or self._size_bytes <= self._part_bytes:
            return []
        near = [*self._demands, *self._movement.stride.expected(self._concurrency)]
        near += [self._near(run) for run in self._movement.runs]
        stale = [
            segment
            for segment in self.segments
            if not any(_overlap(segment, each) for each in near)
        ]
        for segment in stale:
            self.segments.remove(segment)
            if segment is not self._opening:
                self._wasted_bytes += segment.received - segment.start
        return stale

    def cut_off(self, segment: Segment) -> int:
        """A range ends with what has arrived of it; how many bytes that leaves out."""
        left_out_bytes = segment.stop - segment.received
        segment.stop = segment.received
        self._missing = list(self._demands)
        self._look_again_bytes = 0
        return left_out_bytes

    def runs_too_far(self, opening: Segment) -> bool:
        """Whether the range that a large file was opened with is too far ahead by now."""
        if not opening.is_under_way or self._size_bytes <= self._part_bytes:
            return False
        asked = [run for run in self._movement.runs if run.start < opening.received]
        stop = max((run.stop for run in asked), default=opening.start)
        ahead = max((self._ahead_bytes(run) for run in asked), default=0)
        return opening.received >= stop + max(self._least_window_bytes, ahead)

    @property
    def _is_short(self) -> bool:
        """Whether there is less memory than this file could do with."""
        return self.fair_share_bytes < self._most_bytes

    # READs that wait.

    def _demanded_fetch(self) -> Fetch | None:
        missing = self._missing
        if not missing or missing[0] is not self._demands[0]:
            # A READ of the same bytes may have taken away what was here for this one.
            missing.insert(0, self._demands[0])
        while missing:
            gap, stop = self._first_uncovered(missing[0].start), missing[0].stop
            if gap >= stop:
                del missing[0]
                continue
            if self._waited_for() >= (SPARE_RANGES if self._is_short else self._concurrency):
                return None
            for each in missing[1:]:
                if each.start <= stop < each.stop <= gap + self._part_bytes:
                    stop = each.stop
            return self._enlarged(self._clipped(gap, stop))
        return None

    def _waited_for(self) -> int:
        """How many ranges are under way that READs wait for."""
        return sum(
            segment.is_under_way and any(_overlap(segment, each) for each in self._demands)
            for segment in self.segments
        )

    def _enlarged(self, demanded: ByteRange) -> Fetch:
        """A little more than what READs wait for, in the direction in which the reader goes."""
        run = next((each for each in self._movement.runs if each.touches(demanded)), None)
        if run is None or not run.is_followed:
            return Fetch(demanded, demanded)
        size_bytes = min(self._part_bytes, max(demanded.size_bytes, self._range_bytes(run)))
        more_bytes = min(size_bytes - demanded.size_bytes, self._ahead_bytes(run))
        is_at_its_end = (
            demanded.start == run.start if run.is_backward else demanded.stop == run.stop
        )
        if more_bytes <= 0 or not is_at_its_end:
            return Fetch(demanded, demanded)
        if run.is_backward:
            start = max(self._last_uncovered(demanded.start), demanded.start - more_bytes)
            return Fetch(ByteRange(start, demanded.stop), demanded)
        return Fetch(self._clipped(demanded.start, demanded.stop + more_bytes), demanded)

    # Read-ahead.

    def _under_way_ahead(self) -> int:
        """How many ranges are under way beside the one that the next answer comes from."""
        next_offset = self._demands[0].start if self._demands else -1
        return sum(
            segment.is_under_way and not segment.start <= next_offset < segment.stop
            for segment in self.segments
        )

    def _fetches_ahead(self) -> Iterator[Fetch]:
        for expected in self._movement.stride.expected(self._concurrency):
            gap = self._first_uncovered(expected.start)
            if gap < min(expected.stop, self._size_bytes):
                yield _ahead(self._clipped(gap, expected.stop))
        for run in self._movement.runs[:RUNS_AT_ONCE]:
            ahead_bytes = self._ahead_bytes(run)
            if ahead_bytes > 0:
                find = self._gap_below if run.is_backward else self._gap_above
                wanted = find(run, ahead_bytes)
                if wanted.size_bytes > 0:
                    yield _ahead(wanted)

    def _gap_above(self, run: Run, ahead_bytes: int) -> ByteRange:
        """The next range of a run that goes upwards; empty if it need not be fetched yet."""
        size_bytes = self._range_bytes(run)
        start = self._first_uncovered(run.stop)
        whole = self._clipped(start, start + size_bytes)
        is_in_reach = whole.stop <= run.stop + ahead_bytes
        return whole if is_in_reach else ByteRange(start, start)

    def _gap_below(self, run: Run, ahead_bytes: int) -> ByteRange:
        """The next range of a run that goes downwards."""
        stop = self._lowest_covered(run.start)
        start = max(self._last_uncovered(stop), stop - self._range_bytes(run))
        is_in_reach = start >= run.start - ahead_bytes
        return ByteRange(start, stop) if is_in_reach and start < stop else ByteRange(stop, stop)

    def _range_bytes(self, run: Run) -> int:
        share_bytes = min(
            run.window_bytes // self._concurrency, self.fair_share_bytes // SPARE_RANGES
        )
        return min(self._part_bytes, max(self._least_range_bytes, share_bytes))

    def _ahead_bytes(self, run: Run) -> int:
        """How far beyond a run something may be fetched."""
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
        """What is here or on its way of what comes next in a run."""
        if run.is_backward:
            return run.start - self._lowest_covered(run.start)
        return self._first_uncovered(run.stop) - run.stop

    def _earned_bytes(self, run: Run) -> int:
        """What may be held of the file for nobody yet."""
        if self._wasted_bytes:
            return self._movement.asked_bytes // UNASKED_SHARE - self._wasted_bytes
        return TRUST * run.size_bytes

    def _advance_bytes(self, run: Run) -> int:
        """What a run is given whatever came before it."""
        proven_bytes = max(0, run.size_bytes - PROVEN_PARTS * self._part_bytes)
        return run.size_bytes // ADVANCE_SHARE + proven_bytes

    def _near(self, run: Run) -> ByteRange:
        """What a run may want, however small its window is by now, and what it passed just now."""
        if not run.is_followed:
            return ByteRange(run.start, run.stop)
        far_bytes = self._most_bytes + self._part_bytes
        back_bytes = self._least_window_bytes
        if run.is_backward:
            return ByteRange(run.start - far_bytes, run.start + back_bytes)
        return ByteRange(run.stop - back_bytes, run.stop + far_bytes)

    # Geometry.

    def _first_uncovered(self, offset: int) -> int:
        for segment in self.segments:
            if segment.start <= offset < segment.stop:
                offset = segment.stop
        return offset

    def _lowest_covered(self, offset: int) -> int:
        """How far down what ends at `offset` is covered."""
        for segment in reversed(self.segments):
            if segment.start < offset <= segment.stop:
                offset = segment.start
        return offset

    def _last_uncovered(self, offset: int) -> int:
        """Where what lies uncovered below `offset` begins."""
        return max((each.stop for each in self.segments if each.stop <= offset), default=0)

    def _clipped(self, start: int, stop: int) -> ByteRange:
        """From `start` up to `stop`, the next segment or the end of the object."""
        later = [segment.start for segment in self.segments if segment.start > start]
        return ByteRange(start, min([stop, self._size_bytes, *later]))


def _ahead(wanted: ByteRange) -> Fetch:
    return Fetch(wanted, ByteRange(wanted.start, wanted.start))


def _overlap(segment: Segment, other: ByteRange) -> bool:
    return segment.start < other.stop and other.start < segment.stop
