"""The factory: what all connections of the gateway have in common.

Knows: host keys, limits, the portal, and which connections are open.
Must not know: how a connection works, or which ones are accepted (`admission`).
"""

from __future__ import annotations

import random
import secrets
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from twisted.conch.ssh.factory import SSHFactory
from twisted.conch.ssh.keys import Key
from twisted.conch.ssh.transport import DISCONNECT_BY_APPLICATION

from sftpgw.aio.notifier import Notifier
from sftpgw.aio.work.scheduler import WorkScheduler
from sftpgw.auth.realm import LoginPortal
from sftpgw.auth.threads import RunInThread
from sftpgw.model.clock import Clock
from sftpgw.model.events import EventSink
from sftpgw.model.events.session_events import (
    AcceptingPaused,
    ConnectionsRefused,
    ConnectionsSilent,
)
from sftpgw.model.settings import SshSettings
from sftpgw.ssh.admission import Admission, ProcessAdmission, Refusal
from sftpgw.ssh.algorithms import COMPRESSIONS, STRICT_BY_SERVER, Offer
from sftpgw.ssh.connection import GatewayConnection
from sftpgw.ssh.context import AcceptedClient, OpenConnection
from sftpgw.ssh.negotiation import HostKeys
from sftpgw.ssh.tallies import Tally
from sftpgw.ssh.transport import GatewayTransport
from sftpgw.ssh.unfit_clients import UnfitClients
from sftpgw.ssh.userauth import GatewayUserAuth

REFUSALS_TALLY_SECONDS = 10.0
"""How long refused connections are counted before one event reports all of them."""

SILENT_TALLY_SECONDS = 60.0
"""The same for connections without a byte from the client, such as scans and health checks."""


def random_label() -> str:
    """A session's label: eight random hex digits."""
    return secrets.token_hex(4)


class GatewayFactory(SSHFactory):
    """Makes a `GatewayTransport` for each client; it is the `ConnectionContext` of all of them.

    :param portal: checks credentials and makes avatars.
    :param host_keys: private keys, one of each type; see `host_keys`.
    :param settings: ``[ssh]``.
    :param clock: the reactor, or ``task.Clock`` in tests.
    :param events: where events go.
    :param work: hands out CPU time to all connections.
    :param run_in_thread: signs key exchanges where that takes long (``LoginThreads.run``).
    :param new_label: makes the label that every event of a session carries.
    :param admission: decides which connections are accepted; by default by `settings`, counting the
        connections of this process.
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
        portal: LoginPortal,
        host_keys: Sequence[Key],
        settings: SshSettings,
        clock: Clock,
        events: EventSink,
        work: WorkScheduler,
        run_in_thread: RunInThread,
        new_label: Callable[[], str] = random_label,
        admission: Admission | None = None,
    ) -> None:
        self.portal = portal
        self.settings = settings
        self.clock = clock
        self.events = events
        self.work = work
        self.run_in_thread = run_in_thread
        self.new_label = new_label
        self.connections: set[OpenConnection] = set()
        self.admission: Admission = admission or ProcessAdmission(
            settings,
            seconds=clock.seconds,
            random=random.random,
            is_banned=portal.lockout.bars_address,
        )
        self._refusals = Tally(self._refusals_counted, REFUSALS_TALLY_SECONDS, clock, events)
        self._silent = Tally(_silent_counted, SILENT_TALLY_SECONDS, clock, events)
        self._pauses = Tally(_pauses_counted, REFUSALS_TALLY_SECONDS, clock, events)
        self._unfit = UnfitClients(clock, events)
        self._last_gone = Notifier()
        self.privateKeys = {bytes(key.sshType()): key for key in host_keys}
        self.host_keys = HostKeys(host_keys)
        self.offer = Offer.of(settings).with_keys(host_keys)
        self.publicKeys = {kind: key.public() for kind, key in self.privateKeys.items()}

    def buildProtocol(self, addr: Any) -> Any:
        """A transport for an accepted connection; None makes Twisted close the others."""
        return self.accept(getattr(addr, "host", None))

    def accept(
        self,
        host: str | None,
        *,
        address: Any = None,
        via: Any = None,
        is_balancer: bool = False,
    ) -> GatewayTransport | None:
        """A transport for the connection if it is admitted; None if not.

        :param host: the address that limits count; None if no limit per address applies.
        :param address: see `AcceptedClient`.
        :param via: see `AcceptedClient`.
        :param is_balancer: see `AcceptedClient`.
        """
        ticket = self.admission.admit(host)
        if isinstance(ticket, Refusal):
            self.count_refusal(ticket, host)
            return None
        return self._make_transport(AcceptedClient(ticket, address, via, is_balancer))

    def _make_transport(self, client: AcceptedClient) -> GatewayTransport:
        """A transport with our lists of algorithms.

        Replaces Conch's `SSHFactory.buildProtocol`, which offers SHA-1 signatures by RSA host keys
        in any case, and logs a line about moduli for every connection.
        """
        transport = GatewayTransport(self, client)
        transport.supportedPublicKeys = list(self.offer.host_key_algorithms)
        transport.supportedKeyExchanges = [*self.offer.key_exchanges, STRICT_BY_SERVER]
        transport.supportedCiphers = list(self.offer.ciphers)
        transport.supportedMACs = list(self.offer.macs)
        transport.supportedCompressions = list(COMPRESSIONS)
        return transport

    def _refusals_counted(self, counts: Mapping[str, int], last_from: str) -> ConnectionsRefused:
        return ConnectionsRefused(
            **counts,
            last_from=last_from,
            connected=self.admission.open,
            logging_in=self.admission.starting,
        )

    def count_refusal(self, refusal: Refusal, host: str | None) -> None:
        """Count a connection that was not accepted.

        :param refusal: why it was not accepted.
        :param host: the address that it came from; None if it has none.
        """
        self._refusals.count(refusal.value, host)

    def count_unfit(self, reason: str, client: bytes) -> None:
        """Count a client that cannot connect or log in with the algorithms that it has.

        :param reason: the setting that lists those which it would need.
        :param client: the client's version.
        """
        self._unfit.count(reason, client)

    def count_pause(self, fault: str) -> None:
        """Count a pause of accepting.

        :param fault: the name of the fault of accept(2): ``EMFILE``.
        """
        self._pauses.count("count", fault)

    def stopFactory(self) -> None:
        """Emit the counts: no port listens any more. Called by Twisted."""
        self._refusals.flush()
        self._silent.flush()
        self._pauses.flush()
        self._unfit.flush()

    def connection_began(self, connection: OpenConnection) -> None:
        """Remember a connection that was made."""
        self.connections.add(connection)

    def connection_ended(self, connection: OpenConnection) -> None:
        """Forget a connection that is gone, and give its position back."""
        self.connections.discard(connection)
        connection.client.ticket.closed()
        if not connection.has_spoken and not connection.client.is_balancer:
            self._silent.count("count", connection.peer_host)
        if not self.connections:
            self._last_gone.notify_all()

    async def all_gone(self) -> None:
        """Wait until no client is connected."""
        if self.connections:
            await self._last_gone.wait()

    def disconnect_all(self, text: str) -> None:
        """Disconnect every client.

        :param text: the reason, for the clients and the log.
        """
        for connection in tuple(self.connections):
            connection.sendDisconnect(DISCONNECT_BY_APPLICATION, text)


def _silent_counted(counts: Mapping[str, int], last_from: str) -> ConnectionsSilent:
    return ConnectionsSilent(**counts, last_from=last_from)


def _pauses_counted(counts: Mapping[str, int], last_fault: str) -> AcceptingPaused:
    return AcceptingPaused(**counts, reason=last_fault)
