"""The messages of LDAP that the gateway sends and reads: bind, search, StartTLS.

Knows: RFC 4511. Must not know: sockets, or what attributes mean.

https://www.rfc-editor.org/rfc/rfc4511
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import islice

from sftpgw.wire.ber import (
    BOOLEAN,
    ENUMERATED,
    INTEGER,
    OCTETS,
    SEQUENCE,
    SET,
    BadBer,
    Fields,
    boolean,
    element,
    elements,
    integer,
    number,
)

MAX_VALUES = 1_000
"""How many values an entry may have."""

LONGEST_TEXT_BYTES = 300
"""How much is kept of what a server says of a result: it is for the log."""

START_TLS = b"1.3.6.1.4.1.1466.20037"
NO_ATTRIBUTES = "1.1"
"""Asked for where the name of an entry is enough (RFC 4511, section 4.5.1.8)."""

ANY_ATTRIBUTE_FILTER = element(0x87, b"objectClass")
"""``(objectClass=*)``, which every entry matches."""

_VERSION = 3
_SIMPLE, _EXTENDED_NAME, _REFERRAL = 0x80, 0x80, 0xA3
_BIND, _UNBIND, _SEARCH, _EXTENDED = 0x60, 0x42, 0x63, 0x77
_NEVER_DEREFERENCE = 0


class Reply(enum.IntEnum):
    """The answers that are understood, by their tags."""

    BIND = 0x61
    ENTRY = 0x64
    SEARCH_DONE = 0x65
    REFERENCE = 0x73
    EXTENDED = 0x78


class ResultCode(enum.IntEnum):
    """Results that are told apart (RFC 4511, appendix A)."""

    SUCCESS = 0
    OPERATIONS_ERROR = 1
    PROTOCOL_ERROR = 2
    TIME_LIMIT_EXCEEDED = 3
    SIZE_LIMIT_EXCEEDED = 4
    AUTH_METHOD_NOT_SUPPORTED = 7
    STRONGER_AUTH_REQUIRED = 8
    REFERRAL = 10
    ADMIN_LIMIT_EXCEEDED = 11
    CONFIDENTIALITY_REQUIRED = 13
    CONSTRAINT_VIOLATION = 19
    INVALID_ATTRIBUTE_SYNTAX = 21
    NO_SUCH_OBJECT = 32
    INVALID_DN_SYNTAX = 34
    INAPPROPRIATE_AUTHENTICATION = 48
    INVALID_CREDENTIALS = 49
    INSUFFICIENT_ACCESS_RIGHTS = 50
    BUSY = 51
    UNAVAILABLE = 52
    UNWILLING_TO_PERFORM = 53


class Scope(enum.IntEnum):
    """Where a search looks."""

    BASE = 0
    SUBTREE = 2


@dataclass(frozen=True, slots=True)
class LdapMessage:
    """An answer.

    :ivar number: of the request; 0 for what the server says by itself.
    :ivar tag: which answer it is.
    :ivar content: the rest.
    """

    number: int
    tag: int
    content: bytes


@dataclass(frozen=True, slots=True)
class Result:
    """How a request has ended.

    :ivar code: 0 for success.
    :ivar text: what the server says of it, as far as it is kept.
    """

    code: int
    text: str

    def __str__(self) -> str:
        known = {member.value: member.name.lower().replace("_", " ") for member in ResultCode}
        name = f"result {self.code}" + (f", {known[self.code]}" if self.code in known else "")
        return f"{name}: {self.text}" if self.text else name


@dataclass(frozen=True, slots=True)
class LdapEntry:
    """An entry of the directory.

    :ivar dn: its name.
    :ivar attributes: its values, by the name of the attribute in lower case, without options.
    """

    dn: str
    attributes: Mapping[str, tuple[bytes, ...]]

    def values(self, attribute: str) -> tuple[bytes, ...]:
        """The values of an attribute.

        :param attribute: its name, in any case.
        """
        return self.attributes.get(attribute.lower(), ())


@dataclass(frozen=True, slots=True)
class Search:
    """What is searched for.

    :ivar base: the name of the entry at which the search begins.
    :ivar scope: whether that entry is looked at only, or all below it, too.
    :ivar filter: an encoded filter (`ldap_filters`).
    :ivar attributes: the names of the attributes that are wanted.
    :ivar most: how many entries the server may send.
    """

    base: str
    scope: Scope
    filter: bytes
    attributes: tuple[str, ...]
    most: int


def bind_request(message: int, dn: str, password: bytes) -> bytes:
    """A simple bind.

    :param message: the number of the message.
    :param dn: the name of the entry.
    :param password: its password.
    :raises ValueError: the password is empty: servers answer that with success, and have checked
        nothing (RFC 4513, section 5.1.2).
    """
    if not password:
        raise ValueError("an empty password is no password")
    body = element(
        _BIND, integer(_VERSION), element(OCTETS, dn.encode()), element(_SIMPLE, password)
    )
    return element(SEQUENCE, integer(message), body)


def search_request(message: int, search: Search, time_limit_seconds: int) -> bytes:
    """A search. Aliases are not followed.

    :param message: the number of the message.
    :param search: what is searched for.
    :param time_limit_seconds: how long the server may search.
    """
    body = element(
        _SEARCH,
        element(OCTETS, search.base.encode()),
        integer(search.scope, ENUMERATED),
        integer(_NEVER_DEREFERENCE, ENUMERATED),
        integer(search.most),
        integer(time_limit_seconds),
        boolean(False, BOOLEAN),
        search.filter,
        element(SEQUENCE, *(element(OCTETS, name.encode()) for name in search.attributes)),
    )
    return element(SEQUENCE, integer(message), body)


def start_tls_request(message: int) -> bytes:
    """Asks for TLS.

    :param message: the number of the message.
    """
    body = element(_EXTENDED, element(_EXTENDED_NAME, START_TLS))
    return element(SEQUENCE, integer(message), body)


def unbind_request(message: int) -> bytes:
    """The last message of a connection.

    :param message: the number of the message.
    """
    return element(SEQUENCE, integer(message), element(_UNBIND))


def read_message(data: bytes) -> LdapMessage:
    """The answer in `data`. Its controls are not looked at.

    :param data: one whole element.
    :raises BadBer: it is none.
    """
    outer = list(elements(data))
    if len(outer) != 1 or outer[0][0] != SEQUENCE:
        raise BadBer("a message is no sequence")
    parts = list(islice(elements(outer[0][1]), 2))
    if len(parts) < 2 or parts[0][0] != INTEGER:
        raise BadBer("a message has no number, or no answer")
    tag, content = parts[1]
    return LdapMessage(number(parts[0][1]), tag, content)


def read_result(content: bytes) -> Result:
    """How a request has ended.

    :param content: that of an answer to a bind, of the end of a search, or of an extended answer.
    :raises BadBer: it is none.
    """
    fields = Fields(content)
    code = fields.take_number(ENUMERATED)
    fields.take(OCTETS)  # the name of the last entry on the way that exists
    text = fields.take(OCTETS)[:LONGEST_TEXT_BYTES]
    return Result(code, text.decode("utf-8", "replace"))


def read_entry(content: bytes) -> LdapEntry:
    """An entry that a search has found.

    :param content: that of an answer `Reply.ENTRY`.
    :raises BadBer: it is none, or has over `MAX_VALUES` values.
    """
    fields = Fields(content)
    try:
        dn = fields.take(OCTETS).decode("utf-8")
    except UnicodeDecodeError:
        raise BadBer("the name of an entry is not UTF-8") from None
    found: dict[str, tuple[bytes, ...]] = {}
    count = 0
    for tag, attribute in elements(fields.take(SEQUENCE)):
        if tag != SEQUENCE:
            raise BadBer("an attribute is no sequence")
        parts = Fields(attribute)
        name = _attribute_name(parts.take(OCTETS))
        values = tuple(islice(_octets(elements(parts.take(SET))), MAX_VALUES + 1))
        count += 1 + len(values)
        if count > MAX_VALUES:
            raise BadBer(f"an entry has over {MAX_VALUES} values")
        found[name] = found.get(name, ()) + values
    return LdapEntry(dn, found)


def _attribute_name(description: bytes) -> str:
    """The name without options such as ``;binary`` and ``;lang-en``."""
    return description.partition(b";")[0].decode("ascii", "replace").lower()


def _octets(found: Iterable[tuple[int, bytes]]) -> Iterable[bytes]:
    for tag, content in found:
        if tag != OCTETS:
            raise BadBer("a value is no octet string")
        yield content
