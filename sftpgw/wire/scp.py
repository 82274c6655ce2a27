"""The lines of the classic scp protocol.

Knows: the formats of headers, replies and messages, and their bounds.
Must not know: what a header means for any file, or how bytes of files are moved.

The only specification is OpenSSH's ``scp.c``. One side is the source, the other the sink.

Rules

1. A header is one line from the source: ``C<mode> <size> <name>`` announces a file,
   ``D<mode> 0 <name>`` a directory, ``E`` ends one, and ``T<mtime> <µs> <atime> <µs>`` tells
   the times of the file or directory of the next C or D.
2. Every header, and every file's bytes, is answered by the sink: a zero byte, or `WARNING` or
   `FATAL` and a line that says what is wrong. A file's bytes are followed by one of the same
   from the source: whether it could read them all.
3. A name is one segment of a path: without slash, NUL or line end, neither ``.`` nor ``..``.
4. A line has at most `MAX_LINE_BYTES`, numbers are plain digits.
5. The parser reads every line that the writer writes, and the writer writes every header that
   the parser reads.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TypeAlias

from sftpgw.errors import GatewayError

OK = b"\0"
WARNING = b"\1"
FATAL = b"\2"

MAX_LINE_BYTES = 4096
MAX_FILE_BYTES = 2**63 - 1
MAX_MODE = 0o7777


class MalformedLine(GatewayError):
    """A line is malformed. The bytes behind it cannot be understood either."""


class UnfitName(GatewayError):
    """A name that the protocol cannot carry."""


@dataclass(frozen=True, slots=True)
class FileHeader:
    """``C``: a file of this size follows."""

    mode: int
    size_bytes: int
    name: bytes


@dataclass(frozen=True, slots=True)
class DirectoryHeader:
    """``D``: the headers that follow are in this directory, up to its `EndOfDirectory`."""

    mode: int
    name: bytes


@dataclass(frozen=True, slots=True)
class EndOfDirectory:
    """``E``."""


@dataclass(frozen=True, slots=True)
class Times:
    """``T``: the times of the next file or directory, with microseconds."""

    modified_seconds: int
    accessed_seconds: int
    modified_microseconds: int = 0
    accessed_microseconds: int = 0


@dataclass(frozen=True, slots=True)
class Message:
    """An error at the other end: of one file, or a fatal one."""

    is_fatal: bool
    text: bytes


Header: TypeAlias = FileHeader | DirectoryHeader | EndOfDirectory | Times | Message

_NUMBER = rb"(0|[1-9][0-9]{0,19})"
_NAMED = re.compile(rb"([CD])([0-7]{3,6}) " + _NUMBER + rb" (.*)", re.DOTALL)
_TIMES = re.compile(rb"T" + rb" ".join([_NUMBER] * 4))


def parse_line(line: bytes) -> Header:
    """The header or message of a line from the source.

    :param line: without its line feed.
    :raises MalformedLine: it is neither.
    """
    if line[:1] in (WARNING, FATAL):
        return Message(line[:1] == FATAL, line[1:])
    if line == b"E":
        return EndOfDirectory()
    if times := _TIMES.fullmatch(line):
        return _times(*map(int, times.groups()))
    named = _NAMED.fullmatch(line)
    if named is None:
        raise MalformedLine(f"expected a header, got {_shown(line)}")
    kind, mode, size, name = named.groups()
    if not is_fit(name):
        raise MalformedLine(f"unexpected file name {_shown(name)}")
    return _named(kind, int(mode, 8) & MAX_MODE, int(size), name)


def _named(kind: bytes, mode: int, size_bytes: int, name: bytes) -> Header:
    if size_bytes > MAX_FILE_BYTES:
        raise MalformedLine(f"a file of {size_bytes} bytes")
    return DirectoryHeader(mode, name) if kind == b"D" else FileHeader(mode, size_bytes, name)


def _times(modified: int, modified_micros: int, accessed: int, accessed_micros: int) -> Times:
    if max(modified, accessed) > MAX_FILE_BYTES or max(modified_micros, accessed_micros) > 999_999:
        raise MalformedLine("times out of bounds")
    return Times(modified, accessed, modified_micros, accessed_micros)


def encode(header: Header) -> bytes:
    """The line for `header`, with its end. :raises UnfitName:"""
    match header:
        case FileHeader(mode, size_bytes, name):
            return b"C%04o %d %s\n" % (mode, size_bytes, _checked(name))
        case DirectoryHeader(mode, name):
            return b"D%04o 0 %s\n" % (mode, _checked(name))
        case EndOfDirectory():
            return b"E\n"
        case Times():
            return b"T%d %d %d %d\n" % (
                header.modified_seconds,
                header.modified_microseconds,
                header.accessed_seconds,
                header.accessed_microseconds,
            )
        case Message(is_fatal, text):
            return (FATAL if is_fatal else WARNING) + _one_line(text) + b"\n"


def message(sentence: str, *, is_fatal: bool = False) -> bytes:
    """A reply that is not OK, in OpenSSH's form: clients show it as it is."""
    return encode(Message(is_fatal, f"scp: {sentence}".encode()))


def is_fit(name: bytes) -> bool:
    """Whether a header can carry a name."""
    return name not in (b"", b".", b"..") and not any(byte in name for byte in b"/\0\n")


def _checked(name: bytes) -> bytes:
    if not is_fit(name):
        raise UnfitName(f"scp cannot send a file of the name {_shown(name)}; use sftp")
    return name


def _one_line(text: bytes) -> bytes:
    """A message without line ends, cut to the reader's bound."""
    return text.replace(b"\n", b"?").replace(b"\0", b"?")[: MAX_LINE_BYTES - 2]


def _shown(line: bytes) -> str:
    return ascii(line[:100].decode("utf-8", "backslashreplace"))
