"""Bans over the control socket's requests, and the commands that show them."""

from __future__ import annotations

import json
from typing import Any

import pytest
from twisted.internet.defer import Deferred

from sftpgw.auth.lockout.lockout import MAX_LISTED_BANS, Lockout
from sftpgw.auth.lockout.plan import GuessFailure
from sftpgw.ban_commands import ban_runner
from sftpgw.ban_commands.ban_runner import table
from sftpgw.cli import main
from sftpgw.control.ban_requests import BanRequests
from sftpgw.control.control_lines import (
    MAX_ANSWER_BYTES,
    ControlError,
    read_result,
    result_line,
)
from sftpgw.model.settings import LockoutSettings
from sftpgw.testing.ssh_pairs import RecordedEvents
from tests.results import result_of

HERE = "192.0.2.1"
NOW = 1_800_000_000.0


class World:
    """A lockout with some bans, and what is asked about them, without the socket between."""

    def __init__(self) -> None:
        self.events = RecordedEvents()
        self.forgiven: list[str] = []
        self.lockout = Lockout(LockoutSettings(), lambda: NOW)
        self.requests = BanRequests(self.lockout, self.forgiven.append, self.events)

    def ban(self, name: bytes, host: str = HERE) -> None:
        for _ in range(10):
            self.lockout.count_failure(name, host, GuessFailure.WRONG_PASSWORD)

    def ask(self, path: str, name: str, arguments: dict[str, Any]) -> Any:
        """In the place of ``ask_gateway``: the line of the answer is written and read."""
        answered = Deferred.fromCoroutine(self.requests.handlers[name](arguments))
        line = result_line(result_of(answered))
        assert len(line) <= MAX_ANSWER_BYTES
        return read_result(line)


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    world = World()
    monkeypatch.setattr(ban_runner, "ask_gateway", world.ask)
    return world


def run(*arguments: str) -> int:
    return main([*arguments, "--socket", "/run/x.sock"])


def test_bans_are_shown_as_a_table(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    world.ban(b"alice")
    assert run("bans") == 0
    head, line = capsys.readouterr().out.splitlines()
    assert head.split() == ["ADDRESS", "USER", "SINCE", "UNTIL", "SCORE", "WHY"]
    assert line.split(maxsplit=5) == [
        HERE,
        "alice",
        "2027-01-15T08:00:00Z",
        "2027-01-15T08:10:00Z",
        "10",
        "wrong password",
    ]


def test_bans_are_shown_as_json(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    world.ban(b"alice")
    assert run("bans", "--json") == 0
    (ban,) = json.loads(capsys.readouterr().out)
    assert ban == {
        "address": HERE,
        "user": "alice",
        "since_seconds": NOW,
        "until_seconds": NOW + 600,
        "score": 10,
        "reason": "wrong password",
        "count": 1,
    }


def test_no_ban_is_shown_too(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("bans") == 0
    assert capsys.readouterr().out == "nothing is banned\n"
    assert run("bans", "--json") == 0
    assert json.loads(capsys.readouterr().out) == []


def test_thousands_of_bans_come_in_pages(world: World) -> None:
    """Names of strangers, as long and as odd as they can be."""
    for number in range(MAX_LISTED_BANS + 500):
        world.ban(b"%04d" % number + b'\xff"\\' * 50, f"10.1.{number >> 8}.{number & 255}")
    shown = ban_runner._all_bans("/run/x.sock")
    assert len(shown) == MAX_LISTED_BANS + 500
    assert len({ban["address"] for ban in shown}) == MAX_LISTED_BANS + 500


def test_a_terminal_obeys_no_name(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    world.ban(b"\x1b[31mred\n")
    run("bans")
    out = capsys.readouterr().out
    assert "\x1b" not in out
    assert len(out.splitlines()) == 2


@pytest.mark.parametrize("name", [HERE, "alice"])
def test_unban_ends_a_ban_and_the_penalties_of_its_address(
    world: World, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    world.ban(b"alice")
    assert run("unban", name) == 0
    assert capsys.readouterr().out == f"unbanned alice at {HERE}\n"
    assert world.lockout.bans()[1] == []
    assert HERE in world.forgiven
    assert world.events.facts("unbanned") == [{"address": HERE, "user": "alice"}]
    assert run("unban", name) == 0
    assert "was not banned" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("bans", {"first": -1}),
        ("bans", {"first": "x"}),
        ("unban", {}),
        ("unban", {"name": ""}),
        ("unban", {"name": 5}),
    ],
)
def test_arguments_that_are_wrong_are_refused(
    world: World, name: str, arguments: dict[str, Any]
) -> None:
    with pytest.raises(ControlError):
        world.ask("", name, arguments)


def test_a_gateway_that_is_away_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bans", "--socket", "/nonexistent/x.sock"]) == 1
    assert "no gateway listens at /nonexistent/x.sock" in capsys.readouterr().err


def test_the_socket_is_the_one_of_sftpgw_ini(
    tmp_path: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "sftpgw.ini"
    config.write_text("[gateway]\n")
    assert main(["bans", "--config", str(config)]) == 1
    assert "set [gateway] control" in capsys.readouterr().err
    config.write_text("[gateway]\ncontrol = run/c.sock\n")
    assert main(["bans", "--config", str(config)]) == 1
    assert f"no gateway listens at {tmp_path}/run/c.sock" in capsys.readouterr().err
    assert main(["bans", "--config", str(tmp_path / "missing.ini")]) == 1
    assert "there is no" in capsys.readouterr().err


def test_columns_stand_below_each_other() -> None:
    assert table([("A", "LONG", "C"), ("aaa", "b", "")]) == ["A    LONG  C", "aaa  b"]
