"""``scp -f`` in memory: files, trees, patterns, and every refusal."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from sftpgw.errors import StoreUnavailable
from sftpgw.model.mounts import Permission
from sftpgw.model.settings import ExactTimes, FilesSettings, StoreSettings
from sftpgw.model.store import ObjectName
from sftpgw.model.units import KIB, MIB
from sftpgw.scp import source
from sftpgw.testing.cpu_clocks import dear_work
from sftpgw.testing.fake_store import FakeStore
from sftpgw.testing.other_users import with_mount
from sftpgw.testing.sftp_sessions import ALICE, GatewayInMemory
from tests.scp.talking import Channel, Talk, seed

OK = b"\0"


@pytest.fixture
def gateway():
    gateway = GatewayInMemory()
    yield gateway
    gateway.assert_idle()
    assert gateway.clock.getDelayedCalls() == []


def fetch(gateway: GatewayInMemory, line: bytes, answers: int = 99) -> tuple[bytes, int | None]:
    """All that a client who agrees to everything is sent, and the exit status."""
    talk = Talk(gateway, line)
    heard = talk.heard()
    for _ in range(answers):
        if talk.status is not None:
            break
        heard += talk.say(OK)
    talk.end_input()
    talk.drop()
    return heard, talk.status


def test_nothing_is_sent_unasked(gateway: GatewayInMemory) -> None:
    seed(gateway, {b"/a": b"hello"})
    talk = Talk(gateway, b"scp -f a")
    assert talk.heard() == b""
    assert talk.say(OK) == b"C0644 5 a\n"
    assert talk.say(OK) == b"hello\0"
    assert talk.status is None
    talk.say(OK)
    assert talk.status == 0
    talk.demand_all_credited()


def test_times_and_empty_files(gateway: GatewayInMemory) -> None:
    client = gateway.log_in()
    client.close(client.open(b"/a", 0x1A, atime=1, mtime=1_500_000_000))
    client.drop()
    expected = b"T1500000000 0 1500000000 0\nC0644 0 a\n\0"
    assert fetch(gateway, b"scp -pf /a") == (expected, 0)


def test_a_tree_is_sent(gateway: GatewayInMemory) -> None:
    seed(gateway, {b"/t/a": b"A", b"/t/d/b": b"BB", b"/t/e/": b""})
    expected = b"D0755 0 t\nC0644 1 a\nA\0D0755 0 d\nC0644 2 b\nBB\0E\nD0755 0 e\nE\nE\n"
    assert fetch(gateway, b"scp -r -f t") == (expected, 0)
    assert fetch(gateway, b"scp -r -f t/./") == (expected, 0)


def test_a_tree_of_many_pages_has_its_order() -> None:
    gateway = GatewayInMemory(FakeStore(min_part_bytes=1, page_limit=3))
    names = [b"%02d" % number for number in range(10)]
    seed(gateway, {b"/t/" + name: name for name in names})
    files = b"".join(b"C0644 2 %s\n%s\0" % (name, name) for name in names)
    assert fetch(gateway, b"scp -r -f t") == (b"D0755 0 t\n" + files + b"E\n", 0)
    gateway.assert_idle()


def test_a_refusal_skips_a_file_or_a_directory(gateway: GatewayInMemory) -> None:
    seed(gateway, {b"/t/d/a": b"A", b"/t/x": b"X"})
    talk = Talk(gateway, b"scp -r -f t")
    assert talk.say(OK) == b"D0755 0 t\n"
    assert talk.say(OK) == b"D0755 0 d\n"
    assert talk.say(b"\1no directories\n") == b"C0644 1 x\n"
    assert talk.say(b"\1no files\n") == b"E\n"
    talk.say(OK)
    assert talk.status == 1


@pytest.mark.parametrize("answer", [b"\2enough\n", b"nonsense\n"])
def test_a_client_can_end_everything(gateway: GatewayInMemory, answer: bytes) -> None:
    seed(gateway, {b"/t/d/a": b"A"})
    talk = Talk(gateway, b"scp -r -f t")
    talk.say(OK)
    talk.say(OK)
    assert talk.say(answer) == b""
    assert talk.status == 1


def test_an_answer_without_end_ends_everything(gateway: GatewayInMemory) -> None:
    seed(gateway, {b"/a": b"A"})
    talk = Talk(gateway, b"scp -f a")
    talk.say(b"\1" + b"x" * 5000)
    assert talk.status == 1


def test_a_missing_file_does_not_lose_the_rest(gateway: GatewayInMemory) -> None:
    seed(gateway, {b"/a": b"A", b"/d/": b"", b"/b": b"B"})
    heard, status = fetch(gateway, b"scp -f a missing d / b")
    assert heard == (
        b"C0644 1 a\nA\0"
        b"\1scp: /missing: No such file or directory\n"
        b"\1scp: /d: is a directory; -r copies directories\n"
        b"\1scp: /: is a directory; -r copies directories\n"
        b"C0644 1 b\nB\0"
    )
    assert status == 1


def test_the_root_has_no_name(gateway: GatewayInMemory) -> None:
    seed(gateway, {b"/a": b"A"})
    heard, status = fetch(gateway, b"scp -r -f /")
    assert heard == b"\1scp: /: scp has no name for this directory; copy what is in it: /*\n"
    assert status == 1
    assert fetch(gateway, b"scp -r -f /*") == (b"C0644 1 a\nA\0", 0)


def test_names_that_scp_cannot_send_are_told(gateway: GatewayInMemory) -> None:
    seed(gateway, {b"/t/two\nlines": b"x", b"/t/z": b"Z"})
    heard, status = fetch(gateway, b"scp -r -f t")
    assert heard == (
        b"D0755 0 t\n\1scp: t/two?lines: scp cannot send a file of the name 'two\\nlines'; "
        b"use sftp\nC0644 1 z\nZ\0E\n"
    )
    assert status == 1


def test_the_source_needs_the_permissions_of_sftp(gateway: GatewayInMemory) -> None:
    seed(gateway, {b"/a": b"A"})
    talk = Talk(gateway, b"scp -f a", with_mount(ALICE, permissions=Permission.UPLOAD))
    assert talk.say(OK) == b"\1scp: /a: you may not download files here\n"
    assert talk.status == 1


def test_a_file_that_breaks_off_is_padded_and_told() -> None:
    settings = StoreSettings(bucket="bucket", download_part_size_bytes=1 * MIB)
    gateway = GatewayInMemory(settings=settings)
    seed(gateway, {b"/big": b"x" * (4 * MIB), b"/next": b"N"})
    talk = Talk(gateway, b"scp -f big next")
    assert talk.say(OK) == b"C0644 %d big\n" % (4 * MIB)
    for _ in range(9):
        gateway.store.fail("get", StoreUnavailable("down"))
    heard = talk.say(OK)
    content, _, rest = heard.partition(b"\1")
    assert len(content) == 4 * MIB
    assert set(content) == {0, ord("x")}
    assert rest == b"scp: big: the store does not answer; try again later\n"
    talk.say(OK)
    talk.drop()


def test_no_padding_is_sent_for_a_large_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source, "MAX_PADDING_BYTES", 1 * MIB)
    settings = StoreSettings(bucket="bucket", download_part_size_bytes=1 * MIB)
    gateway = GatewayInMemory(settings=settings)
    seed(gateway, {b"/big": b"x" * (9 * MIB)})
    talk = Talk(gateway, b"scp -f big")
    talk.say(OK)
    for _ in range(9):
        gateway.store.fail("get", StoreUnavailable("down"))
    assert b"\0" not in talk.say(OK)
    assert talk.status == 1
    assert talk.channel.errors == b"scp: big: the store does not answer; try again later\n"
    gateway.assert_idle()


def test_a_client_that_stops_reading_is_waited_for() -> None:
    """What is read and not yet taken is bounded, and the channel says by what."""
    gateway = GatewayInMemory()
    seed(gateway, {b"/big": bytes(20 * MIB)})
    command = gateway.open_command(b"scp -f big", reads=False, window_bytes=64 * KIB)
    command.say(OK)
    command.say(OK)
    command.pair.pump()
    channel = next(iter(command.pair.server.service.channels.values()))
    assert channel._outgoing.size_bytes < 1 * MIB + 2 * source.READ_BYTES
    assert gateway.budget.held_bytes <= gateway.limits.memory_bytes
    command.drop()
    gateway.assert_idle()


def test_a_large_file_comes_whole_through_ssh() -> None:
    gateway = GatewayInMemory()
    data = bytes(range(256)) * (9 * MIB // 256)
    seed(gateway, {b"/big": data})
    command = gateway.open_command(b"scp -f big")
    assert command.say(OK) == b"C0644 %d big\n" % len(data)
    assert command.say(OK) == data + OK
    command.say(OK)
    assert command.status == 0
    command.drop()
    gateway.assert_idle()


def test_a_client_that_is_lost_in_the_middle(gateway: GatewayInMemory) -> None:
    seed(gateway, {b"/t/a": b"A", b"/t/b": b"B"})
    for answers in range(6):
        talk = Talk(gateway, b"scp -r -f t")
        for _ in range(answers):
            talk.say(OK)
        talk.drop()
        gateway.assert_idle()
        ended = Talk(gateway, b"scp -r -f t")
        for _ in range(answers):
            ended.say(OK)
        ended.end_input()
        assert ended.status == 1


def test_directories_nest_only_so_deep(
    gateway: GatewayInMemory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(source, "MAX_DEPTH", 2)
    seed(gateway, {b"/a/b/c/x": b"X", b"/a/b/y": b"Y"})
    heard, status = fetch(gateway, b"scp -r -f a")
    assert heard == (
        b"D0755 0 a\nD0755 0 b\n\1scp: a/b/c: over 2 directories inside each other\n"
        b"C0644 1 y\nY\0E\nE\n"
    )
    assert status == 1


# Patterns.


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        (b"*.txt", [b"a.txt", b"b.txt"]),
        (b"/?.txt", [b"a.txt", b"b.txt"]),
        (b"[!a].t*", [b"b.txt"]),
        (b"d*/*", [b"c.txt", b"x"]),
        (b"*/c.txt", [b"c.txt", b"c.txt"]),
        (b"d/../*.log", [b"z.log"]),
        (b".h*", [b".hidden"]),
        (b"'*'.lit", [b"*.lit"]),
        (b"*.lit", [b"*.lit"]),
    ],
)
def test_patterns_are_expanded(
    gateway: GatewayInMemory, pattern: bytes, names: list[bytes]
) -> None:
    paths = [b"/a.txt", b"/b.txt", b"/z.log", b"/.hidden", b"/d/c.txt", b"/d/x", b"/e/c.txt"]
    seed(gateway, dict.fromkeys([*paths, b"/*.lit"], b""))
    expected = b"".join(b"C0644 0 %s\n\0" % name for name in names)
    assert fetch(gateway, b"scp -f " + pattern) == (expected, 0)


def test_a_pattern_without_a_match_is_told_as_it_is(gateway: GatewayInMemory) -> None:
    seed(gateway, {b"/a": b""})
    heard, status = fetch(gateway, b"scp -f *.nothing no*/way a")
    assert heard == (
        b"\1scp: /*.nothing: No such file or directory\n"
        b"\1scp: /no*/way: No such file or directory\nC0644 0 a\n\0"
    )
    assert status == 1


def test_a_pattern_lists_only_so_many_directories(
    gateway: GatewayInMemory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sftpgw.scp.glob.expansion.MAX_LISTED", 3)
    seed(gateway, {b"/%d/x" % number: b"" for number in range(5)})
    heard, status = fetch(gateway, b"scp -f */x*")
    assert heard.endswith(b"\1scp: the patterns lead into more than 3 directories\n")
    assert status == 1
    heard, status = fetch(gateway, b"scp -f " + b"*/" * 17)
    assert heard == b"\1scp: more than 16 patterns in one path\n"


def test_many_names_take_several_iterations(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sftpgw.scp.glob.expansion.STEPS_PER_ITERATION", 100)
    gateway = GatewayInMemory(files=FilesSettings(exact_times=ExactTimes.NO))
    gateway.work = dear_work(gateway.clock, 1)
    for number in range(100):
        gateway.store.seed(f"home/alice/{number:03}", b"")
    console, channel = gateway.command(b"scp -f *x"), Channel()
    console.makeConnection(channel)
    pauses: list[Callable[[], object]] = []
    monkeypatch.setattr(gateway.clock, "callLater", lambda _, go_on: pauses.append(go_on))
    console.dataReceived(OK)
    while len(pauses) < 10:
        assert channel.status is None
        pauses[-1]()
    monkeypatch.undo()
    pauses[-1]()
    gateway.clock.advance(0)
    assert channel.written == b"\1scp: /*x: No such file or directory\n"
    gateway.assert_idle()


def test_a_pattern_needs_the_permission_to_list(gateway: GatewayInMemory) -> None:
    talk = Talk(gateway, b"scp -f *", with_mount(ALICE, permissions=Permission.DOWNLOAD))
    assert b"you may not list" in talk.say(OK)
    assert talk.status == 1


def test_keys_that_no_path_can_name_are_passed_over(gateway: GatewayInMemory) -> None:
    seed(gateway, {b"/t/a": b"A"})
    odd = gateway.store.objects[ObjectName("bucket", "home/alice/t/a")]
    for key in ("home/alice/t/../b", "home/alice/t//c", "home/alice/t/."):
        gateway.store.objects[ObjectName("bucket", key)] = odd
    heard, _ = fetch(gateway, b"scp -r -f t")
    assert heard == b"D0755 0 t\nC0644 1 a\nA\0E\n"
