"""The permission gate: which permission an operation needs, and whether a location grants it.

Knows: the table of operations and permissions; docs/permissions.rst shows the same one.
Must not know: users, and how an operation is carried out.

The table is only here. Who asks it:

* `files/tree` asks first, for each operation and before any request.
* Some permissions matter only once it is known what is stored. `file_opener` asks for OVERWRITE,
  decides with `uploads/open_mode`, and asks for CHANGE if bytes of the file are kept.
  `renames/renamer` asks for OVERWRITE of the target, `renames/directory_rename` for OVERWRITE by
  open uploads that are renamed with it.
* An OPEN for reading that creates or empties a file needs WRITE, too, and a handle for writing is
  told at OPEN whether it may READ and SET_TIMES (`file_opener`).

Permissions belong to paths: a location has one rule, that of the longest path (`Location.access`).

Names are part of it. Below the path of the rule, no directory and no file may have a name that
``deny`` stands for. If the rule has ``allow``, a file must have a name that this stands for; names
of directories need not. Whether a path leads to a file may be known only later: then its name is
asked for with `require_file_name_allowed` once it is. A hidden name is answered like one that does
not exist.

A rename needs its permission at both ends, and brings nothing to where the user may do more with
it: no file that may not be downloaded becomes one that may, no folder that may not be listed
becomes one that may, or takes its files from under
rules of their own, or to below some (`require_no_gain`, `require_movable_directory`).

An operation that may or may not replace a file passes the gate twice: as `WRITE` or `RENAME` before
the first request, and as `OVERWRITE` once a file was found there. Without that permission, it is
done in a way that cannot replace anything (`files/uploads/open_mode`, `files/renames/renamer`).
Setting the size of a file overwrites it. READ through a handle that is open for writing needs the
permission of `READ`, asked at OPEN. Checksums and copies work on open handles: they need only the
permissions that the OPENs needed.
"""

from __future__ import annotations

import enum
from collections.abc import Callable

from sftpgw.errors import (
    AlreadyExists,
    DirectoryNotEmpty,
    FileError,
    IsADirectory,
    NoSuchFile,
    PermissionDenied,
)
from sftpgw.files.mount_table import Unmounted
from sftpgw.files.name_patterns import matches_any
from sftpgw.files.paths import Location, names_below
from sftpgw.model.mounts import AccessRule, Permission


class Operation(enum.Enum):
    """What a client wants to do, worded to complete "you may not … here"."""

    LOOK = "look at files"
    LIST = "list directories"
    READ = "download files"
    WRITE = "upload files"
    OVERWRITE = "overwrite files"
    CHANGE = "change files in place"
    TRUNCATE = "change the size of files"
    REMOVE = "remove files"
    REMOVE_DIRECTORY = "remove directories"
    RENAME = "rename files"
    MAKE_DIRECTORY = "make directories"
    SET_TIMES = "set the times of stored files"


REWRITE = Permission.UPLOAD | Permission.OVERWRITE

NEEDS: dict[Operation, tuple[Permission, ...]] = {
    # Clients send STAT before each transfer, so the permission for either kind is enough.
    Operation.LOOK: (Permission.LIST, Permission.DOWNLOAD, Permission.UPLOAD),
    Operation.LIST: (Permission.LIST,),
    Operation.READ: (Permission.DOWNLOAD,),
    Operation.WRITE: (Permission.UPLOAD,),
    Operation.OVERWRITE: (Permission.OVERWRITE,),
    Operation.CHANGE: (REWRITE,),
    Operation.TRUNCATE: (REWRITE,),
    Operation.REMOVE: (Permission.DELETE,),
    Operation.REMOVE_DIRECTORY: (Permission.DELETE,),
    Operation.RENAME: (Permission.RENAME,),
    Operation.MAKE_DIRECTORY: (Permission.MKDIR,),
    Operation.SET_TIMES: (Permission.SETSTAT,),
}
"""An operation needs one of the alternatives in its tuple, and all permissions of that one."""


def allows(location: Location, operation: Operation) -> bool:
    """Whether the user may carry out an operation at a location."""
    return _grants(location.access, operation)


def _grants(rule: AccessRule, operation: Operation) -> bool:
    return any(needed in rule.permissions for needed in NEEDS[operation])


def require(location: Location, operation: Operation) -> None:
    """Check that the user may carry out an operation at a location.

    :raises PermissionDenied: the permission is missing, or a name in the path is denied.
    :raises NoSuchFile: a name in the path is denied and hidden.
    """
    rule = location.access
    if not _grants(rule, operation):
        raise PermissionDenied(f"{location.path}: you may not {operation.value} here")
    if rule.deny and any(matches_any(name, rule.deny) for name in _names_under(rule, location)):
        raise _name_error(location, rule, "deny")


def _names_under(rule: AccessRule, location: Location) -> tuple[str, ...]:
    """The names in a path that a rule is about: those behind the paths of rule and mount."""
    return location.segments[max(0, len(rule.path) - len(location.mount.path)) :]


def may_be_allowed_file(location: Location) -> bool:
    """Whether a file may have the name of this location, as far as ``allow`` says it."""
    rule = location.access
    if not rule.allow:
        return True
    names = _names_under(rule, location)
    return not names or matches_any(names[-1], rule.allow)


def hides_file(location: Location) -> bool:
    """Whether a file of this name is hidden. A directory of this name is not."""
    return location.access.hides_denied and not may_be_allowed_file(location)


def require_file_name_allowed(location: Location) -> None:
    """Check that a file may have the name of this location.

    :raises PermissionDenied, NoSuchFile: it may not, as of `require`.
    """
    if not may_be_allowed_file(location):
        raise _name_error(location, location.access, "allow")


def _name_error(location: Location, rule: AccessRule, key: str) -> FileError:
    if rule.hides_denied:
        return NoSuchFile(f"{location.path}: No such file or directory")
    return PermissionDenied(f"{location.path}: you may not use such a name here (users.ini {key})")


def shown_names(directory: Location) -> Callable[[str, bool], bool] | None:
    """What tells whether a listing shows a name, and whether it is a file's; None: it shows all.

    :param directory: the directory.
    """
    rule = directory.access
    if not (rule.hides_denied and (rule.deny or rule.allow)):
        return None
    with_own_rules = names_below(
        (*directory.mount.path, *directory.segments), (each.path for each in directory.mount.rules)
    )
    own = frozenset(with_own_rules)

    def is_shown(name: str, is_file: bool) -> bool:
        if name in own:
            return True
        is_allowed = not (is_file and rule.allow) or matches_any(name, rule.allow)
        return is_allowed and not matches_any(name, rule.deny)

    return is_shown


# Renames.


def require_no_gain(source: Location, target: Location) -> None:
    """Check that a rename does not let the user read what the user may not read now.

    :raises PermissionDenied: it would.
    """
    if allows(target, Operation.READ) and not allows(source, Operation.READ):
        raise PermissionDenied(
            f"{source.path}: you may not {Operation.READ.value} here, so none can be moved to "
            "where you may"
        )


def require_movable_directory(source: Location, target: Location) -> None:
    """Check that the rules for what is in a directory do not change with its name.

    :raises PermissionDenied: they would, or may, or the user sees nothing at one of the ends.
    """
    for end in (source, target):
        path = (*end.mount.path, *end.segments)
        if any(rule.path[: len(path)] == path for rule in end.mount.rules):
            raise PermissionDenied(
                f"{end.path}: it, or something in it, has permissions of its own (users.ini), so "
                "it cannot be renamed or replaced"
            )
    rules = {source.access, target.access}
    if any(rule.is_blind for rule in rules):
        raise PermissionDenied(
            f"{source.path}: directories are not moved into or out of a place where you may not "
            f"{Operation.LIST.value}; move their files"
        )
    if allows(target, Operation.LIST) and not allows(source, Operation.LIST):
        raise PermissionDenied(
            f"{source.path}: you may not {Operation.LIST.value} here, so none can be moved to "
            "where you may; move its files"
        )
    if len(rules) > 1 and any(rule.deny or rule.allow for rule in rules):
        raise PermissionDenied(
            f"{target.path}: other names are allowed here than in {source.path} (users.ini deny, "
            "allow), so a directory cannot be moved; move its files"
        )


_LOOKS = frozenset({Operation.LOOK, Operation.LIST, Operation.READ, Operation.REMOVE})


def unmounted_error(found: Unmounted, operation: Operation) -> FileError:
    """The error for an operation where none of the user's mounts is.

    :param found: the path.
    :param operation: what the client wants to do there.
    """
    path = found.path
    if not found.names:
        if operation in _LOOKS:
            return NoSuchFile(f"{path}: No such file or directory")
        return PermissionDenied(
            f"{path}: is in none of your mounts, so nothing can be changed here"
        )
    match operation:
        case Operation.READ | Operation.REMOVE | Operation.TRUNCATE:
            return IsADirectory(f"{path}: is a directory")
        case Operation.MAKE_DIRECTORY:
            return AlreadyExists(f"{path}: exists already")
        case Operation.REMOVE_DIRECTORY:
            return DirectoryNotEmpty(f"{path}: cannot be removed")
    return PermissionDenied(f"{path}: only leads to mounts, so nothing can be changed here")
