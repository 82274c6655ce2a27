"""``python -m bench gateway``: the whole gateway on an S3 endpoint, and its peers beside it.

Knows: the course of the benchmark. Must not know: how servers and clients are run, or S3.

Everything lies in a folder of the run's own, and is removed when its server is done with.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from bench.drivers import Client, Session
from bench.figures import Sample
from bench.measuring import counters_at, measured
from bench.processes import BenchError
from bench.servers import (
    Server,
    Store,
    gateway,
    null_asyncssh,
    openssh,
    profiled,
    rclone,
)


@dataclass(frozen=True, slots=True)
class GatewayPlan:
    """What is to be measured.

    :param settings: lines for sftpgw.ini, ``section.key=value``.
    :param listed: the directory that is listed; None is that of the small files.
    """

    store: Store
    peers: Sequence[str]
    cipher: str
    size_bytes: int
    streams: int
    small_files: int
    repeats: int
    settings: Sequence[str] = ()
    listed: str | None = None
    counters_url: str | None = None
    profile: Path | None = None


SMALL_BYTES = 4096


@dataclass(frozen=True, slots=True)
class _Sources:
    """The files that are sent."""

    big: Path
    small: Path

    @classmethod
    def create(cls, folder: Path, plan: GatewayPlan) -> _Sources:
        sources = cls(folder / "source", folder / "small")
        with sources.big.open("wb") as file:
            file.truncate(plan.size_bytes)
        sources.small.mkdir()
        for number in range(plan.small_files):
            (sources.small / f"{number:06}").write_bytes(b"~" * SMALL_BYTES)
        return sources


def measure_gateway(plan: GatewayPlan, folder: Path, tell: Callable[[str], None]) -> list[Sample]:
    """All operations for each repeat and server. :raises BenchError: it cannot be run."""
    client = Client.create(folder)
    sources = _Sources.create(folder, plan)
    samples: list[Sample] = []
    with ExitStack() as stack:
        servers = _start(plan, folder, client, stack)
        for repeat in range(plan.repeats):
            for server in tuple(servers):
                tell(f"repeat {repeat + 1} of {plan.repeats}, {server.name}")
                try:
                    samples.extend(_Course(plan, client, server, sources).run())
                except BenchError as error:
                    if server is servers[0]:
                        raise
                    # What a peer cannot do is a finding, too; the others go on.
                    tell(f"{server.name} is left out from here on: {error}")
                    servers.remove(server)
    return samples


def _start(plan: GatewayPlan, folder: Path, client: Client, stack: ExitStack) -> list[Server]:
    key = client.public_key
    makers = {
        "asyncssh": lambda: null_asyncssh(folder, key, plan.size_bytes),
        "openssh": lambda: openssh(folder, key),
        "rclone": lambda: rclone(folder, key, plan.store),
    }
    servers = [stack.enter_context(gateway(folder, key, plan.store, plan.settings))]
    stack.enter_context(profiled(servers[0], plan.profile))
    return servers + [stack.enter_context(makers[peer]()) for peer in plan.peers]


class _Course:
    """One round of all operations with one server."""

    def __init__(
        self, plan: GatewayPlan, client: Client, server: Server, sources: _Sources
    ) -> None:
        self._plan, self._client, self._server, self._sources = plan, client, server, sources
        self._folder = server.folder.rstrip("/")
        if server.has_folders:
            self._folder += f"/bench-{secrets.token_hex(4)}"
        self._count_requests = counters_at(plan.counters_url)

    def run(self) -> Iterator[Sample]:
        """Measure as the samples are asked for."""
        with ExitStack() as stack:
            sessions = [self._log_in(stack) for _ in range(max(1, self._plan.streams))]
            if self._server.has_folders:
                sessions[0].run(f"mkdir {self._folder}")
            try:
                yield from self._transfers(sessions[:1], "put", "get")
                if self._plan.streams > 1:
                    many = f" x{self._plan.streams}"
                    yield from self._transfers(sessions, "put" + many, "get" + many)
                if self._server.has_folders:
                    yield from self._small_files(sessions[0])
            finally:
                self._tidy_up(sessions[0])

    def _log_in(self, stack: ExitStack) -> Session:
        server = self._server
        login = self._client.session(server.user, server.port, self._plan.cipher)
        return stack.enter_context(login)

    def _transfers(self, sessions: Sequence[Session], put: str, get: str) -> Iterator[Sample]:
        """A file of its own for each session, all at once."""
        paths = [f"{self._folder}/big{number}" for number in range(len(sessions))]
        puts = [f"put {self._sources.big} {path}" for path in paths]
        gets = [f"get {path} /dev/null" for path in paths]
        payload_bytes = len(sessions) * self._plan.size_bytes
        for operation, commands in ((put, puts), (get, gets)):
            yield self._sample(partial(_all_at_once, sessions, commands), operation, payload_bytes)

    def _small_files(self, session: Session) -> Iterator[Sample]:
        """Told in seconds: it is files that count here, not bytes."""
        folder = f"{self._folder}/small"
        put = partial(session.run, f"put -r {self._sources.small} {folder}")
        yield self._sample(put, f"put -r {self._plan.small_files}", 0)
        yield self._sample(partial(session.run, f"ls -1f {self._plan.listed or folder}"), "ls", 0)

    def _sample(self, work: Callable[[], None], operation: str, payload_bytes: int) -> Sample:
        return measured(
            self._server,
            work,
            case=self._plan.cipher,
            operation=operation,
            payload_bytes=payload_bytes,
            count_requests=self._count_requests if self._server.uses_store else lambda: None,
        )

    def _tidy_up(self, session: Session) -> None:
        """Remove all that was put; what does not exist is no error (the ``-``)."""
        if self._server.has_folders:
            below = [f"-rm {self._folder}/small/*", f"-rmdir {self._folder}/small"]
            session.begin(*below, f"-rm {self._folder}/*", f"-rmdir {self._folder}")
            session.finish()


def _all_at_once(sessions: Sequence[Session], commands: Sequence[str]) -> None:
    for session, command in zip(sessions, commands, strict=True):
        session.begin(command)
    for session in sessions:
        session.finish()
