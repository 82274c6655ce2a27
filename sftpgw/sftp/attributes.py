"""Attributes of files, as Conch has them and as a line of ``ls -l``.

Knows: modes, owners and their names, and the format of long names
(draft-ietf-secsh-filexfer-02, section 7).
Must not know: where a file is.
"""

from __future__ import annotations

import stat
import time

from sftpgw.model.filesystem import AttributeChanges, DirectoryEntry, FileAttributes, FileKind
from sftpgw.model.settings import FilesSettings
from sftpgw.wire.sftp import Attributes, Name

LAST_UINT32 = 0xFFFFFFFF
RECENT_SECONDS = 183 * 24 * 3600


class Appearance:
    """How files look to one user. An object has neither owner nor mode, so all look alike.

    :param user: the name of both the owner and the group. In long names it has no blanks: clients
        split these at white space, and would read the wrong column for the size.
    :param settings: owners and modes.
    """

    def __init__(self, user: str, settings: FilesSettings) -> None:
        self._user = user
        self._column = "_".join(user.split())
        self._uid = settings.uid
        self._gid = settings.gid
        self._file_mode = stat.S_IFREG | settings.file_mode
        self._directory_mode = stat.S_IFDIR | settings.directory_mode

    def attributes(self, found: FileAttributes) -> Attributes:
        """The attributes of a file, as in the reply to STAT."""
        is_directory = found.kind is FileKind.DIRECTORY
        told: Attributes = {
            "size": found.size_bytes,
            "uid": self._uid,
            "gid": self._gid,
            "permissions": self._directory_mode if is_directory else self._file_mode,
        }
        if found.modified_seconds is not None:
            # Version 3 has 32 bits for times. A time outside of these becomes the nearest one.
            seconds = min(max(int(found.modified_seconds), 0), LAST_UINT32)
            told |= {"atime": seconds, "mtime": seconds}
        return told

    def entry(self, entry: DirectoryEntry, now_seconds: float) -> Name:
        """An entry of READDIR: name, long name, attributes."""
        found = self.attributes(entry.attributes)
        name = entry.name.encode()
        return name, self._long_name(name, found, now_seconds), found

    def user_name(self, uid: int) -> bytes:
        """The name of the user with this uid; empty for an unknown one."""
        return self._user.encode() if uid == self._uid else b""

    def group_name(self, gid: int) -> bytes:
        """The name of the group with this gid; empty for an unknown one."""
        return self._user.encode() if gid == self._gid else b""

    def _long_name(self, name: bytes, found: Attributes, now_seconds: float) -> bytes:
        mode = stat.filemode(found["permissions"])
        # If the column were missing, clients would read the others wrongly.
        date = _date(found.get("mtime", 0), now_seconds)
        owner = f"{self._column:<8} {self._column:<8}"
        return f"{mode}   1 {owner} {found['size']:>8} {date} ".encode() + name


def from_wire(wanted: Attributes) -> AttributeChanges:
    """The changes that SETSTAT, FSETSTAT and OPEN ask for, without modes and owners."""
    mtime = wanted.get("mtime")
    return AttributeChanges(
        size_bytes=wanted.get("size"),
        modified_seconds=None if mtime is None else float(mtime),
    )


def _date(seconds: int, now_seconds: float) -> str:
    """A date as ``ls`` prints it, in UTC: with the time if it is recent, or else with the year."""
    moment = time.gmtime(seconds)
    is_recent = -3600 < now_seconds - seconds < RECENT_SECONDS
    day = f"{_MONTHS[moment.tm_mon - 1]} {moment.tm_mday:>2}"
    if is_recent:
        return f"{day} {moment.tm_hour:02}:{moment.tm_min:02}"
    return f"{day}  {moment.tm_year}"


# Clients parse these, whatever the gateway's locale is.
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
