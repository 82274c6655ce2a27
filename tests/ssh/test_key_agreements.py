"""Each key exchange method against an independent client, and values that are none."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from random import Random
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey, MLKEM1024PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import assume, given
from hypothesis import strategies as st
from twisted.conch.ssh.common import MP, NS, getMP, getNS
from twisted.conch.ssh.keys import Key

from sftpgw.ssh.dh_groups import SIZES_BITS, group_for, group_of
from sftpgw.ssh.fields import MalformedPacket, PacketFields
from sftpgw.ssh.key_agreements import (
    METHODS,
    SLOW_RSA_BITS,
    GroupExchange,
    HostKeySigner,
    Method,
    answer,
)
from sftpgw.testing.ssh_pairs import new_key

TRANSCRIPT = b"versions and KEXINITs"


def method_named(name: bytes) -> Method:
    method = METHODS[name]
    assert isinstance(method, Method)
    return method


# The groups.


def test_the_groups_are_those_of_rfc_3526() -> None:
    """Their sizes, their fixed ends, and digits of pi between them, by another series for pi."""
    pi_bits = 8300
    pi = _pi_by_gauss_legendre(pi_bits)
    for size in SIZES_BITS:
        prime = group_of(size).prime
        assert prime.bit_length() == size
        assert prime >> (size - 64) == prime & (2**64 - 1) == 2**64 - 1
        middle = (prime >> 64) & ((1 << (size - 128)) - 1)
        digits = (pi >> (pi_bits - (size - 130))) & ((1 << (size - 128)) - 1)
        assert 0 < middle - digits < 2**24, "the summand that makes it prime"


def _pi_by_gauss_legendre(bits: int) -> int:
    one = 1 << (bits + 64)
    a, b, t, p = one, math.isqrt(one * one // 2), one // 4, 1
    for _ in range(16):
        a, b, t, p = (
            (a + b) // 2,
            math.isqrt(a * b),
            t - p * ((a - (a + b) // 2) ** 2) // one,
            2 * p,
        )
    return ((a + b) ** 2 // (4 * t)) >> 64


@pytest.mark.parametrize("size", SIZES_BITS[:3])
def test_primes_are_safe(size: int) -> None:
    prime = group_of(size).prime
    for number in (prime, prime // 2):
        for base in (2, 3, 5):
            assert pow(base, number - 1, number) == 1


def test_two_generates_the_group_of_squares() -> None:
    for size in SIZES_BITS[:2]:
        prime = group_of(size).prime
        assert pow(2, prime // 2, prime) == 1


@pytest.mark.parametrize(
    ("request_bits", "size"),
    [
        ((1024, 1024, 8192), 2048),
        ((2048, 2048, 2048), 2048),
        ((1024, 2049, 8192), 3072),
        ((2048, 7680, 8192), 8192),
        ((2048, 7680, 4096), 4096),
        ((2048, 20000, 20000), 8192),
        ((1024, 1024, 1024), None),
        ((9000, 9000, 9000), None),
        ((4096, 4096, 2048), None),
        ((0, 2**32 - 1, 0), None),
    ],
)
def test_the_group_for_a_request(request_bits: tuple[int, int, int], size: int | None) -> None:
    group = group_for(*request_bits)
    assert (group and group.size_bits) == size


# The methods.


def x25519_client() -> tuple[bytes, Callable[[bytes], bytes]]:
    key = X25519PrivateKey.generate()
    public = key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    return public, lambda theirs: key.exchange(X25519PublicKey.from_public_bytes(theirs))


def nist_client(curve: ec.EllipticCurve) -> Callable[[], tuple[bytes, Callable[[bytes], bytes]]]:
    def make() -> tuple[bytes, Callable[[bytes], bytes]]:
        key = ec.generate_private_key(curve)
        public = key.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
        return public, lambda theirs: key.exchange(
            ec.ECDH(), ec.EllipticCurvePublicKey.from_encoded_point(curve, theirs)
        )

    return make


CURVES: dict[bytes, Callable[[], tuple[bytes, Callable[[bytes], bytes]]]] = {
    b"curve25519-sha256": x25519_client,
    b"curve25519-sha256@libssh.org": x25519_client,
    b"ecdh-sha2-nistp256": nist_client(ec.SECP256R1()),
    b"ecdh-sha2-nistp384": nist_client(ec.SECP384R1()),
    b"ecdh-sha2-nistp521": nist_client(ec.SECP521R1()),
}
HYBRIDS: dict[bytes, tuple[Any, int, Callable[[], tuple[bytes, Callable[[bytes], bytes]]]]] = {
    b"mlkem768x25519-sha256": (MLKEM768PrivateKey, 1088, x25519_client),
    b"mlkem768nistp256-sha256": (MLKEM768PrivateKey, 1088, nist_client(ec.SECP256R1())),
    b"mlkem1024nistp384-sha384": (MLKEM1024PrivateKey, 1568, nist_client(ec.SECP384R1())),
}
GROUPS = {
    b"diffie-hellman-group14-sha1": 2048,
    b"diffie-hellman-group14-sha256": 2048,
    b"diffie-hellman-group16-sha512": 4096,
    b"diffie-hellman-group18-sha512": 8192,
}


def test_every_method_is_tested() -> None:
    others = {b"diffie-hellman-group-exchange-sha256"}
    assert set(METHODS) == set(CURVES) | set(HYBRIDS) | set(GROUPS) | others


@pytest.mark.parametrize("name", CURVES, ids=bytes.decode)
def test_both_sides_of_a_curve_agree(name: bytes) -> None:
    public, exchange = CURVES[name]()
    agreed = method_named(name).read(PacketFields(NS(public))).agree()
    theirs, rest = getNS(agreed.public)
    assert (agreed.secret, rest) == (MP(int.from_bytes(exchange(theirs), "big")), b"")


@pytest.mark.parametrize("name", HYBRIDS, ids=bytes.decode)
def test_both_sides_of_a_hybrid_agree(name: bytes) -> None:
    make, sealed_bytes, make_curve = HYBRIDS[name]
    quantum, (public, exchange) = make.generate(), make_curve()
    value = quantum.public_key().public_bytes_raw() + public
    agreed = method_named(name).read(PacketFields(NS(value))).agree()
    theirs = getNS(agreed.public)[0]
    digest = hashlib.new(method_named(name).digest)
    digest.update(quantum.decapsulate(theirs[:sealed_bytes]) + exchange(theirs[sealed_bytes:]))
    assert agreed.secret == NS(digest.digest())


def agree_with_prime(method: Method, prime: int) -> None:
    mine = Random(256).getrandbits(256)
    agreed = method.read(PacketFields(MP(pow(2, mine, prime)))).agree()
    theirs = getMP(agreed.public)[0]
    assert agreed.secret == MP(pow(theirs, mine, prime))


@pytest.mark.parametrize("name", GROUPS, ids=bytes.decode)
def test_both_sides_of_a_group_agree(name: bytes) -> None:
    agree_with_prime(method_named(name), group_of(GROUPS[name]).prime)


def test_group_exchange_tells_the_group_and_hashes_the_request() -> None:
    exchange = METHODS[b"diffie-hellman-group-exchange-sha256"]
    assert isinstance(exchange, GroupExchange)
    request = b"".join(size.to_bytes(4, "big") for size in (2048, 3072, 8192))
    method, told = exchange.choose(PacketFields(request))
    prime, generator, rest = getMP(told, 2)
    assert (prime, generator, rest) == (group_of(3072).prime, 2, b"")
    assert (method.init, method.reply) == (32, 33)
    agree_with_prime(method, prime)
    assert method.hashed_before == request + told


@pytest.mark.parametrize("request_bytes", [bytes(12), b"", bytes(13), b"\xff" * 12])
def test_group_exchange_refuses_what_no_group_has(request_bytes: bytes) -> None:
    exchange = METHODS[b"diffie-hellman-group-exchange-sha256"]
    assert isinstance(exchange, GroupExchange)
    with pytest.raises(MalformedPacket):
        exchange.choose(PacketFields(request_bytes))


@pytest.mark.parametrize("name", GROUPS, ids=bytes.decode)
def test_a_value_outside_of_the_group_is_refused(name: bytes) -> None:
    prime = group_of(GROUPS[name]).prime
    for value in (MP(0), MP(1), MP(prime - 1), MP(prime), MP(prime * 4), NS(b"\xff"), NS(b"")):
        with pytest.raises(ValueError, match=r"value|number"):
            method_named(name).read(PacketFields(value))


@given(st.sampled_from([*CURVES, *HYBRIDS]), st.binary(max_size=140))
def test_a_value_that_is_no_point_is_refused(name: bytes, value: bytes) -> None:
    assume(b"curve25519" not in name or len(value) != 32)  # any is a point of Curve25519
    with pytest.raises((ValueError, MalformedPacket)):
        method_named(name).read(PacketFields(NS(value))).agree()


def test_x25519_refuses_a_secret_of_zero() -> None:
    value = method_named(b"curve25519-sha256").read(PacketFields(NS(bytes(32))))
    with pytest.raises(ValueError, match="key"):
        value.agree()


@pytest.mark.parametrize("kind", [2, 3])
def test_a_compressed_point_is_refused(kind: int) -> None:
    public = nist_client(ec.SECP256R1())()[0]
    value = method_named(b"ecdh-sha2-nistp256").read(PacketFields(NS(bytes([kind]) + public[1:])))
    with pytest.raises(ValueError, match="compressed"):
        value.agree()


@pytest.mark.parametrize("name", [*CURVES, *GROUPS], ids=bytes.decode)
def test_nothing_may_follow_a_value(name: bytes) -> None:
    field = MP(5) if name in GROUPS else NS(CURVES[name]()[0])
    method_named(name).read(PacketFields(field))
    with pytest.raises(MalformedPacket):
        method_named(name).read(PacketFields(field + b"x"))


def test_the_reply_is_signed() -> None:
    key, method = new_key(), method_named(b"curve25519-sha256")
    value = method.read(PacketFields(NS(x25519_client()[0])))
    reply = answer(method, value, HostKeySigner.of(key, b"ssh-ed25519"), TRANSCRIPT)
    blob, public, signature, rest = getNS(reply.payload, 3)
    assert (blob, rest) == (key.public().blob(), b"")
    hashed = TRANSCRIPT + NS(blob) + value.encoded + NS(public) + reply.secret
    assert reply.exchange_hash == hashlib.sha256(hashed).digest()
    assert key.public().verify(signature, reply.exchange_hash)


def test_what_takes_long_is_marked() -> None:
    """Only these take several turns; the benchmark ``handshakes`` tells the times."""
    slow = {
        name for name in METHODS if isinstance(METHODS[name], Method) and method_named(name).is_slow
    }
    assert slow == {b"diffie-hellman-group18-sha512"}
    small = HostKeySigner.of(Key(rsa.generate_private_key(65537, 2048)), b"rsa-sha2-512")
    assert not small.is_slow
    assert not HostKeySigner.of(new_key(), b"ssh-ed25519").is_slow
    assert SLOW_RSA_BITS > 4096
