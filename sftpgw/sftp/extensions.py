"""Extensions of SFTP version 3: OpenSSH's, and check-file (`sftp/checking`).

Knows: their names, versions and payloads (OpenSSH PROTOCOL, section 4).
Must not know: how a request is framed, or how its errors are told.

Some answer with a STATUS and some with an EXTENDED_REPLY, which is why they
return whole replies, and why Conch's ``extendedRequest`` cannot serve them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from twisted.internet.defer import Deferred

from sftpgw.sftp import checking
from sftpgw.sftp.contracts import Eventual, IGatewayServer
from sftpgw.sftp.handles import Handles
from sftpgw.values import Space
from sftpgw.wire import check_file
from sftpgw.wire import sftp as wire
from sftpgw.wire.sftp import Extended, Status

Reply: TypeAlias = Eventual[bytes]


@dataclass(frozen=True)
class Session:
    """What an extension may use."""

    server: IGatewayServer
    handles: Handles


def _posix_rename(session: Session, request: Extended) -> Reply:
    old, new = wire.parse_strings(request.data, 2, request.request_id)
    return _confirmed(session.server.replaceFile(old, new), request)


def _fsync(session: Session, request: Extended) -> Reply:
    (name,) = wire.parse_strings(request.data, 1, request.request_id)
    return _confirmed(session.handles.file(name).file.sync(), request)


def _lsetstat(session: Session, request: Extended) -> Reply:
    path, attributes = wire.parse_path_and_attributes(request.data, request.request_id)
    return _confirmed(session.server.setAttrs(path, attributes), request)


def _statvfs(session: Session, request: Extended) -> Reply:
    (path,) = wire.parse_strings(request.data, 1, request.request_id)
    return _space_told(session, path, request)


def _fstatvfs(session: Session, request: Extended) -> Reply:
    (name,) = wire.parse_strings(request.data, 1, request.request_id)
    return _space_told(session, session.handles.path(name), request)


def _limits(session: Session, request: Extended) -> Reply:
    wire.parse_strings(request.data, 0, request.request_id)
    return wire.extended_reply(request.request_id, wire.limits_reply(session.handles.limit))


def _check_file_name(session: Session, request: Extended) -> Reply:
    return checking.check_name(session.server, session.handles, request)


def _check_file_handle(session: Session, request: Extended) -> Reply:
    return checking.check_handle(session.handles, request)


def _confirmed(done: Deferred[None] | None, request: Extended) -> Reply:
    ok = wire.status(request.request_id, Status.OK, "")
    return ok if done is None else done.addCallback(lambda _: ok)


def _space_told(session: Session, path: bytes, request: Extended) -> Reply:
    def told(space: Space) -> bytes:
        figures = (space.block_bytes, space.total_blocks, space.free_blocks, space.name_bytes)
        return wire.extended_reply(request.request_id, wire.statvfs_reply(*figures))

    space = session.server.space(path)
    return space.addCallback(told) if isinstance(space, Deferred) else told(space)


EXTENSIONS: dict[bytes, tuple[bytes, Callable[[Session, Extended], Reply]]] = {
    b"posix-rename@openssh.com": (b"1", _posix_rename),
    b"statvfs@openssh.com": (b"2", _statvfs),
    b"fstatvfs@openssh.com": (b"2", _fstatvfs),
    b"fsync@openssh.com": (b"1", _fsync),
    b"lsetstat@openssh.com": (b"1", _lsetstat),
    b"limits@openssh.com": (b"1", _limits),
    check_file.BY_NAME: (checking.ADVERTISED, _check_file_name),
    check_file.BY_HANDLE: (checking.ADVERTISED, _check_file_handle),
    check_file.OF_PARAMIKO: (checking.ADVERTISED, _check_file_handle),
}
"""By name: the version that VERSION advertises, and the handler."""
