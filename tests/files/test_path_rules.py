"""Permissions and names per path: the gate against a naive oracle, and what clients meet."""

from __future__ import annotations

import re
import stat
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sftpgw.errors import FileError, NoSuchFile
from sftpgw.files.mount_table import MountTable
from sftpgw.files.name_patterns import matches_any
from sftpgw.files.paths import Location
from sftpgw.files.permissions import NEEDS, Operation, require, require_file_name_allowed
from sftpgw.model.mounts import ALL_PERMISSIONS, AccessRule, Mount, Permission
from sftpgw.model.settings import FilesSettings, OnDisconnect, StoreSettings
from sftpgw.model.units import MIB
from sftpgw.model.users import User
from sftpgw.testing.sftp_sessions import ALICE, GatewayInMemory, SftpClient, SftpFailure
from sftpgw.wire.sftp import OpenFlag, Status
from tests.scp.talking import Talk
from tests.sftp.winscp import WinScp

NAMES = st.sampled_from(["in", "out", "a.csv", "b.exe", "~$x"])
PATHS = st.lists(NAMES, max_size=3).map(tuple)
PATTERNS = st.lists(st.sampled_from(["*.exe", "~$*", "o?t", "*.csv", "[ab].*"]), max_size=2)
GRANTED = st.lists(st.sampled_from(list(Permission)), max_size=4)


@st.composite
def rules(draw: st.DrawFn) -> tuple[AccessRule, ...]:
    """As users.ini makes them: the longest path first, and one for the mount."""
    paths = draw(st.lists(PATHS, max_size=3, unique=True))
    made = []
    for path in sorted({*paths, ()}, key=lambda path: (-len(path), path)):
        granted = Permission(0)
        for each in draw(GRANTED):
            granted |= each
        deny, allow = tuple(draw(PATTERNS)), tuple(draw(PATTERNS))
        made.append(AccessRule(path, granted, deny, allow, draw(st.booleans())))
    return tuple(made)


def is_pattern_of(pattern: str, name: str) -> bool:
    """By other means than the gateway's."""
    parts = re.findall(r"\[[^]]*\]|.", pattern)
    text = "".join(
        {"*": ".*", "?": "."}.get(each, each if each[0] == "[" else re.escape(each))
        for each in parts
    )
    return re.fullmatch(text, name, re.IGNORECASE) is not None


@settings(max_examples=400)
@given(rules(), st.lists(NAMES, min_size=1, max_size=4), st.sampled_from(list(Operation)))
def test_the_gate_is_what_the_rules_say(
    made: tuple[AccessRule, ...], names: list[str], operation: Operation
) -> None:
    table = MountTable([Mount("bucket", "home/", rules=made)])
    location = table.resolve("/".join(names).encode())
    assert isinstance(location, Location)
    rule = max(
        (each for each in made if tuple(names[: len(each.path)]) == each.path),
        key=lambda each: len(each.path),
    )
    below = names[len(rule.path) :]
    is_granted = any(each & rule.permissions == each for each in NEEDS[operation])
    is_denied = any(is_pattern_of(pattern, name) for pattern in rule.deny for name in below)
    is_allowed = not rule.allow or not below or any(is_pattern_of(p, below[-1]) for p in rule.allow)
    for check, expected in (
        (lambda: require(location, operation), is_granted and not is_denied),
        (lambda: require_file_name_allowed(location), is_allowed),
    ):
        try:
            check()
        except FileError as error:
            assert not expected
            assert isinstance(error, NoSuchFile) <= rule.hides_denied
        else:
            assert expected


@pytest.mark.parametrize(
    ("name", "pattern", "expected"),
    [
        ("a.exe", "*.exe", True),
        ("A.EXE", "*.exe", True),
        (".exe", "*.exe", True),
        ("a.exe.txt", "*.exe", False),
        ("u\u0308.csv", "\u00fc.csv", True),
        ("\u00dc.csv", "u\u0308.csv", True),
        ("~$a.docx", "~$*", True),
        ("a\nb.exe", "*.exe", True),
        ("[a]", "[[]a]", True),
    ],
)
def test_names_and_patterns(name: str, pattern: str, expected: bool) -> None:
    assert matches_any(name, [pattern]) is expected


def user_with(*made: AccessRule) -> User:
    return replace(ALICE, mounts=(replace(ALICE.mounts[0], rules=made),))


def refusal(client: SftpClient, *arguments: object) -> Status:
    request, *rest = arguments
    with pytest.raises(SftpFailure) as caught:
        request(*rest)  # type: ignore[operator]
    return caught.value.code


@pytest.fixture
def gateway() -> GatewayInMemory:
    gateway = GatewayInMemory(
        settings=StoreSettings(bucket="bucket", part_size_bytes=5 * MIB),
        files=FilesSettings(on_disconnect=OnDisconnect.RESUME),
    )
    for key in ("a.csv", "b.exe", "~$d/x.csv", "d/e.EXE", "d/f.csv", "g.txt", "in/z.exe"):
        gateway.store.seed(f"home/alice/{key}", b"data")
    return gateway


DENIES = AccessRule((), deny=("*.exe", "~$*"), allow=("*.csv", "*.exe"))
OWN = AccessRule(("in",), ALL_PERMISSIONS)


@pytest.mark.parametrize("hides", [False, True])
def test_denied_names_are_refused_by_every_way(gateway: GatewayInMemory, hides: bool) -> None:
    user = user_with(OWN, replace(DENIES, hides_denied=hides))
    client = gateway.log_in(user)
    expected = Status.NO_SUCH_FILE if hides else Status.PERMISSION_DENIED
    before = dict(gateway.store.objects)
    for path in (b"/b.exe", b"/~$d/x.csv", b"/d/e.EXE", b"/g.txt", b"/new.exe", b"/new.txt"):
        is_there = not path.startswith(b"/new")
        attempts: list[tuple[object, ...]] = [
            (client.put, path, b"x"),
            (client.get, path),
            (client.remove, path),
            (client.rename, b"/a.csv", path),
            (client.posix_rename, b"/a.csv", path),
            (client.posix_rename, b"/in/z.exe", path),
        ]
        if is_there:
            attempts += [(client.stat, path), (client.rename, path, b"/h.csv")]
        for attempt in attempts:
            assert refusal(client, *attempt) is expected, (path, attempt)
        if b"txt" not in path:
            assert refusal(client, client.mkdir, path) is expected
            assert refusal(client, client.rmdir, path) is expected
            assert refusal(client, client.set_times, path, 5) is expected
        hashed = Talk(gateway, b"md5sum " + path, user)
        assert hashed.heard() == b""
        assert hashed.status == 1
    assert gateway.store.objects == before
    assert client.get(b"/in/z.exe") == b"data"
    shown = {b"a.csv", b"d", b"in"} | (set() if hides else {b"b.exe", b"g.txt", b"~$d"})
    assert set(client.listdir(b"/")) == shown
    assert (b"e.EXE" in client.listdir(b"/d")) is not hides
    assert client.listdir(b"/in") == [b"z.exe"]


def test_directories_need_no_allowed_name(gateway: GatewayInMemory) -> None:
    user = user_with(DENIES)
    client = gateway.log_in(user)
    client.mkdir(b"/made.txt")
    client.put(b"/made.txt/ok.csv", b"x")
    client.set_times(b"/made.txt", 5)
    assert client.stat(b"/made.txt")["mtime"] == 5
    sent = Talk(gateway, b"scp -r -f made.txt", user)
    assert sent.say(b"\0").startswith(b"D0755 0 made.txt\n")
    client.rename(b"/made.txt", b"/other.txt")
    client.remove(b"/other.txt/ok.csv")
    client.rmdir(b"/other.txt")


def test_a_glob_skips_hidden_names(gateway: GatewayInMemory) -> None:
    talk = Talk(gateway, b"md5sum *", user_with(replace(DENIES, hides_denied=True)))
    assert talk.heard().splitlines() == [b"8d777f385d3dfec8815d20f7496026dc  a.csv"]


def test_a_file_in_parts_has_its_name_checked_too(gateway: GatewayInMemory) -> None:
    """A partial upload is not listed, nor resumed, once its name is denied."""
    WinScp(gateway.log_in(), queue=32).begin(b"/half", b"x" * (13 * MIB), 12 * MIB)
    gateway.clock.advance(0)
    assert b"half.filepart" in gateway.log_in().listdir(b"/")
    rule = AccessRule((), deny=("*.filepart",), hides_denied=True)
    other = gateway.log_in(user_with(rule))
    assert b"half.filepart" not in other.listdir(b"/")
    assert refusal(other, other.stat, b"/half.filepart") is Status.NO_SUCH_FILE
    assert refusal(other, other.open, b"/half.filepart", OpenFlag.WRITE) is Status.NO_SUCH_FILE


def test_both_ends_of_a_rename_are_asked(gateway: GatewayInMemory) -> None:
    for rule in (
        AccessRule(("in",), ALL_PERMISSIONS & ~Permission.RENAME),
        AccessRule(("in",), ALL_PERMISSIONS & ~Permission.DOWNLOAD),
    ):
        client = gateway.log_in(user_with(rule))
        assert refusal(client, client.rename, b"/in/z.exe", b"/z") is Status.PERMISSION_DENIED
    client = gateway.log_in(user_with(AccessRule(("in",), ALL_PERMISSIONS & ~Permission.OVERWRITE)))
    assert refusal(client, client.posix_rename, b"/a.csv", b"/in/z.exe") is Status.PERMISSION_DENIED
    client = gateway.log_in(user_with(AccessRule(("in",), ALL_PERMISSIONS & ~Permission.DOWNLOAD)))
    client.rename(b"/a.csv", b"/in/a.csv")


@pytest.mark.parametrize("path", [(), ("in",)])
def test_directories_do_not_leave_their_rules(
    gateway: GatewayInMemory, path: tuple[str, ...]
) -> None:
    gateway.store.seed("home/alice/top/in/deep/f", b"")
    client = gateway.log_in(
        user_with(AccessRule(("top", "in"), Permission.LIST | Permission.DOWNLOAD))
    )
    assert refusal(client, client.rename, b"/top", b"/new") is Status.PERMISSION_DENIED
    assert refusal(client, client.rename, b"/top/in", b"/new") is Status.PERMISSION_DENIED
    client = gateway.log_in(user_with(AccessRule(("new", "in"), Permission.LIST)))
    assert refusal(client, client.rename, b"/top", b"/new") is Status.PERMISSION_DENIED
    client = gateway.log_in(user_with(AccessRule(("in",), deny=("*.exe",))))
    assert refusal(client, client.rename, b"/d", b"/in/d") is Status.PERMISSION_DENIED
    client.rename(b"/d", b"/e")


def test_a_directory_that_may_not_be_listed_stays_so(gateway: GatewayInMemory) -> None:
    """Its files may be downloaded by who knows their names; a rename would show the names."""
    gateway.store.seed("home/alice/q/d/secret", b"x")
    rule = AccessRule(("q",), Permission.DOWNLOAD | Permission.RENAME)
    client = gateway.log_in(user_with(rule))
    for rename in (client.rename, client.posix_rename):
        assert refusal(client, rename, b"/q/d", b"/d2") is Status.PERMISSION_DENIED
    client.rename(b"/q/d", b"/q/e")
    client.rename(b"/q/e/secret", b"/known")
    assert client.get(b"/known") == b"x"


def test_no_answer_tells_that_a_hidden_file_exists(gateway: GatewayInMemory) -> None:
    rule = AccessRule((), allow=("*.csv",), hides_denied=True)
    client = gateway.log_in(user_with(rule))

    def answers(path: bytes) -> list[tuple[Status, str]]:
        found = []
        for request, *rest in (
            (client.stat, path + b"/"),
            (client.listdir, path),
            (client.rmdir, path),
            (client.remove, path + b"/"),
            (client.set_times, path + b"/", 5),
            (client.rename, path + b"/", b"/h.csv"),
            (client.rename, path, path),
            (client.rename, path, path + b"/below.csv"),
            (client.rename, path, b"/h.csv/"),
        ):
            with pytest.raises(SftpFailure) as caught:
                request(*rest)
            found.append((caught.value.code, str(caught.value).replace(path.decode(), "")))
        return found

    there = answers(b"/g.txt")
    assert {code for code, _ in there} == {Status.NO_SUCH_FILE}
    assert there[:-1] == answers(b"/n.txt")[:-1]


@pytest.mark.parametrize("strict", [False, True])
def test_a_directory_may_have_the_name_of_a_hidden_file(
    gateway: GatewayInMemory, strict: bool
) -> None:
    """MKDIR said that it exists; the directory was neither shown by STAT nor listed."""
    gateway.files = replace(gateway.files, strict_parents=strict)
    rule = AccessRule((), allow=("*.csv",), hides_denied=True)
    client = gateway.log_in(user_with(rule))
    client.mkdir(b"/g.txt")
    for path in (b"/g.txt", b"/g.txt/"):
        assert stat.S_ISDIR(client.stat(path)["permissions"])
    assert client.listdir(b"/").count(b"g.txt") == 1
    client.put(b"/g.txt/x.csv", b"x")
    assert client.listdir(b"/g.txt") == [b"x.csv"]
    assert refusal(client, client.get, b"/g.txt") is Status.FAILURE  # a directory
    client.rename(b"/g.txt", b"/h")
    client.rename(b"/h", b"/g.txt")
    client.remove(b"/g.txt/x.csv")
    client.rmdir(b"/g.txt")
    assert gateway.store.content("home/alice/g.txt") == b"data"
    assert refusal(client, client.stat, b"/g.txt") is Status.NO_SUCH_FILE
