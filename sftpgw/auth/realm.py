"""From a name that has been proven to an avatar.

Knows: cred's portal and realm.
Must not know: what is in an avatar; `make_avatar` is handed in.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from twisted.conch.interfaces import IConchUser
from twisted.cred.checkers import ICredentialsChecker
from twisted.cred.error import UnauthorizedLogin
from twisted.cred.portal import IRealm, Portal
from twisted.internet.defer import Deferred
from zope.interface import implementer

from sftpgw.auth.checkers import PasswordChecker, PublicKeyChecker, RunInThread
from sftpgw.auth.passwords import Decoys
from sftpgw.model.users import User, UserDirectory


class Avatar(Protocol):
    """What `make_avatar` returns; it provides `IConchUser`, too."""

    def logout(self) -> None: ...


MakeAvatar = Callable[[User, str], Avatar]
"""Takes the user and the session's label."""


@implementer(IRealm)
class GatewayRealm:
    """Makes an avatar for a user; the mind is the session's label."""

    def __init__(self, directory: UserDirectory, make_avatar: MakeAvatar) -> None:
        self._directory = directory
        self._make_avatar = make_avatar

    def requestAvatar(self, avatarId: Any, mind: object, *interfaces: Any) -> Deferred[Any]:
        """Fires with ``(IConchUser, avatar, logout)``."""
        return Deferred.fromCoroutine(self._request(avatarId, str(mind), interfaces))

    async def _request(
        self, name: str, session: str, interfaces: tuple[Any, ...]
    ) -> tuple[Any, Avatar, Callable[[], None]]:
        if IConchUser not in interfaces:
            raise NotImplementedError("only IConchUser avatars exist")
        user = await self._directory.find(name)
        if user is None:  # removed since the check
            raise UnauthorizedLogin("the user is gone")
        avatar = self._make_avatar(user, session)
        return IConchUser, avatar, avatar.logout


def make_portal(
    directory: UserDirectory,
    make_avatar: MakeAvatar,
    run_in_thread: RunInThread,
    decoys: Decoys,
) -> Portal:
    """The portal with both checkers."""
    checkers: list[Any] = [
        PublicKeyChecker(directory),
        PasswordChecker(directory, run_in_thread, decoys),
    ]
    portal = Portal(GatewayRealm(directory, make_avatar))
    for checker in checkers:
        portal.registerChecker(ICredentialsChecker(checker))
    return portal
