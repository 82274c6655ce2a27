"""How objects are cut for copying, and what proves a copy."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sftpgw.files.copies.plan import copy_ranges, is_same, is_surely_same, proves_same
from sftpgw.model.limits import MAX_COPY_BYTES
from sftpgw.model.store import Checksum, ChecksumAlgorithm, ObjectInfo, ObjectName
from sftpgw.model.units import GIB

MD5 = f'"{"a" * 32}"'
SUM = Checksum(ChecksumAlgorithm.CRC64NVME, 1)
INFO = ObjectInfo(ObjectName("bucket", "key"), 5, MD5, 1.0)


@given(st.integers(1, 10**6), st.integers(1, 10**4), st.integers(1, 50))
def test_ranges_cover_all_once_and_are_equal_but_the_last(
    size_bytes: int, part_bytes: int, max_parts: int
) -> None:
    ranges = copy_ranges(size_bytes, part_bytes=part_bytes, max_parts=max_parts)
    assert len(ranges) <= max_parts
    assert ranges[0].start == 0
    assert ranges[-1].stop == size_bytes
    assert all(one.stop == other.start for one, other in pairwise(ranges))
    sizes = [each.size_bytes for each in ranges]
    assert len(set(sizes[:-1])) <= 1
    assert 0 < sizes[-1] <= sizes[0]
    if size_bytes <= part_bytes * max_parts:
        assert sizes[0] <= part_bytes


def test_the_largest_object_of_all_fits_the_numbers_and_the_limit_of_a_part() -> None:
    ranges = copy_ranges(10_000 * 5 * GIB)
    assert len(ranges) == 10_000
    assert {each.size_bytes for each in ranges} == {MAX_COPY_BYTES}


@pytest.mark.parametrize(
    ("one", "other", "proved"),
    [(MD5, MD5, True), (MD5, MD5.replace("a", "b"), False), ('"x-2"', '"x-2"', False)],
)
def test_only_equal_md5s_prove_anything(one: str, other: str, proved: bool) -> None:
    assert proves_same(one, other) is proved


def test_a_copy_is_refuted_by_its_size_or_checksum() -> None:
    multipart = replace(INFO, etag='"e-2"', checksum=SUM)
    assert is_same(multipart, INFO)
    assert is_same(multipart, replace(multipart, etag='"other"'))
    assert not is_same(INFO, replace(INFO, size_bytes=6))
    wrong = replace(multipart, checksum=Checksum(ChecksumAlgorithm.CRC64NVME, 2))
    assert not is_same(multipart, wrong)
    other_kind = replace(multipart, checksum=Checksum(ChecksumAlgorithm.CRC32, 2))
    assert is_same(multipart, other_kind)


def test_without_proof_two_objects_are_not_surely_the_same() -> None:
    multipart = replace(INFO, etag='"e-2"')
    assert is_surely_same(INFO, INFO)
    assert not is_surely_same(multipart, multipart)
    assert is_surely_same(replace(multipart, checksum=SUM), replace(INFO, checksum=SUM))
    assert not is_surely_same(INFO, replace(INFO, size_bytes=6))
