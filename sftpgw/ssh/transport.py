"""One SSH connection: packets in, packets out, and when it ends.

Knows: who hears which message, the limits before and after login, and the session's
label. What may be said when is in `phases`, what a packet is in `packets`, how it is
encrypted in `protection`, how keys are exchanged in `exchanging`, and what waits on its way
out in `packet_writer`.
Must not know: users, or channels' contents.

Rules:

- ssh-userauth is requested once. Conch hands it out again and again (1823).
- Whoever is not logged in `login_grace_seconds` after accept is cut off.
- After a disconnect, in either direction, nothing is dispatched or sent. Ten
  seconds later the socket is aborted: Conch waits for a flush that a client
  who does not read never grants.
- A session is told of when its first byte has come: what only connects is counted by the factory.
- A client who breaks the protocol is told so, and becomes one event. Only an
  error of our own is logged with a traceback, once: then, too, we hang up.
"""

# mypy: disallow-untyped-calls=False
# (what is inherited from Conch has no types)

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping
from typing import Any

from twisted.conch.ssh.common import NS
from twisted.conch.ssh.connection import MSG_CHANNEL_DATA
from twisted.conch.ssh.transport import (
    DISCONNECT_BY_APPLICATION,
    DISCONNECT_MAC_ERROR,
    DISCONNECT_PROTOCOL_ERROR,
    DISCONNECT_SERVICE_NOT_AVAILABLE,
    MSG_DISCONNECT,
    MSG_SERVICE_ACCEPT,
    MSG_UNIMPLEMENTED,
)
from twisted.internet.interfaces import ITCPTransport
from twisted.python.failure import Failure

from sftpgw.model.clock import DelayedCall
from sftpgw.model.events import EventSink
from sftpgw.model.units import KIB, Body
from sftpgw.ssh.admission import AdmissionTicket
from sftpgw.ssh.conch_logger import quiet_logger
from sftpgw.ssh.fields import MalformedPacket, PacketFields, printable
from sftpgw.ssh.keepalive import ClientAliveMonitor, MonitoredClient
from sftpgw.ssh.kex import KexTransport
from sftpgw.ssh.packet_cipher import DamagedPacket, PacketCiphers
from sftpgw.ssh.packet_reader import NoClient, PacketReader
from sftpgw.ssh.packet_writer import SEQUENCE_MASK, PacketWriter
from sftpgw.ssh.rekey import ExchangeLimit, KeyUsage

ABORT_AFTER_SECONDS = 10.0

RECEIVED_BYTES = 256 * KIB
"""What is taken from TCP at a time: each time costs a round of the reactor. Twisted has 64 KiB."""

PACKETS_PER_ITERATION = 256
"""So many packets of one connection are dispatched in one reactor iteration. `RECEIVED_BYTES` may
hold 4,000 small ones, each of them a request, and others wait meanwhile. One upload's hold 8."""


class GatewayTransport(KexTransport):
    """The server's end of one SSH connection."""

    _log = quiet_logger("sftpgw.ssh")
    ourVersionString = b"SSH-2.0-sftpgw"  # no version: it would only help attackers

    transport: Any
    events: EventSink
    ticket: AdmissionTicket
    avatar: Any
    heard_at_seconds = 0.0
    session = ""
    seen_as: Any = None
    via: Any = None
    is_balancer = False
    has_spoken = False
    _incoming: PacketReader

    def __init__(self) -> None:
        super().__init__()
        self._close_reason = ""
        self._grace: DelayedCall | None = None
        self._alive_monitor: ClientAliveMonitor | None = None
        self._abort: DelayedCall | None = None
        self._next_packets: DelayedCall | None = None
        self._arrived_meanwhile = bytearray()
        self._opened_at_seconds = 0.0

    # The connection begins.

    def connectionMade(self) -> None:
        clock, settings = self.factory.clock, self.factory.settings
        self.session = self.factory.new_label()
        self.events = self.factory.events.bind(
            session=self.session, peer=_address_text(self._peer())
        )
        now_seconds = self._opened_at_seconds = self.heard_at_seconds = clock.seconds()
        self._grace = clock.callLater(settings.login_grace_seconds, self._grace_expired)
        self._incoming = PacketReader(settings.packet_before_login_bytes)
        self._keys = KeyUsage(settings.rekey_bytes, settings.rekey_interval_seconds, now_seconds)
        self._exchange_limit = ExchangeLimit(
            clock,
            settings.key_exchange_timeout_seconds,
            lambda: self.heard_at_seconds,
            self._kex_expired,
        )
        self.factory.sessions.add(self)
        self.currentEncryptions = PacketCiphers(b"none", b"none", b"none", b"none")
        self.packet_writer = PacketWriter(
            self.transport,
            self.currentEncryptions.sealer,
            self._keys,
            self._room_again,
            self._cut_off,
        )
        self.packet_writer.start()
        self.transport.bufferSize = RECEIVED_BYTES
        if ITCPTransport.providedBy(self.transport):
            self.transport.setTcpNoDelay(True)  # or small answers wait 40 ms for an ACK
            self.transport.setTcpKeepAlive(True)
        with self.packet_writer.cork():
            self.packet_writer.send_line(self.ourVersionString + b"\r\n")
            self.sendKexInit()

    @property
    def peer_host(self) -> str | None:
        """The client's address, without its port; None if it has none."""
        host: str | None = getattr(self._peer(), "host", None)
        return host

    def _peer(self) -> Any:
        return self.seen_as or self.transport.getPeer()

    def _tell_opened(self) -> None:
        self.has_spoken = True
        more = {} if self.via is None else {"via": _address_text(self.via)}
        self.events.tell("session-opened", **more)

    def _grace_expired(self) -> None:
        self.sendDisconnect(DISCONNECT_BY_APPLICATION, "the time to log in is over")

    # Bytes in.

    def dataReceived(self, data: bytes) -> None:
        """Dispatch the packets that have arrived.

        Replaces Conch's (750), which goes on after a disconnect (783).
        """
        if not self.has_spoken:
            self._tell_opened()
        if self._dead:
            return
        self.heard_at_seconds = self.factory.clock.seconds()
        if self._next_packets is not None:
            self._arrived_meanwhile += data
            return
        self._incoming.feed(data)
        self._take_packets()

    def _take_packets(self) -> None:
        try:
            with self.packet_writer.cork():
                if self.gotVersion or self._take_version():
                    self._dispatch_packets()
        except DamagedPacket:
            self.sendDisconnect(DISCONNECT_MAC_ERROR, "a packet was damaged on its way")
        except MalformedPacket as problem:
            self.refuse(str(problem))
        except Exception:
            self._log.failure(
                "session {session}: a packet could not be handled", session=self.session
            )
            self.sendDisconnect(DISCONNECT_BY_APPLICATION, "internal error")

    def _take_version(self) -> bool:
        try:
            line = self._incoming.version_line()
        except NoClient:
            self._hang_up("no SSH client")
            return False
        if line is None:
            return False
        self.otherVersionString = line
        self.gotVersion = True
        self.events.tell("client-version", version=printable(line))
        return True

    def _dispatch_packets(self) -> None:
        """Dispatch what is complete, so many packets at once that others are served in time."""
        for _ in range(PACKETS_PER_ITERATION):
            payload = None if self._dead else self.getPacket()
            if payload is None:
                break
            if payload[0] == MSG_CHANNEL_DATA and self._login_done:
                self._phase.check(MSG_CHANNEL_DATA)
                self.service.ssh_CHANNEL_DATA(payload[1:])
            else:
                self.dispatchMessage(payload[0], bytes(payload[1:]))
        else:
            self._continue_later()
        if self._keys.are_used_up:
            self.rekey()

    def _continue_later(self) -> None:
        """Let the reactor serve others. TCP holds back what the client sends meanwhile."""
        if not self._dead:
            self._next_packets = self.factory.clock.callLater(0, self._take_next_packets)
            self.transport.pauseProducing()

    def _take_next_packets(self) -> None:
        self._next_packets = None
        self._take_packets()
        if self._next_packets is None and not self._dead:
            self.transport.resumeProducing()
            data, self._arrived_meanwhile = bytes(self._arrived_meanwhile), bytearray()
            if data:
                self.dataReceived(data)

    def getPacket(self) -> memoryview | None:
        """The next payload, or None until it is complete. Replaces Conch's: see `packets`."""
        opener = self.currentEncryptions.opener
        payload = self._incoming.next_payload(opener, self.incomingPacketSequence)
        if payload is not None:
            self._keys.used(len(payload))
            self.incomingPacketSequence = (self.incomingPacketSequence + 1) & SEQUENCE_MASK
        return payload

    # Messages in.

    def dispatchMessage(self, messageNum: int, payload: bytes) -> None:
        """Dispatch what the phase allows."""
        self._phase.check(messageNum)
        if messageNum < 50:
            super().dispatchMessage(messageNum, payload)
        elif self.service is not None:
            self.service.packetReceived(messageNum, payload)
        else:
            self.sendUnimplemented()

    def _newKeys(self) -> None:
        super()._newKeys()
        self._tell_writable()

    def _kex_expired(self) -> None:
        self.refuse("the key exchange took too long")

    def ssh_SERVICE_REQUEST(self, packet: bytes) -> None:
        """ssh-userauth, once. ssh-connection follows from login, not from a request."""
        name = PacketFields(packet).string()
        if self.service is not None or name != b"ssh-userauth":
            self.sendDisconnect(DISCONNECT_SERVICE_NOT_AVAILABLE, "no such service now")
            return
        self.sendPacket(MSG_SERVICE_ACCEPT, NS(name))
        self.setService(self.factory.services[name]())

    def ssh_DISCONNECT(self, packet: bytes) -> None:
        """The client's goodbye. Conch logs it as an error."""
        fields = PacketFields(packet)
        code, text = fields.uint32(), fields.string()
        self._hang_up(f"client: {printable(text)} ({code})")

    def ssh_UNIMPLEMENTED(self, packet: bytes) -> None:
        """We send nothing that needs an answer to this; Conch logs it."""

    def ssh_DEBUG(self, packet: bytes) -> None:
        """Nothing to us; Conch logs it."""

    def ssh_EXT_INFO(self, packet: bytes) -> None:
        """No extension of a client concerns us."""

    # Messages out.

    @property
    def can_send(self) -> bool:
        """Whether channel data sent now would leave, rather than wait in memory."""
        return not self._dead and self.packet_writer.has_room

    def sendPacket(self, messageType: int, payload: bytes) -> None:
        """Seal a message and send it, or keep it until a key exchange is over.

        Replaces Conch's; see `packet_writer`. Nothing follows a disconnect.
        """
        if not self._dead:
            self.packet_writer.send(messageType, ((payload,),))

    def send_payloads(self, messageType: int, payloads: Iterable[Body]) -> None:
        """As `sendPacket`, for some in a row, in pieces that need not be joined first."""
        if not self._dead:
            self.packet_writer.send(messageType, payloads)

    def sendUnimplemented(self) -> None:
        """Name the packet at fault; Conch has already counted on by then."""
        rejected = (self.incomingPacketSequence - 1) & SEQUENCE_MASK
        self.sendPacket(MSG_UNIMPLEMENTED, struct.pack(">L", rejected))

    def _room_again(self) -> None:
        self.heard_at_seconds = self.factory.clock.seconds()
        self._tell_writable()

    def _tell_writable(self) -> None:
        if self.can_send and self._login_done and self.service is not None:
            self.service.transport_writable()

    # The connection ends.

    @property
    def ended(self) -> bool:
        """Whether somebody has said goodbye."""
        return self._dead

    def login_done(self) -> None:
        """Somebody has logged in: other limits now."""
        self._login_done = True
        self._incoming.largest_bytes = self.factory.settings.packet_after_login_bytes
        _cancel(self._grace)
        self.ticket.logged_in()
        self._alive_monitor = ClientAliveMonitor(self, self.factory.settings, self.factory.clock)

    @property
    def moved_bytes(self) -> int:
        """Channel data so far, both ways."""
        return int(self.service.moved_bytes)

    @property
    def is_busy(self) -> bool:
        """Whether something that the client has asked for is under way."""
        return bool(self.service.is_busy)

    def send_keepalive_probe(self) -> None:
        """Send a keepalive, unless a key exchange is under way: that has a limit of its own."""
        if not self._is_exchanging:
            self.service.send_keepalive()

    def give_up(self, text: str) -> None:
        """Say goodbye to a client that has done no wrong."""
        self.sendDisconnect(DISCONNECT_BY_APPLICATION, text)

    def refuse(self, reason: str) -> None:
        """The client has broken the protocol."""
        if not self._dead:
            self.events.tell("protocol-broken", reason=reason)
            self.sendDisconnect(DISCONNECT_PROTOCOL_ERROR, reason)

    def sendDisconnect(self, reason: int, desc: str | bytes) -> None:
        """Say goodbye, and see to it that the connection ends."""
        if self._dead:
            return
        text = desc.encode("utf-8") if isinstance(desc, str) else desc
        self.sendPacket(MSG_DISCONNECT, struct.pack(">L", reason) + NS(text) + NS(b""))
        self._hang_up(printable(text))

    def _cut_off(self, reason: str) -> None:
        """End the connection with a client that would not read a goodbye."""
        if not self._dead:
            self._hang_up(reason)
            self.transport.abortConnection()

    def _hang_up(self, reason: str) -> None:
        if self._dead:
            return
        self._dead = True
        self._close_reason = reason
        self._incoming = PacketReader(0)  # what has arrived is let go of
        if self._alive_monitor is not None:
            self._alive_monitor.stop()
        self.packet_writer.end()
        self.transport.loseConnection()
        self._abort = self.factory.clock.callLater(
            ABORT_AFTER_SECONDS, self.transport.abortConnection
        )

    def connectionLost(self, reason: Failure | None = None) -> None:
        """Stop the service and log out. Replaces Conch's, which logs."""
        self._dead = True
        self._exchange_limit.end()
        if self._alive_monitor is not None:
            self._alive_monitor.stop()
        for call in (self._grace, self._abort, self._next_packets):
            _cancel(call)
        self.factory.session_ended(self)
        service, self.service = self.service, None
        if service is not None:
            service.serviceStopped()
        totals: Mapping[str, object] = {}
        if hasattr(self, "avatar"):
            totals = self.avatar.totals()
            self.logoutFunction()
        seconds = self.factory.clock.seconds() - self._opened_at_seconds
        if self.has_spoken:
            self.events.tell(
                "session-closed",
                reason=self._close_reason or _why_lost(reason),
                seconds=round(seconds, 3),
                **totals,
            )


def _address_text(address: Any) -> str:
    host = getattr(address, "host", None)
    if host is None:
        return "local"
    return f"[{host}]:{address.port}" if ":" in host else f"{host}:{address.port}"


def _why_lost(reason: Failure | None) -> str:
    """Twisted's word for it: the client has closed or reset the connection, or is gone."""
    text = "" if reason is None else reason.getErrorMessage()
    return text.rstrip(".") or "connection lost"


def _is_watched(transport: GatewayTransport) -> MonitoredClient:
    """Never called: mypy proves here that the vigil can watch it."""
    return transport


def _cancel(call: DelayedCall | None) -> None:
    if call is not None and call.active():
        call.cancel()
