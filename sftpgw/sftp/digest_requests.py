"""check-file: digests of stored files, asked for over SFTP.

Knows: which file and which algorithm a request means.
Must not know: how digests are computed (`files/digests`), or a request's bytes
(`wire/check_file`).

A file that a request names takes a handle while it is read: it counts against the limit of
handles, and a channel that is lost abandons it with the others.
"""

from __future__ import annotations

from twisted.internet.defer import Deferred

from sftpgw.errors import Unsupported
from sftpgw.files.digests import ALGORITHMS
from sftpgw.sftp.contracts import IGatewayFile
from sftpgw.sftp.handler_context import HandlerContext
from sftpgw.sftp.handles import Handles, OpenFile
from sftpgw.sftp.replies import Reply
from sftpgw.sftp.request_order.plan import Access
from sftpgw.sftp.request_order.sequencer import touched_paths
from sftpgw.wire import check_file as wire
from sftpgw.wire.check_file import CheckFile
from sftpgw.wire.sftp import Extended, OpenFlag, extended_reply

ADVERTISED = ",".join(ALGORITHMS).encode()
"""The extension's data in VERSION."""


def check_handle(handles: Handles, request: Extended) -> Deferred[Reply]:
    """``check-file-handle``, and paramiko's ``check-file``: of a file open for reading."""
    wanted = wire.parse(request.data, request.request_id)
    return _reply(handles.file(wanted.subject).file, wanted, request)


def check_name(context: HandlerContext, request: Extended) -> Deferred[Reply]:
    """``check-file-name``. Once the file is open, its name may change."""
    wanted = wire.parse(request.data, request.request_id)
    _choose(wanted)
    context.handles.reserve()
    return Deferred.fromCoroutine(_check_named(context, wanted, request))


async def _check_named(context: HandlerContext, wanted: CheckFile, request: Extended) -> Reply:
    try:
        opening = context.sequencer.run(
            Access.READ,
            touched_paths(wanted.subject),
            lambda: context.server.openFile(wanted.subject, OpenFlag.READ, {}),
        )
        file = await opening if isinstance(opening, Deferred) else opening
    except BaseException:  # the client may be gone
        context.handles.unreserve()
        raise
    try:
        handle = context.handles.add(OpenFile(wanted.subject, file))
        try:
            return await _reply(file, wanted, request)
        finally:
            context.handles.forget(handle)
    finally:
        file.abandon()


def _reply(file: IGatewayFile, wanted: CheckFile, request: Extended) -> Deferred[Reply]:
    algorithm = _choose(wanted)

    def reply(digests: list[bytes]) -> Reply:
        echoes_name = request.name == wire.OF_PARAMIKO
        payload = wire.reply(algorithm, digests, echoes_name=echoes_name)
        return (extended_reply(request.request_id, payload),)

    digests = file.digests(algorithm, wanted.start, wanted.length, wanted.block_bytes)
    return digests.addCallback(reply)


def _choose(wanted: CheckFile) -> str:
    """The first of the client's algorithms that is known.

    :raises Unsupported: none is known.
    """
    for name in wanted.algorithms:
        algorithm = name.strip().decode("ascii", "replace")
        if algorithm in ALGORITHMS:
            return algorithm
    raise Unsupported(f"none of these algorithms is known; ask for {', '.join(ALGORITHMS)}")
