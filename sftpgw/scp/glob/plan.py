"""Patterns of names, and the names that they match.

Knows: ``*``, ``?``, ``[…]`` and backslashes (POSIX, XCU 2.13).
Must not know: where names come from.

Rules

1. Patterns and names are single segments of a path. Only a dot matches a leading dot.
2. A backslash takes the special meaning from the next character. A ``[`` without its ``]`` stands
   for itself. ``[!…]`` and ``[^…]`` match the characters not listed. ``]`` may come first.
3. A pattern counts by what a character may be compared with: its characters, question marks, stars,
   and each range of its sets. It has at most `MAX_PATTERN_CHARACTERS` of them.
4. Matching goes through a name once, whatever the pattern: it follows all ways to match at the
   same time, each as one bit of a number (the Shift-And algorithm of Baeza-Yates and Gonnet). A
   star is a bit that stays. `Pattern.steps` counts the work, so that a caller can pause.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from sftpgw.errors import LimitReached

MAX_PATTERN_CHARACTERS = 256


REMEMBERED_CHARACTERS = 1024
"""For so many different characters a pattern remembers where it has them."""


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

    :raises LimitReached: it has more than `MAX_PATTERN_CHARACTERS` and is no plain name.
    :ivar steps: the work that `matches` has done so far, in comparisons of less than a microsecond
        each.
    """

    def __init__(self, text: str) -> None:
        tokens = _tokens(text)
        self.steps = 0

        characters = [token for token in tokens if isinstance(token, str)]
        self.literal = "".join(characters) if len(characters) == len(tokens) else None
        """The only name that matches, if the pattern has no special character."""
        if self.literal is None and sum(map(_size, tokens)) > MAX_PATTERN_CHARACTERS:
            raise LimitReached(f"a pattern of over {MAX_PATTERN_CHARACTERS} characters and ranges")
        self._begins_with_dot = tokens[:1] == ["."]
        self._matcher = None if self.literal is not None else _Matcher(tokens)

    def matches(self, name: str) -> bool:
        """Whether the pattern matches the whole name."""
        if self._matcher is None:
            return name == self.literal
        if name.startswith(".") and not self._begins_with_dot:
            return False
        self.steps += len(name) + self._matcher.steps_of_new(name)
        return self._matcher.matches(name)


def _size(token: _Token) -> int:
    return max(len(token.ranges), 1) if isinstance(token, _Set) else 1


class _Matcher:
    """Follows all ways to match at once.

    Bit N of the state is set if the first N tokens, not counting stars, have matched all
    characters so far.

    :param tokens: the pattern.
    """

    def __init__(self, tokens: list[_Token]) -> None:
        self._stays = self._any = 0
        self._plain: dict[str, int] = {}
        self._sets: list[tuple[int, _Set]] = []
        bit = 1
        for token in tokens:
            if isinstance(token, _Star):
                self._stays |= bit
                continue
            if isinstance(token, _AnyOne):
                self._any |= bit
            elif isinstance(token, _Set):
                self._sets.append((bit, token))
            else:
                self._plain[token] = self._plain.get(token, 0) | bit
            bit <<= 1
        self._end = bit
        self._steps_of_one = sum(_size(token) for _, token in self._sets)
        self._known: dict[str, int] = {}

    def steps_of_new(self, name: str) -> int:
        """The comparisons for the characters that no name had so far.

        They are remembered: `matches` needs them.
        """
        new = set(name).difference(self._known)
        if len(self._known) + len(new) > REMEMBERED_CHARACTERS:
            self._known.clear()
            new = set(name)
        self._known.update((character, self._places(character)) for character in new)
        return len(new) * self._steps_of_one

    def _places(self, character: str) -> int:
        """Where the pattern has this character, one bit for each token."""
        places = self._any | self._plain.get(character, 0)
        for bit, token in self._sets:
            if token.has(character):
                places |= bit
        return places

    def matches(self, name: str) -> bool:
        """Whether the pattern matches a name of known characters."""
        known, stays, state = self._known, self._stays, 1
        for character in name:
            state = ((state & known[character]) << 1) | (state & stays)
            if not state:
                return False
        return bool(state & self._end)


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
