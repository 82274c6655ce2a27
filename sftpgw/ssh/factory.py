"""The factory: what all connections have in common.

Knows: host keys, limits, the portal, and which connections are open.
Must not know: how a connection works.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from typing import Any

from twisted.conch.ssh.factory import SSHFactory
from twisted.conch.ssh.keys import Key
from twisted.conch.ssh.transport import DISCONNECT_BY_APPLICATION
from twisted.cred.portal import Portal
from twisted.internet.defer import Deferred

from sftpgw.interfaces import Clock, EventSink
from sftpgw.ssh.algorithms import (
    CIPHERS,
    COMPRESSIONS,
    HOST_KEY_SIGNATURES,
    KEY_EXCHANGES,
    MACS,
    STRICT_BY_SERVER,
    allowed,
)
from sftpgw.ssh.connection import GatewayConnection
from sftpgw.ssh.transport import GatewayTransport
from sftpgw.ssh.userauth import GatewayUserAuth
from sftpgw.values import SshSettings


def random_label() -> str:
    """A session's label: eight hex digits, enough to tell log lines apart."""
    return secrets.token_hex(4)


class GatewayFactory(SSHFactory):
    """Makes a `GatewayTransport` for each client.

    :param host_keys: private keys, one of each type; see `hostkeys`.
    :param clock: the reactor, or ``task.Clock`` in tests.
    :param new_label: makes the label that every event of a session carries.
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
    ) -> None:
        self.portal = portal
        self.settings = settings
        self.clock = clock
        self.events = events
        self.new_label = new_label
        self.sessions: set[GatewayTransport] = set()
        self._waiting_for_all: list[Deferred[None]] = []
        self.privateKeys = {bytes(key.sshType()): key for key in host_keys}
        self.publicKeys = {kind: key.public() for kind, key in self.privateKeys.items()}

    def buildProtocol(self, addr: Any) -> GatewayTransport:
        """A transport with our lists of algorithms.

        Replaces Conch's, which adds SHA-1 signatures (transport 479, keys 1103)
        and logs a line about moduli for every connection.
        """
        transport = GatewayTransport()
        transport.factory = self
        ours = [
            name for key in self.privateKeys.values() for name in key.supportedSignatureAlgorithms()
        ]
        transport.supportedPublicKeys = allowed(HOST_KEY_SIGNATURES, ours)
        transport.supportedKeyExchanges = [
            *allowed(KEY_EXCHANGES, GatewayTransport.supportedKeyExchanges),
            STRICT_BY_SERVER,
        ]
        transport.supportedCiphers = list(CIPHERS)
        transport.supportedMACs = list(MACS)
        transport.supportedCompressions = list(COMPRESSIONS)
        return transport

    def session_ended(self, session: GatewayTransport) -> None:
        """Called by the transport when its connection is gone."""
        self.sessions.discard(session)
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
