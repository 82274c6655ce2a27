"""The header of the PROXY protocol, versions 1 and 2: names the client behind a load balancer.

Knows: HAProxy's "The PROXY protocol", sections 2.1, 2.2 and 5.
Must not know: sockets, or which peers may send a header.

This parser is stricter than Twisted's (`twisted.protocols.haproxy`), which accept any text as an
address, raise ValueError for a malformed port, and need the first 16 bytes in one read. The fields
that version 2 has behind the addresses (TLVs, including a checksum) are skipped.
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address

V1_START = b"PROXY "
V1_BYTES = 107
"""The longest line of version 1, including its end."""

V2_START = b"\r\n\r\n\0\r\nQUIT\n"
V2_FIXED_BYTES = 16
V2_BYTES = 4096
"""The longest accepted header of version 2, including TLVs. 536 bytes fit into any first segment,
and AWS adds less than 100."""

_PORT = re.compile(rb"0|[1-9][0-9]{0,4}")
_LOCAL, _PROXY = 0x20, 0x21
_UNSPECIFIED, _TCP4, _TCP6, _UNIX_STREAM = 0x00, 0x11, 0x21, 0x31
_ADDRESS_BYTES = {_UNSPECIFIED: 0, _TCP4: 12, _TCP6: 36, _UNIX_STREAM: 216}


class BadProxyHeader(Exception):
    """The bytes are not a header of the PROXY protocol."""


@dataclass(frozen=True, slots=True)
class ProxyHeader:
    """The contents of a header.

    :ivar client: address and port of the client; None if the connection is the balancer's own (a
        health check: LOCAL, UNKNOWN), or if the client has no such address (a UNIX socket).
    :ivar size_bytes: the size of the header; the client's own bytes follow.
    """

    client: tuple[str, int] | None
    size_bytes: int


def parse_proxy_header(data: bytes) -> ProxyHeader | None:
    """The header at the beginning of `data`; None until it is complete.

    :raises BadProxyHeader: `data` is not the beginning of a header; says why.
    """
    if data[: len(V2_START)] == V2_START[: len(data)]:
        return _parse_v2(data) if len(data) >= V2_FIXED_BYTES else None
    if data[: len(V1_START)] == V1_START[: len(data)]:
        return _parse_v1(data)
    raise BadProxyHeader("neither of the two beginnings of a header")


def _parse_v1(data: bytes) -> ProxyHeader | None:
    end = data.find(b"\r\n", 0, V1_BYTES)
    if end < 0:
        if len(data) >= V1_BYTES:
            raise BadProxyHeader("the line is too long")
        return None
    return ProxyHeader(_v1_client(data[:end].split(b" ")[1:]), end + 2)


def _v1_client(words: list[bytes]) -> tuple[str, int] | None:
    if words[0] == b"UNKNOWN":  # the rest of the line is to be ignored
        return None
    if words[0] not in (b"TCP4", b"TCP6") or len(words) != 5:
        raise BadProxyHeader("not a protocol, two addresses and two ports")
    source, target, source_port, target_port = words[1:]
    _v1_address(words[0], target)
    _v1_port(target_port)
    return _v1_address(words[0], source), _v1_port(source_port)


def _v1_address(protocol: bytes, text: bytes) -> str:
    try:
        address = text.decode("ascii")
        if "%" in address:
            raise ValueError("a zone means nothing here")
        return _shown(IPv4Address(address) if protocol == b"TCP4" else IPv6Address(address))
    except ValueError:
        raise BadProxyHeader("not an address") from None


def _v1_port(text: bytes) -> int:
    if not _PORT.fullmatch(text) or int(text) > 0xFFFF:
        raise BadProxyHeader("not a port")
    return int(text)


def _parse_v2(data: bytes) -> ProxyHeader | None:
    command, family, length = struct.unpack_from(">BBH", data, len(V2_START))
    size_bytes = V2_FIXED_BYTES + length
    if command not in (_LOCAL, _PROXY):
        raise BadProxyHeader("an unknown version or command")
    if size_bytes > V2_BYTES:
        raise BadProxyHeader("the header is too long")
    if command == _PROXY and family not in _ADDRESS_BYTES:
        raise BadProxyHeader("neither TCP nor a UNIX stream")
    if command == _PROXY and length < _ADDRESS_BYTES[family]:
        raise BadProxyHeader("the header is too short for its addresses")
    if len(data) < size_bytes:
        return None
    client = _v2_client(family, data) if command == _PROXY else None
    return ProxyHeader(client, size_bytes)


def _v2_client(family: int, data: bytes) -> tuple[str, int] | None:
    if family == _TCP4:
        source, _, port = struct.unpack_from(">4s4sH", data, V2_FIXED_BYTES)
        return _shown(IPv4Address(source)), port
    if family == _TCP6:
        source, _, port = struct.unpack_from(">16s16sH", data, V2_FIXED_BYTES)
        return _shown(IPv6Address(source)), port
    return None


def _shown(address: IPv4Address | IPv6Address) -> str:
    """As text; an IPv4 address that is mapped into IPv6 becomes IPv4 again."""
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return str(mapped or address)
