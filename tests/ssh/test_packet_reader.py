"""Packets are found in the bytes that arrive, in whatever fragments these come."""

from __future__ import annotations

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
