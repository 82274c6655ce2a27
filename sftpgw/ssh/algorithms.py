"""Which algorithms the gateway offers, the preferred ones first.

Knows: names.
Must not know: how any of them works.

Takes the place of Conch's lists (transport 120-137 and 461-482), which have
CBC, 3DES, MD5, SHA-1, and zlib before login; of its group exchange, whose primes
are checked anew for every client, for seconds (1156, 1174); of group14, which it
has with SHA-1 only; and of what `SSHFactory.buildProtocol` adds (SHA-1 signatures
by RSA host keys).
"""

from __future__ import annotations

from collections.abc import Iterable

KEY_EXCHANGES = (
    b"mlkem768x25519-sha256",
    b"curve25519-sha256",
    b"curve25519-sha256@libssh.org",
)
STRICT_BY_SERVER = b"kex-strict-s-v00@openssh.com"
STRICT_BY_CLIENT = b"kex-strict-c-v00@openssh.com"
"""Markers in the list of key exchanges (OpenSSH PROTOCOL, section 1.10): against Terrapin."""

CIPHERS = (
    b"aes128-gcm@openssh.com",
    b"aes256-gcm@openssh.com",
    b"chacha20-poly1305@openssh.com",
    b"aes128-ctr",
    b"aes192-ctr",
    b"aes256-ctr",
)
MACS = (
    b"hmac-sha2-256-etm@openssh.com",
    b"hmac-sha2-512-etm@openssh.com",
    b"hmac-sha2-256",
    b"hmac-sha2-512",
)
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
