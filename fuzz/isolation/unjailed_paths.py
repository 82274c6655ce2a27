"""Takes the place of the gateway's path jail and permission gate: here every path leads somewhere.

Knows: a user's mounts, and the mistakes that a resolver of paths can make.
Must not know: who keeps users apart then.

It makes all of those mistakes at once: ``..`` leads out of a mount, other ways of writing ``..``
and ``/`` are taken for them, ``s3://BUCKET/KEY`` is that key, the gateway's own keys are like
others, and everything is permitted.
"""

from __future__ import annotations

import unicodedata
from urllib.parse import unquote

from sftpgw.errors import InvalidPath
from sftpgw.files.paths import Location, names_directory
from sftpgw.model.limits import MAX_KEY_BYTES
from sftpgw.model.mounts import Mount
from sftpgw.model.store import ObjectName

_SAME = ((b"\xc0\xae", b"."), (b"\xe0\x80\xae", b"."), (b"\xc0\xaf", b"/"), (b"\\", b"/"))


class UnjailedPaths:
    """Resolves paths as `MountTable` does, without what that is for.

    :param mounts: the user's mounts.
    """

    def __init__(self, mounts: tuple[Mount, ...]) -> None:
        self._mounts = sorted(mounts, key=lambda mount: -len(mount.path))
        self._buckets = {mount.bucket for mount in mounts}

    def resolve(self, path: bytes) -> Location:
        """The location that a path leads to. :raises InvalidPath: S3 has no such key"""
        bucket, names = self._absolute(_plain(path).split("/"))
        resolved: list[str] = []
        for name in names:
            if name == "..":
                del resolved[-1:]
            elif name not in ("", "."):
                resolved.append(name)
        if len("/".join(resolved).encode()) > MAX_KEY_BYTES:
            raise InvalidPath("S3 has no such key")
        mount = Mount(bucket, "", state_prefix="")
        return Location(mount, tuple(resolved), names_directory(path))

    def _absolute(self, names: list[str]) -> tuple[str, list[str]]:
        """The bucket and the names on the way from its top, as they are in the path."""
        if names[:2] == ["s3:", ""] and len(names) > 2 and names[2] in self._buckets:
            return names[2], names[3:]
        bucket, colon, first = names[0].partition(":")
        if colon and bucket in self._buckets:
            return bucket, [first, *names[1:]]
        given = tuple(name for name in names if name not in ("", "."))
        for mount in self._mounts:
            count = len(mount.path)
            if given[:count] == mount.path:
                return mount.bucket, [*mount.key_prefix.split("/"), *given[count:]]
        raise InvalidPath("there is no mount above this")

    def path_of(self, name: ObjectName) -> bytes:
        """A path of an object."""
        return f"{name.bucket}:/{name.key}".encode()


def _plain(path: bytes) -> str:
    """The text that a careless reader takes a path for."""
    for written, meant in _SAME:
        path = path.replace(written, meant)
    text = unquote(unquote(path.replace(b"\0", b"").decode("utf-8", "replace")))
    return unicodedata.normalize("NFKC", text)
