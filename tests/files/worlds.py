"""Worlds that end: a process that loses its store at one request, a client that is lost.

Knows: the ways in which a process, its store or its client goes away, and what is left then.
Must not know: which files there are, or what may become of them.

    world = World(files, Death(Fate.KILLED_AFTER, request=3))
    client = world.client()
    with world.may_end():
        client.put(b"/a", b"new")               # the third request is its last
    world.settle()                              # processes that still live do what is left to do
    later = world.restarted()                   # another process, weeks later, that has cleared up
"""

from __future__ import annotations

import enum
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionLost
from twisted.python.failure import Failure

from sftpgw.errors import StoreUnavailable
from sftpgw.files.copies.copier import Copier
from sftpgw.files.housekeeping.sweeper import Sweeper, targets_of
from sftpgw.files.renames.recovery import RenameRecovery
from sftpgw.files.renames.settler import RenameSettler
from sftpgw.files.uploads.suspended.expiry import SuspendedExpiry
from sftpgw.model.settings import LimitSettings, StoreSettings
from sftpgw.model.subsystem import Subsystem
from sftpgw.model.users import User
from sftpgw.testing.fake_store import FakeStore
from sftpgw.testing.sftp_requests import encode_request
from sftpgw.testing.sftp_sessions import ALICE, GatewayInMemory, SftpClient, SftpFailure, SftpReply
from sftpgw.wire import sftp as wire
from tests.results import result_of

HOME = "home/alice/"
PART_BYTES = 16
WEEK_SECONDS = 7.5 * 86400.0
MOST_REQUESTS = 500
"""No job needs so many."""


class Fate(enum.Enum):
    """What happens at one request to the store."""

    KILLED_BEFORE = "the gateway dies, the request was never carried out"
    KILLED_AFTER = "the gateway dies, and the request was carried out"
    STORE_GONE = "the store is gone for good"
    STORE_GONE_AFTER = "the request is carried out, the response is lost, and the store is gone"
    ANSWER_LOST = "the request is carried out, the response is lost, and the store is back at once"
    CLIENT_LOST = "the client is gone while the request is under way"


KILLED = frozenset({Fate.KILLED_BEFORE, Fate.KILLED_AFTER})


@dataclass(frozen=True)
class Death:
    """`fate` strikes at request number `request`, from 0."""

    fate: Fate
    request: int


class Over(Exception):
    """The client gets no reply any more."""


class MortalStore(FakeStore):
    """A store that is lost at one request. What was asked for later never is."""

    def __init__(self, death: Death | None, **options: Any) -> None:
        super().__init__(**options)
        self.death = death
        self.asked = 0
        self.has_struck = False
        self.held: list[Deferred[None]] = []
        self.look: Callable[[], None] = lambda: None

    async def meet(self, operation: Callable[[], Awaitable[Any]]) -> Any:
        """Carry out a request, or not, and respond to it, or not."""
        number, death = self.asked, self.death
        self.asked += 1
        assert number < MOST_REQUESTS, "a job without an end"
        if death is None or number < death.request:
            return await self._carried_out(operation)
        is_the_one = number == death.request
        self.has_struck = True
        match death.fate:
            case Fate.KILLED_BEFORE:
                await self._never()
            case Fate.KILLED_AFTER:
                if is_the_one:
                    await self._carried_out(operation)
                await self._never()
            case Fate.STORE_GONE:
                raise StoreUnavailable("the store is gone")
            case Fate.STORE_GONE_AFTER | Fate.ANSWER_LOST:
                if is_the_one or death.fate is Fate.ANSWER_LOST:
                    answer = await self._carried_out(operation)
                    if not is_the_one:
                        return answer
                raise StoreUnavailable("the response was lost")
            case Fate.CLIENT_LOST if is_the_one:
                await self._never()
        return await self._carried_out(operation)

    async def _carried_out(self, operation: Callable[[], Awaitable[Any]]) -> Any:
        answer = await operation()
        self.look()
        return answer

    async def _never(self) -> None:
        """Or not before `held` fires."""
        waiting: Deferred[None] = Deferred()
        self.held.append(waiting)
        await waiting

    def go_on(self) -> None:
        """Let those that wait go on; what a dead process has asked for is never done."""
        is_dead = self.has_struck and self.death is not None and self.death.fate in KILLED
        if is_dead:
            self.death = Death(Fate.STORE_GONE, 0)
        held, self.held = self.held, []
        for each in held:
            if is_dead:  # so that no coroutine is left: it reaches the store no more
                each.errback(StoreUnavailable("the process is gone"))
            else:
                each.callback(None)


def _mortal(name: str) -> Callable[..., Awaitable[Any]]:
    honest = getattr(FakeStore, name)

    async def operation(self: MortalStore, *arguments: Any, **options: Any) -> Any:
        return await self.meet(lambda: honest(self, *arguments, **options))

    return operation


OPERATIONS = (
    *("head", "get", "put", "delete", "copy", "tags", "list", "list_uploads"),
    *("create_upload", "upload_part", "copy_part", "complete_upload", "abort_upload"),
)
for _name in OPERATIONS:
    setattr(MortalStore, _name, _mortal(_name))


class _Wire:
    """An SFTP session without SSH: a subsystem, and the client's end of its channel."""

    def __init__(self, gateway: GatewayInMemory, subsystem: Subsystem) -> None:
        self.events = gateway.events
        self.received = bytearray()
        self._clock = gateway.clock
        self._subsystem = subsystem
        self._is_lost = False

    # The server's end.

    def server_writes(self, *pieces: Any) -> None:
        self.received += b"".join(pieces)

    # What `SftpClient` asks of its pair and its channel.

    def open_subsystem(self, name: bytes, *, window_bytes: int, refill: bool) -> _Wire:
        self._subsystem.makeConnection(_ServersEnd(self))
        return self

    def write(self, data: bytes) -> None:
        if not self._is_lost:
            self._subsystem.dataReceived(data)

    def pump(self) -> None:
        clock = self._clock
        while any(call.getTime() <= clock.seconds() for call in clock.getDelayedCalls()):
            clock.advance(0)

    def drop(self) -> None:
        if not self._is_lost:
            self._is_lost = True
            self._subsystem.connectionLost(Failure(ConnectionLost()))
            self.pump()


class _ServersEnd:
    """A `FlowControl`."""

    unsent_bytes = 0

    def __init__(self, wire: _Wire) -> None:
        self.write = wire.server_writes

    @property
    def held_back(self) -> _ServersEnd:
        return self

    def before_release(self, call: object) -> bool:
        """Nothing is held back here."""
        return False

    def cork(self) -> AbstractContextManager[None]:
        return nullcontext()

    def write_error(self, text: bytes) -> None:
        """Nothing is printed on a subsystem."""

    def consumed(self, size_bytes: int) -> None:
        """The window is as large as it has to be."""

    def finish(self, exit_status: int) -> None:
        """No client waits for it."""

    def loseConnection(self) -> None:
        raise AssertionError("no test asks for that")


class MortalClient(SftpClient):
    """A client that is cut off before its message `dies_at`, or in the middle of it.

    :param dies_at: None: it lives.
    """

    def __init__(self, pair: Any, dies_at: int | None, *, in_the_middle: bool = False) -> None:
        super().__init__(pair)
        self.sent = 0
        self._dies_at = dies_at
        self._in_the_middle = in_the_middle

    def transmit(self, data: bytes) -> None:
        if self.sent == self._dies_at:
            if self._in_the_middle:
                super().transmit(data[: len(data) // 2])
            self.drop()
            raise Over
        self.sent += 1
        super().transmit(data)

    def answer(self, request_id: int) -> SftpReply:
        if request_id not in self.replies:
            raise Over
        return super().answer(request_id)


def client_without_ssh(gateway: GatewayInMemory, user: User = ALICE) -> SftpClient:
    """A session of alice's that costs no key exchange, with SFTP negotiated."""
    client = SftpClient(_Wire(gateway, gateway.subsystem(user)))  # type: ignore[arg-type]
    client.transmit(encode_request(wire.Init(3)))
    client.replies.clear()
    return client


class World:
    """A gateway on a store with some files of alice's.

    :param files: by their keys below her prefix.
    """

    def __init__(self, files: Mapping[str, bytes], death: Death | None = None) -> None:
        self.store = MortalStore(death, min_part_bytes=5, chunk_bytes=7, page_limit=3)
        for key, data in files.items():
            self.store.seed(HOME + key, data)
        self.gateway = GatewayInMemory(
            self.store,
            settings=StoreSettings(part_size_bytes=PART_BYTES, upload_concurrency=2),
            limits=LimitSettings(reorder_allowance_bytes=2 * PART_BYTES),
        )
        self.has_failed = False
        self._client: MortalClient | None = None

    def client(self, dies_at: int | None = None, *, in_the_middle: bool = False) -> MortalClient:
        """A session of alice's."""
        wires = _Wire(self.gateway, self.gateway.subsystem(ALICE))
        client = MortalClient(wires, None)
        client.transmit(encode_request(wire.Init(3)))
        client.sent = 0
        client._dies_at, client._in_the_middle = dies_at, in_the_middle
        self._client = client
        return client

    @contextmanager
    def may_end(self) -> Iterator[None]:
        """Requests may fail, or get no reply any more."""
        try:
            yield
        except (SftpFailure, Over):
            self.has_failed = True

    def settle(self) -> None:
        """The client leaves; the gateway, if it lives, does what it has to."""
        if self._client is not None:
            self._client.drop()
            self.store.go_on()
            self._client.pair.pump()
        assert self.gateway.budget.held_bytes == 0
        assert self.gateway.events.facts("defect") == []
        assert not self.gateway.clock.getDelayedCalls()

    def files(self) -> dict[str, bytes]:
        """The objects under alice's prefix."""
        return {
            name.key.removeprefix(HOME): held.data
            for name, held in self.store.objects.items()
            if name.key.startswith(HOME)
        }

    def restarted(self) -> GatewayInMemory:
        """Another process, so much later that it clears away all that was left."""
        gateway = GatewayInMemory(FakeStore(min_part_bytes=5))
        gateway.store.objects, gateway.store.uploads = self.store.objects, self.store.uploads
        gateway.store.now_seconds = self.store.now_seconds
        settings = StoreSettings(abort_stale_uploads_seconds=86400.0)
        sweeper = Sweeper(
            targets_of(lambda bucket: settings, [ALICE]),
            store=gateway.store,
            transfers=gateway.transfers,
            clock=gateway.clock,
            events=gateway.events,
            random=lambda: 0.5,
            expire=SuspendedExpiry(
                gateway.store,
                lambda bucket: settings.state_prefix,
                86400.0,
                gateway.clock,
                gateway.events,
            ).expire,
        )
        for _ in range(2):  # the second time for what the first has buried
            gateway.clock.advance(gateway.store.now_seconds - gateway.clock.seconds())
            gateway.clock.advance(WEEK_SECONDS)
            gateway.store.now_seconds = gateway.clock.seconds()
            result_of(finisher(gateway).look())
            result_of(sweeper.sweep())
        return gateway


def finisher(gateway: GatewayInMemory, buckets: tuple[str, ...] = ("bucket",)) -> RenameRecovery:
    """What finishes interrupted renames in the process that `gateway` is."""
    copier = Copier(gateway.store, gateway.transfers, gateway.events)
    return RenameRecovery(
        buckets,
        lambda bucket: gateway.settings.state_prefix,
        settler=RenameSettler(gateway.store, copier, gateway.clock, gateway.events),
        store=gateway.store,
        clock=gateway.clock,
        events=gateway.events,
        random=lambda: 0.5,
    )
