"""The client: OpenSSH's ``sftp``, as it is installed.

Knows: its options and how it behaves in batch mode. Must not know: which server it talks to.

A session logs in first and is then told what to do, so that the key exchange is not in the
figures. ``pwd`` behind a command tells when the command is done.
"""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.processes import BenchError, running

LIMIT_SECONDS = 900.0
"""The longest that a session may take, whatever it does."""

CIPHERS = {
    "aes128-gcm": ("Ciphers=aes128-gcm@openssh.com",),
    "aes256-gcm": ("Ciphers=aes256-gcm@openssh.com",),
    "chacha20-poly1305": ("Ciphers=chacha20-poly1305@openssh.com",),
    "aes128-ctr": ("Ciphers=aes128-ctr", "MACs=hmac-sha2-256-etm@openssh.com"),
}
"""ssh_config(5) for each case."""

_FIXED = (
    "BatchMode=yes",
    "Compression=no",
    "GlobalKnownHostsFile=/dev/null",
    "IdentitiesOnly=yes",
    "LogLevel=ERROR",
    "StrictHostKeyChecking=no",
    "UserKnownHostsFile=/dev/null",
)
_DONE = b"Remote working directory:"


@dataclass(frozen=True)
class Client:
    """How to log in: `key_file` has a private key, beside its ``.pub``."""

    key_file: Path

    @classmethod
    def create(cls, folder: Path) -> Client:
        """A client with a key of its own in `folder`."""
        key_file = folder / "client_key"
        create_key(key_file)
        return cls(key_file)

    @property
    def public_key(self) -> str:
        return self.key_file.with_suffix(".pub").read_text().strip()

    @property
    def log(self) -> Path:
        """Where its programs complain."""
        return self.key_file.with_name("client.log")

    def options(self, port_option: str, port: int, case: str) -> list[str]:
        """What ``ssh`` and ``sftp`` are told; they differ in how they are told the port."""
        options = ["-q", "-F", "/dev/null", port_option, str(port), "-i", str(self.key_file)]
        for option in (*_FIXED, *CIPHERS[case]):
            options += ["-o", option]
        return options

    @contextmanager
    def session(
        self, user: str, port: int, case: str, limit_seconds: float = LIMIT_SECONDS
    ) -> Iterator[Session]:
        """A session that has logged in. :raises BenchError: the login fails."""
        command = ["sftp", *self.options("-P", port, case), "-b", "-", f"{user}@127.0.0.1"]
        with running(command, self.log) as process:
            watchdog = threading.Timer(limit_seconds, process.kill)
            watchdog.start()
            try:
                session = Session(process, self.log)
                session.begin()
                session.finish()
                yield session
            finally:
                watchdog.cancel()


class Session:
    """One ``sftp``, logged in."""

    def __init__(self, process: subprocess.Popen[bytes], errors: Path) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self._commands, self._output, self._errors = process.stdin, process.stdout, errors

    def run(self, command: str) -> None:
        """Do one command and wait for its end. :raises BenchError: it fails."""
        self.begin(command)
        self.finish()

    def begin(self, *commands: str) -> None:
        """Have commands done, or none; `finish` waits for them."""
        try:
            self._commands.write("".join(f"{line}\n" for line in (*commands, "pwd")).encode())
            self._commands.flush()
        except BrokenPipeError:
            raise self._failure() from None

    def finish(self) -> None:
        """Wait until what was begun is done. :raises BenchError: it has failed."""
        for line in self._output:
            if line.startswith(_DONE):
                return
        raise self._failure()

    def _failure(self) -> BenchError:
        return BenchError("sftp gave up: " + self._errors.read_text()[-500:].strip())


def create_key(path: Path) -> None:
    """A new ed25519 key pair at `path`."""
    command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "bench", "-f", str(path)]
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL)
