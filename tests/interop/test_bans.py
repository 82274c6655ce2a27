"""From wrong passwords to a ban, and from ``sftpgw unban`` to a login, with real clients."""

from __future__ import annotations

import json
import signal
import socket
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.interop.conftest import SSH
from tests.interop.spawning import (
    CLIENT_SECONDS,
    NO_HOST_FILE,
    QUIET,
    Account,
    Gateway,
    program,
    this_code,
    wait_until,
)
from tests.needs import needs

pytestmark = needs("openssh")
GUESSES = 3
"""By then the address has penalties of ``[ssh]``, too."""


class Guarded:
    """A gateway that bans after `GUESSES` wrong passwords, and has a control socket."""

    def __init__(self, config: Path, folder: Path, account: Account) -> None:
        self.socket = folder / "run" / "control.sock"
        self.socket.parent.mkdir(mode=0o755, exist_ok=True)
        self.config = config.with_name("guarded.ini")
        text = config.read_text(encoding="utf-8").replace(SSH, "\n")
        text = text.replace("[gateway]\n", f"[gateway]\ncontrol = {self.socket}\n")
        text += f"[lockout]\nuser_score = 100\naddress_score = {GUESSES}\nmax_delay = 0s\n"
        self.config.write_text(text, encoding="utf-8")
        self._folder = folder
        self._account = account
        self.start()

    def start(self) -> None:
        self.gateway = Gateway.start("--config", str(self.config))
        wait_until(self._listens)

    def _listens(self) -> bool:
        """Also beside what a killed gateway has left."""
        return self.command("bans").returncode == 0

    def log_in(self, password: str) -> subprocess.CompletedProcess[str]:
        """OpenSSH's sftp, with one password."""
        ask = self._folder / "ask"
        ask.write_text(f"#!/bin/sh\necho {password}\n")
        ask.chmod(0o700)
        return subprocess.run(
            [
                program("sftp"),
                *QUIET,
                *NO_HOST_FILE,
                *("-o", "PreferredAuthentications=password", "-o", "NumberOfPasswordPrompts=1"),
                *("-o", "PubkeyAuthentication=no", "-P", str(self.gateway.port)),
                "alice@127.0.0.1",
            ],
            input="pwd\n",
            capture_output=True,
            text=True,
            timeout=CLIENT_SECONDS,
            check=False,
            env={**self._account.environment(), "SSH_ASKPASS": str(ask)},
        )

    def command(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """The command ``sftpgw``."""
        return subprocess.run(
            [sys.executable, "-m", "sftpgw", *arguments, "--config", str(self.config)],
            capture_output=True,
            text=True,
            timeout=CLIENT_SECONDS,
            check=False,
            env=this_code(),
        )

    def greeting(self) -> bytes:
        """What the gateway sends to a client that connects; nothing if it closes at once."""
        with socket.create_connection(("127.0.0.1", self.gateway.port), 30) as connection:
            try:
                return connection.recv(100)
            except ConnectionResetError:
                return b""


@pytest.fixture
def guarded(config: Path, account: Account) -> Iterator[Guarded]:
    # A socket's path has a bound, which a folder of pytest's may exceed.
    with tempfile.TemporaryDirectory(prefix="sftpgw-") as folder:
        guarded = Guarded(config, Path(folder), account)
        yield guarded
        guarded.gateway.stop()
        assert not guarded.gateway.lines_with("Traceback", "Unhandled")


def test_wrong_passwords_ban_and_unban_lets_in_again(guarded: Guarded, account: Account) -> None:
    assert stat.S_IMODE(guarded.socket.stat().st_mode) == 0o600
    assert "Remote working directory" in guarded.log_in(account.password).stdout
    guarded.gateway.settle()
    # The login has made the address known, which is not banned as a whole. The next gateway has
    # forgotten it.
    guarded.gateway.stop()
    guarded.start()
    for _ in range(GUESSES):
        assert guarded.greeting().startswith(b"SSH-2.0-")
        assert guarded.log_in("wrong").returncode != 0
    assert guarded.greeting() == b"", "closed at once, and told nothing"
    assert guarded.log_in(account.password).returncode != 0
    (ban,) = json.loads(guarded.command("bans", "--json").stdout)
    assert (ban["address"], ban["user"], ban["score"]) == ("127.0.0.1", "", GUESSES)
    assert "127.0.0.1  *  " in guarded.command("bans").stdout
    assert guarded.command("unban", "127.0.0.1").stdout == "unbanned all users at 127.0.0.1\n"
    assert guarded.command("bans").stdout == "nothing is banned\n"
    assert "Remote working directory" in guarded.log_in(account.password).stdout
    assert guarded.gateway.lines_with(" banned ")
    assert guarded.gateway.lines_with(" unbanned ")


def test_a_killed_gateway_leaves_a_socket_that_the_next_one_replaces(guarded: Guarded) -> None:
    guarded.gateway.stop(signal.SIGKILL)
    assert guarded.socket.exists()
    refused = guarded.command("bans")
    assert refused.returncode == 1
    assert "no gateway listens" in refused.stderr
    guarded.start()
    guarded.gateway.stop()
    assert not guarded.socket.exists()
