"""What --check asks of the machine it runs on."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.endpoints import serverFromString

import twisted.plugins
from sftpgw.checks import Finding, Level
from sftpgw.machine_checks import (
    DescriptorNeeds,
    check_addresses,
    check_host_key_files,
    check_plugin_cache,
    descriptor_limit,
    greeting_at,
    is_cache_missed,
    judge_descriptors,
)
from tests.needs import needs

GREETING = b"SSH-2.0-sftpgw"


class Reported:
    """Keeps the lines that are reported."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def __call__(self, level: Level, text: str) -> None:
        self.lines.append(str(Finding(level, text)))


async def at_once(work: Callable[..., Any], *arguments: Any) -> Any:
    return work(*arguments)


async def addresses(*texts: str) -> list[str]:
    """What is reported of these endpoints."""
    report = Reported()
    endpoints = {text: serverFromString(reactor, text) for text in texts}
    await check_addresses(endpoints, GREETING, at_once, report)
    return report.lines


@pytest.fixture
def taken():
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server


def port_of(server: socket.socket) -> int:
    return int(server.getsockname()[1])


def greet(server: socket.socket, greeting: bytes) -> Thread:
    """Say that to the one client that comes."""

    def serve() -> None:
        connection, _ = server.accept()
        with connection:
            connection.sendall(greeting)

    thread = Thread(target=serve)
    thread.start()
    return thread


class TestAddresses:
    @pytest_twisted.ensureDeferred
    async def test_a_free_port_is_fine(self) -> None:
        text = "tcp:0:interface=127.0.0.1"
        assert await addresses(text) == [f"ok: listen {text}: nothing else listens there"]

    @pytest_twisted.ensureDeferred
    async def test_a_port_of_another_program_is_a_fault(self, taken: socket.socket) -> None:
        text = f"tcp:{port_of(taken)}:interface=127.0.0.1"
        thread = greet(taken, b"220 ftp\r\n")
        (line,) = await addresses(text)
        thread.join()
        assert line == (
            f"fault: listen {text}: Address already in use: "
            r"another process listens there, and says 220 ftp\x0d\x0a"
        )

    @pytest_twisted.ensureDeferred
    async def test_a_port_of_a_gateway_is_a_note(self, taken: socket.socket) -> None:
        text = f"tcp:{port_of(taken)}:interface=127.0.0.1"
        thread = greet(taken, GREETING + b"\r\n")
        (line,) = await addresses(text)
        thread.join()
        assert line == f"note: listen {text}: a gateway listens there already; end it first"

    @pytest_twisted.ensureDeferred
    async def test_a_port_where_a_gateway_waits_for_a_balancer_is_a_note(
        self, taken: socket.socket
    ) -> None:
        inner = f"tcp:{port_of(taken)}:interface=127.0.0.1"
        thread = greet(taken, b"")
        report = Reported()
        endpoints = {f"haproxy:{inner}": serverFromString(reactor, inner)}
        await check_addresses(endpoints, GREETING, at_once, report)
        thread.join()
        assert report.lines[0].startswith(f"note: listen haproxy:{inner}: something listens")

    @pytest.mark.parametrize("other", ["", "127.0.0.2"])
    @pytest_twisted.ensureDeferred
    async def test_a_port_listed_twice_on_one_interface_is_a_fault(
        self, taken: socket.socket, other: str
    ) -> None:
        port = port_of(taken)
        taken.close()
        texts = (f"tcp:{port}:interface=127.0.0.1", f"tcp:{port}:interface={other}")
        told = (await addresses(*texts))[1]
        if other:
            assert told.startswith("ok: ")
        else:
            assert told.startswith(f"fault: listen {texts[1]}: another line of listen has this")

    @pytest.mark.parametrize(
        ("text", "why"),
        [
            ("tcp:0:interface=192.0.2.1", "Cannot assign requested address"),
            ("unix:/nowhere/socket", "No such file or directory"),
        ],
    )
    @pytest_twisted.ensureDeferred
    async def test_malformed_addresses_are_faults(self, text: str, why: str) -> None:
        assert await addresses(text) == [f"fault: listen {text}: {why}"]

    def test_a_port_without_a_listener_has_no_greeting(self, taken: socket.socket) -> None:
        port = port_of(taken)
        taken.close()
        assert greeting_at("127.0.0.1", port) == b""

    def test_the_greeting_behind_a_socket_file_is_read(self, tmp_path: Path) -> None:
        path = str(tmp_path / "socket")
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(path)
            server.listen()
            thread = greet(server, GREETING)
            assert greeting_at(None, path) == GREETING
            thread.join()


class TestHostKeys:
    def told(self, path: Path) -> str:
        report = Reported()
        check_host_key_files([str(path)], report)
        (line,) = report.lines
        return line

    def test_a_host_key_that_exists_is_fine(self, tmp_path: Path) -> None:
        path = tmp_path / "key"
        path.touch()
        assert self.told(path) == f"ok: host key {path}"

    def test_a_host_key_that_can_be_made_is_fine(self, tmp_path: Path) -> None:
        assert self.told(tmp_path / "key").endswith(": to be made at the first start")

    def test_a_host_key_in_a_missing_directory_is_a_fault(self, tmp_path: Path) -> None:
        path = tmp_path / "folder" / "key"
        why = f"cannot be made: no folder {path.parent}; make it"
        assert self.told(path) == f"fault: host key {path}: {why}"

    @pytest.mark.parametrize(
        ("name", "why"),
        [("k" * 300, "File name too long"), ("k\0", "embedded null ")],
    )
    def test_a_host_key_whose_name_no_file_can_have_is_a_fault(
        self, tmp_path: Path, name: str, why: str
    ) -> None:
        told = self.told(tmp_path / name)
        beginning, _, reason = told.partition(": cannot be looked at: ")
        assert beginning == f"fault: host key {tmp_path / name}"
        assert why in reason  # each Python has other words for it

    def test_a_host_key_below_a_file_is_a_fault(self, tmp_path: Path) -> None:
        (tmp_path / "file").touch()
        why = f"cannot be made: no folder {tmp_path / 'file'}; make it"
        assert self.told(tmp_path / "file" / "key").endswith(why)

    @needs("a plain user")
    def test_a_host_key_in_a_read_only_directory_is_a_fault(self, tmp_path: Path) -> None:
        tmp_path.chmod(0o500)
        assert self.told(tmp_path / "key").startswith(f"fault: host key {tmp_path}/key: cannot be")


class TestPluginCache:
    @pytest.fixture
    def folder(self, tmp_path: Path) -> Path:
        for name in ("__init__.py", "one.py", "two.py", "dropin.cache"):
            (tmp_path / name).touch()
        return tmp_path

    @pytest.mark.parametrize(
        ("name", "seconds", "is_missed"),
        [
            ("dropin.cache", 2e9, False),
            ("dropin.cache", 1e9, True),
            ("__init__.py", 2e9, False),
            ("one.py", 2e9, True),
        ],
    )
    def test_the_plugin_cache_is_compared_with_the_newest_plugin(
        self, folder: Path, name: str, seconds: float, is_missed: bool
    ) -> None:
        for file in folder.iterdir():
            os.utime(file, (1.4e9, 1.4e9 if file.suffix == ".py" else 1.5e9))
        os.utime(folder / name, (seconds, seconds))
        assert is_cache_missed(folder) is is_missed

    def test_a_missing_plugin_cache_is_fine(self, folder: Path) -> None:
        (folder / "dropin.cache").unlink()
        assert is_cache_missed(folder)

    def test_only_what_cannot_be_written_is_told(
        self, folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (folder / "dropin.cache").unlink()
        monkeypatch.setattr(twisted.plugins, "__path__", [str(folder), str(folder / "nowhere")])
        report = Reported()
        check_plugin_cache(report)
        assert report.lines == []
        monkeypatch.setattr(os, "access", lambda path, mode: False)
        check_plugin_cache(report)
        (line,) = report.lines
        assert line.startswith("note: plugin cache: this account may not write")
        assert str(folder / "dropin.cache") in line


class TestDescriptors:
    NEEDS = DescriptorNeeds(
        max_connections=100, sessions=164, fewest_requests=16, wanted_requests=50
    )

    @pytest.mark.parametrize(
        ("limit", "level"),
        [
            (179, Level.FAULT),
            (180, Level.NOTE),
            (213, Level.NOTE),
            (214, Level.OK),
            (None, Level.OK),
        ],
    )
    def test_what_clients_take_and_what_the_store_takes(
        self, limit: int | None, level: Level
    ) -> None:
        assert judge_descriptors(limit, self.NEEDS)[0] is level

    def test_a_limit_that_is_too_low_names_what_is_needed(self) -> None:
        _, text = judge_descriptors(100, self.NEEDS)
        assert "may have 100 open" in text
        assert "max_connections = 100 takes 180" in text
        assert "LimitNOFILE=" in text

    def test_a_limit_that_is_low_names_what_is_left(self) -> None:
        _, text = judge_descriptors(200, self.NEEDS)
        assert "164 are kept for clients and 36 are left for requests" in text
        assert "50 at once are of use" in text

    def test_the_process_has_a_limit(self) -> None:
        assert (descriptor_limit() or 1) > 0
