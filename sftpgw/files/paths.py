"""From a client's path to a key: the path jail.

Knows: how paths are resolved, which keys exist for users, which keys are hidden from them.
Must not know: what the store holds.

Rules

1. A path is UTF-8 without NUL. A relative path starts at ``/``.
2. Empty segments and ``.`` are dropped. ``..`` drops the segment before it; at the top it drops
   nothing, so that ``/..`` is ``/``. Therefore no path leads out of the mount.
3. The key is the mount's key prefix followed by the resolved path, at most 1,024 bytes
   (https://docs.aws.amazon.com/AmazonS3/latest/userguide/object-keys.html).
4. Keys under the state prefix belong to the gateway. No path reaches them.
5. A resolved path is a `Location`. No other module builds keys from paths. Which mount a path
   leads to is decided by `mount_table`.
6. A path that ends with a slash, ``.`` or ``..`` names a directory, never a file
   (POSIX, XBD 4.13, "Pathname Resolution"); see `Location.must_be_directory`.
7. The key ``name/`` is the marker of a directory and may hold bytes, which no path can name. So
   each directory has the name `MARKER_CONTENT`, which stands for the bytes of its own marker.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from sftpgw.errors import InvalidPath, PermissionDenied
from sftpgw.model.limits import MAX_KEY_BYTES
from sftpgw.model.mounts import AccessRule, Mount
from sftpgw.model.store import ObjectName

MAX_PATH_BYTES = 16 * 1024
"""The longest path before it is resolved. Linux takes 4,096 bytes (PATH_MAX in limits.h)."""

MARKER_CONTENT = "_$folder_content$"
"""The name, in a directory, of the bytes in the directory's marker (`files/listing/markers`)."""


@dataclass(frozen=True, slots=True)
class Location:
    """A resolved path, with the keys that it may stand for.

    :param mount: the mount that the path leads to.
    :param segments: the names on the way from the mount; none for the mount itself.
    :param must_be_directory: the path ends like that of a directory (rule 6). Two locations that
        differ only in this are equal.
    """

    mount: Mount
    segments: tuple[str, ...]
    must_be_directory: bool = field(default=False, compare=False)

    @property
    def is_root(self) -> bool:
        """Whether this is the mount itself."""
        return not self.segments

    @property
    def is_fixed(self) -> bool:
        """Whether this is a directory whatever is stored, which stays: the mount itself, and each
        directory that is, or leads to, one of `Mount.fixed`."""
        if not self.segments:
            return True
        if not self.mount.fixed:
            return False
        path = (*self.mount.path, *self.segments)
        return any(each[: len(path)] == path for each in self.mount.fixed)

    @property
    def fixed_names(self) -> tuple[str, ...]:
        """The names of the fixed directories that are directly in this one."""
        if not self.mount.fixed:
            return ()
        return names_below((*self.mount.path, *self.segments), self.mount.fixed)

    @property
    def may_be_file(self) -> bool:
        """Whether the path may name a file: an object whose key is that of `file`."""
        return not (self.must_be_directory or self.is_fixed)

    @property
    def path(self) -> str:
        """The absolute path, for clients and messages."""
        return "/" + "/".join((*self.mount.path, *self.segments))

    @property
    def access(self) -> AccessRule:
        """The rule that decides what the user may do here."""
        return self.mount.access_at((*self.mount.path, *self.segments))

    @property
    def bucket(self) -> str:
        """The bucket of all keys of this location."""
        return self.mount.bucket

    @property
    def file(self) -> ObjectName:
        """The object of this location if it is a file; the root is never one."""
        if self.is_marker_content:
            return self.parent.marker
        return ObjectName(self.bucket, self.mount.key_prefix + "/".join(self.segments))

    @property
    def is_marker_content(self) -> bool:
        """Whether this is the content of the marker of its directory (rule 7)."""
        return self.segments[-1:] == (MARKER_CONTENT,) and bool(self.parent.prefix)

    @property
    def prefix(self) -> str:
        """The prefix of all keys in this location if it is a directory; also its marker's key."""
        joined = "/".join((*self.segments, ""))
        return self.mount.key_prefix + joined

    @property
    def marker(self) -> ObjectName:
        """The object that makes this location a directory although it is empty."""
        return ObjectName(self.bucket, self.prefix)

    def is_same(self, other: Location) -> bool:
        """Whether this has the keys of `other`, be it by another path: mounts may overlap."""
        return self.bucket == other.bucket and self.prefix == other.prefix

    def is_below(self, other: Location) -> bool:
        """Whether its keys are inside of `other`, at any depth; none is inside of itself."""
        is_inside = self.prefix.startswith(other.prefix) and self.prefix != other.prefix
        return is_inside and self.bucket == other.bucket

    @property
    def parent(self) -> Location:
        """The directory that holds this one; the root is its own parent."""
        return Location(self.mount, self.segments[:-1])


def canonical(path: bytes) -> tuple[str, ...]:
    """Resolve a path: its segments, without ``.`` and ``..``.

    :param path: the path as the client sent it.
    :raises InvalidPath: it has a NUL, is not UTF-8, or is longer than `MAX_PATH_BYTES`.
    """
    if len(path) > MAX_PATH_BYTES:
        raise InvalidPath(
            f"the path is too long: it has {len(path)} bytes, {MAX_PATH_BYTES} are allowed"
        )
    if b"\0" in path:
        raise InvalidPath("the path contains a NUL byte")
    try:
        text = path.decode("utf-8")
    except UnicodeDecodeError:
        raise InvalidPath("the path is not valid UTF-8") from None
    resolved: list[str] = []
    for segment in text.split("/"):
        if segment == "..":
            del resolved[-1:]
        elif segment not in ("", "."):
            resolved.append(segment)
    return tuple(resolved)


def names_below(path: tuple[str, ...], paths: Iterable[tuple[str, ...]]) -> tuple[str, ...]:
    """The next names on the way from one path to those of others that are below it, sorted.

    :param path: the one.
    :param paths: the others.
    """
    count = len(path)
    return tuple(sorted({each[count] for each in paths if each[:count] == path != each}))


def names_directory(path: bytes) -> bool:
    """Whether a path ends like that of a directory (rule 6)."""
    return path.rpartition(b"/")[2] in (b"", b".", b"..")


def locate(mount: Mount, path: bytes) -> Location:
    """The location that a path leads to, below one mount.

    :param mount: the mount whose top is ``/``.
    :param path: the path as the client sent it.
    :raises InvalidPath: the path is malformed, or its key would be too long.
    :raises PermissionDenied: the key belongs to the gateway.
    """
    return located(mount, canonical(path), must_be_directory=names_directory(path))


def located(mount: Mount, segments: tuple[str, ...], *, must_be_directory: bool) -> Location:
    """The location at the end of some names below a mount.

    :param mount: the mount.
    :param segments: the names, without ``.`` and ``..``.
    :param must_be_directory: as of `Location`.
    :raises InvalidPath: the key would be too long.
    :raises PermissionDenied: the key belongs to the gateway.
    """
    location = Location(mount, segments, must_be_directory)
    size_bytes = len(location.file.key.encode())
    if size_bytes > MAX_KEY_BYTES:
        raise InvalidPath(
            f"the path is too long: its key has {size_bytes} bytes, S3 allows {MAX_KEY_BYTES}"
        )
    if is_hidden(mount, location.prefix):
        raise PermissionDenied(f"{location.path}: reserved for the gateway")
    return location


def is_hidden(mount: Mount, key: str) -> bool:
    """Whether a key, or the prefix of a directory, belongs to the gateway."""
    return bool(mount.state_prefix) and key.startswith(mount.state_prefix)


def can_be_named(segment: str) -> bool:
    """Whether a path can have this name as a segment; keys may hold names that paths cannot."""
    return segment not in ("", ".", "..", MARKER_CONTENT) and not _UNNAMABLE.search(segment)


_UNNAMABLE = re.compile("[/\0\udc80-\udcff]")
"""The surrogates stand for bytes that are not UTF-8 (PEP 383)."""
