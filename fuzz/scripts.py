"""Bytes read as a script: what a fuzzer invents always means something.

Knows: how a script is cut into pieces, and back. Must not know: any layer.

A piece is two bytes of length and as many bytes as there are, so that every byte string
is a script, and mutating one piece leaves the others as they are.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator


class Script:
    """A cursor over a script; at its end there are zeros."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

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
            yield self.take(self.number(2))


def script(pieces: Iterable[bytes], *, head: bytes = b"") -> bytes:
    """The script that reads as `head` and these pieces."""
    return head + b"".join(len(piece).to_bytes(2, "big") + piece for piece in pieces)
