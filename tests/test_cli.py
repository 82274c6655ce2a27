"""The ``sftpgw`` command: what it prints, what it runs and how it ends."""

from __future__ import annotations

import io
import os
import pty
import select
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from sftpgw import __version__
from sftpgw.auth.passwords import check_password_hash, matches
from sftpgw.cli import main

REPOSITORY = Path(__file__).parent.parent
COMMAND = (sys.executable, "-m", "sftpgw.cli")
SECONDS = 120
"""Finds what hangs; a machine that is slow or busy must not reach it."""


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(REPOSITORY)}


def run(folder: Path, *arguments: str, typed: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [*COMMAND, *arguments],
        cwd=folder,
        env=environment(),
        input=typed,
        capture_output=True,
        timeout=SECONDS,
        check=False,
    )


def write_config(folder: Path) -> Path:
    """A configuration that is right, with a store that is away: nothing listens on port 1."""
    users = "[*]\nkey_prefix = a/\n[al]\npassword_hash = $2b$04$" + "a" * 53 + "\n"
    (folder / "users.ini").write_text(users)
    path = folder / "sftpgw.ini"
    path.write_text(
        "[gateway]\nlisten = tcp:0:interface=127.0.0.1\ncreate_host_keys = yes\n"
        "host_keys = key\n[s3]\nbucket = uploads\nendpoint = http://127.0.0.1:1\n"
        "access_key = a\nsecret_key = b\nretry_time = 0s\n"
    )
    path.chmod(0o600)
    (folder / "users.ini").chmod(0o600)
    return path


@pytest.fixture
def typed(monkeypatch: pytest.MonkeyPatch) -> Callable[[bytes], None]:
    """Makes these bytes the standard input, which is no terminal."""

    def set_input(text: bytes) -> None:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text)))

    return set_input


def test_it_tells_its_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--version"])
    assert ended.value.code == 0
    assert capsys.readouterr().out == f"sftpgw {__version__}\n"


@pytest.mark.parametrize("command", [[], ["serve"], ["check"], ["demo"], ["hash-password"]])
def test_help_is_there(command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main([*command, "--help"])
    assert ended.value.code == 0
    shown = capsys.readouterr().out
    assert shown.startswith(" ".join(["usage: sftpgw", *command]))


@pytest.mark.parametrize(
    ("arguments", "fault"),
    [
        ([], "required: COMMAND"),
        (["serve"], "required: --config"),
        (["check"], "one of the arguments --config/-c --client-report is required"),
        (["check", "--config", "x", "--client-report", "y"], "not allowed with argument"),
        (["stop"], "invalid choice: 'stop'"),
        (["check", "--config", "x", "--pidfile", "y"], "unrecognized arguments: --pidfile y"),
        (["hash-password", "secret"], "unrecognized arguments: secret"),
    ],
)
def test_a_wrong_command_line_ends_with_two(
    arguments: list[str], fault: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    assert fault in capsys.readouterr().err


@pytest.mark.parametrize("command", ["serve", "check"])
def test_an_empty_path_is_a_wrong_command_line(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main([command, "--config", ""])
    assert ended.value.code == 2
    assert "the path is empty" in capsys.readouterr().err


@pytest.mark.parametrize("redirection", ["<&-", ">&-", "<&- >&-", ">/dev/full"])
def test_streams_that_cannot_be_used_are_told_in_a_line(tmp_path: Path, redirection: str) -> None:
    done = subprocess.run(
        ["sh", "-c", f"echo secret | {' '.join(COMMAND)} hash-password {redirection}"],
        cwd=tmp_path,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr.startswith("sftpgw hash-password: ")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("ending", [b"", b"\n", b"\r\n", b"\nanother line\n"])
def test_the_first_line_is_hashed(
    ending: bytes, typed: Callable[[bytes], None], capsys: pytest.CaptureFixture[str]
) -> None:
    typed("pass wörd ".encode() + ending)
    assert main(["hash-password"]) == 0
    password_hash = capsys.readouterr().out.removesuffix("\n")
    check_password_hash(password_hash)
    assert matches("pass wörd ".encode(), password_hash)
    assert not matches("pass wörd".encode(), password_hash)


@pytest.mark.parametrize(
    ("text", "fault"),
    [(b"", "is empty"), (b"\n", "is empty"), (b"x" * 1025 + b"\n", "more than 1024 bytes")],
)
def test_input_that_is_no_password_is_refused(
    text: bytes,
    fault: str,
    typed: Callable[[bytes], None],
    capsys: pytest.CaptureFixture[str],
) -> None:
    typed(text)
    assert main(["hash-password"]) == 1
    shown = capsys.readouterr()
    assert shown.out == ""
    assert fault in shown.err


class Terminal:
    """A ``sftpgw hash-password`` on a terminal of its own."""

    def __init__(self, folder: Path) -> None:
        self._pid, self._terminal = pty.fork()
        if self._pid == 0:
            # A job in the background of a shell has it ignored, and its children inherit that.
            signal.signal(signal.SIGINT, signal.SIG_DFL)
            os.chdir(folder)
            os.execve(COMMAND[0], [*COMMAND, "hash-password"], environment())
        self.shown = ""

    def wait_for(self, text: str) -> None:
        while text not in self.shown:
            self.shown += os.read(self._terminal, 1024).decode()

    def type(self, text: str) -> None:
        os.write(self._terminal, text.encode())

    def leave(self, text: str) -> None:
        """Type until something is shown: a Ctrl-C just before Python reads waits for the next."""
        self.type(text)
        while not select.select([self._terminal], [], [], 2.0)[0]:
            self.type(text)

    def end(self) -> int:
        """The exit status, when all that was shown has been read."""
        try:
            while found := os.read(self._terminal, 1024):
                self.shown += found.decode()
        except OSError:  # Linux says so where the other end is closed
            pass
        os.close(self._terminal)
        _, status = os.waitpid(self._pid, 0)
        return os.waitstatus_to_exitcode(status)


@pytest.fixture
def terminal(tmp_path: Path) -> Terminal:
    return Terminal(tmp_path)


def test_a_terminal_is_asked_twice_and_shows_no_password(terminal: Terminal) -> None:
    terminal.wait_for("Password: ")
    terminal.type("hush hush\n")
    terminal.wait_for("The same again: ")
    terminal.type("hush hush\n")
    assert terminal.end() == 0
    *_, password_hash = terminal.shown.split()
    assert matches(b"hush hush", password_hash)
    assert "hush" not in terminal.shown


def test_two_passwords_that_differ_are_refused(terminal: Terminal) -> None:
    terminal.wait_for("Password: ")
    terminal.type("hush\n")
    terminal.wait_for("The same again: ")
    terminal.type("hash\n")
    assert terminal.end() == 1
    assert "the two passwords differ" in terminal.shown
    assert "$argon2" not in terminal.shown


@pytest.mark.parametrize(("typed_text", "status"), [("\x04", 1), ("\x03", 130)])
def test_a_question_can_be_left(terminal: Terminal, typed_text: str, status: int) -> None:
    """By Ctrl-D, and by Ctrl-C."""
    terminal.wait_for("Password: ")
    terminal.leave(typed_text)
    assert terminal.end() == status
    assert "Traceback" not in terminal.shown


@pytest.mark.parametrize("command", ["serve", "check"])
def test_faults_of_the_configuration_are_told(tmp_path: Path, command: str) -> None:
    path = write_config(tmp_path)
    path.write_text(path.read_text().replace("[s3]", "[s3]\ncolour = blue"))
    done = run(tmp_path, command, "--config", str(path))
    assert done.returncode == 1
    assert b"[s3] colour" in done.stderr
    assert b"Traceback" not in done.stderr


def test_check_finds_what_twistd_finds(tmp_path: Path) -> None:
    path = write_config(tmp_path)
    done = run(tmp_path, "check", "--config", str(path))
    twistd = Path(sys.executable).with_name("twistd")
    other = subprocess.run(
        [sys.executable, twistd, "-n", "--pidfile=", "sftpgw", "--config", str(path), "--check"],
        cwd=tmp_path,
        env=environment(),
        capture_output=True,
        timeout=SECONDS,
        check=False,
    )
    assert done.returncode == other.returncode
    assert done.stdout == other.stdout
    assert done.stdout.startswith(b"ok: configuration: 1 user(s)"), done.stdout


@pytest.mark.parametrize("pidfile", [None, "gateway.pid"])
def test_serve_runs_until_it_is_told_to_end(tmp_path: Path, pidfile: str | None) -> None:
    options = ["--pidfile", pidfile] if pidfile else []
    process = subprocess.Popen(
        [*COMMAND, "serve", "--config", str(write_config(tmp_path)), *options],
        cwd=tmp_path,
        env=environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    with process.stdout as output:
        shown = []
        for line in output:
            shown.append(line)
            if "listening on tcp:127.0.0.1:" in line:
                break
        files = {path.name for path in tmp_path.iterdir()}
        process.send_signal(signal.SIGTERM)
        output.read()
    assert process.wait(SECONDS) == -signal.SIGTERM, shown
    assert files - {"sftpgw.ini", "users.ini", "key"} == ({pidfile} if pidfile else set())


def test_the_log_goes_where_it_is_told(tmp_path: Path) -> None:
    """Into a file; nothing is left for standard output. No machine has an address of TEST-NET-1."""
    path = write_config(tmp_path)
    path.write_text(path.read_text().replace("interface=127.0.0.1", "interface=192.0.2.1"))
    done = run(tmp_path, "serve", "--config", str(path), "--logfile", "gateway.log")
    assert done.returncode == 1
    assert done.stdout == b""
    assert "cannot listen on" in (tmp_path / "gateway.log").read_text()


def test_it_prints_the_policy_of_a_user(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = str(write_config(tmp_path))
    assert main(["check", "--config", config, "--print-policy", "al"]) == 0
    assert '"arn:aws:s3:::uploads/a/*"' in capsys.readouterr().out
    assert main(["check", "--config", config, "--print-policy", "al", "--static"]) == 0
    assert "${transfer:HomeBucket}/${transfer:HomeFolder}/*" in capsys.readouterr().out
    assert main(["check", "--config", config, "--print-policy", "bo"]) == 1
    assert "users.ini has no user bo" in capsys.readouterr().err
