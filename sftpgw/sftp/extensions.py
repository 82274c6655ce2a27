"""Extensions of SFTP version 3: OpenSSH's mostly, and check-file (`sftp/digest_requests`).

Knows: their names, versions and payloads (OpenSSH PROTOCOL, section 4).
Must not know: how a request is framed, or what its errors mean.

Some are answered with a STATUS, some with a NAME and some with an EXTENDED_REPLY. So each
handler returns a whole reply, which Conch's ``extendedRequest`` cannot.
"""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.defer import Deferred

from sftpgw.errors import LimitReached
from sftpgw.sftp import digest_requests, replies
from sftpgw.sftp.contracts import Eventual
from sftpgw.sftp.copy_data import copy_data
from sftpgw.sftp.handler_context import HandlerContext
from sftpgw.sftp.replies import Reply
from sftpgw.sftp.request_order.plan import Access
from sftpgw.sftp.request_order.sequencer import access_of_change, touched_paths
from sftpgw.wire import check_file, extended
from sftpgw.wire import sftp as wire
from sftpgw.wire.sftp import Extended

MAX_OWNERS = 1024
"""The reply to more might be larger than the packets that clients take."""


def _posix_rename(context: HandlerContext, request: Extended) -> Eventual[Reply]:
    old, new = extended.parse_strings(request.data, 2, request.request_id)
    return context.sequencer.run(
        Access.CHANGE,
        touched_paths(old, new),
        lambda: replies.confirm(context.server.replaceFile(old, new), request.request_id),
    )


def _fsync(context: HandlerContext, request: Extended) -> Eventual[Reply]:
    (name,) = extended.parse_strings(request.data, 1, request.request_id)
    opened = context.handles.file(name)
    return context.handle_order.behind(
        opened, lambda: replies.confirm(opened.file.sync(), request.request_id)
    )


def _lsetstat(context: HandlerContext, request: Extended) -> Eventual[Reply]:
    path, attributes = extended.parse_path_and_attributes(request.data, request.request_id)
    return context.sequencer.run(
        access_of_change(attributes),
        touched_paths(path),
        lambda: replies.confirm(context.server.setAttrs(path, attributes), request.request_id),
    )


def _statvfs(context: HandlerContext, request: Extended) -> Eventual[Reply]:
    (path,) = extended.parse_strings(request.data, 1, request.request_id)
    return _space(context, path, request)


def _fstatvfs(context: HandlerContext, request: Extended) -> Eventual[Reply]:
    (name,) = extended.parse_strings(request.data, 1, request.request_id)
    return _space(context, context.handles.path(name), request)


def _limits(context: HandlerContext, request: Extended) -> Eventual[Reply]:
    extended.parse_strings(request.data, 0, request.request_id)
    payload = extended.limits_reply(context.handles.limit)
    return (wire.extended_reply(request.request_id, payload),)


def _expand_path(context: HandlerContext, request: Extended) -> Eventual[Reply]:
    (path,) = extended.parse_strings(request.data, 1, request.request_id)
    return _path(context.server.expandPath(path), request)


def _home_directory(context: HandlerContext, request: Extended) -> Eventual[Reply]:
    (user,) = extended.parse_strings(request.data, 1, request.request_id)
    return _path(context.server.homeDirectory(user), request)


def _users_groups_by_id(context: HandlerContext, request: Extended) -> Eventual[Reply]:
    uids, gids = extended.parse_owners(request.data, request.request_id)
    if len(uids) + len(gids) > MAX_OWNERS:
        raise LimitReached(f"names of at most {MAX_OWNERS} owners can be asked for at once")
    names = context.server.namesOfOwners(uids, gids)
    return (wire.extended_reply(request.request_id, extended.owners_reply(*names)),)


def _copy_data(context: HandlerContext, request: Extended) -> Eventual[Reply]:
    wanted = extended.parse_copy_data(request.data, request.request_id)
    source, target = context.handles.file(wanted.source), context.handles.file(wanted.target)
    return context.handle_order.run(
        (source, target),
        lambda: replies.confirm(
            Deferred.fromCoroutine(copy_data(source.file, target.file, wanted)),
            request.request_id,
        ),
    )


def _check_file_name(context: HandlerContext, request: Extended) -> Eventual[Reply]:
    return digest_requests.check_name(context, request)


def _check_file_handle(context: HandlerContext, request: Extended) -> Eventual[Reply]:
    return digest_requests.check_handle(context.handles, request)


def _space(context: HandlerContext, path: bytes, request: Extended) -> Eventual[Reply]:
    found = context.server.space(path)
    return replies.then(found, lambda found: replies.space(request.request_id, found))


def _path(found: Eventual[bytes], request: Extended) -> Eventual[Reply]:
    return replies.then(found, lambda found: replies.path(request.request_id, found))


EXTENSIONS: dict[bytes, tuple[bytes, Callable[[HandlerContext, Extended], Eventual[Reply]]]] = {
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
