"""Changes of one section in the text of an ini file. All other bytes stay as they are.

Knows: in which lines the values of a section stand.
Must not know: files, or what sections and keys mean.

Comments and the order of keys and sections stay. A comment above a header belongs to that section.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence

from sftpgw.config.ini_grammar import (
    BOM,
    WrittenSection,
    header_of,
    is_comment,
    lines_of,
    read_written,
)

INDENT = "    "


def has_section(text: str, section: str) -> bool:
    """Whether there is a section of this name.

    :param text: the text of the file.
    :param section: its name.
    """
    return _find(_lines(text), section) is not None


def with_value(text: str, section: str, key: str, value: str) -> str:
    """The text with another value of a key, or with a new key behind the others of the section.

    :param text: the text of the file.
    :param section: the name of a section that exists.
    :param key: the key.
    :param value: one line.
    :raises ValueError: the value has several lines.
    :raises KeyError: there is no such section.
    """
    _check_line(value)
    return _replaced(text, section, key, lambda _: [f"{key} = {value}"])


def with_line(text: str, section: str, key: str, line: str) -> str:
    """The text with one more line in the value of a key.

    :param text: as for `with_value`.
    :param section: as for `with_value`.
    :param key: the key, which may be new.
    :param line: the line; not a comment.
    :raises ValueError: it is blank, has several lines, or would be read as a comment.
    :raises KeyError: there is no such section.
    """
    _check_line(line)
    if not line.strip() or line.lstrip().startswith(("#", ";")):
        raise ValueError("the line is blank or a comment")

    def extended(old: Sequence[str]) -> list[str]:
        return [*(old or [f"{key} ="]), f"{_indent_of(old)}{line.strip()}"]

    return _replaced(text, section, key, extended)


def without_line(text: str, section: str, key: str, line: str) -> str:
    """The text without one line of the value of a key; without the key if it was the last one.

    :param text: as for `with_value`.
    :param section: as for `with_value`.
    :param key: the key.
    :param line: the line without the blanks around it.
    :raises KeyError: there is no such section or line.
    """

    def reduced(old: Sequence[str]) -> list[str]:
        kept = [
            f"{key} =" if index == 0 and _value_of(each, index) == line else each
            for index, each in enumerate(old)
            if index == 0 or each.strip() != line
        ]
        if list(old) == kept:
            raise KeyError(line)
        has_value = any(
            _value_of(each, index) and not is_comment(each) for index, each in enumerate(kept)
        )
        return kept if has_value else [each for each in kept[1:] if is_comment(each)]

    return _replaced(text, section, key, reduced)


def without_key(text: str, section: str, key: str) -> str:
    """The text without a key; the same text if the section does not have it.

    :param text: as for `with_value`.
    :param section: as for `with_value`.
    :param key: the key.
    :raises KeyError: there is no such section.
    """
    return _replaced(text, section, key, lambda _: [])


def with_section(text: str, section: str, lines: Sequence[str]) -> str:
    """The text with a new section at its end.

    :param text: the text of the file.
    :param section: the name of a section that does not exist.
    :param lines: what stands below the header.
    :raises ValueError: there is such a section, or the name cannot be a header.
    """
    return with_sections(text, [(section, lines)])


def with_sections(text: str, sections: Iterable[tuple[str, Sequence[str]]]) -> str:
    """The text with new sections at its end. It is read once, however many they are.

    :param text: the text of the file.
    :param sections: the names of sections that do not exist, each with what stands below it.
    :raises ValueError: there is such a section, or a name cannot be a header.
    """
    known = {each.name for each in _sections(_lines(text))}
    ending = _ending_of(text)
    new = [text if not text or text.endswith(("\n", "\r")) else text + ending]
    gap = ending if text.strip(BOM) else ""
    for section, lines in sections:
        if section in known or header_of(f"[{section}]") != section:
            raise ValueError(f"there is a section [{section}] already")
        known.add(section)
        new += (gap, *(f"{line}{ending}" for line in (f"[{section}]", *lines)))
        gap = ending
    return "".join(new)


def without_section(text: str, section: str) -> str:
    """The text without a section. Comments behind its last key stay: they belong to the next one.

    :param text: the text of the file.
    :param section: its name.
    :raises KeyError: there is no such section.
    """
    lines = _lines(text)
    found = _section(lines, section)
    end = found.last
    while end < len(lines) and not lines[end].strip():
        end += 1
    bom = BOM if found.number == 1 and text.startswith(BOM) else ""
    return bom + "".join(lines[: found.number - 1] + lines[end:])


# Lines.


def _lines(text: str) -> list[str]:
    return list(lines_of(text))


def _sections(lines: Sequence[str]) -> Iterator[WrittenSection]:
    known = (line.removeprefix(BOM) if index == 0 else line for index, line in enumerate(lines))
    return (each for each in read_written(known) if isinstance(each, WrittenSection))


def _find(lines: Sequence[str], section: str) -> WrittenSection | None:
    return next((each for each in _sections(lines) if each.name == section), None)


def _section(lines: Sequence[str], section: str) -> WrittenSection:
    found = _find(lines, section)
    if found is None:
        raise KeyError(section)
    return found


def _replaced(
    text: str, section: str, key: str, change: Callable[[Sequence[str]], Sequence[str]]
) -> str:
    """The text with other lines for one key; `change` gets and returns them without their ends."""
    lines = _lines(text)
    found = _section(lines, section)
    written = next((each for each in found.keys if each.key == key), None)
    first, end = (written.numbers[0] - 1, written.last) if written else (found.last, found.last)
    ending = _ending_of(text)
    new = change([line.rstrip("\r\n") for line in lines[first:end]])
    before = "".join(lines[:first])
    if new and before and not before.endswith(("\n", "\r")):
        before += ending
    return before + "".join(f"{line}{ending}" for line in new) + "".join(lines[end:])


def _ending_of(text: str) -> str:
    """How lines end in this text."""
    found = re.search(r"\r\n|\n|\r", text)
    return found[0] if found else "\n"


def _value_of(line: str, index: int) -> str:
    return (line.partition("=")[2] if index == 0 else line).strip()


def _indent_of(lines: Sequence[str]) -> str:
    """How further lines of a value are indented: as the last one is."""
    last = lines[-1] if len(lines) > 1 else ""
    key_indent = lines[0][: len(lines[0]) - len(lines[0].lstrip())] if lines else ""
    return last[: len(last) - len(last.lstrip())] or key_indent + INDENT


def _check_line(value: str) -> None:
    if "\n" in value or "\r" in value:
        raise ValueError("the value has several lines")
