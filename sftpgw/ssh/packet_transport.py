"""The packets of one SSH connection: those that arrive are dispatched, others are sealed and sent.

Knows: in which order packets are read, dispatched and sent, and that they wait for their turn.
Must not know: how keys are exchanged, when a connection begins or ends, users, or channels'
contents.

Takes the place of the reading and writing half of Conch's `SSHTransportBase`, which copies all that
has arrived for every packet (`dataReceived`, `getPacket`), goes on to dispatch after a disconnect,
and accepts any message at any time. What may be sent when is in `message_gate`, how packets are cut
in `packet_reader`, how they are protected in `packet_cipher`, and how they wait for TCP in
`packet_writer`.
"""

# mypy: disallow-untyped-calls=False
# (what is inherited from Conch has no types)

from __future__ import annotations

import struct
from collections.abc import Iterable
from typing import Any

from twisted.conch.ssh.connection import MSG_CHANNEL_DATA
from twisted.conch.ssh.transport import (
    DISCONNECT_BY_APPLICATION,
    DISCONNECT_MAC_ERROR,
    MSG_UNIMPLEMENTED,
    SSHServerTransport,
)
from twisted.internet.interfaces import ITCPTransport

from sftpgw.aio.work.socket_reads import SocketReads
from sftpgw.model.events import EventSink
from sftpgw.model.events.session_events import ClientVersion
from sftpgw.model.units import KIB, MIB, Body
from sftpgw.ssh.conch_logger import quiet_logger
from sftpgw.ssh.context import ConnectionContext
from sftpgw.ssh.fields import MalformedPacket, printable
from sftpgw.ssh.message_gate import MessageGate
from sftpgw.ssh.packet_cipher import DamagedPacket, PacketCiphers
from sftpgw.ssh.packet_reader import NoClient, PacketReader
from sftpgw.ssh.packet_writer import SEQUENCE_MASK, PacketWriter
from sftpgw.ssh.rekey import KeyUsage

RECEIVED_BYTES = 352 * KIB
"""How much is read from TCP at once: all that fits into the smallest window (`windows`), with what
packets add. So one read takes what came since the last turn. Twisted reads 64 KiB."""

PACKETS_PER_LOOK = 12
"""After so many packets a turn looks whether it is over. A full read of an upload has 11 packets,
one of a flood has 4,000. A small one, which may be a request that costs more, counts as
`SMALL_PACKET`."""

SMALL_PACKET = 6
SMALL_PACKET_BYTES = 4 * KIB

MAX_BEFORE_LOGIN_BYTES = 1 * MIB
"""How much a client may send before it has logged in: dozens of keys, of 35 KiB each. Who is not
known yet must not keep a core busy, which IGNORE messages did that need no keys."""

PACKET_COST_BYTES = 512
"""What each packet counts beside its bytes: about 2,000 empty ones make the most."""

READ_COST_BYTES = 64
"""What each read from TCP counts, which may bring a single byte."""

_FIRST_SERVICE_MESSAGE = 50
"""RFC 4251, section 7: lower numbers belong to the transport, higher ones to its service."""


class PacketTransport(SSHServerTransport):
    """Reads, dispatches and writes packets. A subclass begins and ends the connection.

    :param context: what the connection shares with others.
    :ivar context: the same.
    :ivar heard_at_seconds: when the client has last sent a byte, or made room in a full TCP buffer.
    :ivar has_spoken: whether the client has sent a byte.
    :ivar has_ended: whether either side has disconnected; then nothing is dispatched or sent.
    :ivar is_logged_in: whether the service is ``ssh-connection``.
    """

    _log = quiet_logger("sftpgw.ssh")
    ourVersionString = b"SSH-2.0-sftpgw"  # without a version number, which only helps attackers

    factory: Any  # Conch's name for the context
    transport: Any
    service: Any  # after login, a `GatewayConnection`
    currentEncryptions: Any  # a `PacketCiphers`, where Conch has its `SSHCiphers`
    packet_writer: PacketWriter
    events: EventSink  # made by the subclass, with the session's label
    session: str
    _reader: PacketReader
    _reads: SocketReads
    _keys: KeyUsage

    def __init__(self, context: ConnectionContext) -> None:
        self.context = self.factory = context
        self.heard_at_seconds = 0.0
        self.has_spoken = False
        self.has_ended = False
        self.is_logged_in = False
        self._gate = MessageGate()
        self._turns = context.work.turns(
            ("", "", "packets"),
            "packets",
            self._work,
            on_failure=lambda: self._cut_off("internal error"),
        )
        self._arrived = b""  # what the reader has not got yet
        self._is_drained = True  # the reader has no complete packet
        self._before_login_bytes = 0

    def connectionMade(self) -> None:
        """Get ready to read and write. Replaces Conch's, which also sends the first packets."""
        settings, now_seconds = self.context.settings, self.context.clock.seconds()
        self.heard_at_seconds = now_seconds
        self._reader = PacketReader(settings.packet_before_login_bytes)
        self._keys = KeyUsage(settings.rekey_bytes, settings.rekey_interval_seconds, now_seconds)
        self.currentEncryptions = PacketCiphers(b"none", b"none", b"none", b"none")
        self.packet_writer = PacketWriter(
            self.transport,
            self.currentEncryptions.sealer,
            self._keys,
            on_room=self._resume_channels,
            on_taken=self._on_taken,
            on_overflow=self._cut_off,
        )
        self.packet_writer.start()
        self.transport.bufferSize = RECEIVED_BYTES
        self._reads = SocketReads(self.transport, self._turns, self._may_read)
        if ITCPTransport.providedBy(self.transport):
            self.transport.setTcpNoDelay(True)  # without it small replies wait 40 ms for an ACK
            self.transport.setTcpKeepAlive(True)

    # Bytes in.

    def dataReceived(self, data: bytes) -> None:
        """Dispatch the packets that have arrived."""
        if not self.has_spoken:
            self.has_spoken = True
            self._on_first_bytes()
        if self.has_ended:
            return
        self.heard_at_seconds = self.context.clock.seconds()
        if not self.is_logged_in:
            self._before_login_bytes += READ_COST_BYTES
        self._arrived = self._arrived + data if self._arrived else data
        self._reads.has_more = len(data) >= RECEIVED_BYTES
        self._turns.ask()
        if self._turns.is_waiting and not self.has_ended:
            self._reads.hold()

    def _work(self) -> None:
        """It is this connection's turn: take packets until it is over, or all are taken.

        What is sent meanwhile leaves together, however often the socket is read.
        """
        try:
            with self.packet_writer.cork():
                self._take_all()
        except DamagedPacket:
            self.sendDisconnect(DISCONNECT_MAC_ERROR, "a packet was damaged on its way")
        except MalformedPacket as problem:
            self.refuse(str(problem))
        except Exception:
            self._log.failure(
                "session {session}: a packet could not be handled", session=self.session
            )
            self.sendDisconnect(DISCONNECT_BY_APPLICATION, "internal error")

    def _take_all(self) -> None:
        if not self._is_drained:
            self._take_packets()
        if self._is_drained and self._arrived and not self.has_ended:
            data, self._arrived = self._arrived, b""
            self._reader.feed(data)
            self._take_packets()
        if self._reads.is_held:
            self._reads.go_on()

    def _may_read(self) -> bool:
        return not (self.has_ended or self._turns.is_waiting)

    def _take_packets(self) -> None:
        if self.gotVersion or self._take_version():
            self._dispatch_packets()

    def _take_version(self) -> bool:
        try:
            line = self._reader.version_line()
        except NoClient:
            self._hang_up("no SSH client")
            return False
        if line is None:
            return False
        self.otherVersionString = line
        self.gotVersion = True
        self.events.emit(ClientVersion(version=printable(line)))
        return True

    def _dispatch_packets(self) -> None:
        """Dispatch complete packets until the turn is over; later ones wait for the next turn."""
        unwatched = PACKETS_PER_LOOK
        self._is_drained = False
        while not self.has_ended:
            payload = self.getPacket()
            if payload is None:
                self._is_drained = True
                break
            if payload[0] == MSG_CHANNEL_DATA and self.is_logged_in:
                self._gate.check(MSG_CHANNEL_DATA)
                self.service.ssh_CHANNEL_DATA(payload[1:])
            else:
                self.dispatchMessage(payload[0], bytes(payload[1:]))
            unwatched -= 1 if len(payload) > SMALL_PACKET_BYTES else SMALL_PACKET
            if unwatched <= 0:
                if not self._turns.has_time():
                    self._turns.wait()
                    break
                unwatched = PACKETS_PER_LOOK
        if self._keys.are_used_up:
            self.rekey()

    def getPacket(self) -> memoryview | None:
        """The next payload; None until it is complete."""
        opener = self.currentEncryptions.opener
        payload = self._reader.next_payload(opener, self.incomingPacketSequence)
        if payload is not None:
            self._keys.used(len(payload))
            self.incomingPacketSequence = (self.incomingPacketSequence + 1) & SEQUENCE_MASK
        return payload

    def dispatchMessage(self, messageNum: int, payload: bytes) -> None:
        """Pass a message to this transport or its service.

        :raises MalformedPacket: the client may not send it now.
        """
        self._gate.check(messageNum)
        if not self.is_logged_in:
            self._count_before_login(len(payload))
        if messageNum < _FIRST_SERVICE_MESSAGE:
            super().dispatchMessage(messageNum, payload)
        elif self.service is not None:
            self.service.packetReceived(messageNum, payload)
        else:
            self.sendUnimplemented()

    def _count_before_login(self, size_bytes: int) -> None:
        """:raises MalformedPacket: no login needs so much"""
        self._before_login_bytes += PACKET_COST_BYTES + size_bytes
        if self._before_login_bytes > MAX_BEFORE_LOGIN_BYTES:
            raise MalformedPacket("too much before the login")

    # Packets out.

    @property
    def can_send(self) -> bool:
        """Whether channel data sent now goes to TCP, instead of waiting in memory."""
        return not self.has_ended and self.packet_writer.has_room

    def sendPacket(self, messageType: int, payload: bytes) -> None:
        """Seal a message and send it, or hold it back until a key exchange is over.

        Nothing is sent after a disconnect.
        """
        if not self.has_ended:
            self.packet_writer.send(messageType, ((payload,),))

    def send_payloads(self, messageType: int, payloads: Iterable[Body]) -> None:
        """Send several messages of one kind.

        :param messageType: the number of the messages.
        :param payloads: what follows the number of each message, in fragments.
        """
        if not self.has_ended:
            self.packet_writer.send(messageType, payloads)

    def sendUnimplemented(self) -> None:
        """Name the rejected packet (RFC 4253, section 11.4); Conch names the one behind it."""
        rejected = (self.incomingPacketSequence - 1) & SEQUENCE_MASK
        self.sendPacket(MSG_UNIMPLEMENTED, struct.pack(">L", rejected))

    def _on_taken(self) -> None:
        self.heard_at_seconds = self.context.clock.seconds()

    def _resume_channels(self) -> None:
        if self.can_send and self.is_logged_in and self.service is not None:
            self.service.transport_writable()

    # What a subclass decides.

    @property
    def peer_host(self) -> str | None:
        """The client's address, without its port; None if it has none."""
        raise NotImplementedError

    def _on_first_bytes(self) -> None:
        """The client has sent its first byte."""
        raise NotImplementedError

    def rekey(self) -> None:
        """Begin a key exchange, since the keys have protected as much as they may."""
        raise NotImplementedError

    def refuse(self, reason: str) -> None:
        """End the connection: the client has broken the protocol."""
        raise NotImplementedError

    def _hang_up(self, reason: str) -> None:
        """End the connection, without a message to the client."""
        raise NotImplementedError

    def _cut_off(self, reason: str) -> None:
        """End the connection at once: the client does not read, or the gateway is broken."""
        raise NotImplementedError
