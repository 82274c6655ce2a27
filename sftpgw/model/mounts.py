"""Mounts: which prefixes of which buckets a user sees, where, and what may be done there."""

from __future__ import annotations

import enum
from dataclasses import dataclass

from sftpgw.model.object_settings import NO_OBJECT_SETTINGS, ObjectSettings
from sftpgw.model.store import ObjectName


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

SEEING = Permission.LIST | Permission.DOWNLOAD
"""Who has neither of them cannot tell what is stored."""


@dataclass(frozen=True, slots=True)
class AccessRule:
    """What a user may do at a path and at all that is below it, as far as no longer path has one.

    :ivar path: the names on the way from the user's root; none for the root.
    :ivar permissions: what the user may do there.
    :ivar deny: patterns of names that the user may not use, such as ``*.exe``.
    :ivar allow: patterns of the names of files that the user may use; empty for all. What `deny`
        names is denied in any case.
    :ivar hides_denied: whether listings leave out the names that are denied.
    """

    path: tuple[str, ...]
    permissions: Permission = ALL_PERMISSIONS
    deny: tuple[str, ...] = ()
    allow: tuple[str, ...] = ()
    hides_denied: bool = False

    @property
    def is_blind(self) -> bool:
        """Whether the user may see nothing here that others have stored, as in a drop box."""
        return not self.permissions & SEEING


@dataclass(frozen=True, slots=True)
class Mount:
    """A prefix of a bucket that a user sees as a directory tree, and what the user may do there.

    :ivar bucket: the bucket; ``NAME:bucket`` if it is in the store of ``[store NAME]``.
    :ivar key_prefix: the prefix of all keys; empty for the whole bucket, or ends with a slash.
    :ivar state_prefix: the prefix of the gateway's own keys, which are hidden.
    :ivar permissions: what the user may do here, as far as no rule says it.
    :ivar path: where the user sees the mount: the names on the way from the root; none for ``/``.
    :ivar rules: what the user may do at paths of this mount; the longest path first.
    :ivar fixed: paths inside of this mount that exist as directories whatever is stored, and stay:
        those of other mounts, and of drop boxes (`files/mount_table` finds them).
    :ivar objects: how new objects are stored, as far as the store's settings are not to count.
    """

    bucket: str
    key_prefix: str
    state_prefix: str = ".sftpgw/"
    permissions: Permission = ALL_PERMISSIONS
    path: tuple[str, ...] = ()
    rules: tuple[AccessRule, ...] = ()
    fixed: tuple[tuple[str, ...], ...] = ()
    objects: ObjectSettings = NO_OBJECT_SETTINGS

    @property
    def is_writable(self) -> bool:
        """Whether the user may change anything in it, at whatever path."""
        granted = [self.permissions, *(rule.permissions for rule in self.rules)]
        return any(each & ~SEEING for each in granted)

    def path_of(self, name: ObjectName) -> bytes | None:
        """The path of an object; None if it is outside of this mount."""
        if name.bucket != self.bucket or not name.key.startswith(self.key_prefix):
            return None
        above = "".join(f"/{segment}" for segment in self.path)
        return f"{above}/{name.key[len(self.key_prefix) :]}".encode()

    def access_at(self, path: tuple[str, ...]) -> AccessRule:
        """The rule that decides at a path: the one with the longest path.

        :param path: the names on the way from the user's root.
        """
        for rule in self.rules:
            if path[: len(rule.path)] == rule.path:
                return rule
        return AccessRule(self.path, self.permissions)
