"""Attributes of files, in Conch's words and as a line of ``ls -l``.

Knows: modes, owners, and the format of long names (draft-ietf-secsh-filexfer-02,
section 7). Must not know: where a file is.
"""

from __future__ import annotations

import stat
import time

from sftpgw.values import AttributeChanges, DirectoryEntry, FileAttributes, FileKind
from sftpgw.wire.sftp import Attributes, Name

FILE_MODE = stat.S_IFREG | 0o644
DIRECTORY_MODE = stat.S_IFDIR | 0o755
OWNER = 0
LAST_UINT32 = 0xFFFFFFFF
RECENT_SECONDS = 183 * 24 * 3600


def to_wire(found: FileAttributes) -> Attributes:
    """What STAT answers. Owners and modes are the same for everybody: S3 has none."""
    is_directory = found.kind is FileKind.DIRECTORY
    # Version 3 has 32 bits for times; what does not fit is cut off at the ends.
    seconds = min(max(int(found.modified_seconds), 0), LAST_UINT32)
    return {
        "size": found.size_bytes,
        "uid": OWNER,
        "gid": OWNER,
        "permissions": DIRECTORY_MODE if is_directory else FILE_MODE,
        "atime": seconds,
        "mtime": seconds,
    }


def from_wire(wanted: Attributes) -> AttributeChanges:
    """What SETSTAT, FSETSTAT and OPEN ask for, but for modes and owners."""
    mtime = wanted.get("mtime")
    return AttributeChanges(
        size_bytes=wanted.get("size"),
        modified_seconds=None if mtime is None else float(mtime),
    )


def listed(entry: DirectoryEntry, user: str, now_seconds: float) -> Name:
    """An entry of READDIR: name, long name, attributes."""
    found = to_wire(entry.attributes)
    name = entry.name.encode()
    return name, _long_name(name, found, user, now_seconds), found


def _long_name(name: bytes, found: Attributes, user: str, now_seconds: float) -> bytes:
    mode = stat.filemode(found["permissions"])
    date = _date(found["mtime"], now_seconds)
    return f"{mode}   1 {user:<8} {user:<8} {found['size']:>8} {date} ".encode() + name


def _date(seconds: int, now_seconds: float) -> str:
    """As ``ls`` has it, in UTC: the time for what is recent, the year for the rest."""
    moment = time.gmtime(seconds)
    is_recent = -3600 < now_seconds - seconds < RECENT_SECONDS
    day = f"{_MONTHS[moment.tm_mon - 1]} {moment.tm_mday:>2}"
    if is_recent:
        return f"{day} {moment.tm_hour:02}:{moment.tm_min:02}"
    return f"{day}  {moment.tm_year}"


# Clients parse these, whatever the gateway's locale is.
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
