"""Real S3 servers: each is started, tested and stopped.

``.ci/stores`` gets the programs and calls this: ``python -m tests.real_stores NAME PROGRAM``.
Whatever follows goes to pytest, in place of the suites that are run by default.
"""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from botocore.exceptions import BotoCoreError, ClientError

from tests.assumed_capabilities import VARIABLE, amazon_client

REPOSITORY = Path(__file__).parent.parent
SUITES = (
    ("contract", ("tests/contract", "-k", "real")),
    (
        "interop",
        tuple(
            f"tests/interop/test_{name}.py"
            for name in ("editing", "partials", "odd_objects", "times", "openssh")
        ),
    ),
)
SIDE_BY_SIDE = ("-n", "auto", "--dist", "worksteal", "-p", "no:cacheprovider")
BUCKET, ACCESS_KEY, SECRET_KEY = "tests", "testkey", "testsecret"
START_SECONDS, STOP_SECONDS, SUITE_SECONDS = 120.0, 20.0, 1500.0


class Trouble(Exception):
    """A store does not start; the message says why."""


@dataclass
class Running:
    """The processes of a store, in a folder of their own."""

    program: str
    folder: Path
    endpoint: str = ""
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def start(self, *command: str, **environment: str) -> None:
        """Start one process; its output goes to ``log``."""
        with (self.folder / "log").open("ab") as log:
            self.processes.append(
                subprocess.Popen(
                    command,
                    cwd=self.folder,
                    env={**os.environ, **environment},
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                )
            )

    def run(self, *command: str, limit_seconds: float = 60.0) -> str:
        """Run a command to its end; returns what it prints."""
        done = subprocess.run(
            command,
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=limit_seconds,
            check=False,
        )
        if done.returncode != 0:
            raise Trouble(f"{' '.join(command)}: {done.stderr or done.stdout}")
        return done.stdout

    def listen_on(self, port: int) -> str:
        """The address to listen on; also sets the endpoint."""
        self.endpoint = f"http://127.0.0.1:{port}"
        return f"127.0.0.1:{port}"

    def log(self) -> str:
        path = self.folder / "log"
        return path.read_text(errors="replace")[-4000:] if path.exists() else ""

    def stop(self) -> None:
        for process in reversed(self.processes):
            process.terminate()
        for process in self.processes:
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(STOP_SECONDS)


def free_ports(count: int) -> list[int]:
    """Free ports of the loopback interface."""
    with ExitStack() as held:
        sockets = [held.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [each.getsockname()[1] for each in sockets]


def start_versitygw(store: Running) -> None:
    """With its default it closes each connection after a response."""
    (store.folder / "data").mkdir()
    address = store.listen_on(*free_ports(1))
    keys = {"ROOT_ACCESS_KEY_ID": ACCESS_KEY, "ROOT_SECRET_ACCESS_KEY": SECRET_KEY}
    store.start(store.program, "--port", address, "--quiet", "posix", "data", **keys)


def start_minio(store: Running) -> None:
    (port, console) = free_ports(2)
    addresses = ["--address", store.listen_on(port), "--console-address", f"127.0.0.1:{console}"]
    keys = {"MINIO_ROOT_USER": ACCESS_KEY, "MINIO_ROOT_PASSWORD": SECRET_KEY}
    store.start(store.program, "server", "--quiet", *addresses, "data", MINIO_UPDATE="off", **keys)


def start_s3proxy(store: Running) -> None:
    (store.folder / "data").mkdir()
    settings = {
        "s3proxy.endpoint": "http://" + store.listen_on(*free_ports(1)),
        "s3proxy.authorization": "aws-v2-or-v4",
        "s3proxy.identity": ACCESS_KEY,
        "s3proxy.credential": SECRET_KEY,
        "jclouds.provider": "filesystem-nio2",
        "jclouds.filesystem.basedir": str(store.folder / "data"),
    }
    text = "".join(f"{key}={value}\n" for key, value in settings.items())
    (store.folder / "s3proxy.conf").write_text(text)
    store.start("java", "-Xmx512m", "-jar", store.program, "--properties", "s3proxy.conf")


def start_seaweedfs(store: Running) -> None:
    (store.folder / "data").mkdir()
    user = {
        "name": "tests",
        "credentials": [{"accessKey": ACCESS_KEY, "secretKey": SECRET_KEY}],
        "actions": ["Admin", "Read", "Write", "List", "Tagging"],
    }
    (store.folder / "s3.json").write_text(json.dumps({"identities": [user]}))
    s3, *others = free_ports(8)
    roles = ("master", "volume", "filer")
    ports = [f"-{role}.port={port}" for role, port in zip(roles, others, strict=False)]
    ports += [
        f"-{role}.port.grpc={port}"
        for role, port in zip((*roles, "s3"), others[len(roles) :], strict=True)
    ]
    store.listen_on(s3)
    store.start(
        *(store.program, "server", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-dir=data"),
        *("-master.volumeSizeLimitMB=256", "-volume.max=40", "-filer", "-s3", *ports),
        *(f"-s3.port={s3}", "-s3.config=s3.json"),
    )


CEPH_CONF = """
[global]
fsid = {fsid}
mon host = [v2:127.0.0.1:{mon_port}/0]
mon initial members = a
public network = 127.0.0.0/8
cluster network = 127.0.0.0/8
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 4
osd pool default pgp num = 4
osd pool default pg autoscale mode = off
osd crush chooseleaf type = 0
mon allow pool size one = true
mon warn on pool no redundancy = false
mon max pg per osd = 1000
mon data avail warn = 1
mon data avail crit = 1
mon data = {folder}/mon
osd data = {folder}/osd
osd objectstore = bluestore
bluestore block size = 34359738368
bluestore block create = true
bluestore block wal size = 0
bluestore block db size = 0
osd memory target = 939524096
run dir = {folder}/run
admin socket = {folder}/run/$name.$pid.asok
pid file = {folder}/run/$name.pid
log file = {folder}/$name.log
keyring = {folder}/keyring
rgw frontends = beast endpoint={address}
"""
"""One monitor, one OSD on a sparse file, one gateway, and about a gigabyte of memory."""


def start_ceph(store: Running) -> None:
    """One node, without a manager, which the tests do not need."""
    for name in ("mon", "osd", "run"):
        (store.folder / name).mkdir()
    mon_port, port = free_ports(2)
    values = {"folder": store.folder, "mon_port": mon_port, "fsid": uuid.uuid4()}
    text = CEPH_CONF.format(**values, address=store.listen_on(port))
    conf = store.folder / "ceph.conf"
    conf.write_text(text)
    new_key = ("ceph-authtool", "keyring", "--gen-key", "-n")
    store.run("ceph-authtool", "--create-keyring", *new_key[1:], "mon.", "--cap", "mon", "allow *")
    rights = [word for role in ("mon", "osd") for word in ("--cap", role, "allow *")]
    store.run(*new_key, "client.admin", *rights)
    address = f"[v2:127.0.0.1:{mon_port}]"
    store.run(
        *("monmaptool", "--create", "--fsid", str(values["fsid"])),
        *("--addv", "a", address, "monmap"),
    )
    of = ("-c", str(conf))
    monitor = ("ceph-mon", *of, "-i", "a")
    store.run(*monitor, "--mkfs", "--monmap", "monmap", "--keyring", "keyring")
    store.start(*monitor, "-f")
    ask = ("ceph", *of, "--connect-timeout", "60")
    osd_id = str(uuid.uuid4())
    store.run(*ask, "osd", "new", osd_id)
    key = store.run(*ask, "auth", "get-or-create", "osd.0", "mon", "allow *", "osd", "allow *")
    with (store.folder / "keyring").open("a") as keyring:
        keyring.write(key)
    store.run("ceph-osd", *of, "-i", "0", "--mkfs", "--osd-uuid", osd_id)
    store.start("ceph-osd", *of, "-i", "0", "-f")
    store.start(store.program, *of, "-n", "client.admin", "-f")
    store.run(
        *("radosgw-admin", *of, "user", "create", "--uid=tests", "--display-name=tests"),
        *(f"--access-key={ACCESS_KEY}", f"--secret={SECRET_KEY}"),
        limit_seconds=START_SECONDS,
    )


@dataclass(frozen=True)
class Kind:
    """A store that the tests know: how it is started, what it lacks, which settings it needs."""

    start: Callable[[Running], None]
    lacks: str
    unsupported: str = ""


KINDS: Mapping[str, Kind] = {
    "versitygw": Kind(
        start_versitygw,
        "archives conditional-copy copied-checksums dot-segments empty-segments"
        " files-over-folders folders-with-bytes infrequent-access",
    ),
    "s3proxy": Kind(
        start_s3proxy,
        "aborted-uploads-told archives binary-order conditional-copy copied-checksums dot-segments"
        " empty-segments files-over-folders folders-with-bytes infrequent-access object-size tags"
        " tags-of-copies tags-of-uploads",
    ),
    "minio": Kind(
        start_minio,
        "archives conditional-copy conditional-delete copied-checksums dot-segments"
        " empty-segments files-over-folders infrequent-access uploads-by-prefix",
    ),
    "seaweedfs": Kind(
        start_seaweedfs,
        "archives backslashes dot-segments empty-segments files-over-folders"
        " folders-with-bytes folders-with-metadata"
        " missing-buckets-refused",
    ),
    "ceph": Kind(
        start_ceph,
        "aborted-uploads-told archives checksums completing-once conditional-complete"
        " conditional-copy conditional-delete copy-source-condition infrequent-access"
        " part-numbers-bounded tags-of-copies tags-of-uploads",
    ),
}


@contextmanager
def started(kind: Kind, program: str) -> Iterator[Running]:
    """A store with an empty bucket; it is stopped and its folder removed at the end."""
    with tempfile.TemporaryDirectory(prefix="store-", ignore_cleanup_errors=True) as folder:
        store = Running(program, Path(folder))
        try:
            kind.start(store)
            create_bucket(store)
            yield store
        except Trouble as trouble:
            raise Trouble(f"{trouble}\n{store.log()}") from None
        finally:
            store.stop()


def create_bucket(store: Running) -> None:
    """Create the bucket as soon as the store responds."""
    client = amazon_client(store.endpoint, ACCESS_KEY, SECRET_KEY, "us-east-1")
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            client.create_bucket(Bucket=BUCKET)
        except (BotoCoreError, ClientError) as error:
            ended = [each.args for each in store.processes if each.poll() is not None]
            if ended or time.monotonic() > deadline:
                raise Trouble(f"it does not answer: {error}; ended: {ended}") from None
            time.sleep(0.25)
        else:
            client.close()
            return


def environment_for(kind: Kind, store: Running) -> dict[str, str]:
    """The environment variables that name the store to the tests."""
    variables = {
        "ENDPOINT": store.endpoint,
        "BUCKET": BUCKET,
        "ACCESS_KEY": ACCESS_KEY,
        "SECRET_KEY": SECRET_KEY,
        "UNSUPPORTED": kind.unsupported,
    }
    named = {f"SFTPGW_TEST_S3_{name}": value for name, value in variables.items()}
    return {**os.environ, **named, VARIABLE: kind.lacks, "PYTHONPATH": str(REPOSITORY)}


def run_suite(arguments: tuple[str, ...], environment: dict[str, str]) -> tuple[int, str]:
    """pytest's status, and its last line."""
    process = subprocess.Popen(
        [sys.executable, "-m", "pytest", "-q", *SIDE_BY_SIDE, *arguments],
        cwd=REPOSITORY,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    last = ""
    timer = _killing(process)
    try:
        assert process.stdout is not None
        for line in process.stdout:
            sys.stdout.write(line)
            sys.stdout.flush()
            last = line.strip() or last
        return process.wait(), re.sub(r"\x1b\[[0-9;]*m", "", last).strip("= ")
    finally:
        timer.cancel()
        if process.poll() is None:
            process.kill()
            process.wait()


def _killing(process: subprocess.Popen[str]) -> threading.Timer:
    """A timer that ends a suite that hangs."""
    timer = threading.Timer(SUITE_SECONDS, process.kill)
    timer.daemon = True
    timer.start()
    return timer


def main(arguments: list[str]) -> int:
    name, program, *others = arguments
    kind = KINDS[name]
    suites = (("chosen", tuple(others)),) if others else SUITES
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    counts = []
    try:
        with started(kind, program) as store:
            for suite, chosen in suites:
                status, last = run_suite(chosen, environment_for(kind, store))
                counts.append((status, f"{name}: {suite}: {last}"))
    except Trouble as trouble:
        sys.stderr.write(f"{name}: {trouble}\n")
        return 1
    sys.stdout.write("\n" + "".join(f"{line}\n" for _, line in counts))
    return 0 if all(status == 0 for status, _ in counts) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
