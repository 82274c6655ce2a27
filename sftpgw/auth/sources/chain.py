"""Several sources of users, one after the other: the first that knows the name decides.

Knows: that users of files come first, and which sources verify passwords themselves.
Must not know: how a source finds a user.

Rules

1. A name in users.ini belongs to that user: no other source is asked about it, so that none can
   take it over.
2. A source that verifies passwords and does not let a user in may not know the name, or refuse the
   password: the next one is asked. One that has records of users knows the name, or does not.
3. A source that does not answer, or answers nonsense, ends the search: the next one could know a
   user of the same name. The attempt is undecided then, which is no failure of the client.
4. An attempt that no source lets in costs a hash of a password at least, as one of a file's user.
5. No source that verifies passwords is asked about an empty one: services and LDAP servers take it
   for none, and answer as if nothing had to be checked. Nor is it about one with a NUL, which ends
   a text in C, or about one over `MAX_PASSWORD_BYTES`: a server that ends the connection for it, or
   answers with an error, would seem to be away. Such passwords are wrong.
6. No other source is asked about what cannot be the name of a user, such as ``..``: it becomes a
   part of URLs, of names of entries and of prefixes.
7. Each source is asked once in an attempt, that of files included.
8. No name is called unknown if a source verifies passwords: such a source does not tell whether it
   knows the name.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from sftpgw.auth.authenticator import KeyGrant, KeyRefusal, LoginAttempt, PasswordRefusal
from sftpgw.auth.offered_keys import OfferedKey
from sftpgw.auth.plan import ANY, next_methods
from sftpgw.errors import SourceAway
from sftpgw.model.units import KIB
from sftpgw.model.users import LoginMethod, User, is_user_name

MAX_PASSWORD_BYTES = 4 * KIB
"""The longest password that another source is asked about: some take tokens for passwords."""

UNDECIDED_KEY = KeyRefusal(PasswordRefusal.UNDECIDED.value, is_undecided=True)


class UserSource(Protocol):
    """A source that is asked about each login: a service, or a server."""

    @property
    def verifies_passwords(self) -> bool:
        """Whether it verifies passwords. If not, the users that it finds have their hashes."""

    async def find(
        self, name: str, peer_host: str | None, password: bytes | None = None
    ) -> User | None:
        """The user; None if the source does not know or let in the user.

        :param name: the user's name.
        :param peer_host: the client's address; None if it has none.
        :param password: the password that the source is to check; None if the user has a key, or
            the source verifies none.
        :raises SourceAway: the source does not answer, or answers nonsense. It has been logged.
        """


class UserRecords(Protocol):
    """The users of files, and what files say of keys for all users."""

    def first_methods(self) -> tuple[LoginMethod, ...]: ...

    async def find(self, name: str) -> User | None: ...

    def judge(
        self, user: User | None, key: OfferedKey, attempt: LoginAttempt
    ) -> KeyGrant | KeyRefusal:
        """Whether a key opens the account of a user of any source; see `KeyRules.judge`."""

    async def judge_password(
        self, user: User | None, attempt: LoginAttempt, password: bytes
    ) -> User | PasswordRefusal: ...


class SourceChain:
    """An `Authenticator` for users of files and of other sources.

    :param records: the users of files; compares passwords with hashes, also of other sources.
    :param sources: the other sources, in the order in which they are asked.
    """

    def __init__(self, records: UserRecords, sources: Sequence[UserSource]) -> None:
        self._records = records
        self._sources = tuple(sources)
        self._may_hide_names = any(source.verifies_passwords for source in sources)

    def first_methods(self) -> tuple[LoginMethod, ...]:
        """Those of users of files, and a key or a password for others."""
        begun = {*self._records.first_methods(), *next_methods(ANY)}
        return tuple(method for method in LoginMethod if method in begun)

    async def user_of_key(self, attempt: LoginAttempt, key: OfferedKey) -> KeyGrant | KeyRefusal:
        """The user of a key, of the first source that knows the name."""
        refusal = None
        try:
            user, _ = await self._find(attempt, None)
        except SourceAway:
            user, refusal = None, UNDECIDED_KEY
        judged = self._records.judge(user, key, attempt)
        return refusal or judged

    async def user_of_password(
        self, attempt: LoginAttempt, password: bytes
    ) -> User | PasswordRefusal:
        """The user whom a password lets in."""
        refusal = None
        try:
            user, is_verified = await self._find(attempt, password)
        except SourceAway:
            user, is_verified, refusal = None, False, PasswordRefusal.UNDECIDED
        if user is not None and is_verified:
            return user
        found = await self._records.judge_password(user, attempt, password)
        if found is PasswordRefusal.UNKNOWN_NAME and self._may_hide_names:
            found = PasswordRefusal.WRONG
        return refusal or found

    async def _find(
        self, attempt: LoginAttempt, password: bytes | None
    ) -> tuple[User | None, bool]:
        """The user, and whether a source has verified the password.

        :raises SourceAway: a source cannot be asked. It has logged that.
        """
        name = attempt.name
        user = None if name is None else await self._records.find(name)
        if name is None or user is not None or not is_user_name(name):
            return user, False
        for source in self._sources:
            asked = password if source.verifies_passwords else None
            if asked is not None and not _may_be_right(asked):
                continue
            user = await source.find(name, attempt.peer_host, asked)
            if user is not None:
                return user, asked is not None
        return None, False


def _may_be_right(password: bytes) -> bool:
    """Whether a source may be asked about a password (rule 5)."""
    return 0 < len(password) <= MAX_PASSWORD_BYTES and b"\0" not in password
