"""The path jail: what a client calls a file, and which key that is.

Knows: how paths are resolved, what a key may be, what is hidden from users.
Must not know: whether anything exists.

Rules

1. A path is bytes in UTF-8 without NUL. Relative ones start at ``/``.
2. Empty segments and ``.`` vanish, ``..`` removes the segment before it, and at
   the top it removes nothing: ``/..`` is ``/``. So no path leads out.
3. The key is the user's prefix and the resolved path joined, at most 1,024 bytes
   (https://docs.aws.amazon.com/AmazonS3/latest/userguide/object-keys.html).
4. Keys under the state prefix are the gateway's own: no user reaches them.
5. From here on a path is a `Location`, and nobody joins strings.
6. A path that ends with a slash, with ``.`` or with ``..`` names a directory and no file
   (POSIX, XBD 4.13 "Pathname Resolution"): its `Location` says so.
7. The name `MARKER_CONTENT` stands in each directory for the object whose key is the
   directory's own, ``name/``, as far as that holds bytes: no other path could name it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from sftpgw.errors import InvalidPath, PermissionDenied
from sftpgw.model.limits import MAX_KEY_BYTES
from sftpgw.model.store import ObjectName

MAX_PATH_BYTES = 16 * 1024
"""Before it is resolved. Linux takes 4,096 (PATH_MAX, limits.h); a packet could hold 262,144."""

MARKER_CONTENT = "_$folder_content$"
"""What the bytes of a directory's own object are called in it (`files/listing/markers`)."""


@dataclass(frozen=True, slots=True)
class Root:
    """Where a user's ``/`` is. `key_prefix` is empty or ends with a slash."""

    bucket: str
    key_prefix: str
    state_prefix: str = ".sftpgw/"


@dataclass(frozen=True, slots=True)
class Location:
    """A resolved path: what it is called, and the keys that it may stand for.

    `must_be_directory`: the path ends so that a file of this name is not what it names.
    """

    root: Root
    segments: tuple[str, ...]
    must_be_directory: bool = field(default=False, compare=False)

    @property
    def is_root(self) -> bool:
        return not self.segments

    @property
    def may_be_file(self) -> bool:
        """Whether an object named `file` would be what the path names."""
        return not (self.is_root or self.must_be_directory)

    @property
    def path(self) -> str:
        """The absolute path, for clients and messages."""
        return "/" + "/".join(self.segments)

    @property
    def file(self) -> ObjectName:
        """The object that this place is if it is a file; the root is none."""
        if self.is_marker_content:
            return self.parent.marker
        return ObjectName(self.root.bucket, self.root.key_prefix + "/".join(self.segments))

    @property
    def is_marker_content(self) -> bool:
        """Whether it is what the marker of its directory holds."""
        return self.segments[-1:] == (MARKER_CONTENT,) and bool(self.parent.prefix)

    @property
    def prefix(self) -> str:
        """What the keys of everything below begin with; also the key of the marker."""
        joined = "/".join((*self.segments, ""))
        return self.root.key_prefix + joined

    @property
    def marker(self) -> ObjectName:
        """The object that makes this place a directory even when it is empty."""
        return ObjectName(self.root.bucket, self.prefix)

    def is_below(self, other: Location) -> bool:
        """Whether this is somewhere inside of `other`; nothing is inside of itself."""
        count = len(other.segments)
        return len(self.segments) > count and self.segments[:count] == other.segments

    @property
    def parent(self) -> Location:
        """The directory that this is in; the root is its own."""
        return Location(self.root, self.segments[:-1])


def canonical(path: bytes) -> tuple[str, ...]:
    """The segments of a path, resolved.

    :raises InvalidPath: NUL, not UTF-8, or longer than any file system takes it.
    """
    if len(path) > MAX_PATH_BYTES:
        raise InvalidPath(
            f"the path is too long: it has {len(path)} bytes, {MAX_PATH_BYTES} are taken"
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


def locate(root: Root, path: bytes) -> Location:
    """The place that a path stands for.

    :raises InvalidPath: no key can stand for it.
    :raises PermissionDenied: it is the gateway's own.
    """
    is_directory = path.rpartition(b"/")[2] in (b"", b".", b"..")
    location = Location(root, canonical(path), is_directory)
    size_bytes = len(location.file.key.encode())
    if size_bytes > MAX_KEY_BYTES:
        raise InvalidPath(
            f"the path is too long: its key has {size_bytes} bytes, S3 takes {MAX_KEY_BYTES}"
        )
    if is_hidden(root, location.prefix):
        raise PermissionDenied(f"{location.path}: reserved for the gateway")
    return location


def is_hidden(root: Root, key: str) -> bool:
    """Whether a key, or the prefix of a directory, is the gateway's own."""
    return bool(root.state_prefix) and key.startswith(root.state_prefix)


def can_be_named(segment: str) -> bool:
    """Whether a client can ask for an entry of this name (keys hold what paths cannot)."""
    return segment not in ("", ".", "..", MARKER_CONTENT) and not _UNNAMABLE.search(segment)


_UNNAMABLE = re.compile("[/\0\udc80-\udcff]")
"""The surrogates stand for bytes that are not UTF-8."""
