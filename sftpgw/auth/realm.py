"""Cred's realm and portal: from a user who has authenticated to an avatar.

Knows: cred's portal and realm.
Must not know: what an avatar contains; `make_avatar` is an argument.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Protocol

from twisted.conch.interfaces import IConchUser
from twisted.cred.checkers import ICredentialsChecker
from twisted.cred.portal import IRealm, Portal
from twisted.internet.defer import Deferred
from zope.interface import Interface, implementer

from sftpgw.auth.accounts import account_fault
from sftpgw.auth.authenticator import Authenticator
from sftpgw.auth.checkers import CodeChecker, PasswordChecker, PublicKeyChecker
from sftpgw.auth.lockout.lockout import Lockout
from sftpgw.auth.one_time_codes import CodeVerifier, ProcessTotpMemory, TotpMemory
from sftpgw.model.settings import LockoutSettings
from sftpgw.model.users import LoginMethod, SessionLabels, User


class Avatar(Protocol):
    """What `MakeAvatar` returns; it also provides `IConchUser`."""

    def logout(self) -> None:
        """Free what the avatar holds: the connection is gone."""


MakeAvatar = Callable[[User, SessionLabels], Avatar]
"""Takes the user, and the labels of the session in the log."""


class IProvenUser(Interface):
    """A `User` who has proven something, for a login that may need more: nothing is made yet."""


@implementer(IRealm)
class GatewayRealm:
    """Makes an avatar for a user. The avatar id is the `User`, the mind `SessionLabels`.

    A login takes one step or several. Each step asks the portal for an `IProvenUser`, which is the
    `User` itself; the last one is followed by a request for the avatar.

    :param make_avatar: makes it.
    """

    def __init__(self, make_avatar: MakeAvatar) -> None:
        self._make_avatar = make_avatar

    def requestAvatar(self, avatarId: Any, mind: Any, *interfaces: Any) -> Deferred[Any]:
        """Fires with ``(IConchUser, avatar, logout)``, or ``(IProvenUser, user, logout)``."""
        return Deferred.fromCoroutine(self._request(avatarId, mind, interfaces))

    async def _request(
        self, user: User, labels: SessionLabels, interfaces: tuple[Any, ...]
    ) -> tuple[Any, Any, Callable[[], None]]:
        if IProvenUser in interfaces:
            return IProvenUser, user, lambda: None
        if IConchUser not in interfaces:
            raise NotImplementedError("only IConchUser avatars exist")
        avatar = self._make_avatar(user, labels)
        return IConchUser, avatar, avatar.logout


class LoginPortal(Portal):
    """Cred's portal for logins by key, password and one-time code.

    :param authenticator: decides about each attempt.
    :param make_avatar: makes what a user who has logged in may open.
    :param memory: remembers which one-time codes were used.
    :param wall_clock: returns the time, seconds since 1970.
    :param lockout: counts failures; those who ask the portal must ask it first.
    :ivar lockout: the same.
    """

    def __init__(
        self,
        authenticator: Authenticator,
        make_avatar: MakeAvatar,
        memory: TotpMemory,
        wall_clock: Callable[[], float],
        lockout: Lockout,
    ) -> None:
        checkers: list[Any] = [
            PublicKeyChecker(authenticator),
            PasswordChecker(authenticator),
            CodeChecker(CodeVerifier(memory, wall_clock)),
        ]
        super().__init__(GatewayRealm(make_avatar), map(ICredentialsChecker, checkers))
        self._authenticator = authenticator
        self._wall_clock = wall_clock
        self.lockout = lockout

    def first_methods(self) -> tuple[LoginMethod, ...]:
        """The methods with which a login may begin, whatever the user's name."""
        return self._authenticator.first_methods()

    def account_fault(self, user: User, peer_host: str | None) -> str | None:
        """Why a user may not log in, whatever was proven; None if nothing is against it.

        :param user: the user.
        :param peer_host: the client's address.
        """
        return account_fault(user.login, peer_host, self._wall_clock())


def make_portal(
    authenticator: Authenticator,
    make_avatar: MakeAvatar,
    memory: TotpMemory | None = None,
    wall_clock: Callable[[], float] = time.time,
    lockout: Lockout | None = None,
) -> LoginPortal:
    """The portal for logins.

    :param authenticator: decides about each attempt.
    :param make_avatar: makes what a user who has logged in may open.
    :param memory: remembers which one-time codes were used; by default in this process.
    :param wall_clock: returns the time, seconds since 1970.
    :param lockout: counts failures; by default nothing does.
    """
    memory = memory or ProcessTotpMemory()
    lockout = lockout or Lockout(LockoutSettings(enabled=False), wall_clock)
    return LoginPortal(authenticator, make_avatar, memory, wall_clock, lockout)
