"""The factory: what all connections have in common.

Knows: host keys, limits, the portal, and which connections are open.
Must not know: how a connection works, or who is let in (`admission`).
"""

from __future__ import annotations

import random
import secrets
from collections.abc import Callable, Sequence
from typing import Any

from twisted.conch.ssh.factory import SSHFactory
from twisted.conch.ssh.keys import Key
from twisted.conch.ssh.transport import DISCONNECT_BY_APPLICATION
from twisted.cred.portal import Portal

from sftpgw.aio.notifier import Notifier
from sftpgw.model.clock import Clock
from sftpgw.model.events import EventSink
from sftpgw.model.settings import SshSettings
from sftpgw.ssh.admission import Admission, AdmissionTicket, Refusal
from sftpgw.ssh.algorithms import COMPRESSIONS, STRICT_BY_SERVER, Offer, allowed
from sftpgw.ssh.connection import GatewayConnection
from sftpgw.ssh.tallies import Tally
from sftpgw.ssh.transport import GatewayTransport
from sftpgw.ssh.userauth import GatewayUserAuth

REFUSALS_TOLD_AFTER_SECONDS = 10.0
"""Connections that are refused become one event in so many seconds, however many they are."""

SILENT_TOLD_AFTER_SECONDS = 60.0
"""So do those that end without a byte from the client, such as scans and health checks."""


def random_label() -> str:
    """A session's label: eight hex digits, enough to tell log lines apart."""
    return secrets.token_hex(4)


class GatewayFactory(SSHFactory):
    """Makes a `GatewayTransport` for each client.

    :param host_keys: private keys, one of each type; see `hostkeys`.
    :param clock: the reactor, or ``task.Clock`` in tests.
    :param new_label: makes the label that every event of a session carries.
    :param chance: a number from 0 up to 1, for early drops.
    """

    noisy = False
    primes = None
    services: dict[bytes, Any] = {  # noqa: RUF012 - Conch's interface
        b"ssh-userauth": GatewayUserAuth,
        b"ssh-connection": GatewayConnection,
    }

    def __init__(
        self,
        *,
        portal: Portal,
        host_keys: Sequence[Key],
        settings: SshSettings,
        clock: Clock,
        events: EventSink,
        new_label: Callable[[], str] = random_label,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self.portal = portal
        self.settings = settings
        self.clock = clock
        self.events = events
        self.new_label = new_label
        self.sessions: set[GatewayTransport] = set()
        self.offer = Offer.of(settings)
        self._admission = Admission(settings, seconds=clock.seconds, random=chance)
        self._refusals = Tally(
            "connections-refused",
            REFUSALS_TOLD_AFTER_SECONDS,
            clock,
            events,
            lambda: {"connected": self._admission.open, "logging_in": self._admission.starting},
        )
        self._silent = Tally("connections-silent", SILENT_TOLD_AFTER_SECONDS, clock, events)
        self._last_gone = Notifier()
        self.privateKeys = {bytes(key.sshType()): key for key in host_keys}
        self.publicKeys = {kind: key.public() for kind, key in self.privateKeys.items()}

    def buildProtocol(self, addr: Any) -> Any:
        """A transport for a connection that is admitted; None, and Twisted hangs up."""
        return self.take(getattr(addr, "host", None))

    def take(
        self,
        host: str | None,
        *,
        seen_as: Any = None,
        via: Any = None,
        is_balancer: bool = False,
    ) -> GatewayTransport | None:
        """A transport for a connection if it is admitted; None if not.

        :param host: the address that limits count; None if they do not concern the connection.
        :param seen_as: the client's address, where it is not the peer's.
        :param via: the address of the balancer that has handed the connection over.
        :param is_balancer: whether it is a balancer's own: then it is no matter if it is silent.
        """
        ticket = self._admission.admit(host)
        if isinstance(ticket, Refusal):
            self.refused(ticket, host)
            return None
        transport = self._make_transport(ticket)
        transport.seen_as, transport.via, transport.is_balancer = seen_as, via, is_balancer
        return transport

    def _make_transport(self, ticket: AdmissionTicket) -> GatewayTransport:
        """A transport with our lists of algorithms.

        Replaces Conch's `buildProtocol`, which adds SHA-1 signatures (transport 479, keys
        1103) and logs a line about moduli for every connection.
        """
        transport = GatewayTransport()
        transport.factory = self
        transport.ticket = ticket
        ours = [
            name for key in self.privateKeys.values() for name in key.supportedSignatureAlgorithms()
        ]
        transport.supportedPublicKeys = allowed(self.offer.host_key_algorithms, ours)
        transport.supportedKeyExchanges = [
            *allowed(self.offer.key_exchanges, GatewayTransport.supportedKeyExchanges),
            STRICT_BY_SERVER,
        ]
        transport.supportedCiphers = list(self.offer.ciphers)
        transport.supportedMACs = list(self.offer.macs)
        transport.supportedCompressions = list(COMPRESSIONS)
        return transport

    def refused(self, refusal: Refusal, host: str | None) -> None:
        """A connection was not taken."""
        self._refusals.count(refusal.value, host)

    def stopFactory(self) -> None:
        """Called once no port listens any more: nobody is refused from now on."""
        self._refusals.end()
        self._silent.end()

    def session_ended(self, session: GatewayTransport) -> None:
        """Called by the transport when its connection is gone."""
        self.sessions.discard(session)
        session.ticket.closed()
        if not session.has_spoken and not session.is_balancer:
            self._silent.count("count", session.peer_host)
        if not self.sessions:
            self._last_gone.notify_all()

    async def all_gone(self) -> None:
        """Wait until no client is connected."""
        if self.sessions:
            await self._last_gone.wait()

    def disconnect_all(self, text: str) -> None:
        """Say goodbye to every client that is connected."""
        for session in tuple(self.sessions):
            session.sendDisconnect(DISCONNECT_BY_APPLICATION, text)
