"""Users change while twistd runs: on SIGHUP and on a change, also of a broken file."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import bcrypt
import paramiko
import pytest

from tests.interop.spawning import Gateway, connect, make_key, wait_until

pytestmark = [pytest.mark.interop]

HASH = bcrypt.hashpw(b"secret", bcrypt.gensalt(4)).decode("ascii")
COMMON = "[*]\nkey_prefix = home/{username}/\n"


def section(name: str, *lines: str) -> str:
    return "\n".join((f"[{name}]", f"password_hash = {HASH}", *lines, ""))


class Running:
    """A gateway without a store, which no login needs."""

    def __init__(self, folder: Path, settings: str = "") -> None:
        self.clients: list[paramiko.SSHClient] = []
        self.users = folder / "users.ini"
        self.write(section("alice"), section("bob"))
        config = folder / "sftpgw.ini"
        config.write_text(
            "[gateway]\nlisten = tcp:0:interface=127.0.0.1\ncreate_host_keys = yes\n"
            "[s3]\nbucket = uploads\nendpoint = http://127.0.0.1:9\nregion = us-east-1\n"
            f"access_key = a\nsecret_key = s\n[ssh]\nexempt_networks = 127.0.0.0/8\n{settings}"
        )
        self.gateway = Gateway.start("--config", str(config))

    def write(self, *sections: str) -> None:
        """Replace the file, as an editor does."""
        new = self.users.with_suffix(".new")
        new.write_text(COMMON + "".join(sections))
        os.replace(new, self.users)

    def hang_up(self) -> None:
        self.gateway.process.send_signal(signal.SIGHUP)

    def log_in(self, name: str, **proof: str) -> paramiko.Transport:
        proof = proof or {"password": "secret"}
        self.clients.append(connect(self.gateway, username=name, **proof))
        transport = self.clients[-1].get_transport()
        assert transport is not None
        return transport

    def may_log_in(self, name: str) -> bool:
        try:
            self.log_in(name).close()
        except paramiko.SSHException:
            return False
        return True


Run = Callable[..., Running]


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Run]:
    started: list[Running] = []

    def start(settings: str = "") -> Running:
        started.append(Running(tmp_path, settings))
        return started[-1]

    yield start
    for running in started:
        for client in running.clients:
            client.close()
        running.gateway.stop()
        assert not running.gateway.lines_with("Traceback", "Unhandled", " defect ")


def test_who_is_removed_is_disconnected_and_others_go_on(run: Run) -> None:
    running = run()
    alice, bob = running.log_in("alice"), running.log_in("bob")
    running.write(section("alice"), section("carol"))
    told = running.gateway.wait_for(" users-reloaded ")  # without a signal
    assert "added=1 removed=1 changed=0 disconnected=1" in told
    wait_until(lambda: not bob.is_active())
    assert alice.is_active()
    assert running.may_log_in("carol")
    assert not running.may_log_in("bob")


def test_a_broken_file_tells_all_its_faults_and_changes_nothing(run: Run) -> None:
    running = run()
    bob = running.log_in("bob")
    running.write(section("alice", "weight = many", "weigth = 3"), "[bob")
    running.hang_up()
    told = [running.gateway.wait_for(" users-reload-failed ") for _ in range(3)]
    places = (
        "users.ini:7: is neither",
        "users.ini:5: [alice] weight:",
        "users.ini:6: [alice] weig",
    )
    for place, line in zip(places, told, strict=True):
        assert place in line
        assert "faults=3" in line
    assert bob.is_active()
    assert running.may_log_in("bob")
    running.write(section("alice"))
    running.hang_up()
    running.gateway.wait_for(" users-reloaded ")
    wait_until(lambda: not bob.is_active())


def test_sessions_are_kept_where_that_is_asked_for(run: Run) -> None:
    running = run("[auth]\non_change = keep\n")
    alice, bob = running.log_in("alice"), running.log_in("bob")
    running.write(section("alice", "networks = 192.0.2.0/24"), section("carol"))
    running.hang_up()
    told = running.gateway.wait_for(" users-reloaded ")
    assert "added=1 removed=1 changed=1 disconnected=0" in told
    assert running.may_log_in("carol")
    assert not running.may_log_in("alice")
    assert not running.may_log_in("bob")
    assert alice.is_active()
    assert bob.is_active()


def test_what_was_changed_before_the_first_look_counts(run: Run) -> None:
    """A signal waits as well while the reactor does not run yet; nothing is lost."""
    running = run()
    running.hang_up()
    running.write(section("carol"))
    wait_until(lambda: running.may_log_in("carol"))


def test_a_session_ends_whose_key_is_revoked_and_others_of_the_user_go_on(
    run: Run, tmp_path: Path
) -> None:
    revoked = tmp_path / "revoked"
    revoked.write_text("")
    running = run(f"[auth]\nrevoked_keys = {revoked}\n")
    lost, kept = (make_key(tmp_path / name, "ed25519") for name in ("lost", "kept"))
    public = [path.with_suffix(".pub").read_text() for path in (lost, kept)]
    lines = "".join(f"    {line}" for line in public)
    running.write(section("alice", "authorized_keys =", lines.rstrip()))
    running.gateway.wait_for(" users-reloaded ")
    transports = [running.log_in("alice", key_filename=str(path)) for path in (lost, kept)]
    revoked.write_text(public[0])
    assert "disconnected=1" in running.gateway.wait_for(" users-reloaded ")
    wait_until(lambda: not transports[0].is_active())
    assert transports[1].is_active()
    with pytest.raises(paramiko.SSHException):
        running.log_in("alice", key_filename=str(lost))
