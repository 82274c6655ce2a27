"""The files of users on disk: how to tell that one of them has changed.

Knows: the names and times of files.
Must not know: what is in them.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from pathlib import Path

from sftpgw.model.users import User


class UserFilesOnDisk:
    """The files of ``[gateway] users``.

    :param path: the file or directory.
    :param files_of: returns the files that it stands for.
    :param read: reads the users; raises `ConfigError`.
    """

    def __init__(
        self,
        path: Path,
        files_of: Callable[[Path], list[Path]],
        read: Callable[[], Mapping[str, User]],
    ) -> None:
        self._path = path
        self._files_of = files_of
        self._read = read

    def read(self) -> Mapping[str, User]:
        """The users by name. :raises ConfigError: with every fault."""
        return self._read()

    def state(self) -> Hashable:
        """The name, size, time and inode of each file; of one that is gone, its name."""
        return tuple(map(_state_of, self._files_of(self._path)))


def _state_of(file: Path) -> Hashable:
    try:
        found = file.stat()
    except OSError:
        return (str(file),)
    return str(file), found.st_mtime_ns, found.st_size, found.st_ino
