"""Command lines: what is known, what is refused, and what sums look like."""

from __future__ import annotations

import hashlib
import re
from collections.abc import AsyncGenerator

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred

from sftpgw.errors import StoreUnavailable
from sftpgw.model.mounts import Permission
from sftpgw.model.units import KIB, MIB
from sftpgw.scp.console import Console
from sftpgw.scp.sums import print_sums, sum_line
from sftpgw.telemetry.allowance import SOURCE_BYTES
from sftpgw.testing.other_users import with_mount
from sftpgw.testing.sftp_sessions import ALICE, GatewayInMemory
from tests.log_files import LogFile
from tests.scp.talking import Channel, Talk, seed


@pytest.fixture
def gateway():
    gateway = GatewayInMemory()
    yield gateway
    gateway.assert_idle()
    assert gateway.clock.getDelayedCalls() == []


@pytest.mark.parametrize(
    "line",
    [
        *(b"", b"ls", b"sh -c ls", b"rm -rf /", b"/bin/scp -t x", b"internal-sftp", b"echo hi"),
        *(b"'open", b"pwd; ls", b"pwd | cat", b"\xff\0", b"x" * 20_000, b"rclone md5sum"),
    ],
)
def test_there_is_no_shell(gateway: GatewayInMemory, line: bytes) -> None:
    talk = Talk(gateway, line)
    assert talk.status == 127
    assert talk.heard() == b""
    assert talk.channel.errors.count(b"\n") == 1
    assert talk.channel.errors.endswith(b"\n")
    assert len(talk.channel.errors) < 300
    talk.say(b"more input")
    talk.demand_all_credited()


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        (b"scp", b"scp: only for scp clients, which add -t or -f\n"),
        (b"scp a b", b"scp: only for scp clients, which add -t or -f\n"),
        (b"scp -t -f a", b"scp: only for scp clients, which add -t or -f\n"),
        (b"scp -f", b"scp: a path is missing\n"),
        (b"scp -t a b", b"scp: ambiguous target; quote blanks in its name\n"),
        (b"scp -x -t a", b"scp: unknown option '-x'\n"),
        (b"md5sum --check sums", b"md5sum: unknown option '--check'\n"),
        (b"cd a b", b"cd: too many arguments\n"),
    ],
)
def test_misuse_is_explained(gateway: GatewayInMemory, line: bytes, complaint: bytes) -> None:
    talk = Talk(gateway, line)
    assert talk.status == 2
    assert talk.channel.errors == complaint


def test_pwd_and_cd_print_what_a_shell_would(gateway: GatewayInMemory) -> None:
    seed(gateway, {b"/d/a": b""})
    assert Talk(gateway, b"pwd").heard() == b"/\n"
    for line, status in ((b"cd", 0), (b"cd d", 0), (b"cd ~/d", 0), (b"cd d/a", 1), (b"cd x", 1)):
        talk = Talk(gateway, line)
        assert talk.status == status
        assert bool(talk.channel.errors) is bool(status)


# Sums.


@pytest.mark.parametrize("name", ["md5", "sha1", "sha224", "sha256", "sha384", "sha512"])
def test_sums_of_files_are_printed(gateway: GatewayInMemory, name: str) -> None:
    data = b"x" * (3 * MIB + 1)
    seed(gateway, {b"/a b": data, b"/empty": b""})
    talk = Talk(gateway, f"{name}sum 'a b' empty".encode())
    sums = [hashlib.new(name, content).hexdigest() for content in (data, b"")]
    assert talk.heard() == f"{sums[0]}  a b\n{sums[1]}  empty\n".encode()
    assert talk.status == 0


@pytest.mark.parametrize("line", [b"md5sum", b"md5sum -", b"md5sum -b -"])
def test_sums_of_the_standard_input_are_printed(gateway: GatewayInMemory, line: bytes) -> None:
    """rclone asks whether there is an md5sum by having it hash nothing."""
    talk = Talk(gateway, line)
    talk.say(b"ab")
    talk.say(b"c")
    assert talk.status is None
    mark = b"*" if b"-b" in line else b" "
    assert talk.end_input() == b"900150983cd24fb0d6963f7d28e17f72 " + mark + b"-\n"
    assert talk.status == 0
    talk.demand_all_credited()


def test_one_error_does_not_lose_the_other_sums(gateway: GatewayInMemory) -> None:
    seed(gateway, {b"/a": b"abc", b"/d/": b""})
    talk = Talk(gateway, b"md5sum missing d a")
    assert talk.heard() == b"900150983cd24fb0d6963f7d28e17f72  a\n"
    assert talk.channel.errors == (
        b"md5sum: /missing: No such file or directory\nmd5sum: /d: is a directory\n"
    )
    assert talk.status == 1
    gateway.store.fail("get", StoreUnavailable("secret details of the store"))
    talk = Talk(gateway, b"md5sum a")
    assert talk.channel.errors == b"md5sum: a: the store does not answer; try again later\n"


def test_sums_need_the_permission_to_download(gateway: GatewayInMemory) -> None:
    seed(gateway, {b"/a": b"abc"})
    user = with_mount(ALICE, permissions=Permission.LIST | Permission.UPLOAD)
    talk = Talk(gateway, b"md5sum a", user)
    assert talk.heard() == b""
    assert talk.channel.errors == b"md5sum: /a: you may not download files here\n"


@given(st.text("a \\\n\r*n", min_size=1, max_size=20))
def test_a_line_of_sums_can_be_read_back(path: str) -> None:
    line = sum_line(b"\1\2", path.encode()).decode()
    assert line.count("\n") == 1
    is_escaped = line.startswith("\\")
    name = line.removeprefix("\\").removeprefix("0102  ").removesuffix("\n")
    if is_escaped:
        meaning = {"\\\\": "\\", "\\n": "\n", "\\r": "\r"}
        name = re.sub(r"\\.", lambda found: meaning[found[0]], name)
    assert name == path


def test_lines_of_sums_as_coreutils_have_them() -> None:
    assert sum_line(b"\xab", b"a b") == b"ab  a b\n"
    assert sum_line(b"\xab", b"a\\b\nc\rd") == b"\\ab  a\\\\b\\nc\\rd\n"
    assert sum_line(b"\xab", b"a", is_binary=True) == b"ab *a\n"


def test_a_client_that_is_lost_ends_the_reading(gateway: GatewayInMemory) -> None:
    seed(gateway, {b"/a": b"x" * (20 * MIB)})
    gate = gateway.store.hold("get")
    talk = Talk(gateway, b"md5sum a")
    assert talk.console.is_busy
    talk.drop()
    gate.open()
    assert gateway.store.requests["get"] == 1


def test_names_that_have_to_be_waited_for(gateway: GatewayInMemory) -> None:
    seed(gateway, {b"/a": b""})
    found: Deferred[tuple[int, int]] = Deferred()

    async def paths() -> AsyncGenerator[bytes, None]:
        await found  # a tuple: Python 3.11's anext() with a default takes it apart
        yield b"/a"

    async def run(console: Console) -> int:
        tree, digester = gateway.tree(), gateway.digester
        return await print_sums(console, tree, digester, "md5", paths(), is_binary=False)

    console, channel = (
        Console(run, events=gateway.events, work=gateway.work.share("alice")),
        Channel(),
    )
    console.makeConnection(channel)
    assert channel.status is None
    found.callback((1, 2))
    assert channel.written.endswith(b"  /a\n")
    assert channel.status == 0


# The console.


def test_a_defect_is_told_and_logged(gateway: GatewayInMemory) -> None:
    async def broken(console: Console) -> int:
        raise RuntimeError("a bug")

    console, channel = (
        Console(broken, events=gateway.events, work=gateway.work.share("alice")),
        Channel(),
    )
    console.makeConnection(channel)
    assert channel.status == 70
    assert b"a bug" not in channel.errors
    (defect,) = gateway.events.facts("defect")
    assert "a bug" in str(defect["failure"])
    gateway.events.told.clear()


def test_refusals_and_commands_do_not_fill_the_log(gateway: GatewayInMemory) -> None:
    log = LogFile()
    recorded, gateway.events = gateway.events, log.sink  # type: ignore[assignment]
    for _ in range(8):
        Talk(gateway, b"md5sum " + b"x " * 200)
    for _ in range(150):
        Talk(gateway, b"cd " + b"\xff" * 1000)
    gateway.events = recorded
    for kind in ("request-refused", "command-ended"):
        assert SOURCE_BYTES < log.size_bytes[kind] < SOURCE_BYTES + 4096


def test_the_log_tells_which_commands_were_run(gateway: GatewayInMemory) -> None:
    Talk(gateway, b"cd nowhere")
    (facts,) = gateway.events.facts("command-ended")
    assert facts == {
        "session": "session",
        "peer": "192.0.2.1:4711",
        "user": "alice",
        "command": b"cd nowhere",
        "status": 1,
        "input_bytes": 0,
        "output_bytes": 0,
    }


def test_a_command_runs_through_ssh(gateway: GatewayInMemory) -> None:
    command = gateway.open_command(b"cd nowhere")
    assert command.status == 1
    assert command.complaints == b"cd: /nowhere: No such file or directory\n"
    assert command.channel.closed_by_server
    command.drop()
    command = gateway.open_command(b"sha1sum")
    assert command.end_input() == b"da39a3ee5e6b4b0d3255bfef95601890afd80709  -\n"
    assert command.status == 0
    command.drop()


def test_many_complaints_of_a_client_that_does_not_read_are_bounded() -> None:
    gateway = GatewayInMemory()
    line = b"md5sum " + b"x " * 5000
    command = gateway.open_command(line, reads=False, window_bytes=1 * KIB)
    channel = next(iter(command.pair.server.service.channels.values()))
    assert 0 < channel._errors.size_bytes <= 64 * KIB
    command.drop()
    gateway.assert_idle()
