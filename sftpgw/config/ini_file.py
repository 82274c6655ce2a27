"""Ini files: sections with known keys, every fault with its place.

Knows: which keys and sections may not come again.
Must not know: which sections and keys there are, or what they mean.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

from sftpgw.config.ini_grammar import BadLine, WrittenSection, lines_of, read_written
from sftpgw.config.scalars.value_format import ValueFormat
from sftpgw.config.scalars.words import nearest
from sftpgw.errors import ConfigError
from sftpgw.model.steps import Steps, finish

_PUBLIC_KEY = re.compile(r"(ssh|ecdsa|sk)-\S+ +AAAA")
NOT_INDENTED = (
    "is a public key at the beginning of a line; "
    "put a blank in front of each line that belongs to authorized_keys"
)
LONGEST_SHOWN = 30
NO_LINES: Mapping[str, Sequence[int]] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Key:
    """A key that may be given.

    :param field: the field of `sftpgw.model.settings` that it fills.
    :param format: how its value is written.
    :param meaning: what it does, in a sentence or two of reStructuredText. The configuration
        reference and the annotated example in ``etc/`` are made of it.
    :param since: the first version that has the key.
    :param if_blank: what is wrong with a blank value; empty if it means "the default".
    :param takes_path: whether a path may follow the key, ``permissions /incoming``, for which the
        value is then.
    """

    field: str
    format: ValueFormat[object]
    meaning: str
    since: str = "0.1.0"
    if_blank: str = ""
    takes_path: bool = False

    def parse(self, text: str) -> object:
        """The value of `text`. :raises ValueError: it has none."""
        return self.format.parse(text)


class Faults:
    """Collects faults and warnings, in the order in which they are found.

    :ivar lines: the faults.
    :ivar unplaced: the same without the numbers of lines: what does not change when lines move.
    :ivar warnings: what works, and ought to be changed all the same.
    """

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.unplaced: list[str] = []
        self.warnings: list[str] = []

    def add(
        self, file: Path, text: object, section: str | None = None, key: str = "", line: int = 0
    ) -> None:
        """Note that `text` is wrong, with as much of its place as is known.

        :param file: the file.
        :param text: what is wrong.
        :param section: the section's name; None for none.
        :param key: the key; empty for none.
        :param line: the number of the line, from 1; 0 for none.
        """
        where = "" if section is None else f" [{section}]"
        where += f" {key}" if key else ""
        said = f":{where}{':' if where else ''} {text}"
        self.lines.append(f"{file}:{line}{said}" if line else f"{file}{said}")
        self.unplaced.append(f"{file}{said}")

    def extend(self, other: Faults) -> None:
        """Add what another one has collected.

        :param other: the other one.
        """
        self.lines += other.lines
        self.unplaced += other.unplaced
        self.warnings += other.warnings

    @property
    def error(self) -> ConfigError:
        """The error that says all of them."""
        return ConfigError(tuple(self.lines), tuple(self.unplaced))


@dataclass(frozen=True, slots=True)
class Section:
    """A section as it is written.

    :ivar file: the file that has it; of what no file has, another name of its source.
    :ivar name: its name.
    :ivar given: the values by key.
    :ivar faults: takes what is wrong.
    :ivar line: the number of its header's line, from 1; 0 if it has none.
    :ivar lines: by key the numbers of the lines of its value.
    """

    file: Path
    name: str
    given: Mapping[str, str]
    faults: Faults
    line: int = 0
    lines: Mapping[str, Sequence[int]] = field(default_factory=lambda: NO_LINES)

    def fault(self, key: str, text: object, index: int = 0) -> None:
        """Note that something is wrong.

        :param key: what it is wrong with; empty for the section.
        :param text: what is wrong.
        :param index: which line of the value is meant, from 0.
        """
        numbers = self.lines.get(key, ())
        number = numbers[index] if index < len(numbers) else self.line
        self.faults.add(self.file, text, self.name, key, number)

    def values(self, keys: Mapping[str, Key]) -> dict[str, Any]:
        """The values by field; what is wrong or left blank is not among them."""
        values: dict[str, Any] = {}
        for name, text in self.given.items():
            value = self.value(name, text, keys)
            if value is not None:
                values[keys[name].field] = value[0]
        return values

    def value(
        self, name: str, text: str, keys: Mapping[str, Key], written: str = ""
    ) -> tuple[Any] | None:
        """The value of one key, alone in a tuple; None if it is wrong or left blank.

        :param name: the key.
        :param text: its text.
        :param keys: the keys that are known.
        :param written: the key as it stands in the file, if it has more than its name.
        """
        if name not in keys and _PUBLIC_KEY.match(name):
            self.fault("", f"{name[:LONGEST_SHOWN]}… {NOT_INDENTED}")
        elif name not in keys:
            hint = nearest(name, keys) or f"; known: {', '.join(keys)}"
            self.fault(written or name, f"is not a known key{hint}")
        elif text:
            try:
                return (keys[name].parse(text),)
            except ValueError as error:
                self.fault(written or name, error)
        elif keys[name].if_blank:
            self.fault(written or name, keys[name].if_blank)
        return None


@dataclass(frozen=True, slots=True)
class FileText:
    """What a file says.

    :ivar file: the file.
    :ivar text: its text, as it is; None if it cannot be read.
    :ivar fault: why it cannot be read.
    """

    file: Path
    text: str | None
    fault: str = ""


def read_text(file: Path) -> FileText:
    """The text of a file. Blocks.

    :param file: the file.
    """
    try:
        return FileText(file, file.read_bytes().decode("utf-8-sig"))
    except OSError as error:
        return FileText(file, None, f"cannot be read: {error.strerror}")
    except UnicodeDecodeError as error:
        return FileText(file, None, f"is not UTF-8 at byte {error.start}; save it as UTF-8")


def read_sections(file: Path, faults: Faults) -> dict[str, Section] | None:
    """The file's sections by name; None if it cannot be read at all. Blocks.

    :param file: the file.
    :param faults: takes what is wrong.
    """
    return finish(section_steps(read_text(file), faults))


def section_steps(read: FileText, faults: Faults) -> Steps[dict[str, Section] | None]:
    """The sections in a text by name, less what is nothing; None if there is no text.

    :param read: the text.
    :param faults: takes what is wrong.
    """
    if read.text is None:
        faults.add(read.file, read.fault)
        return None
    sections: dict[str, Section] = {}
    for written in read_written(lines_of(read.text)):
        if written is None:
            yield
        elif isinstance(written, BadLine):
            faults.add(read.file, _why_no_line(written), line=written.number)
        elif written.name in sections:
            text = f"comes again; keep one (the first is in line {sections[written.name].line})"
            faults.add(read.file, text, written.name, line=written.number)
        else:
            sections[written.name] = _section(written, read.file, faults)
    return sections


def _section(written: WrittenSection, file: Path, faults: Faults) -> Section:
    given: dict[str, str] = {}
    lines: dict[str, Sequence[int]] = {}
    for each in written.keys:
        if each.key in given:
            text = (
                f"comes again; keep one (the first is in line {lines[each.key][0]}); "
                "further lines of a value are below its first one, indented"
            )
            faults.add(file, text, written.name, each.key, each.numbers[0])
        else:
            given[each.key] = each.value
            lines[each.key] = each.numbers
    return Section(file, written.name, given, faults, written.number, lines)


def _why_no_line(line: BadLine) -> str:
    if not line.has_section:
        return "comes before any [section]; move it into one"
    if _PUBLIC_KEY.match(line.text):
        return NOT_INDENTED
    return (
        "is neither [section] nor key = value; "
        "a line that goes on with the value above begins with a blank"
    )
