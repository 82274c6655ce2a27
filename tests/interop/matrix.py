"""Which algorithms of the gateway are tried with a client, and in which combinations.

Knows: names.
Must not know: how a client is told to use them.

No product of all lists, which would have two thousand rows: every CTR cipher goes
with every MAC, those with CBC take turns, and the other lists take turns beside them. So
each name is in some row, and where a row fails, the others show which name it is.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from itertools import cycle, islice, product

KEY_EXCHANGES = (
    "mlkem768x25519-sha256",
    "mlkem768nistp256-sha256",
    "mlkem1024nistp384-sha384",
    "curve25519-sha256",
    "curve25519-sha256@libssh.org",
    "ecdh-sha2-nistp256",
    "ecdh-sha2-nistp384",
    "ecdh-sha2-nistp521",
    "diffie-hellman-group16-sha512",
    "diffie-hellman-group18-sha512",
    "diffie-hellman-group14-sha256",
    "diffie-hellman-group-exchange-sha256",
    "diffie-hellman-group14-sha1",
)
AEAD_CIPHERS = (
    "aes128-gcm@openssh.com",
    "aes256-gcm@openssh.com",
    "chacha20-poly1305@openssh.com",
)
CTR_CIPHERS = ("aes128-ctr", "aes192-ctr", "aes256-ctr")
CBC_CIPHERS = ("aes128-cbc", "aes192-cbc", "aes256-cbc")
MACS = (
    "hmac-sha2-256-etm@openssh.com",
    "hmac-sha2-512-etm@openssh.com",
    "hmac-sha2-256",
    "hmac-sha2-512",
    "hmac-sha1",
)
LOGINS = {
    "ssh-ed25519": "ed25519",
    "rsa-sha2-512": "rsa-3072",
    "rsa-sha2-256": "rsa-3072",
    "ssh-rsa": "rsa-3072",
    "ecdsa-sha2-nistp256": "ecdsa-256",
    "ecdsa-sha2-nistp384": "ecdsa-384",
    "ecdsa-sha2-nistp521": "ecdsa-521",
}
"""Signature algorithms, for host keys as well, and the kind of key that each needs."""


@dataclass(frozen=True)
class Row:
    """What one connection uses."""

    cipher: str
    mac: str
    """Any, with an AEAD."""
    key_exchange: str
    host_key: str
    login: str

    @property
    def is_aead(self) -> bool:
        return self.cipher in AEAD_CIPHERS

    def __str__(self) -> str:
        names = [self.cipher, *([] if self.is_aead else [self.mac])]
        return " ".join([*names, self.key_exchange, self.host_key, self.login])


def rows(
    *,
    ciphers: Collection[str] = (*AEAD_CIPHERS, *CTR_CIPHERS, *CBC_CIPHERS),
    macs: Iterable[str] = MACS,
    key_exchanges: Iterable[str] = KEY_EXCHANGES,
    host_keys: Iterable[str] = tuple(LOGINS),
    logins: Iterable[str] = tuple(LOGINS),
) -> list[Row]:
    """Rows for a client that has these: each name that the gateway has too is in one."""
    pairs = [(cipher, MACS[0]) for cipher in AEAD_CIPHERS if cipher in ciphers]
    shared_macs = _shared(MACS, macs)
    pairs += product(_shared(CTR_CIPHERS, ciphers), shared_macs)
    pairs += zip(cycle(_of(CBC_CIPHERS, ciphers)), shared_macs, strict=False)
    others = (
        _shared(KEY_EXCHANGES, key_exchanges),
        _shared(LOGINS, host_keys),
        _shared(LOGINS, logins),
    )
    size = max(len(pairs), *map(len, others))
    columns = [list(islice(cycle(column), size)) for column in (pairs, *others)]
    return [Row(*pair, *rest) for pair, *rest in zip(*columns, strict=True)]


def _shared(ours: Iterable[str], theirs: Iterable[str]) -> list[str]:
    found = _of(ours, theirs)
    assert found, "nothing in common"
    return found


def _of(ours: Iterable[str], theirs: Iterable[str]) -> list[str]:
    there = frozenset(theirs)
    return [name for name in ours if name in there]
