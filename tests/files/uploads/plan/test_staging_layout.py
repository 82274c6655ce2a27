"""The layout of an object: direct parts, then staging uploads."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sftpgw.files.uploads.plan.part_sizes import Ladder, choose_ladder
from sftpgw.files.uploads.plan.staging_layout import (
    PartAddress,
    StagingLayout,
    choose_layout,
    layout_for,
)
from sftpgw.model.limits import MAX_PART_BYTES, MIN_PART_BYTES
from sftpgw.model.store import Capabilities
from sftpgw.model.units import GIB, MIB

LADDERS = st.builds(
    Ladder,
    first_bytes=st.integers(1, 20),
    largest_bytes=st.integers(1, 60),
    max_parts=st.integers(2, 20),
    step_parts=st.integers(1, 5),
)
LAYOUTS = st.builds(
    choose_layout,
    LADDERS,
    part_copy=st.booleans(),
    unequal_parts=st.just(True),
    direct_parts=st.integers(1, 8),
    copy_limit_bytes=st.integers(1, 400),
    first_staging_bytes=st.integers(1, 100),
    step_stagings=st.integers(1, 4),
)
DEFAULT = choose_layout(
    choose_ladder(8 * MIB, 512 * MIB, concurrency=4, unequal_parts=True),
    part_copy=True,
    unequal_parts=True,
)


def parts_of(layout: StagingLayout) -> list[int]:
    """The numbers of all parts."""
    last = layout.number(layout.capacity_bytes - 1)
    return list(range(1, last + 1))


@settings(max_examples=300)
@given(LAYOUTS)
def test_parts_follow_each_other_without_gap(layout: StagingLayout) -> None:
    offset = 0
    for number in parts_of(layout):
        assert layout.start(number) == offset
        assert layout.number(offset) == number
        assert layout.number(offset + layout.size_bytes(number) - 1) == number
        offset += layout.size_bytes(number)
    assert layout.capacity_bytes == offset


@settings(max_examples=300)
@given(LAYOUTS, st.integers(1, 400))
def test_addresses_keep_to_the_limits_of_the_store(layout: StagingLayout, copy_limit: int) -> None:
    expected = PartAddress(0, 1)
    staging_bytes = 0
    for number in parts_of(layout):
        address = layout.address(number)
        assert address == expected
        assert address.number <= layout.ladder.max_parts
        staging_bytes += layout.size_bytes(number)
        is_last_direct = (
            address == PartAddress(0, layout.direct_parts) and layout.stagings is not None
        )
        if layout.fills(address) or is_last_direct:
            assert is_last_direct or staging_bytes == layout.stagings.size_bytes(address.upload)  # type: ignore[union-attr]
            assert layout.copy_number(address.upload) <= layout.ladder.max_parts
            expected, staging_bytes = PartAddress(address.upload + 1, 1), 0
        else:
            expected = PartAddress(address.upload, address.number + 1)
    if layout.stagings is not None:
        assert layout.copy_number(expected.upload - 1) == layout.ladder.max_parts, (
            "no number is wasted"
        )


@pytest.mark.parametrize("offset", [0, 18 * GIB, 40 * 1024 * GIB, DEFAULT.capacity_bytes - 1])
def test_the_default_at_any_size(offset: int) -> None:
    number = DEFAULT.number(offset)
    assert DEFAULT.start(number) <= offset < DEFAULT.start(number + 1)
    assert DEFAULT.size_bytes(number) <= 64 * MIB
    assert DEFAULT.copy_number(DEFAULT.address(number).upload) <= 10_000


def test_the_default_layout_holds_as_much_as_documented() -> None:
    assert DEFAULT.ladder.start(DEFAULT.direct_parts + 1) / GIB == pytest.approx(18, abs=0.05)
    assert DEFAULT.capacity_bytes / (1024 * GIB) == pytest.approx(46.2, abs=0.05)
    assert DEFAULT.stagings is not None
    assert DEFAULT.stagings.first_bytes == GIB
    assert DEFAULT.stagings.top_bytes == MAX_PART_BYTES


def test_no_staging_uploads_where_parts_cannot_be_copied() -> None:
    layout = choose_layout(DEFAULT.ladder, part_copy=False, unequal_parts=True)
    assert layout.capacity_bytes == DEFAULT.ladder.capacity_bytes
    assert layout.address(10_000) == PartAddress(0, 10_000)


@pytest.mark.parametrize(
    ("able", "expected_bytes", "is_edit", "has_stagings"),
    [
        (Capabilities(), None, False, True),
        (Capabilities(copied_checksums=False), None, False, False),
        (Capabilities(copied_checksums=False), 500 * GIB, False, False),
        (Capabilities(copied_checksums=False), 2048 * GIB, False, True),
        (Capabilities(copied_checksums=False), None, True, True),
        (Capabilities(copied_checksums=False, part_copy=False), 2048 * GIB, True, False),
    ],
)
def test_a_file_keeps_its_checksums_while_it_can(
    able: Capabilities, expected_bytes: int | None, is_edit: bool, has_stagings: bool
) -> None:
    layout = layout_for(DEFAULT.ladder, able, expected_bytes, is_edit=is_edit)
    assert (layout.stagings is not None) == has_stagings


def test_a_store_that_wants_equal_parts_gets_no_other() -> None:
    ladder = choose_ladder(MIN_PART_BYTES, 512 * MIB, concurrency=4, unequal_parts=False)
    layout = choose_layout(ladder, part_copy=True, unequal_parts=False)
    assert layout.capacity_bytes == 10_000 * MIN_PART_BYTES
    assert {layout.address(number).upload for number in range(1, 10_001)} == {0}
    assert {layout.size_bytes(number) for number in range(1, 10_001)} == {MIN_PART_BYTES}


def test_parts_as_large_as_a_copy_make_staging_uploads_of_one_part() -> None:
    layout = choose_layout(Ladder(5 * GIB, 5 * GIB), part_copy=True, unequal_parts=True)
    assert layout.capacity_bytes == 10_000 * 5 * GIB
