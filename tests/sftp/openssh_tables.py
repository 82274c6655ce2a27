"""What OpenSSH's sftp-server says and does, as tables that are checked in.

Knows: the requests that are compared, and how a row says what came of one.
Must not know: whom it asks: OpenSSH's server and the gateway are asked the same.

To make the tables anew, where the program is installed::

    python -m tests.sftp.openssh_tables
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path
from typing import Protocol

from sftpgw.wire import sftp as wire
from sftpgw.wire.sftp import Kind, OpenFlag, Status
from tests.sftp.openssh_oracle import Oracle

HERE = Path(__file__).parent
PATHS_TABLE = HERE / "openssh_paths.txt"
FLAGS_TABLE = HERE / "openssh_open_flags.txt"

SEED = {b"f": b"data", b"g": b"g", b"d/": b"", b"e/": b"", b"full/": b"", b"full/i": b"i"}
"""Files with what is in them, and directories, with a slash."""


class Reply(Protocol):
    @property
    def code(self) -> Status | None: ...

    @property
    def body(self) -> bytes: ...


class Peer(Protocol):
    """An SFTP server, and what it serves."""

    def seed(self, tree: dict[bytes, bytes]) -> None:
        """Serve this tree and nothing else, to a client that has seen nothing of it."""

    def tree(self) -> dict[bytes, bytes]:
        """What it serves now."""

    def ask(self, request: wire.Request) -> Reply:
        """The reply, whatever it is."""


class Disk:
    """OpenSSH's server as a peer."""

    def __init__(self, oracle: Oracle) -> None:
        self._oracle = oracle
        self.ask = oracle.ask

    def seed(self, tree: dict[bytes, bytes]) -> None:
        self._oracle.empty()
        for path, data in sorted(tree.items()):
            there = self._oracle.home / path.decode()
            if path.endswith(b"/"):
                there.mkdir()
            else:
                there.write_bytes(data)

    def tree(self) -> dict[bytes, bytes]:
        home = self._oracle.home
        return {
            str(each.relative_to(home)).encode() + (b"/" if each.is_dir() else b""): (
                b"" if each.is_dir() else each.read_bytes()
            )
            for each in home.rglob("*")
        }


def shown(tree: dict[bytes, bytes]) -> str:
    """A tree in one line."""
    return " ".join(
        path.decode() if path.endswith(b"/") else f"{path.decode()}={data.decode()}"
        for path, data in sorted(tree.items())
    )


def said(reply: Reply) -> str:
    """The status of a reply; whatever is no STATUS is OK."""
    return (reply.code or Status.OK).name


# Paths that end with a slash, that lead through a file, that lead nowhere.

PATHS = (b"f/", b"f/.", b"d/", b"d/.", b"m/", b"f/x", b"f/x/", b"d/x/")


def _posix_rename(old: bytes, new: bytes) -> wire.Request:
    data = wire.string(old) + wire.string(new)
    return wire.Extended(0, b"posix-rename@openssh.com", data)


def _opening(flags: OpenFlag) -> Callable[[bytes], wire.Request]:
    return lambda path: wire.Open(0, path, flags, {})


def _setting(**attributes: int) -> Callable[[bytes], wire.Request]:
    return lambda path: wire.ChangePath(Kind.SETSTAT, 0, path, dict(attributes))


def _on_path(kind: Kind) -> Callable[[bytes], wire.Request]:
    return lambda path: wire.OnPath(kind, 0, path)


REQUESTS: dict[str, Callable[[bytes], wire.Request]] = {
    **{
        kind.name.lower(): _on_path(kind)
        for kind in (Kind.STAT, Kind.LSTAT, Kind.OPENDIR, Kind.REMOVE, Kind.RMDIR)
    },
    "mkdir": lambda path: wire.ChangePath(Kind.MKDIR, 0, path, {}),
    "open-read": _opening(OpenFlag.READ),
    "open-write": _opening(OpenFlag.WRITE),
    "open-create": _opening(OpenFlag.WRITE | OpenFlag.CREAT | OpenFlag.TRUNC),
    "open-new": _opening(OpenFlag.WRITE | OpenFlag.CREAT | OpenFlag.EXCL),
    "set-times": _setting(atime=5, mtime=5),
    "set-size": _setting(size=1),
    "set-mode": _setting(permissions=0o755),
    "rename-PATH-to-new": lambda path: wire.OnTwoPaths(Kind.RENAME, 0, path, b"new"),
    "rename-file-to-PATH": lambda path: wire.OnTwoPaths(Kind.RENAME, 0, b"g", path),
    "rename-folder-to-PATH": lambda path: wire.OnTwoPaths(Kind.RENAME, 0, b"e", path),
    "replace-PATH-to-new": lambda path: _posix_rename(path, b"new"),
    "replace-file-to-PATH": lambda path: _posix_rename(b"g", path),
    "replace-folder-to-PATH": lambda path: _posix_rename(b"e", path),
    "replace-full-to-PATH": lambda path: _posix_rename(b"full", path),
}


def path_rows(peer: Peer) -> Iterator[str]:
    """One line for each request and path: what was said, and what is there then."""
    for (name, request), path in product(REQUESTS.items(), PATHS):
        peer.seed(SEED)
        status = said(peer.ask(request(path)))
        changed = shown(peer.tree()) if peer.tree() != SEED else "unchanged"
        yield f"{name} {path.decode()}: {status}, {changed}"


# The flags of OPEN.

OPENED = (b"f", b"m", b"d", b"f/", b"m/", b"d/", b"f/x")
FLAGS = [OpenFlag(number) for number in range(64)]


def _flag_names(flags: OpenFlag) -> str:
    return "+".join(flag.name or "" for flag in OpenFlag if flag in flags) or "none"


def flag_rows(peer: Peer) -> Iterator[str]:
    """One line for each combination and path: how OPEN, READ and WRITE went, what is there."""
    for path, flags in product(OPENED, FLAGS):
        peer.seed(SEED)
        peer.ask(wire.OnPath(Kind.LSTAT, 0, path))  # as clients do
        yield f"{path.decode()} {_flag_names(flags)}: {_opened(peer, path, flags)}"


def _opened(peer: Peer, path: bytes, flags: OpenFlag) -> str:
    opened = peer.ask(wire.Open(0, path, flags, {}))
    handle, heard = opened.body, [said(opened)]
    if opened.code is None:
        heard.append(f"read {_read(peer, handle)}")
        wrote = peer.ask(wire.Write(0, handle, 1, (b"NEW",)))
        heard.append("write ok" if wrote.code is Status.OK else "write refused")
        heard.append(f"read {_read(peer, handle)}")
        heard.append(f"close {said(peer.ask(wire.OnHandle(Kind.CLOSE, 0, handle)))}")
    shown_bytes = None if path.endswith(b"/") else peer.tree().get(path)
    heard.append(f"then {shown_bytes!r}" if shown_bytes is not None else "then nothing")
    return ", ".join(heard)


def _read(peer: Peer, handle: bytes) -> str:
    reply = peer.ask(wire.Read(0, handle, 0, 100))
    if reply.code is None:
        return repr(reply.body)
    return "end" if reply.code is Status.EOF else "refused"


def table(path: Path) -> dict[str, str]:
    """The rows of a table that is checked in, by what was asked."""
    return by_question(path.read_text().splitlines())


def by_question(rows: Iterator[str] | list[str]) -> dict[str, str]:
    """Rows by what was asked."""
    return dict(row.split(": ", 1) for row in rows)


if __name__ == "__main__":
    with Oracle() as oracle:
        PATHS_TABLE.write_text("\n".join(path_rows(Disk(oracle))) + "\n")
        FLAGS_TABLE.write_text("\n".join(flag_rows(Disk(oracle))) + "\n")
