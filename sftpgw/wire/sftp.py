"""SFTP version 3 packets.

Knows: the formats of requests and replies, and their bounds.
Must not know: what a request means, or whether it is permitted.

Rules

1. A frame is ``uint32 length, byte type, body``; INIT and VERSION apart, the
   body begins with a request id. (draft-ietf-secsh-filexfer-02, sections 3, 4)
2. Frames come from `wire/frames`.
3. A well-framed body that does not parse is `Malformed` and carries the id, so
   that it can be answered: a string must be there whole, and nothing may follow
   the last field, but for INIT's extensions, and what clients leave behind a WRITE.
4. Attributes are dicts, with the keys that Conch uses: size, uid, gid, permissions, atime,
   mtime. Extended attributes are checked and dropped.
5. The parser reads back what `testing/sftp_requests` writes.
"""

from __future__ import annotations

import enum
import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from sftpgw.errors import GatewayError
from sftpgw.model.units import Body
from sftpgw.wire.field_cursor import FieldCursor
from sftpgw.wire.frames import Frame

MAX_READ_BYTES = 255 * 1024
MAX_WRITE_BYTES = 255 * 1024
MAX_NAMES_BYTES = 64 * 1024
MAX_EXTENDED_ATTRIBUTES = 64
MAX_MESSAGE_BYTES = 1024

VERSION = 3

Attributes: TypeAlias = dict[str, int]
Name: TypeAlias = tuple[bytes, bytes, Attributes]
"""An entry of READDIR: file name, long name, attributes."""


class Kind(enum.IntEnum):
    """The packet types of section 3."""

    INIT = 1
    VERSION = 2
    OPEN = 3
    CLOSE = 4
    READ = 5
    WRITE = 6
    LSTAT = 7
    FSTAT = 8
    SETSTAT = 9
    FSETSTAT = 10
    OPENDIR = 11
    READDIR = 12
    REMOVE = 13
    MKDIR = 14
    RMDIR = 15
    REALPATH = 16
    STAT = 17
    RENAME = 18
    READLINK = 19
    SYMLINK = 20
    STATUS = 101
    HANDLE = 102
    DATA = 103
    NAME = 104
    ATTRS = 105
    EXTENDED = 200
    EXTENDED_REPLY = 201


class Status(enum.IntEnum):
    """All the status codes that version 3 has (section 7)."""

    OK = 0
    EOF = 1
    NO_SUCH_FILE = 2
    PERMISSION_DENIED = 3
    FAILURE = 4
    BAD_MESSAGE = 5
    NO_CONNECTION = 6
    CONNECTION_LOST = 7
    OP_UNSUPPORTED = 8


class OpenFlag(enum.IntFlag):
    """pflags of OPEN (section 6.3)."""

    READ = 0x01
    WRITE = 0x02
    APPEND = 0x04
    CREAT = 0x08
    TRUNC = 0x10
    EXCL = 0x20


class Malformed(GatewayError):
    """A well-framed packet that does not parse."""

    def __init__(self, message: str, request_id: int) -> None:
        super().__init__(message)
        self.request_id = request_id


# Requests, one class per layout.


@dataclass(frozen=True, slots=True)
class Init:
    version: int
    extensions: tuple[tuple[bytes, bytes], ...] = ()


@dataclass(frozen=True, slots=True)
class Open:
    request_id: int
    path: bytes
    flags: int
    attributes: Attributes


@dataclass(frozen=True, slots=True)
class Read:
    request_id: int
    handle: bytes
    offset: int
    length: int


@dataclass(frozen=True, slots=True)
class Write:
    """WRITE. `data` is a list of buffers, as the bytes came."""

    request_id: int
    handle: bytes
    offset: int
    data: Body

    @property
    def size_bytes(self) -> int:
        return sum(map(len, self.data))


@dataclass(frozen=True, slots=True)
class OnHandle:
    """CLOSE, FSTAT, READDIR."""

    kind: Kind
    request_id: int
    handle: bytes


@dataclass(frozen=True, slots=True)
class OnPath:
    """LSTAT, OPENDIR, REMOVE, RMDIR, REALPATH, STAT, READLINK."""

    kind: Kind
    request_id: int
    path: bytes


@dataclass(frozen=True, slots=True)
class ChangeHandle:
    """FSETSTAT."""

    request_id: int
    handle: bytes
    attributes: Attributes


@dataclass(frozen=True, slots=True)
class ChangePath:
    """SETSTAT, MKDIR."""

    kind: Kind
    request_id: int
    path: bytes
    attributes: Attributes


@dataclass(frozen=True, slots=True)
class OnTwoPaths:
    """RENAME, SYMLINK."""

    kind: Kind
    request_id: int
    first: bytes
    second: bytes


@dataclass(frozen=True, slots=True)
class Extended:
    request_id: int
    name: bytes
    data: bytes


@dataclass(frozen=True, slots=True)
class Unknown:
    """A type that version 3 does not have. It is well-framed, so it gets a reply."""

    number: int
    request_id: int


Request: TypeAlias = (
    Init
    | Open
    | Read
    | Write
    | OnHandle
    | OnPath
    | ChangeHandle
    | ChangePath
    | OnTwoPaths
    | Extended
    | Unknown
)


_UINT32 = struct.Struct(">L")
_UINT64 = struct.Struct(">Q")
_OFFSET_AND_LENGTH = struct.Struct(">QL")
_TYPE_AND_ID = struct.Struct(">BL")
_LENGTH_TYPE_ID = struct.Struct(">LBL")


class SftpFields(FieldCursor):
    """The fields of one request or reply.

    :param frame: the bytes of the packet.
    :param offset: where the first field begins.
    :param request_id: the id for errors, so that the request can be answered.
    """

    __slots__ = ("_request_id",)

    def __init__(self, frame: bytes, offset: int, request_id: int) -> None:
        super().__init__(frame, offset)
        self._request_id = request_id

    def attributes(self) -> Attributes:
        flags = self.uint32()
        if unknown := flags & ~_ATTRIBUTE_FLAGS:
            raise self.malformed(f"unknown attribute flags {unknown:#x}")
        found: Attributes = {}
        if flags & _SIZE:
            found["size"] = self.uint64()
        for flag, names in _ATTRIBUTE_PAIRS:
            if flags & flag:
                for name in names:
                    found[name] = self.uint32()
        if flags & _EXTENDED:
            self._skip_extended()
        return found

    def _skip_extended(self) -> None:
        count = self.uint32()
        if count > MAX_EXTENDED_ATTRIBUTES:
            raise self.malformed(f"{count} extended attributes")
        for _ in range(2 * count):
            self.string()

    def pairs(self) -> tuple[tuple[bytes, bytes], ...]:
        found = []
        while self.left_bytes:
            found.append((self.string(), self.string()))
        return tuple(found)

    def malformed(self, why: str) -> Malformed:
        return Malformed(f"malformed packet: {why}", self._request_id)

    cut_short = too_long = malformed


_SIZE, _OWNER, _PERMISSIONS, _TIMES, _EXTENDED = 0x1, 0x2, 0x4, 0x8, 0x80000000
_ATTRIBUTE_FLAGS = _SIZE | _OWNER | _PERMISSIONS | _TIMES | _EXTENDED
_ATTRIBUTE_PAIRS = (
    (_OWNER, ("uid", "gid")),
    (_PERMISSIONS, ("permissions",)),
    (_TIMES, ("atime", "mtime")),
)

_ON_HANDLE = frozenset({Kind.CLOSE, Kind.FSTAT, Kind.READDIR})
_ON_PATH = frozenset(
    {
        Kind.LSTAT,
        Kind.OPENDIR,
        Kind.REMOVE,
        Kind.RMDIR,
        Kind.REALPATH,
        Kind.STAT,
        Kind.READLINK,
    }
)
_CHANGE_PATH = frozenset({Kind.SETSTAT, Kind.MKDIR})
_ON_TWO_PATHS = frozenset({Kind.RENAME, Kind.SYMLINK})
_REQUESTS = frozenset({Kind.OPEN, Kind.READ, Kind.WRITE, Kind.FSETSTAT, Kind.EXTENDED}).union(
    _ON_HANDLE, _ON_PATH, _CHANGE_PATH, _ON_TWO_PATHS
)


def parse_request(frame: Frame) -> Request:
    """Read one frame from a client.

    :raises Malformed: it does not parse; with the id to answer.
    """
    number, request_id = _TYPE_AND_ID.unpack_from(frame.head)
    if number == Kind.WRITE:
        return _parse_write(request_id, frame)
    if number == Kind.READ:
        return Read(request_id, *_parse_range(request_id, frame.head))
    if number == Kind.INIT:
        fields = SftpFields(frame.head, 1, 0)
        return Init(fields.uint32(), fields.pairs())
    if number not in _REQUESTS:
        return Unknown(number, request_id)
    fields = SftpFields(frame.head, 5, request_id)
    request = _parse_body(Kind(number), request_id, fields)
    fields.end()
    return request


def parse_handle(frame: Frame) -> bytes:
    """The handle that a request on a handle begins with. :raises Malformed:"""
    return SftpFields(frame.head, 5, 0).string()


def _parse_write(request_id: int, frame: Frame) -> Write:
    """Bytes behind the data are dropped.

    Older Go clients (rclone 1.60) send the rest of their buffer behind a last short WRITE.
    """
    handle, offset, data_bytes = _parse_range(request_id, frame.head)
    there_bytes = sum(map(len, frame.tail))
    if data_bytes > there_bytes:
        fields = SftpFields(frame.head, len(frame.head), request_id)
        raise fields.malformed(f"a string claims {data_bytes} bytes, {there_bytes} are there")
    data = frame.tail
    if data_bytes < there_bytes:
        # Copied: a view would keep the dropped bytes in memory.
        data = (b"".join(data)[:data_bytes],) if data_bytes else ()
    return Write(request_id, handle, offset, data)


def _parse_range(request_id: int, head: bytes) -> tuple[bytes, int, int]:
    """The handle, the offset and the length of a READ or WRITE, which end the packet.

    Most requests are of these two kinds. Two calls of struct do for them; where these fail, the
    fields one by one tell what is malformed.
    """
    try:
        end = 9 + _UINT32.unpack_from(head, 5)[0]
        offset, length = _OFFSET_AND_LENGTH.unpack_from(head, end)
    except struct.error:
        pass
    else:
        if end + _OFFSET_AND_LENGTH.size == len(head):
            return head[9:end], offset, length
    fields = SftpFields(head, 5, request_id)
    found = fields.string(), fields.uint64(), fields.uint32()
    fields.end()
    return found


def _parse_body(kind: Kind, request_id: int, fields: SftpFields) -> Request:  # noqa: PLR0911
    """One line for each layout."""
    match kind:
        case Kind.OPEN:
            return Open(request_id, fields.string(), fields.uint32(), fields.attributes())
        case Kind.FSETSTAT:
            return ChangeHandle(request_id, fields.string(), fields.attributes())
        case Kind.EXTENDED:
            return Extended(request_id, fields.string(), fields.rest())
    if kind in _ON_HANDLE:
        return OnHandle(kind, request_id, fields.string())
    if kind in _CHANGE_PATH:
        return ChangePath(kind, request_id, fields.string(), fields.attributes())
    if kind in _ON_TWO_PATHS:
        return OnTwoPaths(kind, request_id, fields.string(), fields.string())
    return OnPath(kind, request_id, fields.string())


# Replies.


def version(extensions: Iterable[tuple[bytes, bytes]]) -> bytes:
    """VERSION, with the extensions that the server offers."""
    pairs = b"".join(string(name) + string(data) for name, data in extensions)
    return _framed(bytes([Kind.VERSION]) + _UINT32.pack(VERSION) + pairs)


def ok(request_id: int) -> Body:
    """STATUS, with the code OK, as a list of buffers."""
    return (status(request_id, Status.OK, ""),)


def data(request_id: int, content: Body) -> Body:
    """DATA, as a list of buffers: the bytes need not be joined to their header."""
    return data_header(request_id, sum(map(len, content))), *content


def status(request_id: int, code: Status, message: str) -> bytes:
    """STATUS, its message in UTF-8, its language tag empty."""
    text = message.encode("utf-8", "replace")[:MAX_MESSAGE_BYTES]
    return _reply(Kind.STATUS, request_id, _UINT32.pack(code) + string(text) + string(b""))


def handle(request_id: int, name: bytes) -> bytes:
    """HANDLE."""
    return _reply(Kind.HANDLE, request_id, string(name))


def data_header(request_id: int, size_bytes: int) -> bytes:
    """DATA up to its `size_bytes` bytes, which follow without a copy."""
    header = _LENGTH_TYPE_ID.pack(9 + size_bytes, Kind.DATA, request_id)
    return header + _UINT32.pack(size_bytes)


def names(request_id: int, entries: Iterable[bytes]) -> bytes:
    """NAME, of entries made by `name_entry`."""
    packed = list(entries)
    return _reply(Kind.NAME, request_id, _UINT32.pack(len(packed)) + b"".join(packed))


def name_entry(name: Name) -> bytes:
    """One entry of NAME."""
    file_name, long_name, found = name
    return string(file_name) + string(long_name) + pack_attributes(found)


def attributes(request_id: int, found: Mapping[str, int]) -> bytes:
    """ATTRS."""
    return _reply(Kind.ATTRS, request_id, pack_attributes(found))


def extended_reply(request_id: int, data: bytes) -> bytes:
    """EXTENDED_REPLY."""
    return _reply(Kind.EXTENDED_REPLY, request_id, data)


def string(text: bytes) -> bytes:
    """A string as SSH writes it (RFC 4251, section 5)."""
    return _UINT32.pack(len(text)) + text


def pack_attributes(found: Mapping[str, int]) -> bytes:
    """ATTRS without a packet around it (section 5)."""
    flags, body = 0, b""
    if "size" in found:
        flags, body = _SIZE, _UINT64.pack(found["size"])
    for flag, pair in _ATTRIBUTE_PAIRS:
        if all(name in found for name in pair):
            flags |= flag
            body += b"".join(_UINT32.pack(found[name] & 0xFFFFFFFF) for name in pair)
    return _UINT32.pack(flags) + body


def _reply(kind: Kind, request_id: int, body: bytes) -> bytes:
    return _LENGTH_TYPE_ID.pack(5 + len(body), kind, request_id) + body


def _framed(body: bytes) -> bytes:
    return _UINT32.pack(len(body)) + body
