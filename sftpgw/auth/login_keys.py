"""Public keys for logins, and the signatures made with them.

Knows: which key types and signature algorithms are strong enough, and what a security key signs.
Must not know: whose key it is, certificates, or the packet that a signature came in.

Rules:

- Accepted are Ed25519, ECDSA on the NIST curves, RSA of 2048 to 16384 bits, and the security-key
  variants of the first two; not DSA.
- Which algorithms may sign, such as RSA with SHA-1, is decided before (`ssh.algorithms`).
- A signature names its algorithm; it must be the one that the request announces.
- A security key tells in each signature whether it was touched, and whether it has verified its
  owner. The caller says what it must tell.
"""

from __future__ import annotations

import base64
import hashlib
import struct
from dataclasses import dataclass

from cryptography.exceptions import UnsupportedAlgorithm
from twisted.conch.ssh.common import NS
from twisted.conch.ssh.keys import BadKeyError, Key

from sftpgw.auth.encoded_fields import EncodedFields

MIN_RSA_BITS = 2048
MAX_RSA_BITS = 16384

_RSA_ALGORITHMS = (b"rsa-sha2-512", b"rsa-sha2-256")
SHA1_LOGIN_ALGORITHMS = (b"ssh-rsa",)
"""RSA with SHA-1 has the name of the key's type (RFC 4253, section 6.6)."""
_OTHER_ALGORITHMS = (
    b"ssh-ed25519",
    b"sk-ssh-ed25519@openssh.com",
    b"ecdsa-sha2-nistp256",
    b"ecdsa-sha2-nistp384",
    b"ecdsa-sha2-nistp521",
    b"sk-ecdsa-sha2-nistp256@openssh.com",
)

LOGIN_ALGORITHMS: tuple[bytes, ...] = _OTHER_ALGORITHMS + _RSA_ALGORITHMS
"""Signature algorithms for logins, but for SHA-1."""

KEY_TYPES = frozenset((*_OTHER_ALGORITHMS, b"ssh-rsa"))

USER_PRESENT, USER_VERIFIED = 0x01, 0x04
"""Flags of a security key: it was touched; it has verified its owner, with a PIN for instance."""

# What Conch and cryptography raise for data that is not a key.
_UNREADABLE = (
    BadKeyError,
    ValueError,
    TypeError,
    IndexError,
    KeyError,
    struct.error,
    UnsupportedAlgorithm,
)


@dataclass(frozen=True, slots=True)
class LoginKey:
    """A public key of an accepted type.

    :ivar key: the key.
    :ivar blob: its only encoding (RFC 4253, section 6.6).
    """

    key: Key
    blob: bytes

    @property
    def algorithms(self) -> tuple[bytes, ...]:
        """The signature algorithms that this key can sign with."""
        key_type = bytes(self.key.sshType())
        is_rsa = key_type == b"ssh-rsa"
        return _RSA_ALGORITHMS + SHA1_LOGIN_ALGORITHMS if is_rsa else (key_type,)

    @property
    def fingerprint(self) -> str:
        """As ``ssh-keygen -l`` shows it."""
        return fingerprint(self.blob)


def fingerprint(blob: bytes) -> str:
    """The fingerprint of a key's blob as OpenSSH writes it: ``SHA256:…``."""
    digest = base64.b64encode(hashlib.sha256(blob).digest()).rstrip(b"=")
    return f"SHA256:{digest.decode('ascii')}"


def read_key_blob(blob: bytes) -> LoginKey:
    """The key in `blob` (RFC 4253, section 6.6).

    :raises ValueError: it is not a key, or not of an accepted type; says why.
    """
    try:
        key = Key.fromString(blob, type="BLOB")
        key_type = bytes(key.sshType())
        encoding = key.blob()
    except _UNREADABLE as problem:
        raise ValueError("not a public key, or of an unknown type") from problem
    if key_type not in KEY_TYPES:
        raise ValueError(f"{key_type.decode('ascii', 'replace')} keys are not accepted")
    if key_type == b"ssh-rsa" and not MIN_RSA_BITS <= key.size() <= MAX_RSA_BITS:
        raise ValueError(
            f"RSA keys must have {MIN_RSA_BITS} to {MAX_RSA_BITS} bits, this has {key.size()}"
        )
    if encoding != blob:
        # Conch ignores surplus bytes; a key must have only one encoding.
        raise ValueError("the public key is not encoded correctly")
    return LoginKey(key, blob)


def verify_signature(
    login_key: LoginKey,
    algorithm: bytes,
    signature: bytes,
    message: bytes,
    required_flags: int = USER_PRESENT,
) -> bool:
    """Whether `signature` was made for `message` by this key with this algorithm.

    :param login_key: the key.
    :param algorithm: the signature algorithm that the request announces.
    :param signature: as in RFC 4253, section 6.6, with a trailer if a security key made it.
    :param message: what was signed.
    :param required_flags: what a security key must tell: `USER_PRESENT`, `USER_VERIFIED`, or both.
    """
    if algorithm not in login_key.algorithms:
        return False
    try:
        named, value, trailer = _split_signature(signature)
        if named != algorithm:
            return False
        if login_key.key.isSecurityKey():
            if not _has_flags(trailer, required_flags):
                return False
            message = _security_key_message(login_key.key.application, trailer, message)
        elif trailer:
            return False
        return bool(login_key.key.verify(NS(named) + NS(value), message))
    except _UNREADABLE:
        return False


def _split_signature(signature: bytes) -> tuple[bytes, bytes, bytes]:
    """Algorithm, value and trailer of a signature.

    :raises ValueError: it ends too early.
    """
    fields = EncodedFields(signature)
    return fields.string(), fields.string(), fields.rest()


def _has_flags(trailer: bytes, required_flags: int) -> bool:
    """Whether a security key's trailer has the flags; the other four bytes are a counter."""
    return len(trailer) == 5 and trailer[0] & required_flags == required_flags


def _security_key_message(application: bytes, trailer: bytes, message: bytes) -> bytes:
    """What the device has signed (OpenSSH's PROTOCOL.u2f, "SSH U2F Signatures").

    Conch's ``userauth._wrapMessageWithSKMetadata`` also accepts a device that was not touched.
    """
    return hashlib.sha256(application).digest() + trailer + hashlib.sha256(message).digest()
