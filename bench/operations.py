"""``python -m bench operations``: what each operation asks of the store, one at a time.

Knows: the operations, and what has to be there before each. Must not know: how they are asked
for, or how requests are counted.

Each has a file or folder of its own, so that nothing that the gateway remembers helps it.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.drivers import Client
from bench.figures import Sample
from bench.measuring import counters_at, measured
from bench.plain_sftp import PlainSession, plain_session
from bench.servers import Server, Store, gateway
from sftpgw.wire.sftp import Kind, Status

SMALL_BYTES = 4096
LISTED_FILES = 20
OTHER, NEW = b"-other", b"-new"

Step = Callable[[PlainSession, bytes], object]


@dataclass(frozen=True, slots=True)
class Operation:
    """What is measured, and what is done before, unmeasured. Both get a path of their own."""

    name: str
    work: Step
    before: Step = lambda session, path: None


@dataclass(frozen=True, slots=True)
class OperationsPlan:
    """What is to be measured; `settings` as for the gateway."""

    store: Store
    cipher: str
    repeats: int
    settings: Sequence[str]
    counters_url: str | None


def _put_small(session: PlainSession, path: bytes) -> None:
    session.put(path, bytes(SMALL_BYTES))


def _put_two(session: PlainSession, path: bytes) -> None:
    _put_small(session, path)
    _put_small(session, path + OTHER)


def _make_folder(session: PlainSession, path: bytes) -> None:
    for number in range(LISTED_FILES):
        _put_small(session, path + b"/%d" % number)


def _stat(session: PlainSession, path: bytes) -> None:
    session.on_path(Kind.STAT, path)


def _stat_and_list(session: PlainSession, path: bytes) -> None:
    _stat(session, path)
    session.list(path)


OPERATIONS = (
    Operation("put of 4 KiB", _put_small),
    Operation("put of nothing", lambda session, path: session.put(path, b"")),
    Operation("get of 4 KiB", lambda session, path: session.get(path), _put_small),
    Operation(
        "get of nothing",
        lambda session, path: session.get(path),
        lambda session, path: session.put(path, b""),
    ),
    Operation("stat of a file", _stat, _put_small),
    Operation("stat of a folder", _stat, _make_folder),
    Operation(
        "stat of nothing",
        lambda session, path: session.on_path(Kind.STAT, path, may=(Status.NO_SUCH_FILE,)),
    ),
    Operation("list of 20 files", lambda session, path: session.list(path), _make_folder),
    Operation("stat and list of 20 files", _stat_and_list, _make_folder),
    Operation("mkdir", lambda session, path: session.mkdir(path)),
    Operation(
        "rmdir",
        lambda session, path: session.on_path(Kind.RMDIR, path),
        lambda session, path: session.mkdir(path),
    ),
    Operation("remove", lambda session, path: session.on_path(Kind.REMOVE, path), _put_small),
    Operation("rename", lambda session, path: session.rename(path, path + NEW), _put_small),
    Operation(
        "rename over a file", lambda session, path: session.replace(path, path + OTHER), _put_two
    ),
)


def measure_operations(
    plan: OperationsPlan, folder: Path, tell: Callable[[str], None]
) -> list[Sample]:
    """Each operation, `plan.repeats` times. :raises BenchError: it cannot be run."""
    client = Client.create(folder)
    with (
        gateway(folder, client.public_key, plan.store, plan.settings) as server,
        plain_session(client, server.user, server.port, plan.cipher) as session,
    ):
        root = b"/ops-" + secrets.token_hex(4).encode()
        session.put(root + b"/first", b"x")  # the bucket is tried out before the first write
        samples: list[Sample] = []
        for repeat in range(plan.repeats):
            tell(f"repeat {repeat + 1} of {plan.repeats}")
            below = root + b"/%d" % repeat
            samples += _measured(plan, server, session, below)
        _remove(session, root + b"/first")
        return samples


def _measured(
    plan: OperationsPlan, server: Server, session: PlainSession, root: bytes
) -> Iterator[Sample]:
    count_requests = counters_at(plan.counters_url)
    for number, operation in enumerate(OPERATIONS):
        path = root + b"-%d" % number
        operation.before(session, path)
        yield measured(
            server,
            lambda operation=operation, path=path: operation.work(session, path),  # type: ignore[misc]
            case=plan.cipher,
            operation=operation.name,
            payload_bytes=0,
            count_requests=count_requests,
        )
        _remove(session, path)


def _remove(session: PlainSession, path: bytes) -> None:
    """All that may be left of an operation."""
    whatever_it_is = tuple(Status)
    files = [path, path + NEW, path + OTHER]
    files += [path + b"/%d" % number for number in range(LISTED_FILES)]
    for file in files:
        session.on_path(Kind.REMOVE, file, may=whatever_it_is)
    session.on_path(Kind.RMDIR, path, may=whatever_it_is)
