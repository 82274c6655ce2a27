"""How far a login has come: whose it is, and what its user has proven (RFC 4252, section 5).

Knows: the methods of SSH by which each proof is given.
Must not know: packets, or how a proof is verified; what is still needed is for `auth.plan`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from sftpgw.auth.login_credentials import CodeCredentials, KeyCredentials
from sftpgw.auth.plan import ANY, Alternatives, is_complete, next_methods, still_needed
from sftpgw.model.users import LoginMethod, User
from sftpgw.ssh.login_requests import KEYBOARD_INTERACTIVE, PASSWORD, PUBLIC_KEY

_WAYS = {
    LoginMethod.PUBLICKEY: (PUBLIC_KEY,),
    LoginMethod.PASSWORD: (PASSWORD, KEYBOARD_INTERACTIVE),
    LoginMethod.TOTP: (KEYBOARD_INTERACTIVE,),
}


def ways_of(methods: tuple[LoginMethod, ...]) -> list[bytes]:
    """The methods of SSH by which one of these proofs can be given, as FAILURE lists them.

    :param methods: what may be proven next.
    """
    ways = {way for method in methods for way in _WAYS[method]}
    return [way for way in (PUBLIC_KEY, PASSWORD, KEYBOARD_INTERACTIVE) if way in ways]


def method_of(credentials: Any) -> LoginMethod:
    """What these credentials prove.

    :param credentials: one of the classes of `auth.login_credentials`.
    """
    if isinstance(credentials, KeyCredentials):
        return LoginMethod.PUBLICKEY
    return LoginMethod.TOTP if isinstance(credentials, CodeCredentials) else LoginMethod.PASSWORD


@dataclass(frozen=True, slots=True)
class LoginStep:
    """A proof that was right. It keeps no password.

    :ivar method: what was proven.
    :ivar way: the method of SSH by which it was.
    :ivar key: the key and its algorithm; None for other proofs.
    """

    method: LoginMethod
    way: bytes
    key: KeyCredentials | None = None


@dataclass(frozen=True, slots=True)
class LoginProgress:
    """What was proven so far for one user name. The values do not change; `after` has the next.

    :ivar name: the name that the client gives, in its normal form.
    :ivar user: the user as the last step has found them; None before the first one.
    :ivar steps: the proofs that were right, in their order.
    :ivar left: what the user must still prove; see `auth.plan`.
    """

    name: bytes
    user: User | None = None
    steps: tuple[LoginStep, ...] = ()
    left: Alternatives = ANY

    def after(self, user: User, step: LoginStep) -> LoginProgress | None:
        """The progress with one more proof; None if it does not help.

        :param user: whose proof it is; not another one than before (`is_of_another`).
        :param step: the proof.
        """
        if self.is_of_another(user):
            return None
        steps = (*self.steps, step)
        left = still_needed(user.login.require, [each.method for each in steps])
        if left is None:
            return None
        return replace(self, user=user, steps=steps, left=left)

    def is_of_another(self, user: User) -> bool:
        """Whether a user is not the one of the steps so far: has changed since, in anything.

        What was proven then may not be proof any more: the key may be gone, or the password.

        :param user: the user as the source has them now.
        """
        return self.user is not None and self.user != user

    @property
    def is_complete(self) -> bool:
        """Whether the user may be let in."""
        return bool(self.steps) and is_complete(self.left)

    @property
    def asks_for(self) -> LoginMethod:
        """What keyboard-interactive asks for: a code where it is next, else the password."""
        if self.user is not None:
            for method in next_methods(self.left):
                if KEYBOARD_INTERACTIVE in _WAYS[method]:
                    return method
        return LoginMethod.PASSWORD

    @property
    def needs(self) -> tuple[LoginMethod, ...]:
        """The methods of which one may be next. Before the first step, the portal knows them."""
        return next_methods(self.left)
