"""Filters of LDAP searches, as texts with placeholders (RFC 4515).

Knows: how filters are written, and how they are encoded (RFC 4511, section 4.5.1.7).
Must not know: what is searched for.

A filter is read before placeholders are filled, and encoded with the values in their places. So no
value, such as the name that a client gives, can change what the filter asks: nothing is escaped,
since nothing is read again.

https://www.rfc-editor.org/rfc/rfc4515
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from sftpgw.wire.ber import OCTETS, SEQUENCE, boolean, element

LONGEST_CHARACTERS = 4_096
DEEPEST = 16

_AND, _OR, _NOT, _EQUAL, _SUBSTRINGS = 0xA0, 0xA1, 0xA2, 0xA3, 0xA4
_AT_LEAST, _AT_MOST, _PRESENT, _APPROXIMATE, _EXTENSIBLE = 0xA5, 0xA6, 0x87, 0xA8, 0xA9
_INITIAL, _ANY, _FINAL = 0x80, 0x81, 0x82
_RULE, _TYPE, _VALUE, _DN_ATTRIBUTES = 0x81, 0x82, 0x83, 0x84

_ITEM = re.compile(r"([A-Za-z0-9.;-]*)((?::[A-Za-z0-9.-]+)*)(>=|<=|~=|:=|=)([^()]*)", re.DOTALL)
_PIECE = re.compile(r"\\([0-9A-Fa-f]{2})|\{\{|\}\}|\{([a-z_]+)\}|[^\\{}*]+|.", re.DOTALL)
_COMPARISONS = {"=": _EQUAL, ">=": _AT_LEAST, "<=": _AT_MOST, "~=": _APPROXIMATE}

Known = Mapping[str, bytes]
Encode = Callable[[Known], bytes]
_Pieces = tuple[bytes | str, ...]


@dataclass(frozen=True, slots=True)
class Filter:
    """A filter whose placeholders are filled for each search.

    :ivar encoded: takes the values by the names of their placeholders, and returns the filter as it
        is sent.
    :ivar names: the placeholders that it has.
    """

    encoded: Encode
    names: frozenset[str]


def read_filter(text: str, known: frozenset[str]) -> Filter:
    """The filter of a text such as ``(&(objectClass=person)(uid={username}))``.

    :param text: the filter; ``\\2a`` is a star, ``{{`` a brace.
    :param known: the names of the placeholders that it may have.
    :raises ValueError: it is none; says where and why.
    """
    if len(text) > LONGEST_CHARACTERS:
        raise ValueError(f"is over {LONGEST_CHARACTERS} characters")
    reader = _FilterReader(text, known)
    encoded = reader.filter(0)
    reader.end()
    return Filter(encoded, frozenset(reader.names))


class _FilterReader:
    """Reads a text from left to right.

    :ivar names: the placeholders so far.
    """

    def __init__(self, text: str, known: frozenset[str]) -> None:
        self.names: set[str] = set()
        self._text = text
        self._known = known
        self._at = 0

    def end(self) -> None:
        if self._at != len(self._text):
            raise self._fault("goes on behind its last bracket")

    def filter(self, depth: int) -> Encode:
        if depth > DEEPEST:
            raise self._fault("has too many brackets in each other")
        self._expect("(")
        operator = self._text[self._at : self._at + 1]
        if operator in ("&", "|"):
            self._at += 1
            found = _joined(_AND if operator == "&" else _OR, list(self._several(depth)))
        elif operator == "!":
            self._at += 1
            found = _joined(_NOT, [self.filter(depth + 1)])
        else:
            found = self._item()
        self._expect(")")
        return found

    def _several(self, depth: int) -> Iterator[Encode]:
        while self._text[self._at : self._at + 1] == "(":
            yield self.filter(depth + 1)

    def _item(self) -> Encode:
        match = _ITEM.match(self._text, self._at)
        if match is None:
            raise self._fault("has no attribute=value")
        attribute, more, operator, value = match.groups()
        parts = tuple(tuple(part) for part in self._parts(value))
        if operator == ":=":
            found = self._extensible(attribute, more, parts)
        elif not attribute or more:
            raise self._fault("has no attribute=value")
        elif operator == "=" and parts == ((), ()):
            found = _constant(element(_PRESENT, attribute.encode()))
        elif operator == "=" and len(parts) > 1:
            found = _substrings(attribute, parts)
        elif len(parts) > 1:
            raise self._fault(f"has a star behind {operator}")
        else:
            found = _compared(_COMPARISONS[operator], attribute, parts[0])
        self._at = match.end()
        return found

    def _extensible(self, attribute: str, more: str, parts: tuple[_Pieces, ...]) -> Encode:
        words = more.split(":")[1:]
        has_dn = words[:1] == ["dn"]
        rules = words[1:] if has_dn else words
        if len(parts) > 1 or len(rules) > 1 or not (attribute or rules):
            raise self._fault("has no attribute:rule:=value")
        head = element(_RULE, rules[0].encode()) if rules else b""
        head += element(_TYPE, attribute.encode()) if attribute else b""
        tail = boolean(True, _DN_ATTRIBUTES) if has_dn else b""
        return lambda known: element(
            _EXTENSIBLE, head, element(_VALUE, _filled(parts[0], known)), tail
        )

    def _parts(self, value: str) -> Iterator[list[bytes | str]]:
        """What lies between the stars of a value: bytes, and names of placeholders."""
        part: list[bytes | str] = []
        for match in _PIECE.finditer(value):
            text, (code, name) = match[0], match.groups()
            if text == "*":
                yield part
                part = []
            elif code is not None:
                part.append(bytes((int(code, 16),)))
            elif name in self._known:
                self.names.add(name)
                part.append(name)
            elif text in ("{{", "}}"):
                part.append(text[:1].encode())
            elif text[0] in "\\{}":
                right = " or ".join(f"{{{each}}}" for each in sorted(self._known))
                raise self._fault(f"has {text!r}; write {right}, \\5c for a backslash, {{{{ for {{")
            else:
                part.append(text.encode())
        yield part

    def _expect(self, character: str) -> None:
        if self._text[self._at : self._at + 1] != character:
            raise self._fault(f"has no {character!r} where it must be")
        self._at += 1

    def _fault(self, text: str) -> ValueError:
        return ValueError(f"{self._text!r} {text} (character {self._at + 1})")


def _filled(pieces: _Pieces, known: Known) -> bytes:
    return b"".join(known[each] if isinstance(each, str) else each for each in pieces)


def _constant(encoded: bytes) -> Encode:
    return lambda known: encoded


def _joined(tag: int, parts: list[Encode]) -> Encode:
    return lambda known: element(tag, *(part(known) for part in parts))


def _compared(tag: int, attribute: str, pieces: _Pieces) -> Encode:
    name = element(OCTETS, attribute.encode())
    return lambda known: element(tag, name, element(OCTETS, _filled(pieces, known)))


def _substrings(attribute: str, parts: tuple[_Pieces, ...]) -> Encode:
    name = element(OCTETS, attribute.encode())
    tags = (_INITIAL, *[_ANY] * (len(parts) - 2), _FINAL)
    tagged = [(tag, part) for tag, part in zip(tags, parts, strict=True) if part]
    return lambda known: element(
        _SUBSTRINGS,
        name,
        element(SEQUENCE, *(element(tag, _filled(part, known)) for tag, part in tagged)),
    )
