"""The ladder of part sizes."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sftpgw.files.uploads.plan.part_sizes import Ladder, choose_ladder
from sftpgw.model.limits import MAX_PARTS, MIN_PART_BYTES
from sftpgw.model.settings import LimitSettings, StoreSettings
from sftpgw.model.units import GIB, MIB

LADDERS = st.builds(
    Ladder,
    first_bytes=st.integers(1, 50),
    largest_bytes=st.integers(1, 400),
    max_parts=st.integers(1, 60),
    step_parts=st.integers(1, 9),
)


@settings(max_examples=300)
@given(LADDERS)
def test_parts_follow_each_other_without_gap(ladder: Ladder) -> None:
    offset = 0
    for number in range(1, ladder.max_parts + 1):
        assert ladder.start(number) == offset
        assert ladder.number(offset) == number
        assert ladder.number(offset + ladder.size_bytes(number) - 1) == number
        offset += ladder.size_bytes(number)
    assert ladder.capacity_bytes == offset


@given(LADDERS, st.integers(1, 200))
def test_parts_never_shrink_or_grow_too_large(ladder: Ladder, number: int) -> None:
    size = ladder.size_bytes(number)
    assert size <= ladder.size_bytes(number + 1)
    assert ladder.first_bytes <= size <= max(ladder.first_bytes, ladder.largest_bytes)


def test_the_default_ladder() -> None:
    usual, memory_bytes = StoreSettings(), LimitSettings().memory_bytes
    ladder = choose_ladder(
        usual.part_size_bytes,
        memory_bytes,
        concurrency=usual.upload_concurrency,
        unequal_parts=True,
    )
    assert ladder.max_parts == MAX_PARTS
    assert [ladder.size_bytes(number) // MIB for number in (1, 100, 101, 201, 301, 10_000)] == [
        8,
        8,
        16,
        32,
        64,
        64,
    ]
    assert ladder.capacity_bytes // GIB == 611


@pytest.mark.parametrize(
    ("memory", "concurrency", "largest"), [(64, 6, 8), (256, 6, 32), (512, 24, 16), (512, 64, 8)]
)
def test_parts_grow_while_an_upload_can_hold_two_thirds_of_what_it_may_send(
    memory: int, concurrency: int, largest: int
) -> None:
    ladder = choose_ladder(8 * MIB, memory * MIB, concurrency=concurrency, unequal_parts=True)
    assert ladder.top_bytes == largest * MIB


@pytest.mark.parametrize("number", [1, 5000, 10_000])
def test_a_store_that_wants_equal_parts_gets_them(number: int) -> None:
    ladder = choose_ladder(MIN_PART_BYTES, 512 * MIB, concurrency=4, unequal_parts=False)
    assert ladder.size_bytes(number) == MIN_PART_BYTES


@given(st.integers(0, 2**42), st.sampled_from([5 * MIB, 8 * MIB, 100 * MIB]))
def test_equal_parts_are_as_large_as_an_announced_file_needs(size: int, first: int) -> None:
    ladder = choose_ladder(
        first, 512 * MIB, concurrency=4, unequal_parts=False, expected_bytes=size
    )
    assert first <= ladder.first_bytes == ladder.top_bytes <= max(first, 64 * MIB)
    assert ladder.capacity_bytes >= min(size, 10_000 * max(first, 64 * MIB))
    if size <= 10_000 * first:
        assert ladder.first_bytes == first
