"""The entries of a page, packed."""

from __future__ import annotations

import sys

from hypothesis import given
from hypothesis import strategies as st

from sftpgw.files.listing.packed_entries import ENTRY_BYTES, PackedEntries
from sftpgw.model.filesystem import DirectoryEntry, FileAttributes, FileKind

NAMES = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="/\0"), min_size=1, max_size=12
)
TIMES = st.none() | st.floats(0, 2**40)
ATTRIBUTES = st.builds(FileAttributes, st.just(FileKind.FILE), st.integers(0, 2**63 - 1), TIMES) | (
    st.builds(FileAttributes, st.just(FileKind.DIRECTORY), st.just(0), TIMES)
)
PAGES = st.lists(
    st.builds(DirectoryEntry, NAMES, ATTRIBUTES), max_size=40, unique_by=lambda each: each.name
)


@given(PAGES, st.lists(st.integers(1, 400), max_size=50))
def test_what_is_taken_is_what_was_packed_in_order(
    page: list[DirectoryEntry], steps: list[int]
) -> None:
    packed = PackedEntries(page)
    taken: list[DirectoryEntry] = []
    for step in steps:
        before = len(taken)
        taken += packed.take(step)
        names_bytes = [ENTRY_BYTES + len(each.name.encode()) for each in taken[before:]]
        assert len(taken) == len(page) or sum(names_bytes) >= step
        assert sum(names_bytes[:-1]) < step
        assert len(packed) == len(page) - len(taken)
    assert [*taken, *packed.take()] == page
    assert packed.take() == ()


@given(PAGES, st.integers(1, 2000))
def test_a_page_that_is_packed_anew_goes_on_where_the_first_one_stopped(
    page: list[DirectoryEntry], step: int
) -> None:
    first, second = PackedEntries(page), PackedEntries(page)
    taken = first.take(step)
    second.skip(first.taken)
    assert (*taken, *second.take()) == tuple(page)


def entries(*names: str) -> list[DirectoryEntry]:
    return [DirectoryEntry(name, FileAttributes(FileKind.FILE)) for name in names]


def test_what_was_taken_is_found_by_its_name_where_entries_have_come_or_gone() -> None:
    before, after = (
        PackedEntries(entries("b", "c", "d")),
        PackedEntries(entries("a", "b", "c", "d")),
    )
    before.take(2 * ENTRY_BYTES)
    after.skip(before.taken)
    assert [each.name for each in after.take()] == ["d"]


def test_without_that_name_as_many_are_skipped_as_were_taken() -> None:
    before, after = PackedEntries(entries("b", "c", "d")), PackedEntries(entries("b", "x", "d"))
    before.take(2 * ENTRY_BYTES)
    after.skip(before.taken)
    assert [each.name for each in after.take()] == ["d"]


def test_a_size_that_no_object_has_becomes_the_largest_that_is_kept() -> None:
    huge = DirectoryEntry("a", FileAttributes(FileKind.FILE, 10**26, 1.0))
    (taken,) = PackedEntries([huge]).take()
    assert taken.attributes.size_bytes == 2**63 - 1


def test_a_full_page_takes_no_more_than_it_says() -> None:
    packed = PackedEntries(entries(*(f"a-file-with-a-name-{number:04}" for number in range(1000))))
    held = sum(sys.getsizeof(getattr(packed, name)) for name in PackedEntries.__slots__)
    assert held + sys.getsizeof(packed) <= packed.size_bytes * 1.2 < 60_000
