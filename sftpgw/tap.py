"""The ``sftpgw`` command of twistd: the one place where the rooms are put together.

Knows: the command line, every room's constructors, and the order of start and stop.
Must not know: how any room does its work.

All that can be wrong is found while the options are read: before twistd starts to log,
to fork or to listen, so that it can be told on standard error and by an exit status.
"""

from __future__ import annotations

import os
import random
import secrets
import signal
import sys
import time
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NoReturn, TextIO

from twisted.application.service import IService
from twisted.conch.ssh.keys import Key
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.defer import TimeoutError as WaitedTooLong
from twisted.internet.interfaces import IStreamServerEndpoint
from twisted.internet.task import react
from twisted.internet.threads import deferToThread
from twisted.logger import Logger
from twisted.python import usage
from twisted.python.failure import Failure

from sftpgw import __version__, demo
from sftpgw.auth.login_keys import authorized_blob
from sftpgw.auth.passwords import Decoys, check_password_hash
from sftpgw.auth.realm import make_portal
from sftpgw.auth.sources.static import StaticUserDirectory
from sftpgw.auth.threads import LoginThreads
from sftpgw.aws.credentials import CredentialSource, credential_source
from sftpgw.aws.endpoints import Endpoints
from sftpgw.checks import Finding, Level, Report, RetryReporter, check_buckets, look_at_buckets
from sftpgw.config import load_settings
from sftpgw.errors import ConfigError, StoreError
from sftpgw.files.copies.copier import Copier
from sftpgw.files.digests import Digester
from sftpgw.files.housekeeping.sweeper import Sweeper, targets_of
from sftpgw.files.memory.budget import Budget
from sftpgw.files.mtimes.cache import LOOKS_AT_ONCE, MtimeCache
from sftpgw.files.renames.recovery import AT_ONCE as RENAMES_AT_ONCE
from sftpgw.files.renames.recovery import RenameCompleter, RenameRecovery
from sftpgw.files.session_context import SessionContext
from sftpgw.files.transfers import TransferRegistry
from sftpgw.files.tree import Tree
from sftpgw.files.uploads.suspended.storage import SuspendedExpiry
from sftpgw.http.certificates import check_ca_file
from sftpgw.http.proxies import check_proxy
from sftpgw.machine_checks import (
    check_addresses,
    check_descriptors,
    check_host_key_files,
    check_plugin_cache,
)
from sftpgw.model.events import EventSink
from sftpgw.model.settings import PROXIED, Network, Settings, StoreSettings
from sftpgw.model.store import Capabilities, ObjectStore
from sftpgw.model.subsystem import Subsystem
from sftpgw.model.users import User
from sftpgw.s3.probe import probe_capabilities
from sftpgw.s3.store_factory import open_store
from sftpgw.scp.commands import CommandContext, make_console
from sftpgw.services import ADOPTED, GatewayService, parse_endpoint
from sftpgw.sftp.close_hold import close_wait_seconds
from sftpgw.sftp.protocol import SFTPProtocol
from sftpgw.sftp.server import GatewayServer
from sftpgw.signals import ignore_signals
from sftpgw.ssh.algorithms import KNOWN, Offer
from sftpgw.ssh.avatar import GatewayAvatar
from sftpgw.ssh.balancers import BalancedEndpoint
from sftpgw.ssh.factory import GatewayFactory
from sftpgw.ssh.host_keys import (
    check_host_key_algorithms,
    create_missing_host_keys,
    load_host_keys,
    missing_host_keys,
)
from sftpgw.ssh.transport import GatewayTransport
from sftpgw.telemetry.logs import LogSink

GOODBYE_SECONDS = 2.0
"""How long clients may take to hang up once nothing of theirs is under way."""

ABANDON_SECONDS = 20.0
"""How long uploads that were cut off may take to leave nothing behind; a client that does
not read is cut off after 10 of them."""

ENDED_BY_SIGPIPE = 128 + signal.SIGPIPE

WINDOWS = "/windows"
"""Who holds the memory of receive windows; no user has a slash in their name."""

WINDOWS_SHARE = 4
"""Windows hold at most this fraction of all memory: a quarter. Transfers can do without the
rest of it, and the line for parts moves on whatever the windows hold."""

FEWEST_IDLE_CONNECTIONS, MOST_IDLE_CONNECTIONS = 64, 1024
"""Bounds of what is kept for each host of the store. Only what was in use at once within the last
seconds can be idle at all; what is beyond the most is made anew."""

log = Logger("sftpgw")


# The command line.


class Options(usage.Options):
    """``twistd sftpgw --config FILE``, ``--config FILE --check`` or ``--demo``."""

    optParameters = [  # noqa: RUF012 - Twisted's interface
        ["config", "c", None, "The configuration: the path of an sftpgw.ini."],
    ]
    optFlags = [  # noqa: RUF012 - Twisted's interface
        ["demo", None, "Try it out: an embedded S3 and a user, nothing to configure."],
        ["check", None, "Validate the configuration, probe the store, and exit: 0 or 1."],
    ]

    settings: Settings
    host_keys: tuple[Key, ...]
    demonstration: Demonstration | None = None

    def opt_version(self) -> NoReturn:
        """Show the version of sftpgw and exit."""
        print("sftpgw", __version__)  # noqa: T201
        raise SystemExit(0)

    def postOptions(self) -> None:
        """Read all there is to read; exits with status 1 if any of it is wrong."""
        if bool(self["config"]) == bool(self["demo"]):
            raise usage.UsageError("one of --config FILE and --demo is needed")
        if self["check"] and self["demo"]:
            raise usage.UsageError("--check goes with --config")
        try:
            self._prepare()
        except ConfigError as error:
            _tell_operator("\n".join(error.faults))
            raise SystemExit(1) from None

    def _prepare(self) -> None:
        if self["demo"]:
            self.demonstration = Demonstration()
            self.settings = self.demonstration.settings
            self.host_keys = self.demonstration.host_keys
            return
        self.settings = read_settings(self["config"], is_start=not self["check"])
        if self["check"]:
            react(check, (self.settings,))
        self.host_keys = open_host_keys(self.settings)


def read_settings(path: str, *, is_start: bool = True) -> Settings:
    """Both ini files, with every check that another room can do.

    :param is_start: the gateway is about to start, so that systemd has handed its sockets over.
    :raises ConfigError:
    """
    settings = load_settings(
        path,
        read_key=authorized_blob,
        check_hash=check_password_hash,
        check_endpoint=lambda text: _check_endpoint(text, is_start=is_start),
        check_host_key=_check_host_key,
        check_ca_file=check_ca_file,
        bucket_check=_bucket_check,
        check_proxy=check_proxy,
        known_algorithms=KNOWN,
    )
    if not missing_host_keys(settings.gateway.host_keys):
        open_host_keys(settings)
    return settings


def open_host_keys(settings: Settings) -> tuple[Key, ...]:
    """The host keys; those that do not exist are made if the settings allow it.

    :raises ConfigError: they cannot be used, or not with the algorithms of [ssh].
    """
    gateway = settings.gateway
    if gateway.create_host_keys:
        create_missing_host_keys(gateway.host_keys)
    keys = load_host_keys(gateway.host_keys)
    check_host_key_algorithms(keys, Offer.of(settings.ssh).host_key_algorithms)
    return keys


def _check_endpoint(text: str, *, is_start: bool) -> None:
    from twisted.internet import reactor  # noqa: PLC0415 - importing it installs it

    if is_start or not text.removeprefix(PROXIED).startswith(ADOPTED):
        endpoint_of(reactor, text, ())


def endpoint_of(reactor: Any, text: str, networks: Sequence[Network]) -> IStreamServerEndpoint:
    """Where to listen; on ``haproxy:…`` for load balancers.

    :raises ValueError: `text` is no endpoint.
    """
    inner = text.removeprefix(PROXIED)
    endpoint = parse_endpoint(reactor, inner)
    if inner == text:
        return endpoint
    if inner.startswith(PROXIED):
        raise ValueError(f"{PROXIED} stands there twice")
    return BalancedEndpoint(endpoint, networks)


def _bucket_check(store: StoreSettings) -> Callable[[str], None]:
    endpoints = Endpoints(store)

    def check_bucket(bucket: str) -> None:
        try:
            endpoints.of_bucket(bucket)
        except StoreError as error:
            raise ValueError(error.message) from error

    return check_bucket


def _check_host_key(path: str) -> None:
    try:
        load_host_keys((path,))
    except ConfigError as error:
        raise ValueError(error.message) from error


def _tell_operator(text: str) -> None:
    """To standard error itself: twistd leads `sys.stderr` into its log."""
    _print(text, sys.__stderr__)


def _print(text: object, stream: TextIO | None) -> None:
    """Print a line at once; a reader that has gone, as ``head`` does, ends the process.

    :raises SystemExit: with the status that such a reader's writers have.
    """
    if stream is None:
        return
    try:
        print(text, file=stream, flush=True)
    except BrokenPipeError:
        # Python flushes once more at the end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
        raise SystemExit(ENDED_BY_SIGPIPE) from None


# --demo.


class Demonstration:
    """An embedded S3, and what leads to it. Leaves nothing on disk."""

    def __init__(self) -> None:
        _print("sftpgw: starting an S3 in memory; this takes some seconds", sys.__stdout__)
        self.store = demo.EmbeddedStore.start()
        self.password = demo.new_password()
        with TemporaryDirectory(prefix="sftpgw-demo-") as folder:
            host_key = str(Path(folder) / "host_key")
            self.settings = demo.demo_settings(self.store.endpoint, self.password, host_key)
            self.host_keys = open_host_keys(self.settings)

    def greet(self, address: Any) -> None:
        """Show how to log in. Not into the log, since the password is shown, too."""
        _print(demo.greeting(address.port, self.password), sys.__stdout__)


# --check.


async def check(reactor: Any, settings: Settings) -> None:
    """Print a line for each finding. :raises SystemExit: with status 0 or 1."""
    found: list[Finding] = []

    def report(level: Level, text: str) -> None:
        found.append(Finding(level, text))
        _print(found[-1], sys.stdout)

    report(Level.OK, f"configuration: {len(settings.users)} user(s), no faults")
    for warning in settings.warnings:
        report(Level.NOTE, warning)
    await _check_machine(reactor, settings, report)
    credentials = credential_source(settings.s3, deferToThread, reactor)
    try:
        access_key = (await credentials.current()).access_key
    except StoreError as error:
        report(Level.FAULT, f"credentials: {error.message}")
    else:
        report(Level.OK, f"credentials: access key {access_key}")
        await _check_store(reactor, settings, credentials, report)
    raise SystemExit(any(finding.level is Level.FAULT for finding in found))


async def _check_machine(reactor: Any, settings: Settings, report: Report) -> None:
    check_host_key_files(settings.gateway.host_keys, report)
    _check_descriptors(settings, report)
    check_plugin_cache(report)
    endpoints = {}
    for text in settings.gateway.listen:
        inner = text.removeprefix(PROXIED)
        if inner.startswith(ADOPTED):
            report(Level.NOTE, f"listen {text}: not tried; systemd hands it over at the start")
        else:
            endpoints[text] = parse_endpoint(reactor, inner)
    await check_addresses(endpoints, GatewayTransport.ourVersionString, deferToThread, report)


def _check_descriptors(settings: Settings, report: Report) -> None:
    store_connections = connections_worth_keeping(settings)
    check_descriptors(settings.ssh.max_connections, store_connections, report)


async def _check_store(
    reactor: Any, settings: Settings, credentials: CredentialSource, report: Report
) -> None:
    store = open_store(
        settings.s3,
        reactor,
        RetryReporter(report, settings.s3.retry_time_seconds),
        wall_clock=time.time,
        random=random.random,
        in_thread=deferToThread,
        credentials=credentials,
        environment=os.environ,
    )

    async def probe(store: ObjectStore, bucket: str) -> Capabilities:
        return await probe_capabilities(
            store, bucket, settings.s3.state_prefix, secrets.token_hex(8)
        )

    try:
        await check_buckets(settings, store, probe, report)
    finally:
        await store.close()


# The gateway.


class Gateway:
    """All that one process serves with, put together."""

    def __init__(self, settings: Settings, host_keys: tuple[Key, ...], reactor: Any) -> None:
        self._settings = settings
        self._reactor = reactor
        self._events: EventSink = LogSink(log)
        self._transfers = TransferRegistry()
        self._times = MtimeCache()
        self._digester = Digester(reactor)
        self._budget = Budget.within(settings.limits.memory_bytes)
        self._window_memory = self._budget.share(
            WINDOWS, settings.limits.memory_bytes // WINDOWS_SHARE
        )
        self._store = open_store(
            settings.s3,
            reactor,
            self._events,
            wall_clock=time.time,
            random=random.random,
            in_thread=deferToThread,
            environment=os.environ,
            idle_connections=connections_worth_keeping(settings),
        )
        self._lookup: Deferred[None] | None = None
        self.sweeper = self._make_sweeper()
        self.finisher = self._make_finisher()
        hashes = [user.password_hash for user in settings.users.values() if user.password_hash]
        self.factory = GatewayFactory(
            portal=make_portal(
                StaticUserDirectory(settings.users),
                self._make_avatar,
                LoginThreads(reactor).run,
                Decoys(hashes),
            ),
            host_keys=host_keys,
            settings=settings.ssh,
            clock=reactor,
            events=self._events,
        )

    def _make_sweeper(self) -> Sweeper:
        settings = self._settings
        expiring = SuspendedExpiry(
            self._store,
            settings.s3.state_prefix,
            settings.files.partials_kept_seconds,
            self._reactor,
            self._events,
        )
        return Sweeper(
            targets_of(settings.s3, settings.users.values()),
            store=self._store,
            transfers=self._transfers,
            clock=self._reactor,
            events=self._events,
            random=random.random,
            expire=expiring.expire,
        )

    def _make_finisher(self) -> RenameRecovery:
        copier = Copier(self._store, self._transfers, self._events)
        return RenameRecovery(
            tuple(sorted({user.bucket for user in self._settings.users.values()})),
            self._settings.s3.state_prefix,
            completer=RenameCompleter(self._store, copier, self._reactor, self._events),
            store=self._store,
            clock=self._reactor,
            events=self._events,
            random=random.random,
        )

    def _make_avatar(self, user: User, session: str) -> GatewayAvatar:
        """What `user` can open in this session: SFTP and commands, on the user's own files."""
        events = self._events.bind(session=session, user=user.name)
        memory = self._budget.share(user.name)
        context = SessionContext(
            user=user.name,
            session=session,
            store=self._store.bind(session=session, user=user.name),
            budget=memory,
            transfers=self._transfers,
            times=self._times,
            clock=self._reactor,
            events=events,
            settings=self._settings.s3,
            limits=self._settings.limits,
            files=self._settings.files,
        )
        tree = Tree(user, context)

        def sftp() -> Subsystem:
            files = self._settings.files
            server = GatewayServer(user.name, tree, self._reactor, files, self._digester)
            return SFTPProtocol(
                server,
                max_handles=self._settings.ssh.handles_per_session,
                random_bytes=secrets.token_bytes,
                events=events,
                clock=self._reactor,
                close_wait_seconds=close_wait_seconds(files),
            )

        files = self._settings.files
        commands = CommandContext(tree, self._digester, files.file_mode, files.directory_mode)

        def command(line: bytes) -> Subsystem:
            return make_console(line, commands, events=events, clock=self._reactor)

        return GatewayAvatar(
            {b"sftp": sftp},
            window_memory=self._window_memory,
            commands=command,
            answer_memory=memory,
            totals=context.traffic.facts,
        )

    def look_around(self) -> None:
        """Tell the log at the start what does not work, before a client finds out."""
        self._lookup = Deferred.fromCoroutine(self._look_around())
        self._lookup.addErrback(self._stopped_looking)

    def _stopped_looking(self, failure: Failure) -> None:
        if not failure.check(CancelledError):
            self._events.tell("defect", where="start", failure=failure)

    async def _look_around(self) -> None:
        _check_descriptors(self._settings, self._tell_finding)
        check_plugin_cache(self._tell_finding)
        # Hurried, and without events of its own: the findings tell.
        store = self._store.assuming(self._settings.s3.capabilities)
        await look_at_buckets(
            self._settings, store, self._reactor, self._events, self._tell_finding
        )

    def _tell_finding(self, level: Level, text: str) -> None:
        if level is Level.FAULT:
            log.warn("{text}", text=text)
        else:
            log.info("{text}", text=text)

    async def wind_down(self) -> None:
        """Let transfers finish, cut off those that do not, say goodbye, let go of the store."""
        if self._lookup is not None:
            self._lookup.cancel()
        self.sweeper.stop()
        self.finisher.stop()
        drain_seconds = self._settings.limits.drain_seconds
        self._events.tell(
            "draining", sessions=len(self.factory.sessions), at_most_seconds=drain_seconds
        )
        self._transfers.drain()
        await self._at_most(drain_seconds, self._transfers.idle())
        # Whoever has just been told that a file is stored hangs up without being asked.
        await self._at_most(GOODBYE_SECONDS, self.factory.all_gone())
        self.factory.disconnect_all("the gateway is shutting down")
        await self._at_most(ABANDON_SECONDS, self._transfers.idle())
        await self._store.close()

    async def _at_most(self, limit_seconds: float, waiting: Coroutine[Any, Any, None]) -> None:
        with suppress(WaitedTooLong):
            await Deferred.fromCoroutine(waiting).addTimeout(limit_seconds, self._reactor)


def connections_worth_keeping(settings: Settings) -> int:
    """As many as the engines may have requests under way, within bounds.

    A client has one for each small file, look and list. Of those that move whole parts there are no
    more than fit into memory, nor than all clients may have; folders that are renamed and
    directories that are looked through have some of their own.
    """
    s3, clients = settings.s3, settings.ssh.max_connections
    part_bytes = min(s3.part_size_bytes, s3.download_part_size_bytes)
    concurrency = max(s3.upload_concurrency, s3.download_concurrency)
    parts = min(settings.limits.memory_bytes // part_bytes, clients * concurrency)
    at_once = clients + parts + RENAMES_AT_ONCE + LOOKS_AT_ONCE
    return min(max(at_once, FEWEST_IDLE_CONNECTIONS), MOST_IDLE_CONNECTIONS)


def makeService(options: Options) -> IService:
    """What twistd runs."""
    from twisted.internet import reactor  # noqa: PLC0415 - importing it installs it

    gateway = Gateway(options.settings, options.host_keys, reactor)
    demonstration = options.demonstration

    async def wind_down() -> None:
        await gateway.wind_down()
        if demonstration is not None:
            demonstration.store.stop()

    networks = options.settings.ssh.balancer_networks
    for warning in options.settings.warnings:
        log.warn("{warning}", warning=warning)
    reactor.callWhenRunning(gateway.look_around)
    reactor.callWhenRunning(gateway.sweeper.start)
    reactor.callWhenRunning(gateway.finisher.start)
    reactor.addSystemEventTrigger("before", "shutdown", _obey_the_next_signal)
    return GatewayService(
        gateway.factory,
        {text: endpoint_of(reactor, text, networks) for text in options.settings.gateway.listen},
        wind_down=wind_down,
        log=log,
        announce=demonstration.greet if demonstration is not None else lambda address: None,
        prepare=lambda: _survive_signals(reactor),
    )


def _survive_signals(reactor: Any) -> None:
    def ignored(name: str) -> None:
        log.warn("{name} is ignored; a change of the configuration needs a restart", name=name)

    def terminal_lost() -> None:
        log.warn("the terminal is gone: the gateway ends")
        reactor.stop()

    ignore_signals(reactor, ignored, terminal_lost)


def _obey_the_next_signal() -> None:
    """From now on a SIGTERM or SIGINT ends the process at once; Twisted would ignore it."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_DFL)
