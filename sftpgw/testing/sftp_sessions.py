"""A whole gateway and its SFTP clients in memory: SSH, SFTP, files, a fake store.

Knows: how a session is built, and the client's half of SFTP.
Must not know: pytest, or any reactor.

    gateway = GatewayInMemory()
    client = gateway.log_in()                      # real SSH, in memory
    client.put(b"/a.txt", b"hello")
    assert gateway.store.content("home/alice/a.txt") == b"hello"
    client.get(b"/missing")                        # raises SftpFailure(NO_SUCH_FILE)

Requests may also be sent without waiting (`send`), to be answered after a gate of
the store was opened and `pump` was called: their replies are in ``client.replies``.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import count
from typing import Any

from twisted.internet.task import Clock

from sftpgw.aio.rate_limiter import UserRates
from sftpgw.aio.user_counts import UserCounts
from sftpgw.aio.work.scheduler import WorkScheduler
from sftpgw.files.digests import Digester
from sftpgw.files.memory.budget import Budget
from sftpgw.files.mtimes.cache import SharedMtimes
from sftpgw.files.quotas.held_uploads import HeldUploads, nothing_held
from sftpgw.files.quotas.keeper import QuotaKeeper
from sftpgw.files.transfers.registry import TransferRegistry
from sftpgw.files.tree import Tree
from sftpgw.model.settings import (
    NO_STORES,
    FilesSettings,
    GatewaySettings,
    LimitSettings,
    OnDisconnect,
    Settings,
    SshSettings,
    StoreSettings,
)
from sftpgw.model.shared_store import SharedStore
from sftpgw.model.units import KIB, MIB
from sftpgw.model.users import SessionLabels, User
from sftpgw.scp.console import Console
from sftpgw.session import Session, SharedContext
from sftpgw.sftp.protocol import SFTPProtocol
from sftpgw.sftp.unfinished import UnfinishedOfUsers
from sftpgw.testing.cpu_clocks import free_work
from sftpgw.testing.fake_store import FakeStore
from sftpgw.testing.sftp_requests import encode_request
from sftpgw.testing.ssh_clients import ClientChannel
from sftpgw.testing.ssh_pairs import AvatarParts, LoggedInPair, RecordedEvents
from sftpgw.wire import frames
from sftpgw.wire import sftp as wire
from sftpgw.wire.sftp import Kind, OpenFlag, Status

CREATE = OpenFlag.WRITE | OpenFlag.CREAT | OpenFlag.TRUNC
DOTS = (b".", b"..")
LABELS = SessionLabels("session", "192.0.2.1:4711")
ALICE = User.with_home("alice", "bucket", "home/alice/")


class SftpFailure(Exception):
    """A STATUS that is not OK."""

    def __init__(self, code: Status, message: str) -> None:
        super().__init__(f"{code.name}: {message}")
        self.code = code
        self.message = message


@dataclass(frozen=True)
class SftpReply:
    """What the server answered: its kind, and the field that this kind has."""

    kind: Kind
    code: Status | None = None
    message: str = ""
    body: bytes = b""
    names: tuple[tuple[bytes, bytes], ...] = ()
    listed: tuple[dict[str, int], ...] = ()
    attributes: dict[str, int] = field(default_factory=dict)


class StrictClock(Clock):
    """Refuses a delay below zero, as a reactor does and Twisted's `Clock` does not."""

    def callLater(
        self, delay: float, callable: Callable[..., object], *args: object, **kw: object
    ) -> Any:
        assert delay >= 0, f"{delay} seconds from now"
        return super().callLater(delay, callable, *args, **kw)


class GatewayInMemory:
    """What one process has: a store, a budget, the registry of files in flight, a clock.

    :param store: the fake one by default.
    :param settings: ``[s3]``.
    :param limits: ``[limits]``.
    :param ssh: ``[ssh]``.
    :param files: ``[files]``.
    :param holds_closes: as of `SharedContext`; by default a CLOSE is carried out at once.
    :param stores: each ``[store NAME]``, by name.
    """

    def __init__(
        self,
        store: FakeStore | None = None,
        *,
        settings: StoreSettings | None = None,
        limits: LimitSettings | None = None,
        ssh: SshSettings | None = None,
        files: FilesSettings | None = None,
        holds_closes: bool = False,
        stores: Mapping[str, StoreSettings] = NO_STORES,
    ) -> None:
        self.clock = StrictClock()
        self.clock.advance(1_700_000_000)
        self.store = store or FakeStore(min_part_bytes=1)
        self.settings = settings or StoreSettings(bucket="bucket")
        self.stores = stores
        self.limits = limits or LimitSettings()
        self.ssh = ssh or SshSettings()
        self.files = files or FilesSettings()
        self.holds_closes = holds_closes
        self.budget = Budget(self.limits.memory_bytes, self.clock.seconds)
        self.transfers = TransferRegistry(self.limits.directory_renames_per_user)
        self.mtimes = SharedMtimes()
        self.unfinished = UnfinishedOfUsers()
        self.counts = UserCounts()
        self.rates = UserRates(self.clock)
        self.events = RecordedEvents()
        self.quotas = self._new_quotas()
        self._serials = count(1)

    @cached_property
    def work(self) -> WorkScheduler:
        """Hands out CPU time, of which nothing is used."""
        return free_work(self.clock)

    def _new_quotas(self) -> QuotaKeeper:
        state_prefix = self.settings.state_prefix
        resumes = self.files.on_disconnect is OnDisconnect.RESUME
        held = HeldUploads(self.store, lambda bucket: state_prefix, self.events)
        return QuotaKeeper(
            self.store,
            held.count if resumes else nothing_held,
            self.clock,
            self.events,
            every_seconds=self.files.quota_recount_seconds,
            random=lambda: 1.0,
        )

    @property
    def digester(self) -> Digester:
        """Hashes stored files."""
        return Digester(self.work.share("alice", "digests"))

    def shared(self, store: SharedStore | None = None) -> SharedContext:
        """What all sessions share, on another `store` if one is given."""
        return SharedContext(
            settings=Settings(
                GatewaySettings(),
                self.settings,
                self.ssh,
                self.limits,
                self.files,
                {},
                stores=self.stores,
            ),
            store=store or self.store,
            budget=self.budget,
            work=self.work,
            clock=self.clock,
            events=self.events,
            random_bytes=lambda size: next(self._serials).to_bytes(size, "big"),
            holds_closes=self.holds_closes,
            transfers=self.transfers,
            mtimes=self.mtimes,
            unfinished=self.unfinished,
            counts=self.counts,
            rates=self.rates,
            quotas=self.quotas,
        )

    def session(self, user: User = ALICE, store: SharedStore | None = None) -> Session:
        """A session of `user`, as after a login."""
        return Session(self.shared(store), user, LABELS)

    def tree(self, user: User = ALICE, store: SharedStore | None = None) -> Tree:
        """The files of a user, in a session of its own."""
        return self.session(user, store).tree

    def subsystem(self, user: User = ALICE) -> SFTPProtocol:
        """An SFTP server for a session of a user."""
        return self.session(user).sftp()

    def command(self, line: bytes, user: User = ALICE) -> Console:
        """What runs a command line in a session of a user."""
        return self.session(user).command(line)

    def open_command(
        self, line: bytes, user: User = ALICE, *, reads: bool = True, window_bytes: int = 2 * MIB
    ) -> ExecutedCommand:
        """A client of a user's that runs a command line, and widens its window if it `reads`."""
        session = self.session(user)
        pair = LoggedInPair(
            {},
            self.ssh,
            clock=self.clock,
            parts=replace(_avatar_parts(session), commands=session.command),
            work=self.work,
        )
        channel = pair.open_command(line, window_bytes=window_bytes, refill=reads)
        return ExecutedCommand(pair, channel)

    def log_in(
        self,
        user: User = ALICE,
        *,
        greet: bool = True,
        reads: bool = True,
        window_bytes: int = 2 * MIB,
    ) -> SftpClient:
        """A client of a user's, with SFTP negotiated unless `greet` is False.

        :param user: who logs in.
        :param greet: whether SFTP is negotiated.
        :param reads: whether it widens its window of `window_bytes` as it reads.
        :param window_bytes: the first window of its channel.
        """
        session = self.session(user)
        pair = LoggedInPair(
            {b"sftp": session.sftp},
            self.ssh,
            clock=self.clock,
            parts=_avatar_parts(session),
            work=self.work,
        )
        client = SftpClient(pair, window_bytes=window_bytes, reads=reads)
        if greet:
            client.transmit(encode_request(wire.Init(3)))
            assert client.replies.pop(3).kind is Kind.VERSION
        return client

    def assert_idle(self) -> None:
        """Nothing is left: no upload, no memory, no defect in the log."""
        assert self.budget.held_bytes == 0
        assert self.budget.waiting == 0
        if isinstance(self.store, FakeStore):
            assert not self.store.uploads
        assert self.events.facts("defect") == []


def _avatar_parts(session: Session) -> AvatarParts:
    return AvatarParts(
        output_memory=session.context.budget,
        totals=session.traffic.facts,
        user_sessions=session.count_of_sessions,
        limits=session.limits,
    )


class ExecutedCommand:
    """A client's end of a command: what it says goes in, what it prints comes out."""

    def __init__(self, pair: LoggedInPair, channel: ClientChannel) -> None:
        self.pair = pair
        self.channel = channel
        self.pump()

    def say(self, data: bytes) -> bytes:
        """Send `data`; what the command has printed since the last time."""
        self.channel.write(data)  # type: ignore[no-untyped-call]
        return self.pump()

    def end_input(self) -> bytes:
        """Send EOF; what the command has printed since the last time."""
        self.channel.send_eof()
        return self.pump()

    def pump(self) -> bytes:
        """Move everything that can move, turns of the reactor included, until nothing does."""
        while True:
            before = len(self.channel.received)
            self.pair.pump()
            waiting = [call for call in self.pair.clock.getDelayedCalls() if _is_due(self, call)]
            if not waiting and before == len(self.channel.received):
                break
            self.pair.clock.advance(0)
        printed = bytes(self.channel.received)
        self.channel.received.clear()
        return printed

    @property
    def status(self) -> int | None:
        """The exit status, once it has come."""
        return self.channel.exit_status

    @property
    def complaints(self) -> bytes:
        """What was printed on standard error."""
        return bytes(self.channel.complaints)

    def drop(self) -> None:
        """Lose the connection."""
        self.pair.drop()


def _is_due(client: ExecutedCommand, call: Any) -> bool:
    return bool(call.getTime() <= client.pair.clock.seconds())


class SftpClient:
    """A client that sends what it is told, and keeps every reply by request id."""

    def __init__(
        self, pair: LoggedInPair, *, window_bytes: int = 2 * MIB, reads: bool = True
    ) -> None:
        self.pair = pair
        self.channel = pair.open_subsystem(b"sftp", window_bytes=window_bytes, refill=reads)
        self.replies: dict[int, SftpReply] = {}
        self.open_seconds = 0.0
        """So much time passes while an OPEN is not answered: it may wait for a CLOSE."""
        self._frames = frames.Frames(2 * frames.MAX_FRAME_BYTES)
        self._ids = count(100)

    # Requests and replies.

    def send_together(self, *requests: wire.Request) -> list[int]:
        """Send requests in one flight; their ids."""
        ids = [next(self._ids) for _ in requests]
        numbered = zip(requests, ids, strict=True)
        self.transmit(
            b"".join(
                encode_request(replace(request, request_id=request_id))
                for request, request_id in numbered
                if not isinstance(request, wire.Init)
            )
        )
        return ids

    def transmit(self, data: bytes) -> None:
        """Raw bytes; their replies are kept."""
        self.channel.write(data)  # type: ignore[no-untyped-call]
        self.pump()

    def pump(self) -> None:
        """Move everything that can move, and read the replies."""
        self.pair.pump()
        self._frames.feed(bytes(self.channel.received))
        self.channel.received.clear()
        while (frame := self._frames.next()) is not None:
            request_id, reply = _parse_reply(frame.head)
            assert request_id not in self.replies, f"request {request_id} has two answers"
            self.replies[request_id] = reply

    def send(self, request: wire.Request) -> int:
        """Send a request under a fresh id, and return that."""
        assert not isinstance(request, wire.Init)
        request_id = next(self._ids)
        self.transmit(encode_request(replace(request, request_id=request_id)))
        return request_id

    def ask(self, request: wire.Request) -> SftpReply:
        """The answer to a request. :raises SftpFailure: a STATUS that is not OK."""
        return self.answer(self.send(request))

    def answer(self, request_id: int) -> SftpReply:
        """The reply that has come for a request. :raises SftpFailure:"""
        assert request_id in self.replies, (
            f"no answer to {request_id}: {self.pair.events.told[-3:]}"
        )
        reply = self.replies.pop(request_id)
        if reply.code not in (None, Status.OK):
            raise SftpFailure(reply.code or Status.FAILURE, reply.message)
        return reply

    def drop(self) -> None:
        """Lose the connection."""
        self.pair.drop()

    # What clients do.

    def open(self, path: bytes, flags: int = OpenFlag.READ, **attributes: int) -> bytes:
        request_id = self.send(wire.Open(0, path, flags, attributes))
        if request_id not in self.replies and self.open_seconds:
            self.pair.clock.advance(self.open_seconds)
            self.pump()
        return self.answer(request_id).body

    def write(self, handle: bytes, offset: int, data: bytes) -> None:
        self.ask(wire.Write(0, handle, offset, (data,)))

    def read(self, handle: bytes, offset: int, length: int) -> bytes:
        return self.ask(wire.Read(0, handle, offset, length)).body

    def close(self, handle: bytes) -> None:
        self.ask(wire.OnHandle(Kind.CLOSE, 0, handle))

    def put(
        self, path: bytes, data: bytes, *, flags: int = CREATE, step_bytes: int = 32 * KIB
    ) -> None:
        """OPEN, WRITEs, CLOSE."""
        handle = self.open(path, flags)
        for offset in range(0, len(data), step_bytes):
            self.write(handle, offset, data[offset : offset + step_bytes])
        self.close(handle)

    def get(self, path: bytes, *, step_bytes: int = 32 * KIB) -> bytes:
        """OPEN, READs up to EOF, CLOSE."""
        handle = self.open(path)
        data = b""
        try:
            while True:
                data += self.read(handle, len(data), step_bytes)
        except SftpFailure as failure:
            if failure.code is not Status.EOF:
                raise
        self.close(handle)
        return data

    def on_path(self, kind: Kind, path: bytes) -> SftpReply:
        return self.ask(wire.OnPath(kind, 0, path))

    def stat(self, path: bytes) -> dict[str, int]:
        return self.on_path(Kind.STAT, path).attributes

    def remove(self, path: bytes) -> None:
        self.on_path(Kind.REMOVE, path)

    def mkdir(self, path: bytes) -> None:
        self.ask(wire.ChangePath(Kind.MKDIR, 0, path, {}))

    def rmdir(self, path: bytes) -> None:
        self.on_path(Kind.RMDIR, path)

    def rename(self, old: bytes, new: bytes) -> None:
        self.ask(wire.OnTwoPaths(Kind.RENAME, 0, old, new))

    def set_times(self, path: bytes, seconds: int) -> None:
        self.ask(wire.ChangePath(Kind.SETSTAT, 0, path, {"atime": seconds, "mtime": seconds}))

    def posix_rename(self, old: bytes, new: bytes) -> None:
        self.extended(b"posix-rename@openssh.com", wire.string(old) + wire.string(new))

    def extended(self, name: bytes, data: bytes) -> SftpReply:
        return self.ask(wire.Extended(0, name, data))

    def listdir(self, path: bytes) -> list[bytes]:
        return [name for name, _ in self.entries(path)]

    def entries(self, path: bytes) -> list[tuple[bytes, bytes]]:
        """OPENDIR, READDIRs up to EOF, CLOSE: names and long names, but for ``.`` and ``..``."""
        handle = self.on_path(Kind.OPENDIR, path).body
        found = [entry for reply in self._readdirs(handle) for entry in reply.names]
        found = [(name, long_name) for name, long_name in found if name not in DOTS]
        self.close(handle)
        return found

    def listed(self, path: bytes) -> dict[bytes, dict[str, int]]:
        """OPENDIR, READDIRs up to EOF, CLOSE: names and attributes, but for ``.`` and ``..``."""
        handle = self.on_path(Kind.OPENDIR, path).body
        found = {
            name: attributes
            for reply in self._readdirs(handle)
            for (name, _), attributes in zip(reply.names, reply.listed, strict=True)
            if name not in DOTS
        }
        self.close(handle)
        return found

    def _readdirs(self, handle: bytes) -> Iterator[SftpReply]:
        while True:
            try:
                yield self.ask(wire.OnHandle(Kind.READDIR, 0, handle))
            except SftpFailure as failure:
                if failure.code is not Status.EOF:
                    raise
                return


def _parse_reply(frame: bytes) -> tuple[int, SftpReply]:
    kind, request_id = Kind(frame[0]), int.from_bytes(frame[1:5], "big")
    fields = wire.SftpFields(frame, 5, request_id)
    match kind:
        case Kind.STATUS:
            code, message = Status(fields.uint32()), fields.string().decode()
            return request_id, SftpReply(kind, code=code, message=message)
        case Kind.HANDLE | Kind.DATA:
            return request_id, SftpReply(kind, body=fields.string())
        case Kind.ATTRS:
            return request_id, SftpReply(kind, attributes=fields.attributes())
        case Kind.NAME:
            entries, listed = [], []
            for _ in range(fields.uint32()):
                entries.append((fields.string(), fields.string()))
                listed.append(fields.attributes())
            return request_id, SftpReply(kind, names=tuple(entries), listed=tuple(listed))
        case Kind.EXTENDED_REPLY:
            return request_id, SftpReply(kind, body=fields.rest())
    assert kind is Kind.VERSION, kind
    return request_id, SftpReply(kind, body=fields.rest())


def space_figures(reply: SftpReply) -> tuple[int, ...]:
    """The eleven numbers of a statvfs reply."""
    return struct.unpack(">11Q", reply.body)
