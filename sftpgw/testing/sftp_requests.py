"""Requests of SFTP version 3 as bytes: the client's side of `wire/sftp`.

Layouts: draft-ietf-secsh-filexfer-02, sections 4 to 8.
"""

from __future__ import annotations

import struct

from sftpgw.wire import sftp as wire

_UINT32 = struct.Struct(">I")
_UINT64 = struct.Struct(">Q")
_READ_TAIL = struct.Struct(">QI")
_LENGTH_KIND_ID = struct.Struct(">IBI")


def encode_request(request: wire.Request) -> bytes:
    """Write a request, length included, so that `Frames` and `parse_request` read it back."""
    if isinstance(request, wire.Init):
        pairs = b"".join(wire.string(name) + wire.string(data) for name, data in request.extensions)
        return wire.string(bytes([wire.Kind.INIT]) + _UINT32.pack(request.version) + pairs)
    kind, body = _encode_body(request)
    return _LENGTH_KIND_ID.pack(5 + len(body), kind, request.request_id) + body


def _encode_body(request: wire.Request) -> tuple[wire.Kind, bytes]:  # noqa: PLR0911
    match request:
        case wire.Open(_, path, flags, found):
            return wire.Kind.OPEN, wire.string(path) + _UINT32.pack(flags) + wire.pack_attributes(
                found
            )
        case wire.Read(_, name, offset, length):
            return wire.Kind.READ, wire.string(name) + _READ_TAIL.pack(offset, length)
        case wire.Write(_, name, offset, data):
            body = wire.string(b"".join(data))
            return wire.Kind.WRITE, wire.string(name) + _UINT64.pack(offset) + body
        case wire.OnHandle(kind, _, name):
            return kind, wire.string(name)
        case wire.OnPath(kind, _, path):
            return kind, wire.string(path)
        case wire.ChangeHandle(_, name, found):
            return wire.Kind.FSETSTAT, wire.string(name) + wire.pack_attributes(found)
        case wire.ChangePath(kind, _, path, found):
            return kind, wire.string(path) + wire.pack_attributes(found)
        case wire.OnTwoPaths(kind, _, first, second):
            return kind, wire.string(first) + wire.string(second)
        case wire.Extended(_, name, data):
            return wire.Kind.EXTENDED, wire.string(name) + data
    raise TypeError(f"{request} is not something that a client sends")
