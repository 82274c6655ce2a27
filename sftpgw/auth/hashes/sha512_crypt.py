"""sha512-crypt, the ``$6$`` of ``/etc/shadow``, for users who come from elsewhere.

Knows: "Unix crypt using SHA-256 and SHA-512" by Ulrich Drepper, version 0.6.
Must not know: other formats.

Written from that specification: Python 3.13 has no ``crypt`` any more, and the libraries that have
this format compute it in Python as well, or need the C library of the machine to have it.

Python's global lock is given back every `ROUNDS_AT_ONCE`: this is Python code in a thread, and the
reactor would otherwise wait for it 5 ms each time that it wakes up.
"""

from __future__ import annotations

import hmac
import re
import time
from dataclasses import dataclass
from hashlib import sha512

DEFAULT_ROUNDS = 5000
MIN_ROUNDS, MAX_ROUNDS = 1000, 1_000_000
"""The specification allows a thousand times as many: a login attempt would take half an hour."""

ROUNDS_AT_ONCE = 200

_FORMAT = re.compile(r"\$6\$(?:rounds=(\d{1,9})\$)?([!-#%-9;-~]{0,16})\$([./0-9A-Za-z]{86})")
_DIGITS = "./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_CYCLE = 42
"""After so many rounds, their kinds repeat: the least common multiple of 2, 3 and 7."""


@dataclass(frozen=True, slots=True)
class Sha512CryptHash:
    """A hash as Linux distributions and SFTPGo write it."""

    rounds: int
    salt: bytes
    digest: str

    max_password_bytes = 256
    """Each round hashes the whole password: longer ones would make a guess expensive for us."""

    is_strong = False
    """It takes no memory, so that special hardware guesses cheaply."""

    @classmethod
    def read(cls, text: str) -> Sha512CryptHash:
        """The hash in `text`.

        :raises ValueError: it cannot be used; says why.
        """
        found = _FORMAT.fullmatch(text)
        if found is None:
            raise ValueError("not a complete sha512-crypt hash")
        rounds = int(found[1]) if found[1] else DEFAULT_ROUNDS
        if not MIN_ROUNDS <= rounds <= MAX_ROUNDS:
            raise ValueError(f"the sha512-crypt rounds must be {MIN_ROUNDS} to {MAX_ROUNDS}")
        return cls(rounds, found[2].encode("ascii"), found[3])

    def matches(self, password: bytes) -> bool:
        """Whether `password`, of `max_password_bytes` at most, has this hash."""
        digest = _stretched(_first_digest(password, self.salt), password, self.salt, self.rounds)
        return hmac.compare_digest(_encoded(digest), self.digest)


def _first_digest(password: bytes, salt: bytes) -> bytes:
    """Digest A of the specification (its steps 1 to 12)."""
    other = sha512(password + salt + password).digest()
    hashed = sha512(password + salt)
    hashed.update(_repeated(other, len(password)))
    bits = len(password)
    while bits:
        hashed.update(other if bits & 1 else password)
        bits >>= 1
    return hashed.digest()


def _stretched(digest: bytes, password: bytes, salt: bytes, rounds: int) -> bytes:
    """The digest after all rounds (steps 13 to 21)."""
    long_password = _repeated(sha512(password * len(password)).digest(), len(password))
    long_salt = _repeated(sha512(salt * (16 + digest[0])).digest(), len(salt))
    between = [
        (long_salt if number % 3 else b"") + (long_password if number % 7 else b"")
        for number in range(_CYCLE)
    ]
    before = [long_password + middle for middle in between]
    behind = [middle + long_password for middle in between]
    for number in range(rounds):
        if number & 1:
            digest = sha512(before[number % _CYCLE] + digest).digest()
        else:
            digest = sha512(digest + behind[number % _CYCLE]).digest()
        if not number % ROUNDS_AT_ONCE:
            time.sleep(0)  # gives Python's lock back
    return digest


def _repeated(digest: bytes, size_bytes: int) -> bytes:
    return (digest * (size_bytes // len(digest) + 1))[:size_bytes]


def _encoded(digest: bytes) -> str:
    """The digest in the alphabet and the order of bytes of the specification (step 22)."""
    text: list[str] = []
    first, second, third = 0, 21, 42
    for _ in range(21):
        group = digest[first] << 16 | digest[second] << 8 | digest[third]
        text.extend(_DIGITS[group >> shift & 63] for shift in (0, 6, 12, 18))
        first, second, third = second + 1, third + 1, first + 1
    text.extend(_DIGITS[digest[63] >> shift & 63] for shift in (0, 6))
    return "".join(text)
