"""Unicode normalization: the same characters in other bytes.

Knows: Unicode's canonical equivalence (UAX 15). Most keyboards send an "ö" as one character (NFC),
some programs on macOS send two (NFD). RFC 4013 has servers compare the normalized forms.
Must not know: users, passwords.
"""

from __future__ import annotations

import unicodedata
from typing import Literal

LONGEST_BYTES = 2048
"""Longer texts are compared as they are: normalization takes quadratic time, and no name or
password is that long."""


def normalized(name: str) -> str:
    """A name in NFC, so that names of the same characters are equal."""
    return unicodedata.normalize("NFC", name) if len(name) <= LONGEST_BYTES else name


def normalized_bytes(name: bytes) -> bytes:
    """As `normalized`, for UTF-8; other bytes, and too long ones, stay as they are."""
    return _in_form("NFC", name) if len(name) <= LONGEST_BYTES else name


def spellings(text: bytes) -> tuple[bytes, ...]:
    """A text as it is, then in NFC and NFD if these differ.

    A password hash cannot be normalized, and may have been made from any of these.
    """
    if len(text) > LONGEST_BYTES:
        return (text,)
    return tuple(dict.fromkeys((text, _in_form("NFC", text), _in_form("NFD", text))))


def _in_form(form: Literal["NFC", "NFD"], text: bytes) -> bytes:
    try:
        return unicodedata.normalize(form, text.decode("utf-8")).encode("utf-8")
    except UnicodeDecodeError:
        return text
