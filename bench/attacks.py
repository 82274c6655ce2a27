"""``python -m bench attacks``: what an honest user and the process go through beside attacks.

Knows: the course of the benchmark. Must not know: what an attack sends, or how an operation is
asked for.

Trees take turns within each attack, so that a machine that is slow for a while is slow for all of
them. Each attack has a gateway of its own, which is as fresh for one tree as for the other.
"""

from __future__ import annotations

import mmap
import secrets
import select
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from urllib.parse import urlsplit

from bench.attack_figures import NOTHING, AttackerFigures, Round, summary
from bench.attack_progress import SHARED_BYTES, Progress, create_shared, shared_memory, unpacked
from bench.attackers import MALLORY, PARTNER, PARTNERS, Attack, Attacker, load_key
from bench.drivers import Client
from bench.honest_user import NAME, Effort, HonestUser
from bench.memory_bound import bound_bytes
from bench.processes import BenchError, running
from bench.servers import KEY_PREFIX, REPOSITORY, Store
from bench.watching import Watch, WatchedGateway, watched_gateway
from sftpgw.auth.passwords import hash_password
from sftpgw.config.tables import SECTIONS
from sftpgw.model.settings import LimitSettings
from tests.attacks.raw_sftp import RawSftp

READY_SECONDS = 25.0
"""How long an attack may take to get under way; one that a gateway slows down goes on anyway."""

SAMPLE_SECONDS = 0.05
HONEST_CONNECTIONS = 2
"""A raw one, and OpenSSH's that may not have gone yet."""
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

    @property
    def memory_bytes(self) -> int:
        """``[limits] memory``, as the settings have it. :raises BenchError: it is no size"""
        found = LimitSettings().memory_bytes
        for line in self.settings:
            if line.startswith("limits.memory="):
                try:
                    found = SECTIONS["limits"]["memory"].parse(line.partition("=")[2])
                except ValueError as problem:
                    raise BenchError(f"{line}: {problem}") from None
        return found


def measure_attacks(
    plan: AttacksPlan,
    folder: Path,
    tell: Callable[[str], None],
    known: Sequence[Round] = (),
) -> Iterator[Round]:
    """A round for each repeat, attack and tree; one that cannot be played is told and left out.

    :param known: rounds of a run that was interrupted; they are not played again.
    """
    client = Client.create(folder)
    stage = _Stage(plan, folder, client)
    played = {each.name: each for each in known}
    for repeat in range(1, plan.repeats + 1):
        for name, attack in _with_quiet_ones(plan.attacks).items():
            for tree in plan.trees:
                if found := played.get((repeat, name, tree.name)):
                    yield found
                    continue
                tell(f"repeat {repeat} of {plan.repeats}, {name}, {tree.name}")
                try:
                    found = replace(stage.play(name, attack, tree), repeat=repeat)
                except BenchError as problem:
                    tell(f"{name}, {tree.name} is left out: {problem}")
                    continue
                tell(summary(found))
                yield found


def _with_quiet_ones(attacks: Mapping[str, Attack]) -> dict[str, Attack]:
    """No attack comes first, also on a store as slow as some attacks need it."""
    quiet = {NOTHING: QUIET}
    for seconds in sorted({each.latency_seconds for each in attacks.values()} - {0.0}):
        quiet[f"{NOTHING}, store of {seconds} s"] = replace(QUIET, latency_seconds=seconds)
    return {**quiet, **attacks}


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
            figures = None
            if not attack.threads:
                honest.go_round()
            else:
                with _attacker(name, gateway.port, self._client, self._folder) as attacker:
                    with attacker.watched() as seen:
                        honest.go_round()
                        left_seconds = attack.least_seconds - watch.elapsed_seconds()
                        honest.go_on(time.monotonic() + left_seconds)
                    figures = seen.figures(attack)
            connections = HONEST_CONNECTIONS + (figures.most_connections if figures else 0)
            return Round(
                repeat=1,
                attack=name,
                tree=tree.name,
                deadline_seconds=self._plan.effort.deadline_seconds,
                seconds=honest.seconds,
                refusals=honest.refusals,
                attacker=figures,
                bound_bytes=bound_bytes(self._plan.memory_bytes, connections),
                process=watch.figures(),
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


class _Seen:
    """What an attacker did in a `with`: at its start, now and then, and at its end.

    :param look: returns what the attacker has done up to now.
    """

    def __init__(self, look: Callable[[], Progress]) -> None:
        self._look = look
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)
        self._looks = self._connected = 0

    def __enter__(self) -> _Seen:
        self._before = self._look()
        self._thread.start()
        return self

    def _sample(self) -> None:
        while True:
            self._looks += 1
            self._connected += self._look().connections > 0
            if self._ended.wait(SAMPLE_SECONDS):
                return

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()
        self._after = self._look()

    def figures(self, attack: Attack) -> AttackerFigures:
        """Of the time between; the most connections, and what broke, of all its time."""
        before, after = self._before, self._after
        return AttackerFigures(
            holds=attack.holds,
            share=self._connected / self._looks,
            sent_bytes=after.sent_bytes - before.sent_bytes,
            received_bytes=after.received_bytes - before.received_bytes,
            most_connections=after.most_connections,
            refusals=after.refusals - before.refusals,
            ended=after.ended - before.ended,
            broken=after.broken,
            reason=after.reason,
        )


class _AttackerProcess:
    """An attack under way."""

    def __init__(self, process: subprocess.Popen[bytes], shared: mmap.mmap) -> None:
        assert process.stdout is not None
        self._process, self._output, self._shared = process, process.stdout, shared

    def wait_until_ready(self) -> None:
        """Until it is, or has had its time. :raises BenchError: it has died"""
        if select.select([self._output], [], [], READY_SECONDS)[0] and not self._output.readline():
            raise BenchError("an attacker has died")

    def watched(self) -> _Seen:
        """A ``with``, in which it is looked at."""
        return _Seen(self._progress)

    def _progress(self) -> Progress:
        """What it has done; one that has died has no connection any more."""
        found = unpacked(self._shared[:SHARED_BYTES])
        return found if self._process.poll() is None else replace(found, connections=0, broken=1)


@contextmanager
def _attacker(name: str, port: int, client: Client, folder: Path) -> Iterator[_AttackerProcess]:
    file = folder / "progress"
    create_shared(file)
    command = [sys.executable, "-m", "bench.attackers", name, str(port), str(client.key_file)]
    with (
        shared_memory(file) as shared,
        running([*command, str(file)], folder / "attackers.log", _OUR_TREE) as process,
    ):
        attacker = _AttackerProcess(process, shared)
        attacker.wait_until_ready()
        yield attacker
