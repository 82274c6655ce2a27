"""scp's lines: the parser against its own writer, and against everything else."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sftpgw.wire import scp as wire
from sftpgw.wire.scp import (
    DirectoryHeader,
    EndOfDirectory,
    FileHeader,
    MalformedLine,
    Message,
    Times,
    UnfitName,
)

NAMES = st.binary(min_size=1, max_size=300).filter(wire.is_fit)
MODES = st.integers(0, 0o7777)
SECONDS = st.integers(0, wire.MAX_FILE_BYTES)
MICROSECONDS = st.integers(0, 999_999)
TEXTS = st.binary(max_size=300).filter(lambda text: b"\n" not in text and b"\0" not in text)
HEADERS = st.one_of(
    st.builds(FileHeader, MODES, st.integers(0, wire.MAX_FILE_BYTES), NAMES),
    st.builds(DirectoryHeader, MODES, NAMES),
    st.builds(EndOfDirectory),
    st.builds(Times, SECONDS, SECONDS, MICROSECONDS, MICROSECONDS),
    st.builds(Message, st.booleans(), TEXTS),
)


@given(HEADERS)
def test_a_written_line_is_read_back(header: wire.Header) -> None:
    line = wire.encode(header)
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    assert len(line) <= wire.MAX_LINE_BYTES
    assert wire.parse_line(line[:-1]) == header


@given(st.binary(max_size=100) | NAMES.map(lambda name: b"C0644 5 " + name[:50]))
def test_any_line_is_a_header_or_malformed(line: bytes) -> None:
    try:
        header = wire.parse_line(line)
    except MalformedLine:
        return
    if not isinstance(header, Message):
        # Modes of other lengths than four digits are the one thing that is written otherwise.
        assert wire.parse_line(wire.encode(header)[:-1]) == header


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"X",
        b"E ",
        b"C",
        b"C0644",
        b"C0644 5",
        b"C0644 5 ",
        b"C0644 -1 a",
        b"C0644 +1 a",
        b"C0644 05 a",
        b"C0644 1e3 a",
        b"C0644 \xd9\xa1 a",
        b"C0644 9223372036854775808 a",
        b"C0644 99999999999999999999999999 a",
        b"C0999 5 a",
        b"C64 5 a",
        b"C0644  5 a",
        b"C0644 5 .",
        b"C0644 5 ..",
        b"C0644 5 a/b",
        b"C0644 5 /",
        b"C0644 5 a\0b",
        b"D0755 0 ..",
        b"D0755 0 ../../etc",
        b"T1 2 3",
        b"T1 2 3 4 5",
        b"T-1 0 1 0",
        b"T1 1000000 1 0",
        b"T9223372036854775808 0 1 0",
        b"c0644 5 a",
    ],
)
def test_malformed_lines(line: bytes) -> None:
    with pytest.raises(MalformedLine):
        wire.parse_line(line)


def test_lines_as_openssh_has_them() -> None:
    assert wire.parse_line(b"C0644 299 group name") == FileHeader(0o644, 299, b"group name")
    assert wire.parse_line(b"D2755 0 it's") == DirectoryHeader(0o2755, b"it's")
    assert wire.parse_line(b"T1183828267 0 1183828268 7") == Times(1183828267, 1183828268, 0, 7)
    assert wire.parse_line(b"\1scp: x: no") == Message(False, b"scp: x: no")
    assert wire.encode(FileHeader(0o600, 0, b"a")) == b"C0600 0 a\n"


@pytest.mark.parametrize("name", [b"", b".", b"..", b"a/b", b"two\nlines", b"nu\0l"])
def test_a_name_that_no_line_can_carry_is_not_written(name: bytes) -> None:
    with pytest.raises(UnfitName):
        wire.encode(FileHeader(0o644, 1, name))
    with pytest.raises(UnfitName):
        wire.encode(DirectoryHeader(0o755, name))


@given(st.text())
def test_a_message_is_one_line_of_bounded_length(sentence: str) -> None:
    line = wire.message(sentence.encode("utf-8", "replace").decode() * 50)
    assert line.startswith(b"\1scp: ")
    assert line.index(b"\n") == len(line) - 1 < wire.MAX_LINE_BYTES
