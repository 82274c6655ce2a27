"""Logins of users whose records are at hand: authorised keys and password hashes.

Knows: records of users, and that hashing a password is slow.
Must not know: where records come from, or how a signature is verified.

A user who does not exist gets the same answer, after the same work, as one without that key or
password. Keys are parsed when the configuration is loaded, and finding one among many takes no
longer. The password for an unknown user is hashed like that of one of the users (`Decoys`).
Names and passwords match in any spelling of the same characters (Unicode's canonical equivalence).
"""

from __future__ import annotations

from typing import Protocol

from twisted.internet.defer import CancelledError

from sftpgw.auth.authenticator import KeyGrant, KeyRefusal, LoginAttempt, PasswordRefusal
from sftpgw.auth.key_rules import PLAIN_KEY_RULES, KeyRules
from sftpgw.auth.offered_keys import OfferedKey
from sftpgw.auth.passwords import Decoys, matches
from sftpgw.auth.plan import ANY, next_methods
from sftpgw.auth.threads import RunInThread
from sftpgw.model.addresses import source_of
from sftpgw.model.normalization import spellings
from sftpgw.model.users import LoginMethod, User


class UserDirectory(Protocol):
    """A source of users' records. It may change between two calls."""

    async def find(self, name: str) -> User | None:
        """The user of this name, in any spelling; None if there is none."""


class RecordAuthenticator:
    """An `Authenticator` for the users of a `UserDirectory`. Passwords are hashed in threads.

    :param directory: has the users' records.
    :param run_in_thread: runs the hash of a password in a thread.
    :param decoys: the hashes to spend time on when a user has none.
    :param first_methods: the methods with which any login may begin (`plan.first_methods`).
    :param key_rules: judge keys.
    """

    def __init__(
        self,
        directory: UserDirectory,
        run_in_thread: RunInThread,
        decoys: Decoys,
        first_methods: tuple[LoginMethod, ...] = next_methods(ANY),
        key_rules: KeyRules = PLAIN_KEY_RULES,
    ) -> None:
        self._directory = directory
        self._run_in_thread = run_in_thread
        self._decoys = decoys
        self._key_rules = key_rules
        self._first_methods = first_methods

    def first_methods(self) -> tuple[LoginMethod, ...]:
        """The methods with which any login may begin."""
        return self._first_methods

    async def user_of_key(self, attempt: LoginAttempt, key: OfferedKey) -> KeyGrant | KeyRefusal:
        """The user, if `KeyRules` let the key in."""
        return self._key_rules.judge(await self._find(attempt), key, attempt)

    async def user_of_password(
        self, attempt: LoginAttempt, password: bytes
    ) -> User | PasswordRefusal:
        """The user, if the password has the hash `LoginRules.password_hash`."""
        return await self.judge_password(await self._find(attempt), attempt, password)

    async def judge_password(
        self, user: User | None, attempt: LoginAttempt, password: bytes
    ) -> User | PasswordRefusal:
        """The user, if the password has the hash of their record. It takes the same work if not.

        :param user: the record of the user, of any source; None if there is none.
        :param attempt: the name that the client gives, and its address.
        :param password: as the client has sent it.
        """
        known_hash = user.login.password_hash if user is not None else None
        if known_hash:
            self._decoys.learn(known_hash)
        password_hash = known_hash or self._decoys.hash_for(attempt.user_name)
        check = _PasswordCheck()
        try:
            source = source_of(attempt.peer_host)
            is_right = await self._run_in_thread(source, check, password, password_hash)
        except CancelledError:
            check.is_wanted = False
            raise
        if user is None:
            return PasswordRefusal.UNKNOWN_NAME
        return user if known_hash and is_right else PasswordRefusal.WRONG

    async def _find(self, attempt: LoginAttempt) -> User | None:
        name = attempt.name
        return None if name is None else await self._directory.find(name)


class _PasswordCheck:
    """Hashes a password in each of its spellings, unless the client is gone by then.

    Otherwise a client that sends a guess and disconnects, again and again, could keep all threads
    busy for hours.

    :ivar is_wanted: whether a client still waits for the result.
    """

    def __init__(self) -> None:
        self.is_wanted = True

    def __call__(self, password: bytes, password_hash: str) -> bool:
        return any(
            self.is_wanted and matches(spelling, password_hash) for spelling in spellings(password)
        )
