"""``python -m bench attacks``: what an honest user and the process go through beside attacks.

Knows: the course of the benchmark. Must not know: what an attack sends, or how an operation is
asked for.

Trees take turns within each attack, so that a machine that is slow for a while is slow for all of
them. Each attack has a gateway of its own, which is as fresh for one tree as for the other.
"""

from __future__ import annotations

import secrets
import select
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from bench.attack_figures import NOTHING, Round, summary
from bench.attackers import MALLORY, PARTNER, PARTNERS, Attack, Attacker, load_key
from bench.drivers import Client
from bench.honest_user import NAME, Effort, HonestUser
from bench.processes import BenchError, running
from bench.servers import KEY_PREFIX, REPOSITORY, Store
from bench.watching import Watch, WatchedGateway, watched_gateway
from sftpgw.auth.passwords import hash_password
from tests.attacks.raw_sftp import RawSftp

READY_SECONDS = 60.0
"""How long an attack may take to get under way; one that a gateway slows down goes on anyway."""

END_SECONDS = 30.0
QUIET = Attack("no attack", 0, lambda attacker, number, begin: None, least_seconds=0.0)


@dataclass(frozen=True, slots=True)
class AttacksPlan:
    """What is to be measured.

    :param trees: source trees of the gateway, each of which is measured.
    :param attacks: by name; an honest user alone comes first.
    :param descriptors: how many file descriptors a gateway may have.
    :param settings: lines for sftpgw.ini, ``section.key=value``.
    """

    store: Store
    trees: Sequence[Path]
    attacks: Mapping[str, Attack]
    repeats: int
    descriptors: int = 1024
    settings: Sequence[str] = ()
    effort: Effort = field(default_factory=Effort)


def measure_attacks(
    plan: AttacksPlan, folder: Path, tell: Callable[[str], None]
) -> Iterator[Round]:
    """A round for each repeat, attack and tree; one that cannot be played is told and left out."""
    client = Client.create(folder)
    stage = _Stage(plan, folder, client)
    for repeat in range(plan.repeats):
        for name, attack in {NOTHING: QUIET, **plan.attacks}.items():
            for tree in plan.trees:
                tell(f"repeat {repeat + 1} of {plan.repeats}, {name}, {tree.name}")
                try:
                    played = stage.play(name, attack, tree)
                except BenchError as problem:
                    tell(f"{name}, {tree.name} is left out: {problem}")
                    continue
                tell(summary(played))
                yield played


class _Stage:
    """What all rounds share."""

    def __init__(self, plan: AttacksPlan, folder: Path, client: Client) -> None:
        self._plan, self._folder, self._client = plan, folder, client
        self._key = load_key(client.key_file)
        self._guess = secrets.token_urlsafe()
        self._users = _users_ini(client.public_key, hash_password(self._guess.encode()))
        self._rounds = 0

    def play(self, name: str, attack: Attack, tree: Path) -> Round:
        """One round: a fresh gateway, an honest user, and the attack beside it."""
        self._rounds += 1
        plan = self._plan
        with (
            self._store(attack) as store,
            watched_gateway(
                self._folder / f"round{self._rounds}",
                tree,
                store,
                users=self._users,
                descriptors=plan.descriptors,
                settings=plan.settings,
            ) as gateway,
        ):
            return self._beside(name, attack, tree, gateway)

    @contextmanager
    def _store(self, attack: Attack) -> Iterator[Store]:
        """The S3, or what makes it slow or hostile."""
        given = self._plan.store
        if not (attack.latency_seconds or attack.needs_hostile_store):
            yield given
            return
        where = urlsplit(given.endpoint)
        if where.scheme != "http":
            raise BenchError("attacks need an endpoint over http, to stand in front of it")
        command = [sys.executable, "-m", "bench.hostile_s3", str(where.hostname)]
        command += [str(where.port or 80), str(attack.latency_seconds)]
        with running(command, self._folder / "proxy.log", _OUR_TREE) as process:
            assert process.stdout is not None
            line = process.stdout.readline()
            if not line:
                raise BenchError("the proxy before the S3 did not start")
            yield Store(f"http://127.0.0.1:{int(line)}", given.bucket)

    def _beside(self, name: str, attack: Attack, tree: Path, gateway: WatchedGateway) -> Round:
        honest = HonestUser(
            self._client, self._key, self._guess.encode(), gateway.port, self._folder,
            self._plan.effort,
        )  # fmt: skip
        honest.prepare()
        with Attacker(gateway.port, self._key).log_in() as mallory:
            attack.prepare(RawSftp(mallory))
        with Watch(gateway) as watch:
            told = (0, 0)
            if attack is QUIET:
                honest.go_round()
            else:
                with _attacker(name, gateway.port, self._client, self._folder) as attacker:
                    honest.go_round()
                    threading.Event().wait(attack.least_seconds - watch.elapsed_seconds())
                    told = attacker.end()
            return Round(
                name,
                tree.name,
                self._plan.effort.deadline_seconds,
                honest.seconds,
                honest.refusals,
                *told,
                watch.figures(),
            )


_OUR_TREE = {"PYTHONPATH": str(REPOSITORY)}


def _users_ini(public_key: str, password_hash: str) -> str:
    """The honest user, mallory, and partners."""
    run = f"attacks-{secrets.token_hex(4)}"
    key = f"authorized_keys = {public_key}\n"
    lines = [f"[*]\nkey_prefix = {KEY_PREFIX}{run}/{{username}}/\n"]
    lines.append(f"[{NAME}]\n{key}password_hash = {password_hash}\n")
    others = [MALLORY, *(PARTNER % number for number in range(PARTNERS))]
    lines += [f"[{name}]\n{key}" for name in others]
    return "\n".join(lines)


class _AttackerProcess:
    """An attack under way."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self._process, self._input, self._output = process, process.stdin, process.stdout

    def wait_until_ready(self) -> None:
        """Until it is, or has had its time. :raises BenchError: it has died"""
        if select.select([self._output], [], [], READY_SECONDS)[0] and not self._output.readline():
            raise BenchError("an attacker has died")

    def end(self) -> tuple[int, int]:
        """How many bytes it has sent, and how often it was refused."""
        self._input.close()
        while select.select([self._output], [], [], END_SECONDS)[0]:
            line = self._output.readline()
            if line != b"ready\n":
                sent_bytes, _, refusals = line.partition(b" ")
                return int(sent_bytes), int(refusals)
        return (0, 0)


@contextmanager
def _attacker(name: str, port: int, client: Client, folder: Path) -> Iterator[_AttackerProcess]:
    command = [sys.executable, "-m", "bench.attackers", name, str(port), str(client.key_file)]
    with running(command, folder / "attackers.log", _OUR_TREE) as process:
        attacker = _AttackerProcess(process)
        attacker.wait_until_ready()
        yield attacker
