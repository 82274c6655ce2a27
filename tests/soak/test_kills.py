"""Real clients, a real gateway and a store, one of them killed (-9) at a random moment.

``SFTPGW_SOAK_SECONDS=300 pytest tests/soak/test_kills.py`` goes on for so long, by default for a
little while. ``SFTPGW_SOAK_SEED`` chooses what is done and who dies when; how far they have
come by then is up to the machine. `tests/files/test_kills.py` has every request and message; here
is what lies between them.

The store dates all that it has 1970: a rename that was interrupted counts as left alone at
once, and no test has to wait for its lease to run out. One whose gateway lives does so, too, so
that its end is waited for.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Iterator
from itertools import cycle, product
from pathlib import Path

import pytest

from sftpgw.model.units import KIB, MIB
from tests.interop.spawning import Account, Client, Gateway, make_key, program, wait_until
from tests.needs import needs
from tests.soak.relay import Relay
from tests.soak.stormy_s3 import State, StormyProcess, digest

SHORT_SECONDS = 20.0
PATIENCE_SECONDS = 60.0
LEFT_BEHIND_SECONDS = 12.0
"""The gateway has no store for so long that it leaves a rename behind."""

HOME = "home/ann/"
TREE_FILES = 12
LONGEST_BYTES = 17 * MIB
SOONEST_SECONDS, LATEST_SECONDS = 0.15, 0.8
FEWEST_JOBS = 6
DEFECTS = ("Traceback", "Unhandled", "defect ")
VICTIMS = ("client", "store", "gateway")
WRITES = ("put", "scp", "scp -O", "resume")

pytestmark = [pytest.mark.slow, pytest.mark.interop, needs("openssh")]


class Town:
    """The store, the gateway, a client, and what each file may contain."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.dice = random.Random(seed)
        self.folder = folder
        self.store = StormyProcess.start(seed)
        self.relay = Relay.start(self.store.port)
        self.account = Account(make_key(folder / "key", "ed25519"), "", folder / "none")
        self.gateway: Gateway
        self.gateways: list[Gateway] = []
        self.files: dict[str, bytes] = {}
        self.tree = {f"file-{n}": self.dice.randbytes(n * 1000) for n in range(TREE_FILES)}
        self.folders = "here", "there"
        self.left: set[str] = set()

    def open(self) -> None:
        """Start the gateway; it logs in who has the key."""
        self._configure()
        self.gateway = self._started()
        self.gateways.append(self.gateway)

    def _configure(self) -> None:
        public = self.account.key_file.with_suffix(".pub").read_text().strip()
        (self.folder / "users.ini").write_text(
            f"[ann]\nkey_prefix = {HOME}\nauthorized_keys = {public}\n"
        )
        lacks = "unequal-parts" if "equal_parts=True" in self.store.tell("calm").dialect else ""
        (self.folder / "sftpgw.ini").write_text(
            f"""
[gateway]
listen = tcp:0:interface=127.0.0.1
host_keys = host_ed25519
create_host_keys = yes
[s3]
bucket = bucket
endpoint = http://127.0.0.1:{self.relay.port}
access_key = access
secret_key = secret
unsupported = {lacks}
part_size = 5MiB
max_attempts = 4
retry_time = 2s
[ssh]
exempt_networks = 127.0.0.0/8
"""
        )

    def _started(self) -> Gateway:
        return Gateway.start("--config", str(self.folder / "sftpgw.ini"))

    def end(self) -> None:
        for gateway in self.gateways:
            gateway.process.kill()
            gateway.process.wait()
        self.relay.kill()
        self.store.stop()

    # What is there.

    def state(self) -> State:
        return self.store.tell("state")

    def digests(self) -> dict[str, str]:
        """What is below the user's prefix."""
        found = self.state().objects
        return {key.removeprefix(HOME): each for key, each in found.items() if key.startswith(HOME)}

    def fill(self) -> None:
        """The folder that is renamed."""
        for name, data in self.tree.items():
            (self.folder / name).write_bytes(data)
        source, _ = self.folders
        self.client().sftp(f"mkdir {source}", *(f"put {name} {source}/" for name in self.tree))

    def defects(self) -> list[str]:
        return [line for each in self.gateways for line in each.lines_with(*DEFECTS)]

    # What is done.

    def command(self, how: str, local: str, remote: str) -> tuple[list[str], str]:
        """A program of OpenSSH's, and what it reads."""
        port, host = str(self.gateway.port), "ann@127.0.0.1"
        options = ["-P", port, *self.account.key_options]
        match how:
            case "scp" | "scp -O":
                classic = ["-O"] if how == "scp -O" else []
                return [program("scp"), *classic, *options, local, f"{host}:{remote}"], ""
            case "resume":
                lines = f"reput {local} {remote}\n"
            case "rename":
                lines = f"rename {local} {remote}\n"
            case _:
                lines = f"put {local} {remote}\n"
        return [program("sftp"), *options, "-b", "-", host], lines

    def run(self, how: str, local: str, remote: str, victim: str) -> bool:
        """Do it, kill `victim` in the middle; whether the client has reported success."""
        command, lines = self.command(how, local, remote)
        process = subprocess.Popen(
            command,
            cwd=self.folder,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        seconds = self.dice.uniform(SOONEST_SECONDS, LATEST_SECONDS)
        killer = threading.Timer(seconds, lambda: self._kill(victim, process.pid))
        killer.start()
        try:
            process.communicate(lines, timeout=PATIENCE_SECONDS)
        finally:
            killer.cancel()
            killer.join()
        self._raise_the_dead()
        return process.returncode == 0

    def _kill(self, victim: str, client: int) -> None:
        match victim:
            case "client":
                os.killpg(client, signal.SIGKILL)
            case "gateway":
                self.gateway.process.kill()
                self.gateway.process.wait()
            case "store":
                self.relay.process.kill()
                self.relay.process.wait()

    def _raise_the_dead(self) -> None:
        if self.relay.process.poll() is not None:
            self.relay = self.relay.restarted()
        if self.gateway.process.poll() is not None:
            self.gateway = self._started()
            self.gateways.append(self.gateway)

    def client(self) -> Client:
        return Client(self.gateway, self.account, self.folder, "ann")

    # What is demanded.

    def overwrite(self, victim: str) -> bool:
        """Store a file, over what is there or not; whether that has worked."""
        how, name = self.dice.choice(WRITES), self.dice.choice(["one", "two"])
        old = self.files.get(name)
        data = self.dice.randbytes(self.dice.choice([300 * KIB, LONGEST_BYTES, LONGEST_BYTES]))
        if how == "resume" and old is not None:
            data = old + data
        (self.folder / "local").write_bytes(data)
        # A gateway that was killed may have begun an upload that the store makes only later.
        self.left |= set(self.state().uploads)
        is_done = self.run(how, "local", name, victim)
        self.client().sftp("-ls -l")  # which waits for what is being published
        there = self.digests().get(name)
        allowed = {digest(data)} if is_done else {digest(data), old and digest(old)}
        assert there in allowed, f"{how} over {old and len(old)} bytes, {victim} was killed"
        if there == digest(data):
            self.files[name] = data
        if victim == "client":
            wait_until(lambda: set(self.state().uploads) <= self.left, PATIENCE_SECONDS)
        self.left |= set(self.state().uploads)
        return is_done

    def rename(self, victim: str) -> bool:
        """Rename the folder; whether that has worked at the first time."""
        source, target = self.folders
        is_done = self.run("rename", source, target, victim)
        self._demand_tree(source, target)
        if victim != "gateway":
            give_up_at = time.monotonic() + LEFT_BEHIND_SECONDS
            wait_until(lambda: not self._is_renaming() or time.monotonic() > give_up_at)
        wait_until(self._renamed_again, PATIENCE_SECONDS)
        self.folders = target, source
        return is_done

    def _is_renaming(self) -> bool:
        """Whether a rename is in progress, or was left behind."""
        return any(key.endswith("/intent") for key in self.state().objects)

    def _renamed_again(self) -> bool:
        """Do what a person does: again, until it is done."""
        source, target = self.folders
        there = self._demand_tree(source, target)
        if any(key.startswith(f"{source}/") for key in there):
            self.client().sftp(f"-rename {source} {target}")
        there = self._demand_tree(source, target)
        return all(not key.startswith(f"{source}/") for key in there)

    def _demand_tree(self, source: str, target: str) -> dict[str, str]:
        """Each file is whole, and under one of its names."""
        there = self.digests()
        for name, data in self.tree.items():
            found = {there.get(f"{source}/{name}"), there.get(f"{target}/{name}")}
            assert digest(data) in found, f"{name} is lost"
            assert found <= {digest(data), None}, f"{name} is not what it was"
        return there


@pytest.fixture
def town(tmp_path: Path, seed: int) -> Iterator[Town]:
    town = Town(tmp_path, seed)
    try:
        town.open()
        yield town
    finally:
        town.end()


def test_every_file_is_whole_whichever_process_is_killed(town: Town) -> None:
    until = time.monotonic() + float(os.environ.get("SFTPGW_SOAK_SECONDS", SHORT_SECONDS))
    outcomes: Counter[tuple[str, str, bool]] = Counter()
    town.fill()
    for victim, job in cycle(product(VICTIMS, (town.overwrite, town.rename))):
        outcomes[victim, job.__name__, job(victim)] += 1
        if time.monotonic() > until and outcomes.total() >= FEWEST_JOBS:
            break
    print(dict(outcomes))  # noqa: T201
    assert not town.defects(), "".join(town.defects())
