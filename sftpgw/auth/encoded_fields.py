"""The fields of a key, a certificate or a revocation list.

Knows: that data which ends too early is a ValueError here.
Must not know: any format.
"""

from __future__ import annotations

from collections.abc import Iterator

from sftpgw.wire.field_cursor import FieldCursor


class EncodedFields(FieldCursor):
    """The fields of one encoding. Each method raises ValueError."""

    __slots__ = ()

    def cut_short(self, why: str) -> ValueError:
        return ValueError("it ends too early")

    def too_long(self, why: str) -> ValueError:
        return ValueError("it goes on after its end")

    def strings(self) -> Iterator[bytes]:
        """All that is left, as strings."""
        while self.left_bytes:
            yield self.string()
