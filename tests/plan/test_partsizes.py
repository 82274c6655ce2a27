"""The ladder of part sizes."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sftpgw.plan.partsizes import MAX_PARTS, MIN_PART_BYTES, Ladder, choose_ladder
from sftpgw.values import GIB, MIB

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
    ladder = choose_ladder(8 * MIB, 512 * MIB, unequal_parts=True)
    assert ladder.max_parts == MAX_PARTS
    assert [ladder.size_bytes(number) // MIB for number in (1, 200, 201, 401, 601, 10_000)] == [
        8,
        8,
        16,
        32,
        64,
        64,
    ]
    assert ladder.capacity_bytes // GIB == 598


def test_little_memory_keeps_parts_small() -> None:
    assert choose_ladder(8 * MIB, 64 * MIB, unequal_parts=True).largest_bytes == 8 * MIB


@pytest.mark.parametrize("number", [1, 5000, 10_000])
def test_a_store_that_wants_equal_parts_gets_them(number: int) -> None:
    ladder = choose_ladder(MIN_PART_BYTES, 512 * MIB, unequal_parts=False)
    assert ladder.size_bytes(number) == MIN_PART_BYTES
