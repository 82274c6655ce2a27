"""Known answers: every cipher and MAC is compared with published vectors and with asyncssh.

Everything goes through `PacketCiphers`, as the transport uses it. No published vector is an
SSH packet, so that the parts are compared: the key stream, the tag, the MAC.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import pytest
from asyncssh.encryption import Encryption, get_encryption, get_encryption_params
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.poly1305 import Poly1305

from sftpgw.model.settings import Policy
from sftpgw.ssh.algorithms import policy_offer
from sftpgw.ssh.packet_cipher import AEAD_CIPHERS, DamagedPacket, PacketCiphers, payload_of

CIPHERS, MACS = policy_offer(Policy.LEGACY).ciphers, policy_offer(Policy.LEGACY).macs
PAIRS = [
    (cipher, mac) for cipher in CIPHERS for mac in (MACS[:1] if cipher in AEAD_CIPHERS else MACS)
]
CHACHA = b"chacha20-poly1305@openssh.com"
ETM = b"hmac-sha2-256-etm@openssh.com"

KIB = 1024
SIZES = [
    *range(1, 81),
    *range(32 * KIB - 17, 32 * KIB + 18),
    *range(256 * KIB - 9, 256 * KIB + 10),
]
_CYCLE = bytes(range(251))

SEQUENCES = [0, 1, 2, 2**31 - 1, 2**31, 2**31 + 1, 2**32 - 2, 2**32 - 1]


def protection(
    cipher: bytes, mac: bytes, *, iv: bytes, key: bytes, mac_key: bytes
) -> PacketCiphers:
    """Both directions with the same keys."""
    side = PacketCiphers(cipher, cipher, mac, mac)
    side.setKeys(iv, key, iv, key, mac_key, mac_key)
    return side


def sealed(side: PacketCiphers, payload: bytes, sequence: int) -> bytes:
    return b"".join(side.sealer.seal((payload[:1], payload[1:]), sequence))


def opened_body(side: PacketCiphers, packet: bytes, sequence: int) -> bytes:
    """Padding length, payload and padding of the packet that has arrived."""
    length = side.opener.length(memoryview(packet), sequence)
    assert length == len(packet) - 4 - side.opener.tail_bytes
    return side.opener.open(memoryview(packet), sequence)


def numbered(size: int, start: int = 0) -> bytes:
    """So many bytes, without two equal blocks."""
    return (_CYCLE * (size // len(_CYCLE) + 2))[start : start + size]


# Against an independent implementation.


class Peer:
    """One direction in asyncssh; the binary packet around it is that of RFC 4253."""

    def __init__(self, cipher: bytes, mac: bytes, *, iv: bytes, key: bytes, mac_key: bytes) -> None:
        found = get_encryption_params(cipher, mac)
        key_bytes, iv_bytes, block_bytes, mac_key_bytes, self.tail_bytes, self.etm = found
        self.block_bytes = max(block_bytes, 8)
        self._cipher: Encryption = get_encryption(
            cipher, key[:key_bytes], iv[:iv_bytes], mac, mac_key[:mac_key_bytes], self.etm
        )

    def seal(self, payload: bytes, sequence: int, extra_blocks: int) -> bytes:
        beside_bytes = 0 if self.etm else 4
        padding_bytes = -(1 + len(payload) + beside_bytes) % self.block_bytes
        padding_bytes += self.block_bytes * (extra_blocks + (padding_bytes < 4))
        body = bytes((padding_bytes,)) + payload + numbered(padding_bytes)
        header = len(body).to_bytes(4, "big")
        packet, tail = self._cipher.encrypt_packet(sequence, header, body)
        return packet + tail

    def open(self, packet: bytes, sequence: int) -> bytes:
        first, header = self._cipher.decrypt_header(sequence, packet[: self.block_bytes], 4)
        end = len(packet) - self.tail_bytes
        assert int.from_bytes(header, "big") == end - 4
        rest, tail = packet[self.block_bytes : end], packet[end:]
        body = self._cipher.decrypt_packet(sequence, first, rest, 4, tail)
        assert body is not None, "asyncssh finds the packet damaged"
        return payload_of(body)


KEYS = {"iv": numbered(64, 7), "key": numbered(64, 90), "mac_key": numbered(64, 200)}


def packets() -> Iterator[tuple[int, int]]:
    """Sizes of payloads, each with the sequence number of its packet."""
    for index, size in enumerate(SIZES):
        yield SEQUENCES[index % len(SEQUENCES)], size


@pytest.mark.parametrize(("cipher", "mac"), PAIRS)
def test_asyncssh_opens_what_we_seal(cipher: bytes, mac: bytes) -> None:
    ours, theirs = protection(cipher, mac, **KEYS), Peer(cipher, mac, **KEYS)
    for sequence, size in packets():
        payload = numbered(size)
        assert theirs.open(sealed(ours, payload, sequence), sequence) == payload


@pytest.mark.parametrize(("cipher", "mac"), PAIRS)
def test_we_open_what_asyncssh_seals(cipher: bytes, mac: bytes) -> None:
    """Sometimes with the most padding that is allowed, which is the sender's choice."""
    ours, theirs = protection(cipher, mac, **KEYS), Peer(cipher, mac, **KEYS)
    most_blocks = 255 // theirs.block_bytes - 2
    for sequence, size in packets():
        payload = numbered(size)
        packet = theirs.seal(payload, sequence, extra_blocks=size % 3 // 2 * most_blocks)
        assert payload_of(opened_body(ours, packet, sequence)) == payload


@pytest.mark.parametrize("cipher", [cipher for cipher in CIPHERS if b"gcm" in cipher])
@pytest.mark.parametrize("count", [0, 2**32 - 2, 2**63 - 2, 2**64 - 2])
def test_the_invocation_counter_goes_on_as_asyncsshs(cipher: bytes, count: int) -> None:
    """The counter has eight bytes and wraps; the other four are fixed."""
    keys = {**KEYS, "iv": b"\xff\xff\xff\xff" + count.to_bytes(8, "big")}
    ours, theirs = protection(cipher, ETM, **keys), Peer(cipher, ETM, **keys)
    back = protection(cipher, ETM, **keys)
    for number in range(5):
        packet = sealed(ours, b"payload %d" % number, number)
        assert theirs.open(packet, number) == b"payload %d" % number
        assert payload_of(opened_body(back, packet, number)) == b"payload %d" % number


# Published vectors. Padding is random: the known part of a sealed packet is its
# length, the padding's length, and the payload.


def clear_start(packet: bytes, payload: bytes, side: PacketCiphers) -> bytes:
    """The known part of the clear text of `packet`, which protects `payload`."""
    length = len(packet) - 4 - side.opener.tail_bytes
    return length.to_bytes(4, "big") + bytes((length - 1 - len(payload),)) + payload


def stream_of(packet: bytes, clear: bytes) -> bytes:
    """The key stream, from `packet` and the known part of its clear text."""
    return bytes(one ^ two for one, two in zip(packet, clear, strict=False))


# RFC 8439, A.1: the first two blocks with a key and nonce of zeros, the second block with a
# key that ends in 1, the first block with a nonce that ends in 2. Its nonce of 12 bytes
# begins where OpenSSH has the upper half of the counter, which is 0.
CHACHA_0 = bytes.fromhex(
    "76b8e0ada0f13d90405d6ae55386bd28bdd219b8a08ded1aa836efcc8b770dc7"
    "da41597c5157488d7724e03fb8d84a376a43b8f41518a11cc387b669b2ee6586"
)
CHACHA_1 = bytes.fromhex(
    "9f07e7be5551387a98ba977c732d080dcb0f29a048e3656912c6533e32ee7aed"
    "29b721769ce64e43d57133b074d839d531ed1f28510afb45ace10a1f4b794d6f"
)
CHACHA_1_KEY_1 = bytes.fromhex(
    "3aeb5224ecf849929b9d828db1ced4dd832025e8018b8160b82284f3c949aa5a"
    "8eca00bbb4a73bdad192b5c42f73f2fd4e273644c8b36125a64addeb006c13a0"
)
CHACHA_0_NONCE_2 = bytes.fromhex(
    "c2c64d378cd536374ae204b9ef933fcd1a8b2288b3dfa49672ab765b54ee27c7"
    "8a970e0e955c14f3a88e741b97c286f75f8fc299e8148362fa198a39531bed6d"
)


def test_poly1305_is_that_of_rfc_8439() -> None:
    """Section 2.5.2; the next test needs it."""
    key = bytes.fromhex("85d6be7857556d337f4452fe42d506a80103808afb0db2fd4abff6af4149f51b")
    tag = bytes.fromhex("a8061dc1305136c6c22b8baf0c0127a9")
    assert Poly1305.generate_tag(key, b"Cryptographic Forum Research Group") == tag


class ChachaCase(NamedTuple):
    """Two keys, written as numbers, and the blocks that RFC 8439 has for them."""

    body_key: int
    length_key: int
    sequence: int
    first_block: bytes | None
    length_block: bytes | None
    second_block: bytes | None


@pytest.mark.parametrize(
    "case",
    [
        ChachaCase(0, 0, 0, CHACHA_0, CHACHA_0, CHACHA_1),
        ChachaCase(1, 0, 0, None, CHACHA_0, CHACHA_1_KEY_1),
        ChachaCase(0, 1, 0, CHACHA_0, None, CHACHA_1),
        ChachaCase(0, 0, 2, CHACHA_0_NONCE_2, CHACHA_0_NONCE_2, None),
    ],
)
def test_chacha20_is_that_of_rfc_8439(case: ChachaCase) -> None:
    """The length from one key's block 0, the tag's key from the other's, the body from block 1."""
    key = case.body_key.to_bytes(32, "big") + case.length_key.to_bytes(32, "big")
    side = protection(CHACHA, ETM, iv=b"", key=key, mac_key=b"")
    payload = numbered(59)
    packet = sealed(side, payload, case.sequence)
    stream = stream_of(packet, clear_start(packet, payload, side))
    if case.length_block is not None:
        assert stream[:4] == case.length_block[:4]
    if case.second_block is not None:
        assert stream[4:] == case.second_block[:60]
    if case.first_block is not None:
        assert packet[-16:] == Poly1305.generate_tag(case.first_block[:32], packet[:-16])
    assert payload_of(opened_body(side, packet, case.sequence)) == payload


# McGrew and Viega, "The Galois/Counter Mode of Operation (GCM)", appendix B, test cases 4
# and 16: key, initial vector, clear text, additional data, sealed text and tag.
GCM_KEY = bytes.fromhex("feffe9928665731c6d6a8f9467308308" * 2)
GCM_IV = bytes.fromhex("cafebabefacedbaddecaf888")
GCM_CLEAR = bytes.fromhex(
    "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a72"
    "1c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b39"
)
GCM_DATA = bytes.fromhex("feedfacedeadbeeffeedfacedeadbeefabaddad2")
GCM_CASES = [
    (
        b"aes128-gcm@openssh.com",
        GCM_KEY[:16],
        bytes.fromhex(
            "42831ec2217774244b7221b784d0d49ce3aa212f2c02a4e035c17e2329aca12e"
            "21d514b25466931c7d8f6a5aac84aa051ba30b396a0aac973d58e091"
        ),
        bytes.fromhex("5bc94fbc3221a5db94fae95ae7121a47"),
    ),
    (
        b"aes256-gcm@openssh.com",
        GCM_KEY,
        bytes.fromhex(
            "522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa"
            "8cb08e48590dbb3da7b08b1056828838c5f61e6393ba7a0abcc9f662"
        ),
        bytes.fromhex("76fc6ece0f4e1768cddf8853bb2d551b"),
    ),
]


def gcm_tag(key: bytes, iv: bytes, data: bytes, text: bytes) -> bytes:
    """GCM's tag over `data` and the sealed `text`, computed here: no vector has data of 4 bytes."""
    cipher = Cipher(algorithms.AES(key), modes.ECB()).encryptor()
    subkey = int.from_bytes(cipher.update(bytes(16)), "big")
    sizes = (len(data) * 8).to_bytes(8, "big") + (len(text) * 8).to_bytes(8, "big")
    state = 0
    for piece in (data, text, sizes):
        for at in range(0, len(piece), 16):
            block = piece[at : at + 16].ljust(16, b"\0")
            state = gcm_product(state ^ int.from_bytes(block, "big"), subkey)
    mask = cipher.update(iv + bytes((0, 0, 0, 1)))
    return (state ^ int.from_bytes(mask, "big")).to_bytes(16, "big")


def gcm_product(one: int, two: int) -> int:
    """In GF(2^128), whose bits GCM writes lowest power first."""
    product = 0
    for bit in range(127, -1, -1):
        if one >> bit & 1:
            product ^= two
        two = two >> 1 ^ (0xE1 << 120 if two & 1 else 0)
    return product


@pytest.mark.parametrize(("cipher", "key", "text", "tag"), GCM_CASES)
def test_gcm_is_that_of_mcgrew_and_viega(
    cipher: bytes, key: bytes, text: bytes, tag: bytes
) -> None:
    """The length is the additional data, the rest the text."""
    assert gcm_tag(key, GCM_IV, GCM_DATA, text) == tag
    side = protection(cipher, ETM, iv=GCM_IV, key=key, mac_key=b"")
    payload = numbered(59)
    packet = sealed(side, payload, 0)
    clear = clear_start(packet, payload, side)
    assert packet[:4] == clear[:4]
    assert stream_of(packet[4:], clear[4:]) == stream_of(text, GCM_CLEAR)
    assert packet[-16:] == gcm_tag(key, GCM_IV, packet[:4], packet[4:-16])
    assert payload_of(opened_body(side, packet, 0)) == payload


# RFC 3686, section 6, test vectors 2, 5 and 8: key, counter block, what 0, 1, ... 31 becomes.
CTR_CASES = [
    (
        b"aes128-ctr",
        "7e24067817fae0d743d6ce1f32539163",
        "006cb6dbc0543b59da48d90b00000001",
        "5104a106168a72d9790d41ee8edad388eb2e1efc46da57c8fce630df9141be28",
    ),
    (
        b"aes192-ctr",
        "7c5cb2401b3dc33c19e7340819e0f69c678c3db8e6f6a91a",
        "0096b03b020c6eadc2cb500d00000001",
        "453243fc609b23327edfaafa7131cd9f8490701c5ad4a79cfc1fe0ff42f4fb00",
    ),
    (
        b"aes256-ctr",
        "f6d66d6bd52d59bb0796365879eff886c66dd51a5b6a99744b50590c87a23884",
        "00faac24c1585ef15a43d87500000001",
        "f05e231b3894612c49ee000b804eb2a9b8306b508f839d6a5530831d9344af1c",
    ),
]


@pytest.mark.parametrize("mac", MACS)
@pytest.mark.parametrize(("cipher", "key", "counter", "text"), CTR_CASES)
def test_ctr_is_that_of_rfc_3686(
    cipher: bytes, mac: bytes, key: str, counter: str, text: str
) -> None:
    """The stream begins with the body, or with the length if the MAC covers the clear text."""
    keys = {"iv": bytes.fromhex(counter), "key": bytes.fromhex(key), "mac_key": bytes(64)}
    side = protection(cipher, mac, **keys)
    payload = numbered(23)
    packet = sealed(side, payload, 0)
    clear = clear_start(packet, payload, side)
    start = 4 if b"etm" in mac else 0
    stream = stream_of(bytes.fromhex(text), bytes(range(32)))
    assert stream_of(packet[start:], clear[start:]) == stream[: len(clear) - start]
    assert payload_of(opened_body(side, packet, 0)) == payload


# RFC 4231, section 4, test cases 1 to 3: key, data, HMAC-SHA-256, HMAC-SHA-512.
HMAC_CASES = [
    (
        b"\x0b" * 20,
        b"Hi There",
        "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7",
        (
            "87aa7cdea5ef619d4ff0b4241a1d6cb02379f4e2ce4ec2787ad0b30545e17cde"
            "daa833b7d6b8a702038b274eaea3f4e4be9d914eeb61f1702e696c203a126854"
        ),
    ),
    (
        b"Jefe",
        b"what do ya want for nothing?",
        "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
        (
            "164b7a7bfcf819e2e395fbe73b56e0a387bd64222e831fd610270cd7ea250554"
            "9758bf75c05a994a6d034f65f8f0e6fdcaeab1a34d4a6b4b636e070a38bce737"
        ),
    ),
    (
        b"\xaa" * 20,
        b"\xdd" * 50,
        "773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe",
        (
            "fa73b0089d56a284efb0f0756c890be9b1b5dbdd8ee81a3655f83e33b2279d39"
            "bf3e848279a722c806b485a47e67c807b946a337bee8942674278859e13292fb"
        ),
    ),
]


@pytest.mark.parametrize(("key", "data", "sha256", "sha512"), HMAC_CASES)
@pytest.mark.parametrize("bits", [256, 512])
def test_hmac_is_that_of_rfc_4231(
    key: bytes, data: bytes, sha256: str, sha512: str, bits: int
) -> None:
    """The data is split up into sequence number, length and sealed body.

    HMAC pads keys with zeros, so that a longer key with zeros is the same key.
    """
    name, found = (
        (b"hmac-sha2-%d-etm@openssh.com" % bits),
        bytes.fromhex(sha256 if bits == 256 else sha512),
    )
    sequence, length = int.from_bytes(data[:4], "big"), len(data) - 8
    keys = {"iv": bytes(16), "key": bytes(32), "mac_key": key.ljust(64, b"\0")}
    opener = protection(b"aes128-ctr", name, **keys).opener
    assert len(opener.open(memoryview(data[4:] + found), sequence)) == length
    for damage in (0, len(found) - 1):
        changed = bytearray(found)
        changed[damage] ^= 1
        with pytest.raises(DamagedPacket):
            opener.open(memoryview(data[4:] + changed), sequence)
