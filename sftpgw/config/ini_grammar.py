"""The grammar of ini files: what each line is. It is that of Python's ``configparser``.

Knows: headers, keys, further lines of values, comments.
Must not know: files, or what sections and keys mean.

Rules

- A line that begins with ``#`` or ``;`` is a comment, blanks before that or not.
- A line that is indented deeper than its key is a further line of that key's value, whatever it
  says. So is a blank line; those at the end of a value do not count.
- ``[name]`` begins a section. What follows the last bracket is ignored.
- ``key = value``: the first equals sign ends the key.
- All else is a bad line, and is read as if it were not there.

``configparser`` itself would read a whole file at once, which holds Python's lock, and does not
tell the lines of keys.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

STEP_LINES = 256
"""After so many lines `read_written` lets its caller do something else. They take a quarter of a
millisecond."""

BOM = "\ufeff"
_LINE = re.compile(r"[^\r\n]*(?:\r\n|\r|\n)|[^\r\n]+")
_HEADER = re.compile(r"\[(.+)\]")


@dataclass(slots=True)
class WrittenKey:
    """A key and its value.

    :ivar key: the key as it is written.
    :ivar lines: the lines of the value without the blanks around them; the first one stands behind
        the equals sign.
    :ivar numbers: the number of each of these lines, from 1.
    """

    key: str
    lines: list[str]
    numbers: list[int]

    @property
    def value(self) -> str:
        """The value."""
        return "\n".join(self.lines)

    @property
    def last(self) -> int:
        """The number of the last line."""
        return self.numbers[-1]


@dataclass(slots=True)
class WrittenSection:
    """A section as it is written. Of several with the same name, or keys, none is left out.

    :ivar name: its name.
    :ivar number: the number of the header's line, from 1.
    :ivar keys: its keys, in their order.
    """

    name: str
    number: int
    keys: list[WrittenKey] = field(default_factory=list)

    @property
    def last(self) -> int:
        """The number of the last line of its header and keys."""
        return self.keys[-1].last if self.keys else self.number

    def complete(self) -> WrittenSection:
        """The same, once no line follows: blank lines at the end of a value do not count."""
        for written in self.keys:
            while len(written.lines) > 1 and not written.lines[-1]:
                written.lines.pop()
                written.numbers.pop()
        return self


@dataclass(frozen=True, slots=True)
class BadLine:
    """A line that is nothing.

    :ivar number: its number, from 1.
    :ivar text: the line without the blanks around it.
    :ivar has_section: whether a section is above it.
    """

    number: int
    text: str
    has_section: bool


def lines_of(text: str) -> Iterator[str]:
    """The lines of a text, with their ends: any of ``\\n``, ``\\r\\n`` and ``\\r``.

    :param text: the text of a file.
    """
    return (found[0] for found in _LINE.finditer(text))


def read_written(lines: Iterable[str]) -> Iterator[WrittenSection | BadLine | None]:
    """The sections in their order, each once it is complete, and bad lines.

    :param lines: the lines, with or without their ends; without a mark (`BOM`) at the beginning.
    :returns: also None after each `STEP_LINES` lines at most.
    """
    section: WrittenSection | None = None
    written: WrittenKey | None = None
    depth = 0
    for number, line in enumerate(lines, start=1):
        if number % STEP_LINES == 0:
            yield None
        text = line.strip()
        if text and text[0] in "#;":
            continue
        if written is not None and (not text or _indent(line, text) > depth):
            written.lines.append(text)
            written.numbers.append(number)
            continue
        if not text:
            continue
        header = header_of(text)
        key, equals, value = text.partition("=")
        if header is None and (section is None or not equals or not key):
            yield BadLine(number, text, section is not None)
            continue
        depth = _indent(line, text)
        if header is not None:
            if section is not None:
                yield section.complete()
            section, written = WrittenSection(header, number), None
        elif section is not None:
            written = WrittenKey(key.rstrip(), [value.lstrip()], [number])
            section.keys.append(written)
    if section is not None:
        yield section.complete()


def _indent(line: str, text: str) -> int:
    return 0 if line[0] == text[0] else len(line) - len(line.lstrip())


def header_of(text: str) -> str | None:
    """The name of the section that a line begins; None if it begins none.

    :param text: the line without the blanks around it.
    """
    found = _HEADER.match(text) if text[0] == "[" else None
    return found[1] if found else None


def is_comment(line: str) -> bool:
    """Whether a line is a comment.

    :param line: the line.
    """
    return line.lstrip().startswith(("#", ";"))
