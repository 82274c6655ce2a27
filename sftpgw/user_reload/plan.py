"""What a reload changes, and which users' sessions end for it.

A session ends if its user is gone or may not log in any more, or if how they log in or what they
may touch has changed. Limits and the weight of a user do not end sessions: those of the next login
count.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from sftpgw.model.steps import Steps
from sftpgw.model.users import User

STEP_USERS = 64
"""After so many users something else may be done."""


@dataclass(frozen=True, slots=True)
class UserChanges:
    """What a reload changes.

    :ivar added: how many users are new.
    :ivar removed: how many are gone.
    :ivar changed: how many are another than they were, in anything.
    :ivar ended: the users whose sessions do not fit any more.
    :ivar fresh: the users that are new or changed, as they are now.
    :ivar left: those that are gone or changed, as they were.
    """

    added: int
    removed: int
    changed: int
    ended: frozenset[str]
    fresh: tuple[User, ...] = field(default=(), compare=False, repr=False)
    left: tuple[User, ...] = field(default=(), compare=False, repr=False)

    @property
    def is_none(self) -> bool:
        """Whether nothing has changed."""
        return not (self.added or self.removed or self.changed)


def changes_between(before: Mapping[str, User], after: Mapping[str, User]) -> Steps[UserChanges]:
    """Compare users by name, in steps.

    :param before: the users until now.
    :param after: the users from now on.
    """
    added = changed = removed = 0
    ended: list[str] = []
    fresh: list[User] = []
    left: list[User] = []
    for number, (name, user) in enumerate(after.items(), start=1):
        known = before.get(name)
        if known is None:
            added += 1
            fresh.append(user)
        elif known is not user:
            left.append(known)
            if known != user:
                changed += 1
                fresh.append(user)
                ended += [] if may_stay(known, user) else [name]
        if number % STEP_USERS == 0:
            yield
    for number, (name, user) in enumerate(before.items(), start=1):
        if name not in after:
            removed += 1
            left.append(user)
            ended.append(name)
        if number % STEP_USERS == 0:
            yield
    return UserChanges(added, removed, changed, frozenset(ended), tuple(fresh), tuple(left))


def released(users: list[User]) -> Steps[None]:
    """Forget users in steps: to free ten thousand of them at once takes tens of milliseconds.

    :param users: the users; none is left.
    """
    while users:
        del users[-STEP_USERS:]
        yield


def may_stay(before: User, after: User) -> bool:
    """Whether a session of a user may go on with what it was given.

    :param before: the user as the session has them.
    :param after: the user as they are now.
    """
    return (before.login, before.mounts, before.role) == (after.login, after.mounts, after.role)


def has_expired(user: User, now_seconds: float) -> bool:
    """Whether the account has ended with which a session began. A later one may have the name.

    :param user: the user as the session has them.
    :param now_seconds: the time, seconds since 1970.
    """
    expires_seconds = user.login.expires_seconds
    return expires_seconds is not None and now_seconds >= expires_seconds
