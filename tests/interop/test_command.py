"""The command line: what is wrong is told before anything listens."""

from __future__ import annotations

import re
import signal
import socket
import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

import sftpgw
from tests.interop.spawning import (
    CLIENT_SECONDS,
    REPOSITORY,
    TWISTD,
    Account,
    Bucket,
    Client,
    Gateway,
    Store,
    connect,
    program,
    this_code,
    wait_until,
)
from tests.needs import needs


def twistd(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run to the end; for what does not serve."""
    return subprocess.run(
        [*TWISTD, "-n", "--pidfile=", "sftpgw", *arguments],
        cwd=REPOSITORY,
        env=this_code(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=CLIENT_SECONDS,
        check=False,
    )


def test_the_version_is_told() -> None:
    assert twistd("--version").stdout == f"sftpgw {sftpgw.__version__}\n"


@pytest.mark.parametrize("arguments", [(), ("--demo", "--config", "x"), ("--demo", "--check")])
def test_options_that_make_no_sense(arguments: tuple[str, ...]) -> None:
    done = twistd(*arguments)
    assert done.returncode == 1
    assert "--config" in done.stdout.splitlines()[-1]


@pytest.mark.parametrize("arguments", [(), ("--check",)])
def test_five_faults_are_five_lines(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    (tmp_path / "host_key").write_text("not a key")
    (tmp_path / "sftpgw.ini").write_text(
        "[gateway]\nlisten = ssh://\nhost_keys = host_key\n"
        "[s3]\nbucket = uploads\npart_size = 1MiB\n[ssh]\nlogin_graze = 1m\n"
    )
    (tmp_path / "users.ini").write_text(
        "[alice]\nkey_prefix = a\nauthorized_keys = ssh-ed25519 AAAA\n"
    )
    done = twistd("--config", str(tmp_path / "sftpgw.ini"), *arguments)
    assert done.returncode == 1
    assert done.stdout == ""
    places = ["[gateway] listen", "[gateway] host_keys", "[s3] part_size", "[ssh] login_graze"]
    lines = done.stderr.splitlines()
    assert len(lines) == 5, done.stderr
    for place in [*places, "[alice] authorized_keys"]:
        assert sum(f"{place}: " in line for line in lines) == 1


@pytest.mark.parametrize("arguments", [(), ("--check",)])
def test_host_keys_that_no_listed_algorithm_fits_are_a_fault(
    config: Path, host_keys: dict[str, Path], arguments: tuple[str, ...]
) -> None:
    own = config.with_name("no-host-key-fits.ini")
    own.write_text(
        f"[gateway]\nhost_keys = {host_keys['ed25519']}\n[s3]\nbucket = uploads\n"
        "[ssh]\nhost_key_algorithms = rsa-sha2-512\n"
    )
    done = twistd("--config", str(own), *arguments)
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr == (
        "no host key can sign with any of the host_key_algorithms of [ssh]: rsa-sha2-512\n"
    )


def test_check_finds_nothing_wrong(config: Path) -> None:
    done = twistd("--config", str(config), "--check")
    assert done.returncode == 0, done.stdout + done.stderr
    assert all(line.startswith(("ok: ", "note: ")) for line in done.stdout.splitlines())
    assert "bucket" in done.stdout
    assert done.stderr == ""


@pytest.mark.parametrize(
    ("pattern", "line", "fault"),
    [
        (r"^bucket = .*$", "bucket = no-such-bucket-here", "fault: bucket no-such-bucket-here: "),
        (r"^endpoint = .*$", "endpoint = http://127.0.0.1:1\nmax_attempts = 1", "fault: bucket "),
    ],
)
def test_check_finds_a_fault(
    config: Path, tmp_path: Path, pattern: str, line: str, fault: str
) -> None:
    broken = changed(config, tmp_path, pattern, line)
    done = twistd("--config", str(broken), "--check")
    assert done.returncode == 1
    assert fault in done.stdout, done.stdout + done.stderr
    assert done.stderr == ""


def changed(config: Path, folder: Path, pattern: str, line: str) -> Path:
    """A copy of the configuration with another line in it."""
    text, count = re.subn(pattern, line, config.read_text(), flags=re.MULTILINE)
    assert count == 1
    (folder / "sftpgw.ini").write_text(text)
    (folder / "users.ini").write_text((config.parent / "users.ini").read_text())
    return folder / "sftpgw.ini"


def test_check_tells_what_the_store_lacks(config: Path, store: Store, tmp_path: Path) -> None:
    if not store.unsupported:
        pytest.skip("this store can do everything")
    trusting = changed(config, tmp_path, r"^unsupported = .*$", "unsupported =")
    done = twistd("--config", str(trusting), "--check")
    assert done.returncode == 0, done.stdout
    (note,) = (line for line in done.stdout.splitlines() if "the store lacks" in line)
    assert note.startswith("note: ")
    assert note.endswith(f"write into [s3]: unsupported = {store.unsupported}")


def test_check_for_a_reader_that_goes_away(config: Path) -> None:
    command = [*TWISTD, "-n", "--pidfile=", "sftpgw", "--config", str(config), "--check"]
    with subprocess.Popen(
        command,
        cwd=REPOSITORY,
        env=this_code(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline().startswith("ok: configuration: ")
        process.stdout.close()
        assert process.stderr.read() == ""
        assert process.wait(CLIENT_SECONDS) in (0, 128 + signal.SIGPIPE)


def test_check_beside_the_gateway_that_runs(config: Path, tmp_path: Path) -> None:
    gateway = Gateway.start("--config", str(config))
    line = f"listen = tcp:{gateway.port}:interface=127.0.0.1"
    done = twistd("--config", str(changed(config, tmp_path, r"^listen = .*$", line)), "--check")
    gateway.stop()
    assert done.returncode == 0, done.stdout
    assert "a gateway listens there already; end it first" in done.stdout


@pytest.mark.parametrize(
    ("pattern", "line", "why"),
    [
        (r"^bucket = .*$", "bucket = no-such-bucket-here", "NoSuchBucket"),
        (r"^endpoint = .*$", "endpoint = http://127.0.0.1:1", "ConnectFailed"),
    ],
)
def test_a_store_that_cannot_be_used_is_told_at_the_start(
    config: Path, tmp_path: Path, pattern: str, line: str, why: str
) -> None:
    """Within seconds, though requests go on to be tried for as long as retry_time says."""
    gateway = Gateway.start("--config", str(changed(config, tmp_path, pattern, line)))
    assert why in gateway.wait_for("bucket-unusable")
    gateway.stop()


def test_a_port_that_is_taken(config: Path, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        line = f"listen = tcp:{port}:interface=127.0.0.1"
        done = twistd("--config", str(changed(config, tmp_path, r"^listen = .*$", line)))
    assert done.returncode == 1
    assert f"cannot listen on tcp:{port}:interface=127.0.0.1" in done.stdout
    assert "Traceback" not in done.stdout + done.stderr


@needs("openssh")
def test_the_demo_lets_its_user_in_and_ends_whole(tmp_path: Path, account: Account) -> None:
    gateway = Gateway.start("--demo")
    try:
        password = gateway.wait_for("password: ").split()[-1]
        login = Account(account.key_file, password, tmp_path / "askpass")
        login.askpass.write_text(f"#!/bin/sh\necho {password}\n")
        login.askpass.chmod(0o700)
        line = next(line for line in gateway.lines if "sftp -P" in line)
        (tmp_path / "up").write_text("hello")
        done = subprocess.run(
            line.split(),
            input="put up\nls -l\n",
            cwd=tmp_path,
            env=login.environment(),
            capture_output=True,
            text=True,
            timeout=CLIENT_SECONDS,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert " 5 " in done.stdout
        child = children_of(gateway.process.pid)
        assert child
    finally:
        gateway.stop(signal.SIGKILL)
    wait_until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in child))


@pytest.mark.parametrize("name", ["SIGUSR1", "SIGUSR2", "SIGALRM", "SIGRTMIN"])
def test_a_signal_that_means_nothing_yet_is_logged_and_survived(config: Path, name: str) -> None:
    gateway = Gateway.start("--config", str(config))
    try:
        gateway.process.send_signal(signal.Signals[name])
        gateway.wait_for(f"{name} is ignored")
        gateway.settle()
    finally:
        assert gateway.stop() == -signal.SIGTERM


def test_secrets_that_all_can_read_are_told_of_at_the_start(config: Path) -> None:
    with TemporaryDirectory(prefix="sftpgw-test-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        for file in config.parent.glob("*.ini"):
            (folder / file.name).write_text(file.read_text())
        own = folder / config.name
        gateway = Gateway.start("--config", str(own))
        try:
            assert gateway.lines_with("every account of this machine can read it; chmod o-r it")
        finally:
            gateway.stop()
        checked = twistd("--config", str(own), "--check")
    assert checked.returncode == 0
    assert "note: " in checked.stdout


def test_a_second_signal_ends_it_at_once(config: Path, account: Account, tmp_path: Path) -> None:
    slow = changed(config, tmp_path, r"^drain = .*$", "drain = 1h")
    gateway = Gateway.start("--config", str(slow))
    with connect(gateway, username="alice", password=account.password) as client:
        file = client.open_sftp().open("never-closed", "wb")
        gateway.process.send_signal(signal.SIGTERM)
        gateway.wait_for("Closed)")
        with pytest.raises(subprocess.TimeoutExpired):
            gateway.process.wait(0.5)
        assert gateway.stop() == -signal.SIGTERM
        assert not file.closed


def children_of(pid: int) -> list[int]:
    text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    return [int(child) for child in text.split()]


@needs("openssh")
def test_sigterm_lets_an_upload_finish(
    config: Path, account: Account, tmp_path: Path, bucket: Bucket
) -> None:
    gateway = Gateway.start("--config", str(config))
    client = Client(gateway, account, tmp_path)
    data = b"0123456789abcdef" * (2 * 65536)
    (tmp_path / "up").write_bytes(data)
    options = [*account.key_options, "-l", "8000"]  # kbit/s: two seconds
    process = subprocess.Popen(
        [program("sftp"), "-P", str(gateway.port), *options, "-b", "-", client.host],
        cwd=tmp_path,
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert process.stdin is not None
    process.stdin.write("put up drained\n")
    process.stdin.flush()
    wait_until(lambda: "-rw" in client.sftp("-ls -l /drained"))  # an upload that others see
    assert bucket.keys("alice/drained") == []
    gateway.stop()
    process.communicate()
    assert process.returncode == 0  # the client has heard of it before the goodbye
    assert bucket.body("alice/drained") == data
    assert not gateway.lines_with("Traceback", "Unhandled")


def test_an_upload_that_outlives_the_drain_leaves_nothing(
    config: Path, account: Account, tmp_path: Path, bucket: Bucket
) -> None:
    short = changed(config, tmp_path, r"^drain = .*$", "drain = 1s")
    gateway = Gateway.start("--config", str(short))
    with connect(gateway, username="alice", password=account.password) as client:
        file = client.open_sftp().open("cut-off", "wb")
        file.set_pipelined(True)
        file.write(bytes(20_000_000))
        wait_until(lambda: bool(bucket.uploads("alice/cut-off")))
        gateway.stop()
        file.set_pipelined(False)
    assert bucket.uploads("alice/cut-off") == []
    assert bucket.keys("alice/cut-off") == []
    assert gateway.lines_with("upload-abandoned")
    assert not gateway.lines_with("Traceback", "Unhandled")
