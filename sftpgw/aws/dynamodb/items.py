"""An item of the table of users: the keys of users.ini, with their texts, as attributes.

Knows: DynamoDB's types, and which of them stand for which text.
Must not know: what a key means, or how an item is read or written.

Rules

1. The partition key `name` is the user's name. `version` counts the changes that the command makes,
   `updated` tells when it made the last one. Any other attribute is a key of users.ini.
2. A text is as in users.ini. A number and a boolean are written out. A list or a set of texts has a
   line each. Null is as if the attribute were not there.
3. A set has no order, so it cannot be `groups`, of which the last one wins.
4. Anything else is nonsense: a map, binary data, a set of numbers, a list of other things.

https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_AttributeValue.html
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sftpgw.errors import BadAnswer

NAME, VERSION, UPDATED = "name", "version", "updated"
OWN_ATTRIBUTES = frozenset({NAME, VERSION, UPDATED})
ORDERED_KEYS = frozenset({"groups"})
MAX_KEYS = 100
"""How many attributes an item may have."""

MAX_NAME_BYTES = 2048
"""The longest partition key of DynamoDB."""

LISTED_KEYS = frozenset({"authorized_keys", "mount"})
"""Keys of which the command writes a list of lines, for people who look at the table."""

AttributeValue = Mapping[str, Any]
Item = Mapping[str, AttributeValue]


@dataclass(frozen=True, slots=True)
class TableUser:
    """What an item says.

    :ivar name: the user's name.
    :ivar given: the keys of users.ini, with their texts.
    :ivar version: how often the command has changed the item; None for one that was written by
        other means.
    """

    name: str
    given: Mapping[str, str]
    version: int | None = None


def read_item(item: object, name: str | None = None) -> TableUser:
    """What an item says.

    :param item: the item, in DynamoDB's JSON.
    :param name: the name that was asked; None for any.
    :raises BadAnswer: it is no item of a user; says why.
    """
    if not isinstance(item, dict) or not all(map(_is_value, item.values())):
        raise BadAnswer("is not an item of DynamoDB")
    found = item.get(NAME, {}).get("S")
    if not isinstance(found, str):
        raise BadAnswer(f"has no text as {NAME}")
    if name is not None and found != name:
        raise BadAnswer("is about another user than the one that was asked")
    if len(item) > MAX_KEYS + len(OWN_ATTRIBUTES):
        raise BadAnswer(f"has over {MAX_KEYS} attributes")
    given = {
        key: text
        for key, value in sorted(item.items())
        if key not in OWN_ATTRIBUTES and (text := _text(key, value)) is not None
    }
    return TableUser(found, given, _version(item.get(VERSION)))


def write_item(user: TableUser, updated: str) -> Item:
    """The item for a user.

    :param user: the user; its version is that of the new item.
    :param updated: the time, as ISO 8601 has it.
    """
    texts = {key: _value(key, text) for key, text in user.given.items()}
    own = {NAME: {"S": user.name}, UPDATED: {"S": updated}, VERSION: {"N": str(user.version or 1)}}
    return {**texts, **own}


def _is_value(value: object) -> bool:
    return isinstance(value, dict) and len(value) == 1


def _text(key: str, value: AttributeValue) -> str | None:
    """A value as it would be written in users.ini; None for what is left out."""
    ((kind, content),) = value.items()
    if kind == "NULL":
        return None
    if kind in ("S", "N") and isinstance(content, str):
        return content
    if kind == "BOOL" and isinstance(content, bool):
        return "yes" if content else "no"
    if kind == "SS" and key in ORDERED_KEYS:
        raise BadAnswer(f"has {key} as a set, which has no order; write a list")
    if kind == "SS" and _are_texts(content):
        return "\n".join(sorted(content))
    if kind == "L" and isinstance(content, list):
        texts = [each.get("S") if isinstance(each, dict) else None for each in content]
        if _are_texts(texts):
            return "\n".join(map(str, texts))
    raise BadAnswer(
        f"has a {key[:64]!r} of the type {kind[:4]}: write a text (S), a number (N), BOOL, or a "
        "list (L) or set (SS) of texts"
    )


def _are_texts(content: object) -> bool:
    return isinstance(content, list) and all(isinstance(each, str) for each in content)


def _version(value: AttributeValue | None) -> int | None:
    text = (value or {}).get("N")
    if value is None:
        return None
    if not isinstance(text, str) or not text.isdecimal() or len(text) > 18:
        raise BadAnswer(f"has a {VERSION} that is no count; remove it, or write a number (N)")
    return int(text)


def _value(key: str, text: str) -> AttributeValue:
    lines = [line for line in text.split("\n") if line.strip()]
    is_list = key in LISTED_KEYS and lines
    return {"L": [{"S": line} for line in lines]} if is_list else {"S": text}
