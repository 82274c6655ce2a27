"""PBKDF2 (RFC 8018), for users who come from elsewhere: as passlib writes it, and as SFTPGo.

Knows: both ways of writing a hash.
Must not know: other formats.

Both begin with ``$pbkdf2-sha256$ROUNDS$``, and differ in what follows:

- passlib: salt and digest in base64 with ``.`` for ``+``, without padding.
- SFTPGo: the salt as it is (or, behind ``$pbkdf2-b64salt-sha256$``, in base64), and the digest in
  base64 with padding.

So they are told apart by the length of the digest: with padding it is a multiple of four, and that
of passlib's, which has the length of the hash function, never is.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
from dataclasses import dataclass

MAX_ROUNDS = 5_000_000
"""Some seconds of a core."""

_FORMAT = re.compile(
    r"\$pbkdf2(-b64salt)?(-sha1|-sha256|-sha512|)\$(\d{1,9})\$([!-#%-~]{0,128})\$([./+=0-9A-Za-z]+)"
)


@dataclass(frozen=True, slots=True)
class Pbkdf2Hash:
    """A hash as passlib or SFTPGo writes it.

    :ivar function: the name of the hash function.
    """

    function: str
    rounds: int
    salt: bytes
    digest: bytes

    max_password_bytes = 1024

    is_strong = False
    """It takes no memory, so that special hardware guesses cheaply."""

    @classmethod
    def read(cls, text: str) -> Pbkdf2Hash:
        """The hash in `text`.

        :raises ValueError: it cannot be used; says why.
        """
        found = _FORMAT.fullmatch(text)
        if found is None:
            raise ValueError("not a complete pbkdf2 hash")
        is_salt_encoded, function = bool(found[1]), found[2].removeprefix("-") or "sha1"
        if not 1 <= int(found[3]) <= MAX_ROUNDS:
            raise ValueError(f"the pbkdf2 rounds must be 1 to {MAX_ROUNDS}")
        try:
            if len(found[5]) % 4:
                salt, digest = _from_passlib(found[4]), _from_passlib(found[5])
            else:
                digest = base64.b64decode(found[5], validate=True)
                salt = found[4].encode("ascii")
                salt = base64.b64decode(salt, validate=True) if is_salt_encoded else salt
        except binascii.Error as problem:
            raise ValueError("not a complete pbkdf2 hash") from problem
        # A shorter digest would let more passwords in, a longer one would cost a multiple.
        if len(digest) != hashlib.new(function).digest_size:
            raise ValueError(f"the digest of a pbkdf2 hash must have the length of {function}")
        return cls(function, int(found[3]), salt, digest)

    def matches(self, password: bytes) -> bool:
        """Whether `password`, of `max_password_bytes` at most, has this hash."""
        found = hashlib.pbkdf2_hmac(self.function, password, self.salt, self.rounds)
        return hmac.compare_digest(found, self.digest)


def _from_passlib(text: str) -> bytes:
    """passlib's "adapted base64" without padding."""
    if "+" in text or "=" in text:
        raise binascii.Error
    return base64.b64decode(text.replace(".", "+") + "=" * (-len(text) % 4), validate=True)
