"""Processes that interop tests drive, and what they look at."""

from __future__ import annotations

import base64
import hashlib
import os
import queue
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import paramiko
from botocore.exceptions import ClientError
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

REPOSITORY = Path(__file__).parent.parent.parent
START_SECONDS = 120.0
CLIENT_SECONDS = 600.0
"""These limits find what hangs. A machine that is slow or busy must not reach them."""

SESSION = re.compile(r" session=\S+")
TWISTD = (sys.executable, str(Path(sys.executable).with_name("twistd")))
QUIET = ("-F", "/dev/null", "-o", "StrictHostKeyChecking=no", "-o", "LogLevel=ERROR")
NO_HOST_FILE = ("-o", "UserKnownHostsFile=/dev/null", "-o", "GlobalKnownHostsFile=/dev/null")

PrivateKey = ed25519.Ed25519PrivateKey | rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey

KEY_KINDS: Mapping[str, Callable[[], PrivateKey]] = {
    "ed25519": ed25519.Ed25519PrivateKey.generate,
    "rsa-3072": lambda: rsa.generate_private_key(65537, 3072),
    "ecdsa-256": lambda: ec.generate_private_key(ec.SECP256R1()),
    "ecdsa-384": lambda: ec.generate_private_key(ec.SECP384R1()),
    "ecdsa-521": lambda: ec.generate_private_key(ec.SECP521R1()),
}
"""How keys are made, by their kind. Without ssh-keygen, which not every machine has."""


def this_code() -> dict[str, str]:
    """The environment in which a program finds this sftpgw, and no other that is installed."""
    return {**os.environ, "PYTHONPATH": str(REPOSITORY)}


def program(name: str) -> str:
    """The path of a client program, which the test has said that it needs (`tests.needs`)."""
    path = shutil.which(name)
    assert path is not None, f"there is no {name}, and the test does not say that it needs it"
    return path


def make_key(path: Path, kind: str) -> Path:
    """A private key of one of `KEY_KINDS`, with its public key beside it."""
    key = KEY_KINDS[kind]()
    openssh = serialization.PublicFormat.OpenSSH
    public = key.public_key().public_bytes(serialization.Encoding.OpenSSH, openssh)
    path.touch(0o600)
    path.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.OpenSSH,
            serialization.NoEncryption(),
        )
    )
    path.with_suffix(".pub").write_bytes(public + b" test\n")
    return path


def fingerprint(key_file: Path) -> str:
    """The SHA-256 fingerprint of a key that `make_key` has made, as OpenSSH writes it."""
    blob = base64.b64decode(key_file.with_suffix(".pub").read_text().split()[1])
    return "SHA256:" + base64.b64encode(hashlib.sha256(blob).digest()).decode().rstrip("=")


@dataclass(frozen=True)
class Store:
    """Where an S3 is, and what it lacks."""

    endpoint: str
    bucket: str
    access_key: str
    secret_key: str
    unsupported: str
    region: str = "us-east-1"


@dataclass(frozen=True)
class Bucket:
    """A part of a bucket, seen by Amazon's own client."""

    client: Any
    name: str
    prefix: str

    def keys(self, below: str = "") -> list[str]:
        """The keys below, without the prefix; a thousand at the most."""
        found = self.client.list_objects_v2(Bucket=self.name, Prefix=self.prefix + below)
        return [each["Key"].removeprefix(self.prefix) for each in found.get("Contents", [])]

    def body(self, key: str) -> bytes:
        found = self.client.get_object(Bucket=self.name, Key=self.prefix + key)
        with found["Body"] as body:
            return bytes(body.read())

    def body_if_any(self, key: str) -> bytes | None:
        """The bytes of an object that may be replaced or deleted meanwhile; None if there is none.

        moto answers 500 if that happens while it reads the object.
        """
        try:
            return self.body(key)
        except self.client.exceptions.NoSuchKey:
            return None
        except ClientError as error:
            if error.response["ResponseMetadata"]["HTTPStatusCode"] != 500:
                raise
            return None

    def metadata(self, key: str) -> dict[str, str]:
        """What is said of an object under ``x-amz-meta-``."""
        found = self.client.head_object(Bucket=self.name, Key=self.prefix + key)
        return dict(found["Metadata"])

    def put(self, key: str, body: bytes) -> None:
        self.client.put_object(Bucket=self.name, Key=self.prefix + key, Body=body)

    def remove(self, key: str) -> None:
        self.client.delete_object(Bucket=self.name, Key=self.prefix + key)

    def uploads(self, below: str = "") -> list[str]:
        """The keys of the multipart uploads that are open."""
        found = self.client.list_multipart_uploads(Bucket=self.name, Prefix=self.prefix + below)
        return [each["Key"].removeprefix(self.prefix) for each in found.get("Uploads", [])]

    def clear(self) -> None:
        while keys := self.keys():
            for key in keys:
                self.client.delete_object(Bucket=self.name, Key=self.prefix + key)


@dataclass(frozen=True)
class Account:
    """What opens the users' accounts."""

    key_file: Path
    password: str
    askpass: Path
    key_files: Mapping[str, Path] = field(default_factory=dict)
    """A private key of each of `KEY_KINDS`."""

    def public_keys(self) -> list[str]:
        """The lines for ``authorized_keys``."""
        return [path.with_suffix(".pub").read_text().strip() for path in self.key_files.values()]

    def environment(self) -> dict[str, str]:
        """Makes OpenSSH take the password from a program."""
        asking = {"SSH_ASKPASS": str(self.askpass), "SSH_ASKPASS_REQUIRE": "force"}
        return {**os.environ, **asking}

    @property
    def key_options(self) -> list[str]:
        options = ["PreferredAuthentications=publickey", "IdentitiesOnly=yes", "BatchMode=yes"]
        found = [*QUIET, *NO_HOST_FILE, "-i", str(self.key_file)]
        for option in options:
            found += ["-o", option]
        return found


@dataclass
class Gateway:
    """A gateway in a process of its own."""

    process: subprocess.Popen[str]
    lines: list[str] = field(default_factory=list)
    port: int = 0
    _news: queue.Queue[str] = field(default_factory=queue.Queue)

    @classmethod
    def start(cls, *arguments: str) -> Gateway:
        """Start ``twistd sftpgw`` and wait until it listens."""
        process = subprocess.Popen(
            [*TWISTD, "-n", "--pidfile=", "sftpgw", *arguments],
            cwd=REPOSITORY,
            env=this_code(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        gateway = cls(process)
        threading.Thread(target=gateway._read, daemon=True).start()
        line = gateway.wait_for("listening on tcp:127.0.0.1:")
        gateway.port = int(line.rpartition(":")[2])
        return gateway

    def _read(self) -> None:
        assert self.process.stdout is not None
        with self.process.stdout as output:
            for line in output:
                self.lines.append(line)
                self._news.put(line)
        self._news.put("")

    def wait_for(self, text: str) -> str:
        """The next line that contains `text`."""
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                line = self._news.get(timeout=max(0.0, deadline - time.monotonic()))
            except queue.Empty:
                line = ""
            if text in line:
                return line
            if not line:
                self.process.kill()
                raise AssertionError(f"no {text!r} in:\n" + "".join(self.lines))

    def settle(self) -> None:
        """Wait until all users' sessions have ended, and all that they did is in `lines`.

        A client is gone before the gateway has heard of it, and its lines come through a pipe.
        """
        mark = f"marker-{secrets.token_hex(8)}"
        with socket.create_connection(("127.0.0.1", self.port), START_SECONDS) as connection:
            connection.sendall(f"SSH-2.0-{mark}\r\n".encode())
            wait_until(lambda: self.lines_with(mark))
        wait_until(lambda: self._sessions("login-succeeded") <= self._sessions("session-closed"))

    def _sessions(self, event: str) -> set[str]:
        found = (SESSION.search(line) for line in self.lines_with(f" {event} "))
        return {label[0] for label in found if label}

    def lines_with(self, *texts: str) -> list[str]:
        return [line for line in self.lines if any(text in line for text in texts)]

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """End the gateway; the status as Popen tells it."""
        self.process.send_signal(number)
        return self.process.wait(START_SECONDS)

    def memory_bytes(self) -> int:
        """The most that the process has held resident so far."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        (line,) = (line for line in status.splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) * 1024


@dataclass(frozen=True)
class Client:
    """OpenSSH's programs, logged in as one user."""

    gateway: Gateway
    account: Account
    folder: Path
    user: str = "alice"

    def sftp(self, *lines: str, ok: bool = True) -> str:
        """Run a batch; what it prints. `ok` tells whether it is expected to succeed."""
        port = ["-P", str(self.gateway.port)]
        command = [program("sftp"), *port, *self.account.key_options, "-b", "-"]
        done = self.run([*command, self.host], "".join(f"{line}\n" for line in lines))
        assert (done.returncode == 0) is ok, done.stdout
        return done.stdout

    def scp(self, *arguments: str, ok: bool = True) -> str:
        """Copy; ``:path`` is on the gateway."""
        port = ["-P", str(self.gateway.port)]
        paths = [self.host + path if path.startswith(":") else path for path in arguments]
        done = self.run([program("scp"), *port, *self.account.key_options, *paths])
        assert (done.returncode == 0) is ok, done.stdout
        return done.stdout

    def ssh(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        port = ["-p", str(self.gateway.port)]
        before = [each for each in arguments if each.startswith("-")]
        options = arguments[: len(arguments) if before else 0]
        command = [program("ssh"), *port, *self.account.key_options, *options, self.host]
        return self.run([*command, *([] if before else arguments)])

    @property
    def host(self) -> str:
        return f"{self.user}@127.0.0.1"

    def run(self, command: list[str], text: str = "") -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command,
            cwd=self.folder,
            input=text,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=CLIENT_SECONDS,
            check=False,
        )


def connect(gateway: Gateway, **login: object) -> paramiko.SSHClient:
    """A paramiko client that has logged in."""
    client = paramiko.SSHClient()
    client.set_missing_host_key_policy(paramiko.AutoAddPolicy())
    options = {"allow_agent": False, "look_for_keys": False, "timeout": 30, **login}
    client.connect("127.0.0.1", gateway.port, **options)  # type: ignore[arg-type]
    return client


def wait_until(what: Any, limit_seconds: float = 120.0) -> None:
    """Ask `what` until it is true; for what another process does in its own time."""
    deadline = time.monotonic() + limit_seconds
    pause = threading.Event()
    while not what():
        assert time.monotonic() < deadline, "it did not happen"
        pause.wait(0.05)
