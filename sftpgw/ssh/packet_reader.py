"""What arrives on a connection, cut into the client's version line and packets.

Knows: framing (RFC 4253, sections 4.2 and 6) and how long a packet may be.
Must not know: what a packet says, or who may send it when.

A packet that has come in one piece is opened where it arrived: the cipher's copy is the only
one. What has come in several pieces is put together first, which concerns one packet in
each arrival, so that what comes byte by byte costs no more than it is long.
"""

from __future__ import annotations

from sftpgw.ssh.fields import MalformedPacket
from sftpgw.ssh.packet_cipher import DamagedPacket, Opener, payload_of

VERSION_LINE_BYTES = 255
"""The longest version line, its end included (RFC 4253, 4.2)."""

FIRST_BYTES = 16
"""No packet is shorter, whatever protects it (RFC 4253, section 6), and no cipher needs more
than this to tell the length."""

_NOTHING = memoryview(b"")


class NoClient(Exception):
    """What has connected does not speak SSH 2."""


class PacketReader:
    """Takes bytes as they come, gives payloads as they are complete.

    :ivar largest_bytes: the largest length of a packet; Conch accepts 1 MiB from every peer.
    """

    def __init__(self, largest_bytes: int) -> None:
        self.largest_bytes = largest_bytes
        self._arrived = _NOTHING
        self._begun = bytearray()  # a packet that is not all in `_arrived`: it comes first
        self._packet_bytes: int | None = None  # of the first packet, once its length is known

    def feed(self, data: bytes) -> None:
        """Take what has arrived; all that had arrived before has been asked for."""
        self._begun += self._arrived
        self._arrived = memoryview(data)

    def version_line(self) -> bytes | None:
        """The client's first line without its end; None until it is there.

        Conch counts the packets behind the line against its limit (752), and
        looks for the line among others, which only a server may send.

        :raises NoClient: it is too long, or another protocol's.
        """
        begun = self._begun + self._arrived
        end = begun.find(b"\n", 0, VERSION_LINE_BYTES)
        if end < 0 and len(begun) < VERSION_LINE_BYTES:
            return None
        line = bytes(begun[:end]).rstrip(b"\r")
        if end < 0 or not line.startswith((b"SSH-2.0-", b"SSH-1.99-")):
            raise NoClient(line)
        self._begun, self._arrived = bytearray(), memoryview(bytes(begun[end + 1 :]))
        return line

    def next_payload(self, opener: Opener, sequence: int) -> memoryview | None:
        """The next payload, decrypted and verified; None until all of it is there.

        Conch gets stuck on bad padding (716).

        :raises DamagedPacket: it was changed on its way.
        :raises MalformedPacket: its length or its padding cannot be.
        """
        if self._begun:
            body = self._open_begun(opener, sequence)
        else:
            body = self._open_arrived(opener, sequence)
        if body is None:
            return None
        self._packet_bytes = None
        try:
            return payload_of(body)
        except DamagedPacket as problem:
            raise MalformedPacket(str(problem)) from None

    def _open_arrived(self, opener: Opener, sequence: int) -> bytes | None:
        """Open the packet that `_arrived` begins with, if it is whole."""
        arrived = self._arrived
        packet_bytes = self._length(arrived, opener, sequence)
        if packet_bytes is None or len(arrived) < packet_bytes:
            self._begun += arrived
            self._arrived = _NOTHING
            return None
        self._arrived = arrived[packet_bytes:]
        return opener.open(arrived[:packet_bytes], sequence)

    def _open_begun(self, opener: Opener, sequence: int) -> bytes | None:
        """Complete the packet of which a part had come before, and open it."""
        self._complete(FIRST_BYTES)
        # Without a view that outlives this, or the buffer could not grow.
        with memoryview(self._begun) as begun:
            packet_bytes = self._length(begun, opener, sequence)
        if packet_bytes is None:
            return None
        self._complete(packet_bytes)
        if len(self._begun) < packet_bytes:
            return None
        packet, self._begun = memoryview(self._begun), bytearray()
        return opener.open(packet, sequence)

    def _complete(self, size_bytes: int) -> None:
        """Have `size_bytes` in `_begun`, as far as they have arrived."""
        missing_bytes = max(0, size_bytes - len(self._begun))
        self._begun += self._arrived[:missing_bytes]
        self._arrived = self._arrived[missing_bytes:] or _NOTHING  # an empty view keeps it all

    def _length(self, packet: memoryview, opener: Opener, sequence: int) -> int | None:
        """How long the packet is on the wire; None until that can be told.

        The opener is asked once: one that encrypts the length may not be asked again.
        """
        if self._packet_bytes is None:
            length = opener.length(packet, sequence)
            if length is None:
                return None
            padded_bytes = length + 4 if opener.length_is_padded else length
            if not 5 <= length <= self.largest_bytes or padded_bytes % opener.block_bytes:
                raise MalformedPacket("bad packet length")
            self._packet_bytes = 4 + length + opener.tail_bytes
        return self._packet_bytes
