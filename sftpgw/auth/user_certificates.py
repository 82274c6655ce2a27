"""OpenSSH's user certificates: a key, and what an authority says of it.

Knows: OpenSSH's PROTOCOL.certkeys, and which of what a certificate may say is enforced.
Must not know: which authorities are trusted, users, or files.

Rules:

- Certified are the keys that `auth.login_keys` accepts without a certificate, by authorities with
  such keys. An RSA authority signs with SHA-2. A certificate does not sign certificates.
- The signature of the authority is verified before anything else is asked. So a certificate takes
  the same time for each user name.
- Critical options restrict: one that is not enforced here makes the certificate unfit. Extensions
  only permit, so that unknown ones are left aside.

`cryptography` reads certificates, too. It does not tell which algorithm the authority has signed
with, drops the application of a security key, and knows no authority that is one.
"""

from __future__ import annotations

from dataclasses import dataclass

from twisted.conch.ssh.common import NS

from sftpgw.auth.encoded_fields import EncodedFields
from sftpgw.auth.login_keys import LoginKey, fingerprint, read_key_blob, verify_signature
from sftpgw.model.address_patterns import AddressPatterns, read_networks
from sftpgw.model.messages import readable
from sftpgw.model.normalization import normalized

SUFFIX = b"-cert-v01@openssh.com"
USER_CERTIFICATE = 1
MAX_PRINCIPALS = 256
"""As in OpenSSH."""

SFTP_COMMAND = b"internal-sftp"
"""The one command of ``force-command`` that changes nothing here: nothing else is served."""

_KEY_FIELDS = {
    b"ssh-rsa": 2,
    b"ssh-ed25519": 1,
    b"ecdsa-sha2-nistp256": 2,
    b"ecdsa-sha2-nistp384": 2,
    b"ecdsa-sha2-nistp521": 2,
    b"sk-ssh-ed25519@openssh.com": 2,
    b"sk-ecdsa-sha2-nistp256@openssh.com": 3,
}
"""How many fields the key has, all of them encoded like strings."""

_AUTHORITY_ALGORITHMS = (frozenset(_KEY_FIELDS) - {b"ssh-rsa"}) | {b"rsa-sha2-256", b"rsa-sha2-512"}


@dataclass(frozen=True, slots=True)
class UserCertificate:
    """A certificate whose signature is right.

    :ivar login_key: the key that is certified.
    :ivar authority: the key of the authority, in its only encoding.
    :ivar serial: the authority's number for it; 0 if it does not number them.
    :ivar key_id: the authority's name for it.
    :ivar principals: the users whom it stands for, in the normal form of Unicode.
    :ivar valid_from: seconds since 1970.
    :ivar valid_until: the second in which it stops to be valid.
    :ivar sources: where it may be used from; None for anywhere.
    :ivar needs_touch: whether a FIDO key must tell that it was touched.
    :ivar needs_verification: whether a FIDO key must tell that it has verified its owner.
    """

    login_key: LoginKey
    authority: bytes
    serial: int
    key_id: bytes
    principals: frozenset[str]
    valid_from: int
    valid_until: int
    sources: AddressPatterns | None
    needs_touch: bool
    needs_verification: bool


def is_certificate(blob: bytes) -> bool:
    """Whether `blob` claims to be a certificate.

    :param blob: what a client offers as its key.
    """
    return blob[4 : 4 + int.from_bytes(blob[:4], "big")].endswith(SUFFIX)


def plain_algorithm(algorithm: bytes) -> bytes:
    """The algorithm that a signature has, where the request names that of a certificate.

    :param algorithm: an algorithm of a public key or of a certificate.
    """
    if not algorithm.endswith(SUFFIX):
        return algorithm
    plain = algorithm.removesuffix(SUFFIX)
    return plain + b"@openssh.com" if plain.startswith(b"sk-") else plain


def certified_blob(blob: bytes) -> bytes:
    """The key in a certificate, in its only encoding; nothing else is looked at.

    :raises ValueError: there is none.
    """
    return _take_key(EncodedFields(blob))


def describe_certificate(blob: bytes) -> str:
    """What tells the operator which certificate it is; it may not be what it claims.

    :raises ValueError: it is cut short.
    """
    fields = EncodedFields(blob)
    _take_key(fields)
    serial, _, key_id = fields.uint64(), fields.uint32(), fields.string()
    fields.string()
    fields.raw(16)
    *_, authority = (fields.string() for _ in range(4))
    return f"{readable(key_id[:128])} serial {serial} by {fingerprint(authority)}"


def read_certificate(blob: bytes) -> UserCertificate:
    """The certificate in `blob`.

    :raises ValueError: it is none, is not signed as it should be, or restricts what is not
        enforced; says which.
    """
    try:
        return _read(EncodedFields(blob), blob)
    except ValueError as problem:
        raise ValueError(f"the certificate cannot be used: {problem}") from problem


def _read(fields: EncodedFields, blob: bytes) -> UserCertificate:
    login_key = read_key_blob(_take_key(fields))
    serial, kind, key_id = fields.uint64(), fields.uint32(), fields.string()
    principals = frozenset(EncodedFields(fields.string()).strings())
    valid_from, valid_until = fields.uint64(), fields.uint64()
    options = _named(fields.string())
    extensions = _named(fields.string())
    fields.string()  # reserved
    authority = fields.string()
    signed = blob[: len(blob) - fields.left_bytes]
    _verify(authority, fields.string(), signed)
    fields.end()
    if kind != USER_CERTIFICATE:
        raise ValueError("it is not a user's")
    if len(principals) > MAX_PRINCIPALS:
        raise ValueError(f"it has more than {MAX_PRINCIPALS} principals")
    return UserCertificate(
        login_key=login_key,
        authority=authority,
        serial=serial,
        key_id=key_id,
        principals=frozenset(map(_name, principals)),
        valid_from=valid_from,
        valid_until=valid_until,
        sources=_sources(options),
        needs_touch=b"no-touch-required" not in extensions,
        needs_verification=b"verify-required" in options,
    )


def _take_key(fields: EncodedFields) -> bytes:
    """The certified key in its only encoding (RFC 4253, section 6.6)."""
    kind = fields.string()
    plain = plain_algorithm(kind)
    if plain == kind or plain not in _KEY_FIELDS:
        raise ValueError("it is not of a known type")
    fields.string()  # nonce
    return NS(plain) + b"".join(NS(fields.string()) for _ in range(_KEY_FIELDS[plain]))


def _verify(authority: bytes, signature: bytes, signed: bytes) -> None:
    algorithm = EncodedFields(signature).string()
    if algorithm not in _AUTHORITY_ALGORITHMS:
        raise ValueError("its authority must not sign with this algorithm")
    if not verify_signature(read_key_blob(authority), algorithm, signature, signed, 0):
        raise ValueError("its signature is wrong")


def _named(data: bytes) -> dict[bytes, bytes]:
    """Options or extensions: names, and what stands behind each."""
    fields = EncodedFields(data)
    found: dict[bytes, bytes] = {}
    while fields.left_bytes:
        name, value = fields.string(), fields.string()
        if name in found:
            raise ValueError(f"it says {readable(name[:64])} twice")
        found[name] = value
    return found


def _name(principal: bytes) -> str:
    """A principal in the normal form of names; bytes that are no UTF-8 equal no name."""
    return normalized(principal.decode("utf-8", "surrogateescape"))


def _sources(options: dict[bytes, bytes]) -> AddressPatterns | None:
    """Where the certificate may be used from.

    :raises ValueError: it has a restriction that is not enforced.
    """
    unknown = options.keys() - {b"force-command", b"source-address", b"verify-required"}
    if unknown:
        raise ValueError(f"its critical option {readable(min(unknown)[:64])} is not supported")
    if _value(options, b"force-command") not in (None, SFTP_COMMAND):
        raise ValueError("its force-command is not internal-sftp; no other command is run")
    if options.get(b"verify-required"):
        raise ValueError("its verify-required has a value")
    sources = _value(options, b"source-address")
    return None if sources is None else read_networks(sources.decode("ascii"))


def _value(options: dict[bytes, bytes], name: bytes) -> bytes | None:
    """What an option says: a string within its data."""
    if name not in options:
        return None
    fields = EncodedFields(options[name])
    value = fields.string()
    fields.end()
    return value
