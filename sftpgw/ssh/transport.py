"""One SSH connection from accept to its end: services, limits before and after login, disconnects.

Knows: which service is requested when, how long a client may take, how a connection ends, and what
is logged of it. Packets are in `packet_transport`, key exchanges in `kex`, and a client that is
gone or idle is noticed by `keepalive`. Must not know: users, or channels' contents.

Rules:

- ssh-userauth is started once. Conch accepts the request again and again, and starts a new count of
  failures each time (`SSHServerTransport.ssh_SERVICE_REQUEST`). paramiko sends it before each step
  of a login, so it is accepted again before the login, `MAX_SERVICE_REQUESTS` times in all, and
  changes nothing.
- A client that has not logged in `login_grace_seconds` after accept is disconnected.
- After a disconnect, in either direction, nothing is dispatched or sent. Ten seconds later the
  socket is aborted: Conch waits until all is sent, which a client that does not read can delay for
  ever.
- A session is logged once its first byte has come. The factory counts connections that send none.
- A client that breaks the protocol gets DISCONNECT, and one event is logged. Only an error of our
  own is logged with a traceback, once; then the connection ends as well.
"""

# mypy: disallow-untyped-calls=False
# (what is inherited from Conch has no types)

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any

from twisted.conch.ssh.common import NS
from twisted.conch.ssh.transport import (
    DISCONNECT_BY_APPLICATION,
    DISCONNECT_PROTOCOL_ERROR,
    DISCONNECT_SERVICE_NOT_AVAILABLE,
    MSG_DISCONNECT,
    MSG_SERVICE_ACCEPT,
)
from twisted.python.failure import Failure

from sftpgw.aio.delayed_call import cancel_pending
from sftpgw.model.addresses import source_of
from sftpgw.model.clock import DelayedCall
from sftpgw.model.events.session_events import (
    ProtocolBroken,
    SessionClosed,
    SessionOpened,
    SessionTotals,
)
from sftpgw.model.users import SessionLabels
from sftpgw.ssh.context import AcceptedClient, ConnectionContext, OpenConnection
from sftpgw.ssh.fields import PacketFields, printable
from sftpgw.ssh.keepalive import ClientAliveMonitor, MonitoredClient
from sftpgw.ssh.kex import KexTransport
from sftpgw.ssh.packet_reader import PacketReader
from sftpgw.ssh.penalties import Offence

ABORT_AFTER_SECONDS = 10.0
"""How long the client may take to read what was sent before a disconnect."""


MAX_SERVICE_REQUESTS = 20
"""How often a client may request ssh-userauth."""


class GatewayTransport(KexTransport):
    """The server's end of one SSH connection.

    :param context: what the connection shares with others.
    :param client: what is known of the client at accept.
    :ivar session: the label that every event of the session carries.
    :ivar labels: the same with the client's address, once the connection is made.
    """

    avatar: Any
    login_keys: tuple[bytes, ...] = ()
    labels: SessionLabels

    def __init__(self, context: ConnectionContext, client: AcceptedClient) -> None:
        super().__init__(context)
        self.client = client
        self.session = context.new_label()
        self._close_reason = ""
        self._grace: DelayedCall | None = None
        self._alive_monitor: ClientAliveMonitor | None = None
        self._abort: DelayedCall | None = None
        self._opened_at_seconds = 0.0
        self._service_requests = 0

    # The connection begins.

    def connectionMade(self) -> None:
        """Send our version line and KEXINIT, and begin to limit the time for the login."""
        clock, settings = self.context.clock, self.context.settings
        self.labels = SessionLabels(self.session, _address_text(self._peer()))
        self.events = self.context.events.bind(session=self.session, peer=self.labels.peer)
        self._opened_at_seconds = clock.seconds()
        self._grace = clock.callLater(settings.login_grace_seconds, self._on_grace_expired)
        self.context.connection_began(self)
        # No user's name has a slash: before the login the address takes the place of the user, and
        # an IPv6 /64 counts as one, as for admission.
        self._turns.path = (f"/{source_of(self.peer_host)}", self.session, "packets")
        super().connectionMade()
        with self.packet_writer.cork():
            self.packet_writer.send_line(self.ourVersionString + b"\r\n")
            self.sendKexInit()

    @property
    def peer_host(self) -> str | None:
        """The client's address, without its port; None if it has none."""
        host: str | None = getattr(self._peer(), "host", None)
        return host

    def _peer(self) -> Any:
        return self.client.address or self.transport.getPeer()

    def _on_first_bytes(self) -> None:
        via = self.client.via
        self.events.emit(SessionOpened(via=None if via is None else _address_text(via)))

    def _on_grace_expired(self) -> None:
        # Who waits for us to check a password has done its part: others' guesses may be before it.
        # It is not blamed for nothing either, so that a guess at the end is no way out.
        is_checking = self.service is not None and self.service.is_checking
        is_our_delay = is_checking or self.is_computing
        offence = Offence.FAILED_ATTEMPT if is_our_delay else Offence.GRACE_EXCEEDED
        self.client.ticket.blame(offence)
        self.sendDisconnect(
            DISCONNECT_BY_APPLICATION, "the time to log in is over ([ssh] login_grace)"
        )

    # Services and messages of the transport.

    def ssh_SERVICE_REQUEST(self, packet: bytes) -> None:
        """Start ssh-userauth, once. The login starts ssh-connection, not a request."""
        name = PacketFields(packet).string()
        self._service_requests += 1
        is_late = self.is_logged_in or self._service_requests > MAX_SERVICE_REQUESTS
        if is_late or name != b"ssh-userauth":
            self.sendDisconnect(DISCONNECT_SERVICE_NOT_AVAILABLE, "no such service now")
            return
        self.sendPacket(MSG_SERVICE_ACCEPT, NS(name))
        if self.service is None:
            self.setService(self.context.services[name]())

    def on_login(self) -> None:
        """Apply the limits for clients that have logged in. Called by the login service."""
        self.is_logged_in = True
        self._turns.path = (self.avatar.user, self.session, "packets")
        self._reader.largest_bytes = self.context.settings.packet_after_login_bytes
        cancel_pending(self._grace)
        self.client.ticket.logged_in()
        self._alive_monitor = ClientAliveMonitor(self, self.context.settings, self.context.clock)

    def ssh_DISCONNECT(self, packet: bytes) -> None:
        """End the connection at the client's request. Conch logs it as an error."""
        fields = PacketFields(packet)
        code, text = fields.uint32(), fields.string()
        self._hang_up(f"client: {printable(text)} ({code})")

    def ssh_UNIMPLEMENTED(self, packet: bytes) -> None:
        """Ignore it: we send nothing that a client may leave out. Conch logs it."""

    def ssh_DEBUG(self, packet: bytes) -> None:
        """Ignore it. Conch logs it."""

    def ssh_EXT_INFO(self, packet: bytes) -> None:
        """Ignore it: no extension of a client changes what we do (RFC 8308)."""

    # For the monitor.

    @property
    def moved_bytes(self) -> int:
        """How many bytes of channel data have moved so far, in both directions."""
        return int(self.service.moved_bytes)

    @property
    def is_busy(self) -> bool:
        """Whether a request of the client is in progress."""
        return bool(self.service.is_busy)

    def send_keepalive(self) -> bool:
        """Send a keepalive, except during a key exchange, which has a time limit of its own.

        :returns: whether it was sent.
        """
        if self._is_exchanging:
            return False
        self.service.send_keepalive()
        return True

    # The connection ends.

    def disconnect(self, text: str) -> None:
        """Disconnect a client that has not broken the protocol.

        :param text: the reason, for the client and the log.
        """
        self.sendDisconnect(DISCONNECT_BY_APPLICATION, text)

    def refuse(self, reason: str) -> None:
        """Disconnect a client that has broken the protocol.

        :param reason: the rule that it has broken, for the client and the log.
        """
        if not self.has_ended:
            self.events.emit(ProtocolBroken(reason=reason))
            self.sendDisconnect(DISCONNECT_PROTOCOL_ERROR, reason)

    def sendDisconnect(self, reason: int, desc: str | bytes) -> None:
        """Send DISCONNECT and close the connection, within `ABORT_AFTER_SECONDS`."""
        if self.has_ended:
            return
        text = desc.encode("utf-8") if isinstance(desc, str) else desc
        self.sendPacket(MSG_DISCONNECT, struct.pack(">L", reason) + NS(text) + NS(b""))
        self._hang_up(printable(text))

    def hang_up(self, reason: str) -> None:
        """Close the connection without a word to the client.

        :param reason: why, for the log.
        """
        self._hang_up(reason)

    def _cut_off(self, reason: str) -> None:
        """Close the connection at once: the client would not read a DISCONNECT."""
        if not self.has_ended:
            self._hang_up(reason)
            self.transport.abortConnection()

    def _hang_up(self, reason: str) -> None:
        """Close the connection once TCP has sent what waits.

        :param reason: why, for the log.
        """
        if self.has_ended:
            return
        self.has_ended = True
        self._close_reason = reason
        self._turns.leave()
        self._reader, self._arrived = PacketReader(0), b""  # frees what has arrived
        self._stop_monitor()
        self.packet_writer.end()
        self.transport.loseConnection()
        self._abort = self.context.clock.callLater(
            ABORT_AFTER_SECONDS, self.transport.abortConnection
        )

    def connectionLost(self, reason: Failure | None = None) -> None:
        """End the session when it is its turn: a thousand may end at once. Replaces Conch's."""
        self.has_ended = True
        self._turns.end()
        self._reads.end()
        self._exchange_limit.close()
        self.stop_computing()
        self.packet_writer.close()
        self._stop_monitor()
        self._alive_monitor = None
        for call in (self._grace, self._abort):
            cancel_pending(call)
        self._close_reason = self._close_reason or _why_lost(reason)
        path = (*self._turns.path[:2], "end")
        self.context.work.turns(path, "ends of sessions", self._end_session).ask()

    def _end_session(self) -> None:
        """Stop the service and log out."""
        self.context.connection_ended(self)
        service, self.service = self.service, None
        if service is not None:
            service.serviceStopped()
        totals: SessionTotals = {}
        if hasattr(self, "avatar"):
            totals = self.avatar.totals()
            self.logoutFunction()
            del self.avatar, self.logoutFunction  # they lead back here: no cycle is left
        seconds = self.context.clock.seconds() - self._opened_at_seconds
        if self.has_spoken:
            self.events.emit(
                SessionClosed(reason=self._close_reason, seconds=round(seconds, 3), **totals)
            )

    def _stop_monitor(self) -> None:
        if self._alive_monitor is not None:
            self._alive_monitor.stop()


def _address_text(address: Any) -> str:
    host = getattr(address, "host", None)
    if host is None:
        return "local"
    return f"[{host}]:{address.port}" if ":" in host else f"{host}:{address.port}"


def _why_lost(reason: Failure | None) -> str:
    """Twisted's text for it: the client has closed or reset the connection, or is gone."""
    text = "" if reason is None else reason.getErrorMessage()
    return text.rstrip(".") or "connection lost"


if TYPE_CHECKING:

    def _has_both_interfaces(
        transport: GatewayTransport,
    ) -> tuple[MonitoredClient, OpenConnection]:
        """Mypy proves here that the transport fits them."""
        return transport, transport
