"""What an entry of an LDAP directory says of a user.

Knows: which attributes are read, and which keys of users.ini they become.
Must not know: how entries are found, or what the keys mean.

Rules

1. The entry must have the very name that was asked, letter by letter. Directories ignore case and
   blanks: without this rule one person could log in by many names, each with other files.
2. A user is disabled if an administrator has locked the entry for ever
   (``pwdAccountLockedTime = 000001010000Z``), or has disabled it (``nsAccountLock``,
   ``userAccountControl``). What wrong passwords have locked concerns passwords only: the server
   refuses them.
3. ``shadowExpire`` and ``accountExpires`` become ``expires``.
4. Groups have the names that ``ldap_groups`` gives them, or their own. Which of them users.ini has
   is not known here.

Sources

- shadow(5); https://datatracker.ietf.org/doc/html/draft-behera-ldap-password-policy
- https://learn.microsoft.com/en-us/windows/win32/adschema/a-accountexpires
- https://learn.microsoft.com/en-us/windows/win32/adschema/a-useraccountcontrol
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta

from sftpgw.auth.sources.questions import GivenUser
from sftpgw.errors import BadAnswer
from sftpgw.model.normalization import normalized
from sftpgw.model.settings import AuthSettings
from sftpgw.wire.ldap import LdapEntry
from sftpgw.wire.ldap_names import comparable, folded, lies_below, read_name

MAX_KEYS = 100
"""How many public keys an entry may have."""

MAX_GROUPS = 500
"""How many groups a user may be in."""

LOCKED_FOR_EVER = b"000001010000Z"
ACCOUNT_DISABLED = 2
"""The flag of ``userAccountControl``."""

OF_ACCOUNTS = (
    *("pwdAccountLockedTime", "nsAccountLock", "userAccountControl"),
    *("shadowExpire", "accountExpires"),
)

_DAY_SECONDS = 86_400
_TICKS = 10_000_000  # a second has so many units of accountExpires
_NEVER = (0, 2**63 - 1)
_OF_1601 = datetime(1601, 1, 1, tzinfo=UTC)
_OF_1970 = datetime(1970, 1, 1, tzinfo=UTC)


def wanted_attributes(settings: AuthSettings) -> tuple[str, ...]:
    """The attributes that a search asks for.

    :param settings: ``[auth]``.
    """
    named = (
        settings.ldap_name_attribute,
        settings.ldap_keys_attribute,
        settings.ldap_groups_attribute,
        *(attribute for _, attribute in settings.ldap_attributes),
    )
    return tuple(dict.fromkeys(name for name in (*named, *OF_ACCOUNTS) if name))


def has_name(entry: LdapEntry, name: str, settings: AuthSettings) -> bool:
    """Whether an entry is that of a user (rule 1).

    :param entry: the entry.
    :param name: the name that was asked.
    :param settings: ``[auth]``.
    """
    values = entry.values(settings.ldap_name_attribute)
    return any(normalized(each.decode("utf-8", "replace")) == normalized(name) for each in values)


def given_user(entry: LdapEntry, groups: Iterable[str], settings: AuthSettings) -> GivenUser:
    """What the entry says.

    :param entry: the entry.
    :param groups: the names of the entries of the user's groups, beside those that the entry has.
    :param settings: ``[auth]``.
    :raises BadAnswer: it makes no sense.
    """
    given = {
        key: "\n".join(values)
        for key, attribute in settings.ldap_attributes
        if (values := _texts(entry, attribute))
    }
    keys = _texts(entry, settings.ldap_keys_attribute)
    if len(keys) > MAX_KEYS:
        raise BadAnswer(f"has over {MAX_KEYS} values of {settings.ldap_keys_attribute}")
    if keys:
        given["authorized_keys"] = "\n".join(keys)
    if _is_disabled(entry):
        given["disabled"] = "yes"
    expires = _expires(entry)
    if expires is not None:
        given.setdefault("expires", expires)
    all_groups = {*groups, *_texts(entry, settings.ldap_groups_attribute)}
    if len(all_groups) > MAX_GROUPS:
        raise BadAnswer(f"is in over {MAX_GROUPS} groups")
    return GivenUser(given, groups=_group_names(all_groups, settings))


def _texts(entry: LdapEntry, attribute: str) -> tuple[str, ...]:
    try:
        texts = tuple(each.decode("utf-8").strip() for each in entry.values(attribute))
    except UnicodeDecodeError:
        raise BadAnswer(f"has a value of {attribute} that is not UTF-8") from None
    return tuple(each for each in texts if each)


def _group_names(dns: Iterable[str], settings: AuthSettings) -> tuple[str, ...]:
    """The groups of users.ini; which order they have there decides which of them wins."""
    base = read_name(settings.ldap_group_base) if settings.ldap_group_base else ()
    mapped = _mapped(settings.ldap_groups)
    found = set()
    for text in dns:
        try:
            name = read_name(text)
        except ValueError:
            raise BadAnswer(f"has a group that is no name of an entry: {text[:100]!r}") from None
        if base and not lies_below(name, base):
            continue
        own = name[0][0][1]
        if mapped:
            found |= {mapped.get(comparable(name), ""), mapped.get(folded(own), "")}
        else:
            found.add(own)
    return tuple(sorted(found - {""}))


def _mapped(pairs: Iterable[tuple[str, str]]) -> Mapping[object, str]:
    """The groups of users.ini by the names of entries, or by their first parts alone."""
    return {
        comparable(read_name(name)) if "=" in name else folded(name): group for name, group in pairs
    }


def _is_disabled(entry: LdapEntry) -> bool:
    control = _number(entry, "userAccountControl") or 0
    return (
        LOCKED_FOR_EVER in entry.values("pwdAccountLockedTime")
        or any(each.lower() == b"true" for each in entry.values("nsAccountLock"))
        or bool(control & ACCOUNT_DISABLED)
    )


def _expires(entry: LdapEntry) -> str | None:
    """When the account ends, as users.ini has it."""
    days, ticks = _number(entry, "shadowExpire"), _number(entry, "accountExpires")
    moments = []
    try:
        if days is not None and days > 0:
            moments.append(_OF_1970 + timedelta(days=days))
        if ticks is not None and ticks not in _NEVER:
            moments.append(_OF_1601 + timedelta(seconds=ticks // _TICKS))
    except OverflowError:
        raise BadAnswer("has shadowExpire or accountExpires out of bounds") from None
    return min(moments).isoformat() if moments else None


def _number(entry: LdapEntry, attribute: str) -> int | None:
    values = entry.values(attribute)
    if not values:
        return None
    if len(values) > 1 or not re.fullmatch(rb"-?[0-9]{1,19}", values[0]):
        raise BadAnswer(f"has a value of {attribute} that is no number")
    return int(values[0])
