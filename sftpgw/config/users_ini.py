"""users.ini: a section for each user, ``[*]`` and ``[*GROUP]`` for what they have in common.

Knows: what may be said of a user, and which prefixes no user may have.
Must not know: how keys and hashes are judged.

There may be one file, or a directory of them. Sections of all files count alike.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path
from typing import Any

from sftpgw.config import scalars
from sftpgw.config.exposure import warn_if_open_to_all
from sftpgw.config.ini_file import Faults, Section, read_sections
from sftpgw.config.stores import check_bucket
from sftpgw.config.tables import DEFAULT_KEYS, USER_KEYS
from sftpgw.config.user_layers import MOUNT, GivenValue, applicable
from sftpgw.config.user_values import AT_FAULT, PLACES, judge_values, mounts_of
from sftpgw.errors import ConfigError
from sftpgw.model.mounts import Mount
from sftpgw.model.normalization import normalized
from sftpgw.model.settings import Stores, StoreSettings
from sftpgw.model.users import (
    NO_KEYS,
    AuthorizedKey,
    LoginMethod,
    LoginRules,
    User,
    UserLimits,
    is_user_name,
)

Check = Callable[[str], object]
"""Raises ValueError, in words for the person who wrote the file, if it does not like a value."""

ReadKey = Callable[[str], AuthorizedKey]
"""The key of a line of `authorized_keys`; raises ValueError as above."""

ALL_USERS = "*"
KEYS = "authorized_keys"
LOGIN_FIELDS = tuple(each.name for each in fields(LoginRules))
LIMIT_FIELDS = tuple(each.name for each in fields(UserLimits))
NO_LIMITS = UserLimits()


@dataclass(frozen=True, slots=True)
class UserRules:
    """What users.ini is judged by.

    :ivar stores: the settings of all stores.
    :ivar read_key: reads one line of `authorized_keys`.
    :ivar check_hash: judges a `password_hash`; must not repeat it in its message.
    :ivar bucket_check: what judges, for these settings of the store, whether a bucket can be
        addressed.
    :ivar has_authorities: a user may log in with a certificate, and needs no key or password.
    """

    stores: Stores
    read_key: ReadKey
    check_hash: Check
    bucket_check: Callable[[StoreSettings], Check] = lambda store: str
    has_authorities: bool = False


def load_users(path: Path, rules: UserRules, faults: Faults) -> dict[str, User]:
    """The users by name. A user at fault is among them, with harmless values in its gaps.

    :param path: the file or directory.
    :param rules: what the file is judged by.
    :param faults: takes what is wrong.
    """
    sections = read_user_sections(path, faults)
    if sections is None:
        return {}
    common = {name: _without_faults(each) for name, each in sections.items() if is_common(name)}
    own = {name: section for name, section in sections.items() if not is_common(name)}
    users = {name: _user(name, layers_of(name, {**common, name: own[name]}), rules) for name in own}
    _check_alike(own)
    if not users:
        faults.add(path, "has no user; add a section [name] for each")
    for file in dict.fromkeys(each.file for each in own.values() if _has_secret(each)):
        warn_if_open_to_all(file, "password hashes", faults)
    _check_buckets(users, own, rules)
    return users


class GivenUsers:
    """Makes users of what another source than users.ini says of them.

    ``[*]`` and the groups of users.ini count for them, too. If the source says where the files of a
    user are, what these say of places does not count.

    :param path: the file or directory of ``[gateway] users``; None if no file is a source.
    :param rules: what users are judged by.
    :param allowed_buckets: patterns of the buckets that they may have; empty for all.
    """

    def __init__(
        self, path: Path | None, rules: UserRules, allowed_buckets: tuple[str, ...]
    ) -> None:
        sections = (read_user_sections(path, Faults()) or {}) if path else {}
        self._common = {name: each for name, each in sections.items() if is_common(name)}
        # A source may verify passwords itself, so that no proof has to be at hand.
        self._rules = replace(rules, has_authorities=True)
        self._allowed_buckets = allowed_buckets

    def make(
        self, name: str, given: Mapping[str, str], source: str, groups: Sequence[str] = ()
    ) -> User:
        """The user.

        :param name: the user's name.
        :param given: what the source says: keys of users.ini, with their texts.
        :param source: the name of the source.
        :param groups: groups of the source. Those count that users.ini has, before those that
            `given` names, in the order in which users.ini has them.
        :raises ConfigError: it makes no sense; has every fault.
        """
        faults = Faults()
        counted = [each[1:] for each in self._common if each[1:] in groups]
        if counted:
            given = {**given, "groups": "\n".join((*counted, given.get("groups", "")))}
        common = {
            each: replace(section, given=self._inherited(section, given), faults=faults)
            for each, section in self._common.items()
        }
        own = Section(Path(source), name, given, faults)
        user = replace(
            _user(name, layers_of(name, {**common, name: own}), self._rules), source=source
        )
        _check_buckets({name: user}, {name: own}, self._rules)
        for mount in user.mounts:
            if not mount.bucket:
                own.fault("bucket", "is missing; name a bucket, here or in [s3]")
            allowed = self._allowed_buckets
            if allowed and not any(fnmatchcase(mount.bucket, pattern) for pattern in allowed):
                own.fault("", f"has the bucket {mount.bucket!r}: [auth] allowed_buckets denies it")
        if faults.lines:
            raise ConfigError(tuple(faults.lines))
        return user

    def _inherited(self, section: Section, given: Mapping[str, str]) -> dict[str, str]:
        has_places = any(key in given for key in PLACES)
        return {
            key: text for key, text in section.given.items() if not (has_places and key in PLACES)
        }


def _check_buckets(
    users: Mapping[str, User], sections: Mapping[str, Section], rules: UserRules
) -> None:
    """Buckets of users that no request can be sent to; each is one fault, of its first user."""
    found: dict[str, tuple[str, str]] = {}
    for user in users.values():
        for mount in user.mounts:
            found.setdefault(mount.bucket, (user.name, MOUNT if mount.path else "bucket"))
    check_of = cache(rules.bucket_check)
    for bucket, (name, key) in found.items():
        if bucket and bucket != rules.stores.s3.bucket:
            try:
                check_bucket(bucket, rules.stores, check_of)
            except ValueError as error:
                sections[name].fault(key, error)


def _has_secret(section: Section) -> bool:
    return any(section.given.get(key) for key in ("password_hash", "totp_secret"))


def read_user_sections(path: Path, faults: Faults) -> dict[str, Section] | None:
    """The sections of all users files by name; None if one cannot be read at all.

    :param path: the file or directory.
    :param faults: takes what is wrong, such as a section that is in two files.
    """
    if not path.is_dir():
        return read_sections(path, faults)
    found: dict[str, Section] = {}
    is_complete = True
    for file in user_files(path):
        sections = read_sections(file, faults)
        is_complete = is_complete and sections is not None
        for name, section in (sections or {}).items():
            first = found.setdefault(name, section)
            if first is not section:
                section.fault("", f"is in {first.file}, too; keep one")
    return found if is_complete else None


def user_files(path: Path) -> list[Path]:
    """The files that `path` stands for: itself, or the files ``*.ini`` in it, in their order.

    :param path: the file or directory of ``[gateway] users``.
    """
    if not path.is_dir():
        return [path]
    return sorted(each for each in path.glob("*.ini") if not each.name.startswith("."))


def is_common(section_name: str) -> bool:
    """Whether a section is not that of a user, but ``*`` or that of a group.

    :param section_name: the name of the section.
    """
    return section_name.startswith(ALL_USERS)


def layers_of(name: str, sections: Mapping[str, Section]) -> list[Section]:
    """The sections that apply to a user, the one that wins last. An unknown group is a fault.

    :param name: the user's name.
    :param sections: the sections by name: the user's own, and those in common.
    """
    own = sections[name]
    found = [sections[ALL_USERS]] if ALL_USERS in sections else []
    for group in dict.fromkeys(scalars.names(own.given.get("groups", ""))):
        section = sections.get(f"{ALL_USERS}{group}")
        if section is None:
            known = [each[1:] for each in sections if is_common(each) and each != ALL_USERS]
            hint = scalars.nearest(group, known)
            own.fault("groups", f"{group!r} is unknown{hint}; there is no section [*{group}]")
        else:
            found.append(section)
    return [*found, own]


def explain_user(path: Path, name: str, faults: Faults) -> list[GivenValue]:
    """What applies to a user after groups and defaults, and where each value came from.

    :param path: the file or directory of ``[gateway] users``.
    :param name: the user's name.
    :param faults: takes what is wrong.
    :returns: the values; none if there is no such user. What no section says has its default.
    """
    sections = read_user_sections(path, faults) or {}
    if name not in sections or is_common(name):
        return []
    return applicable(layers_of(name, sections), name)


def _without_faults(section: Section) -> Section:
    """``[*]`` or a group, judged once for a harmless name: a bad value is one fault, not many."""
    said = judge_values(applicable([section], "user"), DEFAULT_KEYS)
    given = {key: text for key, text in section.given.items() if key in said.good}
    if "key_prefix" in section.given:
        given.setdefault("key_prefix", AT_FAULT)
    return replace(section, given=given)


def _user(name: str, layers: list[Section], rules: UserRules) -> User:
    own = layers[-1]
    said = judge_values(applicable(layers, name), USER_KEYS)
    _check_name(own)
    mounts = mounts_of(said, rules.stores)
    if not mounts and not any(key in each.given for each in layers for key in PLACES):
        text = f"is missing; write one such as home/{name}/, or / for the whole bucket"
        own.fault("key_prefix", text)
    keys = _read_keys(own, rules.read_key)
    _check_login(own, said.values, rules.check_hash, has_authorities=rules.has_authorities)
    values = {
        **said.values,
        "principals": tuple(map(normalized, said.values.get("principals", ()))),
        "authorized_keys": {key.blob: key.options for key in keys if not key.is_authority},
        "authorities": {key.blob: key.options for key in keys if key.is_authority} or NO_KEYS,
    }
    return User(
        name,
        mounts or (Mount(rules.stores.s3.bucket, AT_FAULT),),
        values.get("weight", 1),
        LoginRules(**_of_fields(LOGIN_FIELDS, values)),
        _limits(_of_fields(LIMIT_FIELDS, values)),
    )


def _of_fields(names: Iterable[str], values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: values[name] for name in names if name in values}


def _limits(given: Mapping[str, Any]) -> UserLimits:
    return UserLimits(**given) if given else NO_LIMITS


def _check_name(section: Section) -> None:
    if not is_user_name(section.name):
        text = "is not a user name; write 1 to 128 printable characters, no / and no outer blanks"
        section.fault("", text)


def _check_alike(sections: Mapping[str, Section]) -> None:
    """Users whose names are the same characters in different bytes could not be told apart."""
    known: dict[str, str] = {}
    for name, section in sections.items():
        first = known.setdefault(unicodedata.normalize("NFC", name), name)
        if first != name:
            text = "is the same name as one above it, whose letters are put together otherwise"
            section.fault("", f"{text} (Unicode NFC and NFD); keep one")


def _read_keys(section: Section, read_key: ReadKey) -> list[AuthorizedKey]:
    keys: dict[tuple[bytes, bool], AuthorizedKey] = {}
    number = 0
    for index, line in enumerate(section.given.get(KEYS, "").split("\n")):
        if not line:
            continue
        number += 1
        try:
            key = read_key(line)
            if keys.setdefault((key.blob, key.is_authority), key) != key:
                raise ValueError("the key stands there twice, with other options; keep one")
        except ValueError as error:
            section.fault(KEYS, f"key {number}: {error}", index)
    return list(keys.values())


def _check_login(
    section: Section, values: Mapping[str, Any], check_hash: Check, *, has_authorities: bool
) -> None:
    if "password_hash" in values:
        try:
            check_hash(values["password_hash"])
        except ValueError as error:
            section.fault("password_hash", error)
    _check_require(section, values, has_authorities=has_authorities)


SOURCES = {
    LoginMethod.PUBLICKEY: "authorized_keys",
    LoginMethod.PASSWORD: "password_hash",
    LoginMethod.TOTP: "totp_secret",
}
"""The key of users.ini by which a user can give each proof."""


def _check_require(section: Section, values: Mapping[str, Any], *, has_authorities: bool) -> None:
    """Find a user who cannot log in, whatever they prove. One who is disabled need not."""
    require: Iterable[Iterable[LoginMethod]] = values.get("require", ())
    has = {method for method, key in SOURCES.items() if section.given.get(key)}
    if has_authorities:
        has.add(LoginMethod.PUBLICKEY)
    if values.get("is_disabled") or any(set(series) <= has for series in require):
        return
    if not has - {LoginMethod.TOTP}:
        section.fault("", "cannot log in; give authorized_keys or password_hash")
    elif require:
        lacking = {method for series in require for method in series} - has
        keys = " or ".join(key for method, key in SOURCES.items() if method in lacking)
        text = f"asks for what the user does not have; give {keys}, or another require"
        section.fault("require", text)
