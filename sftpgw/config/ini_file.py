"""Ini files: sections with known keys, every fault with its place.

Knows: configparser, and how to go on after a fault in order to find the others.
Must not know: which sections and keys there are, or what they mean.
"""

from __future__ import annotations

import configparser
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sftpgw.config.scalars import ValueFormat, nearest

_PUBLIC_KEY = re.compile(r"(ssh|ecdsa|sk)-\S+ +AAAA")
NOT_INDENTED = (
    "is a public key at the beginning of a line; "
    "put a blank in front of each line that belongs to authorized_keys"
)
LONGEST_SHOWN = 30
_SET_ASIDE = "\0duplicate "  # no name in a file has a NUL


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
    :ivar warnings: what works, and ought to be changed all the same.
    """

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.warnings: list[str] = []

    def add(self, file: Path, text: object, section: str | None = None, key: str = "") -> None:
        """Note that `text` is wrong, with as much of its place as is known."""
        where = "" if section is None else f" [{section}]"
        where += f" {key}" if key else ""
        self.lines.append(f"{file}:{where}{':' if where else ''} {text}")


@dataclass(frozen=True, slots=True)
class Section:
    """A section as it is written; `given` is text by key."""

    file: Path
    name: str
    given: Mapping[str, str]
    faults: Faults

    def fault(self, key: str, text: object) -> None:
        """Note that `text` is wrong with `key`, or with the section if that is empty."""
        self.faults.add(self.file, text, self.name, key)

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


def read_sections(file: Path, faults: Faults) -> dict[str, Section] | None:
    """The file's sections by name; None if it cannot be read at all."""
    try:
        text = file.read_text(encoding="utf-8-sig")
    except OSError as error:
        faults.add(file, f"cannot be read: {error.strerror}")
    except UnicodeDecodeError as error:
        faults.add(file, f"is not UTF-8 at byte {error.start}; save it as UTF-8")
    else:
        return parse_sections(text, file, faults)
    return None


def parse_sections(text: str, file: Path, faults: Faults) -> dict[str, Section]:
    """The sections in `text`, less what does not parse."""
    ini = _parse(text, file, faults)
    return {
        name: Section(file, name, _without_duplicates(ini[name]), faults)
        for name in ini.sections()
        if not name.startswith(_SET_ASIDE)
    }


def _without_duplicates(given: Mapping[str, str]) -> dict[str, str]:
    return {key: text for key, text in given.items() if not key.startswith(_SET_ASIDE)}


def _parse(text: str, file: Path, faults: Faults) -> configparser.ConfigParser:
    """Parse until nothing is left to complain of; each pass sets bad lines aside."""
    lines = text.split("\n")
    while True:
        ini = configparser.ConfigParser(interpolation=None, delimiters=("=",), default_section="")
        ini.optionxform = str  # type: ignore[assignment,method-assign]
        try:
            ini.read_file(lines)
        except configparser.DuplicateSectionError as error:
            number = error.lineno or 1
            faults.add(file, f"comes again in line {number}; keep one", error.section)
            lines[number - 1] = f"[{_SET_ASIDE}{number}]"
        except configparser.DuplicateOptionError as error:
            number = error.lineno or 1
            what = f"comes again in line {number}; keep one"
            faults.add(file, what, error.section, error.option)
            lines[number - 1] = f"{_SET_ASIDE}{number} ="
        except configparser.MissingSectionHeaderError as error:
            faults.add(file, f"line {error.lineno} comes before any [section]; move it into one")
            lines[error.lineno - 1] = ""
        except configparser.ParsingError as error:
            for number, _ in error.errors:
                faults.add(file, f"line {number} {_why_no_line(lines[number - 1])}")
                lines[number - 1] = ""
        else:
            return ini


def _why_no_line(line: str) -> str:
    if _PUBLIC_KEY.match(line):
        return NOT_INDENTED
    return (
        "is neither [section] nor key = value; "
        "a line that goes on with the value above begins with a blank"
    )
