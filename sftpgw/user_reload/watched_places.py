"""Where a change of a file shows: the directories in which its names stand.

Knows: symbolic links, and which file systems tell of all changes.
Must not know: how changes are told, or what the files are for.

A file may be replaced by another one of its name, as editors do, and so may each symbolic link on
the way to it: Kubernetes exchanges ``..data``, a link in the directory of the volume.
"""

from __future__ import annotations

import os
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

Places = Mapping[str, frozenset[str] | None]
"""Directories without symbolic links in their path, and which names count there; None for all."""

MAX_LINKS = 40
"""As many links as Linux follows for one path (path_resolution(7))."""

MAX_DIRECTORIES = 64
"""A user of the machine may have 8,192 watches or more (inotify(7)), for all programs."""

REMOTE = re.compile(
    r"9p|afs|ceph|cifs|fuse.*|gfs2|gluster.*|lustre|ncpfs|nfs.*|ocfs2|smb.*|vboxsf|virtiofs|vmhgfs"
)
"""File systems that other machines change without a word to this one, as ``/proc/self/mounts``
names them."""

MOUNTS = Path("/proc/self/mounts")
_ESCAPED = re.compile(r"\\([0-7]{3})")


def places_of(paths: Iterable[Path], folder: Path | None) -> Places:
    """The directories in which a change of some files shows. Blocks.

    :param paths: the files.
    :param folder: a directory in which every name counts; None for none.
    """
    names: defaultdict[str, set[str]] = defaultdict(set)
    parents: dict[Path, str] = {}
    for path in paths:
        if path.parent not in parents:
            *links, (above, name) = names_on_the_way(path.parent / "x")
            parents[path.parent] = above
            for directory, link in links:
                names[directory].add(link)
        real = parents[path.parent]
        names[real].add(path.name)
        if os.path.islink(os.path.join(real, path.name)):
            for directory, name in names_on_the_way(Path(real) / path.name):
                names[directory].add(name)
    places: dict[str, frozenset[str] | None] = {
        directory: frozenset(found) for directory, found in names.items()
    }
    if folder is not None:
        *links, (real, _) = names_on_the_way(folder / "x")
        for directory, link in links:
            places[directory] = frozenset({*(places.get(directory) or ()), link})
        places[real] = None
    return places


def names_on_the_way(path: Path) -> Iterator[tuple[str, str]]:
    """The directory and name of each symbolic link on the way to a file, and last its own.

    :param path: the file; it need not exist.
    """
    base = "/"
    left = list(reversed(os.path.abspath(path).split("/")))
    links = 0
    while left:
        name = left.pop()
        if name == "..":
            base = os.path.dirname(base)
        elif name not in ("", "."):
            place = os.path.join(base, name)
            target = _target_of(place) if links < MAX_LINKS else None
            if target is None:
                base = place
                continue
            links += 1
            yield base, name
            left += reversed(target.split("/"))
            base = "/" if target.startswith("/") else base
    yield os.path.dirname(base), os.path.basename(base)


def _target_of(place: str) -> str | None:
    try:
        return os.readlink(place)
    except OSError:
        return None


def tell_all_changes(places: Places, mounts: Path = MOUNTS) -> bool:
    """Whether the kernel of this machine sees each change in these directories. Blocks.

    :param places: the directories.
    :param mounts: the table of mounts.
    """
    try:
        lines = mounts.read_text("utf-8", "surrogateescape").splitlines()
    except OSError:
        return False
    kinds: dict[str, str] = {}
    for line in lines:
        _, point, kind, *_ = line.split(" ")
        kinds[_ESCAPED.sub(lambda found: chr(int(found[1], 8)), point)] = kind
    found = [kinds.get(_mount_point(place, kinds), "") for place in places]
    return all(kind and not REMOTE.fullmatch(kind) for kind in found)


def _mount_point(directory: str, known: Mapping[str, str]) -> str:
    while directory not in known and directory != "/":
        directory = os.path.dirname(directory)
    return directory
