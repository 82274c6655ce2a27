"""Attacks on the packet layer and the key exchange."""

from __future__ import annotations

import struct
from collections.abc import Callable
from contextlib import suppress
from itertools import count

import pytest

from sftpgw.model.units import KIB, MIB
from tests.attacks.conftest import POLICY
from tests.attacks.gateway import KEY
from tests.attacks.honest import HonestUser
from tests.attacks.raw_sftp import RawSftp
from tests.attacks.raw_ssh import (
    DEBUG,
    GLOBAL_REQUEST,
    IGNORE,
    KEX_INIT,
    KEX_REPLY,
    KEXINIT,
    USERAUTH_SUCCESS,
    Ended,
    RawClient,
    kexinit,
    string,
    uint32,
)

pytestmark = pytest.mark.slow

MakeClient = Callable[..., RawClient]
GEX_GROUP, GEX_INIT, GEX_REPLY, GEX_REQUEST = 31, 32, 33, 34
POINT = string(bytes([9]) + bytes(31))
"""A public key of curve25519."""
CONTENT = bytes(range(256)) * 4 * KIB


@pytest.mark.parametrize("length", [36_004, MIB, 2**31, 2**32 - 4])
def test_a_huge_packet_before_login(attacker: MakeClient, length: int) -> None:
    client = attacker().greet()
    client.transmit(uint32(length))
    assert "packet" in client.wait_for_the_end()


@pytest.mark.parametrize("length", [257 * KIB + 16, 2**32 - 16])
def test_a_huge_packet_after_login(mallory: RawClient, length: int) -> None:
    mallory.transmit(uint32(length))
    assert "packet" in mallory.wait_for_the_end()


@pytest.mark.parametrize("compression", [b"zlib", b"zlib@openssh.com"])
def test_compression_is_not_offered(attacker: MakeClient, compression: bytes) -> None:
    """Otherwise 917 KB of zlib would become 2 GB."""
    client = attacker().greet()
    client.send(kexinit(compression=compression))
    assert client.wait_for_the_end()


def test_a_client_that_can_compress_does_not(attacker: MakeClient) -> None:
    client = attacker().greet()
    client.send(kexinit(compression=b"zlib,none"), bytes([KEX_INIT]) + POINT)
    client.expect(KEXINIT)
    client.expect(KEX_REPLY)


@pytest.mark.parametrize(
    "kex",
    [b"diffie-hellman-group-exchange-sha256", b"curve25519-sha256,diffie-hellman-group16-sha512"],
)
def test_a_group_of_8192_bits_is_asked_for(attacker: MakeClient, kex: bytes) -> None:
    client = attacker().greet()
    bits = struct.pack(">3L", 8192, 8192, 8192)
    client.send(kexinit(kex=kex), bytes([GEX_REQUEST]) + bits)
    if POLICY == "legacy" and kex.startswith(b"diffie-hellman-group-exchange"):
        client.wait_for(GEX_GROUP)
        client.send(bytes([GEX_INIT]) + string(b"\x05"))
        client.wait_for(GEX_REPLY)
    else:
        assert client.wait_for_the_end()


@pytest.mark.skipif(POLICY == "modern", reason="it has no such group")
def test_key_exchanges_that_take_long(attacker: MakeClient) -> None:
    """15 ms each, in turns. An honest user is served meanwhile."""
    clients = [attacker().greet() for _ in range(40)]
    value = bytes([KEX_INIT]) + string(b"\x05")
    for client in clients:
        client.send(kexinit(kex=b"diffie-hellman-group18-sha512"), value)
    for client in clients:
        client.wait_for(KEX_REPLY)


def test_segments_of_one_byte(attacker: MakeClient) -> None:
    client = attacker()

    def drip(data: bytes) -> None:
        for at in range(len(data)):
            client.socket.send(data[at : at + 1])

    client.transmit = drip  # type: ignore[method-assign]
    sftp = RawSftp(client.log_in(b"mallory", KEY))
    sftp.put(b"/dripped", CONTENT[: 64 * KIB])
    assert sftp.get(b"/dripped") == CONTENT[: 64 * KIB]


def test_as_much_padding_as_there_can_be(attacker: MakeClient) -> None:
    client = attacker()
    client.pad_to_the_limit()
    sftp = RawSftp(client.log_in(b"mallory", KEY))
    sftp.put(b"/padded", CONTENT)
    for _ in range(500):
        sftp.stat(b"/padded")
    assert sftp.get(b"/padded") == CONTENT


def test_keys_are_exchanged_in_the_middle_of_everything(attacker: MakeClient) -> None:
    client = attacker().start().request_login()
    client.exchange_keys()
    client.send(client.key_login(b"mallory", KEY))
    client.expect(USERAUTH_SUCCESS)
    client.exchange_keys()
    packets = count()
    sftp = RawSftp(client)
    sftp.before_each = lambda: next(packets) % 3 or client.exchange_keys()
    for number in range(3):
        name = b"/rekeyed-%d" % number
        sftp.put(name, CONTENT)
        assert sftp.stat(name) == len(CONTENT)
        assert sftp.get(name) == CONTENT


def test_key_exchanges_in_a_row(mallory: RawClient, honest: HonestUser) -> None:
    """As many as an honest client may need, and no more."""
    for number in range(500):
        mallory.exchange_keys()
        if number == 250:
            honest.demand_served()
    with pytest.raises(Ended, match="too many key exchanges"):
        for _ in range(2000):
            mallory.exchange_keys()


def test_key_exchanges_before_login(attacker: MakeClient) -> None:
    client = attacker().start()
    with pytest.raises(Ended, match="too many key exchanges"):
        for _ in range(3):
            client.exchange_keys()


@pytest.mark.parametrize("repeated", [1, 1000])
def test_kexinits_without_an_exchange(mallory: RawClient, repeated: int) -> None:
    with suppress(Ended):
        mallory.send(kexinit(), *[kexinit()] * repeated)
    assert "wrong time" in mallory.wait_for_the_end()


def test_a_client_that_does_not_read_exchanges_keys(
    attacker: MakeClient, honest: HonestUser
) -> None:
    """Output that was sent waits in TCP; no more of it is collected in memory."""
    for _ in range(30):
        client = attacker(receive_bytes=2048)
        client.transmit(b"SSH-2.0-slow\r\n")
        client.send(kexinit(), bytes([KEX_INIT]) + POINT)
    honest.demand_served()


@pytest.mark.parametrize("number", [IGNORE, DEBUG])
def test_generic_messages_by_the_hundred_thousand(mallory: RawClient, number: int) -> None:
    remark = bytes([number, 0]) + string(b"") + string(b"")
    for _ in range(50):
        mallory.send(*[remark] * 2000)
    RawSftp(mallory).put(b"/after", CONTENT)


def test_large_generic_messages_before_login(attacker: MakeClient) -> None:
    """Some are nobody's business; 30 MiB are no login."""
    client = attacker().start()
    remark = bytes([IGNORE]) + string(bytes(30_000))
    for _ in range(20):
        client.send(remark)
    client.request_login()
    with pytest.raises(Ended):
        for _ in range(1000):
            client.send(remark)


def test_requests_without_reading_the_replies(mallory: RawClient) -> None:
    """Half a million replies to a client that does not read are not kept in memory."""
    question = bytes([GLOBAL_REQUEST]) + string(b"what?") + b"\x01"
    with pytest.raises(Ended):
        for _ in range(500):
            mallory.send(*[question] * 1000)


def test_messages_of_unknown_types(mallory: RawClient) -> None:
    """Each gets UNIMPLEMENTED, until too many of these are unread."""
    with pytest.raises(Ended):
        for _ in range(500):
            mallory.send(*[bytes([191])] * 1000)
