"""The control socket as a file, with the real reactor: modes, leftovers, and what stays alone."""

from __future__ import annotations

import os
import socket
import stat
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.threads import deferToThread

from sftpgw.control.control_client import ask_gateway
from sftpgw.control.control_lines import MAX_ANSWER_BYTES, ControlError
from sftpgw.control.control_service import ControlService
from sftpgw.control.control_socket import SocketUnfit, make_room
from sftpgw.testing.ssh_pairs import RecordedEvents


@pytest.fixture
def path() -> Iterator[Path]:
    """In a folder with a short name: a socket's path has a bound."""
    with tempfile.TemporaryDirectory(prefix="sftpgw-") as folder:
        yield Path(folder) / "control.sock"


async def greet(arguments: Any) -> Any:
    return f"hello {arguments['name']}"


def service_at(path: Path, events: RecordedEvents | None = None) -> ControlService:
    return ControlService(str(path), {"greet": greet}, reactor, events or RecordedEvents())


def leave_stale(path: Path) -> None:
    """A socket to which nothing listens any more."""
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(path))


@pytest_twisted.ensureDeferred
async def test_a_command_asks_a_gateway(path: Path) -> None:
    service = service_at(path)
    service.start()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    answer = await deferToThread(ask_gateway, str(path), "greet", {"name": "you"})
    assert answer == "hello you"
    with pytest.raises(ControlError, match="there is no request 'sing'; known: greet"):
        await deferToThread(ask_gateway, str(path), "sing", {})
    await service.stop()
    assert not path.exists()
    with pytest.raises(ControlError, match="no gateway listens"):
        ask_gateway(str(path), "greet", {})


@pytest_twisted.ensureDeferred
async def test_what_a_killed_gateway_has_left_is_replaced(path: Path) -> None:
    leave_stale(path)
    with pytest.raises(ControlError, match="no gateway listens"):
        ask_gateway(str(path), "greet", {})
    service = service_at(path)
    service.start()
    assert await deferToThread(ask_gateway, str(path), "greet", {"name": "x"}) == "hello x"
    await service.stop()


@pytest_twisted.ensureDeferred
async def test_a_second_gateway_leaves_the_socket_of_the_first_alone(path: Path) -> None:
    first, events = service_at(path), RecordedEvents()
    first.start()
    second = service_at(path, events)
    second.start()
    (told,) = events.facts("control-socket-failed")
    assert "listens there already" in str(told["reason"])
    await second.stop()
    assert await deferToThread(ask_gateway, str(path), "greet", {"name": "x"}) == "hello x"
    await first.stop()


@pytest_twisted.ensureDeferred
async def test_a_socket_that_is_removed_meanwhile_does_not_spoil_the_end(path: Path) -> None:
    service = service_at(path)
    service.start()
    path.unlink()
    await service.stop()


def test_nothing_but_a_stale_socket_is_removed(path: Path) -> None:
    path.write_text("precious")
    with pytest.raises(SocketUnfit, match="something else than a socket"):
        make_room(str(path))
    assert path.read_text() == "precious"


def test_a_symbolic_link_is_not_followed(path: Path) -> None:
    target = path.with_name("target.sock")
    leave_stale(target)
    path.symlink_to(target)
    with pytest.raises(SocketUnfit, match="something else than a socket"):
        make_room(str(path))
    assert target.exists()
    with pytest.raises(ControlError, match="is not a socket"):
        ask_gateway(str(path), "greet", {})


@pytest.mark.parametrize("mode", [0o777, 0o1777, 0o770])
def test_a_folder_into_which_others_may_write_is_refused(path: Path, mode: int) -> None:
    path.parent.chmod(mode)
    with pytest.raises(SocketUnfit, match="others than its owner may write"):
        make_room(str(path))
    path.parent.chmod(0o700)


@pytest.mark.parametrize("name", ["missing/control.sock", "file/control.sock"])
def test_a_folder_that_is_none_is_told(path: Path, name: str) -> None:
    (path.parent / "file").touch()
    events = RecordedEvents()
    service_at(path.parent / name, events).start()
    (told,) = events.facts("control-socket-failed")
    assert told["reason"] in ("No such file or directory", "Not a directory")


def test_without_a_path_nothing_listens() -> None:
    events = RecordedEvents()
    ControlService("", {}, reactor, events).start()
    assert events.told == []


def answering(path: Path, answer: bytes) -> threading.Thread:
    """A program that listens there and is no gateway."""
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(str(path))
    listening.listen()

    def run() -> None:
        with listening:
            connection, _ = listening.accept()
            with connection:
                connection.recv(1000)
                try:
                    connection.sendall(answer)
                except BrokenPipeError:
                    return

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    return thread


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (b"", "has closed the connection"),
        (b"nonsense\n", "not JSON"),
        (b'{"version": 2, "result": 1}\n', "version 1"),
        (b'{"version": 1}\n', "no result"),
        (b"x" * (MAX_ANSWER_BYTES + 100_000), "too long"),
    ],
    ids=["closed", "nonsense", "version", "empty", "endless"],
)
def test_a_command_bounds_and_judges_what_it_is_answered(
    path: Path, answer: bytes, why: str
) -> None:
    thread = answering(path, answer)
    with pytest.raises(ControlError, match=why):
        ask_gateway(str(path), "greet", {})
    thread.join()


def test_root_is_not_needed_to_see_the_owner_of_the_folder(path: Path) -> None:
    assert path.parent.stat().st_uid == os.geteuid()
    make_room(str(path))
