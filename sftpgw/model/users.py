"""Users and what they may do."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from typing import Protocol

# People and permissions.


class Permission(enum.Flag):
    """What users.ini can grant, by its names there in lower case."""

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
    """Who may log in, how, and where that leads.

    `key_prefix` is empty (the whole bucket) or ends with a slash.
    `authorized_keys` are public keys in their one encoding (RFC 4253, 6.6), parsed when the
    configuration is loaded; `password_hash` is bcrypt (``$2b$…``) or argon2 (``$argon2id$…``).
    """

    name: str
    bucket: str
    key_prefix: str
    permissions: Permission = ALL_PERMISSIONS
    authorized_keys: frozenset[bytes] = frozenset()
    password_hash: str | None = field(default=None, repr=False)


# Users and sessions.


class UserDirectory(Protocol):
    """Knows the users."""

    async def find(self, name: str) -> User | None: ...
