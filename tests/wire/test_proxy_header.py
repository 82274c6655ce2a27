"""Headers of the PROXY protocol: HAProxy's text, sections 2.1 and 2.2, and what is none."""

from __future__ import annotations

import struct
from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sftpgw.wire.proxy_header import (
    V1_BYTES,
    V2_BYTES,
    V2_START,
    BadProxyHeader,
    ProxyHeader,
    parse_proxy_header,
)

LOCAL, PROXY = 0x20, 0x21
TCP4, TCP6, UNIX = 0x11, 0x21, 0x31


def v2(command: int, family: int, body: bytes, length: int | None = None) -> bytes:
    size = len(body) if length is None else length
    return V2_START + struct.pack(">BBH", command, family, size) + body


def addresses(source: str, port: int = 4711) -> bytes:
    packed = ip_address(source).packed
    return packed + bytes(len(packed)) + struct.pack(">HH", port, 22)


TLVS = b"\x03\x00\x04abcd" + b"\xea\x00\x05\x01vpce"

GOOD = [
    (b"PROXY TCP4 192.0.2.1 198.51.100.1 56324 22\r\n", ("192.0.2.1", 56324)),
    (b"PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n", ("255.255.255.255", 65535)),
    (b"PROXY TCP6 2001:db8::1 2001:db8::2 1 0\r\n", ("2001:db8::1", 1)),
    (b"PROXY TCP6 ::ffff:192.0.2.1 ::1 1 22\r\n", ("192.0.2.1", 1)),
    (b"PROXY UNKNOWN\r\n", None),
    (b"PROXY UNKNOWN ffff::1 whatever 1 2 3\r\n", None),
    (v2(PROXY, TCP4, addresses("192.0.2.1")), ("192.0.2.1", 4711)),
    (v2(PROXY, TCP6, addresses("2001:db8::1")), ("2001:db8::1", 4711)),
    (v2(PROXY, TCP6, addresses("::ffff:192.0.2.1")), ("192.0.2.1", 4711)),
    (v2(PROXY, TCP4, addresses("192.0.2.1") + TLVS), ("192.0.2.1", 4711)),
    (v2(PROXY, 0, b""), None),
    (v2(PROXY, UNIX, bytes(216)), None),
    (v2(LOCAL, 0, b""), None),
    (v2(LOCAL, TCP4, addresses("192.0.2.1")), None),
    (v2(LOCAL, 0xFF, b"anything"), None),
    (v2(PROXY, TCP4, addresses("192.0.2.1") + bytes(V2_BYTES - 28)), ("192.0.2.1", 4711)),
]


@pytest.mark.parametrize(("header", "client"), GOOD)
def test_a_header_names_the_client(header: bytes, client: tuple[str, int] | None) -> None:
    assert parse_proxy_header(header) == ProxyHeader(client, len(header))
    assert parse_proxy_header(header + b"SSH-2.0-x\r\n") == ProxyHeader(client, len(header))


@pytest.mark.parametrize("header", [header for header, _ in GOOD])
def test_a_header_may_come_byte_by_byte(header: bytes) -> None:
    assert all(parse_proxy_header(header[:size]) is None for size in range(len(header)))


@pytest.mark.parametrize(
    "data",
    [
        b"SSH-2.0-x\r\n",
        b"GET / HTTP/1.0\r\n",
        b"\0",
        b"PROXZ",
        b"PROXY\tTCP4 1.2.3.4 1.2.3.4 1 2\r\n",
        b"PROXY \r\n",
        b"PROXY TCP4\r\n",
        b"PROXY TCP4 192.0.2.1 198.51.100.1 56324\r\n",
        b"PROXY TCP4 192.0.2.1 198.51.100.1 1 2 3\r\n",
        b"PROXY TCP4  192.0.2.1 198.51.100.1 1 2\r\n",
        b"PROXY TCP4 192.0.2.1 198.51.100.1 1 x\r\n",
        b"PROXY TCP4 192.0.2.1 198.51.100.1 65536 2\r\n",
        b"PROXY TCP4 192.0.2.1 198.51.100.1 -1 2\r\n",
        b"PROXY TCP4 192.0.2.1 198.51.100.1 01 2\r\n",
        "PROXY TCP4 192.0.2.1 198.51.100.1 ١ 2\r\n".encode(),
        b"PROXY TCP4 192.0.2.1 localhost 1 2\r\n",
        b"PROXY TCP4 192.0.2.1\n[fake] 198.51.100.1 1 2\r\n",
        b"PROXY TCP4 192.0.2.256 198.51.100.1 1 2\r\n",
        b"PROXY TCP4 2001:db8::1 2001:db8::1 1 2\r\n",
        b"PROXY TCP6 192.0.2.1 192.0.2.1 1 2\r\n",
        b"PROXY TCP6 fe80::1%eth0 fe80::1 1 2\r\n",
        b"PROXY UDP4 192.0.2.1 192.0.2.1 1 2\r\n",
        b"PROXY UNKNOWN" + b" " * V1_BYTES + b"\r\n",
        b"PROXY " + b"x" * V1_BYTES,
        v2(0x10, TCP4, addresses("192.0.2.1")),
        v2(0x22, TCP4, addresses("192.0.2.1")),
        v2(PROXY, 0x12, addresses("192.0.2.1")),
        v2(PROXY, 0x41, bytes(36)),
        v2(PROXY, TCP4, addresses("192.0.2.1")[:-1]),
        v2(PROXY, TCP6, addresses("192.0.2.1")),
        v2(PROXY, UNIX, bytes(215)),
        v2(PROXY, TCP4, addresses("192.0.2.1"), length=0xFFFF),
        v2(LOCAL, 0, b"", length=V2_BYTES),
        V2_START[:-1] + b"x" + bytes(4),
    ],
)
def test_texts_that_are_no_header_are_refused(data: bytes) -> None:
    with pytest.raises(BadProxyHeader):
        parse_proxy_header(data)


@given(st.binary(max_size=300), st.sampled_from([b"", b"PROXY ", b"PROXY TCP4 ", V2_START]))
def test_any_bytes_are_waited_for_taken_or_refused(data: bytes, start: bytes) -> None:
    try:
        header = parse_proxy_header(start + data)
    except BadProxyHeader:
        return
    assert header is not None or len(start + data) < V2_BYTES
    assert header is None or header.size_bytes <= len(start + data)
