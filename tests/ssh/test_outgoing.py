"""The outgoing queue: bytes in order, whatever is taken at a time."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from sftpgw.ssh.outgoing import OutgoingQueue


@given(st.lists(st.binary(max_size=50)), st.lists(st.integers(1, 60), min_size=1))
def test_what_goes_in_comes_out(pieces: list[bytes], limits: list[int]) -> None:
    queue = OutgoingQueue()
    for piece in pieces:
        queue.append(piece)
    expected = b"".join(pieces)
    taken = b""
    assert queue.size_bytes == len(expected)
    while queue.size_bytes:
        limit = limits[len(taken) % len(limits)]
        piece = b"".join(queue.take(limit))
        assert len(piece) == min(limit, len(expected) - len(taken))
        taken += piece
        assert queue.size_bytes == len(expected) - len(taken)
    assert taken == expected
    assert queue.take(10) == ()


def test_a_piece_that_fits_is_not_copied() -> None:
    queue = OutgoingQueue()
    piece = b"x" * 100
    queue.append(piece)
    (taken,) = queue.take(100)
    assert taken is piece


def test_clear_forgets_a_half_taken_piece() -> None:
    queue = OutgoingQueue()
    queue.append(b"abc")
    queue.take(1)
    queue.clear()
    queue.append(b"xyz")
    assert queue.take(9) == (b"xyz",)
