"""What a download fetches, simulated: each reader gets its bytes, and few that it did not want."""

from __future__ import annotations

from collections.abc import Iterable

from hypothesis import given, settings
from hypothesis import strategies as st

from sftpgw.plan.readahead import ReadAhead, Segment
from sftpgw.values import KIB, MIB, ByteRange

PART = 8 * MIB
SIZE = 100 * MIB


class Reader:
    """A client whose READs are answered one by one; fetches complete at once or never."""

    def __init__(self, size_bytes: int = SIZE, part_bytes: int = PART) -> None:
        self.plan = ReadAhead(size_bytes, part_bytes=part_bytes, concurrency=4)
        self.fetched: list[ByteRange] = []

    def fetch(self, *, complete: bool = True) -> None:
        while (fetch := self.plan.next_fetch()) is not None:
            assert fetch.wanted.size_bytes > 0
            assert not any(
                fetch.wanted.start < segment.stop and segment.start < fetch.wanted.stop
                for segment in self.plan.segments
            )
            segment = self.plan.began(fetch.wanted)
            self.fetched.append(fetch.wanted)
            if complete:
                segment.received = segment.stop

    def read(self, offset: int, length: int = 32 * KIB) -> None:
        wanted = ByteRange(offset, offset + length)
        self.plan.asked(wanted)
        for segment in self.plan.stale():
            self.plan.dropped(segment)
        self.fetch()
        assert covered(self.plan.segments, wanted)
        self.plan.answered(wanted)

    @property
    def fetched_bytes(self) -> int:
        return sum(each.size_bytes for each in self.fetched)


def covered(segments: Iterable[Segment], wanted: ByteRange) -> bool:
    at = wanted.start
    for segment in segments:
        if segment.start <= at < segment.received:
            at = segment.received
    return at >= wanted.stop


def test_a_sequential_reader_gets_whole_parts_each_byte_once() -> None:
    reader = Reader()
    for offset in range(0, SIZE, 32 * KIB):
        reader.read(offset)
    assert reader.fetched_bytes == SIZE
    assert max(each.size_bytes for each in reader.fetched) == PART
    assert len(reader.fetched) < 30


def test_nothing_is_fetched_ahead_of_a_reader_that_reads_once() -> None:
    reader = Reader()
    reader.read(50 * MIB, 4096)
    assert reader.fetched_bytes <= 5 * 4096 * 2


def test_random_reads_cost_little_more_than_they_ask() -> None:
    reader = Reader()
    asked = 0
    for step in range(200):
        reader.read((step * 37 * MIB + step * 4096) % (SIZE - MIB), 64 * KIB)
        asked += 64 * KIB
    assert reader.fetched_bytes <= 6 * asked


def test_a_jump_makes_the_old_run_stale() -> None:
    reader = Reader()
    for offset in range(0, 4 * MIB, 32 * KIB):
        reader.read(offset)
    reader.read(90 * MIB)
    assert all(segment.start >= 80 * MIB for segment in reader.plan.segments)


def test_only_so_many_ranges_are_under_way() -> None:
    reader = Reader()
    for offset in range(0, 64 * MIB, 32 * KIB):
        reader.plan.asked(ByteRange(offset, offset + 32 * KIB))
    reader.fetch(complete=False)
    assert len(reader.fetched) == 4
    assert reader.fetched[0].start == 0


@settings(max_examples=300)
@given(
    st.integers(1, 500),
    st.lists(st.tuples(st.integers(0, 499), st.integers(1, 80)), min_size=1, max_size=20),
)
def test_every_read_is_covered_whatever_came_before(
    size: int, reads: list[tuple[int, int]]
) -> None:
    reader = Reader(size, part_bytes=50)
    for offset, length in reads:
        if offset < size:
            reader.read(offset, min(length, size - offset))
    assert all(each.stop <= size for each in reader.fetched)
