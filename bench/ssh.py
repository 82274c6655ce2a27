"""``python -m bench ssh``: the SSH transport and the SFTP protocol, with nothing behind them.

Knows: the course of the benchmark. Must not know: how servers and clients are run.

Servers take turns within each repeat, so that a machine that is slow for a while is slow for
all of them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from bench.drivers import Client
from bench.figures import Sample
from bench.measuring import measured
from bench.servers import Server, null_asyncssh, null_gateway, openssh, profiled


@dataclass(frozen=True, slots=True)
class SshPlan:
    """What is to be measured."""

    ciphers: Sequence[str]
    peers: Sequence[str]
    size_bytes: int
    repeats: int
    profile: Path | None = None


def measure_ssh(plan: SshPlan, folder: Path, tell: Callable[[str], None]) -> list[Sample]:
    """A put and a get for each repeat, cipher and server. :raises BenchError: it cannot be run."""
    client = Client.create(folder)
    source = folder / "source"
    with source.open("wb") as file:
        file.truncate(plan.size_bytes)
    samples: list[Sample] = []
    with ExitStack() as stack:
        servers = _start(plan, folder, client, stack)
        for repeat in range(plan.repeats):
            for cipher in plan.ciphers:
                tell(f"repeat {repeat + 1} of {plan.repeats}, {cipher}")
                for server in servers:
                    samples += _put_and_get(client, server, cipher, source)
    return samples


def _start(plan: SshPlan, folder: Path, client: Client, stack: ExitStack) -> list[Server]:
    key = client.public_key
    makers = {
        "asyncssh": lambda: null_asyncssh(folder, key, plan.size_bytes),
        "openssh": lambda: openssh(folder, key),
    }
    servers = [stack.enter_context(null_gateway(folder, key, plan.size_bytes))]
    stack.enter_context(profiled(servers[0], plan.profile))
    return servers + [stack.enter_context(makers[peer]()) for peer in plan.peers]


def _put_and_get(client: Client, server: Server, cipher: str, source: Path) -> list[Sample]:
    remote = f"{server.folder.rstrip('/')}/one"
    commands = {"put": f"put {source} {remote}", "get": f"get {remote} /dev/null"}
    with client.session(server.user, server.port, cipher) as session:
        return [
            measured(
                server,
                partial(session.run, command),
                case=cipher,
                operation=operation,
                payload_bytes=source.stat().st_size,
            )
            for operation, command in commands.items()
        ]
