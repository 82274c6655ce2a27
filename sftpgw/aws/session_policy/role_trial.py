"""Whether the roles of users can be assumed: asked by ``check``.

Knows: which roles there are, and who needs them.
Must not know: how findings are shown.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from itertools import islice

from sftpgw.aws.credentials import InThread
from sftpgw.aws.session_policy.plan.role_requests import RoleTerms
from sftpgw.aws.session_policy.sts_client import AssumeRole, RoleRefused
from sftpgw.model.users import User

MOST_ROLES = 16
"""So many roles of a store are tried, each for the first user who needs it."""


async def try_roles(
    terms: RoleTerms, users: Iterable[User], assume: AssumeRole, in_thread: InThread
) -> AsyncIterator[tuple[str, str, str]]:
    """Assume each role of a store; yields the role, the user that it was for, and what is wrong.

    The last text is empty where nothing is.

    :param terms: what the roles of all users of the store have in common.
    :param users: the users, who all can have credentials (`check_roles`).
    :param assume: asks STS; blocks.
    :param in_thread: runs a blocking function in a thread.
    """
    firsts: dict[str, User] = {}
    for user in users:
        if terms.mounts_of(user):
            firsts.setdefault(terms.role_of(user), user)
    for role, user in islice(firsts.items(), MOST_ROLES):
        try:
            await in_thread(assume, terms.request_for(user))
        except RoleRefused as error:
            yield role, user.name, f"{error.code}: {error.reason}"
        else:
            yield role, user.name, ""
