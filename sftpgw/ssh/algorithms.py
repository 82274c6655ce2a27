"""Which algorithms the gateway offers, the preferred ones first.

Knows: names.
Must not know: how any of the algorithms works.

Takes the place of the lists in Conch's `SSHCiphers` and `SSHTransportBase`, which have CBC, 3DES,
MD5, SHA-1, and zlib before the login. Left out are group exchange, where Conch checks primes anew
for every client, for seconds (`SSHServerTransport.ssh_KEX_DH_GEX_REQUEST`), group14, which Conch
has with SHA-1 only, and SHA-1 signatures by RSA host keys, which `SSHFactory.buildProtocol` adds.

By default less is offered than ``[ssh]`` may list: plain MACs authenticate the clear text instead
of the encrypted packet, and only old clients need them.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from twisted.conch.ssh.transport import SSHTransportBase

from sftpgw.auth.login_keys import LOGIN_ALGORITHMS
from sftpgw.model.settings import SshSettings
from sftpgw.ssh.packet_cipher import AEAD_CIPHERS

KEY_EXCHANGES = (
    b"mlkem768x25519-sha256",
    b"curve25519-sha256",
    b"curve25519-sha256@libssh.org",
)
NIST_KEY_EXCHANGES = (
    b"ecdh-sha2-nistp256",
    b"ecdh-sha2-nistp384",
    b"ecdh-sha2-nistp521",
)
"""RFC 5656, section 4: for clients without Curve25519; offered only if they are listed."""
STRICT_BY_SERVER = b"kex-strict-s-v00@openssh.com"
STRICT_BY_CLIENT = b"kex-strict-c-v00@openssh.com"
"""Markers in the list of key exchanges that protect against Terrapin (OpenSSH PROTOCOL, 1.10)."""

CIPHERS = (
    b"aes128-gcm@openssh.com",
    b"aes256-gcm@openssh.com",
    b"chacha20-poly1305@openssh.com",
    b"aes128-ctr",
    b"aes192-ctr",
    b"aes256-ctr",
)
ETM_MACS = (
    b"hmac-sha2-256-etm@openssh.com",
    b"hmac-sha2-512-etm@openssh.com",
)
PLAIN_MACS = (
    b"hmac-sha2-256",
    b"hmac-sha2-512",
)
MACS = ETM_MACS + PLAIN_MACS
COMPRESSIONS = (b"none",)
HOST_KEY_SIGNATURES = (
    b"ssh-ed25519",
    b"rsa-sha2-512",
    b"rsa-sha2-256",
    b"ecdsa-sha2-nistp256",
    b"ecdsa-sha2-nistp384",
    b"ecdsa-sha2-nistp521",
)


def allowed(ours: Iterable[bytes], available: Iterable[bytes]) -> list[bytes]:
    """Those of `ours` that are `available`, in our order."""
    there = frozenset(available)
    return [name for name in ours if name in there]


def _texts(names: Iterable[bytes]) -> tuple[str, ...]:
    return tuple(name.decode("ascii") for name in names)


KNOWN: Mapping[str, tuple[str, ...]] = {
    "key_exchanges": _texts(
        allowed(KEY_EXCHANGES + NIST_KEY_EXCHANGES, SSHTransportBase.supportedKeyExchanges)
    ),
    "ciphers": _texts(CIPHERS),
    "macs": _texts(MACS),
    "host_key_algorithms": _texts(HOST_KEY_SIGNATURES),
    "login_key_algorithms": _texts(LOGIN_ALGORITHMS),
}
"""What ``[ssh]`` may list under each of its keys: what the installed libraries can do."""


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
        """The algorithms that the settings list, or the defaults."""
        return cls(
            key_exchanges=_chosen(settings.key_exchanges, KEY_EXCHANGES),
            ciphers=_chosen(settings.ciphers, CIPHERS),
            macs=_chosen(settings.macs, ETM_MACS),
            host_key_algorithms=_chosen(settings.host_key_algorithms, HOST_KEY_SIGNATURES),
            login_key_algorithms=_chosen(settings.login_key_algorithms, LOGIN_ALGORITHMS),
        )


def _chosen(listed: tuple[str, ...], default: tuple[bytes, ...]) -> tuple[bytes, ...]:
    return tuple(dict.fromkeys(name.encode("ascii") for name in listed)) or default


def acceptable_macs(
    client_ciphers: Iterable[Sequence[bytes]],
    client_macs: Iterable[Sequence[bytes]],
    offer: Offer,
) -> list[bytes]:
    """The MACs of which the client must have one.

    With an AEAD cipher in both directions no MAC is used, and any is acceptable (RFC 5647, section
    5.1, as OpenSSH implements it). Conch requires a common one in any case (`ssh_KEXINIT`).

    :param client_ciphers: the client's ciphers, for each direction.
    :param client_macs: the client's MACs, for each direction.
    :param offer: our algorithms.
    """
    ciphers = [allowed(theirs, offer.ciphers)[:1] for theirs in client_ciphers]
    if all(chosen and chosen[0] in AEAD_CIPHERS for chosen in ciphers):
        return [name for theirs in client_macs for name in theirs]
    return list(offer.macs)


@dataclass(frozen=True, slots=True)
class Mismatch:
    """A kind of algorithm of which a client and we have none in common.

    :ivar setting: the key of ``[ssh]`` that lists this kind.
    :ivar theirs: what the client offers.
    :ivar could_list: those of `theirs` that the setting may list. A host key algorithm also needs a
        host key.
    """

    setting: str
    theirs: tuple[bytes, ...]
    could_list: tuple[str, ...]


_SETTINGS = ("key_exchanges", "host_key_algorithms", "ciphers", "ciphers", "macs", "macs")
"""The settings for the first lists of a KEXINIT, in their order (RFC 4253, section 7.1)."""


def first_mismatch(
    theirs: Sequence[Sequence[bytes]], ours: Mapping[str, Collection[bytes]]
) -> Mismatch | None:
    """The first kind of algorithm without a common one; None if there is none.

    :param theirs: the lists of a client's KEXINIT, in their order.
    :param ours: what we offer this client, by the keys of ``[ssh]``.
    """
    for setting, names in zip(_SETTINGS, theirs, strict=False):
        if not allowed(names, ours[setting]):
            could_list = (name for name in KNOWN[setting] if name.encode("ascii") in names)
            return Mismatch(setting, tuple(names), tuple(could_list))
    return None
