"""``sftpgw check --print-policy USER``: the IAM policies that a user of users.ini needs.

Knows: the settings, and which mounts are in which store.
Must not know: how a policy is made of mounts.
"""

from __future__ import annotations

from sftpgw.aws.session_policy.plan.role_requests import RoleTerms
from sftpgw.aws.session_policy.plan.session_policy import session_policy
from sftpgw.aws.session_policy.plan.static_policy import static_policy
from sftpgw.errors import ConfigError, NoSessionPolicy
from sftpgw.startup import read_settings


def printed_policy(path: str, user: str, *, is_static: bool) -> str:
    """The policies of a user, one for each store; several have a line with the store's name.

    :param path: where sftpgw.ini is.
    :param user: the user's name.
    :param is_static: that of AWS Transfer Family, with its variables.
    :raises ConfigError: the configuration has a fault, there is no such user, or no such policy.
    """
    settings = read_settings(path, is_start=False)
    if user not in settings.users:
        raise ConfigError((f"--print-policy: users.ini has no user {user}",))
    known, found = settings.users[user], []
    try:
        for store in settings.all_stores:
            terms = RoleTerms(store, settings.stores, settings.files.keep_empty_directories)
            if mounts := terms.mounts_of(known):
                make = static_policy if is_static else session_policy
                found.append((store.name, make(user, mounts, terms.policy_terms(known))))
    except NoSessionPolicy as error:
        raise ConfigError((error.message,)) from error
    if len(found) == 1:
        return found[0][1]
    return "\n".join(f"[store {name}]\n{text}" if name else f"[s3]\n{text}" for name, text in found)
