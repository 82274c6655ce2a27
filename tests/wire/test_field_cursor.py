"""`wire/field_cursor`: nothing is read beyond the end, and what is read is not read again."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sftpgw.wire.field_cursor import FieldCursor


class CutShort(Exception):
    """The packet ends before its fields do."""


class TooLong(Exception):
    """It goes on after its last field."""


class Cursor(FieldCursor):
    def cut_short(self, why: str) -> Exception:
        return CutShort(why)

    def too_long(self, why: str) -> Exception:
        return TooLong(why)


WRITERS = {
    "uint32": lambda number: struct.pack(">L", number % 2**32),
    "uint64": lambda number: struct.pack(">Q", number),
    "boolean": lambda number: bytes([number % 2]),
    "string": lambda number: struct.pack(">L", number % 50) + bytes(number % 50),
}


@given(
    st.lists(st.tuples(st.sampled_from(sorted(WRITERS)), st.integers(0, 2**64 - 1)), min_size=1),
    st.integers(0, 4),
)
def test_any_row_of_fields_comes_back_and_a_shorter_one_is_refused(
    fields: list[tuple[str, int]], offset: int
) -> None:
    payload = bytes(offset) + b"".join(WRITERS[kind](number) for kind, number in fields)
    cursor = Cursor(payload, offset)
    for kind, number in fields:
        value = getattr(cursor, kind)()
        if kind == "string":
            assert value == bytes(number % 50)
        else:
            assert (
                value == {"uint32": number % 2**32, "uint64": number, "boolean": number % 2}[kind]
            )
    cursor.end()
    shorter = Cursor(payload[:-1], offset)
    with pytest.raises(CutShort):
        for kind, _ in fields:
            getattr(shorter, kind)()


def test_what_is_left_is_told() -> None:
    cursor = Cursor(b"abcdef", 1)
    assert (cursor.raw(2), cursor.left_bytes) == (b"bc", 3)
    with pytest.raises(TooLong, match="3 bytes too many"):
        cursor.end()
    with pytest.raises(CutShort):
        cursor.raw(4)
    assert cursor.rest() == b"def"
    cursor.end()


@pytest.mark.parametrize("payload", [b"\0\0\0\5four", b"\xff\xff\xff\xffx"])
def test_a_string_says_how_much_of_it_is_there(payload: bytes) -> None:
    with pytest.raises(CutShort, match="a string claims"):
        Cursor(payload).string()
