"""The permission gate: which operation needs which permission.

Knows: the table. Must not know: who asks, and how the operation is done.

Overwriting is decided where it is known whether there is something to overwrite
(`plan/opening` and the rename in `files/`), by `require` as well. Who sets the size of a file
overwrites it. READ through a handle that writes needs what READ needs, asked at its OPEN.
"""

from __future__ import annotations

import enum

from sftpgw.errors import PermissionDenied
from sftpgw.values import Permission


class Operation(enum.Enum):
    """What a client may want, in the words of an error message."""

    LOOK = "look at files"
    LIST = "list directories"
    READ = "download files"
    WRITE = "upload files"
    OVERWRITE = "overwrite files"
    REMOVE = "remove files"
    REMOVE_DIRECTORY = "remove directories"
    RENAME = "rename files"
    MAKE_DIRECTORY = "make directories"
    SET_ATTRIBUTES = "change times of files"


ANY_OF: dict[Operation, Permission] = {
    # Clients STAT before they transfer, so whoever may do either may look.
    Operation.LOOK: Permission.LIST | Permission.DOWNLOAD | Permission.UPLOAD,
    Operation.LIST: Permission.LIST,
    Operation.READ: Permission.DOWNLOAD,
    Operation.WRITE: Permission.UPLOAD,
    Operation.OVERWRITE: Permission.OVERWRITE,
    Operation.REMOVE: Permission.DELETE,
    Operation.REMOVE_DIRECTORY: Permission.DELETE,
    Operation.RENAME: Permission.RENAME,
    Operation.MAKE_DIRECTORY: Permission.MKDIR,
    Operation.SET_ATTRIBUTES: Permission.SETSTAT,
}


def allows(granted: Permission, operation: Operation) -> bool:
    """Whether one of the permissions that `operation` accepts is among `granted`."""
    return bool(granted & ANY_OF[operation])


def require(granted: Permission, operation: Operation, path: str) -> None:
    """:raises PermissionDenied: naming the path and what is missing."""
    if not allows(granted, operation):
        raise PermissionDenied(f"{path}: you may not {operation.value} here")
