"""One user's session: the files, and the subsystem and commands that serve them.

Knows: what every session shares (`SharedContext`), and how a session is built from it.
Must not know: SSH's login, how the process starts and ends.

The gateway and the tests build sessions here, so that a test runs what partners get.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from sftpgw.aio.rate_limiter import UserRates
from sftpgw.aio.user_counts import UserCount, UserCounts
from sftpgw.aio.work.scheduler import WorkScheduler
from sftpgw.files.digests import Digester
from sftpgw.files.mtimes.cache import MtimeCache, SharedMtimes
from sftpgw.files.quotas.keeper import QuotaKeeper
from sftpgw.files.quotas.plan.quota import quotas_of
from sftpgw.files.quotas.session_quotas import SessionQuotas
from sftpgw.files.session_context import SessionContext
from sftpgw.files.traffic import SessionTraffic
from sftpgw.files.transfers.registry import TransferRegistry
from sftpgw.files.tree import Tree
from sftpgw.model.clock import Clock
from sftpgw.model.events import EventSink
from sftpgw.model.memory import MemoryBudget
from sftpgw.model.object_settings import ObjectsOfPrefix, ObjectTable
from sftpgw.model.settings import Settings, StoreSettings
from sftpgw.model.shared_store import SharedStore
from sftpgw.model.users import SessionLabels, User
from sftpgw.scp.commands import CommandContext, make_console
from sftpgw.scp.console import Console
from sftpgw.sftp.close_hold import close_wait_seconds
from sftpgw.sftp.handles import Handles
from sftpgw.sftp.protocol import SFTPProtocol
from sftpgw.sftp.server import GatewayServer
from sftpgw.sftp.unfinished import UnfinishedOfUsers
from sftpgw.ssh.avatar import GatewayAvatar
from sftpgw.ssh.channel_pace import SessionLimits
from sftpgw.ssh.window_shares import WindowMemory


class SharedBudget(MemoryBudget, Protocol):
    """The memory of the process, of which each user has a share."""

    def share(self, user: str) -> MemoryBudget: ...


@dataclass(frozen=True, kw_only=True)
class SharedContext:
    """What all sessions of a process share.

    :param settings: the whole configuration.
    :param store: where the files are.
    :param budget: the memory that all transfers may hold.
    :param work: hands out CPU time.
    :param clock: times sessions and requests.
    :param events: takes the events; each session binds its fields to it.
    :param random_bytes: makes the names of handles; takes a number of bytes.
    :param window_memory: the memory that the receive windows of all channels may hold; None if
        windows are not counted.
    :param holds_closes: whether a CLOSE may wait for the time of its file, as ``late_times`` says.
    :param transfers: the files that are open.
    :param mtimes: the modification times that have been seen.
    :param unfinished: the requests whose channels have ended.
    :param counts: how many sessions and handles each user has.
    :param rates: how fast the bytes of each user may move.
    :param quotas: how much is stored at places with a quota; None: no quota holds.
    """

    settings: Settings
    store: SharedStore
    budget: SharedBudget
    work: WorkScheduler
    clock: Clock
    events: EventSink
    random_bytes: Callable[[int], bytes]
    window_memory: WindowMemory | None = None
    holds_closes: bool = True
    transfers: TransferRegistry = field(default_factory=TransferRegistry)
    mtimes: SharedMtimes = field(default_factory=SharedMtimes)
    unfinished: UnfinishedOfUsers = field(default_factory=UnfinishedOfUsers)
    counts: UserCounts = field(default_factory=UserCounts)
    rates: UserRates
    quotas: QuotaKeeper | None = None


class Session:
    """What one login can open: SFTP and commands, on the user's own files.

    :param shared: what all sessions share.
    :param user: who has logged in.
    :param labels: how the log names the session.
    """

    def __init__(self, shared: SharedContext, user: User, labels: SessionLabels) -> None:
        self._shared = shared
        self._user = user
        bound = {"session": labels.session, "peer": labels.peer, "user": user.name}
        objects = object_table(user, labels, shared.settings.store_of)
        self.context = SessionContext(
            user=user.name,
            session=labels.session,
            store=shared.store.bind(objects, owner=user, **bound),
            budget=shared.budget.share(user.name),
            transfers=shared.transfers.seen_from(user.mounts),
            times=MtimeCache(shared.mtimes, user.name),
            clock=shared.clock,
            events=shared.events.bind(**bound),
            settings_of=shared.settings.store_of,
            limits=shared.settings.limits,
            files=shared.settings.files,
            work=shared.work.share(user.name, labels.session),
            file_bytes=user.limits.file_bytes,
            objects=objects,
            quotas=_quotas_of(shared, user),
        )
        self._digester = Digester(self.context.work)
        self.tree = Tree(user, self.context)

    @property
    def traffic(self) -> SessionTraffic:
        """The bytes that this session has moved."""
        return self.context.traffic

    def sftp(self) -> SFTPProtocol:
        """An SFTP server for one channel."""
        shared = self._shared
        return SFTPProtocol(
            GatewayServer(
                self._user.name, self.tree, shared.clock, shared.settings.files, self._digester
            ),
            handles=Handles(
                shared.settings.ssh.handles_per_session,
                shared.random_bytes,
                self._count("handles", shared.settings.limits.handles_per_user),
                self.context.budget,
            ),
            events=self.context.events,
            clock=shared.clock,
            work=self.context.work,
            close_wait_seconds=close_wait_seconds(shared.settings.files)
            if shared.holds_closes
            else None,
            unfinished=shared.unfinished.of(self._user.name),
            memory=self.context.budget,
        )

    def command(self, line: bytes) -> Console:
        """The run of one command line."""
        files = self._shared.settings.files
        commands = CommandContext(self.tree, self._digester, files.file_mode, files.directory_mode)
        return make_console(line, commands, events=self.context.events, work=self.context.work)

    def avatar(self) -> GatewayAvatar:
        """What Conch asks for channels."""
        windows = self._shared.window_memory
        return GatewayAvatar(
            {b"sftp": self.sftp},
            window_memory=None if windows is None else windows.share(self._user.name),
            commands=self.command,
            output_memory=self.context.budget,
            totals=self.traffic.facts,
            user_sessions=self.count_of_sessions,
            user=self._user.name,
            limits=self.limits,
        )

    @property
    def limits(self) -> SessionLimits:
        """What all sessions of the user share."""
        of, user = self._shared.rates.of, self._user
        return SessionLimits(
            of(user.name, "upload", user.limits.upload_rate_bytes),
            of(user.name, "download", user.limits.download_rate_bytes),
            self.context.session,
            user.limits.sessions,
        )

    @property
    def count_of_sessions(self) -> UserCount:
        """Counts the channels of all connections of the user."""
        return self._count("sessions", self._shared.settings.limits.sessions_per_user)

    def _count(self, what: str, limit: int) -> UserCount:
        return self._shared.counts.of(self._user.name, what, limit)


def object_table(
    user: User, labels: SessionLabels, store_of: Callable[[str], StoreSettings]
) -> ObjectTable:
    """How the objects of a session are stored: as its mounts say, else as their stores do.

    :param user: the user.
    :param labels: how the log names the session, for tags.
    :param store_of: returns the settings of the store that a bucket is in.
    """
    known = {
        "username": user.name,
        "client_ip": client_ip_of(labels.peer),
        "session": labels.session,
    }
    rows = [
        ObjectsOfPrefix(
            mount.bucket,
            mount.key_prefix,
            store_of(mount.bucket).state_prefix,
            mount.objects.under(store_of(mount.bucket).objects).filled(known),
        )
        for mount in user.mounts
    ]
    rows.sort(key=lambda row: -len(row.prefix))
    return ObjectTable(tuple(rows), lambda bucket: store_of(bucket).objects.of_gateway)


def _quotas_of(shared: SharedContext, user: User) -> SessionQuotas | None:
    """The quotas of a user; None for most users, for whom nothing is counted."""
    if shared.quotas is None or not user.limits.quotas:
        return None
    store_of = shared.settings.store_of
    quotas = quotas_of(user, lambda bucket: store_of(bucket).state_prefix)
    return SessionQuotas(user.name, quotas, shared.quotas) if quotas else None


def client_ip_of(peer: str) -> str:
    """The address in ``address:port`` or ``[address]:port``; other texts as they are."""
    address, separator, port = peer.rpartition(":")
    return address.strip("[]") if separator and port.isdigit() else peer
