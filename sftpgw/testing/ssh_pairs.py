"""A real SSH client and our server, in one process and in memory.

Knows: Conch's client, our factory, and the two `iosim` transports between them.
Must not know: what the subsystems do, or any store.

Nothing here needs a reactor: time is a ``task.Clock``, and bytes move when a
test calls `pump`. Key exchange, encryption and login are real. Use::

    pair = LoggedInPair({b"sftp": make_sftp})   # factories, as in GatewayAvatar
    channel = pair.open_subsystem(b"sftp")      # pumps; raises SubsystemRefused
    channel.write(request)                      # to the server
    pair.pump()                                 # both ways until nothing moves
    assert bytes(channel.received) == answer
    channel.send_eof()
    pair.pump()
    assert channel.exit_status == 0
    assert channel.closed_by_server
    pair.drop()                                 # or cut the connection, both ways

To let time pass: ``pair.clock.advance(seconds)``, then `pump`. Coroutines of the
server continue when the Deferred fires that they wait for; `pump` again after it.

Events of the gateway are in ``pair.events.told``, as ``(name, facts)``.

For a client that does not read its socket: ``pair.client_reads = False``, then `pump`;
TCP then buffers `SOCKET_BYTES`. For a client that does not refill its channel
window: ``open_subsystem(name, refill=False)``.

For tests of logins, `ClientPair` is connected, but not logged in.
"""

# mypy: disallow-untyped-calls=False
# (what is inherited from Conch and iosim has no types)

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from twisted.conch.ssh.common import NS
from twisted.conch.ssh.keys import Key
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.error import ConnectionLost
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from sftpgw.aio.user_counts import UserCount
from sftpgw.aio.work.scheduler import WorkScheduler
from sftpgw.auth.passwords import DEFAULT_DECOY, Decoys
from sftpgw.auth.realm import LoginPortal, make_portal
from sftpgw.auth.sources.static import StaticUserDirectory
from sftpgw.auth.threads import RunInThread
from sftpgw.auth.user_records import RecordAuthenticator
from sftpgw.model.events import Event, EventSink
from sftpgw.model.events.gateway_events import Defect
from sftpgw.model.events.session_events import SessionTotals
from sftpgw.model.memory import MemoryBudget, WindowBudget
from sftpgw.model.settings import SshSettings
from sftpgw.model.subsystem import CommandFactory, SubsystemFactory
from sftpgw.model.units import KIB
from sftpgw.model.users import NO_KEYS, NO_OPTIONS, LoginRules, SessionLabels, User
from sftpgw.ssh.avatar import GatewayAvatar
from sftpgw.ssh.channel_pace import NO_LIMITS, SessionLimits
from sftpgw.ssh.factory import GatewayFactory
from sftpgw.ssh.transport import GatewayTransport
from sftpgw.testing.cpu_clocks import free_work
from sftpgw.testing.ssh_clients import (
    ClientChannel,
    ClientConnection,
    ClientTransport,
    ClientUserAuth,
    MemoryTransport,
    StrictClientTransport,
)

MAX_ROUNDS = 10_000


class SubsystemRefused(Exception):
    """The server did not open the channel, or did not start the subsystem."""


class RecordedEvents:
    """An `EventSink` that remembers: ``told`` has ``(event, facts)`` in order."""

    def __init__(
        self,
        told: list[tuple[str, dict[str, object]]] | None = None,
        context: Mapping[str, str] | None = None,
    ) -> None:
        self.told: list[tuple[str, dict[str, object]]] = [] if told is None else told
        self._context = dict(context or {})

    def emit(self, event: Event) -> None:
        failure = {"failure": event.failure} if isinstance(event, Defect) else {}
        self.told.append((event.event_name, {**self._context, **event.facts(), **failure}))

    def bind(self, **context: str) -> EventSink:
        return RecordedEvents(self.told, {**self._context, **context})

    def names(self) -> list[str]:
        return [name for name, _ in self.told]

    def facts(self, event: str) -> list[dict[str, object]]:
        """The facts of every telling of `event`."""
        return [facts for name, facts in self.told if name == event]


class RecordingSubsystem:
    """A `Subsystem` that records what happens; the test acts in its place.

    ``RecordingSubsystem.into(list)`` is a factory that appends its products to the list.
    """

    def __init__(self) -> None:
        self.transport: Any = None
        self.received = bytearray()
        self.input_ended = False
        self.losses: list[Failure] = []
        self.pauses: list[str] = []
        self.is_busy = False

    @classmethod
    def into(cls, made: list[RecordingSubsystem]) -> SubsystemFactory:
        def make() -> RecordingSubsystem:
            made.append(cls())
            return made[-1]

        return make

    def makeConnection(self, transport: Any) -> None:
        self.transport = transport

    def dataReceived(self, data: bytes | memoryview) -> None:
        self.received += data

    def inputEnded(self) -> None:
        self.input_ended = True

    def connectionLost(self, reason: Failure) -> None:
        self.losses.append(reason)

    def pauseProducing(self) -> None:
        self.pauses.append("pause")

    def resumeProducing(self) -> None:
        self.pauses.append("resume")


class ClientPair:
    """A client that is connected to a `GatewayFactory`, after the key exchange.

    :param factory: makes the server's end.
    :param clock: the clock of both ends.
    :param when_secure: called with the client's transport after the first key
        exchange; by default the client does nothing more, and the test acts for it.
    :param greet: False to send nothing, not even the version line.
    :param strict: whether the client uses the strict key exchange.
    :param address: the client's address, as limits and penalties count it; None for no limits.
    """

    def __init__(
        self,
        factory: GatewayFactory,
        clock: Clock,
        when_secure: Callable[[ClientTransport], None] | None = None,
        *,
        greet: bool = True,
        strict: bool = False,
        address: IPv4Address | None = None,
    ) -> None:
        self.factory = factory
        self.clock = clock
        self.client_reads = True
        server = factory.buildProtocol(address)
        assert isinstance(server, GatewayTransport), "the factory takes no connection any more"
        self.server = server
        self.client = (StrictClientTransport if strict else ClientTransport)(when_secure)
        self.server_io = MemoryTransport(self.server, is_server=True)
        self.client_io = MemoryTransport(self.client, is_server=False)
        self._lost = False
        self.server.makeConnection(self.server_io)
        if greet:
            self.client.makeConnection(self.client_io)
            self.pump()

    @property
    def connected(self) -> bool:
        return not self._lost

    @property
    def unread_bytes(self) -> int:
        """How many sent bytes the client has not read, in the server's socket or before it."""
        return self.server_io.waiting_bytes + self.server.packet_writer.waiting_bytes

    def pump(self) -> None:
        """Move bytes in both directions, and make calls that are due, until nothing moves."""
        for _ in range(MAX_ROUNDS):
            self.clock.advance(0)
            if not self._move_once():
                return
        raise AssertionError("the two sides never stop talking")

    def drop(self) -> None:
        """Cut the connection in both directions; bytes in transit are lost."""
        if not self._lost:
            self._lost = True
            self._report_lost(Failure(ConnectionLost()))

    def send_raw(self, data: bytes) -> None:
        """Send bytes to the server without the client's code; then `pump`."""
        if not self._lost:
            self.server.dataReceived(data)
        self.pump()

    def send_packet(self, message: int, payload: bytes) -> None:
        """Send any packet by the client; then `pump`."""
        self.client.sendPacket(message, payload)
        self.pump()

    def _move_once(self) -> bool:
        if self._lost:
            return False
        to_server = self.client_io.take()
        to_client = self.server_io.take() if self.client_reads else b""
        if to_server and not self.server_io.disconnecting:
            self.server.dataReceived(to_server)
        if to_client and not self.client_io.disconnecting:
            self.client.dataReceived(to_client)
        if to_server or to_client:
            return True
        if self._is_over():
            self._lost = True
            self._report_lost(self.server_io.disconnectReason)
            return True
        return False

    def _is_over(self) -> bool:
        """Whether one side has closed and the other has read everything."""
        return self.server_io.has_closed or bool(self.client_io.disconnecting)

    def _report_lost(self, reason: Any) -> None:
        failure = reason if isinstance(reason, Failure) else Failure(reason)
        for protocol, transport in ((self.server, self.server_io), (self.client, self.client_io)):
            transport.disconnecting = transport.disconnected = True
            if protocol.transport is not None:
                protocol.connectionLost(failure)


@dataclass(frozen=True)
class AvatarParts:
    """What the avatar of a test has beside its subsystems.

    :param commands: what runs command lines, if any.
    :param window_memory: the budget for windows, if they are counted.
    :param output_memory: the budget for unread output, if it is counted.
    :param totals: returns the session's totals for the log.
    :param user_sessions: counts the channels of all connections of the user, if anything does.
    :param limits: what the user's sessions may have together.
    """

    commands: CommandFactory | None = None
    window_memory: WindowBudget | None = None
    output_memory: MemoryBudget | None = None
    totals: Callable[[], SessionTotals] = SessionTotals
    user_sessions: UserCount | None = None
    limits: SessionLimits = NO_LIMITS


NO_PARTS = AvatarParts()


class LoggedInPair(ClientPair):
    """A client that has logged in as ``alice`` by an ed25519 key.

    :param subsystems: what the avatar offers.
    :param settings: [ssh]; the default has the documented values.
    :param clock: the clock of both ends; a new one by default.
    :param strict: whether the client uses the strict key exchange.
    :param parts: what the avatar has beside its subsystems.
    :param work: hands out CPU time; by default none is used.
    """

    def __init__(
        self,
        subsystems: Mapping[bytes, SubsystemFactory],
        settings: SshSettings | None = None,
        *,
        clock: Clock | None = None,
        strict: bool = False,
        parts: AvatarParts = NO_PARTS,
        work: WorkScheduler | None = None,
    ) -> None:
        self.events = RecordedEvents()
        self.logouts: list[str] = []
        clock = clock or Clock()
        key = new_key()
        portal = make_test_portal(
            {"alice": make_user("alice", key)},
            subsystems,
            self.logouts.append,
            parts,
        )
        factory = make_factory(portal, clock, self.events, settings, work)
        self.connection = ClientConnection()
        super().__init__(
            factory, clock, lambda transport: self._log_in(transport, key), strict=strict
        )
        if not self.connection.started:
            raise AssertionError(f"the login failed: {self.events.told}")

    def _log_in(self, transport: ClientTransport, key: Key) -> None:
        transport.requestService(ClientUserAuth(b"alice", self.connection, key=key, password=None))

    def open_channel(
        self, *, window_bytes: int = 2 * 1024 * KIB, refill: bool = True
    ) -> ClientChannel:
        """A session channel without a subsystem. :raises SubsystemRefused: it is not opened."""
        channel = ClientChannel(window_bytes=window_bytes, refill=refill)
        self.connection.openChannel(channel)
        self.pump()
        if not channel.opened:
            raise SubsystemRefused(str(channel.open_failure or self.client.disconnect_text))
        return channel

    def open_subsystem(
        self, name: bytes = b"sftp", *, window_bytes: int = 2 * 1024 * KIB, refill: bool = True
    ) -> ClientChannel:
        """A session channel with a subsystem. :raises SubsystemRefused: it is not granted."""
        channel = self.open_channel(window_bytes=window_bytes, refill=refill)
        if not self.ask(channel, b"subsystem", NS(name)):
            raise SubsystemRefused(name.decode("utf-8", "replace"))
        return channel

    def open_command(
        self, line: bytes, *, window_bytes: int = 2 * 1024 * KIB, refill: bool = True
    ) -> ClientChannel:
        """A session channel with a command. :raises SubsystemRefused: it is not granted."""
        channel = self.open_channel(window_bytes=window_bytes, refill=refill)
        if not self.ask(channel, b"exec", NS(line)):
            raise SubsystemRefused(line.decode("utf-8", "replace"))
        return channel

    def ask(self, channel: ClientChannel, request: bytes, data: bytes = b"") -> bool:
        """Send a channel request and `pump`; returns whether the server grants it."""
        answers: list[bool] = []
        asked = channel.request(request, data)
        asked.addCallbacks(lambda _: answers.append(True), lambda _: answers.append(False))
        self.pump()
        return answers == [True]


def new_key() -> Key:
    """A fresh ed25519 private key."""
    return Key(Ed25519PrivateKey.generate())


def make_user(name: str, key: Key | None = None, password_hash: str | None = None) -> User:
    """A user who logs in with this key, this password, or both."""
    keys = NO_KEYS if key is None else {key.public().blob(): NO_OPTIONS}
    return User.with_home(
        name=name,
        bucket="uploads",
        key_prefix=f"home/{name}/",
        login=LoginRules(keys, password_hash),
    )


def make_test_portal(
    users: Mapping[str, User],
    subsystems: Mapping[bytes, SubsystemFactory],
    on_logout: Callable[[str], None] = lambda name: None,
    parts: AvatarParts = NO_PARTS,
) -> LoginPortal:
    """A portal that checks passwords at once instead of in a thread.

    :param users: the users by their names.
    :param subsystems: what each avatar offers, as with `LoggedInPair`.
    :param on_logout: takes the name of a user whose connection is gone.
    :param parts: what each avatar has beside these.
    """

    def make_avatar(user: User, labels: SessionLabels) -> GatewayAvatar:
        return GatewayAvatar(
            subsystems,
            lambda: on_logout(user.name),
            parts.window_memory,
            commands=parts.commands,
            output_memory=parts.output_memory,
            totals=parts.totals,
            user_sessions=parts.user_sessions,
            user=user.name,
            limits=parts.limits,
        )

    cheap_decoy = DEFAULT_DECOY.replace("$12$", "$04$")
    authenticator = RecordAuthenticator(
        StaticUserDirectory(users), call_at_once, Decoys([cheap_decoy])
    )
    return make_portal(authenticator, make_avatar)


def call_at_once(source: str, function: Callable[..., Any], *arguments: object) -> Deferred[Any]:
    """Takes the place of ``LoginThreads.run``: calls the function without a thread.

    :param source: the client's address; ignored.
    :param function: what is called.
    :param arguments: its arguments.
    """
    return maybeDeferred(function, *arguments)


def make_factory(
    portal: LoginPortal,
    clock: Clock,
    events: EventSink,
    settings: SshSettings | None = None,
    work: WorkScheduler | None = None,
    *,
    run_in_thread: RunInThread = call_at_once,
) -> GatewayFactory:
    """A factory with a fresh ed25519 host key and labels ``00000001``, ``00000002``, …

    Its work takes no CPU time unless `work` measures some. Conch's client has none of the MACs of
    the policy ``modern``.

    :param portal: checks logins.
    :param clock: the clock.
    :param events: takes the events.
    :param settings: [ssh]; the default has the documented values.
    :param work: hands out CPU time.
    :param run_in_thread: signs key exchanges where that takes long; by default at once.
    """
    labels = (f"{number:08x}" for number in range(1, 2**32))
    return GatewayFactory(
        portal=portal,
        host_keys=(new_key(),),
        settings=settings or SshSettings(),
        clock=clock,
        events=events,
        work=work or free_work(clock),
        run_in_thread=run_in_thread,
        new_label=lambda: next(labels),
    )
