"""Bytes read as a script: what a fuzzer invents always means something.

Knows: how a script is cut into pieces, and back. Must not know: any layer.

A piece is two bytes of length and as many bytes as there are, so that every byte string
is a script, and mutating one piece leaves the others as they are. If the first bit of the
length is set, three bytes follow that say how many zeros to add: so a short script has
frames of 256 KiB. All pieces together get at most `MAX_ZEROS`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

LONG = 0x8000
MAX_ZEROS = 2**20


class Script:
    """A cursor over a script; at its end there are zeros."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0
        self._zeros_left = MAX_ZEROS

    def take(self, size_bytes: int) -> bytes:
        """The next bytes, fewer at the end."""
        taken = self._data[self._at : self._at + size_bytes]
        self._at += size_bytes
        return taken

    def number(self, size_bytes: int = 1) -> int:
        return int.from_bytes(self.take(size_bytes), "big")

    def pieces(self) -> Iterator[bytes]:
        """All that is left, a piece at a time."""
        while self._at < len(self._data):
            length = self.number(2)
            zeros = min(self.number(3), self._zeros_left) if length & LONG else 0
            self._zeros_left -= zeros
            yield self.take(length % LONG) + bytes(zeros)


def script(pieces: Iterable[bytes], *, head: bytes = b"") -> bytes:
    """The script that reads as `head` and these pieces."""
    return head + b"".join(map(_written, pieces))


def _written(piece: bytes) -> bytes:
    if len(piece) < LONG:
        return len(piece).to_bytes(2, "big") + piece
    kept = piece.rstrip(b"\0")
    zeros = len(piece) - len(kept)
    return (LONG + len(kept)).to_bytes(2, "big") + zeros.to_bytes(3, "big") + kept
