"""What we say on one connection: sealed, numbered, in order, and never too much of it.

Knows: packets on their way out, a key exchange that makes them wait, and whether TCP is full.
Must not know: what a message says, or to which channel it belongs.

Rules:

- TCP is full when Twisted says so. Channels then keep their data to themselves: see
  `has_room`. So one packet of channel data, at most, is more than TCP should hold.
- All else that we say goes out at once. What leaves while TCP is full already is counted, and a
  client that asks for more than `UNREAD_CONTROL_BYTES` of it without reading is cut off.
- From our KEXINIT to the client's NEWKEYS, only the key exchange itself and remarks may be sent
  (RFC 4253, section 7.1). All else waits, in order and within the same bound; Conch's list has
  none (641).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from twisted.conch.ssh.connection import MSG_CHANNEL_DATA
from twisted.conch.ssh.transport import (
    MSG_EXT_INFO,
    MSG_KEXINIT,
    MSG_SERVICE_ACCEPT,
    MSG_SERVICE_REQUEST,
)
from twisted.internet.interfaces import IPushProducer
from zope.interface import implementer

from sftpgw.ssh.protection import Sealer
from sftpgw.ssh.rekeying import KeysInUse
from sftpgw.values import KIB, Body

PACKET_OVERHEAD_BYTES = 64
"""About what header, padding and MAC add to a payload."""

UNREAD_CONTROL_BYTES = 256 * KIB
"""What we say, channel data apart, to a client that has stopped reading, or must wait for
during a key exchange, before we hang up."""

SEQUENCE_MASK = 0xFFFFFFFF
"""Sequence numbers wrap (RFC 4253, section 6.4); Conch's do not (664)."""

_BELONG_TO_EXCHANGE = frozenset(range(1, 50)) - {
    MSG_SERVICE_REQUEST,
    MSG_SERVICE_ACCEPT,
    MSG_EXT_INFO,
    MSG_KEXINIT,
}


@implementer(IPushProducer)
class Sending:
    """The way out of one connection. To TCP, it is the producer of all that is sent.

    :ivar sealer: seals what is sent; exchanged with each key exchange.
    :ivar sequence: the next packet's sequence number.
    :param tcp: an `ITransport`.
    :param room_again: called when TCP has drained after it was full.
    :param cut_off: called with the reason when the client takes too little of what it asks for.
    """

    def __init__(
        self,
        tcp: Any,
        sealer: Sealer,
        keys: KeysInUse,
        room_again: Callable[[], None],
        cut_off: Callable[[str], None],
    ) -> None:
        self.sealer = sealer
        self.sequence = 0
        self._tcp = tcp
        self._keys = keys
        self._room_again = room_again
        self._cut_off = cut_off
        self._tcp_full = False
        self._exchanging = False
        self._unread_bytes = 0
        self._held_back: list[tuple[int, bytes]] = []
        self._held_back_bytes = 0

    @property
    def has_room(self) -> bool:
        """Whether channel data sent now would leave, rather than wait in memory."""
        return not (self._tcp_full or self._exchanging)

    def send(self, message: int, payloads: Iterable[Body]) -> None:
        """Seal messages of one kind and send them, or keep them until they may go.

        :param payloads: of each message what follows its number, in pieces.
        """
        if self._exchanging and message not in _BELONG_TO_EXCHANGE:
            for pieces in payloads:
                self._hold_back(message, b"".join(pieces))
            return
        # Before it is written: the packet that fills TCP is what TCP still takes.
        was_full = self._tcp_full
        sealed = self._sealed(bytes((message,)), payloads)
        self._tcp.writeSequence(sealed)
        size_bytes = sum(map(len, sealed))
        self._keys.used(size_bytes)
        if was_full and message != MSG_CHANNEL_DATA:
            self._count_unread(size_bytes)

    def _sealed(self, number: bytes, payloads: Iterable[Body]) -> list[bytes]:
        """What goes over the wire, in order."""
        sealed: list[bytes] = []
        seal, sequence = self.sealer.seal, self.sequence
        for pieces in payloads:
            sealed += seal((number, *pieces), sequence)
            sequence = (sequence + 1) & SEQUENCE_MASK
        self.sequence = sequence
        return sealed

    def _count_unread(self, size_bytes: int) -> None:
        self._unread_bytes += size_bytes
        if self._unread_bytes > UNREAD_CONTROL_BYTES:
            self._cut_off("the client asks but does not read")

    # Key exchanges.

    def exchange_began(self) -> None:
        """We have sent KEXINIT."""
        self._exchanging = True

    def exchange_ended(self) -> list[tuple[int, bytes]]:
        """The client has sent NEWKEYS: what was held back since, to be sent now."""
        self._exchanging = False
        held_back, self._held_back = self._held_back, []
        self._held_back_bytes = 0
        return held_back

    def _hold_back(self, message: int, payload: bytes) -> None:
        self._held_back.append((message, payload))
        self._held_back_bytes += len(payload) + PACKET_OVERHEAD_BYTES
        if self._held_back_bytes > UNREAD_CONTROL_BYTES:
            self._cut_off("the client asks too much during a key exchange")

    # As TCP's producer.

    def pauseProducing(self) -> None:
        """TCP holds as much as it should. Twisted says so in the middle of a write."""
        self._tcp_full = True

    def resumeProducing(self) -> None:
        """TCP has drained."""
        self._tcp_full = False
        self._unread_bytes = 0
        self._room_again()

    def stopProducing(self) -> None:
        """TCP is gone; the transport hears of it by `connectionLost`."""
