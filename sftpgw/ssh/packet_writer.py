"""The packets that leave on one connection: sealed, numbered, in order, and bounded in number.

Knows: packets on their way out, a key exchange that holds them back, and whether TCP is full.
Must not know: what a message says, or to which channel it belongs.

Rules:

- Packets go to the socket without a copy (`buffers.send_buffer`), at once, or at the end of a
  `cork`. What the socket does not take waits here; until that is sent, TCP counts as full.
- Channels send no data while `has_room` is False. Therefore at most one quantum of one channel
  waits beyond `WAITING_BYTES`.
- All other messages are sent without asking. Those that come while TCP is full are counted, and a
  client that causes more than `UNREAD_CONTROL_BYTES` of them without reading is cut off.
- From our KEXINIT to the client's NEWKEYS, only messages of the key exchange and of the transport
  may be sent (RFC 4253, section 7.1), and EXT_INFO right behind our NEWKEYS (RFC 8308, section
  2.4). All others wait, in order and within the same bound; Conch's queue has none
  (`SSHTransportBase._blockedByKeyExchange`).
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

from sftpgw.buffers.send_buffer import ITERATION_BYTES, SendBuffer, sink_of
from sftpgw.model.units import KIB, Body, Buffer
from sftpgw.ssh.packet_cipher import Sealer
from sftpgw.ssh.rekey import KeyUsage

PACKET_OVERHEAD_BYTES = 64
"""What header, padding and MAC add to a payload, approximately."""

WAITING_BYTES = 256 * KIB
"""How much may wait for TCP before channels have to wait as well."""

UNREAD_CONTROL_BYTES = 256 * KIB
"""How many bytes of messages other than channel data may wait, for a client that has stopped
reading or during a key exchange, before it is cut off."""

SEQUENCE_MASK = 0xFFFFFFFF
"""Sequence numbers wrap (RFC 4253, section 6.4); Conch's do not (`SSHTransportBase.sendPacket`)."""

_BELONG_TO_EXCHANGE = frozenset(range(1, 50)) - {
    MSG_SERVICE_REQUEST,
    MSG_SERVICE_ACCEPT,
    MSG_KEXINIT,
}


@implementer(IPullProducer, IPushProducer)
class PacketWriter:
    """Seals and sends the packets of one connection, as the producer that TCP asks for more.

    Nothing else may write to the transport, and `end` comes before the transport is closed.

    :ivar sealer: protects what is sent; each key exchange replaces it.
    :ivar sequence: the sequence number of the next packet.
    :param tcp: an `ITransport`, as a rule with a socket. One without, such as TLS, buffers what it
        is given, and pauses its producer when that is too much.
    :param sealer: the first `Sealer`.
    :param keys: counts the bytes that the keys have protected.
    :param on_room: called whenever there may be room again.
    :param on_taken: called when TCP, which was full, has taken all.
    :param on_overflow: called with a reason when too much waits for the client.
    :ivar is_holding: whether what is written now leaves at the end of `cork`.
    """

    def __init__(
        self,
        tcp: Any,
        sealer: Sealer,
        keys: KeyUsage,
        *,
        on_room: Callable[[], None],
        on_taken: Callable[[], None],
        on_overflow: Callable[[str], None],
    ) -> None:
        self.sealer = sealer
        self.sequence = 0
        self._tcp = tcp
        self._sink = sink_of(tcp)
        self._waiting = SendBuffer()
        self.is_holding = False
        self._releases: dict[Callable[[], None], None] = {}
        self._sent_bytes = 0
        self._keys = keys
        self._on_room = on_room
        self._on_taken = on_taken
        self._on_overflow = on_overflow
        self._is_full = False
        self._exchanging = False
        self._unread_bytes = 0
        self._held_back: list[tuple[int, bytes]] = []
        self._held_back_bytes = 0

    def start(self) -> None:
        """Register as TCP's producer."""
        # A transport without a socket would call a pull producer all the time.
        self._tcp.registerProducer(self, self._sink is None)

    @property
    def has_room(self) -> bool:
        """Whether channel data sent now goes to TCP, instead of waiting in memory."""
        is_full = self._is_full or self._waiting.size_bytes >= WAITING_BYTES
        return not (is_full or self._exchanging)

    @property
    def waiting_bytes(self) -> int:
        """How many bytes TCP has not taken yet."""
        return self._waiting.size_bytes

    @contextmanager
    def cork(self) -> Iterator[None]:
        """Send what is written inside of the block together, at its end: packets and channel data.

        Small replies to many requests become one packet.
        """
        if self.is_holding:
            yield
            return
        self.is_holding = True
        try:
            yield
        finally:
            try:
                self.release()
                if not self._is_full:
                    self._on_room()
            finally:
                self.is_holding = False
                self._let_go()

    def before_release(self, call: Callable[[], None]) -> bool:
        """Call `call` once before the end of `cork`: what it sends leaves with the rest.

        :returns: False outside of `cork`. Then it is not called.
        """
        if self.is_holding:
            self._releases[call] = None
        return self.is_holding

    def release(self) -> None:
        """Call what wanted to be called before the end."""
        while self._releases:
            calls, self._releases = self._releases, {}
            for call in calls:
                call()

    def _let_go(self) -> None:
        """Send what was held. Channels that had no room beside it have some then."""
        if self._is_full:
            return
        self._sent_bytes = 0
        if self._waiting.size_bytes >= WAITING_BYTES:
            self._go_on()
            return
        self._unread_bytes = 0
        if self._waiting.size_bytes:
            self._send_on()

    def send_line(self, line: bytes) -> None:
        """Send a line that is no packet: the version (RFC 4253, section 4.2)."""
        self._put((line,), len(line))

    def send(self, message: int, payloads: Iterable[Body]) -> None:
        """Seal messages of one kind and send them, or hold them back during a key exchange.

        :param message: their number.
        :param payloads: what follows the number of each message, in fragments.
        """
        if self._exchanging and message not in _BELONG_TO_EXCHANGE:
            for fragments in payloads:
                self._hold_back(message, b"".join(fragments))
            return
        # Asked before sending: the packet that fills TCP does not count as unread.
        was_full = self._is_full
        sealed = self._sealed(bytes((message,)), payloads)
        size_bytes = sum(map(len, sealed))
        self._put(sealed, size_bytes)
        self._keys.used(size_bytes)
        if was_full and message != MSG_CHANNEL_DATA:
            self._count_unread(size_bytes)

    def _sealed(self, number: bytes, payloads: Iterable[Body]) -> list[bytes]:
        """Seal messages; returns what goes over the wire, in order."""
        sealed: list[bytes] = []
        seal, sequence = self.sealer.seal, self.sequence
        for fragments in payloads:
            sealed += seal((number, *fragments), sequence)
            sequence = (sequence + 1) & SEQUENCE_MASK
        self.sequence = sequence
        return sealed

    def _count_unread(self, size_bytes: int) -> None:
        self._unread_bytes += size_bytes
        if self._unread_bytes > UNREAD_CONTROL_BYTES:
            self._on_overflow("the client sends requests but does not read the replies")

    # Key exchanges.

    def exchange_began(self) -> None:
        """Hold other messages back: we have sent KEXINIT."""
        self._exchanging = True

    def exchange_ended(self) -> list[tuple[int, bytes]]:
        """Hold nothing back any more: the client has sent NEWKEYS.

        :returns: the messages that were held back, for the caller to send.
        """
        self._exchanging = False
        held_back, self._held_back = self._held_back, []
        self._held_back_bytes = 0
        return held_back

    def _hold_back(self, message: int, payload: bytes) -> None:
        self._held_back.append((message, payload))
        self._held_back_bytes += len(payload) + PACKET_OVERHEAD_BYTES
        if self._held_back_bytes > UNREAD_CONTROL_BYTES:
            self._on_overflow("the client sends too many requests during a key exchange")

    # TCP.

    def _put(self, buffers: Iterable[Buffer], size_bytes: int) -> None:
        self._waiting.extend(buffers, size_bytes)
        is_held = self.is_holding and self._waiting.size_bytes < WAITING_BYTES
        if not (self._is_full or is_held):
            self._send_on()

    def _send_on(self) -> None:
        """Give TCP what waits. TCP is full if it does not take all.

        In one reactor iteration the socket gets a limited number of bytes, so that other
        connections are served.
        """
        if self._sink is None:
            self._tcp.write(b"".join(self._waiting.take_all()))
            return
        if self._sent_bytes < ITERATION_BYTES:
            self._sent_bytes += self._waiting.send(self._sink, ITERATION_BYTES)
        self._is_full = self._waiting.size_bytes > 0
        if self._is_full:
            self._tcp.startWriting()

    def _go_on(self) -> None:
        """Give TCP what waits, and resume the channels if there is room."""
        if self._sends_all():
            self._on_room()

    def _sends_all(self) -> bool:
        """Give TCP what waits; whether it has taken all."""
        if self._waiting.size_bytes:
            self._send_on()
        if not self._is_full:
            self._unread_bytes = 0
        return not self._is_full

    def resumeProducing(self) -> None:
        """Send more: the socket, or the transport in its place, takes it."""
        self._is_full, self._sent_bytes = False, 0
        if self._sends_all():
            self._on_taken()
            self._on_room()

    def pauseProducing(self) -> None:
        """Count TCP as full. A transport without a socket calls this during a write."""
        self._is_full = True

    def stopProducing(self) -> None:
        """Drop what waits: TCP is gone. The transport learns of it by `connectionLost`."""
        self._waiting.clear()

    def end(self) -> None:
        """Leave what waits to TCP, which closes the connection behind it. Nothing more is sent."""
        self._tcp.unregisterProducer()
        self._tcp.write(b"".join(self._waiting.take_all()))

    def close(self) -> None:
        """The connection is gone: what led back to it goes, so that no cycle is left."""
        self._waiting.clear()
        self._on_room = self._on_taken = _do_nothing
        self._releases.clear()
        self._on_overflow = _ignore


def _do_nothing() -> None:
    """What follows when the connection is gone."""


def _ignore(reason: str) -> None:
    """A connection that is gone is not cut off."""
