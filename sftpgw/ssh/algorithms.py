"""Which algorithms the gateway offers, by policy; the preferred ones first.

Knows: names.
Must not know: how any of the algorithms works.

Takes the place of the lists in Conch's `SSHCiphers` and `SSHTransportBase`, which have 3DES and
MD5, SHA-1 and CBC by default, and zlib before the login.

The policies, each with all of the one before it:

- ``modern``: AEAD ciphers and encrypt-then-MAC, Curve25519 and ML-KEM, no SHA-1. Users' keys may be
  on a curve of NIST, which is their choice; the gateway does not use these curves.
- ``compatible``: besides, what clients without these have and what no attack is known against: the
  curves of NIST, fixed groups with SHA-2, MACs of the clear text with SHA-2.
- ``legacy``: besides, SHA-1 and CBC. Who offers these can be made to use them by clients only that
  offer nothing better: the client's order decides, and the signed exchange proves both lists.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, replace
from functools import cache

from twisted.conch.ssh.keys import Key

from sftpgw.auth.login_keys import LOGIN_ALGORITHMS, SHA1_LOGIN_ALGORITHMS
from sftpgw.model.settings import Policy, SshSettings
from sftpgw.ssh.key_agreements import METHODS

STRICT_BY_SERVER = b"kex-strict-s-v00@openssh.com"
STRICT_BY_CLIENT = b"kex-strict-c-v00@openssh.com"
"""Markers in the list of key exchanges that protect against Terrapin (OpenSSH PROTOCOL, 1.10)."""

COMPRESSIONS = (b"none",)

_CURVE25519 = (b"curve25519-sha256", b"curve25519-sha256@libssh.org")
_ETM_MACS = (b"hmac-sha2-256-etm@openssh.com", b"hmac-sha2-512-etm@openssh.com")


@dataclass(frozen=True, slots=True)
class Offer:
    """The algorithms that one gateway offers, the preferred ones first."""

    key_exchanges: tuple[bytes, ...]
    ciphers: tuple[bytes, ...]
    macs: tuple[bytes, ...]
    host_key_algorithms: tuple[bytes, ...]
    login_key_algorithms: tuple[bytes, ...]

    @classmethod
    def of(cls, settings: SshSettings) -> Offer:
        """What the settings list; where they list nothing, what their policy offers."""
        listed = {kind: _names(getattr(settings, kind)) for kind in KINDS}
        given = {kind: names for kind, names in listed.items() if names}
        return replace(policy_offer(settings.policy), **given)

    def with_keys(self, host_keys: Iterable[Key]) -> Offer:
        """The same, with those host key algorithms only that one of the keys can sign with."""
        able = [name for key in host_keys for name in key.supportedSignatureAlgorithms()]
        return replace(self, host_key_algorithms=tuple(allowed(self.host_key_algorithms, able)))


KINDS = tuple(field.name for field in fields(Offer))
"""The keys of ``[ssh]`` that list algorithms."""

_MODERN = Offer(
    key_exchanges=(b"mlkem768x25519-sha256", *_CURVE25519),
    ciphers=(
        b"aes128-gcm@openssh.com",
        b"aes256-gcm@openssh.com",
        b"chacha20-poly1305@openssh.com",
        b"aes128-ctr",
        b"aes192-ctr",
        b"aes256-ctr",
    ),
    macs=_ETM_MACS,
    host_key_algorithms=(b"ssh-ed25519", b"rsa-sha2-512", b"rsa-sha2-256"),
    login_key_algorithms=LOGIN_ALGORITHMS,
)
_COMPATIBLE = replace(
    _MODERN,
    key_exchanges=(
        b"mlkem768x25519-sha256",
        b"mlkem768nistp256-sha256",
        b"mlkem1024nistp384-sha384",
        *_CURVE25519,
        b"ecdh-sha2-nistp256",
        b"ecdh-sha2-nistp384",
        b"ecdh-sha2-nistp521",
        b"diffie-hellman-group16-sha512",
        b"diffie-hellman-group18-sha512",
        b"diffie-hellman-group14-sha256",
    ),
    macs=(*_ETM_MACS, b"hmac-sha2-256", b"hmac-sha2-512"),
    host_key_algorithms=(
        *_MODERN.host_key_algorithms,
        b"ecdsa-sha2-nistp256",
        b"ecdsa-sha2-nistp384",
        b"ecdsa-sha2-nistp521",
    ),
)
_LEGACY = replace(
    _COMPATIBLE,
    key_exchanges=(
        *_COMPATIBLE.key_exchanges,
        b"diffie-hellman-group-exchange-sha256",
        b"diffie-hellman-group14-sha1",
    ),
    ciphers=(*_MODERN.ciphers, b"aes256-cbc", b"aes192-cbc", b"aes128-cbc"),
    macs=(*_COMPATIBLE.macs, b"hmac-sha1"),
    host_key_algorithms=(*_COMPATIBLE.host_key_algorithms, b"ssh-rsa"),
    login_key_algorithms=(*LOGIN_ALGORITHMS, *SHA1_LOGIN_ALGORITHMS),
)
_POLICIES = {Policy.MODERN: _MODERN, Policy.COMPATIBLE: _COMPATIBLE, Policy.LEGACY: _LEGACY}


def allowed(ours: Iterable[bytes], available: Iterable[bytes]) -> list[bytes]:
    """Those of `ours` that are `available`, in our order."""
    there = frozenset(available)
    return [name for name in ours if name in there]


@cache
def policy_offer(policy: Policy) -> Offer:
    """What a policy offers, as far as the installed libraries can do it.

    :param policy: the policy.
    """
    offer = _POLICIES[policy]
    return replace(offer, key_exchanges=tuple(allowed(offer.key_exchanges, METHODS)))


def _names(listed: Iterable[str]) -> tuple[bytes, ...]:
    return tuple(dict.fromkeys(name.encode("ascii") for name in listed))


KNOWN: Mapping[str, tuple[str, ...]] = {
    kind: tuple(name.decode("ascii") for name in getattr(policy_offer(Policy.LEGACY), kind))
    for kind in KINDS
}
"""What ``[ssh]`` may list under each of its keys: what the installed libraries can do."""


def legacy_names(offer: Offer) -> list[str]:
    """The algorithms of an offer that only the policy ``legacy`` has.

    :param offer: what a gateway offers, or what a connection uses.
    """
    compatible = policy_offer(Policy.COMPATIBLE)
    found = (
        name.decode("ascii", "replace")
        for kind in KINDS
        for name in getattr(offer, kind)
        if name not in getattr(compatible, kind)
    )
    return list(dict.fromkeys(found))
