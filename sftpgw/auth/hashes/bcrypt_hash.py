"""bcrypt: ``$2a$``, ``$2b$`` and ``$2y$``, which are the same today.

Knows: its cost, and that it uses no more than 72 bytes of a password.
Must not know: other formats.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import bcrypt

MAX_COST = 16
"""With a more expensive hash, each login attempt would hold a thread for seconds."""

GOOD_COST = 12
"""Below this cost a new hash is worth while."""

_FORMAT = re.compile(r"\$2[aby]\$(\d\d)\$[./A-Za-z0-9]{53}")


@dataclass(frozen=True, slots=True)
class BcryptHash:
    """A hash as OpenBSD, Apache's htpasswd and most web frameworks write it."""

    text: str
    cost: int

    max_password_bytes = 72
    """bcrypt uses no more bytes of a password; libraries differ in how they treat longer ones."""

    @classmethod
    def read(cls, text: str) -> BcryptHash:
        """The hash in `text`.

        :raises ValueError: it cannot be used; says why.
        """
        found = _FORMAT.fullmatch(text)
        if found is None:
            raise ValueError("not a complete bcrypt hash")
        if not 4 <= int(found[1]) <= MAX_COST:
            raise ValueError(f"the bcrypt cost must be 4 to {MAX_COST}")
        return cls(text, int(found[1]))

    @property
    def is_strong(self) -> bool:
        """Whether a new hash would not be better by much."""
        return self.cost >= GOOD_COST

    def matches(self, password: bytes) -> bool:
        """Whether `password`, of `max_password_bytes` at most, has this hash."""
        try:
            return bcrypt.checkpw(password, self.text.encode("ascii"))
        except ValueError:
            return False
