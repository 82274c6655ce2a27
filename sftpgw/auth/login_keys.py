"""Public keys for logins, and the signatures made with them.

Knows: which key types and signature algorithms are strong enough, the format of an
``authorized_keys`` line (sshd(8)), and what a security key signs.
Must not know: whose key it is, or the packet that a signature came in.

Rules:

- Accepted are Ed25519, ECDSA on the NIST curves, RSA of 2048 to 16384 bits, and the security-key
  variants of the first two; not DSA.
- Which algorithms may sign, such as RSA with SHA-1, is decided before (`ssh.algorithms`).
- A signature names its algorithm; it must be the one that the request announces.
- In OpenSSH, options before a key restrict it. No option is implemented here, so a line with one is
  refused: without it the key could do more than intended.
- A security key must have been touched (the "user present" flag).
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import struct
from dataclasses import dataclass

from cryptography.exceptions import UnsupportedAlgorithm
from twisted.conch.ssh.common import NS
from twisted.conch.ssh.keys import BadKeyError, Key

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

_KEY_TYPES = frozenset((*_OTHER_ALGORITHMS, b"ssh-rsa"))
_USER_PRESENT = 0x01

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
    if key_type not in _KEY_TYPES:
        raise ValueError(f"{key_type.decode('ascii', 'replace')} keys are not accepted")
    if key_type == b"ssh-rsa" and not MIN_RSA_BITS <= key.size() <= MAX_RSA_BITS:
        raise ValueError(
            f"RSA keys must have {MIN_RSA_BITS} to {MAX_RSA_BITS} bits, this has {key.size()}"
        )
    if encoding != blob:
        # Conch ignores surplus bytes; a key must have only one encoding.
        raise ValueError("the public key is not encoded correctly")
    return LoginKey(key, blob)


def read_authorized_key(line: str) -> LoginKey:
    """The key of a line in OpenSSH's ``authorized_keys`` format (sshd(8)).

    :raises ValueError: it cannot be used; says why, without quoting it.
    """
    words = line.split(None, 2)
    if not words:
        raise ValueError("the line is empty")
    if words[0].encode("utf-8") not in _KEY_TYPES | {b"ssh-dss"}:
        raise ValueError(
            "the line must begin with a key type such as ssh-ed25519;"
            " options before the key and certificates are not supported"
        )
    if len(words) < 2:
        raise ValueError("the key is missing after its type")
    login_key = read_key_blob(_decode_base64(words[1]))
    if bytes(login_key.key.sshType()) != words[0].encode("ascii"):
        raise ValueError("the key is not of the type that the line names")
    return login_key


def authorized_blob(line: str) -> bytes:
    """The blob of the key of an ``authorized_keys`` line.

    :raises ValueError: it cannot be used; says why.
    """
    return read_authorized_key(line).blob


def verify_signature(
    login_key: LoginKey, algorithm: bytes, signature: bytes, message: bytes
) -> bool:
    """Whether `signature` was made for `message` by this key with this algorithm.

    :param login_key: the key.
    :param algorithm: the signature algorithm that the request announces.
    :param signature: as in RFC 4253, section 6.6, with a trailer if a security key made it.
    :param message: what was signed.
    """
    if algorithm not in login_key.algorithms:
        return False
    try:
        named, value, trailer = _split_signature(signature)
        if named != algorithm:
            return False
        if login_key.key.isSecurityKey():
            message = _security_key_message(login_key.key.application, trailer, message)
        elif trailer:
            return False
        return bool(login_key.key.verify(NS(named) + NS(value), message))
    except _UNREADABLE:
        return False


def _decode_base64(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as problem:
        raise ValueError("the key is not valid base64") from problem


def _split_signature(signature: bytes) -> tuple[bytes, bytes, bytes]:
    """Algorithm, value and trailer of a signature.

    :raises ValueError: it ends too early.
    """
    named, rest = _take_string(signature)
    value, trailer = _take_string(rest)
    return named, value, trailer


def _take_string(data: bytes) -> tuple[bytes, bytes]:
    end = 4 + int.from_bytes(data[:4], "big")
    if len(data) < end:
        raise ValueError("truncated")
    return data[4:end], data[end:]


def _security_key_message(application: bytes, trailer: bytes, message: bytes) -> bytes:
    """What the device has signed (OpenSSH's PROTOCOL.u2f, "SSH U2F Signatures").

    Conch's ``userauth._wrapMessageWithSKMetadata`` also accepts a device that was not touched.

    :raises ValueError: the trailer is malformed, or the device was not touched.
    """
    if len(trailer) != 5 or not trailer[0] & _USER_PRESENT:
        raise ValueError("no flags and counter, or the user was not present")
    return hashlib.sha256(application).digest() + trailer + hashlib.sha256(message).digest()
