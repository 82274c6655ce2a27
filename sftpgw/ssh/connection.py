"""The ssh-connection service: session channels on one connection.

Knows: channel numbers, windows, and how each message is refused (RFC 4254).
Must not know: what runs on a channel.

Takes the place of most handlers of Conch's `SSHConnection`: they raise for unknown channels
(`ssh_CHANNEL_DATA`) and for replies to no request (`ssh_REQUEST_SUCCESS`), give windows back too
early (`ssh_CHANNEL_DATA`), allow any number of channels (`ssh_CHANNEL_OPEN`), and log what clients
send.
"""

# mypy: disallow-untyped-calls=False
# (what is inherited from Conch has no types)

from __future__ import annotations

import struct
from collections.abc import Iterable
from typing import Any

from twisted.conch.error import ConchError
from twisted.conch.ssh.common import NS
from twisted.conch.ssh.connection import (
    EXTENDED_DATA_STDERR,
    MSG_CHANNEL_DATA,
    MSG_CHANNEL_EXTENDED_DATA,
    MSG_CHANNEL_FAILURE,
    MSG_CHANNEL_OPEN_CONFIRMATION,
    MSG_CHANNEL_OPEN_FAILURE,
    MSG_CHANNEL_SUCCESS,
    MSG_CHANNEL_WINDOW_ADJUST,
    MSG_GLOBAL_REQUEST,
    MSG_REQUEST_FAILURE,
    MSG_REQUEST_SUCCESS,
    OPEN_RESOURCE_SHORTAGE,
    SSHConnection,
)

from sftpgw.aio.once import Once
from sftpgw.model.events.session_events import RequestRefused
from sftpgw.model.units import KIB, Body
from sftpgw.ssh.channel_scheduler import ChannelScheduler
from sftpgw.ssh.channels import SessionChannel
from sftpgw.ssh.conch_logger import quiet_logger
from sftpgw.ssh.fields import MalformedPacket, PacketFields, printable
from sftpgw.ssh.host_key_updates import HOST_KEYS_PROVE, proofs, told_keys

MIN_REMOTE_PACKET_BYTES = 1 * KIB
"""A client that accepts smaller packets only is refused: a reply would become thousands of them."""

MAX_REFUSALS_KNOWN = 20
"""How many refusals of one connection are remembered, so that each is logged once."""

MAX_NAME_BYTES = 64
"""How much is kept of the name of what was refused; a client may send 256 KiB of it."""

_ROUTINE = frozenset(
    (
        b"env",
        b"keepalive@openssh.com",
        b"no-more-sessions@openssh.com",
        HOST_KEYS_PROVE,
        b"simple@putty.projects.tartarus.org",
        b"winadj@putty.projects.tartarus.org",
    )
)
"""What OpenSSH and PuTTY ask for in every session; its refusal is not logged."""

_USERAUTH_MESSAGES = range(50, 80)
_CHANNEL_DATA = struct.Struct(">2L")
_CHANNEL_EXTENDED_DATA = struct.Struct(">3L")
_NO_SUCH_CHANNEL = "a message for a channel that does not exist"


class GatewayConnection(SSHConnection):
    """The channels of one connection: sessions only, with ``subsystem`` and ``exec`` only.

    :ivar moved_bytes: how many bytes of channel data have moved, in both directions.
    :ivar scheduler: decides which channel sends next.
    """

    _log = quiet_logger("sftpgw.ssh")

    transport: Any
    channels: dict[int, SessionChannel]

    def __init__(self) -> None:
        super().__init__()
        self._reported_refusals: Once[tuple[str, bytes]] = Once(MAX_REFUSALS_KNOWN)
        self._unanswered_keepalives = 0
        self._may_ask_for_proofs = False
        self._may_refuse_host_keys = False
        self.moved_bytes = 0
        self.scheduler = ChannelScheduler(
            lambda: bool(self.transport.can_send),
            lambda: bool(self.transport.packet_writer.is_holding),
        )

    def serviceStarted(self) -> None:
        """Tell the client our host keys: a user has logged in."""
        super().serviceStarted()
        told = told_keys(self.transport.signers())
        if told is not None:
            self._may_ask_for_proofs = True
            self._may_refuse_host_keys = True
            self.transport.sendPacket(MSG_GLOBAL_REQUEST, told)

    def serviceStopped(self) -> None:
        """The connection is gone, and all channels with it."""
        super().serviceStopped()
        self.scheduler = ChannelScheduler(
            bool, bool
        )  # the other one led back here: no cycle is left

    def packetReceived(self, messageNum: int, packet: bytes) -> None:
        """Dispatch a message. Conch's `SSHService.packetReceived` logs what clients send."""
        if messageNum in _USERAUTH_MESSAGES:
            return  # sent before the client has received our SUCCESS (RFC 4252, section 5.1)
        handler = getattr(self, f"ssh_{self.protocolMessages.get(messageNum, '')[4:]}", None)
        if handler is None:
            self.transport.sendUnimplemented()
        else:
            handler(packet)

    def transport_writable(self) -> None:
        """Send on: TCP takes data again, after a slow reader or a key exchange."""
        self.scheduler.run()

    @property
    def is_busy(self) -> bool:
        """Whether a request to one of the subsystems is in progress."""
        return any(channel.is_busy for channel in self.channels.values())

    # Global requests (RFC 4254, section 4).

    def ssh_GLOBAL_REQUEST(self, packet: bytes) -> None:
        """Refuse it: forwarding is not offered, and keepalives accept any response.

        But for proofs that we have the host keys, which a client may ask for once.
        """
        fields = PacketFields(packet)
        name, wants_reply = fields.string(), fields.boolean()
        if name == HOST_KEYS_PROVE and wants_reply and self._may_ask_for_proofs:
            self._may_ask_for_proofs = False
            proved = proofs(fields, self.transport.signers(), self.transport.sessionID)
            if proved is not None:
                self.transport.sendPacket(MSG_REQUEST_SUCCESS, proved)
                return
        self._report_refusal("global-request", name)
        if wants_reply:
            self.transport.sendPacket(MSG_REQUEST_FAILURE, b"")

    def send_keepalive(self) -> None:
        """Send a global request that no client knows, so that each refuses it (OpenSSH
        PROTOCOL)."""
        self._unanswered_keepalives += 1
        self.transport.sendPacket(MSG_GLOBAL_REQUEST, NS(b"keepalive@openssh.com") + b"\1")

    def _on_keepalive_reply(self, packet: bytes) -> None:
        """Count a reply to a keepalive. Success and failure mean the same."""
        if not self._unanswered_keepalives:
            self._refuse_unasked(packet)
        self._unanswered_keepalives -= 1

    ssh_REQUEST_SUCCESS = _on_keepalive_reply

    def ssh_REQUEST_FAILURE(self, packet: bytes) -> None:
        """Take a refusal: of a keepalive, or once of our host keys.

        phpseclib refuses each global request, also one that wants no reply.
        """
        if not self._unanswered_keepalives and self._may_refuse_host_keys:
            self._may_refuse_host_keys = False
        else:
            self._on_keepalive_reply(packet)

    def _refuse_unasked(self, packet: bytes) -> None:
        """Refuse a reply: keepalives are the only requests that we send.

        :raises MalformedPacket: always.
        """
        raise MalformedPacket("a reply to a request that was not sent")

    ssh_CHANNEL_OPEN_CONFIRMATION = _refuse_unasked
    ssh_CHANNEL_OPEN_FAILURE = _refuse_unasked
    ssh_CHANNEL_SUCCESS = _refuse_unasked
    ssh_CHANNEL_FAILURE = _refuse_unasked

    # Channels are opened and closed.

    def ssh_CHANNEL_OPEN(self, packet: bytes) -> None:
        fields = PacketFields(packet)
        kind = fields.string()
        number, window_bytes, max_packet_bytes = (fields.uint32() for _ in range(3))
        try:
            channel = self._admit(kind, window_bytes, max_packet_bytes, fields.rest())
        except ConchError as refusal:
            self._report_refusal("channel", kind)
            text, reason = refusal.args
            payload = struct.pack(">2L", number, reason) + NS(text) + NS(b"")
            self.transport.sendPacket(MSG_CHANNEL_OPEN_FAILURE, payload)
        else:
            self._confirm(channel, number)

    def _admit(
        self, kind: bytes, window_bytes: int, max_packet_bytes: int, data: bytes
    ) -> SessionChannel:
        """A channel for a CHANNEL_OPEN.

        :raises ConchError: it is refused, with a text and a reason (RFC 4254, section 5.1).
        """
        channel: SessionChannel = self.transport.avatar.lookupChannel(
            kind, window_bytes, max_packet_bytes, data
        )
        if max_packet_bytes < MIN_REMOTE_PACKET_BYTES:
            text = f"the maximum packet size must be at least {MIN_REMOTE_PACKET_BYTES} bytes"
            raise ConchError(text, OPEN_RESOURCE_SHORTAGE)
        if len(self.channels) >= self.transport.context.settings.sessions_per_connection:
            text = "too many sessions on this connection ([ssh] sessions_per_connection)"
            raise ConchError(text, OPEN_RESOURCE_SHORTAGE)
        if not channel.session_count.try_add():
            text = "too many sessions on all your connections ([limits] sessions_per_user)"
            raise ConchError(text, OPEN_RESOURCE_SHORTAGE)
        if not channel.count_window() and self.channels:
            channel.session_count.remove()
            text = (
                "the sessions of this user take their share of the memory for windows, "
                "a quarter of [limits] memory; close some, or try again in a moment"
            )
            raise ConchError(text, OPEN_RESOURCE_SHORTAGE)
        return channel

    def _confirm(self, channel: SessionChannel, remote_number: int) -> None:
        channel.conn = self
        channel.id = self.localChannelID
        self.localChannelID += 1
        self.channels[channel.id] = channel
        self.channelsToRemoteChannel[channel] = remote_number
        self.localToRemoteChannel[channel.id] = remote_number
        channel.open_paces()
        payload = struct.pack(
            ">4L", remote_number, channel.id, channel.localWindowSize, channel.localMaxPacket
        )
        self.transport.sendPacket(MSG_CHANNEL_OPEN_CONFIRMATION, payload)

    def ssh_CHANNEL_CLOSE(self, packet: bytes) -> None:
        channel = self._channel(PacketFields(packet))
        channel.remoteClosed = True
        channel.closeReceived()
        if channel.localClosed:
            self.channelClosed(channel)
        else:
            self.sendClose(channel)

    def ssh_CHANNEL_EOF(self, packet: bytes) -> None:
        self._channel(PacketFields(packet)).eofReceived()

    # Requests and data of a channel.

    def ssh_CHANNEL_REQUEST(self, packet: bytes) -> None:
        fields = PacketFields(packet)
        channel = self._channel(fields)
        name, wants_reply = fields.string(), fields.boolean()
        granted = channel.requestReceived(name, fields.rest())
        if not granted:
            self._report_refusal("request", name)
        if wants_reply and not channel.localClosed:
            reply = MSG_CHANNEL_SUCCESS if granted else MSG_CHANNEL_FAILURE
            remote_number = self.channelsToRemoteChannel[channel]
            self.transport.sendPacket(reply, struct.pack(">L", remote_number))
        channel.start()

    def ssh_CHANNEL_WINDOW_ADJUST(self, packet: bytes) -> None:
        fields = PacketFields(packet)
        self._channel(fields).addWindowBytes(fields.uint32())

    def ssh_CHANNEL_DATA(self, packet: bytes | memoryview) -> None:
        """Pass data on. The transport calls this directly, and no byte is copied: the hot path."""
        if len(packet) < _CHANNEL_DATA.size:
            raise MalformedPacket("a packet ends before its fields do")
        number, size_bytes = _CHANNEL_DATA.unpack_from(packet)
        channel = self.channels.get(number)
        if channel is None:
            raise MalformedPacket(_NO_SUCH_CHANNEL)
        data = packet[_CHANNEL_DATA.size :]
        if len(data) != size_bytes:
            raise MalformedPacket("a packet is not as long as its fields are")
        self._count(channel, size_bytes)
        channel.dataReceived(data)

    def ssh_CHANNEL_EXTENDED_DATA(self, packet: bytes) -> None:
        fields = PacketFields(packet)
        channel, kind = self._channel(fields), fields.uint32()
        data = fields.string()
        self._count(channel, len(data))
        channel.extReceived(kind, data)

    def _count(self, channel: SessionChannel, size_bytes: int) -> None:
        """Subtract received bytes from the client's window.

        :raises MalformedPacket: there are more of them than the window or a packet allows.
        """
        if size_bytes > channel.localMaxPacket:
            raise MalformedPacket("more data than the maximum packet size allows")
        if size_bytes > channel.localWindowLeft:
            raise MalformedPacket("more data than the window allows")
        channel.localWindowLeft -= size_bytes
        self.moved_bytes += size_bytes

    def adjustWindow(self, channel: Any, bytesToAdd: int) -> None:
        """Grant the client more of the window. Conch's logs each time."""
        payload = struct.pack(">2L", self.channelsToRemoteChannel[channel], bytesToAdd)
        self.transport.sendPacket(MSG_CHANNEL_WINDOW_ADJUST, payload)
        channel.localWindowLeft += bytesToAdd

    def send_data(self, channel: Any, bodies: Iterable[Body], size_bytes: int) -> None:
        """Send packets of channel data in a row, without joining their fragments.

        :param channel: the `SessionChannel` that sends.
        :param bodies: the data of each packet, in fragments.
        :param size_bytes: the sum of their sizes.
        """
        remote_number = self.channelsToRemoteChannel[channel]
        self.moved_bytes += size_bytes
        self.transport.send_payloads(
            MSG_CHANNEL_DATA,
            ((_CHANNEL_DATA.pack(remote_number, sum(map(len, body))), *body) for body in bodies),
        )

    def send_error_data(self, channel: Any, fragments: Body, size_bytes: int) -> None:
        """Send one packet for the client's standard error (RFC 4254, section 5.2).

        :param channel: the `SessionChannel` that sends.
        :param fragments: the data.
        :param size_bytes: its size.
        """
        remote_number = self.channelsToRemoteChannel[channel]
        header = _CHANNEL_EXTENDED_DATA.pack(remote_number, EXTENDED_DATA_STDERR, size_bytes)
        self.moved_bytes += size_bytes
        self.transport.send_payloads(MSG_CHANNEL_EXTENDED_DATA, ((header, *fragments),))

    def _channel(self, fields: PacketFields) -> SessionChannel:
        """The channel whose number is the next field.

        :raises MalformedPacket: there is none.
        """
        channel = self.channels.get(fields.uint32())
        if channel is None:
            raise MalformedPacket(_NO_SUCH_CHANNEL)
        return channel

    def _report_refusal(self, kind: str, name: bytes) -> None:
        """Log a refusal, once for each name."""
        name = name[:MAX_NAME_BYTES]
        if name in _ROUTINE or not self._reported_refusals.is_new((kind, name)):
            return
        self.transport.events.emit(RequestRefused(kind=kind, name=printable(name)))
