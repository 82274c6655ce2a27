"""The factory: what all connections have in common.

Knows: host keys, limits, the portal, and which connections are open.
Must not know: how a connection works, or who is let in (`admission`).
"""

from __future__ import annotations

import random
import secrets
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from twisted.conch.ssh.factory import SSHFactory
from twisted.conch.ssh.keys import Key
from twisted.conch.ssh.transport import DISCONNECT_BY_APPLICATION
from twisted.cred.portal import Portal
from twisted.internet.defer import Deferred

from sftpgw.interfaces import Clock, DelayedCall, EventSink
from sftpgw.ssh.admission import Admission, Refusal, Ticket
from sftpgw.ssh.algorithms import (
    COMPRESSIONS,
    STRICT_BY_SERVER,
    Offer,
    allowed,
)
from sftpgw.ssh.connection import GatewayConnection
from sftpgw.ssh.transport import GatewayTransport
from sftpgw.ssh.userauth import GatewayUserAuth
from sftpgw.values import SshSettings

REFUSALS_TOLD_AFTER_SECONDS = 10.0
"""Connections that are refused become one event in so many seconds, however many they are."""


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
        self._refusals: Counter[str] = Counter()
        self._last_refused = ""
        self._telling: DelayedCall | None = None
        self._waiting_for_all: list[Deferred[None]] = []
        self.privateKeys = {bytes(key.sshType()): key for key in host_keys}
        self.publicKeys = {kind: key.public() for kind, key in self.privateKeys.items()}

    def buildProtocol(self, addr: Any) -> Any:
        """A transport for a connection that is admitted; None, and Twisted hangs up."""
        host = getattr(addr, "host", None)
        ticket = self._admission.admit(host)
        if isinstance(ticket, Refusal):
            self._count_refusal(ticket, host)
            return None
        return self._make_transport(ticket)

    def _make_transport(self, ticket: Ticket) -> GatewayTransport:
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

    def _count_refusal(self, refusal: Refusal, host: str | None) -> None:
        self._refusals[refusal.value] += 1
        self._last_refused = host or "local"
        if self._telling is None:
            self._telling = self.clock.callLater(REFUSALS_TOLD_AFTER_SECONDS, self._tell_refusals)

    def _tell_refusals(self) -> None:
        self._telling = None
        counts, self._refusals = self._refusals, Counter()
        self.events.tell(
            "connections-refused",
            **counts,
            last_from=self._last_refused,
            connected=self._admission.open,
            logging_in=self._admission.starting,
        )

    def stopFactory(self) -> None:
        """Called once no port listens any more: nobody is refused from now on."""
        if self._telling is not None:
            self._telling.cancel()
            self._tell_refusals()

    def session_ended(self, session: GatewayTransport) -> None:
        """Called by the transport when its connection is gone."""
        self.sessions.discard(session)
        session.ticket.closed()
        if not self.sessions:
            waiting, self._waiting_for_all = self._waiting_for_all, []
            for each in waiting:
                each.callback(None)

    async def all_gone(self) -> None:
        """Wait until no client is connected."""
        if self.sessions:
            gone: Deferred[None] = Deferred(self._waiting_for_all.remove)
            self._waiting_for_all.append(gone)
            await gone

    def disconnect_all(self, text: str) -> None:
        """Say goodbye to every client that is connected."""
        for session in tuple(self.sessions):
            session.sendDisconnect(DISCONNECT_BY_APPLICATION, text)
