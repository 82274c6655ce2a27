"""The permission gate: which operation needs which permission.

Knows: the table, which docs/permissions.rst shows to operators.
Must not know: who asks, and how the operation is done.

Whether there is something to overwrite is known only further in: what may be new or not
passes the gate as `WRITE` or `RENAME` first, and as `OVERWRITE` once a file was found
there, or else is done in a way that cannot replace anything (`files/uploads/open_mode`, and the
rename
in `files/`). Who sets the size of a file overwrites
it. READ through a handle that writes needs what READ needs, asked at its OPEN. Hashes and copies
are made of handles that are open: they need what the OPENs have needed, and no operation of
their own.
"""

from __future__ import annotations

import enum

from sftpgw.errors import PermissionDenied
from sftpgw.model.users import Permission


class Operation(enum.Enum):
    """What a client may want, in the words of an error message."""

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
    # Clients STAT before they transfer, so whoever may do either may look.
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
"""One of these, and all that is in it."""


def allows(granted: Permission, operation: Operation) -> bool:
    """Whether `granted` has all of one of the combinations that `operation` accepts."""
    return any(needed in granted for needed in NEEDS[operation])


def require(granted: Permission, operation: Operation, path: str) -> None:
    """:raises PermissionDenied: naming the path and what is missing."""
    if not allows(granted, operation):
        raise PermissionDenied(f"{path}: you may not {operation.value} here")
