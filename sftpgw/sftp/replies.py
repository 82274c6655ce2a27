"""The replies to requests, as lists of buffers.

Knows: which packet answers which outcome.
Must not know: who sends it.

A reply is a list of buffers, so that the bytes of a DATA need not be joined to its header.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias, TypeVar

from twisted.internet.defer import Deferred

from sftpgw.model.filesystem import Space
from sftpgw.model.units import Body
from sftpgw.sftp.contracts import Eventual
from sftpgw.sftp.handles import OpenDirectory
from sftpgw.wire import extended
from sftpgw.wire import sftp as wire

T = TypeVar("T")

Reply: TypeAlias = Body


def confirm(done: Deferred[None] | None, request_id: int) -> Eventual[Reply]:
    """STATUS OK, once `done` has succeeded."""
    reply = wire.ok(request_id)
    return reply if done is None else done.addCallback(lambda _: reply)


def then(value: Eventual[T], make: Callable[[T], Reply]) -> Eventual[Reply]:
    """The reply that `make` makes of a value, now or when the value comes."""
    return value.addCallback(make) if isinstance(value, Deferred) else make(value)


def attributes(request_id: int, found: wire.Attributes) -> Reply:
    return (wire.attributes(request_id, found),)


def path(request_id: int, found: bytes) -> Reply:
    """A NAME with one path, as REALPATH and READLINK have it."""
    return (wire.names(request_id, [wire.name_entry((found, found, {}))]),)


def space(request_id: int, found: Space) -> Reply:
    """The reply to statvfs@openssh.com."""
    return (wire.extended_reply(request_id, extended.statvfs_reply(found)),)


def entries(request_id: int, opened: OpenDirectory) -> Reply:
    """A NAME with as many of the pending entries as one reply may hold, and at least one."""
    packed = [wire.name_entry(opened.pending_entries.popleft())]
    size_bytes = len(packed[0])
    while opened.pending_entries:
        entry = wire.name_entry(opened.pending_entries[0])
        size_bytes += len(entry)
        if size_bytes > wire.MAX_NAMES_BYTES:
            break
        packed.append(entry)
        opened.pending_entries.popleft()
    return (wire.names(request_id, packed),)
