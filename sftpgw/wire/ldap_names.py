"""Names of entries in an LDAP directory, as texts (RFC 4514).

Knows: how distinguished names are written, and when two of them are of the same entry.
Must not know: what lies in the entries.

Values are compared without regard to case and to the number of blanks, as servers compare those
that names of entries are made of.

https://www.rfc-editor.org/rfc/rfc4514
"""

from __future__ import annotations

import re
import unicodedata

LONGEST_CHARACTERS = 4_096
USER_NAME = "{username}"

_SPECIAL = frozenset('"+,;<>\\=#\0')
_TYPE = re.compile(r"[A-Za-z][A-Za-z0-9-]*|[0-9]+(?:\.[0-9]+)*")
# No two pieces in a row take blanks: else the reader would try all ways to share them.
_ATTRIBUTE = re.compile(
    r" *([^ =,+\\]+) *= *(?! )((?:\\[0-9A-Fa-f]{2}|\\[^0-9A-Fa-f]|[^\\,+;\"<>\0])*)(,|\+|$)",
    re.DOTALL,
)
_ESCAPED = re.compile(r"((?:\\[0-9A-Fa-f]{2})+)|\\(.)", re.DOTALL)

Attribute = tuple[str, str]
Dn = tuple[tuple[Attribute, ...], ...]
"""The attributes and values of an entry's name, then of the names above it."""


def escaped(value: str) -> str:
    """A value as a name has it, so that it cannot become another part of the name.

    :param value: the value.
    """
    last = len(value) - 1
    return "".join(
        f"\\{ord(each):02x}" if each in _SPECIAL or (each == " " and at in (0, last)) else each
        for at, each in enumerate(value)
    )


def fill_name(template: str, user_name: str) -> str:
    """A name with a user's name in it.

    :param template: such as ``uid={username},ou=people,dc=example,dc=com``.
    :param user_name: the name of the user.
    """
    return template.replace(USER_NAME, escaped(user_name))


def name_above(name: str) -> str:
    """The name above that of an entry, as it is written; empty if there is none.

    :param name: a name, or a template of `fill_name`.
    """
    match = re.fullmatch(r"(?:\\.|[^\\,])*,(.*)", name, re.DOTALL)
    return "" if match is None else match[1]


def check_template(template: str) -> None:
    """Check a template of `fill_name`.

    :param template: the template.
    :raises ValueError: it becomes no name, or has no place for the user's; says why.
    """
    name = read_name(fill_name(template, "user"))
    if USER_NAME not in template or re.search(r"[{}]", template.replace(USER_NAME, "")):
        raise ValueError(f"{template!r} must have {USER_NAME}, and no other braces")
    if all(value != "user" for _, value in name[0]):
        raise ValueError(f"{template!r} must have {USER_NAME} in its first part, alone: uid=…")


def read_name(text: str) -> Dn:
    """The parts of a name; their types are in lower case.

    :param text: such as ``cn=Ann Lee,ou=people,dc=example,dc=com``.
    :raises ValueError: it is none.
    """
    if len(text) > LONGEST_CHARACTERS:
        raise ValueError(f"is over {LONGEST_CHARACTERS} characters")
    names: list[tuple[Attribute, ...]] = []
    part: list[Attribute] = []
    at, separator = 0, ","
    while separator:
        match = _ATTRIBUTE.match(text, at)
        if match is None or not _TYPE.fullmatch(match[1]):
            raise ValueError(
                f"{text!r} is not the name of an entry; write one such as "
                "cn=admins,ou=groups,dc=example,dc=com"
            )
        part.append((match[1].lower(), _unescaped(match[2])))
        at, separator = match.end(), match[3]
        if separator != "+":
            names.append(tuple(part))
            part = []
    return tuple(names)


def _unescaped(text: str) -> str:
    inner = text.rstrip(" ")
    if inner.endswith("\\") and len(inner) < len(text):
        inner += " "  # the last blank is escaped

    def plain(found: re.Match[str]) -> str:
        if found[1] is None:
            return str(found[2])
        return bytes.fromhex(found[1].replace("\\", "")).decode("utf-8", "replace")

    return _ESCAPED.sub(plain, inner)


def comparable(name: Dn) -> Dn:
    """A name that is equal to that of another spelling of it.

    :param name: what `read_name` returns.
    """
    return tuple(tuple(sorted((kind, folded(value)) for kind, value in part)) for part in name)


def folded(value: str) -> str:
    """A value that is equal to one in other case, or with more blanks.

    :param value: the value.
    """
    return " ".join(unicodedata.normalize("NFKC", value).casefold().split())


def lies_below(name: Dn, base: Dn) -> bool:
    """Whether an entry is below another one.

    :param name: the name of the entry.
    :param base: the name of the other one.
    """
    return len(name) > len(base) and comparable(name)[len(name) - len(base) :] == comparable(base)
