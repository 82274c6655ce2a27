"""Texts, words and lists of them, and what an unknown word was meant to be."""

from __future__ import annotations

import configparser
import difflib
import re
from collections.abc import Callable, Collection, Iterable

from sftpgw.config.scalars.placeholders import without_placeholders

_BOOLEANS = configparser.ConfigParser.BOOLEAN_STATES


def refuse_controls(text: str) -> None:
    """:raises ValueError: `text` has a character that cannot be printed."""
    if not text.isprintable():
        raise ValueError(f"{text!r} has a control character; write printable characters only")


def printable(text: str) -> str:
    refuse_controls(without_placeholders(text))
    return text


def plain_text(text: str) -> str:
    """Text of one line, in which braces may be."""
    refuse_controls(text)
    return text


def lines(text: str) -> tuple[str, ...]:
    """One value a line."""
    return tuple(line.strip() for line in text.split("\n") if line.strip())


def names(text: str) -> tuple[str, ...]:
    """Names with blanks, commas or line ends between them."""
    return tuple(name for name in re.split(r"[\s,]+", text) if name)


def patterns(text: str) -> tuple[str, ...]:
    """Patterns of file names, with blanks or commas between them."""
    found = names(text)
    for pattern in found:
        refuse_controls(pattern)
        if "/" in pattern:
            raise ValueError(f"{pattern!r} has a slash; a pattern is for names, not for paths")
    return found


def pairs(separator: str, right: str) -> Callable[[str], tuple[tuple[str, str], ...]]:
    """Lines with two texts each.

    :param separator: what stands between the two; the last one in the line counts.
    :param right: how a line is written, for the message.
    """

    def parse(text: str) -> tuple[tuple[str, str], ...]:
        found: dict[str, str] = {}
        for line in lines(text):
            name, _, value = map(str.strip, line.rpartition(separator))
            if not name or not value or name in found:
                raise ValueError(f"{line!r} is not {right}, or comes twice")
            found[name] = value
        return tuple(found.items())

    return parse


def attribute_or_none(text: str) -> str:
    """The name of an attribute; empty for ``none``."""
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9-]*", text):
        raise ValueError(f"{text!r} is not the name of an attribute, or none")
    return "" if text == "none" else text


def mode(text: str) -> int:
    """Permission bits in octal digits, as chmod takes them."""
    if not re.fullmatch(r"0?[0-7]{3}", text):
        raise ValueError(f"{text!r} is not a mode; write octal digits: 0644")
    return int(text, 8)


def yes_or_no(text: str) -> bool:
    if text.lower() not in _BOOLEANS:
        raise ValueError(f"{text!r} is neither yes nor no")
    return _BOOLEANS[text.lower()]


def refuse_unknown(name: str, known: Collection[str]) -> None:
    """:raises ValueError: with the nearest of the names that are `known`, and all of them."""
    if name not in known:
        raise ValueError(f"{name!r} is unknown{nearest(name, known)}; known: {' '.join(known)}")


def nearest(name: str, known: Iterable[str]) -> str:
    """A hint at what `name` was meant to be; empty if nothing comes near."""
    close = difflib.get_close_matches(name, list(known), n=1)
    return f", did you mean {close[0]!r}?" if close else ""
