"""The servers that are measured, each in processes of its own, on a port of its own.

Knows: how each is started, and where in it files may be put. Must not know: what is measured.
"""

from __future__ import annotations

import getpass
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from configparser import RawConfigParser
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from bench import processes
from bench.drivers import create_key
from bench.processes import BenchError, running

START_SECONDS = 60.0
REPOSITORY = Path(__file__).parent.parent
RAM_DISK = Path("/dev/shm")
KEY_PREFIX = "sftpgw-bench/"
"""Below which all files lie in the bucket."""


@dataclass(frozen=True)
class Server:
    """One that listens on 127.0.0.1.

    :param folder: where its user may put files.
    :param has_folders: whether there can be folders in it, and listings of them.
    :param uses_store: whether it keeps the files in the S3 that is counted.
    """

    name: str
    process: subprocess.Popen[bytes]
    port: int
    user: str = "bench"
    folder: str = "/"
    has_folders: bool = True
    uses_store: bool = False

    def cpu_seconds(self) -> float:
        """User and system, of all its processes that are alive."""
        return sum(map(processes.cpu_seconds, processes.family(self.process.pid)))

    def forget_peak(self) -> None:
        for pid in processes.family(self.process.pid):
            processes.forget_peak(pid)

    def peak_bytes(self) -> int:
        """What its processes have held resident at most, since `forget_peak`."""
        return sum(map(processes.peak_bytes, processes.family(self.process.pid)))


@dataclass(frozen=True, slots=True)
class Store:
    """An S3. The credentials are those of the environment, as with Amazon's tools."""

    endpoint: str
    bucket: str


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
        yield Server(name, process, int(line), has_folders=False)


@contextmanager
def gateway(
    folder: Path, public_key: str, store: Store, settings: Sequence[str]
) -> Iterator[Server]:
    """The whole gateway, started by twistd.

    :param settings: lines for sftpgw.ini, each ``section.key=value``.
    """
    (folder / "users.ini").write_text(
        f"[bench]\nkey_prefix = {KEY_PREFIX}\nauthorized_keys = {public_key}\n"
    )
    config = folder / "sftpgw.ini"
    with config.open("w") as file:
        gateway_settings(store, settings).write(file)
    log = folder / "twistd.log"
    twistd = Path(sys.executable).with_name("twistd")
    if not twistd.exists():
        raise BenchError(f"there is no {twistd}: pip install -e . where the bench's Python is")
    command = [sys.executable, str(twistd)]
    command += ["-n", "--pidfile=", "sftpgw", "--config", str(config)]
    path = {"PYTHONPATH": str(REPOSITORY)}
    with running(command, log, path, log_output=True) as process:
        port = port_in(log, r"listening on tcp:127\.0\.0\.1:(\d+)", process)
        yield Server("sftpgw", process, port, uses_store=True)


def gateway_settings(store: Store, settings: Sequence[str]) -> RawConfigParser:
    """sftpgw.ini of a gateway on `store`, with lines ``section.key=value`` of its own."""
    config = RawConfigParser()
    config["gateway"] = {"listen": "tcp:0:interface=127.0.0.1", "create_host_keys": "yes"}
    config["s3"] = {"bucket": store.bucket, "endpoint": store.endpoint}
    for line in settings:
        name, equals, value = line.partition("=")
        section, dot, key = name.partition(".")
        if not equals or not dot:
            raise BenchError(f"not section.key=value: {line}")
        if not config.has_section(section):
            config.add_section(section)
        config[section][key.strip()] = value.strip()
    return config


@contextmanager
def rclone(folder: Path, public_key: str, store: Store) -> Iterator[Server]:
    """``rclone serve sftp`` on the same store."""
    (folder / "authorized_keys").write_text(public_key + "\n")
    create_key(folder / "rclone_host_key")
    command = [_program("rclone", "rclone"), "serve", "sftp", f":s3:{store.bucket}/{KEY_PREFIX}"]
    command += ["--addr", "127.0.0.1:0", "--key", str(folder / "rclone_host_key")]
    command += ["--authorized-keys", str(folder / "authorized_keys")]
    settings = {
        "AWS_CA_BUNDLE": "",  # rclone refuses to start with it; it has its own name for it
        "RCLONE_CA_CERT": os.environ.get("AWS_CA_BUNDLE", ""),
        "RCLONE_CONFIG": "/dev/null",
        "RCLONE_S3_ENDPOINT": store.endpoint,
        "RCLONE_S3_ENV_AUTH": "true",
        "RCLONE_S3_PROVIDER": "Other",
    }
    log = folder / "rclone.log"
    with running(command, log, settings) as process:
        port = port_in(log, r"listening on 127\.0\.0\.1:(\d+)", process)
        yield Server("rclone", process, port, uses_store=True)


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


def port_in(log: Path, pattern: str, process: subprocess.Popen[bytes]) -> int:
    """The port that a server tells in its log, once it does."""
    deadline = time.monotonic() + START_SECONDS
    text, is_alive = "", True
    while is_alive and time.monotonic() < deadline:
        is_alive = process.poll() is None  # before the last look at the log
        text = log.read_text()
        if found := re.search(pattern, text):
            return int(found[1])
        time.sleep(0.05)
    raise BenchError(f"a server did not start: {text[-1000:]}")


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
    folder.mkdir(parents=True, exist_ok=True)
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
