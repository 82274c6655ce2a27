"""The gateway: one process, put together from the settings.

Knows: the constructors of the packages, and the order of start and stop.
Must not know: the command line, or how any package does its work.
"""

from __future__ import annotations

import os
import random
import secrets
import time
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any, TypeVar

from twisted.conch.ssh.keys import Key
from twisted.cred.error import UnauthorizedLogin
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.defer import TimeoutError as WaitedTooLong
from twisted.internet.threads import deferToThread
from twisted.logger import Logger
from twisted.python.failure import Failure

from sftpgw.aio.fair_order import Path as FairPath
from sftpgw.aio.periodic import PeriodicTask
from sftpgw.aio.rate_limiter import UserRates
from sftpgw.aio.work.garbage import GarbageCollector
from sftpgw.aio.work.iterations import Iteration, IterationWatch
from sftpgw.aio.work.plan import WorkPlan
from sftpgw.aio.work.scheduler import WorkScheduler
from sftpgw.aio.work.stepped import in_turns
from sftpgw.auth.key_rules import is_withdrawn
from sftpgw.auth.lockout.lockout import Lockout
from sftpgw.auth.realm import LoginPortal, make_portal
from sftpgw.auth.sources.asked_source import AskedUserSource
from sftpgw.auth.sources.live import LiveUsers
from sftpgw.auth.threads import LoginThreads
from sftpgw.checks import Level, buckets_of, look_at_buckets
from sftpgw.control.ban_requests import BanRequests
from sftpgw.control.control_service import ControlService
from sftpgw.files.copies.copier import Copier
from sftpgw.files.housekeeping.housekeeper import Housekeeper
from sftpgw.files.housekeeping.sweeper import Sweeper, targets_of
from sftpgw.files.memory.budget import Budget
from sftpgw.files.mtimes.cache import SharedMtimes
from sftpgw.files.quotas.held_uploads import HeldUploads, nothing_held
from sftpgw.files.quotas.keeper import QuotaKeeper
from sftpgw.files.renames.recovery import RenameRecovery
from sftpgw.files.renames.settler import RenameSettler
from sftpgw.files.transfers.registry import TransferRegistry
from sftpgw.files.uploads.suspended.expiry import SuspendedExpiry
from sftpgw.machine_checks import check_plugin_cache, descriptor_limit
from sftpgw.model.events import EventSink
from sftpgw.model.events.gateway_events import Defect, Draining, IterationLong
from sftpgw.model.settings import OnChange, OnDisconnect, Settings
from sftpgw.model.steps import Steps
from sftpgw.model.users import SessionLabels, User
from sftpgw.s3.store_factory import open_stores
from sftpgw.s3.user_scopes import scopes_of_store
from sftpgw.session import Session, SharedContext
from sftpgw.ssh.avatar import GatewayAvatar
from sftpgw.ssh.factory import GatewayFactory
from sftpgw.ssh.window_shares import WindowMemory
from sftpgw.startup import check_requests, request_limits
from sftpgw.telemetry.limiter import LogLimiter
from sftpgw.telemetry.logs import LogSink
from sftpgw.user_reload.account_sessions import AccountSessions
from sftpgw.user_reload.directory_watch import DirectoryWatch
from sftpgw.user_reload.plan import STEP_USERS, UserChanges
from sftpgw.user_reload.rechecker import UserRechecker
from sftpgw.user_reload.reloader import UserReloader
from sftpgw.user_sources import chained, live_sources

GOODBYE_SECONDS = 2.0
"""How long clients may take to hang up once nothing of theirs is under way."""

ABANDON_SECONDS = 20.0
"""How long uploads that were cut off may take to clean up in the store. This includes the
10 seconds (`ABORT_AFTER_SECONDS`) that a client has to read the DISCONNECT."""

QUOTAS_SECONDS = 5.0
"""How long it may take to tell other gateways what was stored (`quotas/keeper`)."""

EXPIRY_SECONDS = 15.0
"""How often sessions are ended whose account has ended (`expires`)."""

WINDOWS = "/windows"
"""The name under which the budget counts receive windows. No user's name has a slash."""

WINDOWS_SHARE = 4
"""Windows share this fraction of all memory, a quarter, and never block the queue for parts. Those
of users below a fair share may exceed it (`ssh/window_shares`)."""

T = TypeVar("T")

log = Logger("sftpgw")


class Gateway:
    """All that one process serves with, put together.

    :param settings: the whole configuration.
    :param host_keys: the keys that the gateway proves its identity with.
    :param reactor: Twisted's.
    :ivar log_limiter: bounds what the log is told.
    :ivar iterations: how long the reactor's iterations are.
    """

    def __init__(self, settings: Settings, host_keys: tuple[Key, ...], reactor: Any) -> None:
        self._settings, self._reactor = settings, reactor
        threads = LoginThreads(reactor)
        self._users = LiveUsers(settings.users, threads.run, settings.key_trust, settings.make_user)
        weight_of = self._users.weight_of
        self.log_limiter = LogLimiter(reactor)
        self.log_limiter.tell(LogSink(log))
        self._events: EventSink = LogSink(log, limiter=self.log_limiter)
        self._work = WorkScheduler(reactor, time.perf_counter, WorkPlan(weight_of))
        self.iterations = IterationWatch(
            reactor,
            self._work,
            cpu_seconds=time.thread_time,
            wall_seconds=time.monotonic,
            on_long=self._on_long_iteration,
        )
        self._garbage = GarbageCollector(reactor.callFromThread, self._work)
        self._store = open_stores(
            settings.all_stores,
            reactor,
            self._events,
            work=self._work,
            wall_clock=time.time,
            random=random.random,
            in_thread=deferToThread,
            environment=os.environ,
            limits=request_limits(settings, descriptor_limit()),
            weight_of=weight_of,
            scopes_of=lambda store: scopes_of_store(
                store, settings, deferToThread, reactor, self._events
            ),
        )
        self._shared = self._make_shared()
        self._look: Deferred[None] | None = None
        sweeper, recovery = self._make_sweeper(), self._make_rename_recovery()
        self._housekeeper = Housekeeper(settings.store_of, sweeper, recovery)
        self._sessions = AccountSessions(lambda: self.factory.connections)
        self._trust = settings.key_trust
        sources = live_sources(self._users, settings, reactor, self._events)
        self._rechecker = self._make_rechecker(sources)
        self._reloader = self._make_reloader()
        self._expiry = PeriodicTask(
            self._end_expired,
            first_seconds=EXPIRY_SECONDS,
            every_seconds=EXPIRY_SECONDS,
            clock=reactor,
            on_failure=lambda failure: self._events.emit(Defect(where="expiry", failure=failure)),
        )
        self.factory = GatewayFactory(
            portal=self._make_portal(sources),
            host_keys=host_keys,
            settings=settings.ssh,
            clock=reactor,
            events=self._events,
            work=self._work,
            run_in_thread=threads.run,
        )
        self._control = self._make_control()

    def _make_shared(self) -> SharedContext:
        """What all sessions share."""
        settings, weight_of = self._settings, self._users.weight_of
        memory_bytes = settings.limits.memory_bytes
        budget = Budget.within(memory_bytes, self._reactor.seconds, weight_of)
        windows = WindowMemory(budget.share(WINDOWS), memory_bytes // WINDOWS_SHARE, weight_of)
        self._quotas = self._make_quotas()
        return SharedContext(
            settings=settings,
            store=self._store,
            budget=budget,
            window_memory=windows,
            work=self._work,
            clock=self._reactor,
            events=self._events,
            random_bytes=secrets.token_bytes,
            transfers=TransferRegistry(settings.limits.directory_renames_per_user, weight_of),
            mtimes=SharedMtimes(weight_of),
            rates=UserRates(self._reactor),
            quotas=self._quotas,
        )

    def _make_quotas(self) -> QuotaKeeper:
        files, store = self._settings.files, self._store
        held = HeldUploads(store.of_gateway(), self._state_prefix_of, self._events)
        return QuotaKeeper(
            store,
            held.count if files.on_disconnect is OnDisconnect.RESUME else nothing_held,
            self._reactor,
            self._events,
            every_seconds=files.quota_recount_seconds,
            random=random.random,
            weight_of=self._users.weight_of,
        )

    def _make_rechecker(self, sources: list[AskedUserSource]) -> UserRechecker:
        return UserRechecker(
            sources if self._settings.auth.on_change is OnChange.DISCONNECT else (),
            self._sessions,
            is_outdated=self._users.is_outdated,
            clock=self._reactor,
            events=self._events,
        )

    def _make_portal(self, sources: list[AskedUserSource]) -> LoginPortal:
        lockout = Lockout.of(self._settings.ssh, self._settings.lockout, time.time)
        return make_portal(chained(self._users, sources), self._make_avatar, lockout=lockout)

    def _make_control(self) -> ControlService:
        factory, events = self.factory, self._events
        bans = BanRequests(factory.portal.lockout, factory.admission.forgive, events)
        return ControlService(self._settings.gateway.control, bans.handlers, self._reactor, events)

    def _state_prefix_of(self, bucket: str) -> str:
        return self._settings.store_of(bucket).state_prefix

    def _make_sweeper(self) -> Sweeper:
        settings = self._settings
        expiring = SuspendedExpiry(
            self._store,
            self._state_prefix_of,
            settings.files.partials_kept_seconds,
            self._reactor,
            self._events,
        )
        return Sweeper(
            targets_of(settings.store_of, settings.users.values(), buckets_of(settings)),
            store=self._store,
            transfers=self._shared.transfers,
            clock=self._reactor,
            events=self._events,
            random=random.random,
            expire=expiring.expire,
        )

    def _make_rename_recovery(self) -> RenameRecovery:
        copier = Copier(self._store, self._shared.transfers, self._events)
        return RenameRecovery(
            buckets_of(self._settings),
            self._state_prefix_of,
            settler=RenameSettler(self._store, copier, self._reactor, self._events),
            store=self._store,
            clock=self._reactor,
            events=self._events,
            random=random.random,
        )

    def _make_reloader(self) -> UserReloader | None:
        files = self._settings.user_files
        if files is None:
            return None
        return UserReloader(
            files,
            self._users,
            in_thread=deferToThread,
            in_turns=self._in_turns,
            clock=self._reactor,
            events=self._events,
            watch=lambda on_event: DirectoryWatch(self._reactor, on_event),
            follow=self._follow_changes,
        )

    def _in_turns(self, steps: Steps[T]) -> Coroutine[Any, Any, T]:
        return in_turns(self._work, ("", "", "users"), "users", steps)

    def reload_users(self) -> None:
        """Read the files of users again."""
        if self._reloader is not None:
            self._reloader.ask()

    def _follow_changes(self, changes: UserChanges) -> Steps[int]:
        """Sweep and recover what new users have; end sessions that do not fit any more."""
        for first in range(0, len(changes.fresh), STEP_USERS):
            self._housekeeper.add(changes.fresh[first : first + STEP_USERS])
            yield
        if self._settings.auth.on_change is OnChange.KEEP:
            return 0
        ended = yield from self._sessions.end_of_users(changes.ended)
        before, self._trust = self._trust, self._users.trust
        if self._trust is not before:
            trust = self._trust
            ended += yield from self._sessions.end_revoked(
                lambda key, user: is_withdrawn(key, user, trust)
            )
        return ended

    async def _end_expired(self) -> None:
        await self._in_turns(self._sessions.end_expired(time.time()))

    def _make_avatar(self, user: User, labels: SessionLabels) -> GatewayAvatar:
        if self._users.is_outdated(user):
            raise UnauthorizedLogin("the account has changed during the login")
        avatar = Session(self._shared, user, labels).avatar()
        self._sessions.began(avatar, user)
        self._housekeeper.on_session(user)
        return avatar

    def start(self) -> None:
        """Begin the work that no client asks for: looks at the buckets, clears up after crashes."""
        self._look_around()
        self._housekeeper.start()
        if self._reloader is not None:
            self._reloader.start()
        self._expiry.start()
        self._rechecker.start()
        self._control.start()
        self._garbage.start()  # behind all that is made to stay
        self.iterations.start()

    def _on_long_iteration(self, iteration: Iteration, count: int) -> None:
        longest = iteration.longest
        events = self._events.bind(**_owner_of(longest.path))
        events.emit(
            IterationLong(
                cpu_seconds=round(iteration.cpu_seconds, 3),
                wall_seconds=round(iteration.wall_seconds, 3),
                work=longest.kind or "not measured",
                work_seconds=round(longest.seconds, 3),
                count=count,
            )
        )

    def _look_around(self) -> None:
        self._look = Deferred.fromCoroutine(self._tell_findings())
        self._look.addErrback(self._look_failed)

    def _look_failed(self, failure: Failure) -> None:
        if not failure.check(CancelledError):
            self._events.emit(Defect(where="start", failure=failure))

    async def _tell_findings(self) -> None:
        """Tell the log at the start what does not work, before a client finds out."""
        settings = self._settings
        check_requests(settings, self._tell_finding)
        check_plugin_cache(self._tell_finding)
        # With a short deadline, and without events of its own: the findings tell.
        store = self._store.assuming(settings.s3.capabilities)
        await look_at_buckets(settings, store, self._reactor, self._events, self._tell_finding)

    def _tell_finding(self, level: Level, text: str) -> None:
        if level is Level.FAULT:
            log.warn("{text}", text=text)
        else:
            log.info("{text}", text=text)

    async def stop(self) -> None:
        """Let transfers finish, cut off the rest, disconnect all clients, close the store."""
        if self._look is not None:
            self._look.cancel()
        if self._reloader is not None:
            self._reloader.stop()
        self._expiry.stop()
        self._rechecker.stop()
        self._housekeeper.stop()
        drain_seconds = self._settings.limits.drain_seconds
        self._events.emit(
            Draining(sessions=len(self.factory.connections), at_most_seconds=drain_seconds)
        )
        self._shared.transfers.drain()
        await self._at_most(drain_seconds, self._shared.transfers.idle())
        # A client that has just learnt that its file is stored hangs up by itself.
        await self._at_most(GOODBYE_SECONDS, self.factory.all_gone())
        self.factory.disconnect_all("the gateway is shutting down")
        await self._at_most(ABANDON_SECONDS, self._shared.transfers.idle())
        await self._at_most(QUOTAS_SECONDS, self._quotas.stop())
        await self._store.close()
        await self._control.stop()
        self.log_limiter.flush()
        self.iterations.stop()
        self._garbage.stop()

    async def _at_most(self, limit_seconds: float, waiting: Coroutine[Any, Any, None]) -> None:
        with suppress(WaitedTooLong):
            await Deferred.fromCoroutine(waiting).addTimeout(limit_seconds, self._reactor)


def _owner_of(path: FairPath) -> dict[str, str]:
    """Whose work it was, as the log names them: before a login the address, then the user."""
    user, session, *_ = *path, "", ""
    owner = {"peer": user[1:]} if user.startswith("/") else {"user": user}
    return {name: value for name, value in {"session": session, **owner}.items() if value}
