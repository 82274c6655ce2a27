"""Password hashes: which are understood, and whether a password matches one.

Knows: bcrypt and argon2, their limits, and that both are slow on purpose.
Must not know: users. `matches` blocks for as long as the hash was made to
take: call it in a thread.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Iterable

import argon2
import bcrypt

# bcrypt looks at 72 bytes; libraries differ in what they do with more.
BCRYPT_PASSWORD_BYTES = 72
MAX_PASSWORD_BYTES = 1024

# A hash above these would let every login attempt hold a thread for seconds,
# or memory by the gigabyte.
MAX_BCRYPT_COST = 16
MAX_ARGON2_MEMORY_KIB = 1024 * 1024
MAX_ARGON2_PASSES = 64

# Of new hashes: what OWASP's "Password Storage Cheat Sheet" asks of argon2id. Of RFC 9106's two
# settings, the smaller one takes 64 MiB for each login under way, which no limit counts.
ARGON2_MEMORY_KIB = 19 * 1024
ARGON2_PASSES = 2
ARGON2_LANES = 1

_BCRYPT = re.compile(r"\$2[aby]\$(\d\d)\$[./A-Za-z0-9]{53}")

DEFAULT_DECOY = "$2b$12$" + "sftpgwDecoyHashNobody." + "S" * 30 + "e"
"""A bcrypt hash that no known password has, for when there is none to imitate."""


def check_password_hash(text: str) -> None:
    """Whether `text` is a hash that `matches` can use. :raises ValueError: if not; says why."""
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
    """A new hash of `password`, by argon2id. Blocks for a tenth of a second.

    Not bcrypt, which looks at no more than 72 bytes of a password, and costs those who guess with
    special hardware little, since it takes no memory.

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
    """Whether `password` has this hash. Blocks, and takes equally long either way."""
    if password_hash.startswith("$argon2"):
        found = _matches_argon2(password[:MAX_PASSWORD_BYTES], password_hash)
        usable = 0 < len(password) <= MAX_PASSWORD_BYTES
    else:
        found = _matches_bcrypt(password[:BCRYPT_PASSWORD_BYTES], password_hash)
        usable = 0 < len(password) <= BCRYPT_PASSWORD_BYTES
    return found and usable


class Decoys:
    """Hashes to spend time on where there is none, whatever the outcome.

    Each name that does not exist, or has no password, has one of the users' hashes, always the
    same, after a restart, too. So such names take as long as the others: as many of them take the
    time of each algorithm and cost as there are users with it.

    :param password_hashes: those of all users.
    """

    def __init__(self, password_hashes: Iterable[str]) -> None:
        self._hashes = tuple(sorted(password_hashes)) or (DEFAULT_DECOY,)
        self._secret = hashlib.sha256("\n".join(self._hashes).encode("ascii", "replace")).digest()

    def hash_for(self, name: bytes) -> str:
        """The hash that is checked for `name`. Which one it is cannot be told from outside."""
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
