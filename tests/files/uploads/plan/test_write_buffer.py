"""`uploads/plan/extents` against a set of offsets, `uploads/plan/write_buffer` against a dict of
bytes."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sftpgw.errors import LimitReached
from sftpgw.files.uploads.plan.extents import Extents
from sftpgw.files.uploads.plan.write_buffer import (
    JOINED_BYTES,
    MAX_EXTENTS,
    ZEROS,
    WriteBuffer,
    zeros,
)
from sftpgw.model.store import ByteRange

TOP = 24
OFFSETS = st.integers(0, TOP)


class TestExtents:
    @settings(max_examples=1000)
    @given(
        st.lists(
            st.tuples(st.sampled_from(["add", "before", "from", "grow"]), OFFSETS, OFFSETS),
            max_size=12,
        ),
        OFFSETS,
        OFFSETS,
    )
    def test_extents_behave_as_a_set_of_offsets(
        self, steps: list[tuple[str, int, int]], start: int, stop: int
    ) -> None:
        extents, model = Extents(), set[int]()
        for what, first, second in steps:
            if what == "add" and first < second:
                extents.add(first, second)
                model |= set(range(first, second))
            elif what == "before":
                extents.remove_before(first)
                model = {offset for offset in model if offset >= first}
            elif what == "from":
                extents.remove_from(first)
                model = {offset for offset in model if offset < first}
            elif what == "grow" and model:
                extents.grow(first)
                model |= set(range(max(model), max(model) + first + 1))
        assert_same(extents, model)
        gaps = [offset for gap in extents.gaps(start, stop) for offset in _offsets(gap)]
        assert gaps == [offset for offset in range(start, stop) if offset not in model]
        assert extents.run_stop(start) == next(
            offset for offset in range(start, 400) if offset not in model
        )
        begun = [each.stop for each in extents if each.start <= start]
        assert extents.last_stop(start) == max(begun, default=0)


def assert_same(extents: Extents, model: set[int]) -> None:
    ranges = list(extents)
    assert [offset for each in ranges for offset in _offsets(each)] == sorted(model)
    assert all(each.start < each.stop for each in ranges)
    assert all(a.stop < b.start for a, b in pairwise(ranges))
    assert len(extents) == len(ranges)
    assert extents.stop == (max(model) + 1 if model else 0)


def _offsets(each: ByteRange) -> range:
    return range(each.start, each.stop)


DATA = st.binary(min_size=1, max_size=12)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("write"), OFFSETS, DATA),
        st.tuples(st.just("write"), st.just(-1), DATA),
        st.tuples(st.just("fill"), OFFSETS, DATA),
        st.tuples(st.just("truncate"), OFFSETS, st.just(b"")),
        st.tuples(st.just("take"), OFFSETS, st.just(b"")),
    ),
    max_size=14,
)


class TestDraft:
    @settings(max_examples=1000)
    @given(STEPS, st.integers(1, 14), st.integers(1, 12))
    def test_a_write_buffer_behaves_as_a_file_with_holes(
        self, steps: list[tuple[str, int, bytes]], small_bytes: int, cut: int
    ) -> None:
        buffer, model, floor = WriteBuffer(small_bytes), dict[int, int](), 0
        for what, number, data in steps:
            offset = max(buffer.extents.stop if number < 0 else number, floor)
            fragments = (data[:cut], data[cut:]) if data[cut:] else (data,)
            bytes_by_offset = dict(enumerate(data, offset))
            if what == "write":
                buffer.write(offset, *fragments)
                model |= bytes_by_offset
            elif what == "fill":
                buffer.fill(offset, *fragments)
                model = bytes_by_offset | model
            elif what == "truncate":
                buffer.truncate(offset)
                model = {at: byte for at, byte in model.items() if at < offset}
            elif all(at in model for at in range(floor, offset)):
                body = b"".join(buffer.take(offset))
                assert body == bytes(model.pop(at) for at in range(floor, offset))
                floor = offset
            assert b"".join(buffer.body) == bytes(byte for _, byte in sorted(model.items()))
            assert buffer.size_bytes == len(model)
            assert_same(buffer.extents, set(model))
        for each in buffer.extents:
            for start in _offsets(each):
                found = b"".join(buffer.read(ByteRange(start, each.stop)))
                assert found == bytes(model[at] for at in range(start, each.stop))

    def test_bytes_in_order_are_not_copied_unless_they_are_few(self) -> None:
        buffer = WriteBuffer(small_fragment_bytes=10)
        large = b"x" * 10
        buffer.write(0, large)
        for fragment in (b"a", b"b", large):
            buffer.append(fragment)
        assert [len(fragment) for fragment in buffer.body] == [10, 2, 10]
        assert buffer.body[2] is large

    def test_small_fragments_are_joined_up_to_a_bound(self) -> None:
        buffer = WriteBuffer()
        buffer.write(0, b"x")
        for _ in range(2 * JOINED_BYTES // 1000):
            buffer.append(b"y" * 1000)
        assert len(buffer.body) <= 3

    def test_bytes_that_were_read_or_taken_do_not_change(self) -> None:
        buffer = WriteBuffer()
        buffer.write(0, b"abcdef")
        read, taken = buffer.read(ByteRange(1, 6)), buffer.take(3)
        buffer.write(3, b"XYZ")
        buffer.append(b"more")
        assert b"".join(read) == b"bcdef"
        assert b"".join(taken) == b"abc"

    def test_too_many_gaps_are_refused(self) -> None:
        buffer = WriteBuffer()
        with pytest.raises(LimitReached, match="scattered"):
            for offset in range(0, 4 * MAX_EXTENTS, 2):
                buffer.write(offset, b"x")

    @pytest.mark.parametrize("size_bytes", [0, 1, len(ZEROS), 3 * len(ZEROS) + 7])
    def test_zeros_share_their_memory(self, size_bytes: int) -> None:
        fragments = list(zeros(size_bytes))
        assert b"".join(fragments) == bytes(size_bytes)
        assert all(fragment is ZEROS for fragment in fragments[:-1])
