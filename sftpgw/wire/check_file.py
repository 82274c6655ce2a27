"""The payloads of check-file, an extension of SFTP.

Knows: draft-ietf-secsh-filexfer-extensions-00, section 3.
Must not know: which algorithms there are, or how digests are computed.

paramiko (`SFTPFile.check`) departs from the draft: it asks for ``check-file`` instead of
``check-file-handle``, and reads that name before the reply's fields.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from sftpgw.wire.sftp import SftpFields, string

BY_NAME = b"check-file-name"
BY_HANDLE = b"check-file-handle"
OF_PARAMIKO = b"check-file"

MIN_BLOCK_BYTES = 256
"""The draft's bound. Digests of smaller blocks would be larger than the blocks."""


@dataclass(frozen=True, slots=True)
class CheckFile:
    """A request.

    :ivar subject: a path or a handle.
    :ivar algorithms: those that the client accepts, the preferred one first.
    :ivar start: the offset of the range.
    :ivar length: the bytes of the range; 0: to the end of the file.
    :ivar block_bytes: the bytes of a block; 0: one digest of the whole range.
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
    """The payload of a reply: the digests one behind the other, without lengths."""
    name = string(OF_PARAMIKO) if echoes_name else b""
    return name + string(algorithm.encode()) + b"".join(digests)
