"""Packets are found in the bytes that arrive, in whatever fragments these come."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sftpgw.model.settings import Policy
from sftpgw.ssh.algorithms import policy_offer
from sftpgw.ssh.fields import MalformedPacket
from sftpgw.ssh.packet_cipher import AEAD_CIPHERS, DamagedPacket, PacketCiphers
from sftpgw.ssh.packet_reader import NoClient, PacketReader

CIPHERS, MACS = policy_offer(Policy.LEGACY).ciphers, policy_offer(Policy.LEGACY).macs
PAIRS = [
    (b"none", b"none"),
    *(
        (cipher, mac)
        for cipher in CIPHERS
        for mac in (MACS[:1] if cipher in AEAD_CIPHERS else MACS)
    ),
]
LARGEST_BYTES = 64 * 1024


def protection(cipher: bytes, mac: bytes) -> PacketCiphers:
    side = PacketCiphers(cipher, cipher, mac, mac)
    if cipher != b"none":
        side.setKeys(*(bytes(range(start, start + 128)) for start in (0, 40, 0, 40, 80, 80)))
    return side


def sealed(side: PacketCiphers, payloads: list[bytes]) -> bytes:
    return b"".join(
        piece
        for sequence, payload in enumerate(payloads)
        for piece in side.sealer.seal((payload,), sequence)
    )


class Receiver:
    """Reads all packets that are complete, whenever bytes have arrived."""

    def __init__(self, side: PacketCiphers) -> None:
        self.payloads: list[bytes] = []
        self._side = side
        self._incoming = PacketReader(LARGEST_BYTES)

    def hear(self, data: bytes) -> None:
        self._incoming.feed(data)
        while (payload := self._next()) is not None:
            self.payloads.append(bytes(payload))

    def _next(self) -> memoryview | None:
        return self._incoming.next_payload(self._side.opener, len(self.payloads))


@given(
    protected_by=st.sampled_from(PAIRS),
    sizes=st.lists(st.integers(1, 300) | st.just(32_777), min_size=1, max_size=6),
    shares=st.lists(st.floats(0, 1), max_size=12),
)
def test_a_stream_that_is_cut_anywhere(
    protected_by: tuple[bytes, bytes], sizes: list[int], shares: list[float]
) -> None:
    payloads = [bytes((size % 251,)) * size for size in sizes]
    stream = sealed(protection(*protected_by), payloads)
    cuts = [int(share * len(stream)) for share in shares]
    receiver = Receiver(protection(*protected_by))
    for start, stop in zip([0, *sorted(cuts)], [*sorted(cuts), len(stream)], strict=True):
        receiver.hear(stream[start:stop])
    assert receiver.payloads == payloads


@pytest.mark.parametrize(("cipher", "mac"), PAIRS)
def test_a_stream_in_single_bytes(cipher: bytes, mac: bytes) -> None:
    payloads = [b"first", b"x" * 100, b"last"]
    receiver = Receiver(protection(cipher, mac))
    for byte in sealed(protection(cipher, mac), payloads):
        receiver.hear(bytes((byte,)))
    assert receiver.payloads == payloads


@pytest.mark.parametrize("cut", [1, 3, 15, 16, 17, 50])
def test_a_damaged_packet_is_found_wherever_it_was_cut(cut: int) -> None:
    cipher, mac = PAIRS[1]
    stream = bytearray(sealed(protection(cipher, mac), [b"x" * 100]))
    stream[60] ^= 1
    receiver = Receiver(protection(cipher, mac))
    receiver.hear(bytes(stream[:cut]))
    with pytest.raises(DamagedPacket):
        receiver.hear(bytes(stream[cut:]))


@pytest.mark.parametrize("cut", [0, 2, 4, 10])
def test_a_length_out_of_bounds_is_refused_before_the_packet_is_there(cut: int) -> None:
    head = (LARGEST_BYTES + 8).to_bytes(4, "big") + bytes(12)
    receiver = Receiver(protection(b"none", b"none"))
    with pytest.raises(MalformedPacket):
        for piece in (head[:cut], head[cut:]):
            receiver.hear(piece)


@given(cut=st.integers(0, 40))
def test_packets_may_follow_the_version_line_at_once(cut: int) -> None:
    side = protection(b"none", b"none")
    stream = b"SSH-2.0-test\r\n" + sealed(side, [b"hello"])
    incoming = PacketReader(LARGEST_BYTES)
    incoming.feed(stream[:cut])
    line = incoming.version_line()
    if line is None:
        incoming.feed(stream[cut:])
        line = incoming.version_line()
        cut = len(stream)
    assert line == b"SSH-2.0-test"
    payload = incoming.next_payload(side.opener, 0)
    if payload is None:
        incoming.feed(stream[cut:])
        payload = incoming.next_payload(side.opener, 0)
    assert payload == b"hello"


@pytest.mark.parametrize("said", [b"GET / HTTP/1.1\r\n", b"x" * 255, b"SSH-2.0-" + b"x" * 300])
def test_first_bytes_that_are_no_ssh_client(said: bytes) -> None:
    incoming = PacketReader(LARGEST_BYTES)
    with pytest.raises(NoClient):
        for byte in said:
            incoming.feed(bytes((byte,)))
            assert incoming.version_line() is None


# CBC with a MAC of the clear text: a damaged packet must not show what its length field said.

CBC_PAIRS = [(cipher, mac) for cipher, mac in PAIRS if b"cbc" in cipher and b"etm" not in mac]
BLOCK_BYTES = 16


def bytes_until_the_end(pair: tuple[bytes, bytes], data: bytes, piece_bytes: int) -> int:
    """After how many bytes the reader refuses what arrives in pieces of this size."""
    receiver = Receiver(protection(*pair))
    for start in range(0, len(data), piece_bytes):
        try:
            receiver.hear(data[start : start + piece_bytes])
        except DamagedPacket as problem:
            assert str(problem) == "bad MAC"
            return start + piece_bytes
    raise AssertionError("it reads on and on")


def largest_packet_bytes(mac: bytes) -> int:
    tail_bytes = protection(b"aes128-cbc", mac).opener.tail_bytes
    return (4 + LARGEST_BYTES) // BLOCK_BYTES * BLOCK_BYTES + tail_bytes


@given(
    pair=st.sampled_from(CBC_PAIRS),
    first_block=st.binary(min_size=BLOCK_BYTES, max_size=BLOCK_BYTES),
    piece_bytes=st.sampled_from([BLOCK_BYTES, 1000, 64 * 1024, 200_000]),
)
def test_a_foreign_block_in_the_place_of_a_length_tells_nothing(
    pair: tuple[bytes, bytes], first_block: bytes, piece_bytes: int
) -> None:
    """The attack of Albrecht, Paterson and Watson: 14 to 32 bits of each block that was seen."""
    data = first_block + bytes(2 * largest_packet_bytes(pair[1]))
    limit_bytes = largest_packet_bytes(pair[1])
    pieces = -(-limit_bytes // piece_bytes)
    assert bytes_until_the_end(pair, data, piece_bytes) == pieces * piece_bytes


@given(
    pair=st.sampled_from(CBC_PAIRS),
    length=st.one_of(
        st.sampled_from([0, 1, 4, 5, 11, 12, 28, LARGEST_BYTES - 4, LARGEST_BYTES + 12, 2**32 - 1]),
        st.integers(0, 4096).map(lambda blocks: blocks * BLOCK_BYTES + 12),
        st.integers(0, 2**32 - 1),
    ),
)
def test_a_damaged_packet_is_read_to_the_same_end_whatever_its_length_says(
    pair: tuple[bytes, bytes], length: int
) -> None:
    """Lengths that are right, too short, too long, and no multiple of a block."""
    body = bytes(2 * LARGEST_BYTES)
    sealer: Any = protection(*pair).sealer
    data = sealer._stream.update(length.to_bytes(4, "big") + body[:-4])
    limit_bytes = largest_packet_bytes(pair[1])
    receiver = Receiver(protection(*pair))
    receiver.hear(data[: limit_bytes - 1])
    assert receiver.payloads == []
    with pytest.raises(DamagedPacket, match="bad MAC"):
        receiver.hear(data[limit_bytes - 1 : limit_bytes])


@pytest.mark.parametrize("pair", CBC_PAIRS)
@pytest.mark.parametrize("place", [4, 20, -1])
def test_a_changed_packet_behind_good_ones_is_read_to_the_same_end(
    pair: tuple[bytes, bytes], place: int
) -> None:
    side = protection(*pair)
    good = sealed(side, [b"first", b"second"])
    third = bytearray(b"".join(side.sealer.seal((b"third" * 20,), 2)))
    third[place] ^= 1
    receiver = Receiver(protection(*pair))
    receiver.hear(good)
    assert receiver.payloads == [b"first", b"second"]
    limit_bytes = largest_packet_bytes(pair[1])
    receiver.hear(bytes(third) + bytes(limit_bytes - len(third) - 1))
    with pytest.raises(DamagedPacket, match="bad MAC"):
        receiver.hear(b"x")


@pytest.mark.parametrize("pair", CBC_PAIRS)
def test_the_largest_packet_that_is_changed_ends_at_once(pair: tuple[bytes, bytes]) -> None:
    side = protection(*pair)
    limit_bytes = largest_packet_bytes(pair[1])
    payload_bytes = limit_bytes - side.opener.tail_bytes - 4 - 1 - 4
    packet = bytearray(b"".join(side.sealer.seal((bytes(payload_bytes),), 0)))
    while len(packet) > limit_bytes:
        payload_bytes -= 1
        side = protection(*pair)
        packet = bytearray(b"".join(side.sealer.seal((bytes(payload_bytes),), 0)))
    assert len(packet) == limit_bytes
    packet[-1] ^= 1
    with pytest.raises(DamagedPacket):
        Receiver(protection(*pair)).hear(bytes(packet))
