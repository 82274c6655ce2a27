"""The byte queue: bytes in order, whatever is taken at a time."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from sftpgw.buffers.byte_queue import SMALL_FRAGMENT_BYTES, ByteQueue


@given(
    st.lists(st.binary(max_size=50) | st.binary(max_size=9).map(lambda data: data * 600)),
    st.lists(st.integers(1, 6000), min_size=1),
)
def test_bytes_come_out_as_they_went_in(fragments: list[bytes], limits: list[int]) -> None:
    queue = ByteQueue()
    for fragment in fragments:
        queue.append(fragment)
    expected = b"".join(fragments)
    taken = b""
    assert queue.size_bytes == len(expected)
    while queue.size_bytes:
        limit = limits[len(taken) % len(limits)]
        fragment = b"".join(queue.take(limit))
        assert len(fragment) == min(limit, len(expected) - len(taken))
        taken += fragment
        assert queue.size_bytes == len(expected) - len(taken)
    assert taken == expected
    assert queue.take(10) == ()


def test_a_fragment_that_fits_is_not_copied() -> None:
    queue = ByteQueue()
    fragment = b"x" * SMALL_FRAGMENT_BYTES
    queue.append(fragment)
    (taken,) = queue.take(SMALL_FRAGMENT_BYTES)
    assert taken is fragment


def test_small_fragments_are_joined() -> None:
    queue = ByteQueue()
    large = b"x" * SMALL_FRAGMENT_BYTES
    for fragment in (b"a", b"b", large, b"c", b"d"):
        queue.append(fragment)
    assert queue.take(2 * SMALL_FRAGMENT_BYTES) == (b"ab", large, b"cd")


def test_clear_forgets_a_half_taken_fragment() -> None:
    queue = ByteQueue()
    queue.append(b"abc")
    queue.take(1)
    queue.clear()
    queue.append(b"xyz")
    assert queue.take(9) == (b"xyz",)


@given(
    st.lists(st.binary(max_size=20) | st.binary(max_size=9).map(lambda data: data * 600)),
    st.integers(0, 6000),
    st.integers(0, 12_000),
)
def test_a_byte_is_found_where_it_is(fragments: list[bytes], taken: int, limit: int) -> None:
    queue = ByteQueue()
    for fragment in fragments:
        queue.append(fragment)
    queue.take(taken)
    left = b"".join(fragments)[taken:]
    assert queue.find(b"\0", limit) == left[:limit].find(b"\0")
    assert b"".join(queue.take(len(left))) == left
