"""What we say on one connection: sealed, numbered, in order, and never too much of it.

Knows: packets on their way out, a key exchange that makes them wait, and whether TCP is full.
Must not know: what a message says, or to which channel it belongs.

Rules:

- What we say goes to the socket as it is (`outflow`), at once, or at the end of a `cork`. What
  the socket does not take waits here, and until that is gone TCP is full: see `has_room`.
- Channels keep their data to themselves while TCP is full, or as much waits as TCP should hold.
  So one turn of one channel, at most, is more than that.
- All else that we say does not ask. What comes while TCP is full already is counted, and a client
  that asks for more than `UNREAD_CONTROL_BYTES` of it without reading is cut off.
- From our KEXINIT to the client's NEWKEYS, only the key exchange itself and remarks may be sent
  (RFC 4253, section 7.1), and EXT_INFO right behind our NEWKEYS (RFC 8308, section 2.4). All else
  waits, in order and within the same bound; Conch's list has none (641).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from twisted.conch.ssh.connection import MSG_CHANNEL_DATA
from twisted.conch.ssh.transport import (
    MSG_KEXINIT,
    MSG_SERVICE_ACCEPT,
    MSG_SERVICE_REQUEST,
)
from twisted.internet.interfaces import IPullProducer, IPushProducer
from zope.interface import implementer

from sftpgw.buffers.send_buffer import TURN_BYTES, SendBuffer, sink_of
from sftpgw.model.units import KIB, Body, Buffer
from sftpgw.ssh.packet_cipher import Sealer
from sftpgw.ssh.rekey import KeyUsage

PACKET_OVERHEAD_BYTES = 64
"""About what header, padding and MAC add to a payload."""

WAITING_BYTES = 256 * KIB
"""What may wait for TCP: see `has_room`."""

UNREAD_CONTROL_BYTES = 256 * KIB
"""What we say, channel data apart, to a client that has stopped reading, or must wait for
during a key exchange, before we hang up."""

SEQUENCE_MASK = 0xFFFFFFFF
"""Sequence numbers wrap (RFC 4253, section 6.4); Conch's do not (664)."""

_BELONG_TO_EXCHANGE = frozenset(range(1, 50)) - {
    MSG_SERVICE_REQUEST,
    MSG_SERVICE_ACCEPT,
    MSG_KEXINIT,
}


@implementer(IPullProducer, IPushProducer)
class PacketWriter:
    """The way out of one connection. To TCP, it is the producer of all that is sent: nobody else
    may write, and `end` comes before the transport is told to close.

    :ivar sealer: seals what is sent; exchanged with each key exchange.
    :ivar sequence: the next packet's sequence number.
    :param tcp: an `ITransport`, as a rule with a socket below it. One that has none, such as TLS,
        keeps what it is given, and says itself when that is too much.
    :param room_again: called whenever there may be room again.
    :param cut_off: called with the reason when the client takes too little of what it asks for.
    """

    def __init__(
        self,
        tcp: Any,
        sealer: Sealer,
        keys: KeyUsage,
        room_again: Callable[[], None],
        cut_off: Callable[[str], None],
    ) -> None:
        self.sealer = sealer
        self.sequence = 0
        self._tcp = tcp
        self._sink = sink_of(tcp)
        self._waiting = SendBuffer()
        self._is_holding = False
        self._sent_bytes = 0
        self._keys = keys
        self._room_again = room_again
        self._cut_off = cut_off
        self._is_full = False
        self._exchanging = False
        self._unread_bytes = 0
        self._held_back: list[tuple[int, bytes]] = []
        self._held_back_bytes = 0

    def start(self) -> None:
        """Begin to hear when TCP takes more."""
        # A transport without a socket would ask a pull producer all the time.
        self._tcp.registerProducer(self, self._sink is None)

    @property
    def has_room(self) -> bool:
        """Whether channel data sent now would leave, rather than wait in memory."""
        is_full = self._is_full or self._waiting.size_bytes >= WAITING_BYTES
        return not (is_full or self._exchanging)

    @property
    def waiting_bytes(self) -> int:
        """What TCP has not taken yet."""
        return self._waiting.size_bytes

    @contextmanager
    def cork(self) -> Iterator[None]:
        """What is sent in here leaves together."""
        if self._is_holding:
            yield
            return
        self._is_holding = True
        try:
            yield
        finally:
            self._is_holding = False
            if not self._is_full:
                self._sent_bytes = 0
                self._go_on()

    def send_line(self, line: bytes) -> None:
        """Send something that is no packet."""
        self._put((line,), len(line))

    def send(self, message: int, payloads: Iterable[Body]) -> None:
        """Seal messages of one kind and send them, or keep them until they may go.

        :param payloads: of each message what follows its number, in pieces.
        """
        if self._exchanging and message not in _BELONG_TO_EXCHANGE:
            for pieces in payloads:
                self._hold_back(message, b"".join(pieces))
            return
        # Before it is sent: the packet that fills TCP is what TCP still takes.
        was_full = self._is_full
        sealed = self._sealed(bytes((message,)), payloads)
        size_bytes = sum(map(len, sealed))
        self._put(sealed, size_bytes)
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

    # TCP.

    def _put(self, buffers: Iterable[Buffer], size_bytes: int) -> None:
        self._waiting.extend(buffers, size_bytes)
        is_held = self._is_holding and self._waiting.size_bytes < WAITING_BYTES
        if not (self._is_full or is_held):
            self._send_on()

    def _send_on(self) -> None:
        """Give TCP what waits; it is full if it does not take all, or has had its turn."""
        if self._sink is None:
            self._tcp.write(b"".join(self._waiting.take_all()))
            return
        if self._sent_bytes < TURN_BYTES:
            self._sent_bytes += self._waiting.send(self._sink, TURN_BYTES)
        self._is_full = self._waiting.size_bytes > 0
        if self._is_full:
            self._tcp.startWriting()

    def _go_on(self) -> None:
        """Give TCP what waits, and let those go on who found no room."""
        if self._waiting.size_bytes:
            self._send_on()
        if not self._is_full:
            self._unread_bytes = 0
            self._room_again()

    def resumeProducing(self) -> None:
        """The socket, or what there is in its place, takes more."""
        self._is_full, self._sent_bytes = False, 0
        self._go_on()

    def pauseProducing(self) -> None:
        """What there is in a socket's place has enough. It says so in the middle of a write."""
        self._is_full = True

    def stopProducing(self) -> None:
        """TCP is gone; the transport hears of it by `connectionLost`."""
        self._waiting.clear()

    def end(self) -> None:
        """Nothing more will be sent: what waits is left to TCP, which closes behind it."""
        self._tcp.unregisterProducer()
        self._tcp.write(b"".join(self._waiting.take_all()))
