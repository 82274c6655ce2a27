"""Which partners a stricter policy would lock out, told from lines that the gateway has logged."""

from __future__ import annotations

from pathlib import Path

import pytest
from twisted.logger import Logger, formatEventAsClassicLogText

from sftpgw.cli import main
from sftpgw.client_report import ClientReport
from sftpgw.model.events import Event
from sftpgw.model.events.session_events import (
    AlgorithmsDiffer,
    ClientVersion,
    LoginFailedEvent,
    LoginKeyUnfit,
    LoginSucceeded,
    SessionClosed,
)
from sftpgw.telemetry.logs import LogSink


class Log:
    """Lines as twistd writes them."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        logger = Logger("sftpgw", observer=self._take)
        self._sink = LogSink(logger)

    def _take(self, event: object) -> None:
        self.lines.append(formatEventAsClassicLogText(event) or "")  # type: ignore[arg-type]

    def tell(self, session: str, *events: Event) -> None:
        for event in events:
            self._sink.bind(session=session, peer="192.0.2.7:4711").emit(event)

    def login(self, session: str, version: str, user: str, policy: str | None) -> None:
        self.tell(
            session,
            ClientVersion(version=version),
            LoginSucceeded(user=user, method="publickey", policy=policy),
            SessionClosed(reason="bye", seconds=1.0),
        )


@pytest.fixture
def log() -> Log:
    log = Log()
    log.login("1", "SSH-2.0-OpenSSH_9.2p1 Debian", "acme", "modern")
    log.login("2", "SSH-2.0-JSCH-0.1.54", "bolt", "legacy")
    log.login("3", "SSH-2.0-JSCH-0.1.54", "bolt", "legacy")
    log.login("4", "SSH-2.0-libssh2_1.10.0", "acme", "compatible")
    log.tell(
        "5",
        ClientVersion(version='SSH-2.0-old"client\x1b'),
        AlgorithmsDiffer(
            setting="key_exchanges",
            client_offers="diffie-hellman-group1-sha1",
            could_list="none",
            we_offer="curve25519-sha256",
            lets_in="nothing: the client has to be updated",
            client='SSH-2.0-old"client\x1b',
        ),
    )
    log.tell(
        "6",
        LoginKeyUnfit(
            user="carl",
            method="publickey",
            reason="the client signs with RSA and SHA-1",
            lets_in="[ssh] policy = legacy",
            client="SSH-2.0-paramiko_2.4.2",
        ),
    )
    return log


def test_it_tells_who_would_be_locked_out(log: Log) -> None:
    text = ClientReport.of(log.lines).text()
    assert "policy = modern would lock out: acme (libssh2_1.10.0), bolt (JSCH-0.1.54)\n" in text
    assert "policy = compatible would lock out: bolt (JSCH-0.1.54)\n" in text
    assert "policy = legacy" not in text.replace("[ssh] policy = legacy", "")
    (row,) = [line for line in text.splitlines() if line.startswith("legacy")]
    assert row.split() == ["legacy", "bolt", "JSCH-0.1.54", "2"]


def test_it_tells_who_was_refused_and_what_lets_it_in(log: Log) -> None:
    text = ClientReport.of(log.lines).text()
    (row,) = [line for line in text.splitlines() if line.startswith("paramiko_2.4.2")]
    assert "the client signs with RSA and SHA-1" in row
    assert "[ssh] policy = legacy" in row
    assert row.split()[-2:] == ["carl", "1"]
    (row,) = [line for line in text.splitlines() if line.startswith("old")]
    assert row.startswith('old"client\\x1b  no key exchanges in common')
    assert "192.0.2.7" in row


def test_a_login_that_no_policy_lets_in_would_be_locked_out_by_each() -> None:
    log = Log()
    log.login("1", "SSH-2.0-x", "acme", None)
    text = ClientReport.of(log.lines).text()
    assert "policy = compatible would lock out: acme (x)\n" in text


def test_a_log_without_logins_is_no_proof() -> None:
    text = ClientReport.of(["2026-01-01T00:00:00+0000 [-] hello\n"]).text()
    assert text.startswith("no login has a policy")
    assert "would lock out" not in text


@pytest.mark.parametrize("mark", ["[sftpgw#info]", '"[sftpgw#info]', "'[sftpgw#info]"])
def test_a_name_that_looks_like_a_line_is_no_login(mark: str) -> None:
    log = Log()
    forged = f"{mark} login-succeeded user=acme method=password policy=legacy"
    log.tell("1", LoginFailedEvent(user=forged, method="password"))
    lines = [*log.lines, "2026-01-01T00:00:00+0000 [sftpgw.ssh#error] " + forged]
    assert ClientReport.of(lines) == ClientReport()


def test_lines_are_found_behind_what_collectors_of_logs_put_before_them(log: Log) -> None:
    prefix = "Jan 01 00:00:00 host sftpgw[4711]: "
    assert ClientReport.of(prefix + line for line in log.lines) == ClientReport.of(log.lines)


def test_the_command_reads_several_logs(
    log: Log, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    paths = [tmp_path / "new", tmp_path / "old"]
    for path, lines in zip(paths, (log.lines[:6], log.lines[6:]), strict=True):
        path.write_text("".join(lines) + "\xff not UTF-8\n", encoding="latin-1")
    assert main(["check", "--client-report", *map(str, paths)]) == 0
    assert "policy = compatible would lock out: bolt (JSCH-0.1.54)" in capsys.readouterr().out


def test_a_log_that_is_not_there_is_a_fault(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["check", "--client-report", str(tmp_path / "none")]) == 1
    assert capsys.readouterr().err.startswith("sftpgw check: ")
