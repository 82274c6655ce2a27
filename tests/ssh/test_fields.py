"""The fields of packets: nothing is read beyond the end, and no control character is logged."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sftpgw.ssh.fields import MalformedPacket, PacketFields, printable


def test_fields_are_read_in_order() -> None:
    fields = PacketFields(b"\0\0\0\x02hi" + b"\x01" + b"\0\0\1\0" + b"raw" + b"the rest")
    assert fields.string() == b"hi"
    assert fields.boolean() is True
    assert fields.uint32() == 256
    assert fields.raw(3) == b"raw"
    assert fields.rest() == b"the rest"
    fields.end()


@pytest.mark.parametrize(
    "payload", [b"", b"\0", b"\0\0\0\1", b"\0\0\0\5four", b"\xff\xff\xff\xffx"]
)
def test_a_truncated_string_is_refused(payload: bytes) -> None:
    with pytest.raises(MalformedPacket, match="ends before"):
        PacketFields(payload).string()


def test_surplus_bytes_are_refused() -> None:
    with pytest.raises(MalformedPacket, match="goes on"):
        PacketFields(b"x").end()


@given(st.binary(max_size=300))
def test_printable_text_is_one_short_line(data: bytes) -> None:
    text = printable(data)
    assert text.isprintable() or text == ""
    assert len(text) <= 4 * 128


def test_printable_text_without_control_characters_is_unchanged() -> None:
    assert printable("jörg o'neil".encode()) == "jörg o'neil"
    assert printable(b"a\nb\x1b[31m\xff") == "a\\x0ab\\x1b[31m\\xff"
