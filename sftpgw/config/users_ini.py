"""users.ini: a section for each user, ``[*]`` and ``[*GROUP]`` for what they have in common.

Knows: what may be said of a user, and which prefixes no user may have.
Must not know: how keys and hashes are judged.

There may be one file, or a directory of them. Sections of all files count alike.
"""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import cache
from hashlib import blake2b
from pathlib import Path
from typing import Any

from sftpgw.config.ini_file import Faults, FileText, Section, read_text, section_steps
from sftpgw.config.scalars import words
from sftpgw.config.stores import check_bucket
from sftpgw.config.tables import DEFAULT_KEYS, USER_KEYS
from sftpgw.config.user_layers import MOUNT, PRINCIPALS, GivenValue, applicable
from sftpgw.config.user_values import (
    AT_FAULT,
    PLACES,
    UserValues,
    judge_values,
    mounts_of,
    quotas_of,
)
from sftpgw.model.mounts import Mount
from sftpgw.model.normalization import normalized
from sftpgw.model.settings import Stores, StoreSettings
from sftpgw.model.steps import Steps, finish
from sftpgw.model.users import (
    NO_KEYS,
    AssumedRole,
    AuthorizedKey,
    LoginMethod,
    LoginRules,
    QuotaLimits,
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
STEP_KEYS = 16
"""After so many keys of one user something else may be done. Each takes 50 us."""

DIGEST_BYTES = 16
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
    :ivar role_check: judges whether a user's sessions can have credentials of their own; raises
        ValueError as a `Check`.
    """

    stores: Stores
    read_key: ReadKey
    check_hash: Check
    bucket_check: Callable[[StoreSettings], Check] = lambda store: str
    has_authorities: bool = False
    role_check: Callable[[User], None] = lambda user: None


@dataclass(slots=True)
class ReadUsers:
    """What the files of users say.

    :ivar users: the users by name. One at fault is among them, with harmless values in its gaps.
    :ivar digests: by name, a digest of all that was said of the user.
    :ivar common: ``[*]`` and the groups by their section's name, less what is at fault.
    :ivar secret_files: the files that hold password hashes or secrets for one-time codes.
    :ivar needs_bucket: whether a user has no bucket but that of ``[s3]``.
    """

    users: dict[str, User] = field(default_factory=dict)
    digests: dict[str, bytes] = field(default_factory=dict)
    common: dict[str, Section] = field(default_factory=dict)
    secret_files: set[Path] = field(default_factory=set)
    needs_bucket: bool = False


NOTHING_READ = ReadUsers()


def user_steps(
    texts: Sequence[FileText], rules: UserRules, faults: Faults, before: ReadUsers = NOTHING_READ
) -> Steps[ReadUsers | None]:
    """The users of some files; None if one of the files cannot be read at all.

    A step reads a few lines, or judges one user or a few keys. Of whom the same is said as before
    is the same `User`, and costs next to nothing.

    :param texts: what the files say; one at least.
    :param rules: what they are judged by.
    :param faults: takes what is wrong.
    :param before: what they said before, by the same rules, without a fault.
    """
    sections = yield from all_section_steps(texts, faults)
    if sections is None:
        return None
    read = ReadUsers()
    for name in [each for each in sections if is_common(each)]:
        read.common[name] = _without_faults(sections.pop(name))
        yield
    common_digests = {name: _digest_of(each) for name, each in read.common.items()}
    buckets = BucketChecks(rules)
    spellings: dict[str, str] = {}
    for name in list(sections):
        own = sections.pop(name)  # so that not all of it is in memory twice
        layers = layers_of(own, read.common)
        digest = _digest_of(own, [common_digests[each.name] for each in layers[:-1]])
        known = before.users[name] if before.digests.get(name) == digest else None
        user = known or (yield from made_user(layers, rules))
        _check_alike(own, spellings)
        buckets.add(user, own)
        read.users[name], read.digests[name] = user, digest
        read.needs_bucket |= any(not mount.bucket for mount in user.mounts)
        if _has_secret(own):
            read.secret_files.add(own.file)
        yield
    yield from buckets.judge()
    return read


def _digest_of(section: Section, more: Iterable[bytes] = ()) -> bytes:
    """A digest of what a section says, and of the digests of others."""
    said = repr((section.name, tuple(section.given.items()))).encode("utf-8", "surrogatepass")
    return blake2b(said + b"".join(more), digest_size=DIGEST_BYTES).digest()


class BucketChecks:
    """Finds buckets that no request can be sent to; each is one fault, of its first user.

    :param rules: know which can be addressed.
    """

    def __init__(self, rules: UserRules) -> None:
        self._rules = rules
        self._found: dict[str, tuple[Section, str]] = {}

    def add(self, user: User, section: Section) -> None:
        """Note the buckets of a user.

        :param user: the user.
        :param section: takes the faults.
        """
        for mount in user.mounts:
            if mount.bucket not in self._found:
                self._found[mount.bucket] = section, MOUNT if mount.path else "bucket"

    def judge(self) -> Steps[None]:
        """Judge them; a step for each."""
        rules = self._rules
        check_of = cache(rules.bucket_check)
        for bucket, (section, key) in self._found.items():
            if bucket and bucket != rules.stores.s3.bucket:
                try:
                    check_bucket(bucket, rules.stores, check_of)
                except ValueError as error:
                    section.fault(key, error)
                yield


def _has_secret(section: Section) -> bool:
    return any(section.given.get(key) for key in ("password_hash", "totp_secret"))


def read_user_sections(path: Path, faults: Faults) -> dict[str, Section] | None:
    """The sections of all files of users by name; None if one cannot be read at all. Blocks.

    :param path: the file or directory.
    :param faults: takes what is wrong, such as a section that is in two files.
    """
    return finish(all_section_steps([read_text(each) for each in user_files(path)], faults))


def all_section_steps(
    texts: Iterable[FileText], faults: Faults
) -> Steps[dict[str, Section] | None]:
    """The sections of several files by name; None if one of the files cannot be read at all.

    :param texts: what the files say.
    :param faults: takes what is wrong, such as a section that is in two files.
    """
    found: dict[str, Section] = {}
    is_complete = True
    for text in texts:
        sections = yield from section_steps(text, faults)
        is_complete = is_complete and sections is not None
        for name, section in (sections or {}).items():
            first = found.setdefault(name, section)
            if first is not section:
                section.fault("", f"is in {first.file}, too; keep one")
        yield
    return found if is_complete else None


def user_files(path: Path) -> list[Path]:
    """The files that `path` stands for: itself, or the files ``*.ini`` in it, in their order.

    :param path: the file or directory of ``[gateway] users``.
    """
    try:
        found = os.listdir(path)
    except OSError:  # a file, or a directory that cannot be read, which `read_text` will tell
        return [path]
    names = sorted(name for name in found if name.endswith(".ini"))
    return [path / name for name in names if not name.startswith(".")]


def is_common(section_name: str) -> bool:
    """Whether a section is not that of a user, but ``*`` or that of a group.

    :param section_name: the name of the section.
    """
    return section_name.startswith(ALL_USERS)


def layers_of(own: Section, common: Mapping[str, Section]) -> list[Section]:
    """The sections that apply to a user, the one that wins last. An unknown group is a fault.

    :param own: the user's own section.
    :param common: ``[*]`` and the groups; there may be other sections among them.
    """
    found = [common[ALL_USERS]] if ALL_USERS in common else []
    for group in dict.fromkeys(words.names(own.given.get("groups", ""))):
        section = common.get(f"{ALL_USERS}{group}")
        if section is None:
            known = [each[1:] for each in common if is_common(each) and each != ALL_USERS]
            hint = words.nearest(group, known)
            own.fault("groups", f"{group!r} is unknown{hint}; there is no section [*{group}]")
        else:
            found.append(section)
    return [*found, own]


def explain_user(sections: Mapping[str, Section], name: str) -> list[GivenValue]:
    """What applies to a user after groups and defaults, and where each value came from.

    :param sections: the sections of users by name, with ``[*]`` and those of groups.
    :param name: the user's name.
    :returns: the values; none if there is no such user. What no section says has its default.
    """
    if name not in sections or is_common(name):
        return []
    return applicable(layers_of(sections[name], sections), name)


def _without_faults(section: Section) -> Section:
    """``[*]`` or a group, judged once for a harmless name: a bad value is one fault, not many."""
    said = judge_values(applicable([section], "user"), DEFAULT_KEYS)
    given = {key: text for key, text in section.given.items() if key in said.good}
    if "key_prefix" in section.given:
        given.setdefault("key_prefix", AT_FAULT)
    return replace(section, given=given)


def made_user(layers: Sequence[Section], rules: UserRules) -> Steps[User]:
    """A user. What is wrong is a fault, and has a harmless value.

    :param layers: the sections that apply, the user's own last.
    :param rules: what they are judged by.
    """
    own = layers[-1]
    name = own.name
    said = judge_values(applicable(layers, name), USER_KEYS)
    _check_name(own)
    mounts = mounts_of(said, rules.stores)
    if not mounts and not any(key in each.given for each in layers for key in PLACES):
        text = f"is missing; write one such as home/{name}/, or / for the whole bucket"
        own.fault("key_prefix", text)
    keys = yield from _key_steps(own, rules.read_key)
    _check_login(own, said.values, rules.check_hash, has_authorities=rules.has_authorities)
    values = {
        **said.values,
        "principals": _principals_of(said),
        "authorized_keys": {key.blob: key.options for key in keys if not key.is_authority},
        "authorities": {key.blob: key.options for key in keys if key.is_authority} or NO_KEYS,
    }
    user = User(
        name,
        mounts or (Mount(rules.stores.s3.bucket, AT_FAULT),),
        values.get("weight", 1),
        LoginRules(**_of_fields(LOGIN_FIELDS, values)),
        _limits(_of_fields(LIMIT_FIELDS, values), quotas_of(said, mounts)),
        role=AssumedRole(values["role_arn"]) if "role_arn" in values else None,
    )
    _check_role(user, own, rules)
    return user


def _principals_of(said: UserValues) -> tuple[str, ...]:
    given = said.given.get((PRINCIPALS, ()))
    return tuple(map(normalized, given.words)) if given is not None else ()


def _check_role(user: User, section: Section, rules: UserRules) -> None:
    """Find a user whose sessions could not have credentials of their own."""
    if any(store.scoped_credentials for store in rules.stores.all):
        try:
            rules.role_check(user)
        except ValueError as error:
            section.fault("", error)
    elif user.role is not None:
        section.fault("role_arn", "is of no use without scoped_credentials = yes")


def _of_fields(names: Iterable[str], values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: values[name] for name in names if name in values}


def _limits(given: Mapping[str, Any], quotas: tuple[QuotaLimits, ...]) -> UserLimits:
    return UserLimits(**given, quotas=quotas) if given or quotas else NO_LIMITS


def _check_name(section: Section) -> None:
    if not is_user_name(section.name):
        text = "is not a user name; write 1 to 128 printable characters, no / and no outer blanks"
        section.fault("", text)


def _check_alike(section: Section, known: dict[str, str]) -> None:
    """Users whose names are the same characters in different bytes could not be told apart."""
    name = section.name
    first = known.setdefault(unicodedata.normalize("NFC", name), name)
    if first != name:
        text = "is the same name as one above it, whose letters are put together otherwise"
        section.fault("", f"{text} (Unicode NFC and NFD); keep one")


def _key_steps(section: Section, read_key: ReadKey) -> Steps[list[AuthorizedKey]]:
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
        if number % STEP_KEYS == 0:
            yield
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
