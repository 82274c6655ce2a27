"""docs/permissions.rst is what the gate does, and what a client meets."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from sftpgw.files.permissions import NEEDS, REWRITE, Operation
from sftpgw.model.mounts import ALL_PERMISSIONS, AccessRule, Permission
from sftpgw.model.users import User
from sftpgw.testing.other_users import with_mount
from sftpgw.testing.sftp_sessions import ALICE, CREATE, GatewayInMemory, SftpClient, SftpFailure
from sftpgw.wire import sftp as wire
from sftpgw.wire.sftp import Kind, OpenFlag, Status
from tests.scp.talking import Talk

TABLE = Path(__file__).parents[2] / "docs/permissions.rst"
OVERLAY = OpenFlag.WRITE | OpenFlag.CREAT


SEES = Permission.LIST
"""Who has neither this nor ``download`` reaches nothing that is stored (`files/test_drop_box`)."""

Attempt = Callable[[SftpClient, bytes], object]
"""A request at a path, which is given without its last slash."""


def cut_off(client: SftpClient, at: bytes) -> None:
    client.ask(wire.ChangePath(Kind.SETSTAT, 0, at + b"/file", {"size": 1}))


def set_on_handle(client: SftpClient, at: bytes) -> None:
    handle = client.open(at + b"/file")
    client.ask(wire.ChangeHandle(0, handle, {"atime": 5, "mtime": 5}))
    client.close(handle)
    assert client.stat(at + b"/file")["mtime"] == 5


def set_on_write_handle(client: SftpClient, at: bytes) -> None:
    """As ``reput -p`` does when nothing is missing."""
    handle = client.open(at + b"/file", OVERLAY)
    client.ask(wire.ChangeHandle(0, handle, {"atime": 5, "mtime": 5}))
    client.close(handle)
    assert client.stat(at + b"/file")["mtime"] == 5


def open_with_time(client: SftpClient, at: bytes) -> None:
    client.close(client.open(at + b"/file", OVERLAY, atime=5, mtime=5))
    assert client.stat(at + b"/file")["mtime"] == 5


ATTEMPTS: list[tuple[Operation, Permission, Attempt]] = [
    (Operation.LOOK, Permission(0), lambda client, at: client.stat(at + b"/d/")),
    (Operation.LOOK, Permission(0), lambda client, at: client.on_path(Kind.LSTAT, at + b"/none")),
    (Operation.LIST, Permission(0), lambda client, at: client.listdir(at + b"/")),
    (Operation.READ, Permission(0), lambda client, at: client.get(at + b"/file")),
    (Operation.WRITE, Permission(0), lambda client, at: client.put(at + b"/new", b"x")),
    (Operation.OVERWRITE, Permission.UPLOAD, lambda client, at: client.put(at + b"/file", b"x")),
    (
        Operation.OVERWRITE,
        Permission.RENAME | SEES,
        lambda client, at: client.posix_rename(at + b"/file", at + b"/b"),
    ),
    (Operation.CHANGE, SEES, lambda client, at: client.put(at + b"/file", b"", flags=OVERLAY)),
    (Operation.TRUNCATE, SEES, cut_off),
    (Operation.REMOVE, Permission(0), lambda client, at: client.remove(at + b"/file")),
    (Operation.REMOVE_DIRECTORY, SEES, lambda client, at: client.rmdir(at + b"/d")),
    (Operation.RENAME, SEES, lambda client, at: client.rename(at + b"/file", at + b"/new")),
    (Operation.MAKE_DIRECTORY, Permission(0), lambda client, at: client.mkdir(at + b"/made")),
    (Operation.SET_TIMES, SEES, lambda client, at: client.set_times(at + b"/file", 5)),
    (Operation.SET_TIMES, Permission.DOWNLOAD, set_on_handle),
    (Operation.SET_TIMES, REWRITE | SEES, set_on_write_handle),
    (Operation.SET_TIMES, REWRITE | SEES, open_with_time),
]
"""An operation, what its request needs besides, and the request."""


def documented() -> dict[str, set[Permission]]:
    """What the table says: for each operation, one of these."""
    _, _, table = TABLE.read_text().partition(".. operations")
    border = next(line for line in table.splitlines() if line.startswith("="))
    columns = [slice(*match.span()) for match in re.finditer("=+", border)]
    rows: list[list[str]] = []
    for line in table.split(border)[2].splitlines():
        cells = [line[column].strip() for column in columns]
        if cells[0]:
            rows.append(cells)
        elif rows:
            rows[-1] = [f"{old} {new}".strip() for old, new in zip(rows[-1], cells, strict=True)]
    return {row[0]: combinations(row[2]) for row in rows}


def combinations(text: str) -> set[Permission]:
    """``a``, ``b`` or ``c``; or ``a`` and ``b``."""
    own, _, _ = text.partition(", besides")
    named = [Permission[name.upper()] for name in re.findall("``([a-z]+)``", own)]
    if " and " not in own:
        return set(named)
    both = Permission(0)
    for each in named:
        both |= each
    return {both}


def granting(granted: Permission, at: tuple[str, ...], elsewhere: Permission) -> User:
    """Alice, who has these permissions at a path and below, and others elsewhere."""
    if not at:
        return with_mount(ALICE, permissions=granted)
    rules = (AccessRule(at, granted), AccessRule((), elsewhere))
    return with_mount(ALICE, permissions=elsewhere, rules=rules)


def outcome_at(
    granted: Permission,
    attempt: Attempt,
    at: tuple[str, ...] = (),
    elsewhere: Permission = ALL_PERMISSIONS,
) -> Status:
    gateway = GatewayInMemory()
    above = "".join(f"{name}/" for name in at)
    for key in ("file", "b", "d/"):
        gateway.store.seed(f"home/alice/{above}{key}", b"" if key.endswith("/") else b"data")
    client = gateway.log_in(granting(granted, at, elsewhere))
    try:
        attempt(client, "".join(f"/{name}" for name in at).encode())
    except SftpFailure as failure:
        return failure.code
    return Status.OK


def test_the_table_is_the_gates() -> None:
    assert documented() == {operation.value: set(combined) for operation, combined in NEEDS.items()}


@pytest.mark.parametrize(
    ("at", "elsewhere"),
    [
        ((), ALL_PERMISSIONS),
        (("in",), ALL_PERMISSIONS),
        (("in",), Permission(0)),
        (("in", "deep"), ALL_PERMISSIONS),
    ],
    ids=["everywhere", "in a path", "in a path only", "deep down"],
)
@pytest.mark.parametrize(("operation", "besides", "attempt"), ATTEMPTS)
def test_a_client_needs_what_the_table_says(
    operation: Operation,
    besides: Permission,
    attempt: Attempt,
    at: tuple[str, ...],
    elsewhere: Permission,
) -> None:
    def outcome(granted: Permission, attempt: Attempt) -> Status:
        return outcome_at(granted, attempt, at, elsewhere)

    unrefused = outcome(ALL_PERMISSIONS, attempt)
    assert unrefused is not Status.PERMISSION_DENIED
    for combined in NEEDS[operation]:
        assert outcome(combined | besides, attempt) is unrefused
        for missing in Permission:
            if missing in combined and len(NEEDS[operation]) == 1:
                denied = outcome(ALL_PERMISSIONS & ~missing, attempt)
                assert denied is Status.PERMISSION_DENIED, missing
    nothing_of_it = ALL_PERMISSIONS
    for combined in NEEDS[operation]:
        nothing_of_it &= ~combined
    assert outcome(nothing_of_it, attempt) is Status.PERMISSION_DENIED


def test_put_p_needs_no_setstat() -> None:
    gateway = GatewayInMemory()
    client = gateway.log_in(with_mount(ALICE, permissions=Permission.UPLOAD))
    times = {"atime": 5, "mtime": 5}
    handle = client.open(b"/new", CREATE, permissions=0o644, **times)
    client.write(handle, 0, b"data")
    client.ask(wire.ChangeHandle(0, handle, times))
    client.close(handle)
    assert client.stat(b"/new")["mtime"] == 5
    client.ask(wire.ChangePath(Kind.SETSTAT, 0, b"/new", {"permissions": 0o600}))


def test_an_empty_file_is_overwritten_by_an_empty_one_with_its_time() -> None:
    """As ``scp -p`` does: with the right to upload it anew nothing else comes of it."""
    gateway = GatewayInMemory()
    gateway.store.seed("home/alice/file")
    client = gateway.log_in(with_mount(ALICE, permissions=REWRITE | SEES))
    handle = client.open(b"/file", OVERLAY)
    client.ask(wire.ChangeHandle(0, handle, {"size": 0}))
    client.ask(wire.ChangeHandle(0, handle, {"atime": 5, "mtime": 5}))
    client.close(handle)
    assert client.stat(b"/file")["mtime"] == 5


def test_a_time_that_is_set_already_is_no_change() -> None:
    gateway = GatewayInMemory()
    gateway.store.seed("home/alice/file", b"data", mtime="5.25")
    client = gateway.log_in(with_mount(ALICE, permissions=REWRITE | SEES))
    client.close(client.open(b"/file", OVERLAY, atime=5, mtime=5))
    assert gateway.store.requests["copy"] == 0


@pytest.mark.parametrize(
    "command", ["md5sum", "sha1sum", "sha224sum", "sha256sum", "sha384sum", "sha512sum"]
)
def test_a_hash_is_part_of_the_content(command: str) -> None:
    """It tells whether a guess is right: it is refused to who may do all but download."""
    gateway = GatewayInMemory()
    gateway.store.seed("home/alice/file", b"data")
    gateway.store.requests.clear()
    talk = Talk(
        gateway,
        command.encode() + b" /file",
        with_mount(ALICE, permissions=ALL_PERMISSIONS & ~Permission.DOWNLOAD),
    )
    assert talk.heard() == b""
    assert b"you may not download files here" in talk.channel.errors
    assert talk.status == 1
    assert gateway.store.requests["get"] == 0


def test_a_size_and_a_time_at_once_need_both() -> None:
    def both(client: SftpClient, at: bytes) -> None:
        changes = {"size": 1, "atime": 5, "mtime": 5}
        client.ask(wire.ChangePath(Kind.SETSTAT, 0, at + b"/file", changes))

    for missing in (Permission.SETSTAT, Permission.OVERWRITE, Permission.UPLOAD):
        assert outcome_at(ALL_PERMISSIONS & ~missing, both) is Status.PERMISSION_DENIED
