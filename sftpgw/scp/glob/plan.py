"""Patterns of names, and the names that they match.

Knows: ``*``, ``?``, ``[…]`` and backslashes (POSIX, XCU 2.13).
Must not know: where names come from.

Rules

1. Patterns and names are single segments of a path. Only a dot matches a leading dot.
2. A backslash takes the special meaning from the next character. A ``[`` without its ``]`` stands
   for itself. ``[!…]`` and ``[^…]`` match the characters not listed. ``]`` may come first.
3. Matching takes at most the pattern's length times the name's (`steps`), since only the last star
   is tried again. So a caller that matches many names can count the steps.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from sftpgw.errors import LimitReached

MAX_PATTERN_CHARACTERS = 256


@dataclass(frozen=True, slots=True)
class _Set:
    """One character that is, or is not, in these ranges, both ends included."""

    ranges: tuple[tuple[str, str], ...]
    is_negated: bool

    def has(self, character: str) -> bool:
        found = any(low <= character <= high for low, high in self.ranges)
        return found is not self.is_negated


class _AnyOne:
    """``?``."""


class _Star:
    """``*``."""


_Token: TypeAlias = str | _Set | _AnyOne | _Star


class Pattern:
    """The pattern of one segment, parsed once.

    :raises LimitReached: it is longer than `MAX_PATTERN_CHARACTERS` and no plain name.
    """

    def __init__(self, text: str) -> None:
        self._tokens = _tokens(text)
        self._begins_with_dot = self._tokens[:1] == ["."]

        characters = [token for token in self._tokens if isinstance(token, str)]
        self.literal = "".join(characters) if len(characters) == len(self._tokens) else None
        """The only name that matches, if the pattern has no special character."""
        if self.literal is None and len(self._tokens) > MAX_PATTERN_CHARACTERS:
            raise LimitReached(f"a pattern of over {MAX_PATTERN_CHARACTERS} characters")

    def steps(self, name: str) -> int:
        """The most steps that `matches` takes, of less than a microsecond each."""
        return (len(self._tokens) + 1) * (len(name) + 1)

    def matches(self, name: str) -> bool:
        """Whether the pattern matches the whole name."""
        if name.startswith(".") and not self._begins_with_dot:
            return False
        return _matches(self._tokens, name)


def _matches(tokens: list[_Token], name: str) -> bool:
    at = token_at = 0
    star: tuple[int, int] | None = (
        None  # the token behind the last star, and where the star's match ends in the name
    )
    while at < len(name):
        token = tokens[token_at] if token_at < len(tokens) else None
        if isinstance(token, _Star):
            token_at += 1
            star = (token_at, at)
        elif token is not None and _is_one(token, name[at]):
            token_at, at = token_at + 1, at + 1
        elif star is not None:
            star = (star[0], star[1] + 1)
            token_at, at = star
        else:
            return False
    return all(isinstance(token, _Star) for token in tokens[token_at:])


def _is_one(token: _Token, character: str) -> bool:
    if isinstance(token, str):
        return token == character
    return isinstance(token, _AnyOne) or (isinstance(token, _Set) and token.has(character))


def _tokens(text: str) -> list[_Token]:
    tokens: list[_Token] = []
    at = 0
    may_have_sets = True  # if one set has no end, no later one has
    while at < len(text):
        character, at = text[at], at + 1
        if character == "*":
            tokens += [] if tokens and isinstance(tokens[-1], _Star) else [_Star()]
        elif character == "?":
            tokens.append(_AnyOne())
        elif character == "\\" and at < len(text):
            tokens.append(text[at])
            at += 1
        elif character == "[" and may_have_sets and (found := _set(text, at)) is not None:
            tokens.append(found[0])
            at = found[1]
        elif character == "[":
            may_have_sets = False
            tokens.append(character)
        else:
            tokens.append(character)
    return tokens


def _set(text: str, at: int) -> tuple[_Set, int] | None:
    """The set whose members begin at `at`, and where the text goes on; None if it has no end."""
    is_negated = text[at : at + 1] in ("!", "^") and at < len(text)
    at += is_negated
    members: list[tuple[str, bool]] = []
    while at < len(text):
        character, is_escaped = text[at], text[at] == "\\" and at + 1 < len(text)
        if character == "]" and members:
            return _Set(_ranges(members), is_negated), at + 1
        members.append((text[at + 1] if is_escaped else character, is_escaped))
        at += 2 if is_escaped else 1
    return None


def _ranges(members: list[tuple[str, bool]]) -> tuple[tuple[str, str], ...]:
    ranges: list[tuple[str, str]] = []
    at = 0
    while at < len(members):
        low = high = members[at][0]
        if at + 2 < len(members) and members[at + 1] == ("-", False):
            high, at = members[at + 2][0], at + 2
        ranges.append((low, high))
        at += 1
    return tuple(ranges)
