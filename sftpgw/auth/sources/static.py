"""The users of one users.ini, held in memory.

Knows: a mapping from names to users.
Must not know: where it came from.
"""

from __future__ import annotations

from collections.abc import Mapping

from sftpgw.auth.key_rules import PLAIN_KEY_RULES, KeyRules
from sftpgw.auth.passwords import Decoys
from sftpgw.auth.plan import first_methods
from sftpgw.auth.threads import RunInThread
from sftpgw.auth.user_records import RecordAuthenticator
from sftpgw.model.normalization import normalized
from sftpgw.model.users import User


class StaticUserDirectory:
    """A `UserDirectory` that never changes.

    :param users: the users by their names.
    """

    def __init__(self, users: Mapping[str, User]) -> None:
        self._users = {normalized(name): user for name, user in users.items()}

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
    hashes = [hashed for user in users.values() if (hashed := user.login.password_hash)]
    begun_with = first_methods(user.login.require for user in users.values())
    return RecordAuthenticator(
        StaticUserDirectory(users), run_in_thread, Decoys(hashes), begun_with, key_rules
    )
