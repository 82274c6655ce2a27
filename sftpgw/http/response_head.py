"""What the head of a response may cost: its bytes, its lines, and interim responses before it.

Knows: how much of a head has come.
Must not know: what is in it; Twisted's parser reads it.

Twisted's parser bounds a line (16 KiB), but neither the number of lines nor that of interim
responses (status 1xx), and it copies what is left of its input for each line. So a head is given to
it in pieces of `PIECE_BYTES`, and counted. What follows a head is not cut up.
"""

from __future__ import annotations

from sftpgw.model.units import KIB

PIECE_BYTES = 4 * KIB
"""Most heads have less, with 2 KiB of metadata."""

MAX_HEAD_BYTES = 64 * KIB
MAX_HEAD_LINES = 1000
MAX_INTERIM_RESPONSES = 20

_VERSION = b"HTTP/1."


class ResponseHead:
    """Counts the head of one response."""

    __slots__ = ("_bytes", "_last", "_lines", "_versions")

    def __init__(self) -> None:
        self._bytes = self._lines = self._versions = 0
        self._last = b""

    def take(self, piece: bytes) -> str:
        """Count a piece after which the head goes on.

        :returns: what there is too much of, "" if nothing.
        """
        self._bytes += len(piece)
        self._lines += piece.count(b"\n")
        self._versions += (self._last + piece).count(_VERSION)
        self._last = piece[1 - len(_VERSION) :]
        if self._bytes > MAX_HEAD_BYTES:
            return f"headers of over {MAX_HEAD_BYTES} bytes"
        if self._lines > MAX_HEAD_LINES:
            return f"over {MAX_HEAD_LINES} lines of headers"
        if self._versions > MAX_INTERIM_RESPONSES + 1:
            return f"over {MAX_INTERIM_RESPONSES} responses without a final status"
        return ""
