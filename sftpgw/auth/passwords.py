"""Password hashes: which ones can be used, and whether a password matches one.

Knows: bcrypt and argon2, their limits, and that both are slow on purpose.
Must not know: users.

`matches` blocks until the hash is computed: call it in a thread.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Iterable

import argon2
import bcrypt

BCRYPT_PASSWORD_BYTES = 72
"""bcrypt uses no more bytes of a password; libraries differ in how they treat longer ones."""

MAX_PASSWORD_BYTES = 1024

# With a more expensive hash, each login attempt would hold a thread for seconds, or gigabytes of
# memory.
MAX_BCRYPT_COST = 16
MAX_ARGON2_MEMORY_KIB = 1024 * 1024
MAX_ARGON2_PASSES = 64

# For new hashes: what OWASP's "Password Storage Cheat Sheet" recommends for argon2id. The smaller
# of the two settings of RFC 9106 takes 64 MiB for each login in progress, which no limit counts.
ARGON2_MEMORY_KIB = 19 * 1024
ARGON2_PASSES = 2
ARGON2_LANES = 1

_BCRYPT = re.compile(r"\$2[aby]\$(\d\d)\$[./A-Za-z0-9]{53}")

DEFAULT_DECOY = "$2b$12$" + "sftpgwDecoyHashNobody." + "S" * 30 + "e"
"""A bcrypt hash without a known password, used if no user has a password."""


def check_password_hash(text: str) -> None:
    """Check that `matches` can use a hash.

    :raises ValueError: it cannot; says why.
    """
    bcrypt_hash = _BCRYPT.fullmatch(text)
    if bcrypt_hash:
        if not 4 <= int(bcrypt_hash[1]) <= MAX_BCRYPT_COST:
            raise ValueError(f"the bcrypt cost must be 4 to {MAX_BCRYPT_COST}")
    elif text.startswith("$argon2"):
        _check_argon2(text)
    elif text.startswith("$2"):
        raise ValueError("not a complete bcrypt hash")
    else:
        raise ValueError("must be a bcrypt ($2b$…) or argon2 ($argon2id$…) hash, not a password")


def hash_password(password: bytes) -> str:
    """A new argon2id hash of a password. Blocks for a tenth of a second.

    bcrypt uses no more than 72 bytes of a password, and takes no memory, so that special hardware
    guesses cheaply.

    :param password: in UTF-8, as clients send it.
    :raises ValueError: it is empty or too long; says which.
    """
    if not password:
        raise ValueError("the password is empty")
    if len(password) > MAX_PASSWORD_BYTES:
        raise ValueError(f"the password has more than {MAX_PASSWORD_BYTES} bytes")
    hasher = argon2.PasswordHasher(ARGON2_PASSES, ARGON2_MEMORY_KIB, ARGON2_LANES)
    return hasher.hash(password)


def matches(password: bytes, password_hash: str) -> bool:
    """Whether `password` has this hash. Blocks for the same time in either case.

    :param password: in UTF-8, as clients send it.
    :param password_hash: one that `check_password_hash` accepts.
    """
    if password_hash.startswith("$argon2"):
        found = _matches_argon2(password[:MAX_PASSWORD_BYTES], password_hash)
        usable = 0 < len(password) <= MAX_PASSWORD_BYTES
    else:
        found = _matches_bcrypt(password[:BCRYPT_PASSWORD_BYTES], password_hash)
        usable = 0 < len(password) <= BCRYPT_PASSWORD_BYTES
    return found and usable


class Decoys:
    """Hashes to check where a user has none, so that the time of a refusal tells nothing.

    Each name that does not exist, or has no password, is assigned the hash of one of the users,
    always the same, also after a restart. The proportion of such names with a certain algorithm and
    cost is therefore that of the users with it.

    :param password_hashes: the hashes of all users.
    """

    def __init__(self, password_hashes: Iterable[str]) -> None:
        self._hashes = tuple(sorted(password_hashes)) or (DEFAULT_DECOY,)
        self._secret = hashlib.sha256("\n".join(self._hashes).encode("ascii", "replace")).digest()

    def hash_for(self, name: bytes) -> str:
        """The hash that is checked for `name`; clients cannot find out which one it is."""
        digest = hmac.digest(self._secret, name, "sha256")
        return self._hashes[int.from_bytes(digest, "big") % len(self._hashes)]


def _check_argon2(text: str) -> None:
    try:
        parameters = argon2.extract_parameters(text)
    except (argon2.exceptions.InvalidHashError, ValueError) as problem:
        raise ValueError("not a complete argon2 hash") from problem
    if parameters.memory_cost > MAX_ARGON2_MEMORY_KIB:
        raise ValueError(f"the argon2 memory cost must be at most {MAX_ARGON2_MEMORY_KIB} KiB")
    if parameters.time_cost > MAX_ARGON2_PASSES:
        raise ValueError(f"the argon2 time cost must be at most {MAX_ARGON2_PASSES}")


def _matches_bcrypt(password: bytes, password_hash: str) -> bool:
    try:
        return bcrypt.checkpw(password, password_hash.encode("ascii"))
    except ValueError:
        return False


def _matches_argon2(password: bytes, password_hash: str) -> bool:
    try:
        return argon2.PasswordHasher().verify(password_hash, password)
    except (
        argon2.exceptions.VerificationError,
        argon2.exceptions.InvalidHashError,
        UnicodeError,
    ):
        return False
