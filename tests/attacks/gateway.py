"""A gateway to be attacked, in a process of its own; `reactor` starts it.

Knows: the real factory, transport, channels and files, a store in memory, and how to
measure the process. Must not know: any attack.

It prints a line with its port, and answers each line on standard input with one on
standard output: ``measure``, or ``reset``, which forgets the peaks. It ends with its
standard input, so with its parent in every case.
"""

from __future__ import annotations

import gc
import json
import os
import resource
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace
from hashlib import sha256
from ipaddress import ip_network
from pathlib import Path
from typing import Any, cast

import bcrypt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from twisted.conch.ssh.keys import Key
from twisted.internet.stdio import StandardIO
from twisted.internet.task import deferLater
from twisted.logger import formatEvent, globalLogPublisher
from twisted.protocols.basic import LineOnlyReceiver

from sftpgw.aio.work.scheduler import WorkScheduler
from sftpgw.auth.passwords import Decoys
from sftpgw.auth.realm import make_portal
from sftpgw.auth.sources.static import StaticUserDirectory
from sftpgw.auth.threads import LoginThreads
from sftpgw.auth.user_records import RecordAuthenticator
from sftpgw.model.events import Event, EventSink
from sftpgw.model.settings import Policy, SshSettings
from sftpgw.model.store import BodySink, MultipartUpload, ObjectName, ObjectProperties, StoredPart
from sftpgw.model.units import KIB, MIB
from sftpgw.model.users import NO_OPTIONS, LoginRules, SessionLabels, User
from sftpgw.pausing_ports import PausingPort
from sftpgw.session import Session
from sftpgw.ssh.avatar import GatewayAvatar
from sftpgw.ssh.balancers import BalancedFactory
from sftpgw.testing.fake_store import FakeStore
from sftpgw.testing.sftp_sessions import GatewayInMemory
from sftpgw.testing.ssh_pairs import make_factory
from sftpgw.testing.store_memory import StoredObject
from tests.log_files import LogFile

KEY = Ed25519PrivateKey.from_private_bytes(sha256(b"the key of all users here").digest())
PASSWORD = b"the right one"
HUGE_BYTES = 512 * MIB
MANY_NAMES = 10_000
LONG_NAME_BYTES = 1000
ROUND_TRIP_SECONDS = 0.001
CHEAP_COST, DEAR_COST = 4, 11


class CountedEvents(EventSink):
    """Counts each kind of event, in constant memory, and hands it to the log of all but honest.

    :param log: takes the events.
    """

    def __init__(self, log: EventSink, counts: Counter[str] | None = None) -> None:
        self.counts: Counter[str] = Counter() if counts is None else counts
        self._log = log
        self._is_honest = False

    def emit(self, event: Event) -> None:
        self.counts[event.event_name] += 1
        if not self._is_honest:
            self._log.emit(event)

    def bind(self, **context: str) -> EventSink:
        bound = CountedEvents(self._log.bind(**context), self.counts)
        bound._is_honest = self._is_honest or context.get("user") == "honest"
        return bound


class Zeroes:
    """Many zero bytes that take no memory."""

    def __init__(self, size_bytes: int) -> None:
        self._size_bytes = size_bytes

    def __len__(self) -> int:
        return self._size_bytes

    def __getitem__(self, wanted: slice) -> bytes | Zeroes:
        size_bytes = len(range(*wanted.indices(self._size_bytes)))
        return bytes(size_bytes) if size_bytes <= 64 * KIB else Zeroes(size_bytes)


class DistantStore(FakeStore):
    """A store that responds after a moment, and forgets the parts of uploads."""

    def __init__(self, reactor: Any) -> None:
        super().__init__(("bucket", "archive"), min_part_bytes=0)
        self._reactor = reactor

    async def _enter(self, operation: str, bucket: str) -> None:
        await deferLater(self._reactor, ROUND_TRIP_SECONDS, lambda: None)
        await super()._enter(operation, bucket)

    async def _deliver(self, data: bytes, sink: BodySink) -> None:
        for start in range(0, len(data), MIB):
            await super()._deliver(data[start : start + MIB], sink)
            await deferLater(self._reactor, 0, lambda: None)

    def _keep_part(self, upload: MultipartUpload, number: int, data: bytes) -> StoredPart:
        part = StoredPart(number, len(data), f'"{number}-{len(data)}"')
        self._upload(upload).parts[number] = (b"", part.etag)
        return replace(part, etag=_hexadecimal(part.etag))

    def _named_part(self, opened: Any, part: StoredPart) -> bytes:
        return b""


def _hexadecimal(text: str) -> str:
    return f'"{sha256(text.encode()).hexdigest()[:32]}"'


def fill(store: DistantStore) -> None:
    """One huge file, and a directory of many long names."""
    huge = StoredObject(cast(bytes, Zeroes(HUGE_BYTES)), '"huge"', 1.7e9, ObjectProperties())
    store.objects[ObjectName("bucket", "home/mallory/huge")] = huge
    small = StoredObject(b"", '"small"', 1.7e9, ObjectProperties())
    for number in range(MANY_NAMES):
        store.objects[ObjectName("archive", f"many/{number:0{LONG_NAME_BYTES}}")] = small


def make_users() -> Mapping[str, User]:
    """honest and mallory log in with `KEY`, the others with `PASSWORD` too."""
    keys = {Key(KEY).public().blob(): NO_OPTIONS}

    def user(name: str, cost: int | None = None, bucket: str = "bucket", prefix: str = "") -> User:
        hashed = cost and bcrypt.hashpw(PASSWORD, bcrypt.gensalt(cost)).decode()
        prefix = prefix or ("" if bucket == "archive" else f"home/{name}/")
        return User.with_home(name, bucket, prefix, login=LoginRules(keys, hashed or None))

    users = [
        user("honest"),
        user("mallory"),
        user("archivist", bucket="archive"),
        user("cheap", CHEAP_COST),
        user("dear", DEAR_COST),
    ]
    return {user.name: user for user in users}


class TargetGateway(GatewayInMemory):
    """A gateway on a real reactor, like that of ``gateway`` on a real store."""

    def __init__(self, reactor: Any, settings: SshSettings) -> None:
        store = DistantStore(reactor)
        super().__init__(store)
        fill(store)
        self.clock = reactor
        self.work = WorkScheduler(reactor, time.perf_counter)
        self.log = LogFile(reactor)
        self.counted = CountedEvents(self.log.sink)
        self.events = self.counted  # type: ignore[assignment]
        users = make_users()
        decoys = Decoys([bcrypt.hashpw(b"nobody", bcrypt.gensalt(CHEAP_COST)).decode()])
        threads = LoginThreads(reactor)
        authenticator = RecordAuthenticator(StaticUserDirectory(users), threads.run, decoys)
        portal = make_portal(authenticator, self._avatar)
        self.factory = make_factory(
            portal, reactor, self.events, settings, self.work, run_in_thread=threads.run
        )

    def _avatar(self, user: User, labels: SessionLabels) -> GatewayAvatar:
        session = Session(self.shared(), user, labels)
        return GatewayAvatar({b"sftp": session.sftp}, commands=session.command, user=user.name)


def yardstick() -> float:
    """How much CPU time this machine needs for a fixed amount of work in Python."""
    began = time.thread_time()
    names: dict[bytes, int] = {}
    for number in range(30_000):
        names[b"%d" % number] = number
    return time.thread_time() - began


class Watch:
    """Measures the process."""

    def __init__(self, reactor: Any, gateway: TargetGateway) -> None:
        self._reactor = reactor
        self._gateway = gateway
        self._failures: list[str] = []
        self._yardstick_seconds = yardstick()
        globalLogPublisher.addObserver(self._observe)

    def _observe(self, event: dict[str, Any]) -> None:
        if "log_failure" in event or event.get("isError"):
            self._failures.append(f"{formatEvent(event)}\n{event.get('log_failure')}"[:2000])

    def measure(self) -> dict[str, Any]:
        gateway, store = self._gateway, cast(FakeStore, self._gateway.store)
        return {
            "worst_stretch_seconds": self._reactor.worst_stretch_seconds,
            "yardstick_seconds": self._yardstick_seconds,
            "process_seconds": time.process_time(),
            "peak_bytes": _status_bytes("VmHWM:"),
            "resident_bytes": _status_bytes("VmRSS:"),
            "descriptors": len(os.listdir("/proc/self/fd")),
            "sessions": len(gateway.factory.connections),
            "held_bytes": gateway.budget.held_bytes,
            "waiting": gateway.budget.waiting,
            "uploads": len(store.uploads),
            "requests": dict(store.requests),
            "events": dict(gateway.counted.counts),
            "log_bytes": dict(gateway.log.size_bytes),
            "failures": self._failures,
        }

    def reset(self) -> dict[str, Any]:
        gc.collect()
        self._failures.clear()
        self._gateway.counted.counts.clear()
        self._gateway.log.size_bytes.clear()
        cast(FakeStore, self._gateway.store).requests.clear()
        Path("/proc/self/clear_refs").write_text("5")  # proc(5): VmHWM begins anew
        self._yardstick_seconds = yardstick()
        self._reactor.forget_stretches()
        return self.measure()


def _status_bytes(name: str) -> int:
    """A figure of proc(5)'s status."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * KIB for line in lines if line.startswith(name))


class Answers(LineOnlyReceiver):
    """Answers each line with a JSON object."""

    delimiter = b"\n"

    def __init__(
        self, commands: Mapping[bytes, Callable[[], dict[str, Any]]], stop: Callable[[], None]
    ) -> None:
        self._commands = commands
        self._stop = stop

    def lineReceived(self, line: bytes) -> None:
        self.sendLine(json.dumps(self._commands[line]()).encode())

    def connectionLost(self, reason: Any = None) -> None:
        self._stop()


def serve(reactor: Any, settings: Mapping[str, Any]) -> None:
    """Serve until standard input ends."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    gateway = TargetGateway(
        reactor, SshSettings(**(settings | {"policy": Policy(settings["policy"])}))
    )
    watch = Watch(reactor, gateway)
    port = reactor.listenTCP(0, gateway.factory, interface="127.0.0.1", backlog=1024)
    balancers = (ip_network("127.0.0.0/8"),)
    proxied = reactor.listenTCP(
        0, BalancedFactory(gateway.factory, balancers), interface="127.0.0.1", backlog=1024
    )
    for each in (port, proxied):
        PausingPort(each, reactor, lambda fault: None)
    answers = Answers(
        {b"measure": watch.measure, b"reset": watch.reset},
        lambda: reactor.callWhenRunning(reactor.stop),
    )
    StandardIO(answers, reactor=reactor)
    ports = {"port": port.getHost().port, "proxied_port": proxied.getHost().port}
    answers.sendLine(json.dumps(ports).encode())
    reactor.run()
