"""The mounts of a user, of the lines and keys of users.ini that say something of them.

Knows: how a ``mount`` line is written, and that a path has what the longest shorter path has, as
far as nothing is said of it.
Must not know: which section a value came from, or which users there are.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sftpgw.config.scalars.places import bucket_name, key_prefix, path_names
from sftpgw.config.scalars.user_rights import permissions
from sftpgw.model.mounts import AccessRule, Mount, Permission

Path = tuple[str, ...]
"""The names on the way from the user's root."""

RIGHT = "/shared s3://bucket/prefix/ list download"
_WORD = re.compile(r'"([^"]*)"|(\S+)')
_ARN = re.compile(r"(arn:[^/]*[:/][^/:]+)(?:/(.*))?", re.DOTALL)
_STORE = re.compile(r"([A-Za-z0-9_-]+):(?!//)(.*)", re.DOTALL)
_OWN_STORE = "s3://"


@dataclass(frozen=True, slots=True)
class MountLine:
    """A line of ``mount``.

    :ivar path: where the user sees the mount.
    :ivar store: the name of its store; empty for that of ``[s3]``.
    :ivar bucket: the bucket's name in that store.
    :ivar key_prefix: the prefix of its keys; empty, or ends with a slash.
    :ivar permissions: what the line grants; None if it names nothing.
    """

    path: Path
    store: str
    bucket: str
    key_prefix: str
    permissions: Permission | None = None


def mount_words(text: str) -> tuple[str, ...]:
    """The words of ``/shared s3://bucket/prefix/ list download``; one in quotes may have blanks.

    :param text: the line, as it is written.
    """
    return tuple(quoted or plain for quoted, plain in _WORD.findall(text))


def read_mount_line(text: str, words: Sequence[str]) -> MountLine:
    """The mount of a line.

    :param text: the line, for the error.
    :param words: its words, in which placeholders are replaced.
    :raises ValueError: it is none; says why.
    """
    if len(words) < 2:
        raise ValueError(f"{text!r} is not a mount; write {RIGHT}")
    path = path_names(words[0])
    store, bucket, prefix = _target(words[1])
    granted = permissions(" ".join(words[2:])) if len(words) > 2 else None
    return MountLine(path, store, bucket_name(bucket), key_prefix(prefix), granted)


def _target(text: str) -> tuple[str, str, str]:
    """Store, bucket and prefix of ``s3://bucket/prefix/`` or ``STORE:bucket/prefix/``."""
    store = ""
    rest = text.removeprefix(_OWN_STORE)
    if rest == text:
        found = _STORE.fullmatch(text)
        if found is None or found[1] == "arn":
            raise ValueError(f"{text!r} names no bucket; write s3://bucket/prefix/")
        store, rest = found.groups()
    arn = _ARN.fullmatch(rest)
    bucket, slash, prefix = (
        (arn[1], "/" if arn[2] is not None else "", arn[2] or "") if arn else rest.partition("/")
    )
    if not slash:
        raise ValueError(f"{text!r} has no prefix; write {text}/ for the whole bucket")
    return store, bucket, prefix


@dataclass(frozen=True, slots=True)
class PathSettings:
    """What is said of a path and all below; None for what is not said.

    :ivar permissions: what the user may do.
    :ivar deny: patterns of names that the user may not use.
    :ivar allow: patterns of the names of files that the user may use.
    :ivar hides_denied: whether listings leave out the names that are denied.
    """

    permissions: Permission | None = None
    deny: tuple[str, ...] | None = None
    allow: tuple[str, ...] | None = None
    hides_denied: bool | None = None


def with_rules(mounts: Iterable[Mount], said: Mapping[Path, PathSettings]) -> tuple[Mount, ...]:
    """The mounts, with what may be done in them.

    :param mounts: the mounts of one user.
    :param said: what users.ini says of paths.
    """
    mounts = tuple(mounts)
    granted = said[()].permissions if () in said else None
    if said.keys() <= {()} and (not said or said[()] == PathSettings(granted)):
        return (
            mounts
            if granted is None
            else tuple(replace(each, permissions=granted) for each in mounts)
        )
    paths = {mount.path for mount in mounts}
    return tuple(_with_rules(mount, paths, said) for mount in mounts)


def _with_rules(mount: Mount, mounts: set[Path], said: Mapping[Path, PathSettings]) -> Mount:
    inside = {path for path in said if longest_above(path, mounts) == mount.path} | {mount.path}
    rules = tuple(_rule(path, said) for path in sorted(inside, key=lambda path: (-len(path), path)))
    permissions = rules[-1].permissions
    is_plain = rules == (AccessRule(mount.path, permissions),)
    return replace(mount, permissions=permissions, rules=() if is_plain else rules)


def longest_above(path: Path, known: Iterable[Path]) -> Path | None:
    """The longest of some paths at which, or below which, a path is; None if there is none.

    :param path: the path.
    :param known: those to choose from.
    """
    return max((each for each in known if path[: len(each)] == each), key=len, default=None)


def _rule(path: Path, said: Mapping[Path, PathSettings]) -> AccessRule:
    """The complete rule of a path: each field is that of the longest path that has it."""
    fields: dict[str, Any] = {}
    for settings in _from_root(path, said):
        fields |= {
            name: value
            for name in ("permissions", "deny", "allow", "hides_denied")
            if (value := getattr(settings, name)) is not None
        }
    return AccessRule(path, **fields)


def _from_root(path: Path, said: Mapping[Path, PathSettings]) -> Iterator[PathSettings]:
    return (said[path[:end]] for end in range(len(path) + 1) if path[:end] in said)
