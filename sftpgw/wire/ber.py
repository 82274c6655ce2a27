"""BER as far as LDAP uses it (RFC 4511, section 5.1): elements with a tag, a length and a content.

Knows: lengths are definite, tags have one byte, and nothing reaches beyond what it lies in.
Must not know: messages of LDAP.

https://www.rfc-editor.org/rfc/rfc4511#section-5.1
"""

from __future__ import annotations

from collections.abc import Iterator

BOOLEAN, INTEGER, OCTETS, ENUMERATED = 0x01, 0x02, 0x04, 0x0A
SEQUENCE, SET = 0x30, 0x31

_LONG_LENGTH = 0x80
_MOST_LENGTH_BYTES = 4
_MOST_INTEGER_BYTES = 4  # LDAP's numbers end at 2^31 - 1
_HIGH_TAG = 0x1F


class BadBer(Exception):
    """The bytes are no BER that LDAP allows. The text says why."""


def element(tag: int, *contents: bytes) -> bytes:
    """An element.

    :param tag: its tag.
    :param contents: what it holds, one behind the other.
    """
    content = b"".join(contents)
    size_bytes = len(content)
    if size_bytes < _LONG_LENGTH:
        return bytes((tag, size_bytes)) + content
    length = size_bytes.to_bytes((size_bytes.bit_length() + 7) // 8, "big")
    return bytes((tag, _LONG_LENGTH | len(length))) + length + content


def integer(value: int, tag: int = INTEGER) -> bytes:
    """A number.

    :param value: the number, 0 or more.
    :param tag: its tag.
    """
    return element(tag, value.to_bytes(value.bit_length() // 8 + 1, "big"))


def boolean(value: bool, tag: int = BOOLEAN) -> bytes:
    """Yes or no.

    :param value: which one.
    :param tag: its tag.
    """
    return element(tag, b"\xff" if value else b"\0")


def whole_size_bytes(data: bytes | bytearray, offset: int = 0) -> int | None:
    """How many bytes an element takes with its tag and length; None if that is not there yet.

    :param data: begins with the element, behind `offset`.
    :param offset: where it begins.
    :raises BadBer: it has none of LDAP's lengths or tags.
    """
    if len(data) < offset + 2:
        return None
    if data[offset] & _HIGH_TAG == _HIGH_TAG:
        raise BadBer("a tag has more than one byte")
    first = data[offset + 1]
    if first < _LONG_LENGTH:
        return 2 + first
    count = first & ~_LONG_LENGTH
    if not 0 < count <= _MOST_LENGTH_BYTES:
        raise BadBer("a length is indefinite, or has more than four bytes")
    if len(data) < offset + 2 + count:
        return None
    return 2 + count + int.from_bytes(data[offset + 2 : offset + 2 + count], "big")


def elements(content: bytes) -> Iterator[tuple[int, bytes]]:
    """The tags and contents of elements, one behind the other.

    :param content: holds them, and nothing else.
    :raises BadBer: it does not.
    """
    offset, end = 0, len(content)
    while offset < end:
        size_bytes = whole_size_bytes(content, offset)
        if size_bytes is None or offset + size_bytes > end:
            raise BadBer("an element is longer than what it lies in")
        first = content[offset + 1]
        head_bytes = 2 if first < _LONG_LENGTH else 2 + (first & ~_LONG_LENGTH)
        yield content[offset], content[offset + head_bytes : offset + size_bytes]
        offset += size_bytes


def number(content: bytes) -> int:
    """A number of its bytes.

    :param content: the content of an element.
    :raises BadBer: it has no byte, or more than LDAP's numbers have.
    """
    if not 0 < len(content) <= _MOST_INTEGER_BYTES:
        raise BadBer("a number has no byte, or more than four")
    return int.from_bytes(content, "big", signed=True)


class Fields:
    """The elements of a sequence, from left to right.

    :param content: the content of the sequence.
    """

    __slots__ = ("_left", "_next")

    def __init__(self, content: bytes) -> None:
        self._left = elements(content)
        self._next = next(self._left, None)

    def take(self, tag: int) -> bytes:
        """The content of the next element.

        :param tag: the tag that it must have.
        :raises BadBer: it has another one, or there is none.
        """
        found = self.take_if(tag)
        if found is None:
            raise BadBer(f"an element with the tag 0x{tag:02x} is missing")
        return found

    def take_if(self, tag: int) -> bytes | None:
        """The content of the next element; None if it has another tag.

        :param tag: the tag.
        """
        if self._next is None or self._next[0] != tag:
            return None
        found = self._next[1]
        self._next = next(self._left, None)
        return found

    def take_number(self, tag: int) -> int:
        """The next element as a number.

        :param tag: the tag that it must have.
        :raises BadBer: it is none, or too large.
        """
        return number(self.take(tag))
