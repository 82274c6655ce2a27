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

Permissions belong to the mount of a location: one user may do different things in different mounts.

An operation that may or may not replace a file passes the gate twice: as `WRITE` or `RENAME` before
the first request, and as `OVERWRITE` once a file was found there. Without that permission, it is
done in a way that cannot replace anything (`files/uploads/open_mode`, `files/renames/renamer`).
Setting the size of a file overwrites it. READ through a handle that is open for writing needs the
permission of `READ`, asked at OPEN. Checksums and copies work on open handles: they need only the
permissions that the OPENs needed.
"""

from __future__ import annotations

import enum

from sftpgw.errors import (
    AlreadyExists,
    DirectoryNotEmpty,
    FileError,
    IsADirectory,
    NoSuchFile,
    PermissionDenied,
)
from sftpgw.files.mount_table import Unmounted
from sftpgw.files.paths import Location
from sftpgw.model.mounts import Permission


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
    granted = location.access.permissions
    return any(needed in granted for needed in NEEDS[operation])


def require(location: Location, operation: Operation) -> None:
    """:raises PermissionDenied: the user may not carry out the operation at this location."""
    if not allows(location, operation):
        raise PermissionDenied(f"{location.path}: you may not {operation.value} here")


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
