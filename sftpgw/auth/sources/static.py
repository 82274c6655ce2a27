"""The users of one users.ini, held in memory.

Knows: a mapping from names to users.
Must not know: where it came from.
"""

from __future__ import annotations

from collections.abc import Mapping
from heapq import merge

from sftpgw.auth.key_rules import PLAIN_KEY_RULES, KeyRules
from sftpgw.auth.passwords import Decoys
from sftpgw.auth.plan import Alternatives, first_methods
from sftpgw.auth.threads import RunInThread
from sftpgw.auth.user_records import RecordAuthenticator
from sftpgw.model.normalization import normalized
from sftpgw.model.steps import Steps, finish
from sftpgw.model.users import User

STEP_USERS = 256
"""After so many users something else may be done. They take less than a millisecond."""


class StaticUserDirectory:
    """A `UserDirectory` that never changes.

    :param users: the users by their names.
    """

    def __init__(self, users: Mapping[str, User]) -> None:
        self._users: dict[str, User] = {}
        finish(self.add(users))

    def add(self, users: Mapping[str, User]) -> Steps[None]:
        """Add users, before anyone is asked for.

        :param users: the users by their names.
        """
        for number, (name, user) in enumerate(users.items(), start=1):
            self._users[normalized(name)] = user
            if number % STEP_USERS == 0:
                yield

    async def find(self, name: str) -> User | None:
        """The user of this name, in any spelling; None if there is none."""
        return self._users.get(normalized(name))


def static_authenticator(
    users: Mapping[str, User], run_in_thread: RunInThread, key_rules: KeyRules = PLAIN_KEY_RULES
) -> RecordAuthenticator:
    """Logins of these users. To exchange the users, exchange the result: it holds all of them.

    :param users: the users by their names.
    :param run_in_thread: runs the hash of a password in a thread.
    :param key_rules: judge keys.
    """
    return finish(authenticator_steps(users, StaticUserDirectory(users), run_in_thread, key_rules))


def authenticator_steps(
    users: Mapping[str, User],
    directory: StaticUserDirectory,
    run_in_thread: RunInThread,
    key_rules: KeyRules,
) -> Steps[RecordAuthenticator]:
    """What `static_authenticator` returns, made in steps.

    :param users: the users by their names.
    :param directory: finds them.
    :param run_in_thread: as for `static_authenticator`.
    :param key_rules: as for `static_authenticator`.
    """
    requirements: set[Alternatives] = set()
    sorted_hashes: list[list[str]] = [[]]
    for number, user in enumerate(users.values(), start=1):
        requirements.add(user.login.require)
        if user.login.password_hash:
            sorted_hashes[-1].append(user.login.password_hash)
        if number % STEP_USERS == 0:
            sorted_hashes[-1].sort()
            sorted_hashes.append([])
            yield
    sorted_hashes[-1].sort()
    hashes: list[str] = []
    for hashed in merge(*sorted_hashes):
        hashes.append(hashed)
        if len(hashes) % STEP_USERS == 0:
            yield
    yield
    begun_with = first_methods(requirements)
    return RecordAuthenticator(directory, run_in_thread, Decoys(hashes), begun_with, key_rules)
