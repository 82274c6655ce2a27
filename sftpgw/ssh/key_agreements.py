"""Key exchange methods: from a client's public value to the shared secret, and the signed reply.

Knows: how each method encodes its values and its secret, and which hash goes with it.
Must not know: connections, when a message may come, or what the keys are used for.

The methods, each with its source:

- ``curve25519-sha256``: RFC 8731. ``ecdh-sha2-*``: RFC 5656, section 4.
- ``mlkem*``: draft-ietf-sshm-mlkem-hybrid-kex. The secret is the hash of that of ML-KEM and that of
  the curve, so that both have to be broken.
- ``diffie-hellman-group*``: RFC 4253, section 8; RFC 8268.
- ``diffie-hellman-group-exchange-sha256``: RFC 4419, with the groups of `dh_groups`.

A method reads the client's value at once, which is cheap. To make our key and to agree on the
secret is what takes time; whether it is so much that each is a turn of its own says
`Method.is_slow`. A thread would be of no use: cryptography keeps Python's lock for both.

Takes the place of the methods in Conch's ``SSHServerTransport``: it has neither the groups of
RFC 8268 nor ML-KEM with the curves of NIST, and answers in the reactor's thread.
"""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from cryptography.hazmat.backends.openssl.backend import backend
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.utils import CryptographyDeprecationWarning
from twisted.conch.ssh.common import MP, NS
from twisted.conch.ssh.keys import Key

from sftpgw.ssh.dh_groups import GENERATOR, Group, group_for, group_of
from sftpgw.ssh.fields import MalformedPacket, PacketFields

with warnings.catch_warnings():
    # Support will end one day. No operator can act on that.
    warnings.simplefilter("ignore", CryptographyDeprecationWarning)
    try:
        from cryptography.hazmat.primitives.asymmetric.dh import (
            DHParameterNumbers,
            DHPublicNumbers,
        )
    except ImportError:
        _HAS_DH = False
    else:
        _HAS_DH = True
try:
    from cryptography.hazmat.primitives.asymmetric import mlkem
except ImportError:  # before cryptography 48
    mlkem = None  # type: ignore[assignment]

MSG_KEX_INIT, MSG_KEX_REPLY = 30, 31
"""The client's value and our reply: KEXDH_INIT, KEX_ECDH_INIT and their like have one number."""

MSG_GEX_GROUP, MSG_GEX_INIT, MSG_GEX_REPLY, MSG_GEX_REQUEST = 31, 32, 33, 34
"""RFC 4419, section 5."""

SLOW_GROUP_BITS = 6144
"""From this size on a group takes two turns: together 7 ms, and 14 ms with 8192 bits."""

SLOW_RSA_BITS = 6144
"""From this size on a signature by an RSA host key takes a thread: 4 ms with 4096 bits, 20 with
8192. Here cryptography gives Python's lock back."""

_UNCOMPRESSED = 4


@dataclass(frozen=True, slots=True)
class Agreed:
    """What both sides have agreed on.

    :ivar public: our public value, as the reply and the hash have it.
    :ivar secret: the shared secret, as the hash has it.
    """

    public: bytes
    secret: bytes


@dataclass(frozen=True, slots=True)
class ClientValue:
    """The client's public value.

    :ivar encoded: as the hash has it.
    :ivar make_key: makes our key, and returns what agrees with the client by it. With a large group
        each of the two takes long, and cryptography keeps Python's lock meanwhile.
    """

    encoded: bytes
    make_key: Callable[[], Callable[[], Agreed]]

    def agree(self) -> Agreed:
        """Our value and the secret, at once."""
        return self.make_key()()


@dataclass(frozen=True, slots=True)
class Method:
    """A key exchange method, once it is known which group it uses.

    :ivar digest: the hash that goes with it, by its name in `hashlib`.
    :ivar read: reads the client's value from its message; raises ValueError, or `MalformedPacket`,
        if it is none.
    :ivar is_slow: whether it takes longer than the reactor's thread may be held at once.
    :ivar init: the number of the message with the client's value.
    :ivar reply: the number of our reply.
    :ivar hashed_before: what the hash has before the client's value.
    """

    digest: str
    read: Callable[[PacketFields], ClientValue]
    is_slow: bool = False
    init: int = MSG_KEX_INIT
    reply: int = MSG_KEX_REPLY
    hashed_before: bytes = b""


@dataclass(frozen=True, slots=True)
class GroupExchange:
    """Group exchange: the client asks for a group before it sends its value.

    :ivar digest: the hash that goes with it.
    """

    digest: str

    def choose(self, fields: PacketFields) -> tuple[Method, bytes]:
        """The method with the group that the client asks for, and the message that tells it.

        :param fields: those of the request: the smallest, the wanted and the largest size.
        :raises MalformedPacket: no group has such a size.
        """
        sizes = fields.uint32(), fields.uint32(), fields.uint32()
        fields.end()
        group = group_for(*sizes)
        if group is None:
            raise MalformedPacket(f"no group has a size of {sizes[0]} to {sizes[2]} bits")
        request = b"".join(size.to_bytes(4, "big") for size in sizes)
        told = MP(group.prime) + MP(GENERATOR)
        method = _dh(self.digest, group)
        return (
            replace(method, init=MSG_GEX_INIT, reply=MSG_GEX_REPLY, hashed_before=request + told),
            told,
        )


@dataclass(frozen=True, slots=True)
class KexReply:
    """Our reply to the client's value.

    :ivar payload: of the message: host key, our value and the signature.
    :ivar secret: the shared secret, encoded.
    :ivar exchange_hash: what was signed.
    """

    payload: bytes
    secret: bytes
    exchange_hash: bytes


@dataclass(frozen=True, slots=True)
class HostKeySigner:
    """A host key, and how it signs.

    :ivar key: the private key.
    :ivar algorithm: the signature algorithm.
    :ivar blob: the public key.
    :ivar is_slow: whether a signature takes longer than the reactor's thread may be held.
    """

    key: Key
    algorithm: bytes
    blob: bytes
    is_slow: bool

    @classmethod
    def of(cls, key: Key, algorithm: bytes) -> HostKeySigner:
        """A key with one of its signature algorithms.

        :param key: the private key.
        :param algorithm: the algorithm.
        """
        is_slow = key.type() == "RSA" and int(key.size()) >= SLOW_RSA_BITS
        return cls(key, algorithm, bytes(key.public().blob()), is_slow)

    def sign(self, message: bytes) -> bytes:
        """The signature of `message` (RFC 4253, section 6.6)."""
        return bytes(self.key.sign(message, signatureType=self.algorithm))


def answer(
    method: Method, value: ClientValue, signer: HostKeySigner, transcript: bytes
) -> KexReply:
    """Agree on a secret, and sign the exchange (RFC 4253, section 8).

    :param method: the method.
    :param value: what the client has sent.
    :param signer: the host key.
    :param transcript: the versions and the KEXINITs of both sides, as the hash has them.
    :raises ValueError: the client's value leads to no secret.
    """
    return signed(method, value, value.agree(), signer, transcript)


def signed(
    method: Method, value: ClientValue, agreed: Agreed, signer: HostKeySigner, transcript: bytes
) -> KexReply:
    """Sign the exchange.

    :param method: the method.
    :param value: what the client has sent.
    :param agreed: our value and the secret.
    :param signer: the host key.
    :param transcript: as for `answer`.
    """
    key = NS(signer.blob)
    parts = (transcript, key, method.hashed_before, value.encoded, agreed.public, agreed.secret)
    exchange_hash = hashlib.new(method.digest, b"".join(parts)).digest()
    payload = key + agreed.public + NS(signer.sign(exchange_hash))
    return KexReply(payload, agreed.secret, exchange_hash)


# Curves.


@dataclass(frozen=True, slots=True)
class _Curve:
    """A curve: how many bytes a public value has, and how a secret comes of one."""

    public_bytes: int
    exchange: Callable[[bytes], tuple[bytes, bytes]]
    """From the client's public value to ours and the secret, neither encoded for SSH."""


def _exchange_x25519(theirs: bytes) -> tuple[bytes, bytes]:
    """:raises ValueError: the secret would be zero (RFC 8731, section 3)"""
    ours = X25519PrivateKey.generate()
    secret = ours.exchange(X25519PublicKey.from_public_bytes(theirs))
    return ours.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw), secret


def _nist_curve(curve: ec.EllipticCurve) -> _Curve:
    def exchange(theirs: bytes) -> tuple[bytes, bytes]:
        """:raises ValueError: the value is no point of the curve"""
        if theirs[0] != _UNCOMPRESSED:
            raise ValueError("a compressed point")
        peer = ec.EllipticCurvePublicKey.from_encoded_point(curve, theirs)
        ours = ec.generate_private_key(curve)
        public = ours.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
        return public, ours.exchange(ec.ECDH(), peer)

    return _Curve(1 + 2 * -(-curve.key_size // 8), exchange)


_X25519 = _Curve(32, _exchange_x25519)
_P256, _P384, _P521 = map(_nist_curve, (ec.SECP256R1(), ec.SECP384R1(), ec.SECP521R1()))


def _ecdh(digest: str, curve: _Curve) -> Method:
    def read(fields: PacketFields) -> ClientValue:
        theirs = _sized_string(fields, curve.public_bytes)

        def agree() -> Agreed:
            ours, secret = curve.exchange(theirs)
            return Agreed(NS(ours), _mpint(secret))

        return ClientValue(NS(theirs), lambda: agree)

    return Method(digest, read)


def _hybrid(digest: str, make_key: Any, key_bytes: int, curve: _Curve) -> Method:
    """ML-KEM with a curve.

    :param digest: the hash that goes with it.
    :param make_key: makes a public key of ML-KEM from its bytes.
    :param key_bytes: how many these are.
    :param curve: the curve.
    """

    def read(fields: PacketFields) -> ClientValue:
        theirs = _sized_string(fields, key_bytes + curve.public_bytes)

        def agree() -> Agreed:
            quantum_secret, sealed = make_key(theirs[:key_bytes]).encapsulate()
            ours, secret = curve.exchange(theirs[key_bytes:])
            mixed = hashlib.new(digest, quantum_secret + secret).digest()
            return Agreed(NS(sealed + ours), NS(mixed))

        return ClientValue(NS(theirs), lambda: agree)

    return Method(digest, read)


def _sized_string(fields: PacketFields, size_bytes: int) -> bytes:
    """The only field of a message. :raises ValueError: it has another size."""
    theirs = fields.string()
    fields.end()
    if len(theirs) != size_bytes:
        raise ValueError("a public value of the wrong size")
    return theirs


# Diffie-Hellman with primes.


def _dh(digest: str, group: Group) -> Method:
    def read(fields: PacketFields) -> ClientValue:
        theirs = _positive(fields.string())
        fields.end()
        if not 1 < theirs < group.prime - 1:
            raise ValueError("a public value outside of the group")
        numbers = DHParameterNumbers(group.prime, GENERATOR)
        peer = DHPublicNumbers(theirs, numbers)

        def make_key() -> Callable[[], Agreed]:
            ours = numbers.parameters().generate_private_key()

            def agree() -> Agreed:
                secret = ours.exchange(peer.public_key())
                return Agreed(MP(ours.public_key().public_numbers().y), _mpint(secret))

            return agree

        return ClientValue(MP(theirs), make_key)

    return Method(digest, read, is_slow=group.size_bits >= SLOW_GROUP_BITS)


def _positive(mpint: bytes) -> int:
    """The number in an mpint without its length. :raises ValueError: it is negative."""
    if mpint and mpint[0] & 0x80:
        raise ValueError("a negative number")
    return int.from_bytes(mpint, "big")


def _mpint(secret: bytes) -> bytes:
    """A secret, which is a number without a sign, as an mpint (RFC 4251, section 5)."""
    stripped = secret.lstrip(b"\0")
    return NS(b"\0" + stripped if stripped and stripped[0] & 0x80 else stripped)


def _can(kind: str) -> bool:
    """Whether the OpenSSL below cryptography can do it; in FIPS mode it can do less."""
    return bool(getattr(backend, f"{kind}_supported", lambda: False)())


def _available() -> Mapping[bytes, Method | GroupExchange]:
    methods: dict[bytes, Method | GroupExchange] = {
        b"ecdh-sha2-nistp256": _ecdh("sha256", _P256),
        b"ecdh-sha2-nistp384": _ecdh("sha384", _P384),
        b"ecdh-sha2-nistp521": _ecdh("sha512", _P521),
    }
    if _can("x25519"):
        methods |= {
            b"curve25519-sha256": _ecdh("sha256", _X25519),
            b"curve25519-sha256@libssh.org": _ecdh("sha256", _X25519),
        }
    if mlkem is not None and _can("x25519") and _can("mlkem"):
        small, large = (
            (kind.from_public_bytes, size_bytes)
            for kind, size_bytes in (
                (mlkem.MLKEM768PublicKey, 1184),
                (mlkem.MLKEM1024PublicKey, 1568),
            )
        )
        methods |= {
            b"mlkem768x25519-sha256": _hybrid("sha256", *small, _X25519),
            b"mlkem768nistp256-sha256": _hybrid("sha256", *small, _P256),
            b"mlkem1024nistp384-sha384": _hybrid("sha384", *large, _P384),
        }
    if _HAS_DH and _can("dh"):
        methods |= {
            b"diffie-hellman-group14-sha256": _dh("sha256", group_of(2048)),
            b"diffie-hellman-group16-sha512": _dh("sha512", group_of(4096)),
            b"diffie-hellman-group18-sha512": _dh("sha512", group_of(8192)),
            b"diffie-hellman-group14-sha1": _dh("sha1", group_of(2048)),
            b"diffie-hellman-group-exchange-sha256": GroupExchange("sha256"),
        }
    return methods


METHODS: Mapping[bytes, Method | GroupExchange] = _available()
"""What the installed ``cryptography`` can do, by the name in SSH."""
