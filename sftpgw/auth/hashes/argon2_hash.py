"""argon2 (RFC 9106), of which argon2id is the format of new hashes.

Knows: what a hash costs in time and memory.
Must not know: other formats.
"""

from __future__ import annotations

from dataclasses import dataclass

import argon2

# With a more expensive hash, each login attempt would hold a thread for seconds, or gigabytes of
# memory.
MAX_MEMORY_KIB = 1024 * 1024
MAX_PASSES = 64

# For new hashes: what OWASP's "Password Storage Cheat Sheet" recommends for argon2id. The smaller
# of the two settings of RFC 9106 takes 64 MiB for each login in progress, which no limit counts.
MEMORY_KIB = 19 * 1024
PASSES = 2
LANES = 1

MAX_PASSWORD_BYTES = 1024


@dataclass(frozen=True, slots=True)
class Argon2Hash:
    """A hash as the reference implementation writes it."""

    text: str
    parameters: argon2.Parameters

    max_password_bytes = MAX_PASSWORD_BYTES

    @classmethod
    def read(cls, text: str) -> Argon2Hash:
        """The hash in `text`.

        :raises ValueError: it cannot be used; says why.
        """
        try:
            parameters = argon2.extract_parameters(text)
        except (argon2.exceptions.InvalidHashError, ValueError) as problem:
            raise ValueError("not a complete argon2 hash") from problem
        if parameters.memory_cost > MAX_MEMORY_KIB:
            raise ValueError(f"the argon2 memory cost must be at most {MAX_MEMORY_KIB} KiB")
        if parameters.time_cost > MAX_PASSES:
            raise ValueError(f"the argon2 time cost must be at most {MAX_PASSES}")
        return cls(text, parameters)

    @classmethod
    def of(cls, password: bytes) -> Argon2Hash:
        """A new hash of `password`."""
        return cls.read(argon2.PasswordHasher(PASSES, MEMORY_KIB, LANES).hash(password))

    @property
    def is_strong(self) -> bool:
        """Whether a new hash would not be better by much: memory may be traded for passes."""
        work_kib = self.parameters.memory_cost * self.parameters.time_cost
        return self.parameters.type is argon2.Type.ID and work_kib >= MEMORY_KIB * PASSES

    def matches(self, password: bytes) -> bool:
        """Whether `password`, of `max_password_bytes` at most, has this hash."""
        try:
            return argon2.PasswordHasher().verify(self.text, password)
        except (
            argon2.exceptions.VerificationError,
            argon2.exceptions.InvalidHashError,
            UnicodeError,
        ):
            return False
