"""users.ini: a section for each user, ``[*]`` for what they have in common.

Knows: what may be said of a user, and which prefixes no user may have.
Must not know: how keys and hashes are judged.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from sftpgw.config import scalars
from sftpgw.config.exposure import warn_if_open_to_all
from sftpgw.config.ini_file import Faults, Section, read_sections
from sftpgw.config.tables import DEFAULT_KEYS, USER_KEYS
from sftpgw.model.mounts import ALL_PERMISSIONS, Mount
from sftpgw.model.normalization import normalized
from sftpgw.model.settings import Stores
from sftpgw.model.users import AuthorizedKey, LoginMethod, LoginRules, User

Check = Callable[[str], object]
"""Raises ValueError, in words for the person who wrote the file, if it does not like a value."""

ReadKey = Callable[[str], AuthorizedKey]
"""The key of a line of `authorized_keys`; raises ValueError as above."""

ALL_USERS = "*"
LONGEST_NAME = 128
AT_FAULT = "at-fault/"
"""Stands for a prefix that was refused, so that it is one fault and no more."""


def load_users(
    file: Path,
    stores: Stores,
    read_key: ReadKey,
    check_hash: Check,
    faults: Faults,
    *,
    has_authorities: bool = False,
) -> dict[str, User]:
    """The users by name. A user at fault is among them, with harmless values in its gaps.

    :param file: users.ini.
    :param stores: have the bucket of users without their own.
    :param read_key: reads a line of `authorized_keys`.
    :param check_hash: judges a `password_hash`.
    :param faults: takes the faults.
    :param has_authorities: a user may log in with a certificate, and needs no key or password.
    """
    sections = read_sections(file, faults)
    if sections is None:
        return {}
    defaults = _defaults(sections.pop(ALL_USERS, None))
    users = {}
    for name, section in sections.items():
        own = _named(replace(section, given={**defaults, **section.given}), name)
        values = own.values(USER_KEYS)
        _check_name(own)
        _check_prefix(own, values, stores)
        keys = _read_keys(own, values.get("authorized_keys", ()), read_key)
        _check_login(own, values, check_hash, has_authorities=has_authorities)
        users[name] = _user(name, values, keys, stores)
    _check_alike(sections)
    if not users:
        faults.add(file, "has no user; add a section [name] for each")
    secret_keys = ("password_hash", "totp_secret")
    if any(section.given.get(key) for section in sections.values() for key in secret_keys):
        warn_if_open_to_all(file, "password hashes", faults)
    return users


def _user(
    name: str, values: Mapping[str, Any], keys: Iterable[AuthorizedKey], stores: Stores
) -> User:
    bucket = values.get("bucket", stores.s3.bucket)
    home = Mount(
        bucket,
        values.get("key_prefix", ""),
        stores.of(bucket).state_prefix,
        values.get("permissions", ALL_PERMISSIONS),
    )
    login = LoginRules(
        {key.blob: key.options for key in keys if not key.is_authority},
        values.get("password_hash"),
        values.get("totp_secret"),
        values.get("require", ()),
        tuple(map(normalized, values.get("principals", ()))),
        is_disabled=values.get("is_disabled", False),
        authorities={key.blob: key.options for key in keys if key.is_authority},
    )
    return User(name, (home,), values.get("weight", 1), login)


def _defaults(all_users: Section | None) -> dict[str, str]:
    """What ``[*]`` gives, judged once for a harmless name: a bad default is one fault, not many."""
    if all_users is None:
        return {}
    trial = _named(all_users, "user")
    good = trial.values(DEFAULT_KEYS)
    defaults = {key: all_users.given[key] for key in good if trial.given[key] != AT_FAULT}
    if "key_prefix" in all_users.given:
        defaults.setdefault("key_prefix", AT_FAULT)
    return defaults


def _named(section: Section, name: str) -> Section:
    """`section` with ``{username}`` replaced where that is meant."""
    given: dict[str, str] = {}
    for key, text in section.given.items():
        try:
            is_template = key in DEFAULT_KEYS
            given[key] = (
                scalars.fill_placeholders(text, {"username": name}) if is_template else text
            )
        except ValueError as error:
            section.fault(key, error)
            if key == "key_prefix":
                given[key] = AT_FAULT
    return replace(section, given=given)


def _check_name(section: Section) -> None:
    name = section.name
    plain = name.isprintable() and "/" not in name and name == name.strip()
    if not plain or name in ("", ".", "..") or len(name) > LONGEST_NAME:
        text = "is not a user name; write 1 to 128 printable characters, no / and no outer blanks"
        section.fault("", text)


def _check_prefix(section: Section, values: Mapping[str, Any], stores: Stores) -> None:
    store = stores.of(values.get("bucket", ""))
    if "key_prefix" not in section.given:
        text = f"is missing; write one such as home/{section.name}/, or / for the whole bucket"
        section.fault("key_prefix", text)
    elif values.get("key_prefix", "").startswith(store.state_prefix):
        text = f"lies in {store.state_prefix}, the state_prefix of {store.section}; write another"
        section.fault("key_prefix", text)


def _check_alike(sections: Mapping[str, Section]) -> None:
    """Users whose names are the same characters in different bytes could not be told apart."""
    known: dict[str, str] = {}
    for name, section in sections.items():
        first = known.setdefault(unicodedata.normalize("NFC", name), name)
        if first != name:
            text = "is the same name as one above it, whose letters are put together otherwise"
            section.fault("", f"{text} (Unicode NFC and NFD); keep one")


def _read_keys(section: Section, lines: Iterable[str], read_key: ReadKey) -> list[AuthorizedKey]:
    keys: dict[tuple[bytes, bool], AuthorizedKey] = {}
    for number, line in enumerate(lines, start=1):
        try:
            key = read_key(line)
            if keys.setdefault((key.blob, key.is_authority), key) != key:
                raise ValueError("the key stands there twice, with other options; keep one")
        except ValueError as error:
            section.fault("authorized_keys", f"key {number}{_line_of(section, line)}: {error}")
    return list(keys.values())


def _line_of(section: Section, wanted: str) -> str:
    """Where the file has the line `wanted` of a section, as far as it can be found."""
    try:
        text = section.file.read_text("utf-8-sig")
    except (OSError, UnicodeDecodeError):  # it has been read once, and has changed since
        return ""
    is_inside = False
    for number, line in enumerate(text.split("\n"), start=1):
        is_inside = line.startswith(f"[{section.name}]") or (is_inside and not line.startswith("["))
        if is_inside and line.strip().removeprefix("authorized_keys").strip(" \t=") == wanted:
            return f" (line {number})"
    return ""


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
