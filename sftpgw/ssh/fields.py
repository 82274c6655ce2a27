"""The fields of an SSH packet's payload, read with bounds.

Knows: RFC 4251, section 5, "Data Type Representations".
Must not know: any message. Takes the place of Conch's `getNS`, which returns
less than the length promises when a packet is cut short.
"""

from __future__ import annotations

import struct

from sftpgw.model.messages import readable

_UINT32 = struct.Struct(">L")


class MalformedPacket(Exception):
    """The peer has broken the protocol; the message is what it is told before we hang up."""


class PacketFields:
    """A cursor over a payload. Every method raises `MalformedPacket` at its end."""

    __slots__ = ("_offset", "_payload")

    def __init__(self, payload: bytes) -> None:
        self._payload = payload
        self._offset = 0

    def raw(self, size_bytes: int) -> bytes:
        """Bytes without a length before them."""
        end = self._offset + size_bytes
        if end > len(self._payload):
            raise MalformedPacket("a packet ends before its fields do")
        taken = self._payload[self._offset : end]
        self._offset = end
        return taken

    def uint32(self) -> int:
        value: int = _UINT32.unpack(self.raw(4))[0]
        return value

    def boolean(self) -> bool:
        return self.raw(1) != b"\0"

    def string(self) -> bytes:
        return self.raw(self.uint32())

    def rest(self) -> bytes:
        """Everything that is left."""
        return self.raw(len(self._payload) - self._offset)

    def end(self) -> None:
        """Insist that nothing is left."""
        if self._offset != len(self._payload):
            raise MalformedPacket("a packet goes on after its last field")


def printable(data: bytes, limit: int = 128) -> str:
    """What a client sent, safe and short enough for a log line."""
    return readable(data[:limit])
