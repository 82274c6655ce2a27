"""What arrives on a connection, cut into the client's version line and packets.

Knows: framing (RFC 4253, sections 4.2 and 6) and how long a packet may be.
Must not know: what a packet says, or who may send it when.

Copies of what arrives: one into the buffer here, one by the cipher.
"""

from __future__ import annotations

from sftpgw.ssh.fields import MalformedPacket
from sftpgw.ssh.protection import DamagedPacket, Opener, payload_of

VERSION_LINE_BYTES = 255
"""The longest version line, its end included (RFC 4253, 4.2)."""


class NoClient(Exception):
    """What has connected does not speak SSH 2."""


class IncomingPackets:
    """Takes bytes as they come, gives payloads as they are complete.

    :ivar largest_bytes: what a packet's length field may say; Conch lets anybody say 1 MiB (685).
    """

    def __init__(self, largest_bytes: int) -> None:
        self.largest_bytes = largest_bytes
        self._buffer = bytearray()
        self._taken_bytes = 0
        self._packet_bytes: int | None = None

    def feed(self, data: bytes) -> None:
        """Take what has arrived. What was taken out is let go of here, once for all packets
        that came together: each time moves what is left. Conch (750) does so for each packet."""
        if self._taken_bytes:
            del self._buffer[: self._taken_bytes]
            self._taken_bytes = 0
        self._buffer += data

    def version_line(self) -> bytes | None:
        """The client's first line without its end; None until it is there.

        Conch counts the packets behind the line against its limit (752), and
        looks for the line among others, which only a server may send.

        :raises NoClient: it is too long, or another protocol's.
        """
        end = self._buffer.find(b"\n", 0, VERSION_LINE_BYTES)
        if end < 0 and len(self._buffer) < VERSION_LINE_BYTES:
            return None
        line = bytes(self._buffer[:end]).rstrip(b"\r")
        if end < 0 or not line.startswith((b"SSH-2.0-", b"SSH-1.99-")):
            raise NoClient(line)
        del self._buffer[: end + 1]
        return line

    def next_payload(self, opener: Opener, sequence: int) -> memoryview | None:
        """The next payload, decrypted and verified; None until all of it is there.

        Conch gets stuck on bad padding (716).

        :raises DamagedPacket: it was changed on its way.
        :raises MalformedPacket: its length or its padding cannot be.
        """
        # Without a view that outlives this call, or the buffer could not grow.
        with memoryview(self._buffer) as arrived:
            body = self._open_packet(arrived[self._taken_bytes :], opener, sequence)
        if body is None:
            return None
        try:
            return payload_of(body)
        except DamagedPacket as problem:
            raise MalformedPacket(str(problem)) from None

    def _open_packet(self, arrived: memoryview, opener: Opener, sequence: int) -> bytes | None:
        if self._packet_bytes is None:
            length = opener.length(arrived, sequence)
            if length is None:
                return None
            self._check_length(length, opener)
            self._packet_bytes = 4 + length + opener.tail_bytes
        packet_bytes = self._packet_bytes
        if len(arrived) < packet_bytes:
            return None
        body = opener.open(arrived[:packet_bytes], sequence)
        self._taken_bytes += packet_bytes
        self._packet_bytes = None
        return body

    def _check_length(self, length: int, opener: Opener) -> None:
        padded_bytes = length + (4 if opener.length_is_padded else 0)
        if not 5 <= length <= self.largest_bytes or padded_bytes % opener.block_bytes:
            raise MalformedPacket("bad packet length")
