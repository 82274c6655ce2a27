"""Command lines: the words that a shell would make of them.

Knows: quotes, backslashes, and which characters of a word stand for themselves.
Must not know: any command, or what a pattern matches.

Rules

1. Blanks, tabs and line ends separate words. ``'…'`` is taken as it is. In ``"…"`` a
   backslash protects ``"``, ``\\``, ``$`` and `````; elsewhere it protects any character.
2. Nothing is executed, and nothing is replaced: ``$HOME`` and `````ls````` are text. Only ``~``
   alone, or before a slash, is the home directory, which is ``/`` for every user.
3. An unquoted ``;``, ``|``, ``&``, ``<`` or ``>`` asks for what only a shell could do. The line
   is refused: half of it would be another command.
4. A word is a pattern if it has an unquoted ``*``, ``?`` or ``[``. In a pattern, a special
   character that was quoted has a backslash.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from sftpgw.errors import GatewayError

MAX_LINE_BYTES = 16 * 1024

BLANKS = b" \t\r\n"
OPERATORS = b";|&<>"
MAGIC = b"*?["
_SPECIAL = b"*?[]\\"
_AFTER_BACKSLASH_IN_QUOTES = b'"\\$`'


class BadCommandLine(GatewayError):
    """A line cannot be split into words."""


@dataclass(frozen=True, slots=True)
class Word:
    """A word.

    :ivar text: the word without quotes.
    :ivar pattern: its pattern; None if it matches itself only.
    """

    text: bytes
    pattern: bytes | None = None


def split(line: bytes) -> tuple[Word, ...]:
    """:raises BadCommandLine: quotes without end, a shell's operators, or too long."""
    if len(line) > MAX_LINE_BYTES:
        raise BadCommandLine(f"the command has over {MAX_LINE_BYTES} bytes")
    if b"\0" in line:
        raise BadCommandLine("the command contains a NUL byte")
    words: list[Word] = []
    growing: _Growing | None = None
    for byte, is_quoted in _characters(line):
        if not is_quoted and byte in BLANKS and byte:
            words += [growing.word] if growing else []
            growing = None
            continue
        if not is_quoted and byte in OPERATORS and byte:
            raise BadCommandLine(f"{byte.decode()} needs a shell; there is none here, or quote it")
        growing = growing or _Growing()
        growing.add(byte, is_quoted)
    return (*words, growing.word) if growing else tuple(words)


def _characters(line: bytes) -> Iterator[tuple[bytes, bool]]:
    """Each character and whether it was quoted. An opening quote yields an empty one."""
    quote, at = b"", 0
    while at < len(line):
        byte, at = line[at : at + 1], at + 1
        if byte == quote:
            quote = b""
        elif not quote and byte in b"'\"":
            quote = byte
            yield b"", True
        elif byte == b"\\" and quote != b"'":
            byte, at = line[at : at + 1], at + 1
            if not byte:
                raise BadCommandLine("the command ends with a backslash")
            if quote and byte not in _AFTER_BACKSLASH_IN_QUOTES:
                yield b"\\", True
            yield byte, True
        else:
            yield byte, bool(quote)
    if quote:
        raise BadCommandLine(f"a quote {quote.decode()} is not closed")


class _Growing:
    """A word that has begun."""

    def __init__(self) -> None:
        self._text = bytearray()
        self._pattern = bytearray()
        self._is_pattern = False
        self._may_be_home = False

    def add(self, byte: bytes, is_quoted: bool) -> None:
        """Add a character. An empty one makes a word of quotes alone."""
        if not self._text and byte == b"~":
            self._may_be_home = not is_quoted
        self._text += byte
        if byte and byte in _SPECIAL:
            self._is_pattern |= not is_quoted and byte in MAGIC
            self._pattern += b"\\" + byte if is_quoted else byte
        else:
            self._pattern += byte

    @property
    def word(self) -> Word:
        text, pattern = bytes(self._text), bytes(self._pattern)
        if self._may_be_home and (text + b"/").startswith(b"~/"):
            text, pattern = b"/" + text[2:], b"/" + pattern[2:]
        return Word(text, pattern if self._is_pattern else None)
