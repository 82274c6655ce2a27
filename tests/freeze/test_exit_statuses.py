"""Exit statuses of the process and of commands, against ``exit_statuses.txt``."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from threading import Timer

import pytest
import pytest_twisted
from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThread

from sftpgw.scp.console import Console
from sftpgw.testing.scripted_s3 import ScriptedS3
from sftpgw.testing.sftp_sessions import GatewayInMemory
from sftpgw.testing.small_s3 import SmallS3
from tests.freeze.tables import DELIBERATE, demand_same, rows_of
from tests.scp.talking import Channel

TABLE = "exit_statuses.txt"
REPOSITORY = Path(__file__).parent.parent.parent
TWISTD = (sys.executable, str(Path(sys.executable).with_name("twistd")))
ENOUGH_SECONDS = 120.0

EXPECTED = {row.rpartition(" ")[0].strip(): int(row.split()[-1]) for row in rows_of(TABLE)}
"""By what happens."""


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(REPOSITORY)}


def start(*arguments: str, stdout: int = subprocess.PIPE) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*TWISTD, "-n", "--pidfile=", "sftpgw", *arguments],
        cwd=REPOSITORY,
        env=environment(),
        stdin=subprocess.DEVNULL,
        stdout=stdout,
        stderr=subprocess.STDOUT,
        text=True,
    )


@contextmanager
def started(*arguments: str, stdout: int = subprocess.PIPE) -> Iterator[subprocess.Popen[str]]:
    """A process that is killed if it takes too long, and at the end."""
    process = start(*arguments, stdout=stdout)
    watchdog = Timer(ENOUGH_SECONDS, process.kill)
    watchdog.start()
    try:
        yield process
    finally:
        watchdog.cancel()
        process.kill()
        process.wait()


def status(*arguments: str) -> int:
    """How the process ends by itself."""
    with started(*arguments) as process:
        process.communicate()
        return process.returncode


def status_after(number: signal.Signals, *arguments: str, line: str = "descriptors: ") -> int:
    """How a process ends that has printed `line`, and gets a signal."""
    with started(*arguments) as process:
        assert process.stdout is not None
        with process.stdout as lines:
            assert any(line in printed for printed in lines)
            process.send_signal(number)
            lines.read()
        return process.wait()


def status_without_reader(*arguments: str) -> int:
    reading, writing = os.pipe()
    os.close(reading)
    with started(*arguments, stdout=writing) as process:
        os.close(writing)
        return process.wait()


@pytest.fixture
def store() -> Iterator[str]:
    """The URL of a small S3."""
    from twisted.internet import reactor  # noqa: PLC0415

    server = pytest_twisted.blockon(Deferred.fromCoroutine(ScriptedS3.listen(reactor)))
    server.respond_with(SmallS3().respond)
    yield server.url
    pytest_twisted.blockon(Deferred.fromCoroutine(server.close()))


@pytest.fixture
def config(tmp_path: Path, store: str) -> Callable[..., str]:
    """Makes a configuration; the path of its sftpgw.ini."""

    def make(listen: str = "tcp:0:interface=127.0.0.1", s3: str = "") -> str:
        hash_of_nothing = "$2b$04$" + "a" * 53
        (tmp_path / "users.ini").write_text(
            f"[alice]\nkey_prefix = alice\npassword_hash = {hash_of_nothing}\n"
        )
        file = tmp_path / "sftpgw.ini"
        file.write_text(
            f"[gateway]\nlisten = {listen}\ncreate_host_keys = yes\n"
            f"[s3]\nbucket = bucket\nendpoint = {store}\naddressing = path\nretry_time = 0s\n"
            f"access_key = key\nsecret_key = secret\n{s3}"
            "[ssh]\nmax_connections = 50\nmax_startups = 5:30:20\n"
        )
        file.chmod(0o600)
        return str(file)

    return make


@pytest.fixture
def taken_port() -> Iterator[int]:
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        yield taken.getsockname()[1]


def demand(name: str, found: int | None) -> None:
    advice = DELIBERATE.format(table=f"tests/freeze/{TABLE}")
    assert found == EXPECTED[name], f"{name}: {found}. {advice}"


def test_every_row_is_tried_out() -> None:
    source = Path(__file__).read_text(encoding="utf-8")
    tried = {name for name in EXPECTED if f'"{name}"' in source}
    demand_same(TABLE, set(EXPECTED), tried, "an exit status")


def test_options() -> None:
    demand("process: --version", status("--version"))
    demand("process: no option, or two that exclude each other", status())
    both = status("--demo", "--config", "x")
    demand("process: no option, or two that exclude each other", both)


@pytest.mark.parametrize("arguments", [(), ("--check",)])
def test_faults_of_an_ini_file(config: Callable[..., str], arguments: tuple[str, ...]) -> None:
    file = config(s3="part_size = 1MiB\n")
    found = status("--config", file, *arguments)
    if arguments:
        demand("process: an ini file with faults, --check", found)
    else:
        demand("process: an ini file with faults", found)


@pytest_twisted.ensureDeferred
async def test_check(config: Callable[..., str], taken_port: int) -> None:
    good = await deferToThread(status, "--config", config(), "--check")
    demand("process: --check without a fault", good)
    taken = config(f"tcp:{taken_port}:interface=127.0.0.1")
    demand(
        "process: --check with a fault", await deferToThread(status, "--config", taken, "--check")
    )
    unread = await deferToThread(status_without_reader, "--config", config(), "--check")
    demand("process: the reader of --check is gone", unread)


@pytest_twisted.ensureDeferred
async def test_a_check_that_is_interrupted(
    config: Callable[..., str], store: str, taken_port: int
) -> None:
    """While it waits for a store that does not answer."""
    file = Path(config())
    silent = file.read_text().replace(store, f"http://127.0.0.1:{taken_port}")
    file.write_text(silent)
    arguments = ("--config", str(file), "--check")
    for number, name in (
        (signal.SIGINT, "process: --check, SIGINT"),
        (signal.SIGTERM, "process: --check, SIGTERM"),
    ):
        found = await deferToThread(status_after, number, *arguments, line="ok: credentials")
        demand(name, found)


@pytest_twisted.ensureDeferred
async def test_the_gateway(config: Callable[..., str], taken_port: int) -> None:
    taken = config(f"tcp:{taken_port}:interface=127.0.0.1")
    demand("process: a port is taken", await deferToThread(status, "--config", taken))
    ended = await deferToThread(status_after, signal.SIGTERM, "--config", config())
    demand("process: SIGTERM", ended)


def test_the_console_script(config: Callable[..., str]) -> None:
    def of(*arguments: str, typed: str = "") -> int:
        return subprocess.run(
            [sys.executable, "-m", "sftpgw.cli", *arguments],
            env=environment(),
            input=typed,
            capture_output=True,
            text=True,
            timeout=ENOUGH_SECONDS,
            check=False,
        ).returncode

    demand("sftpgw: --version", of("--version"))
    demand("sftpgw: a wrong command line", of())
    demand("sftpgw: a wrong command line", of("serve", "--check"))
    faulty = config(s3="part_size = 1MiB\n")
    demand("sftpgw: check with a fault", of("check", "--config", faulty))
    demand("sftpgw: hash-password", of("hash-password", typed="secret\n"))
    demand("sftpgw: hash-password without a password", of("hash-password"))
    right = config()
    demand("sftpgw: user list", of("user", "list", "--config", right))
    demand("sftpgw: user disable of no user", of("user", "disable", "x", "--config", right))


def test_commands() -> None:
    gateway = GatewayInMemory()

    def of(line: bytes) -> int | None:
        return gateway.open_command(line).status

    demand("command: pwd", of(b"pwd"))
    demand("command: cd to nowhere", of(b"cd /nowhere"))
    demand("command: a sum of what is not there", of(b"md5sum /nowhere"))
    demand("command: unknown", of(b"no-such-command"))


def test_a_defect() -> None:
    async def broken(console: Console) -> int:
        raise RuntimeError("a bug")

    gateway = GatewayInMemory()
    console, channel = (
        Console(broken, events=gateway.events, work=gateway.work.share("alice")),
        Channel(),
    )
    console.makeConnection(channel)
    demand("command: a defect of the gateway", channel.status)
