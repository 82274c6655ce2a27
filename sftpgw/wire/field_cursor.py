"""The fields of a packet from left to right, never beyond its end.

Knows: RFC 4251, section 5, "Data Type Representations", which SFTP uses, too.
Must not know: any message, or the error for a malformed one: subclasses make it.
"""

from __future__ import annotations

import struct

_UINT32 = struct.Struct(">L")
_UINT64 = struct.Struct(">Q")


class FieldCursor:
    """Reads the fields of one payload. Each method raises the error of `cut_short`.

    :param payload: the bytes of a whole packet.
    :param offset: where its first field begins.
    """

    __slots__ = ("_offset", "_payload")

    def __init__(self, payload: bytes, offset: int = 0) -> None:
        self._payload = payload
        self._offset = offset

    def uint32(self) -> int:
        offset = self._offset
        if offset + 4 > len(self._payload):
            raise self.cut_short("it ends in the middle of a number")
        self._offset = offset + 4
        value: int = _UINT32.unpack_from(self._payload, offset)[0]
        return value

    def uint64(self) -> int:
        offset = self._offset
        if offset + 8 > len(self._payload):
            raise self.cut_short("it ends in the middle of a number")
        self._offset = offset + 8
        value: int = _UINT64.unpack_from(self._payload, offset)[0]
        return value

    def boolean(self) -> bool:
        return self.raw(1) != b"\0"

    def string(self) -> bytes:
        """Bytes with their length before them."""
        size_bytes = self.uint32()
        offset = self._offset
        end = offset + size_bytes
        if end > len(self._payload):
            left_bytes = len(self._payload) - offset
            raise self.cut_short(f"a string claims {size_bytes} bytes, {left_bytes} are there")
        self._offset = end
        return self._payload[offset:end]

    def raw(self, size_bytes: int) -> bytes:
        """Bytes without a length before them."""
        offset = self._offset
        end = offset + size_bytes
        if end > len(self._payload):
            raise self.cut_short(f"{size_bytes} bytes are missing")
        self._offset = end
        return self._payload[offset:end]

    def rest(self) -> bytes:
        """Everything that is left."""
        offset, self._offset = self._offset, len(self._payload)
        return self._payload[offset:]

    def end(self) -> None:
        """Raise the error of `too_long` if bytes are left."""
        if self._offset != len(self._payload):
            raise self.too_long(f"{self.left_bytes} bytes too many")

    @property
    def left_bytes(self) -> int:
        """How many bytes are left."""
        return len(self._payload) - self._offset

    def cut_short(self, why: str) -> Exception:
        """The error for a packet that ends before its fields do."""
        raise NotImplementedError

    def too_long(self, why: str) -> Exception:
        """The error for a packet that goes on after its last field."""
        raise NotImplementedError
