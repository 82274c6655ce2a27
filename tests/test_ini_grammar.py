"""The grammar of ini files is that of configparser, and tells the line of each key."""

from __future__ import annotations

import configparser
from collections.abc import Iterator
from pathlib import Path

from hypothesis import example, given
from hypothesis import strategies as st

from sftpgw.config.ini_file import Faults, FileText, Section, read_text, section_steps
from sftpgw.config.ini_grammar import STEP_LINES, BadLine, WrittenSection, lines_of, read_written
from sftpgw.model.steps import finish

FILE = Path("users.ini")

PIECES = st.sampled_from(
    [
        *("", " ", "\t", "  ", "a", "key", "[a]", "[b]", "[", "]", "=", " = ", "#", ";", "x y"),
        *("\x0b", "ä", "\u2003", "\x85", "\ufeff", "v=w", "[]"),
    ]
)
LINES = st.lists(PIECES, max_size=5).map("".join)
ENDS = st.sampled_from(["\n", "\n", "\n", "\r\n", "\r"])
TEXTS = st.lists(st.tuples(LINES, ENDS), max_size=12).map(
    lambda lines: "".join(line + end for line, end in lines)
)
FIRST = st.sampled_from(["[a]\n", "[a]\nk = v\n", "[a]\n  k = v\n", ""])


def by_configparser(text: str) -> dict[str, dict[str, str]]:
    ini = configparser.ConfigParser(interpolation=None, delimiters=("=",), default_section="")
    ini.optionxform = str  # type: ignore[assignment,method-assign]
    ini.read_file(text.replace("\r\n", "\n").replace("\r", "\n").split("\n"))
    return {name: dict(ini[name]) for name in ini.sections()}


def sections_of(text: str, faults: Faults) -> dict[str, Section]:
    sections = finish(section_steps(FileText(FILE, text), faults))
    assert sections is not None
    return sections


@given(FIRST, TEXTS)
@example("[a]\nk = v\n", " # c\n\n  x\n\n\n")
@example("", "[a] behind\n[b]c]\nk==v\n\n")
def test_a_file_means_what_configparser_reads(first: str, text: str) -> None:
    faults = Faults()
    found = sections_of(first + text, faults)
    try:
        meant = by_configparser(first + text)
    except configparser.Error:
        assert faults.lines != []
    else:
        assert faults.lines == []
        assert {name: dict(section.given) for name, section in found.items()} == meant


@given(FIRST, TEXTS)
def test_each_line_of_a_value_has_its_number(first: str, text: str) -> None:
    lines = [line.strip() for line in lines_of(first + text)]
    for section in sections_of(first + text, Faults()).values():
        assert f"[{section.name}]" in lines[section.line - 1]
        for key, value in section.given.items():
            numbers = section.lines[key]
            own = [lines[number - 1] for number in numbers]
            own[0] = own[0].removeprefix(key).lstrip().removeprefix("=").lstrip()
            assert own == value.split("\n")
            assert list(numbers) == sorted(set(numbers))


@given(FIRST, TEXTS)
def test_no_line_is_lost(first: str, text: str) -> None:
    """Each line is part of a section, or at fault, or blank, or a comment."""
    lines = [line.strip() for line in lines_of(first + text)]
    told: set[int] = set()
    for found in read_written(lines_of(first + text)):
        if isinstance(found, BadLine):
            told.add(found.number)
        elif isinstance(found, WrittenSection):
            told.add(found.number)
            told |= {number for written in found.keys for number in written.numbers}
    rest = [line for number, line in enumerate(lines, start=1) if number not in told]
    assert all(not line or line.startswith(("#", ";")) for line in rest)


def test_a_step_reads_a_bounded_number_of_lines() -> None:
    read = 0

    def counted() -> Iterator[str]:
        nonlocal read
        for number in range(20 * STEP_LINES):
            read += 1
            yield "[one]\n" if number == 0 else f"key{number} = value\n"

    before = 0
    steps = 0
    for found in read_written(counted()):
        assert read - before <= STEP_LINES
        before, steps = read, steps + 1
        assert found is None or isinstance(found, WrittenSection)
    assert steps == 21


def test_a_byte_that_is_not_utf_8_is_told(tmp_path: Path) -> None:
    (tmp_path / "a.ini").write_bytes(b"\xef\xbb\xbf[a]\n")
    assert read_text(tmp_path / "a.ini").text == "[a]\n"
    (tmp_path / "a.ini").write_bytes(b"[a]\n\xff")
    assert read_text(tmp_path / "a.ini").fault.startswith("is not UTF-8 at byte 4")
