"""What a reload changes, and which users' sessions end for it.

A session ends if its user is gone or may not log in any more, or if how they log in or what they
may touch has changed. Limits and the weight of a user do not end sessions: those of the next login
count.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sftpgw.model.users import User


@dataclass(frozen=True, slots=True)
class UserChanges:
    """What a reload changes.

    :ivar added: how many users are new.
    :ivar removed: how many are gone.
    :ivar changed: how many are another than they were, in anything.
    :ivar ended: the users whose sessions do not fit any more.
    """

    added: int
    removed: int
    changed: int
    ended: frozenset[str]

    @property
    def is_none(self) -> bool:
        """Whether nothing has changed."""
        return not (self.added or self.removed or self.changed)


def changes_between(before: Mapping[str, User], after: Mapping[str, User]) -> UserChanges:
    """Compare users by name.

    :param before: the users until now.
    :param after: the users from now on.
    """
    removed = before.keys() - after.keys()
    changed = {name for name, user in before.items() if name in after and after[name] != user}
    ended = {name for name in changed if not may_stay(before[name], after[name])}
    return UserChanges(
        len(after.keys() - before.keys()), len(removed), len(changed), frozenset(removed | ended)
    )


def may_stay(before: User, after: User) -> bool:
    """Whether a session of a user may go on with what it was given.

    :param before: the user as the session has them.
    :param after: the user as they are now.
    """
    return before.login == after.login and before.mounts == after.mounts


def is_expired(user: User, now_seconds: float) -> bool:
    """Whether the account of a user has ended.

    :param user: a user who is logged in, as the session has them.
    :param now_seconds: the time, seconds since 1970.
    """
    expires_seconds = user.login.expires_seconds
    return expires_seconds is not None and now_seconds >= expires_seconds
