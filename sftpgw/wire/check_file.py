"""The payloads of check-file, an extension of SFTP.

Knows: draft-ietf-secsh-filexfer-extensions-00, section 3.
Must not know: which algorithms there are, or how digests are made.

Some clients expect what the draft does not have: paramiko (`SFTPFile.check`) asks for
``check-file`` rather than ``check-file-handle``, and reads that name before the reply's fields.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from sftpgw.wire.sftp import SftpFields, string

BY_NAME = b"check-file-name"
BY_HANDLE = b"check-file-handle"
OF_PARAMIKO = b"check-file"

MIN_BLOCK_BYTES = 256
"""The draft's bound; smaller blocks would have digests larger than they are."""


@dataclass(frozen=True, slots=True)
class CheckFile:
    """A request: `subject` is a path or a handle, `algorithms` the client's, the best first.

    `length` 0 is up to the end of the file, `block_bytes` 0 one digest of all.
    """

    subject: bytes
    algorithms: tuple[bytes, ...]
    start: int
    length: int
    block_bytes: int


def parse(data: bytes, request_id: int) -> CheckFile:
    """:raises Malformed: the fields are not those of a request, or the blocks too small."""
    fields = SftpFields(data, 0, request_id)
    subject, algorithms = fields.string(), fields.string()
    start, length, block_bytes = fields.uint64(), fields.uint64(), fields.uint32()
    fields.end()
    if 0 < block_bytes < MIN_BLOCK_BYTES:
        raise fields.malformed(f"blocks of {block_bytes} bytes; at least {MIN_BLOCK_BYTES}")
    return CheckFile(subject, tuple(algorithms.split(b",")), start, length, block_bytes)


def reply(algorithm: str, digests: Iterable[bytes], *, echoes_name: bool) -> bytes:
    """The digests one behind the other, without any length."""
    name = string(OF_PARAMIKO) if echoes_name else b""
    return name + string(algorithm.encode()) + b"".join(digests)
