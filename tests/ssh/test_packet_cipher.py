"""Packet protection: one side opens exactly what the other has sealed."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given
from hypothesis import strategies as st

from sftpgw.model.settings import Policy
from sftpgw.ssh.algorithms import policy_offer
from sftpgw.ssh.packet_cipher import AEAD_CIPHERS, DamagedPacket, PacketCiphers, payload_of

CIPHERS, MACS = policy_offer(Policy.LEGACY).ciphers, policy_offer(Policy.LEGACY).macs
PAIRS = [
    (cipher, mac) for cipher in CIPHERS for mac in (MACS[:1] if cipher in AEAD_CIPHERS else MACS)
]
KEYS = [bytes(range(start, start + 128)) for start in (0, 40, 80)]
SIZES = [1, 2, 3, 4, 5, 6, 7, *range(8, 40), 255, 256, 257, 32768, 65545]


def two_sides(cipher: bytes, mac: bytes) -> tuple[PacketCiphers, PacketCiphers]:
    """The ciphers of both ends of one direction."""
    sides = PacketCiphers(cipher, cipher, mac, mac), PacketCiphers(cipher, cipher, mac, mac)
    iv, key, mac_key = KEYS
    for side in sides:
        side.setKeys(iv, key, iv, key, mac_key, mac_key)
    return sides


def opened(side: PacketCiphers, packet: bytes, sequence: int) -> bytes:
    """The payload of the packet that has arrived, checked as the transport does."""
    opener, incoming = side.opener, memoryview(packet)
    length = opener.length(incoming, sequence)
    assert length is not None
    padded_bytes = length + (4 if opener.length_is_padded else 0)
    assert padded_bytes % opener.block_bytes == 0
    assert 4 + length + opener.tail_bytes == len(packet)
    return bytes(payload_of(opener.open(incoming, sequence)))


@pytest.mark.parametrize(("cipher", "mac"), PAIRS)
def test_payloads_of_every_size_arrive_one_after_the_other(cipher: bytes, mac: bytes) -> None:
    sender, receiver = two_sides(cipher, mac)
    for sequence, size in enumerate(SIZES):
        payload = bytes(index % 251 for index in range(size))
        packet = b"".join(sender.sealer.seal((payload[:1], payload[1:]), sequence))
        assert payload not in packet or size < 8
        assert opened(receiver, packet, sequence) == payload


@pytest.mark.parametrize(("cipher", "mac"), PAIRS)
def test_a_packet_arrives_in_fragments(cipher: bytes, mac: bytes) -> None:
    sender, receiver = two_sides(cipher, mac)
    packet = b"".join(sender.sealer.seal((b"payload",), 0))
    lengths = []
    for size in range(1, len(packet) + 1):
        lengths.append(receiver.opener.length(memoryview(packet)[:size], 0))
    known = [length for length in lengths if length is not None]
    assert set(known) == {len(packet) - 4 - receiver.opener.tail_bytes}
    assert payload_of(receiver.opener.open(memoryview(packet), 0)) == b"payload"


@pytest.mark.parametrize(("cipher", "mac"), PAIRS)
def test_every_flipped_bit_behind_the_length_is_found(cipher: bytes, mac: bytes) -> None:
    packet = b"".join(two_sides(cipher, mac)[0].sealer.seal((b"payload",), 5))
    for position in range(4 * 8, len(packet) * 8):
        _, receiver = two_sides(cipher, mac)
        changed = bytearray(packet)
        changed[position // 8] ^= 1 << position % 8
        assert receiver.opener.length(memoryview(changed), 5) is not None
        with pytest.raises(DamagedPacket):
            receiver.opener.open(memoryview(changed), 5)


@pytest.mark.parametrize(("cipher", "mac"), PAIRS)
def test_a_packet_out_of_sequence_is_found(cipher: bytes, mac: bytes) -> None:
    sender, receiver = two_sides(cipher, mac)
    sender.sealer.seal((b"first",), 0)
    second = b"".join(sender.sealer.seal((b"second, of the same size",), 1))
    length = receiver.opener.length(memoryview(second), 0)
    if length != len(second) - 4 - receiver.opener.tail_bytes:
        return  # the length is encrypted as well, and decrypts to another number
    with pytest.raises(DamagedPacket):
        receiver.opener.open(memoryview(second), 0)


def test_gcm_is_that_of_rfc_5647() -> None:
    sender, _ = two_sides(b"aes128-gcm@openssh.com", MACS[0])
    iv, key, _ = KEYS
    for count in range(3):
        header, sealed = sender.sealer.seal((b"x" * 100,), count)
        invocation = int.from_bytes(iv[4:12], "big") + count
        nonce = iv[:4] + invocation.to_bytes(8, "big")
        body = AESGCM(key[:16]).decrypt(nonce, sealed, header)
        assert int.from_bytes(header, "big") == len(body)
        assert payload_of(body) == b"x" * 100


def test_the_invocation_counter_wraps_within_its_eight_bytes() -> None:
    sides = [PacketCiphers(CIPHERS[0], CIPHERS[0], b"", b"") for _ in range(2)]
    for side in sides:
        side.setKeys(b"\xff" * 12, KEYS[1], b"\xff" * 12, KEYS[1], b"", b"")
    for sequence in range(3):
        packet = b"".join(sides[0].sealer.seal((b"x",), sequence))
        assert opened(sides[1], packet, sequence) == b"x"


@given(st.binary(min_size=6, max_size=60))
def test_padding_that_does_not_fit_is_refused(body: bytes) -> None:
    fits = 4 <= body[0] < len(body) - 1
    if fits:
        assert payload_of(body) == body[1 : len(body) - body[0]]
    else:
        with pytest.raises(DamagedPacket):
            payload_of(body)
