"""What a client may send: one case for each request, extension, command, message and login step.

Knows: bytes that a client sends. Must not know: how anything is measured.

Each case sends the same thing many times, pipelined, and waits for nothing.
"""

# mypy: disallow-untyped-calls=False
# (what is inherited from Conch has no types)

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from twisted.conch.ssh.common import NS

from bench.stage import BIG, FILE, LISTED_FILES, MANY, TREE, TREES, Stage
from sftpgw.testing.ssh_clients import MemoryTransport
from sftpgw.testing.ssh_pairs import ClientPair
from sftpgw.wire import sftp as wire
from sftpgw.wire.sftp import Kind, OpenFlag

REQUESTS = 100
FEW = 8
"""How many of those that take much."""

CHANNELS = 8
SESSION_CHANNEL = NS(b"session") + struct.pack(">3I", 0, 2**21, 2**15)
CREATE = OpenFlag.WRITE | OpenFlag.CREAT | OpenFlag.TRUNC
DEEP = b"/" + b"d/" * 400 + b"x"
ABSENT = b"/absent/%d"
ON_FILE = wire.string(FILE)

Attack = Callable[[Stage, Any], object]
Before = Callable[[Stage], Any]


@dataclass(frozen=True, slots=True)
class Case:
    """One thing that a client sends.

    :param group: what kind of thing it is.
    :param name: what is sent.
    :param attack: sends it; gets what `before` returned.
    :param before: prepares it, uncounted.
    """

    group: str
    name: str
    attack: Attack
    before: Before = lambda stage: None


def _each(make: Callable[..., wire.Request], count: int = REQUESTS) -> Attack:
    """Sends `count` requests in one flight; `make` gets the number, and the handles if any."""

    def attack(stage: Stage, found: Any) -> None:
        known = () if found is None else (found,)
        stage.client.send_together(*[make(number, *known) for number in range(count)])
        stage.settle()

    return attack


def _open_sftp(stage: Stage) -> None:
    """Open the SFTP channel, so that this is not counted."""
    stage.client  # noqa: B018


def _sftp(
    name: str, make: Callable[..., wire.Request], before: Before = _open_sftp, **options: int
) -> Case:
    return Case("request", name, _each(make, **options), before)


def _extension(
    name: str,
    payload: Callable[..., bytes],
    before: Before = _open_sftp,
    *,
    of: str = "",
    **options: int,
) -> Case:
    def make(number: int, *found: Any) -> wire.Request:
        return wire.Extended(0, name.encode(), payload(number, *found))

    return Case("extension", f"{name}{of}", _each(make, **options), before)


def _raw(name: str, kind: int) -> Case:
    """Requests of a type and an id, and nothing else."""
    frames = [
        wire.string(bytes([kind]) + number.to_bytes(4, "big"))
        for number in range(1000, 1000 + REQUESTS)
    ]

    def transmit(stage: Stage, _: Any) -> None:
        stage.client.transmit(b"".join(frames))

    return Case("request", name, transmit, _open_sftp)


def _on_path(kind: Kind, path: Callable[[int], bytes]) -> Callable[..., wire.Request]:
    return lambda number: wire.OnPath(kind, 0, path(number))


def _reading(path: bytes) -> Callable[[Stage], bytes]:
    return lambda stage: stage.client.open(path)


def _writing(stage: Stage) -> bytes:
    return stage.client.open(b"/written", CREATE)


def _many_open(flags: int) -> Callable[[Stage], list[bytes]]:
    return lambda stage: [
        stage.client.open(b"/opened/%d" % number if flags & OpenFlag.WRITE else FILE, flags)
        for number in range(REQUESTS)
    ]


def _listing(stage: Stage) -> bytes:
    return stage.client.on_path(Kind.OPENDIR, MANY).body


def _folders(stage: Stage) -> None:
    for number in range(REQUESTS):
        stage.client.mkdir(b"/folder-%d" % number)


def _both(stage: Stage) -> tuple[bytes, bytes]:
    return stage.client.open(BIG), stage.client.open(b"/copied", CREATE | OpenFlag.READ)


def _copy(number: int, handles: tuple[bytes, bytes], size_bytes: int) -> bytes:
    source, target = handles
    wanted = struct.pack(">QQ", 0, size_bytes)
    return (
        wire.string(source) + wanted + wire.string(target) + struct.pack(">Q", number * size_bytes)
    )


def _check(subject: bytes, block_bytes: int = 0) -> bytes:
    wanted = struct.pack(">QQI", 0, 0, block_bytes)
    return wire.string(subject) + wire.string(b"sha512") + wanted


REQUEST_CASES = (
    _sftp("OPEN to read a file", lambda number: wire.Open(0, FILE, OpenFlag.READ, {})),
    _sftp("OPEN to read nothing", lambda number: wire.Open(0, ABSENT % number, OpenFlag.READ, {})),
    _sftp("OPEN to create", lambda number: wire.Open(0, ABSENT % number, CREATE, {})),
    _sftp("OPEN to create, one name", lambda number: wire.Open(0, b"/one", CREATE, {})),
    _sftp(
        "OPEN to append", lambda number: wire.Open(0, FILE, OpenFlag.WRITE | OpenFlag.APPEND, {})
    ),
    _sftp(
        "CLOSE of a new empty file",
        lambda number, handles: wire.OnHandle(Kind.CLOSE, 0, handles[number]),
        _many_open(CREATE),
    ),
    _sftp(
        "CLOSE of a file that was read",
        lambda number, handles: wire.OnHandle(Kind.CLOSE, 0, handles[number]),
        _many_open(OpenFlag.READ),
    ),
    _sftp(
        "READ of 1 byte, in sequence",
        lambda number, handle: wire.Read(0, handle, number, 1),
        _reading(BIG),
    ),
    _sftp(
        "READ of 1 byte, anywhere",
        lambda number, handle: wire.Read(0, handle, number * 2654435761 % (4 * 2**20), 1),
        _reading(BIG),
    ),
    _sftp(
        "READ of 32 KiB, in sequence",
        lambda number, handle: wire.Read(0, handle, number * 32768, 32768),
        _reading(BIG),
    ),
    _sftp(
        "READ of 255 KiB, backwards",
        lambda number, handle: wire.Read(0, handle, (99 - number) * 40000, 261120),
        _reading(BIG),
    ),
    _sftp(
        "WRITE of 1 byte, in sequence",
        lambda number, handle: wire.Write(0, handle, number, (b"x",)),
        _writing,
    ),
    _sftp(
        "WRITE of 1 byte, with gaps",
        lambda number, handle: wire.Write(0, handle, 1 + 2 * number, (b"x",)),
        _writing,
    ),
    _sftp(
        "WRITE of 32 KiB",
        lambda number, handle: wire.Write(0, handle, number * 32768, (b"x" * 32768,)),
        _writing,
    ),
    _sftp("LSTAT of a file", _on_path(Kind.LSTAT, lambda number: FILE)),
    _sftp("STAT of a file", _on_path(Kind.STAT, lambda number: FILE)),
    _sftp("STAT of a folder", _on_path(Kind.STAT, lambda number: TREE % number)),
    _sftp("STAT of nothing", _on_path(Kind.STAT, lambda number: ABSENT % number)),
    _sftp("STAT of nothing, 400 deep", _on_path(Kind.STAT, lambda number: DEEP + b"%d" % number)),
    _sftp("FSTAT", lambda number, handle: wire.OnHandle(Kind.FSTAT, 0, handle), _reading(FILE)),
    _sftp(
        "SETSTAT of a time",
        lambda number: wire.ChangePath(Kind.SETSTAT, 0, FILE, {"atime": number, "mtime": number}),
    ),
    _sftp(
        "SETSTAT of a size", lambda number: wire.ChangePath(Kind.SETSTAT, 0, FILE, {"size": number})
    ),
    _sftp(
        "SETSTAT of permissions",
        lambda number: wire.ChangePath(Kind.SETSTAT, 0, FILE, {"permissions": 0o644}),
    ),
    _sftp(
        "FSETSTAT of a time",
        lambda number, handle: wire.ChangeHandle(0, handle, {"atime": number, "mtime": number}),
        _writing,
    ),
    _sftp(
        "FSETSTAT of a size",
        lambda number, handle: wire.ChangeHandle(0, handle, {"size": number}),
        _writing,
    ),
    _sftp(
        f"OPENDIR of {LISTED_FILES} files", _on_path(Kind.OPENDIR, lambda number: MANY), count=FEW
    ),
    _sftp("OPENDIR of one file", _on_path(Kind.OPENDIR, lambda number: TREE % number)),
    _sftp("OPENDIR of nothing", _on_path(Kind.OPENDIR, lambda number: ABSENT % number)),
    _sftp("READDIR", lambda number, handle: wire.OnHandle(Kind.READDIR, 0, handle), _listing),
    _sftp("REMOVE of a file", _on_path(Kind.REMOVE, lambda number: b"/many/%05d.txt" % number)),
    _sftp("REMOVE of nothing", _on_path(Kind.REMOVE, lambda number: ABSENT % number)),
    _sftp("MKDIR", lambda number: wire.ChangePath(Kind.MKDIR, 0, b"/new-%d" % number, {})),
    _sftp("RMDIR", _on_path(Kind.RMDIR, lambda number: b"/folder-%d" % number), _folders),
    _sftp("RMDIR of a full folder", _on_path(Kind.RMDIR, lambda number: TREE % number)),
    _sftp("REALPATH", _on_path(Kind.REALPATH, lambda number: b".")),
    _sftp("REALPATH, 400 deep", _on_path(Kind.REALPATH, lambda number: DEEP)),
    _sftp(
        "RENAME of a file",
        lambda number: wire.OnTwoPaths(
            Kind.RENAME, 0, b"/many/%05d.txt" % number, b"/moved/%d" % number
        ),
    ),
    _sftp(
        "RENAME of a folder",
        lambda number: wire.OnTwoPaths(Kind.RENAME, 0, TREE % number, b"/moved/%d" % number),
    ),
    _sftp(
        f"RENAME of {TREES} folders",
        lambda number: wire.OnTwoPaths(Kind.RENAME, 0, TREE % number, b"/moved/%d" % number),
        count=TREES,
    ),
    _sftp(
        "RENAME of nothing",
        lambda number: wire.OnTwoPaths(Kind.RENAME, 0, ABSENT % number, b"/moved/%d" % number),
    ),
    _sftp("READLINK", _on_path(Kind.READLINK, lambda number: FILE)),
    _sftp("SYMLINK", lambda number: wire.OnTwoPaths(Kind.SYMLINK, 0, FILE, b"/link-%d" % number)),
    _raw("of an unknown type", 99),
    _raw("malformed", Kind.STAT),
)

EXTENSION_CASES = (
    _extension(
        "posix-rename@openssh.com",
        lambda number: wire.string(b"/many/%05d.txt" % number) + wire.string(FILE),
    ),
    _extension("fsync@openssh.com", lambda number, handle: wire.string(handle), _writing),
    _extension(
        "lsetstat@openssh.com",
        lambda number: ON_FILE + wire.pack_attributes({"atime": number, "mtime": number}),
    ),
    _extension("statvfs@openssh.com", lambda number: ON_FILE),
    _extension("fstatvfs@openssh.com", lambda number, handle: wire.string(handle), _reading(FILE)),
    _extension("limits@openssh.com", lambda number: b""),
    _extension("expand-path@openssh.com", lambda number: wire.string(b"~/x")),
    _extension("home-directory", lambda number: wire.string(b"alice")),
    _extension(
        "users-groups-by-id@openssh.com", lambda number: wire.string(bytes(4096)) + wire.string(b"")
    ),
    _extension(
        "copy-data", lambda number, handles: _copy(number, handles, 1), _both, of=" of 1 byte"
    ),
    _extension(
        "copy-data",
        lambda number, handles: _copy(number, handles, 4 * 2**20),
        _both,
        of=" of 4 MiB",
        count=FEW,
    ),
    _extension("check-file-name", lambda number: _check(BIG), of=" of 4 MiB", count=FEW),
    _extension(
        "check-file-name", lambda number: _check(BIG, 256), of=", blocks of 256 bytes", count=FEW
    ),
    _extension(
        "check-file-handle", lambda number, handle: _check(handle), _reading(FILE), of=" of 4 KiB"
    ),
    _extension("unknown@example.com", lambda number: b""),
)


def _command(name: str, line: bytes, said: bytes = b"", channels: int = CHANNELS) -> Case:
    def attack(stage: Stage, _: Any) -> None:
        for _number in range(channels):
            stage.pair.open_command(line).write(said)
        stage.settle()

    return Case("command", name, attack)


COMMAND_CASES = (
    _command("pwd", b"pwd"),
    _command("cd", b"cd /tree"),
    _command("unknown", b"x"),
    _command("not closed quote", b"'"),
    _command(
        "scp -t, 100 empty files",
        b"scp -t /tree",
        b"".join(b"C0644 0 %d\n\0" % number for number in range(100)),
    ),
    _command("scp -t, 100 times", b"scp -t /tree", b"T0 0 0 0\n" * 100),
    _command(
        "scp -r -t, 100 folders",
        b"scp -r -t /tree",
        b"".join(b"D0755 0 %d\nE\n" % number for number in range(100)),
    ),
    _command("scp -f of a file", b"scp -f /file", b"\0\0\0"),
    _command(f"scp -r -f of {LISTED_FILES} files", b"scp -r -f /many", b"\0" * 3 * LISTED_FILES, 1),
    _command(
        f"scp -f of a pattern of {LISTED_FILES} files",
        b"scp -f /many/*",
        b"\0" * 3 * LISTED_FILES,
        1,
    ),
    _command("scp -f of a pattern of nothing", b"scp -f /many/*x", b"\0"),
    _command("scp -f of 10 patterns of nothing", b"scp -f" + b" /many/*x" * 10, b"\0", 1),
    _command("md5sum of 4 KiB", b"md5sum /file"),
    _command("md5sum of 4 MiB", b"md5sum /big"),
    _command("sha512sum of 4 MiB", b"sha512sum /big"),
    _command("md5sum of 100 times 4 KiB", b"md5sum" + b" /file" * 100),
    _command("md5sum of 100 times nothing", b"md5sum" + b" /x" * 100),
    _command(f"md5sum of {LISTED_FILES} files", b"md5sum /many/*", b"", 1),
    _command("md5sum of a pattern of ranges", b"md5sum /many/*[b-cd-ef-gh-ij-kl-m]"),
    _command("md5sum of nested patterns", b"md5sum /*/1*/*x"),
)


def _packets(name: str, message: int, payload: bytes, count: int = REQUESTS) -> Case:
    def attack(stage: Stage, _: Any) -> None:
        _send(stage, message, payload, count)

    return Case("message", name, attack)


def _channel_packets(name: str, message: int, payload: bytes) -> Case:
    def attack(stage: Stage, number: Any) -> None:
        _send(stage, message, struct.pack(">I", number) + payload, REQUESTS)

    return Case("message", name, attack, _open_channel)


def _send(stage: Stage, message: int, payload: bytes, count: int) -> None:
    """Send a message `count` times. The client takes no notice of the answers."""
    client = stage.pair.client
    client.dispatchMessage = lambda *_: None  # type: ignore[method-assign]
    for _number in range(count):
        client.sendPacket(message, payload)
    stage.settle()


def _open_channel(stage: Stage) -> int:
    channel = stage.pair.open_channel()
    return int(stage.pair.connection.channelsToRemoteChannel[channel])


def _open_and_close(stage: Stage, _: Any) -> None:
    for _number in range(CHANNELS):
        channel = stage.pair.open_channel()
        channel.close()
        stage.settle()


def _rekey(stage: Stage, _: Any) -> None:
    for _number in range(4):
        stage.pair.client.sendKexInit()
        stage.settle()


MESSAGE_CASES = (
    _packets("IGNORE of 1 byte", 2, NS(b"x")),
    _packets("IGNORE of 32 KiB", 2, NS(bytes(32768))),
    _packets("UNIMPLEMENTED", 3, bytes(4)),
    _packets("DEBUG", 4, b"\1" + NS(b"x") + NS(b"")),
    _packets("a number that is not known", 200, b""),
    _packets("GLOBAL_REQUEST", 80, NS(b"keepalive@openssh.com") + b"\1"),
    _packets("GLOBAL_REQUEST of an unknown name", 80, NS(b"x") + b"\1"),
    _packets("SERVICE_REQUEST after the login", 5, NS(b"ssh-userauth"), 1),
    Case("message", "CHANNEL_OPEN and CHANNEL_CLOSE", _open_and_close),
    _packets("CHANNEL_OPEN beyond the limit", 90, SESSION_CHANNEL),
    _packets("CHANNEL_OPEN of another type", 90, NS(b"x") + bytes(12)),
    _channel_packets("CHANNEL_REQUEST env", 98, NS(b"env") + b"\1" + NS(b"A") + NS(b"b")),
    _channel_packets("CHANNEL_REQUEST of an unknown name", 98, NS(b"x") + b"\1"),
    _channel_packets("WINDOW_ADJUST", 93, (1).to_bytes(4, "big")),
    _channel_packets("CHANNEL_DATA before a subsystem", 94, NS(b"x")),
    _channel_packets("CHANNEL_EOF", 96, b""),
    Case("message", "KEXINIT and a key exchange", _rekey),
)


def _key_exchange(stage: Stage, _: Any) -> None:
    for _number in range(CHANNELS):
        stage.connect()


def _garbage(stage: Stage, _: Any) -> None:
    for _number in range(CHANNELS):
        stage.connect().send_raw(bytes(64))


def _version_only(stage: Stage, _: Any) -> None:
    for _number in range(CHANNELS):
        server: Any = stage.pair.factory.buildProtocol(None)
        server.makeConnection(MemoryTransport(server, is_server=True))
        server.dataReceived(b"SSH-2.0-x\r\n")


def _authentication(name: str, method: bytes, details: bytes, tries: int = 6) -> Case:
    """Requests so many logins on each connection."""
    request = b"".join(map(NS, (b"alice", b"ssh-connection", method))) + details

    def before(stage: Stage) -> list[ClientPair]:
        pairs = [stage.connect() for _ in range(CHANNELS)]
        for pair in pairs:
            pair.send_packet(5, NS(b"ssh-userauth"))
        return pairs

    def attack(stage: Stage, pairs: list[ClientPair]) -> None:
        for pair in pairs:
            for _attempt in range(tries):
                pair.client.sendPacket(50, request)
            stage.settle(pair)

    return Case("login", name, attack, before)


ED25519 = NS(b"ssh-ed25519")
SOME_KEY = ED25519 + NS(ED25519 + NS(bytes(32)))
SOME_SIGNATURE = NS(ED25519 + NS(bytes(64)))

LOGIN_CASES = (
    Case("login", "a version line", _version_only),
    Case("login", "a key exchange, then garbage", _garbage),
    Case("login", "a key exchange", _key_exchange),
    _authentication("method none", b"none", b""),
    _authentication("a wrong password", b"password", b"\0" + NS(b"wrong")),
    _authentication("keyboard-interactive, begun", b"keyboard-interactive", NS(b"") + NS(b"")),
    _authentication("a key that is offered", b"publickey", b"\0" + SOME_KEY),
    _authentication("a bad signature", b"publickey", b"\1" + SOME_KEY + SOME_SIGNATURE),
    _authentication("an unknown method", b"x", b""),
)

CASES = (*REQUEST_CASES, *EXTENSION_CASES, *COMMAND_CASES, *MESSAGE_CASES, *LOGIN_CASES)
