"""What a download fetches, step by step. How readers fare in time:
tests/files/downloads/test_access_patterns.py."""

from __future__ import annotations

import random
from collections.abc import Iterable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sftpgw.files.downloads.plan.read_ahead import ReadAhead, Segment
from sftpgw.model.store import ByteRange
from sftpgw.model.units import KIB, MIB

PART = 8 * MIB
SIZE = 100 * MIB
STEP = 32 * KIB


class Reader:
    """A client whose READs are answered one by one; fetches complete at once or never."""

    def __init__(self, size_bytes: int = SIZE, part_bytes: int = PART) -> None:
        self.plan = ReadAhead(size_bytes, part_bytes=part_bytes, concurrency=4)
        self.fetched: list[ByteRange] = []
        self.asked_bytes = 0
        self.now_seconds = 0.0
        self.unread_bytes: dict[Segment, int] = {}

    def fetch(self, *, complete: bool = True) -> None:
        while (fetch := self.plan.next_fetch()) is not None:
            wanted = fetch.wanted
            assert wanted.size_bytes > 0
            assert wanted.start <= fetch.on_demand.start <= fetch.on_demand.stop <= wanted.stop
            assert not any(
                wanted.start < segment.stop and segment.start < wanted.stop
                for segment in self.plan.segments
            )
            segment = self.plan.began(wanted)
            self.fetched.append(wanted)
            if complete:
                segment.received(segment.stop - segment.received_stop)
                self.plan.finished()

    def read(self, offset: int, length: int = STEP) -> None:
        wanted = ByteRange(offset, offset + length)
        self.asked_bytes += length
        self.now_seconds += 0.0001
        is_here = covered(self.plan.segments, wanted)
        if is_here:
            self._take(wanted)
        self.plan.requested(wanted, now_seconds=self.now_seconds, is_here=is_here)
        self.plan.drop_stale()
        self.fetch()
        if not is_here:
            assert covered(self.plan.segments, wanted)
            self.plan.replied(wanted)
            self._take(wanted)

    def _take(self, wanted: ByteRange) -> None:
        for segment in tuple(self.plan.segments):
            self._let_go(segment, wanted)

    def _let_go(self, segment: Segment, wanted: ByteRange) -> None:
        """Consume a segment as a download does: from the left on, or when all of it was read."""
        read = min(segment.stop, wanted.stop) - max(segment.start, wanted.start)
        if read <= 0:
            return
        self.unread_bytes.setdefault(segment, segment.size_bytes)
        self.unread_bytes[segment] -= read
        if wanted.start <= segment.start:
            segment.consumed(min(segment.stop, wanted.stop) - segment.start)
        if self.unread_bytes[segment] <= 0:
            segment.consumed(segment.size_bytes)
            self.plan.dropped(segment)

    @property
    def fetched_bytes(self) -> int:
        return sum(each.size_bytes for each in self.fetched)

    @property
    def held_bytes(self) -> int:
        return sum(segment.size_bytes for segment in self.plan.segments)


def covered(segments: Iterable[Segment], wanted: ByteRange) -> bool:
    at = wanted.start
    for segment in segments:
        if segment.start <= at < segment.received_stop:
            at = segment.received_stop
    return at >= wanted.stop


def test_a_sequential_reader_gets_whole_parts_each_byte_once() -> None:
    reader = Reader()
    for offset in range(0, SIZE, STEP):
        reader.read(offset)
    assert reader.fetched_bytes == SIZE
    assert max(each.size_bytes for each in reader.fetched) == PART
    assert len(reader.fetched) < 80


def test_a_fast_reader_of_a_faster_store_gets_whole_parts_once_its_pace_is_known() -> None:
    reader = Reader(size_bytes=1024 * MIB)
    for offset in range(0, 1024 * MIB, 64 * KIB):
        reader.read(offset, 64 * KIB)
    later = [each for each in reader.fetched if each.start >= 256 * MIB]
    assert {each.size_bytes for each in later[:-1]} == {PART}


def test_a_backward_reader_gets_large_ranges_each_byte_once() -> None:
    reader = Reader()
    for offset in reversed(range(0, SIZE, STEP)):
        reader.read(offset)
    assert reader.fetched_bytes == SIZE
    assert len(reader.fetched) < 80


@pytest.mark.parametrize("step", [MIB, -MIB])
def test_a_strided_reader_gets_what_it_asks_for_and_little_more(step: int) -> None:
    reader = Reader()
    for number in range(90):
        reader.read((number * step) % SIZE, 4 * KIB)
    in_advance = [each for each in reader.fetched[:-4] if each.size_bytes > 4 * KIB]
    assert in_advance == []
    assert reader.fetched_bytes <= reader.asked_bytes + 4 * 4 * KIB


def test_strides_are_fetched_before_they_are_asked_for() -> None:
    reader = Reader()
    for number in range(20):
        reader.read(number * MIB, 4 * KIB)
    ahead = {segment.start for segment in reader.plan.segments if segment.start > 19 * MIB}
    assert ahead == {number * MIB for number in range(20, 24)}


def test_several_readers_on_one_handle_are_each_read_ahead_of() -> None:
    reader = Reader()
    for offset in range(0, 20 * MIB, STEP):
        for number in range(4):
            reader.read(number * 25 * MIB + offset)
    assert len(reader.fetched) < 150
    assert reader.fetched_bytes <= reader.asked_bytes + 6 * PART


def test_a_window_of_reads_out_of_order_is_one_run() -> None:
    reader = Reader()
    shuffle = random.Random(3).shuffle
    for start in range(0, 64 * MIB, 2 * MIB):
        offsets = list(range(start, start + 2 * MIB, STEP))
        shuffle(offsets)
        for offset in offsets:
            reader.read(offset)
    assert reader.fetched_bytes <= 1.8 * 64 * MIB
    assert max(each.size_bytes for each in reader.fetched) == PART


def test_a_read_that_stands_alone_costs_what_it_asks() -> None:
    reader = Reader()
    reader.read(50 * MIB, 4096)
    assert reader.fetched == [ByteRange(50 * MIB, 50 * MIB + 4096)]


@settings(max_examples=10)
@given(st.integers(0), st.sampled_from([4 * KIB, 64 * KIB, 255 * KIB]), st.integers(1, 40))
def test_a_random_reader_fetches_at_most_a_fifth_in_vain(
    seed: int, length: int, reads_per_record: int
) -> None:
    reader = Reader(1000 * MIB)
    randrange = random.Random(seed).randrange
    for _ in range(120):
        at = randrange(980 * MIB)
        for number in range(reads_per_record):
            reader.read(at + number * length, length)
    assert reader.fetched_bytes - reader.asked_bytes <= 0.2 * reader.asked_bytes


def test_the_ranges_of_a_run_are_dropped_when_reading_goes_on_elsewhere() -> None:
    reader = Reader()
    for offset in range(0, 20 * MIB, STEP):
        reader.read(offset)
    for offset in range(70 * MIB, 79 * MIB, STEP):
        reader.read(offset)
    assert all(segment.start >= 60 * MIB for segment in reader.plan.segments)


def test_a_reader_that_skips_does_not_make_us_hold_what_it_skipped() -> None:
    reader = Reader(1000 * MIB)
    for offset in range(0, 200 * MIB, 64 * KIB):
        reader.read(offset, 60 * KIB)
    assert reader.held_bytes <= 8 * PART


def test_no_range_is_begun_for_a_few_bytes() -> None:
    reader = Reader()
    for offset in range(0, 60 * MIB, 4 * KIB):
        reader.read(offset, 4 * KIB)
    assert len(reader.fetched) < 60


def test_only_so_many_ranges_are_under_way() -> None:
    reader = Reader()
    for offset in range(0, 64 * MIB, STEP):
        reader.plan.requested(ByteRange(offset, offset + STEP), now_seconds=0.0, is_here=False)
    reader.fetch(complete=False)
    assert len(reader.fetched) == 5  # one beside the range that the next reply comes from
    assert reader.fetched[0].start == 0


def test_reads_that_adjoin_share_a_range() -> None:
    reader = Reader()
    for offset in (70 * MIB, 10 * MIB, 10 * MIB + STEP, 10 * MIB + 2 * STEP):
        reader.plan.requested(ByteRange(offset, offset + STEP), now_seconds=0.0, is_here=False)
    reader.fetch(complete=False)
    assert reader.fetched[0] == ByteRange(70 * MIB, 70 * MIB + STEP)
    assert reader.fetched[1].stop >= 10 * MIB + 3 * STEP


def opened(reader: Reader, received_bytes: int) -> Segment:
    segment = Segment(0, PART, received_bytes)
    reader.plan.opened(segment)
    return segment


def test_the_first_range_of_a_large_file_is_cut_off_if_the_client_does_not_read_on() -> None:
    reader = Reader()
    segment = opened(reader, MIB)
    assert not reader.plan.runs_too_far(segment)
    segment.received(MIB)
    assert reader.plan.runs_too_far(segment)
    assert reader.plan.cut_off(segment) == PART - 2 * MIB
    reader.read(0)
    reader.read(2 * MIB)


def test_the_first_range_of_a_large_file_goes_on_while_it_is_read() -> None:
    reader = Reader()
    segment = opened(reader, 3 * MIB)
    for offset in range(0, 2 * MIB, STEP):
        reader.read(offset)
    assert not reader.plan.runs_too_far(segment)


def test_a_file_of_one_part_stays_in_memory_whole() -> None:
    reader = Reader(PART)
    segment = opened(reader, PART)
    assert not reader.plan.runs_too_far(segment)
    for offset in (5 * MIB, MIB, 7 * MIB, 3 * MIB):
        reader.read(offset)
    assert reader.fetched == []


def test_a_first_read_elsewhere_drops_what_the_file_was_opened_with() -> None:
    reader = Reader()
    opened(reader, MIB)
    reader.read(50 * MIB)
    assert reader.plan.segments == []


class TestWhereMemoryIsShort:
    def test_reads_behind_two_ranges_wait_to_be_fetched_together(self) -> None:
        reader = Reader()
        reader.plan.fair_share_bytes = 4 * MIB
        for number in range(16):
            wanted = ByteRange(number * STEP, (number + 1) * STEP)
            reader.plan.requested(wanted, now_seconds=0.0, is_here=False)
            reader.fetch(complete=False)
        assert [each.start for each in reader.fetched] == [0, STEP]
        first = reader.plan.segments[0]
        first.received(first.size_bytes)
        reader.plan.replied(ByteRange(0, STEP))
        reader.plan.finished()
        reader.fetch(complete=False)
        (joined,) = reader.fetched[2:]
        assert joined.start == reader.fetched[1].stop
        assert joined.stop >= 16 * STEP

    def test_held_bytes_count_against_the_fair_share(self) -> None:
        reader, most_bytes = Reader(), 0
        reader.plan.fair_share_bytes = 4 * MIB
        for offset in range(0, SIZE, STEP):
            reader.read(offset)
            most_bytes = max(most_bytes, reader.held_bytes)
        assert reader.fetched_bytes == SIZE
        assert 2 * MIB <= most_bytes <= 4 * MIB
        assert len(reader.fetched) < SIZE // MIB + 10

    def test_without_a_share_only_requested_bytes_are_fetched(self) -> None:
        reader = Reader()
        reader.plan.fair_share_bytes = 0
        for offset in range(0, 8 * MIB, STEP):
            reader.read(offset)
            assert reader.held_bytes == 0


@settings(max_examples=300)
@given(
    st.integers(1, 500),
    st.lists(
        st.tuples(st.integers(0, 499), st.integers(1, 80), st.sampled_from([0, 7, 90, 500])),
        min_size=1,
        max_size=30,
    ),
)
def test_every_read_is_covered_whatever_came_before(
    size: int, reads: list[tuple[int, int, int]]
) -> None:
    reader = Reader(size, part_bytes=50)
    for offset, length, fair_share_bytes in reads:
        reader.plan.fair_share_bytes = fair_share_bytes
        if offset < size:
            reader.read(offset, min(length, size - offset))
    assert all(each.stop <= size for each in reader.fetched)
