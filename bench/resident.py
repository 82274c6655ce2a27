"""``python -m bench memory``: what the gateway's process holds resident with so many connections.

Knows: idle and busy sessions, and the process's resident memory. Must not know: attacks.

From these figures come the constant and the figure per connection of `bench.memory_bound`.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from bench.attackers import PARTNER, PARTNERS, load_key
from bench.drivers import Client
from bench.figures import MIB, table
from bench.processes import peak_bytes, resident_bytes
from bench.servers import KEY_PREFIX, Store
from bench.watching import WatchedGateway, watched_gateway
from sftpgw.wire import sftp as wire
from sftpgw.wire.sftp import Kind
from tests.attacks.raw_sftp import RawSftp
from tests.attacks.raw_ssh import Ended, RawClient

DESCRIPTORS = 8192
FILE_BYTES = 300 * 1024
STATS = 32
OPEN_FILES = 8
STACK_BYTES = 512 * 1024
BUSY_USERS = 4
BUSY_SETTINGS = ("limits.memory=64MiB",)
"""Little, so that what is counted in the budget is not taken for the connections'."""

BUSY_MEMORY_BYTES = 64 * MIB
PATIENCE_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class MemoryPlan:
    """What is to be measured.

    :param idle: how many sessions that do nothing.
    :param busy: how many that are always at work.
    :param busy_seconds: for how long they are.
    :param listed_names: how many files a busy session lists.
    """

    store: Store
    tree: Path
    idle: int = 500
    busy: int = 200
    busy_seconds: float = 20.0
    listed_names: int = 1000
    settings: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class MemoryRow:
    """A state of the process.

    :param connections: how many connections there are.
    :param held_bytes: what is resident, or was at most.
    :param budget_bytes: how much of it may be that of ``[limits] memory``.
    """

    state: str
    connections: int
    held_bytes: int
    budget_bytes: int


def measure_memory(
    plan: MemoryPlan, folder: Path, tell: Callable[[str], None]
) -> Iterator[MemoryRow]:
    """Started; with idle sessions; with busy ones, of a gateway of their own."""
    stage = _Stage(plan, folder)
    tell(f"{plan.idle} idle sessions")
    yield from stage.idle()
    tell(f"{plan.busy} busy sessions")
    yield from stage.busy()


def memory_table(rows: Sequence[MemoryRow]) -> str:
    """A state a line; the figure per connection is beside the first state, and the budget."""
    lines = [("state", "connections", "MiB", "of the budget", "KiB a connection")]
    for each in rows:
        start = next(row for row in rows if not row.connections)
        more_bytes = each.held_bytes - start.held_bytes - each.budget_bytes
        one = f"{more_bytes / each.connections / 1024:.0f}" if each.connections else "–"
        held, budget = (f"{size / MIB:.0f}" for size in (each.held_bytes, each.budget_bytes))
        lines.append((each.state, str(each.connections), held, budget, one))
    return table(lines)


class _Stage:
    """What both measurements share."""

    def __init__(self, plan: MemoryPlan, folder: Path) -> None:
        self._plan, self._folder = plan, folder
        client = Client.create(folder)
        self._key = load_key(client.key_file)
        lines = [f"[*]\nkey_prefix = {KEY_PREFIX}memory/{{username}}/\n"]
        for number in range(PARTNERS):
            lines.append(f"[{PARTNER % number}]\nauthorized_keys = {client.public_key}\n")
        self._users = "\n".join(lines)

    def _gateway(self, name: str, *settings: str) -> ExitStack:
        stack = ExitStack()
        self._now: WatchedGateway = stack.enter_context(
            watched_gateway(
                self._folder / name,
                self._plan.tree,
                self._plan.store,
                users=self._users,
                descriptors=DESCRIPTORS,
                settings=[*self._plan.settings, *settings],
            )
        )
        return stack

    def idle(self) -> Iterator[MemoryRow]:
        """A process that has served one session, and then many that stay open."""
        with self._gateway("idle") as stack:
            with _log_in(self._now.port, 0, self._key) as client:
                RawSftp(client)
            yield MemoryRow("started", 0, resident_bytes(self._now.pid), 0)
            for number in range(self._plan.idle):
                client = stack.enter_context(_log_in(self._now.port, number, self._key))
                RawSftp(client)
            held_bytes = resident_bytes(self._now.pid)
            yield MemoryRow("idle sessions", self._plan.idle, held_bytes, 0)

    def busy(self) -> Iterator[MemoryRow]:
        """Sessions that are at work, with little in the budget."""
        plan = self._plan
        with self._gateway("busy", *BUSY_SETTINGS) as stack:
            sessions = []
            for number in range(plan.busy):
                user = number % BUSY_USERS
                client = stack.enter_context(_log_in(self._now.port, user, self._key))
                client.socket.settimeout(PATIENCE_SECONDS)
                sessions.append(RawSftp(client))
            sessions[0].put(b"/listed/first", b"x")  # before which the store is tried out
            for sftp in sessions[:BUSY_USERS]:
                sftp.put_many([b"/listed/%04d" % n for n in range(plan.listed_names)])
            self._now.forget()
            rounds = _work_together(sessions, plan.busy_seconds)
            done = sum(count > 0 for count in rounds)
            state = f"busy sessions, {done} of which ended {sum(rounds)} rounds"
            yield MemoryRow(state, plan.busy, peak_bytes(self._now.pid), BUSY_MEMORY_BYTES)


def _log_in(port: int, number: int, key: Ed25519PrivateKey) -> RawClient:
    client = RawClient(port)
    client.log_in((PARTNER % (number % PARTNERS)).encode(), key)
    return client


def _work_together(sessions: Sequence[RawSftp], seconds: float) -> list[int]:
    """How many rounds each session has ended."""
    threading.stack_size(STACK_BYTES)
    until = time.monotonic() + seconds
    rounds = [0] * len(sessions)

    def work(number: int) -> None:
        with suppress(Ended, OSError):
            while time.monotonic() < until:
                with suppress(AssertionError):  # refused, for want of memory
                    _go_round(sessions[number], b"/busy%d" % number)
                    rounds[number] += 1

    threads = [
        threading.Thread(target=work, args=(number,), daemon=True)
        for number in range(len(sessions))
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return rounds


def _go_round(sftp: RawSftp, path: bytes) -> None:
    """Put, get, open, ask and list."""
    sftp.put(path, bytes(FILE_BYTES))
    handles = [sftp.open(path) for _ in range(OPEN_FILES)]
    reads = [sftp.send(wire.Read(0, handle, 0, 2**15)) for handle in handles]
    asked = [sftp.send(wire.OnPath(Kind.STAT, 0, path)) for _ in range(STATS)]
    for each in (*reads, *asked):
        sftp.reply(each)
    sftp.entries(b"/listed")
    for handle in handles:
        sftp.close(handle)
