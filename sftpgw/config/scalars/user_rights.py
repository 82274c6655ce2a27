"""Where users come from, what their logins need, and what they may do."""

from __future__ import annotations

import base64
import binascii
from datetime import UTC, datetime

from sftpgw.config.scalars.words import names, refuse_unknown
from sftpgw.model.mounts import Permission
from sftpgw.model.settings import DYNAMODB_SOURCE, FILE_SOURCE, HTTP_SOURCE, LDAP_SOURCE
from sftpgw.model.users import LoginMethod


def user_sources(text: str) -> tuple[str, ...]:
    """Names of sources of users, in the order in which they are asked."""
    found = names(text)
    known = (FILE_SOURCE, HTTP_SOURCE, LDAP_SOURCE, DYNAMODB_SOURCE)
    for name in found:
        if name not in known:
            raise ValueError(f"{name!r} is not a source of users; known: {' '.join(known)}")
    if len(set(found)) < len(found):
        raise ValueError("names a source twice; keep one")
    if FILE_SOURCE in found[1:]:
        raise ValueError(
            "has file behind another source; write it first: a name in users.ini must not be "
            "taken over by a service"
        )
    return found


PERMISSION_NAMES = tuple(str(permission.name).lower() for permission in Permission)


def permissions(text: str) -> Permission:
    """The permissions named in `text`."""
    granted = Permission(0)
    for name in names(text):
        refuse_unknown(name, PERMISSION_NAMES)
        granted |= Permission[name.upper()]
    return granted


def expiry(text: str) -> float | None:
    """Seconds since 1970 of a day's beginning in UTC, or of a time; None for ``never``."""
    if text == "never":
        return None
    try:
        moment = datetime.fromisoformat(text)
        return (moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        raise ValueError(
            f"{text!r} is not a day or time; write 2027-03-31, 2027-03-31T18:00Z or never"
        ) from None


METHOD_NAMES = tuple(method.value for method in LoginMethod)
ANY_METHOD = "any"
MAX_ALTERNATIVES = 8


def login_alternatives(text: str) -> tuple[tuple[LoginMethod, ...], ...]:
    """What a login requires, as ``publickey+totp password+totp``; nothing for ``any``."""
    words = names(text)
    if words == (ANY_METHOD,):
        return ()
    if len(words) > MAX_ALTERNATIVES:
        raise ValueError(f"{text} has more than {MAX_ALTERNATIVES} alternatives")
    return tuple(map(_login_series, words))


def _login_series(text: str) -> tuple[LoginMethod, ...]:
    if text == ANY_METHOD:
        raise ValueError(f"{ANY_METHOD} cannot stand beside other alternatives; write it alone")
    parts = text.split("+")
    for part in parts:
        refuse_unknown(part, METHOD_NAMES)
    series = tuple(map(LoginMethod, parts))
    if len(set(series)) < len(series):
        raise ValueError(f"{text} names a method twice")
    if series[0] is LoginMethod.TOTP:
        raise ValueError(
            f"{text} begins with totp; a code comes behind publickey or password, since one alone "
            "can be guessed"
        )
    return series


SHORTEST_TOTP_BYTES, LONGEST_TOTP_BYTES = 16, 64
"""RFC 4226, section 4, R6, demands 128 bits."""


def totp_secret(text: str) -> str:
    """A secret of one-time codes in base32, as apps show it; without blanks and padding.

    The errors do not quote it.
    """
    compact = "".join(text.split()).replace("-", "").rstrip("=").upper()
    try:
        size_bytes = len(base64.b32decode(compact + "=" * (-len(compact) % 8)))
    except (binascii.Error, ValueError) as problem:
        raise ValueError("is not base32: the letters A to Z and the digits 2 to 7") from problem
    if not SHORTEST_TOTP_BYTES <= size_bytes <= LONGEST_TOTP_BYTES:
        raise ValueError(
            f"must have {SHORTEST_TOTP_BYTES} to {LONGEST_TOTP_BYTES} bytes, 26 to 103 letters of "
            f"base32; this has {size_bytes} bytes"
        )
    return compact
