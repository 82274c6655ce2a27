"""check-file: digests of stored files, asked for over SFTP.

Knows: which file and which algorithm a request means.
Must not know: how digests are made (`files/digests`), or a request's bytes (`wire/check_file`).

A file that is named rather than open takes a handle while it is read: it counts against the
limit of handles, and a session that is lost abandons it with the others.
"""

from __future__ import annotations

from twisted.internet.defer import Deferred

from sftpgw.errors import Unsupported
from sftpgw.files.digests import ALGORITHMS
from sftpgw.sftp.contracts import IGatewayFile, IGatewayServer
from sftpgw.sftp.handles import Handles, OpenFile
from sftpgw.sftp.request_order.plan import Access
from sftpgw.sftp.request_order.sequencer import Sequencer, touched
from sftpgw.wire import check_file as wire
from sftpgw.wire.check_file import CheckFile
from sftpgw.wire.sftp import Extended, OpenFlag, extended_reply

ADVERTISED = ",".join(ALGORITHMS).encode()
"""What VERSION says of the extension."""


def check_handle(handles: Handles, request: Extended) -> Deferred[bytes]:
    """``check-file-handle``, and paramiko's ``check-file``: of a file open for reading."""
    wanted = wire.parse(request.data, request.request_id)
    return _reply(handles.file(wanted.subject).file, wanted, request)


def check_name(
    server: IGatewayServer, handles: Handles, sequencer: Sequencer, request: Extended
) -> Deferred[bytes]:
    """``check-file-name``. Once the file is open, its name may change."""
    wanted = wire.parse(request.data, request.request_id)
    _choose(wanted)
    handles.reserve()
    return Deferred.fromCoroutine(_check_named(server, handles, sequencer, wanted, request))


async def _check_named(
    server: IGatewayServer,
    handles: Handles,
    sequencer: Sequencer,
    wanted: CheckFile,
    request: Extended,
) -> bytes:
    try:
        opened = sequencer.run(
            Access.READ,
            touched(wanted.subject),
            lambda: server.openFile(wanted.subject, OpenFlag.READ, {}),
        )
        file = await opened if isinstance(opened, Deferred) else opened
    finally:
        handles.unreserve()
    try:
        name = handles.add(OpenFile(wanted.subject, file))
        try:
            return await _reply(file, wanted, request)
        finally:
            handles.forget(name)
    finally:
        file.abandon()


def _reply(file: IGatewayFile, wanted: CheckFile, request: Extended) -> Deferred[bytes]:
    algorithm = _choose(wanted)

    def replied(digests: list[bytes]) -> bytes:
        echoes_name = request.name == wire.OF_PARAMIKO
        data = wire.reply(algorithm, digests, echoes_name=echoes_name)
        return extended_reply(request.request_id, data)

    made = file.digests(algorithm, wanted.start, wanted.length, wanted.block_bytes)
    return made.addCallback(replied)


def _choose(wanted: CheckFile) -> str:
    """The first algorithm of the client's that there is. :raises Unsupported:"""
    for name in wanted.algorithms:
        algorithm = name.strip().decode("ascii", "replace")
        if algorithm in ALGORITHMS:
            return algorithm
    raise Unsupported(f"none of these algorithms is known; ask for {', '.join(ALGORITHMS)}")
