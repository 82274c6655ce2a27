"""Password hashes: which ones can be used, and whether a password matches one.

Knows: which text has which of the formats in `auth.hashes`, and that hashing is slow on purpose.
Must not know: users, or how any of the formats works.

`matches` blocks until the hash is computed: call it in a thread.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable, Iterable
from typing import Protocol

from sftpgw.auth.hashes.argon2_hash import MAX_PASSWORD_BYTES, Argon2Hash
from sftpgw.auth.hashes.bcrypt_hash import BcryptHash
from sftpgw.auth.hashes.pbkdf2_hash import Pbkdf2Hash
from sftpgw.auth.hashes.salted_sha import SaltedShaHash
from sftpgw.auth.hashes.sha512_crypt import Sha512CryptHash

DEFAULT_DECOY = "$2b$12$" + "sftpgwDecoyHashNobody." + "S" * 30 + "e"
"""A bcrypt hash without a known password, used if no user has a password."""


class PasswordHash(Protocol):
    """A hash of one of the formats.

    :ivar max_password_bytes: how long a password with such a hash may be.
    :ivar is_strong: whether a new hash would not be better by much.
    """

    @property
    def max_password_bytes(self) -> int: ...

    @property
    def is_strong(self) -> bool: ...

    def matches(self, password: bytes) -> bool:
        """Whether `password`, of `max_password_bytes` at most, has this hash."""


_READERS: tuple[tuple[str, Callable[[str], PasswordHash]], ...] = (
    ("$argon2", Argon2Hash.read),
    ("$2", BcryptHash.read),
    ("$6$", Sha512CryptHash.read),
    ("$pbkdf2", Pbkdf2Hash.read),
    ("{SSHA", SaltedShaHash.read),
)
"""How each format begins. No beginning is that of another one."""


def read_password_hash(text: str) -> PasswordHash:
    """The hash in `text`.

    :raises ValueError: it cannot be used; says why, without quoting it.
    """
    for beginning, read in _READERS:
        if text.startswith(beginning):
            return read(text)
    raise ValueError(
        "must be an argon2 ($argon2id$…), bcrypt ($2b$…), sha512-crypt ($6$…), pbkdf2 "
        "($pbkdf2-sha256$…) or {SSHA} hash, not a password"
    )


def check_password_hash(text: str) -> None:
    """Check that `matches` can use a hash.

    :raises ValueError: it cannot; says why.
    """
    read_password_hash(text)


def needs_rehash(text: str) -> bool:
    """Whether a hash should be replaced by a new one, of which guesses cost more.

    Only the password makes a new one: ask for it.

    :param text: a hash that `check_password_hash` accepts.
    """
    return not read_password_hash(text).is_strong


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
    return Argon2Hash.of(password).text


def matches(password: bytes, password_hash: str) -> bool:
    """Whether `password` has this hash. Blocks for the same time in either case.

    :param password: in UTF-8, as clients send it.
    :param password_hash: one that `check_password_hash` accepts.
    """
    hashed = read_password_hash(password_hash)
    found = hashed.matches(password[: hashed.max_password_bytes])
    return found and 0 < len(password) <= hashed.max_password_bytes


MAX_KINDS = 64
"""How many kinds of hashes `Decoys` has at most."""


def _kind(password_hash: str) -> str:
    """The algorithm and the cost of a hash: what comes before its salt."""
    if password_hash.startswith("{"):
        return password_hash.partition("}")[0]
    parts_behind = 1 if password_hash.startswith("$2") else 2
    return password_hash.rsplit("$", parts_behind)[0]


class Decoys:
    """Hashes to check where a user has none, so that the time of a refusal tells nothing.

    Each name that does not exist, or has no password, is assigned the hash of one of the users,
    always the same, also after a restart. The proportion of such names with a certain algorithm and
    cost is therefore that of the users with it. Users of a table are not all known: each kind of
    hash that one of them has counts as much as all users of files, from the first login on.

    :param password_hashes: the hashes of all users of files.
    """

    def __init__(self, password_hashes: Iterable[str]) -> None:
        known = tuple(sorted(password_hashes))
        hashes = known or (DEFAULT_DECOY,)
        self._secret = hashlib.sha256("\n".join(hashes).encode("ascii", "replace")).digest()
        self._kinds = {_kind(each) for each in known}
        self._choices = [hashes]

    def learn(self, password_hash: str) -> None:
        """Take the hash of a user, if none of its kind is known.

        :param password_hash: one that `check_password_hash` accepts.
        """
        kind = _kind(password_hash)
        if kind in self._kinds or len(self._kinds) >= MAX_KINDS:
            return
        if not self._kinds:
            self._choices.clear()
        self._kinds.add(kind)
        self._choices.append((password_hash,))

    def hash_for(self, name: bytes) -> str:
        """The hash that is checked for `name`; clients cannot find out which one it is."""
        digest = hmac.digest(self._secret, name, "sha256")
        number, choice = divmod(int.from_bytes(digest, "big"), len(self._choices))
        hashes = self._choices[choice]
        return hashes[number % len(hashes)]
