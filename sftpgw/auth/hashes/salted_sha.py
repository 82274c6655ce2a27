"""``{SSHA}``, ``{SSHA256}`` and ``{SSHA512}`` of LDAP servers, for users who come from there.

Knows: the format of OpenLDAP: base64 of the digest of password and salt, and of the salt.
Must not know: other formats.

One digest is not slow: with such a hash, billions of passwords are tried in a second.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
from dataclasses import dataclass

MAX_SALT_BYTES = 64

_FORMAT = re.compile(r"\{SSHA(|256|512)\}([+/=0-9A-Za-z]+)")
_FUNCTIONS = {"": "sha1", "256": "sha256", "512": "sha512"}


@dataclass(frozen=True, slots=True)
class SaltedShaHash:
    """A hash as LDAP servers write it.

    :ivar function: the name of the hash function.
    """

    function: str
    salt: bytes
    digest: bytes

    max_password_bytes = 1024

    is_strong = False
    """It is fast."""

    @classmethod
    def read(cls, text: str) -> SaltedShaHash:
        """The hash in `text`.

        :raises ValueError: it cannot be used; says why.
        """
        found = _FORMAT.fullmatch(text)
        if found is None:
            raise ValueError("not a complete {SSHA} hash")
        function = _FUNCTIONS[found[1]]
        size_bytes = hashlib.new(function).digest_size
        try:
            data = base64.b64decode(found[2], validate=True)
        except binascii.Error as problem:
            raise ValueError("not a complete {SSHA} hash") from problem
        if not size_bytes < len(data) <= size_bytes + MAX_SALT_BYTES:
            raise ValueError(f"a {{SSHA}} hash must have a salt of 1 to {MAX_SALT_BYTES} bytes")
        return cls(function, data[size_bytes:], data[:size_bytes])

    def matches(self, password: bytes) -> bool:
        """Whether `password`, of `max_password_bytes` at most, has this hash."""
        found = hashlib.new(self.function, password + self.salt).digest()
        return hmac.compare_digest(found, self.digest)
