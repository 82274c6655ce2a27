"""Several sources of users, one after the other: the first that knows the name decides.

Knows: that users of files come first, and that other sources verify passwords themselves.
Must not know: how a source finds a user.

Rules

1. A name in users.ini belongs to that user: no other source is asked about it, so that none can
   take it over.
2. Another source that does not let a user in may not know the name, or refuse the password: the
   next one is asked.
3. A source that does not answer, or answers nonsense, ends the search: the next one could know a
   user of the same name. The attempt is undecided then, which is no failure of the client.
4. An attempt that no source lets in costs a hash of a password at least, as one of a file's user.
5. No other source is asked about an empty password: services and LDAP servers take it for none, and
   answer as if nothing had to be checked.
6. No other source is asked about what cannot be the name of a user, such as ``..``: it becomes a
   part of URLs, of names of entries and of prefixes.
7. No name is called unknown here: another source does not tell whether it knows one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from sftpgw.auth.authenticator import (
    Authenticator,
    KeyGrant,
    KeyRefusal,
    LoginAttempt,
    PasswordRefusal,
)
from sftpgw.auth.offered_keys import OfferedKey
from sftpgw.auth.plan import ANY, next_methods
from sftpgw.auth.sources.questions import SourceAway
from sftpgw.auth.user_records import UserDirectory
from sftpgw.model.users import LoginMethod, User, is_user_name


class UserSource(Protocol):
    """A source that is asked about each login: a service, or a server."""

    async def find(
        self, name: str, peer_host: str | None, password: bytes | None = None
    ) -> User | None:
        """The user; None if the source does not know or let in the user.

        :param name: the user's name.
        :param peer_host: the client's address; None if it has none.
        :param password: the password that the source is to check; None if the user has a key.
        :raises SourceAway: the source does not answer, or answers nonsense.
        """


class KeyJudge(Protocol):
    """Judges keys, as `key_rules.KeyRules` does."""

    def judge(
        self, user: User | None, key: OfferedKey, attempt: LoginAttempt
    ) -> KeyGrant | KeyRefusal: ...


class SourceChain:
    """An `Authenticator` for users of files and of other sources.

    :param records: decides about the users of files, and about names that are unknown.
    :param directory: knows the users of files.
    :param sources: the other sources, in the order in which they are asked.
    :param key_rules: judge keys of users of other sources.
    """

    def __init__(
        self,
        records: Authenticator,
        directory: UserDirectory,
        sources: Sequence[UserSource],
        key_rules: KeyJudge,
    ) -> None:
        self._records = records
        self._directory = directory
        self._sources = tuple(sources)
        self._key_rules = key_rules

    def first_methods(self) -> tuple[LoginMethod, ...]:
        """Those of users of files, and a key or a password for others."""
        begun = {*self._records.first_methods(), *next_methods(ANY)}
        return tuple(method for method in LoginMethod if method in begun)

    async def user_of_key(self, attempt: LoginAttempt, key: OfferedKey) -> KeyGrant | KeyRefusal:
        """The user of a key, of the first source that knows the name."""
        try:
            user = await self._find(attempt, None)
        except SourceAway:  # the source has logged it
            user = None
        if user is None:
            return await self._records.user_of_key(attempt, key)
        return self._key_rules.judge(user, key, attempt)

    async def user_of_password(
        self, attempt: LoginAttempt, password: bytes
    ) -> User | PasswordRefusal:
        """The user whom a password lets in."""
        refusal = PasswordRefusal.WRONG
        try:
            user = await self._find(attempt, password) if password else None
        except SourceAway:  # the source has logged it
            user, refusal = None, PasswordRefusal.UNDECIDED
        found = user or await self._records.user_of_password(attempt, password)
        return refusal if isinstance(found, PasswordRefusal) else found

    async def _find(self, attempt: LoginAttempt, password: bytes | None) -> User | None:
        """The user of another source; None for a user of a file, and for a name that is unknown.

        :raises SourceAway: a source cannot be asked.
        """
        try:
            name = attempt.user_name.decode("utf-8")
        except UnicodeDecodeError:
            return None
        if not is_user_name(name) or await self._directory.find(name) is not None:
            return None
        for source in self._sources:
            user = await source.find(name, attempt.peer_host, password)
            if user is not None:
                return user
        return None
