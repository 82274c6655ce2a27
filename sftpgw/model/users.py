"""Users and what they may do."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field


class Permission(enum.Flag):
    """What users.ini can grant; it has the same names in lower case."""

    LIST = enum.auto()
    DOWNLOAD = enum.auto()
    UPLOAD = enum.auto()
    OVERWRITE = enum.auto()
    DELETE = enum.auto()
    RENAME = enum.auto()
    MKDIR = enum.auto()
    SETSTAT = enum.auto()


ALL_PERMISSIONS = (
    Permission.LIST
    | Permission.DOWNLOAD
    | Permission.UPLOAD
    | Permission.OVERWRITE
    | Permission.DELETE
    | Permission.RENAME
    | Permission.MKDIR
    | Permission.SETSTAT
)


@dataclass(frozen=True, slots=True)
class User:
    """A user, how this user may log in, and which part of the store the files are in.

    :ivar name: as in users.ini.
    :ivar bucket: the bucket of the user's files.
    :ivar key_prefix: the beginning of the keys of the user's files; empty for the whole bucket, or
        ends with a slash.
    :ivar permissions: what the user may do.
    :ivar weight: the user's share of what users compete for; most have 1.
    :ivar authorized_keys: public keys in their only encoding (RFC 4253, section 6.6).
    :ivar password_hash: as `auth.passwords` reads it; None without a password.
    """

    name: str
    bucket: str
    key_prefix: str
    permissions: Permission = ALL_PERMISSIONS
    weight: int = 1
    authorized_keys: frozenset[bytes] = frozenset()
    password_hash: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class SessionLabels:
    """How the log names the connection of a session.

    :ivar session: the label that every event of the session carries.
    :ivar peer: the client's address and port, ``local`` for a UNIX socket.
    """

    session: str
    peer: str
