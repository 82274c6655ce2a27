"""The servers that are measured, each in processes of its own, on a port of its own.

Knows: how each is started, and where in it files may be put. Must not know: what is measured.
"""

from __future__ import annotations

import getpass
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from bench import processes
from bench.drivers import create_key
from bench.processes import BenchError, running

START_SECONDS = 60.0
REPOSITORY = Path(__file__).parent.parent
RAM_DISK = Path("/dev/shm")


@dataclass(frozen=True)
class Server:
    """One that listens on 127.0.0.1; `folder` is where its user may put files."""

    name: str
    process: subprocess.Popen[bytes]
    port: int
    user: str = "bench"
    folder: str = "/"

    def cpu_seconds(self) -> float:
        """User and system, of all its processes that are alive."""
        return sum(map(processes.cpu_seconds, processes.family(self.process.pid)))

    def forget_peak(self) -> None:
        for pid in processes.family(self.process.pid):
            processes.forget_peak(pid)

    def peak_bytes(self) -> int:
        """What its processes have held resident at most, since `forget_peak`."""
        return sum(map(processes.peak_bytes, processes.family(self.process.pid)))


Start = Callable[[], AbstractContextManager[Server]]


@contextmanager
def null_gateway(folder: Path, public_key: str, size_bytes: int) -> Iterator[Server]:
    """The gateway's SSH and SFTP, with nothing behind them."""
    with _null("sftpgw", "bench.null_gateway", folder, public_key, size_bytes) as server:
        yield server


@contextmanager
def null_asyncssh(folder: Path, public_key: str, size_bytes: int) -> Iterator[Server]:
    """asyncssh, with nothing behind it."""
    with _null("asyncssh", "bench.null_asyncssh", folder, public_key, size_bytes) as server:
        yield server


@contextmanager
def _null(
    name: str, module: str, folder: Path, public_key: str, size_bytes: int
) -> Iterator[Server]:
    command = [sys.executable, "-m", module, str(folder), public_key, str(size_bytes)]
    log = folder / f"{name}.log"
    with running(command, log, {"PYTHONPATH": str(REPOSITORY)}) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line:
            raise BenchError(f"{name} did not start: {log.read_text()[-1000:]}")
        yield Server(name, process, int(line))


@contextmanager
def openssh(folder: Path, public_key: str) -> Iterator[Server]:
    """OpenSSH's own server, its files on a RAM disk: no null sink, but the least it can do."""
    program = _program("sshd", "openssh-server")
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)  # as its package does at boot
    (folder / "authorized_keys").write_text(public_key + "\n")
    create_key(folder / "sshd_host_key")
    with TemporaryDirectory(dir=RAM_DISK, prefix="sftpgw-bench-") as ram:
        port = _free_port()
        config = folder / "sshd_config"
        config.write_text(
            f"Port {port}\n"
            "ListenAddress 127.0.0.1\n"
            f"HostKey {folder}/sshd_host_key\n"
            f"AuthorizedKeysFile {folder}/authorized_keys\n"
            "PermitRootLogin yes\n"
            "PidFile none\n"
            "StrictModes no\n"
            "UsePAM no\n"
            f"Subsystem sftp internal-sftp -d {ram}\n"
        )
        log = folder / "openssh.log"
        with running([program, "-D", "-e", "-f", str(config)], log) as process:
            _wait_for_port("openssh", process, port, log)
            yield Server("openssh", process, port, getpass.getuser(), ram)


def _program(name: str, package: str) -> str:
    found = shutil.which(name) or shutil.which(name, path="/usr/sbin")
    if found is None:
        raise BenchError(f"{name} is not installed: apt-get install {package}")
    return found


def _free_port() -> int:
    """For servers that cannot choose one themselves."""
    with socket.create_server(("127.0.0.1", 0)) as found:
        port: int = found.getsockname()[1]
        return port


def _wait_for_port(name: str, process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise BenchError(f"{name} did not start: {log.read_text()[-1000:]}")


@contextmanager
def profiled(server: Server, folder: Path | None) -> Iterator[None]:
    """Have py-spy write a flame graph of a server to `folder`. It slows the server down."""
    if folder is None:
        yield
        return
    picture = folder / f"{server.name}.svg"
    options = [
        "--pid",
        str(server.process.pid),
        "--output",
        str(picture),
        "--duration",
        "unlimited",
    ]
    spy = subprocess.Popen(
        [_program("py-spy", "py-spy"), "record", *options], stdout=subprocess.DEVNULL
    )
    try:
        yield
    finally:
        _interrupt(spy)


def _interrupt(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(2)  # on which py-spy writes what it has
    try:
        process.wait(START_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()


def versions(programs: Sequence[Sequence[str]]) -> dict[str, str]:
    """The first line that each program says of itself."""
    found = {}
    for command in programs:
        if shutil.which(command[0]):
            told = subprocess.run(command, capture_output=True, text=True, check=False)
            found[command[0]] = (told.stdout + told.stderr).partition("\n")[0]
    return found
