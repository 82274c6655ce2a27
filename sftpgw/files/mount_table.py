"""The mounts of a user, as one tree: which mount a path leads to.

Knows: all mounts of a user, and the paths at which they lie.
Must not know: what is stored, or what the user may do.

Rules

1. The mount with the longest path wins. So a mount hides all keys of an outer mount that have its
   path: no path reaches them.
2. A directory above a mount exists, whatever is stored. If no mount is there, it is *unmounted*:
   it shows the next names on the way to mounts, and nothing can be stored in it.
3. A drop box is a path that has a rule of its own, which lets the user upload and see nothing. It
   exists like a mount, since the user has no way to find out whether it was made.
4. Mounts, drop boxes and the directories above them are *fixed* (`Location.is_fixed`): they cannot
   be removed, renamed or replaced. So a directory that is renamed or removed has no mount in it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import TypeAlias

from sftpgw.files.paths import Location, canonical, located, names_below, names_directory
from sftpgw.model.mounts import Mount, Permission
from sftpgw.model.store import ObjectName

Path: TypeAlias = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Unmounted:
    """A path that is in none of the mounts.

    :ivar segments: the names on the way from the user's root.
    :ivar names: the next names on the way to mounts; none where there is nothing.
    """

    segments: Path
    names: Path

    @property
    def path(self) -> str:
        """The absolute path, for clients and messages."""
        return "/" + "/".join(self.segments)


class MountTable:
    """Resolves the paths of one user.

    :param mounts: the user's mounts, no two at the same path.
    """

    def __init__(self, mounts: Iterable[Mount]) -> None:
        mounts = tuple(mounts)
        self._paths = tuple(mount.path for mount in mounts)
        self._by_path = {
            mount.path: replace(mount, fixed=_fixed_inside(mount, self._paths)) for mount in mounts
        }
        self._deepest = max(map(len, self._paths))

    def resolve(self, path: bytes) -> Location | Unmounted:
        """The location that a path leads to.

        :param path: the path as the client sent it.
        :raises InvalidPath: the path is malformed, or its key would be too long.
        :raises PermissionDenied: the key belongs to the gateway.
        """
        segments = canonical(path)
        for count in range(min(self._deepest, len(segments)), -1, -1):
            mount = self._by_path.get(segments[:count])
            if mount is not None:
                must_be_directory = names_directory(path)
                return located(mount, segments[count:], must_be_directory=must_be_directory)
        return Unmounted(segments, names_below(segments, self._paths))

    def path_of(self, name: ObjectName) -> bytes | None:
        """A path of an object; None if the user has none to it."""
        for mount in self._by_path.values():
            path = mount.path_of(name)
            if path is not None and (len(self._by_path) == 1 or self._leads_to(path, mount)):
                return path
        return None

    def _leads_to(self, path: bytes, mount: Mount) -> bool:
        """Whether a path of a mount is not hidden by another mount."""
        segments = tuple(path.decode("utf-8").split("/")[1:])
        counts = range(len(mount.path) + 1, min(self._deepest, len(segments)) + 1)
        return not any(segments[:count] in self._by_path for count in counts)


def _fixed_inside(mount: Mount, paths: Iterable[Path]) -> tuple[Path, ...]:
    """`Mount.fixed` of one mount (rules 3 and 4).

    :param mount: the mount.
    :param paths: those of all mounts.
    """
    drop_boxes = [
        rule.path for rule in mount.rules if rule.is_blind and Permission.UPLOAD in rule.permissions
    ]
    count = len(mount.path)
    inside = {path for path in (*paths, *drop_boxes) if path[:count] == mount.path != path}
    return tuple(sorted(inside))
