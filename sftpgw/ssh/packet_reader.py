"""Cuts the bytes that arrive on a connection into the client's version line and packets.

Knows: framing (RFC 4253, sections 4.2 and 6) and how long a packet may be.
Must not know: what a packet says, or when a client may send it.

A packet that arrives in one read is opened in place: the cipher makes the only copy. The fragments
of other packets are joined first. Each read ends with at most one such packet, so that a packet
that arrives byte by byte is copied once as well.

Where an opener hides the length (`Opener.hides_length`), a damaged packet counts as one of the
largest size, whatever its length field says: so much is read, decrypted and authenticated, and
then comes the same reply.
"""

from __future__ import annotations

from contextlib import suppress

from sftpgw.ssh.fields import MalformedPacket
from sftpgw.ssh.packet_cipher import DamagedPacket, Opener, payload_of

VERSION_LINE_BYTES = 255
"""The longest version line, including its end (RFC 4253, section 4.2)."""

FIRST_BYTES = 16
"""The smallest packet with any cipher (RFC 4253, section 6); enough bytes for each cipher to read
the length field."""

_NOTHING = memoryview(b"")


class NoClient(Exception):
    """The peer does not speak SSH 2."""


class PacketReader:
    """Takes bytes as they arrive, returns payloads as they are complete.

    :ivar largest_bytes: the largest permitted length field. Conch accepts 1 MiB from every peer
        (`SSHTransportBase.getPacket`).
    :param largest_bytes: its first value.
    """

    def __init__(self, largest_bytes: int) -> None:
        self.largest_bytes = largest_bytes
        self._arrived = _NOTHING
        self._begun = bytearray()  # the beginning of a packet that goes on in `_arrived`
        self._packet_bytes: int | None = None  # the size of that packet, once it is known
        self._is_damaged = False  # its length field is wrong, which must not show
        self._is_discarding = False  # it was damaged, and what follows is read to hide its length

    def feed(self, data: bytes) -> None:
        """Add bytes that have arrived. The caller has taken all complete packets before."""
        self._begun += self._arrived
        self._arrived = memoryview(data)

    def version_line(self) -> bytes | None:
        """The client's first line without its end; None until it is complete.

        Conch counts the packets behind the line against its limit, and accepts other lines before
        it, which only a server may send (`SSHTransportBase.dataReceived`).

        :raises NoClient: the line is too long, or of another protocol.
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
        """The next payload, decrypted and verified; None until it is complete.

        Conch stops reading after a packet with bad padding (`SSHTransportBase.getPacket`).

        :param opener: decrypts and verifies.
        :param sequence: the packet's sequence number.
        :raises DamagedPacket: the packet was changed on its way.
        :raises MalformedPacket: its length or its padding is not allowed.
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
        """Open the packet at the beginning of `_arrived`, if it is complete."""
        arrived = self._arrived
        packet_bytes = self._length(arrived, opener, sequence)
        if packet_bytes is None or len(arrived) < packet_bytes:
            self._begun += arrived
            self._arrived = _NOTHING
            return None
        self._arrived = arrived[packet_bytes:]
        packet = arrived[:packet_bytes]
        if opener.hides_length:
            return self._open_hidden(packet, opener, sequence)
        return opener.open(packet, sequence)

    def _open_begun(self, opener: Opener, sequence: int) -> bytes | None:
        """Complete the packet that `_begun` has the beginning of, and open it."""
        self._complete(FIRST_BYTES)
        # The view is released at once: while it exists, the buffer cannot grow.
        with memoryview(self._begun) as begun:
            packet_bytes = self._length(begun, opener, sequence)
        if packet_bytes is None:
            return None
        self._complete(packet_bytes)
        if len(self._begun) < packet_bytes:
            return None
        packet, self._begun = memoryview(self._begun), bytearray()
        if opener.hides_length:
            return self._open_hidden(packet, opener, sequence)
        return opener.open(packet, sequence)

    def _open_hidden(self, packet: memoryview, opener: Opener, sequence: int) -> bytes | None:
        """Open a complete packet whose length field no reply may give away.

        :returns: its clear text; None if it is damaged, and more has to be read to hide that.
        :raises DamagedPacket: it was damaged, and as much was read as the largest packet has.
        """
        if self._is_discarding:
            opener.discard(packet)
            raise DamagedPacket("bad MAC")
        with suppress(DamagedPacket):
            body = opener.open(packet, sequence)
            if not self._is_damaged:
                return body
        self._is_discarding = True
        self._packet_bytes = self._largest_packet_bytes(opener) - len(packet)
        return self._open_begun(opener, sequence)

    def _complete(self, size_bytes: int) -> None:
        """Move bytes from `_arrived` to `_begun` until that has `size_bytes`, if there are
        enough."""
        missing_bytes = max(0, size_bytes - len(self._begun))
        self._begun += self._arrived[:missing_bytes]
        self._arrived = self._arrived[missing_bytes:] or _NOTHING  # frees what an empty view holds

    def _length(self, packet: memoryview, opener: Opener, sequence: int) -> int | None:
        """The packet's size on the wire; None until its length field is there.

        The opener is asked once: to decrypt the length field again would give another result.
        """
        if self._packet_bytes is None:
            length = opener.length(packet, sequence)
            if length is None:
                return None
            padded_bytes = length + 4 if opener.length_is_padded else length
            if not 5 <= length <= self.largest_bytes or padded_bytes % opener.block_bytes:
                if not opener.hides_length:
                    raise MalformedPacket("bad packet length")
                self._is_damaged = True
                self._packet_bytes = self._largest_packet_bytes(opener)
            else:
                self._packet_bytes = 4 + length + opener.tail_bytes
        return self._packet_bytes

    def _largest_packet_bytes(self, opener: Opener) -> int:
        """The largest packet on the wire, where the length field is padded, too."""
        largest_bytes = 4 + self.largest_bytes
        return largest_bytes - largest_bytes % opener.block_bytes + opener.tail_bytes
