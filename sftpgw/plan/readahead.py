"""What a download fetches next.

Knows: which bytes were asked for, which are here or on their way, how the reader
has moved so far. Must not know: how bytes are fetched, or what they are.

Rules

1. What a READ waits for comes first, in the order in which the READs came.
2. A *run* is a stretch that the reader covers from left to right. The longer it
   is, the larger the next range (twice the run, up to a whole part) and the
   farther ahead of the reader it may be (four times the run, up to
   `concurrency` parts). A reader that jumps starts a new run, and pays for what
   it asks, no more.
3. At most `concurrency` ranges are under way at once.
4. Ranges never overlap: each byte is fetched once, unless it was let go.
5. A jump makes stale what no READ waits for and the new run will not reach.
"""

from __future__ import annotations

from dataclasses import dataclass

from sftpgw.values import ByteRange


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
    """

    def __init__(self, size_bytes: int, *, part_bytes: int, concurrency: int) -> None:
        self._size_bytes = size_bytes
        self._part_bytes = part_bytes
        self._concurrency = concurrency
        self._run_start = 0
        self._run_stop = 0
        self._demands: list[ByteRange] = []
        self.segments: list[Segment] = []

    def asked(self, wanted: ByteRange) -> None:
        """A READ has come. It stays a demand until `answered`."""
        continues = self._run_start <= wanted.start <= self._run_stop + self._slack_bytes
        if continues:
            self._run_stop = max(self._run_stop, wanted.stop)
        else:
            self._run_start, self._run_stop = wanted.start, wanted.stop
        self._demands.append(wanted)

    def answered(self, wanted: ByteRange) -> None:
        """A READ has its answer, be it bytes or an error."""
        self._demands.remove(wanted)

    def began(self, wanted: ByteRange) -> Segment:
        """A range is being fetched."""
        segment = Segment(wanted.start, wanted.stop, wanted.start)
        self.segments.append(segment)
        self.segments.sort(key=lambda each: each.start)
        return segment

    def dropped(self, segment: Segment) -> None:
        """A range has been read to its end, given up, or has failed."""
        self.segments.remove(segment)

    def next_fetch(self) -> Fetch | None:
        """What to fetch now, if anything. Call `began` before asking again."""
        if sum(segment.is_under_way for segment in self.segments) >= self._concurrency:
            return None
        for demand in self._demands:
            gap = self._first_uncovered(demand.start)
            if gap < demand.stop:
                size_bytes = max(demand.stop - gap, self._range_bytes)
                demanded = self._clipped(gap, demand.stop - gap)
                return Fetch(self._clipped(gap, size_bytes), demanded)
        frontier = self._first_uncovered(self._run_stop)
        reach = min(self._size_bytes, self._run_stop + self._ahead_bytes)
        if frontier < reach:
            nothing = ByteRange(frontier, frontier)
            return Fetch(self._clipped(frontier, self._range_bytes), nothing)
        return None

    def stale(self) -> list[Segment]:
        """What is held or under way in vain since the reader has jumped."""
        near = ByteRange(self._run_start, self._run_stop + self._ahead_bytes + self._part_bytes)
        return [
            segment
            for segment in self.segments
            if not _overlap(segment, near)
            and not any(_overlap(segment, demand) for demand in self._demands)
        ]

    def useless_to(self, wanted: ByteRange) -> list[Segment]:
        """What is held or under way that a READ of `wanted` does not need."""
        return [segment for segment in self.segments if not _overlap(segment, wanted)]

    @property
    def _run_bytes(self) -> int:
        return self._run_stop - self._run_start

    @property
    def _range_bytes(self) -> int:
        return min(self._part_bytes, 2 * self._run_bytes)

    @property
    def _ahead_bytes(self) -> int:
        return min(self._concurrency * self._part_bytes, 4 * self._run_bytes)

    @property
    def _slack_bytes(self) -> int:
        """How far a reader may skip, or have its requests reordered, within one run."""
        return min(self._part_bytes, self._run_bytes)

    def _first_uncovered(self, offset: int) -> int:
        for segment in self.segments:
            if segment.start <= offset < segment.stop:
                offset = segment.stop
        return offset

    def _clipped(self, start: int, size_bytes: int) -> ByteRange:
        stop = min(start + size_bytes, self._size_bytes)
        later = [segment.start for segment in self.segments if segment.start > start]
        return ByteRange(start, min([stop, *later]))


def _overlap(segment: Segment, other: ByteRange) -> bool:
    return segment.start < other.stop and other.start < segment.stop
