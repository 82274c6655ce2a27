"""copy-data: from one open file into another, without the client in between.

Knows: OpenSSH PROTOCOL, section 4.10, and what a file object is asked.
Must not know: how bytes come and go.

The bytes pass through the gateway, a little at a time: what is read is written before the
next is read. So memory is that of one download and one upload, and either makes the other
wait as it would make a client wait.
"""

from __future__ import annotations

from twisted.internet.defer import Deferred

from sftpgw.errors import EndOfFile, FileError
from sftpgw.model.units import KIB, Body
from sftpgw.sftp.contracts import IGatewayFile
from sftpgw.wire.extended import CopyData

STEP_BYTES = 256 * KIB
MAX_OFFSET = 2**64


async def copy_data(source: IGatewayFile, target: IGatewayFile, wanted: CopyData) -> None:
    """Returns when the target has taken all bytes. `source` and `target` are open files.

    :raises EndOfFile: the source ends before so many bytes; what there was is written.
    :raises FileError: a handle was opened for something else, or the ranges overlap.
    """
    if source is target and _overlap(wanted):
        raise FileError("a range of a file cannot be copied onto itself")
    copied_bytes = 0
    stop = wanted.length_bytes or MAX_OFFSET
    while copied_bytes < stop:
        step_bytes = min(STEP_BYTES, stop - copied_bytes)
        try:
            body = await _read(source, wanted.source_offset + copied_bytes, step_bytes)
        except EndOfFile:
            if wanted.length_bytes:
                raise
            return
        body_bytes = sum(map(len, body))
        source.traffic.copied_out(body_bytes)
        target.traffic.copied_in(body_bytes)
        taken = target.writeChunk(wanted.target_offset + copied_bytes, body)
        if taken is not None:
            await taken
        copied_bytes += body_bytes


async def _read(source: IGatewayFile, offset: int, length_bytes: int) -> Body:
    body = source.readChunk(offset, length_bytes)
    return await body if isinstance(body, Deferred) else body


def _overlap(wanted: CopyData) -> bool:
    first, second = sorted((wanted.source_offset, wanted.target_offset))
    return not wanted.length_bytes or first + wanted.length_bytes > second
