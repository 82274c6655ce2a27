"""Drop boxes: users who upload and see nothing, and the clients with which they do."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from sftpgw.model.mounts import AccessRule, Mount, Permission
from sftpgw.model.settings import FilesSettings, OnDisconnect, StoreSettings
from sftpgw.model.units import MIB
from sftpgw.model.users import User
from sftpgw.testing.sftp_sessions import ALICE, CREATE, GatewayInMemory, SftpClient, SftpFailure
from sftpgw.wire import sftp as wire
from sftpgw.wire.sftp import Kind, OpenFlag, Status
from tests.scp.talking import Talk
from tests.sftp.winscp import WinScp

UPLOAD = Permission.UPLOAD
SEES = Permission.LIST | Permission.DOWNLOAD
OK = b"\0"
NEW = OpenFlag.WRITE | OpenFlag.CREAT
PLACES = [b"", b"/box"]


def dropper(granted: Permission, at: bytes = b"/box") -> User:
    """A user with a home that is listed and a drop box, or with one that is all of it."""
    if not at:
        return replace(ALICE, mounts=(replace(ALICE.mounts[0], permissions=granted),))
    rules = (
        AccessRule(("box",), granted),
        AccessRule((), SEES | Permission.RENAME | Permission.MKDIR),
    )
    return replace(ALICE, mounts=(replace(ALICE.mounts[0], rules=rules),))


def new_gateway(*keys: str) -> GatewayInMemory:
    gateway = GatewayInMemory(
        settings=StoreSettings(bucket="bucket", part_size_bytes=5 * MIB),
        files=FilesSettings(on_disconnect=OnDisconnect.RESUME),
    )
    for key in keys:
        gateway.store.seed(f"home/alice/{key}", b"" if key.endswith("/") else b"theirs")
    return gateway


def answer(client: SftpClient, ask: Callable[[SftpClient], object]) -> object:
    """The answer, without the name that was asked for."""
    try:
        return ask(client)
    except SftpFailure as failure:
        return failure.code, failure.message


ALL_OF_IT = UPLOAD | Permission.MKDIR | Permission.DELETE | Permission.RENAME | Permission.SETSTAT


def cut(client: SftpClient, path: bytes) -> object:
    return client.ask(wire.ChangePath(Kind.SETSTAT, 0, path, {"size": 1}))


def permit(client: SftpClient, path: bytes) -> object:
    return client.ask(wire.ChangePath(Kind.SETSTAT, 0, path, {"permissions": 0o600}))


def refused_or_stored(client: SftpClient, path: bytes, flags: OpenFlag) -> object:
    handle = client.open(path, flags)
    size = client.ask(wire.OnHandle(Kind.FSTAT, 0, handle)).attributes["size"]
    client.write(handle, 0, b"mine")
    client.close(handle)
    return size


QUESTIONS: dict[str, Callable[[SftpClient, bytes], object]] = {
    "stat": lambda client, path: client.stat(path),
    "lstat": lambda client, path: client.on_path(Kind.LSTAT, path).attributes,
    "stat of a directory": lambda client, path: client.stat(path + b"/"),
    "list": lambda client, path: client.listdir(path),
    "list above": lambda client, path: client.listdir(path.rpartition(b"/")[0] or b"/"),
    "open": lambda client, path: client.open(path),
    "open to change": lambda client, path: client.open(path, OpenFlag.WRITE),
    "open to empty": lambda client, path: client.open(path, OpenFlag.WRITE | OpenFlag.TRUNC),
    "open to append": lambda client, path: client.open(path, OpenFlag.WRITE | OpenFlag.APPEND),
    "make": lambda client, path: client.mkdir(path),
    "remove": lambda client, path: client.remove(path),
    "remove a directory by its path": lambda client, path: client.remove(path + b"/"),
    "remove a directory": lambda client, path: client.rmdir(path),
    "rename": lambda client, path: client.rename(path, path + b"2"),
    "posix-rename": lambda client, path: client.posix_rename(path, path + b"2"),
    "rename a directory": lambda client, path: client.rename(path + b"/", path + b"2"),
    "cut": cut,
    "permit": permit,
    "set times": lambda client, path: client.set_times(path, 5),
    "open below": lambda client, path: client.put(path + b"/below", b"x"),
    "make below": lambda client, path: client.mkdir(path + b"/below"),
}


@pytest.mark.parametrize("granted", [ALL_OF_IT, ALL_OF_IT | Permission.OVERWRITE])
@pytest.mark.parametrize("at", PLACES)
@pytest.mark.parametrize("question", QUESTIONS)
def test_no_request_tells_what_exists(question: str, at: bytes, granted: Permission) -> None:
    """A file, a directory and nothing are answered alike."""
    above = at.decode().lstrip("/") + "/" if at else ""
    answers = []
    for keys in ([], ["f"], ["f/"], ["f/inside"], ["f", "f/inside"]):
        gateway = new_gateway(*(above + key for key in keys))
        client = gateway.log_in(dropper(granted, at))
        answers.append(answer(client, lambda client: QUESTIONS[question](client, at + b"/f")))
    assert [each for each in answers if each != answers[0]] == []


@pytest.mark.parametrize(
    "flags",
    [CREATE, NEW, CREATE | OpenFlag.APPEND, NEW | OpenFlag.APPEND],
    ids=["put", "overlay", "truncating append", "append"],
)
def test_an_upload_replaces_with_overwrite_only(flags: OpenFlag) -> None:
    """Where the flags keep bytes of a file that exists, it is refused in any case."""
    for granted in (UPLOAD, UPLOAD | Permission.OVERWRITE):
        gateway = new_gateway("box/f")
        client = gateway.log_in(dropper(granted))
        replaces = bool(granted & Permission.OVERWRITE and flags & OpenFlag.TRUNC)
        told = answer(client, lambda client: refused_or_stored(client, b"/box/f", flags))
        if replaces:
            assert told == 0
        else:
            assert told == (
                Status.PERMISSION_DENIED,
                "/box/f: the file exists, and you may not overwrite files here",
            )
        assert gateway.store.content("home/alice/box/f") == (b"mine" if replaces else b"theirs")


def test_an_exclusive_open_asks_for_a_name() -> None:
    gateway = new_gateway("box/f")
    client = gateway.log_in(dropper(UPLOAD | Permission.OVERWRITE))
    told = answer(client, lambda client: client.open(b"/box/f", CREATE | OpenFlag.EXCL))
    assert told == (Status.FAILURE, "/box/f: the file exists already")


@pytest.mark.parametrize("at", PLACES)
def test_a_session_sees_what_it_has_stored(at: bytes) -> None:
    gateway = new_gateway("theirs", "box/theirs")
    client = gateway.log_in(dropper(ALL_OF_IT, at))
    handle = client.open(at + b"/f", CREATE)
    client.write(handle, 0, b"12345")
    assert client.stat(at + b"/f")["size"] == 5
    client.close(handle)
    assert client.stat(at + b"/f")["size"] == 5
    client.set_times(at + b"/f", 7)
    assert client.stat(at + b"/f")["mtime"] == 7
    client.mkdir(at + b"/d")
    client.put(at + b"/e/g", b"")
    assert client.listdir(at + b"/") == [b"f", b"e", b"d"]
    assert client.listdir(at + b"/e") == [b"g"]
    client.rename(at + b"/f", at + b"/h")
    assert client.stat(at + b"/h")["size"] == 5
    client.remove(at + b"/h")
    assert set(client.listdir(at + b"/")) == {b"d", b"e"}
    again = gateway.log_in(dropper(ALL_OF_IT, at))
    assert again.listdir(at + b"/") == []
    code, message = answer(again, lambda client: client.mkdir(at + b"/d") or (None, ""))  # type: ignore[misc]
    assert code is None
    assert message == ""


def test_a_drop_box_that_does_not_exist_yet_can_be_entered() -> None:
    gateway = new_gateway()
    client = gateway.log_in(dropper(UPLOAD))
    gateway.store.requests.clear()
    assert client.stat(b"/box")["permissions"] & 0o40000
    assert client.listdir(b"/box") == []
    assert not gateway.store.requests
    assert client.listdir(b"/") == [b"box"]
    for ask in (lambda client: client.rmdir(b"/box"), lambda client: client.rename(b"/box", b"/x")):
        assert isinstance(answer(client, ask), tuple)
    assert client.stat(b"/box")["permissions"] & 0o40000


def test_what_leads_to_a_drop_box_is_seen_by_who_sees_nothing_else() -> None:
    gateway = new_gateway("secret", "in/secret")
    rules = (AccessRule(("in", "box"), UPLOAD), AccessRule((), Permission(0)))
    user = replace(
        ALICE, mounts=(replace(ALICE.mounts[0], permissions=Permission(0), rules=rules),)
    )
    client = gateway.log_in(user)
    assert client.listdir(b"/") == [b"in"]
    assert client.listdir(b"/in") == [b"box"]
    for path in (b"/secret", b"/in/secret", b"/none"):
        told = answer(client, lambda client, path=path: client.stat(path))  # type: ignore[misc]
        assert told == (
            Status.PERMISSION_DENIED,
            f"{path.decode()}: you may not look at files here",
        )
    client.put(b"/in/box/f", b"x")


def test_a_mount_may_be_a_drop_box() -> None:
    gateway = new_gateway("home", "box/theirs")
    box = Mount("bucket", "home/alice/box/", permissions=UPLOAD, path=("drop",))
    client = gateway.log_in(replace(ALICE, mounts=(ALICE.mounts[0], box)))
    client.put(b"/drop/f", b"x")
    assert client.listdir(b"/drop") == [b"f"]
    assert set(client.listdir(b"/")) == {b"box", b"drop", b"home"}


# Clients.


def test_winscp_uploads() -> None:
    """Small files, and large ones by another name: then it needs `rename`."""
    gateway = new_gateway("box/theirs")
    client = gateway.log_in(dropper(UPLOAD | Permission.RENAME | Permission.SETSTAT))
    client.on_path(Kind.REALPATH, b"/box")
    client.listdir(b"/box")
    for size in (10, 300_000):
        name = b"/box/%d" % size
        WinScp(client, renames_over=True).upload(name, b"x" * size, 1_600_000_000)
        assert gateway.store.content(f"home/alice{name.decode()}") == b"x" * size
        assert client.stat(name)["mtime"] == 1_600_000_000
    assert client.listdir(b"/box") == [b"10", b"300000"]


def test_winscp_goes_on_with_its_own_upload() -> None:
    gateway = new_gateway("box/theirs")
    user = dropper(UPLOAD | Permission.RENAME | Permission.SETSTAT)
    data = b"x" * (13 * MIB)
    WinScp(gateway.log_in(user), queue=32).begin(b"/box/f", data, 12 * MIB)
    gateway.clock.advance(0)
    client = gateway.log_in(user)
    assert client.stat(b"/box/f.filepart")["size"] > 5 * MIB
    WinScp(client, queue=32, renames_over=True).upload(b"/box/f", data, 1_600_000_000)
    assert gateway.store.content("home/alice/box/f") == data


def test_filezilla_uploads_a_folder() -> None:
    """It makes the folder, enters and lists it; then OPEN, WRITEs, CLOSE, and the time by name."""
    gateway = new_gateway("box/d/theirs")
    client = gateway.log_in(dropper(UPLOAD | Permission.MKDIR | Permission.SETSTAT))
    for path in (b"/box", b"/box/d"):
        answer(client, lambda client, path=path: client.mkdir(path))  # type: ignore[misc]
        assert client.on_path(Kind.REALPATH, path).names[0][0] == path
        assert client.listdir(path) == []
        assert client.stat(path)["permissions"] & 0o40000
    handle = client.open(b"/box/d/f", CREATE)
    client.write(handle, 0, b"data")
    client.close(handle)
    client.set_times(b"/box/d/f", 9)
    assert client.listdir(b"/box/d") == [b"f"]
    assert gateway.store.content("home/alice/box/d/f") == b"data"


@pytest.mark.parametrize("target", [b"/box", b"/box/", b"/box/f"])
def test_classic_scp_uploads(target: bytes) -> None:
    gateway = new_gateway("box/theirs")
    talk = Talk(gateway, b"scp -t " + target, dropper(UPLOAD))
    assert talk.heard() == OK
    assert talk.say(b"C0644 4 f\n") == OK
    assert talk.say(b"data\0") == OK
    assert gateway.store.content("home/alice/box/f") == b"data"


def test_classic_scp_replaces_with_overwrite() -> None:
    gateway = new_gateway("box/f")
    talk = Talk(gateway, b"scp -t /box", dropper(UPLOAD | Permission.OVERWRITE))
    assert talk.heard() == OK
    assert talk.say(b"C0644 4 f\ndata\0") == OK * 2
    assert gateway.store.content("home/alice/box/f") == b"data"


def test_a_file_leaves_no_drop_box_for_where_it_can_be_read() -> None:
    gateway = new_gateway()
    client = gateway.log_in(dropper(UPLOAD | Permission.RENAME))
    client.put(b"/box/f", b"x")
    told = answer(client, lambda client: client.rename(b"/box/f", b"/f"))
    assert isinstance(told, tuple)
    assert told[0] is Status.PERMISSION_DENIED


def test_a_rename_into_a_drop_box_does_not_tell_of_directories() -> None:
    for keys in (["f"], ["f", "box/f/inside"]):
        gateway = new_gateway(*keys)
        client = gateway.log_in(dropper(UPLOAD | Permission.RENAME))
        client.rename(b"/f", b"/box/f")
        assert client.stat(b"/box/f/")["permissions"] & 0o40000


@pytest.mark.parametrize("granted", [UPLOAD, UPLOAD | Permission.OVERWRITE])
def test_an_open_does_not_wait_for_the_upload_of_another_session(granted: Permission) -> None:
    """With APPEND it waited for up to three seconds, which told of an upload under way."""
    gateway = new_gateway()
    other = gateway.log_in(dropper(UPLOAD))
    other.open(b"/box/f", CREATE)
    client = gateway.log_in(dropper(granted))
    told = answer(client, lambda client: client.open(b"/box/f", OpenFlag.WRITE | OpenFlag.APPEND))
    assert told == (Status.NO_SUCH_FILE, "/box/f: No such file or directory")
