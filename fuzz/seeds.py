"""Scripts that lead deep into each layer, for a fuzzer to begin with.

Knows: what well-behaved clients say. Must not know: what the layers do with it.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from fuzz.scripts import script
from sftpgw.testing.sftp_requests import encode_request
from sftpgw.wire import frames
from sftpgw.wire import sftp as wire
from sftpgw.wire.proxy_header import V2_START
from sftpgw.wire.sftp import Kind, OpenFlag, string

HANDLES = [b"%016x" % number for number in (1, 2)]
"""What `sftpgw.testing.sftp_sessions` calls the first two."""

CREATE = OpenFlag.WRITE | OpenFlag.CREAT | OpenFlag.TRUNC
CLIENT_SUITE = (
    b"curve25519-sha256,kex-strict-c-v00@openssh.com",
    b"ssh-ed25519",
    *[b"aes128-gcm@openssh.com,aes128-ctr"] * 2,
    *[b"hmac-sha2-256"] * 2,
    *[b"none"] * 2,
    *[b""] * 2,
)


def _requests() -> Iterator[wire.Request]:
    first, second = HANDLES
    yield wire.Open(0, b"/b", CREATE, {"permissions": 0o600})
    yield wire.Write(0, first, 0, (b"x" * 40,))
    yield wire.Write(0, first, 40, (b"y",))
    yield wire.ChangeHandle(0, first, {"size": 20})
    yield wire.Extended(0, b"fsync@openssh.com", string(first))
    yield wire.Read(0, first, 0, 10)
    yield wire.OnHandle(Kind.FSTAT, 0, first)
    yield wire.OnHandle(Kind.CLOSE, 0, first)
    yield wire.Open(0, b"/a", OpenFlag.READ, {})
    yield wire.Read(0, second, 0, 100)
    yield wire.OnPath(Kind.OPENDIR, 0, b"/")
    yield wire.OnHandle(Kind.READDIR, 0, second)
    for kind in (Kind.STAT, Kind.LSTAT, Kind.REALPATH, Kind.READLINK, Kind.REMOVE, Kind.RMDIR):
        yield wire.OnPath(kind, 0, b"/a")
    yield wire.ChangePath(Kind.MKDIR, 0, b"/c", {})
    yield wire.ChangePath(Kind.SETSTAT, 0, b"/a", {"atime": 1, "mtime": 2})
    yield wire.OnTwoPaths(Kind.RENAME, 0, b"/a", b"/d")
    yield wire.OnTwoPaths(Kind.SYMLINK, 0, b"/a", b"/e")
    for name in (b"posix-rename@openssh.com", b"hardlink@openssh.com"):
        yield wire.Extended(0, name, string(b"/a") + string(b"/d"))
    yield wire.Extended(0, b"statvfs@openssh.com", string(b"/"))
    yield wire.Extended(0, b"limits@openssh.com", b"")


def _large_writes() -> list[bytes]:
    """Type and body of WRITEs: as long as may be, longer, and with more than their data."""
    head = struct.pack(">B", Kind.WRITE) + string(HANDLES[0]) + struct.pack(">Q", 0)
    room_bytes = frames.MAX_FRAME_BYTES - len(head) - 8  # less an id and a length
    return [
        *(head + string(bytes(room_bytes + more)) for more in (0, 1)),
        head + string(b"data") + b"more",
        head + string(b"data") + bytes(room_bytes - 4),
        head + string(bytes(100_000)) + bytes(100_000),
    ]


def _in_segments(body: bytes) -> list[bytes]:
    """The frame as it comes from a channel: cut in its header, and in the middle."""
    frame = string(body[:1] + struct.pack(">L", 9) + body[1:])
    return [frame[:3], frame[3:40], frame[40:150_000], frame[150_000:]]


def _frames() -> list[bytes]:
    """Type, id and body of each request."""
    return [encode_request(request)[4:] for request in _requests()]


def _frame_of(request: wire.Request) -> bytes:
    """Type and body: the id is the layer's."""
    frame = encode_request(request)
    return frame[4:5] + frame[9:]


def _userauth(user: bytes, method: bytes, details: bytes = b"") -> bytes:
    return b"\0" + b"".join(map(string, (user, b"ssh-connection", method))) + details


def _login_pieces() -> list[bytes]:
    blob = string(b"ssh-ed25519") + string(bytes([9]) + bytes(31))
    key = string(b"ssh-ed25519") + string(blob)
    signature = string(string(b"ssh-ed25519") + string(bytes(64)))
    return [
        _userauth(b"bob", b"none"),
        _userauth(b"bob", b"password", b"\0" + string(b"guess")),
        _userauth(b"bob", b"password", b"\1" + string(b"guess") + string(b"new")),
        _userauth(b"alice", b"publickey", b"\0" + key),
        _userauth(b"alice", b"publickey", b"\1" + key + signature),
        _userauth(b"bob", b"keyboard-interactive", string(b"") + string(b"")),
        b"\x0b" + struct.pack(">L", 1) + string(b"guess"),
        _userauth(b"alice", b"keyboard-interactive", string(b"en") + string(b"pam")),
        b"\x0b" + struct.pack(">L", 2) + string(b"one") + string(b"two"),
    ]


def _channel_pieces() -> list[bytes]:
    """Each begins with its message number less 80."""
    channel = bytes(4)
    return [
        b"\x0a" + string(b"session") + struct.pack(">3L", 7, 2**15, 2**15),
        b"\x12" + channel + string(b"subsystem") + b"\x01" + string(b"sftp"),
        b"\x12" + channel + string(b"env") + b"\x01" + string(b"A") + string(b"b"),
        b"\x0e" + channel + string(b"some data"),
        b"\xf0",  # the server exchanges keys, while the client goes on
        b"\x0e" + channel + string(b"more data"),
        b"\x0f" + channel + struct.pack(">L", 1) + string(b"an error"),
        b"\x0d" + channel + struct.pack(">L", 1000),
        b"\x00" + string(b"keepalive@openssh.com") + b"\x01",
        b"\x10" + channel,
        b"\x11" + channel,
    ]


def _kex_pieces() -> list[bytes]:
    suite = b"".join(map(string, CLIENT_SUITE))
    return [
        b"\x14" + bytes(16) + suite + bytes(5),
        b"\x1e" + string(bytes([9]) + bytes(31)),
        b"\x15",
        b"\x02" + string(b"ignored"),
        b"\x04\x01" + string(b"debug") + string(b""),
        b"\x05" + string(b"ssh-userauth"),
        b"\x01" + struct.pack(">L", 11) + string(b"bye") + string(b""),
    ]


def _proxy_pieces() -> list[bytes]:
    """A header of version 2, which is enough; what follows is the client's, or another header."""
    addresses = bytes((192, 0, 2, 1, 192, 0, 2, 2)) + struct.pack(">HH", 4711, 22)
    return [
        V2_START + struct.pack(">BBH", 0x21, 0x11, len(addresses)) + addresses,
        b"SSH-2.0-fuzz\r\n",
        b"PROXY TCP4 192.0.2.1 192.0.2.2 4711 22\r\n",
        b"PROXY TCP6 2001:db8::1 2001:db8::2 4711 22\r\nSSH-2.0-fuzz\r\n",
        b"PROXY UNKNOWN\r\n",
        V2_START + struct.pack(">BBH", 0x20, 0, 0),
        V2_START + struct.pack(">BBH", 0x21, 0x21, 39) + bytes(36) + b"\x04\0\0",
    ]


def _lines_of_scp() -> list[bytes]:
    """What a source says; to the other half, every zero byte is an answer."""
    return [
        b"\0",
        b"T1500000000 0 1500000000 0\n",
        b"D0755 0 d\n",
        b"C0644 5 a b\n",
        b"hello\0",
        b"C0644 3 c\nabc\1scp: c: cannot be read\n",
        b"\1scp: x: a warning\n",
        b"E\n",
        b"\2the end\n",
    ]


PIECES: dict[str, list[bytes]] = {
    "packets": _kex_pieces(),
    "proxy": _proxy_pieces(),
    "login": _login_pieces(),
    "channels": _channel_pieces(),
    "sftp": [_frame_of(request) for request in _requests()],
    "stream": [encode_request(each) for each in (wire.Init(3), *_requests())],
    "commands": _lines_of_scp(),
    "codec": _frames(),
}
"""Pieces of scripts that each layer understands, in an order that makes sense."""

_CREATE = wire.Open(0, b"/b", CREATE, {})

LARGE: dict[str, list[list[bytes]]] = {
    "sftp": [[_frame_of(_CREATE), large] for large in _large_writes()],
    "stream": [
        [encode_request(wire.Init(3)), encode_request(_CREATE), *_in_segments(large)]
        for large in _large_writes()
    ],
    "codec": [[large[:1] + bytes(4) + large[1:]] for large in _large_writes()],
}
"""Scripts with the largest frames, and with frames that hold more than they need."""

HEADS: dict[str, list[bytes]] = {
    "commands": [b"\0", b"\1", b"\2", b"\3"],  # which of `layers.COMMANDS`
    "packets": [b"\0", b"\1", b"\2", b"\3"],  # the ways of `layers.packets`
    "sftp": [bytes(8), b"\1" * 8, b"\0\1" * 4],  # what of `layers.SLOW` is slow
}


def seeds(layer: str) -> list[bytes]:
    """Whole scripts: all pieces in order, each piece alone, and the large ones."""
    pieces = PIECES[layer]
    return [
        script(some, head=head)
        for head in HEADS.get(layer, [b""])
        for some in (pieces, *([piece] for piece in pieces), *LARGE.get(layer, []))
    ]
