"""What users.ini says of one user: values that are judged, and the mounts made of them.

Knows: the tables of keys, and which mounts and paths do not go together.
Must not know: files, which sections there are, keys and hashes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

from sftpgw.config.ini_file import Key
from sftpgw.config.mount_lines import (
    MountLine,
    Path,
    PathSettings,
    longest_above,
    read_mount_line,
    with_rules,
)
from sftpgw.config.scalars.words import nearest
from sftpgw.config.user_layers import MOUNT, GivenValue
from sftpgw.model.bucket_names import name_in_gateway, name_in_store, store_of_bucket
from sftpgw.model.mounts import Mount
from sftpgw.model.object_settings import NO_OBJECT_SETTINGS, Encryption, ObjectSettings
from sftpgw.model.settings import Stores
from sftpgw.model.users import QuotaLimits

AT_FAULT = "at-fault/"
"""Stands for a prefix that was refused, so that it is one fault and no more."""

PLACES = ("key_prefix", MOUNT)
"""The keys of which each user needs one, to see anything."""

ROOT: Path = ()
PATH_FIELDS = ("permissions", "deny", "allow", "hides_denied")
OBJECT_FIELDS = tuple(each.name for each in fields(ObjectSettings))
QUOTA_FIELDS = ("quota_bytes", "quota_files")
OF_MOUNTS = frozenset((*OBJECT_FIELDS, *QUOTA_FIELDS))
"""What can be said of a mount, and not of a part of one."""

KMS_KEYS = ("sse_kms_key", "sse_bucket_key", "sse_kms_context")


@dataclass(slots=True)
class UserValues:
    """What is said of a user, judged.

    :ivar values: the values by field; what is blank or at fault is not among them.
    :ivar paths: the values that are said of paths other than the root, by path and field.
    :ivar mounts: the mount lines, with where they come from.
    :ivar given: what was written, by key and path.
    :ivar good: the keys as they were written, less those at fault.
    """

    values: dict[str, Any] = field(default_factory=dict)
    paths: dict[Path, dict[str, Any]] = field(default_factory=dict)
    mounts: list[tuple[MountLine, GivenValue]] = field(default_factory=list)
    given: dict[tuple[str, Path], GivenValue] = field(default_factory=dict)
    good: set[str] = field(default_factory=set)

    def take(self, given: GivenValue, keys: Mapping[str, Key]) -> bool:
        """Judge a value. Returns whether it is none at fault.

        :param given: the value.
        :param keys: the table of its key.
        """
        before = len(given.section.faults.lines)
        if given.key == MOUNT and MOUNT in keys and given.text:
            self._take_mount(given)
        else:
            value = given.section.value(given.key, given.text, keys, given.written)
            if value is not None:
                place = self.paths.setdefault(given.path, {}) if given.path else self.values
                place[keys[given.key].field] = value[0]
        self.given[given.key, given.path] = given
        return len(given.section.faults.lines) == before

    def _take_mount(self, given: GivenValue) -> None:
        try:
            self.mounts.append((read_mount_line(given.text, given.words), given))
        except ValueError as error:
            given.fault(error)


def judge_values(given: Iterable[GivenValue], keys: Mapping[str, Key]) -> UserValues:
    """What is said of a user. What is wrong is a fault.

    :param given: the values that apply.
    :param keys: the table of their keys.
    """
    said = UserValues()
    bad: set[str] = set()
    for each in given:
        (said.good.add if said.take(each, keys) else bad.add)(each.written)
    said.good -= bad
    return said


def mounts_of(said: UserValues, stores: Stores) -> tuple[Mount, ...]:
    """The mounts of a user, with what may be done in them. What does not fit is a fault.

    :param said: what is said of the user.
    :param stores: the settings of all stores.
    """
    lines = _lines(said)
    _add_home(lines, said, stores)
    mounts = [
        mount
        for line, origin in lines.values()
        if (mount := _mount(line, origin, stores)) is not None
    ]
    for (_, path), given in said.given.items():
        is_own = not given.section.name.startswith("*")
        if path and is_own and longest_above(path, lines) is None:
            given.fault("is about a path that is in none of the user's mounts")
        elif path and is_own and given.key in OF_MOUNTS and path not in lines:
            given.fault("is about a part of a mount; write the path of the mount itself")
    if any(key in OBJECT_FIELDS for key, _ in said.given):
        mounts = [replace(each, objects=_objects_of(each, said, stores)) for each in mounts]
        _judge_twins(mounts, lines, stores)
    return with_rules(mounts, _settings_of_paths(said, lines))


def quotas_of(said: UserValues, mounts: Iterable[Mount]) -> tuple[QuotaLimits, ...]:
    """How much a user may store; nothing if that is not limited.

    :param said: what is said of the user.
    :param mounts: the user's mounts.
    """
    paths = {mount.path for mount in mounts}
    found = []
    for path, place in [(ROOT, said.values), *said.paths.items()]:
        given = [place.get(name) for name in QUOTA_FIELDS]
        if any(name in place for name in QUOTA_FIELDS) and (not path or path in paths):
            found.append(QuotaLimits(path, *given))
    return tuple(found) if any(not each.is_off for each in found) else ()


def _objects_of(mount: Mount, said: UserValues, stores: Stores) -> ObjectSettings:
    """What is said of the objects of a mount: at its path, or at the root for all mounts."""
    store, found = stores.of(mount.bucket), NO_OBJECT_SETTINGS
    for path in dict.fromkeys((ROOT, mount.path)):
        place = said.paths.get(path, {}) if path else said.values
        given = {name: place[name] for name in OBJECT_FIELDS if name in place}
        found = ObjectSettings(**given).under(found)
        has_kms = found.under(store.objects).sse in (Encryption.KMS, Encryption.KMS_DSSE)
        for name in given:
            origin = said.given[name, path]
            if name in KMS_KEYS and not has_kms:
                origin.fault("is of no use without sse = kms or kms-dsse")
            elif name == "sse" and (store.sse_c_key_file or store.sse_c_key_env):
                origin.fault(f"cannot go together with the key of {store.section} (SSE-C)")
    return found


Lines = dict[Path, tuple[MountLine, GivenValue]]


def _judge_twins(mounts: list[Mount], lines: Lines, stores: Stores) -> None:
    """An object is stored in one way, by whatever path: two mounts of one prefix must agree."""
    first: dict[tuple[str, str], Mount] = {}
    for mount in mounts:
        twin = first.setdefault((mount.bucket, mount.key_prefix), mount)
        above = stores.of(mount.bucket).objects
        ways = [each.objects.under(above) for each in (twin, mount)]
        differing = [name for name in OBJECT_FIELDS if len({getattr(w, name) for w in ways}) > 1]
        if differing:
            lines[mount.path][1].fault(
                f"has the prefix that {path_text(twin.path)} has, too; {', '.join(differing)} must "
                f"be the same at {path_text(mount.path)}"
            )


def _lines(said: UserValues) -> Lines:
    """The mount lines that count, by path: of several for one path, the one of the last section."""
    lines: Lines = {}
    for line, origin in said.mounts:
        if line.path in lines and lines[line.path][1].layer == origin.layer:
            origin.fault(f"mounts {path_text(line.path)} again; keep one line for each path")
        else:
            lines[line.path] = line, origin
    return lines


def _add_home(lines: Lines, said: UserValues, stores: Stores) -> None:
    """Add the mount that ``key_prefix`` and ``bucket`` stand for, unless a later line has ``/``."""
    if "key_prefix" not in said.values:
        return
    origin = said.given["key_prefix", ROOT]
    known = lines.get(ROOT)
    if known is not None and known[1].layer >= origin.layer:
        if known[1].layer == origin.layer:
            known[1].fault("mounts /, and so does key_prefix; keep one of them")
        return
    bucket = said.values.get("bucket", stores.s3.bucket)
    store = store_of_bucket(bucket, stores.named)
    line = MountLine(ROOT, store, name_in_store(bucket, store), said.values["key_prefix"])
    lines[ROOT] = line, origin


def _mount(line: MountLine, origin: GivenValue, stores: Stores) -> Mount | None:
    if line.store and line.store not in stores.named:
        hint = nearest(line.store, stores.named)
        origin.fault(f"{line.store!r} is no store{hint}; there is no section [store {line.store}]")
        return None
    bucket = name_in_gateway(line.bucket, line.store)
    store = stores.of(bucket)
    if line.key_prefix.startswith(store.state_prefix):
        text = f"lies in {store.state_prefix}, the state_prefix of {store.section}; write another"
        origin.fault(text)
    return Mount(bucket, line.key_prefix, store.state_prefix, path=line.path)


def _settings_of_paths(said: UserValues, lines: Lines) -> dict[Path, PathSettings]:
    """What is said of paths. What a mount line grants counts as ``permissions`` of its path."""
    found = {
        path: {name: given[name] for name in PATH_FIELDS if name in given}
        for path, given in said.paths.items()
    }
    root = {name: said.values[name] for name in PATH_FIELDS if name in said.values}
    if root:
        found[ROOT] = root
    for path, (line, origin) in lines.items():
        other = said.given.get(("permissions", path))
        if line.permissions is None or (other is not None and other.layer > origin.layer):
            continue
        if other is not None and other.layer == origin.layer:
            origin.fault(f"grants permissions, and so does {other.written!r}; keep one of them")
        found.setdefault(path, {})["permissions"] = line.permissions
    return {path: PathSettings(**given) for path, given in found.items()}


def path_text(path: Path) -> str:
    """A path as one writes it.

    :param path: the names on the way from the root.
    """
    return "/" + "/".join(path)
