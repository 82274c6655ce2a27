"""Extensions of SFTP version 3: OpenSSH's mostly, and check-file (`sftp/digest_requests`).

Knows: their names, versions and payloads (OpenSSH PROTOCOL, section 4).
Must not know: how a request is framed, or how its errors are told.

Some answer with a STATUS, some with a NAME and some with an EXTENDED_REPLY, which is why
they return whole replies, and why Conch's ``extendedRequest`` cannot serve them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from twisted.internet.defer import Deferred

from sftpgw.errors import LimitReached
from sftpgw.model.filesystem import Space
from sftpgw.sftp import digest_requests
from sftpgw.sftp.contracts import Eventual, IGatewayServer
from sftpgw.sftp.copy_data import copy_data
from sftpgw.sftp.handles import Handles
from sftpgw.sftp.request_order.plan import Access
from sftpgw.sftp.request_order.sequencer import HandleOrder, Sequencer, changing, touched
from sftpgw.wire import check_file, extended
from sftpgw.wire import sftp as wire
from sftpgw.wire.sftp import Extended, Status

MAX_OWNERS = 1024
"""More names might not fit into a packet that clients take."""

Reply: TypeAlias = Eventual[bytes]


@dataclass(frozen=True)
class ExtensionContext:
    """What an extension may use."""

    server: IGatewayServer
    handles: Handles
    sequencer: Sequencer
    handle_order: HandleOrder


def _posix_rename(session: ExtensionContext, request: Extended) -> Reply:
    old, new = extended.parse_strings(request.data, 2, request.request_id)
    return session.sequencer.run(
        Access.CHANGE,
        touched(old, new),
        lambda: _confirmed(session.server.replaceFile(old, new), request),
    )


def _fsync(session: ExtensionContext, request: Extended) -> Reply:
    (name,) = extended.parse_strings(request.data, 1, request.request_id)
    opened = session.handles.file(name)
    return session.handle_order.behind(opened, lambda: _confirmed(opened.file.sync(), request))


def _lsetstat(session: ExtensionContext, request: Extended) -> Reply:
    path, attributes = extended.parse_path_and_attributes(request.data, request.request_id)
    return session.sequencer.run(
        changing(attributes),
        touched(path),
        lambda: _confirmed(session.server.setAttrs(path, attributes), request),
    )


def _statvfs(session: ExtensionContext, request: Extended) -> Reply:
    (path,) = extended.parse_strings(request.data, 1, request.request_id)
    return _space_told(session, path, request)


def _fstatvfs(session: ExtensionContext, request: Extended) -> Reply:
    (name,) = extended.parse_strings(request.data, 1, request.request_id)
    return _space_told(session, session.handles.path(name), request)


def _limits(session: ExtensionContext, request: Extended) -> Reply:
    extended.parse_strings(request.data, 0, request.request_id)
    return wire.extended_reply(request.request_id, extended.limits_reply(session.handles.limit))


def _expand_path(session: ExtensionContext, request: Extended) -> Reply:
    (path,) = extended.parse_strings(request.data, 1, request.request_id)
    return _path_told(session.server.expandPath(path), request)


def _home_directory(session: ExtensionContext, request: Extended) -> Reply:
    (user,) = extended.parse_strings(request.data, 1, request.request_id)
    return _path_told(session.server.homeDirectory(user), request)


def _users_groups_by_id(session: ExtensionContext, request: Extended) -> Reply:
    uids, gids = extended.parse_owners(request.data, request.request_id)
    if len(uids) + len(gids) > MAX_OWNERS:
        raise LimitReached(f"names of at most {MAX_OWNERS} owners can be asked for at once")
    names = session.server.namesOfOwners(uids, gids)
    return wire.extended_reply(request.request_id, extended.owners_reply(*names))


def _copy_data(session: ExtensionContext, request: Extended) -> Reply:
    wanted = extended.parse_copy_data(request.data, request.request_id)
    source, target = session.handles.file(wanted.source), session.handles.file(wanted.target)
    return session.handle_order.run(
        (source, target),
        lambda: _confirmed(
            Deferred.fromCoroutine(copy_data(source.file, target.file, wanted)), request
        ),
    )


def _check_file_name(session: ExtensionContext, request: Extended) -> Reply:
    return digest_requests.check_name(session.server, session.handles, session.sequencer, request)


def _check_file_handle(session: ExtensionContext, request: Extended) -> Reply:
    return digest_requests.check_handle(session.handles, request)


def _confirmed(done: Deferred[None] | None, request: Extended) -> Reply:
    ok = wire.status(request.request_id, Status.OK, "")
    return ok if done is None else done.addCallback(lambda _: ok)


def _space_told(session: ExtensionContext, path: bytes, request: Extended) -> Reply:
    def told(space: Space) -> bytes:
        figures = (space.block_bytes, space.total_blocks, space.free_blocks, space.name_bytes)
        return wire.extended_reply(request.request_id, extended.statvfs_reply(*figures))

    space = session.server.space(path)
    return space.addCallback(told) if isinstance(space, Deferred) else told(space)


def _path_told(found: Eventual[bytes], request: Extended) -> Reply:
    def told(path: bytes) -> bytes:
        return wire.names(request.request_id, [wire.name_entry((path, path, {}))])

    return found.addCallback(told) if isinstance(found, Deferred) else told(found)


EXTENSIONS: dict[bytes, tuple[bytes, Callable[[ExtensionContext, Extended], Reply]]] = {
    b"posix-rename@openssh.com": (b"1", _posix_rename),
    b"statvfs@openssh.com": (b"2", _statvfs),
    b"fstatvfs@openssh.com": (b"2", _fstatvfs),
    b"fsync@openssh.com": (b"1", _fsync),
    b"lsetstat@openssh.com": (b"1", _lsetstat),
    b"limits@openssh.com": (b"1", _limits),
    b"expand-path@openssh.com": (b"1", _expand_path),
    b"home-directory": (b"1", _home_directory),
    b"users-groups-by-id@openssh.com": (b"1", _users_groups_by_id),
    b"copy-data": (b"1", _copy_data),
    check_file.BY_NAME: (digest_requests.ADVERTISED, _check_file_name),
    check_file.BY_HANDLE: (digest_requests.ADVERTISED, _check_file_handle),
    check_file.OF_PARAMIKO: (digest_requests.ADVERTISED, _check_file_handle),
}
"""By name: the version that VERSION advertises, and the handler."""
