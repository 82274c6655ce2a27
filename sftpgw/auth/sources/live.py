"""The users of files, which may be exchanged while the gateway runs.

Knows: how all that is made of a set of users, and of what files say of keys, is exchanged in one
step.
Must not know: files, or what becomes of sessions.

A login sees the old users or the new ones, never a mixture: the keys, hashes, decoys and first
methods of one set are one value.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sftpgw.aio.lru import LRUDict
from sftpgw.auth.authenticator import KeyGrant, KeyRefusal, LoginAttempt, PasswordRefusal
from sftpgw.auth.key_rules import KeyRules
from sftpgw.auth.offered_keys import OfferedKey
from sftpgw.auth.sources.static import StaticUserDirectory, authenticator_steps
from sftpgw.auth.threads import RunInThread
from sftpgw.auth.user_records import RecordAuthenticator
from sftpgw.model.key_trust import NO_TRUST, KeyTrust
from sftpgw.model.settings import FileUsers, MakeUser
from sftpgw.model.steps import Steps, finish
from sftpgw.model.users import LoginMethod, User

MAX_WEIGHTS = 10_000
"""How many users of other sources may have a weight of their own at the same time."""


@dataclass(frozen=True, slots=True)
class UserSet:
    """Users, and all that logins need of them. Making it takes long, for many users.

    :ivar users: the users by name.
    :ivar directory: finds them in any spelling.
    :ivar authenticator: decides about their logins.
    :ivar key_rules: judge keys, also those of users of other sources.
    :ivar make_user: makes users of what other sources say; None without such sources.
    """

    users: Mapping[str, User]
    directory: StaticUserDirectory
    authenticator: RecordAuthenticator
    key_rules: KeyRules
    make_user: MakeUser | None


class LiveUsers:
    """The users as they are now. An `Authenticator`, and a `UserDirectory`.

    :param users: the users at the start.
    :param run_in_thread: runs the hash of a password in a thread.
    :param trust: what is said of keys for all users, at the start.
    :param make_user: makes users of what other sources say, as the files of the start have it.
    """

    def __init__(
        self,
        users: Mapping[str, User],
        run_in_thread: RunInThread,
        trust: KeyTrust = NO_TRUST,
        make_user: MakeUser | None = None,
    ) -> None:
        self._run_in_thread = run_in_thread
        self._weights: LRUDict[str, float] = LRUDict(MAX_WEIGHTS)
        self._now = finish(self.prepare(FileUsers(users, trust, make_user)))

    @property
    def users(self) -> Mapping[str, User]:
        """The users by name."""
        return self._now.users

    @property
    def trust(self) -> KeyTrust:
        """What is said of keys for all users; the same value while it has not changed."""
        return self._now.key_rules.trust

    @property
    def make_user(self) -> MakeUser | None:
        """What makes users of what other sources say; another one makes others."""
        return self._now.make_user

    def make(
        self, name: str, given: Mapping[str, str], source: str, groups: Sequence[str] = ()
    ) -> User:
        """The user that another source tells of, with what files say now of all users.

        :param name: the user's name.
        :param given: what the source says: keys of users.ini, with their texts.
        :param source: the name of the source.
        :param groups: groups of the source; those count that users.ini has.
        :raises ConfigError: it makes no sense; has every fault.
        """
        make_user = self._now.make_user
        assert make_user is not None, "there is no other source"
        user = make_user(name, given, source, groups)
        if user.weight == 1:
            self._weights.pop(name, None)
        else:
            self._weights.put(name, float(user.weight))
        return user

    def prepare(self, read: FileUsers) -> Steps[UserSet]:
        """Make what logins need. Nothing is changed.

        :param read: what the files say.
        """
        directory, key_rules = StaticUserDirectory({}), KeyRules(read.trust)
        yield from directory.add(read.users)
        authenticator = yield from authenticator_steps(
            read.users, directory, self._run_in_thread, key_rules
        )
        return UserSet(read.users, directory, authenticator, key_rules, read.make_user)

    def exchange(self, prepared: UserSet) -> None:
        """Let these be the users from now on.

        :param prepared: what `prepare` has returned.
        """
        self._now = prepared

    def is_outdated(self, user: User) -> bool:
        """Whether a user, as a login has found them, is not so any more.

        There may have been several exchanges since. A user of another source has no record here,
        unless the name belongs to a user of a file by now.

        :param user: the user of a login that took several steps.
        """
        known = self.users.get(user.name)
        return known is not None if user.source else known != user

    def weight_of(self, user: str) -> float:
        """The share of a user in what users compete for; 1 for all that is no user.

        :param user: the name of a user, or another name in a queue, such as an address.
        """
        found = self.users.get(user)
        return self._weights.get(user, 1.0) if found is None else float(found.weight)

    def first_methods(self) -> tuple[LoginMethod, ...]:
        """The methods with which any login may begin."""
        return self._now.authenticator.first_methods()

    def judge(
        self, user: User | None, key: OfferedKey, attempt: LoginAttempt
    ) -> KeyGrant | KeyRefusal:
        """Whether a key opens the account of a user of any source; see `KeyRules.judge`.

        :param user: the record of the user; None if there is none.
        :param key: what the client offers.
        :param attempt: the name that the client gives, and its address.
        """
        return self._now.key_rules.judge(user, key, attempt)

    async def find(self, name: str) -> User | None:
        """The user of this name, in any spelling; None if there is none.

        :param name: the name.
        """
        return await self._now.directory.find(name)

    async def user_of_key(self, attempt: LoginAttempt, key: OfferedKey) -> KeyGrant | KeyRefusal:
        """The user who may log in with this key.

        :param attempt: the name, and where the client is.
        :param key: what the client offers.
        """
        return await self._now.authenticator.user_of_key(attempt, key)

    async def user_of_password(
        self, attempt: LoginAttempt, password: bytes
    ) -> User | PasswordRefusal:
        """The user who may log in with this password, or why it does not open the account.

        :param attempt: the name, and where the client is.
        :param password: as the client has sent it.
        """
        return await self._now.authenticator.user_of_password(attempt, password)

    async def judge_password(
        self, user: User | None, attempt: LoginAttempt, password: bytes
    ) -> User | PasswordRefusal:
        """The user, if the password has the hash of their record.

        :param user: the record of the user, of any source; None if there is none.
        :param attempt: the name, and where the client is.
        :param password: as the client has sent it.
        """
        return await self._now.authenticator.judge_password(user, attempt, password)
