"""The fields of an SSH packet's payload, read with bounds.

Knows: the text that a client gets for a malformed packet. Must not know: any message.
Takes the place of Conch's `getNS`, which returns less than the length promises when a packet is
cut short.
"""

from __future__ import annotations

from sftpgw.model.messages import readable
from sftpgw.wire.field_cursor import FieldCursor


class MalformedPacket(Exception):
    """The client has broken the protocol; the message goes to the client in DISCONNECT."""


class PacketFields(FieldCursor):
    """The fields of one payload. Each method raises `MalformedPacket`."""

    __slots__ = ()

    def cut_short(self, why: str) -> MalformedPacket:
        return MalformedPacket("a packet ends before its fields do")

    def too_long(self, why: str) -> MalformedPacket:
        return MalformedPacket("a packet goes on after its last field")


def printable(data: bytes, limit: int = 128) -> str:
    """Bytes from a client as text for a log line, without control characters.

    :param data: the bytes, in any encoding.
    :param limit: how many bytes are used.
    """
    return readable(data[:limit])
