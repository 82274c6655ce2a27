"""The payloads of extended requests and of their replies.

Knows: the fields of OpenSSH's extensions (OpenSSH PROTOCOL, section 4).
Must not know: what they mean, or how a request is framed (`wire/sftp`).
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from dataclasses import dataclass

from sftpgw.model.filesystem import Space
from sftpgw.wire.frames import MAX_FRAME_BYTES
from sftpgw.wire.sftp import MAX_READ_BYTES, MAX_WRITE_BYTES, Attributes, SftpFields, string

# Requests.


def parse_strings(data: bytes, count: int, request_id: int) -> tuple[bytes, ...]:
    """The payload of posix-rename, statvfs, fsync and the like: `count` strings.

    :raises Malformed: there are fewer, or more.
    """
    fields = SftpFields(data, 0, request_id)
    strings = tuple(fields.string() for _ in range(count))
    fields.end()
    return strings


def parse_path_and_attributes(data: bytes, request_id: int) -> tuple[bytes, Attributes]:
    """The payload of lsetstat@openssh.com. :raises Malformed:"""
    fields = SftpFields(data, 0, request_id)
    path, attributes = fields.string(), fields.attributes()
    fields.end()
    return path, attributes


def parse_owners(data: bytes, request_id: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The uids and gids of users-groups-by-id@openssh.com (OpenSSH PROTOCOL, section 4).

    :raises Malformed: a list has an odd length.
    """
    fields = SftpFields(data, 0, request_id)
    uids, gids = fields.string(), fields.string()
    fields.end()
    if len(uids) % 4 or len(gids) % 4:
        raise fields.malformed("ids have four bytes each")
    return struct.unpack(f">{len(uids) // 4}I", uids), struct.unpack(f">{len(gids) // 4}I", gids)


@dataclass(frozen=True, slots=True)
class CopyData:
    """The payload of copy-data; a length of 0 means up to the end of the file."""

    source: bytes
    source_offset: int
    length_bytes: int
    target: bytes
    target_offset: int


def parse_copy_data(data: bytes, request_id: int) -> CopyData:
    """OpenSSH PROTOCOL, section 4.10. :raises Malformed:"""
    fields = SftpFields(data, 0, request_id)
    source, source_offset, length_bytes = fields.string(), fields.uint64(), fields.uint64()
    target, target_offset = fields.string(), fields.uint64()
    fields.end()
    return CopyData(source, source_offset, length_bytes, target, target_offset)


# Replies.


def limits_reply(max_open_handles: int) -> bytes:
    """The reply to limits@openssh.com (OpenSSH PROTOCOL, section 4.8)."""
    sizes = (MAX_FRAME_BYTES, MAX_READ_BYTES, MAX_WRITE_BYTES, max_open_handles)
    return struct.pack(">4Q", *sizes)


def owners_reply(users: Iterable[bytes], groups: Iterable[bytes]) -> bytes:
    """The reply to users-groups-by-id@openssh.com: strings within strings."""
    return string(b"".join(map(string, users))) + string(b"".join(map(string, groups)))


def statvfs_reply(space: Space) -> bytes:
    """The reply to statvfs@openssh.com (OpenSSH PROTOCOL, section 4.4)."""
    return struct.pack(
        ">11Q",
        space.block_bytes,
        space.block_bytes,
        space.total_blocks,
        space.free_blocks,
        space.free_blocks,
        space.total_files,
        space.free_files,
        space.free_files,
        0,
        0,
        space.name_bytes,
    )
