"""A gateway with some of the tenants, and what each of them hears and leaves behind.

Knows: how a history is carried out, with the gate and without it.
Must not know: what must not cross (`fuzz.isolation.oracle`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from fuzz.isolation.steps import Command, Leave, Step, encoded, handle_of
from fuzz.isolation.tenants import BUCKET, STATE, TENANTS, VAULT, furnish, user_of
from fuzz.isolation.unjailed_paths import UnjailedPaths
from fuzz.layers import Recorder
from sftpgw.aws.session_policy.plan.document import PolicyTerms
from sftpgw.aws.session_policy.plan.session_policy import session_policy
from sftpgw.files.copies.copier import Copier
from sftpgw.files.renames.recovery import RenameRecovery
from sftpgw.files.renames.settler import RenameSettler
from sftpgw.files.transfers.registry import TransferRegistry
from sftpgw.files.uploads.suspended.expiry import SuspendedExpiry
from sftpgw.model.mounts import Mount
from sftpgw.model.settings import FilesSettings, OnDisconnect, StoreSettings
from sftpgw.model.shared_store import SharedStore
from sftpgw.model.users import User
from sftpgw.session import Session
from sftpgw.sftp.protocol import SFTPProtocol
from sftpgw.testing.fake_store import FakeStore
from sftpgw.testing.guarded_store import GuardedStore
from sftpgw.testing.iam import IamPolicy
from sftpgw.testing.sftp_requests import encode_request
from sftpgw.testing.sftp_sessions import LABELS, GatewayInMemory
from sftpgw.wire import sftp as wire

NOW_SECONDS = 1_700_000_100.0
PART_BYTES = 8
"""So that a WRITE or two become an upload in parts, which can be suspended and resumed."""

MAX_TURNS = 200
END_SECONDS = 30.0
KEPT_SECONDS = 8 * 86_400.0


class Channel(Recorder):
    """Keeps what one channel is told, complaints and the exit status too."""

    def write_error(self, text: bytes) -> None:
        self.written += b"[error]" + text

    def finish(self, exit_status: int) -> None:
        self.written += b"[status %d]" % exit_status
        super().finish(exit_status)


@dataclass
class Client:
    """One tenant's client.

    :ivar session: the session that it is logged in to.
    :ivar heard: everything that it has heard on channels that are closed.
    """

    session: Session
    protocol: SFTPProtocol
    channel: Channel
    heard: list[bytes] = field(default_factory=list)

    def hear(self, channel: Channel) -> None:
        """Take what a channel was told since the last time."""
        self.heard.append(bytes(channel.written))
        channel.written.clear()


class _OpenRegistry(TransferRegistry):
    """Tells every session of all transfers, so that only the store is left to refuse."""

    def seen_from(self, mounts: Iterable[Mount]) -> TransferRegistry:
        return self


class World:
    """A gateway with tenants.

    :param tenants: those who are there.
    :param users: who each of them is for the gateway.
    :param has_gate: whether the gateway decides about paths and permissions. If not, every request
        passes, and the store asks the session policy of each user.
    :param has_views: whether a session is told only of transfers below its mounts.
    """

    def __init__(
        self,
        tenants: tuple[str, ...],
        users: dict[str, User],
        *,
        has_gate: bool,
        has_views: bool = True,
    ) -> None:
        self.store = FakeStore((BUCKET, VAULT), min_part_bytes=1)
        furnish(self.store, tenants, has_hidden=not has_gate or len(tenants) > 1)
        self.guard: GuardedStore | None = None
        if not has_gate:
            self.guard = GuardedStore(
                self.store, {each: policy_of(users[each]) for each in tenants}
            )
        self._users = users
        self._gateway = GatewayInMemory(
            self.store,
            settings=StoreSettings(bucket=BUCKET, part_size_bytes=PART_BYTES),
            files=FilesSettings(on_disconnect=OnDisconnect.RESUME),
        )
        if not has_views:
            self._gateway.transfers = _OpenRegistry()
        self._handle_counts: Counter[str] = Counter()
        self._now_seconds = NOW_SECONDS
        self.clients = {each: self._log_in(each) for each in tenants}

    # Sessions.

    def _log_in(self, tenant: str, heard: list[bytes] | None = None) -> Client:
        store: SharedStore = self.guard or self.store
        shared = replace(
            self._gateway.shared(store), random_bytes=lambda size: self._handle_bytes(tenant, size)
        )
        user = self._users[tenant]
        session = Session(shared, user, LABELS)
        if self.guard is not None:
            # The gate asks the rule of a location, which allows everything where there is no jail.
            session.tree._mounts = UnjailedPaths(user.mounts)  # type: ignore[assignment]
        protocol, channel = session.sftp(), Channel()
        protocol.makeConnection(channel)
        protocol.dataReceived(encode_request(wire.Init(3)))
        return Client(session, protocol, channel, heard if heard is not None else [])

    def _handle_bytes(self, tenant: str, size: int) -> bytes:
        self._handle_counts[tenant] += 1
        return bytes.fromhex(handle_of(tenant, self._handle_counts[tenant]).decode())[:size]

    def _log_in_again(self, tenant: str) -> None:
        client = self.clients[tenant]
        client.protocol.connectionLost(Failure(ConnectionError()))
        self._settle()
        client.hear(client.channel)
        self.clients[tenant] = self._log_in(tenant, client.heard)

    # The gateway's own work.

    def _keep_house(self) -> None:
        """What the gateway does by itself, after a week: with its own credentials."""
        gateway = self._gateway
        gateway.clock.advance(KEPT_SECONDS)
        buckets = (BUCKET, VAULT)
        expiry = SuspendedExpiry(
            self.store, lambda bucket: STATE, KEPT_SECONDS / 2, gateway.clock, gateway.events
        )
        copier = Copier(self.store, gateway.transfers, gateway.events)
        recovery = RenameRecovery(
            buckets,
            lambda bucket: STATE,
            settler=RenameSettler(self.store, copier, gateway.clock, gateway.events),
            store=self.store,
            clock=gateway.clock,
            events=gateway.events,
            random=lambda: 0.5,
        )
        for work in (recovery.look(), *(expiry.expire(bucket) for bucket in buckets)):
            done = Deferred.fromCoroutine(work)
            self._settle()
            assert done.called, "the gateway's own work hangs"

    # Steps.

    def run(self, steps: Iterable[Step]) -> None:
        """Carry out a history; the steps of tenants who are not there only take their time."""
        for step in steps:
            self._now_seconds += 10
            self.store.now_seconds = self._now_seconds
            if step.tenant in self.clients:
                self._take(step)
            for client in self.clients.values():
                client.hear(client.channel)
        self._gateway.clock.advance(END_SECONDS)
        self._settle()
        self._keep_house()
        for client in self.clients.values():
            client.hear(client.channel)

    def _take(self, step: Step) -> None:
        client = self.clients[step.tenant]
        match step.action:
            case Command():
                self._command(client, step.action)
            case Leave():
                self._log_in_again(step.tenant)
            case _:
                last = self._handle_counts[step.tenant]
                client.protocol.dataReceived(encoded(step.action, step.tenant, last))
                self._settle()

    def _command(self, client: Client, command: Command) -> None:
        channel = Channel()
        console = client.session.command(command.line)
        console.makeConnection(channel)
        self._settle()
        console.dataReceived(command.said)
        self._settle()
        console.inputEnded()
        self._settle()
        console.connectionLost(Failure(ConnectionError()))
        self._settle()
        client.hear(channel)

    def _settle(self) -> None:
        """Let everything happen that is due."""
        clock = self._gateway.clock
        for _ in range(MAX_TURNS):
            clock.advance(0)
            if not any(each.getTime() <= clock.seconds() for each in clock.getDelayedCalls()):
                return
        raise AssertionError("the gateway does not come to rest")


def policy_of(user: User) -> IamPolicy:
    """The session policy of a user, as AWS would be given it."""
    return IamPolicy.parse(session_policy(user.name, user.mounts, PolicyTerms(state_prefix=STATE)))


def users() -> dict[str, User]:
    """All tenants."""
    return {each: user_of(each) for each in TENANTS}
