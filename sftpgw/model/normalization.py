"""The same characters in other bytes: names and passwords as different systems type them.

Knows: Unicode's canonical equivalence (UAX 15). An "ö" is one character from most keyboards (NFC),
and two from some programs on macOS (NFD). RFC 4013 has servers compare what both amount to.
Must not know: whose name or password it is.
"""

from __future__ import annotations

import unicodedata
from typing import Literal

LONGEST_BYTES = 2048
"""What is longer is compared as it is: normalising takes quadratic time, and no name and no
password is so long."""


def normalized(name: str) -> str:
    """`name` in NFC: names of the same characters are the same."""
    return unicodedata.normalize("NFC", name) if len(name) <= LONGEST_BYTES else name


def normalized_bytes(name: bytes) -> bytes:
    """The same of a name in UTF-8; what is none, or too long, stays as it is."""
    return _in_form("NFC", name) if len(name) <= LONGEST_BYTES else name


def spellings(text: bytes) -> tuple[bytes, ...]:
    """`text` as it is, then in NFC and NFD where those differ.

    A hash cannot be normalised, and may have been made from either.
    """
    if len(text) > LONGEST_BYTES:
        return (text,)
    return tuple(dict.fromkeys((text, _in_form("NFC", text), _in_form("NFD", text))))


def _in_form(form: Literal["NFC", "NFD"], text: bytes) -> bytes:
    try:
        return unicodedata.normalize(form, text.decode("utf-8")).encode("utf-8")
    except UnicodeDecodeError:
        return text
