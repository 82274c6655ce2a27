"""The cred checkers: is this key, or this password, that user's?

Knows: `UserDirectory`, keys and password hashes.
Must not know: SSH packets, how many attempts there were, or what a user may do.

A user who does not exist gets the same answers, after the same work, as one who
exists without that key or password: keys are parsed when the configuration is loaded, and looking
one up takes no longer where there are many; a password is hashed as it is for one of the users.
Names and passwords match in any spelling of the same characters (Unicode's canonical equivalence).
The avatar id is the user's name as text.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.conch.error import ValidPublicKey
from twisted.cred.checkers import ICredentialsChecker
from twisted.cred.credentials import ISSHPrivateKey, IUsernamePassword
from twisted.cred.error import UnauthorizedLogin
from twisted.internet.defer import CancelledError, Deferred
from zope.interface import implementer

from sftpgw.auth.login_keys import LoginKey, read_key_blob, verify_signature
from sftpgw.auth.passwords import Decoys, matches
from sftpgw.model.normalization import spellings
from sftpgw.model.users import User, UserDirectory

RunInThread = Callable[..., Deferred[Any]]
"""``deferToThread``, or in tests something that runs the call at once."""


@implementer(ICredentialsChecker)
class PublicKeyChecker:
    """Checks a key, and the signature if there is one, against `User.authorized_keys`.

    Takes the place of Conch's SSHPublicKeyChecker, which says PK_OK to every
    key (checkers 588) and does not compare the signature's algorithm with the
    one announced.
    """

    credentialInterfaces = (ISSHPrivateKey,)

    def __init__(self, directory: UserDirectory) -> None:
        self._directory = directory

    def requestAvatarId(self, credentials: Any) -> Deferred[Any]:
        """Errbacks `ValidPublicKey` for an authorised key without a signature."""
        return Deferred.fromCoroutine(self._check(credentials))

    async def _check(self, credentials: Any) -> str:
        user = await find_user(self._directory, credentials.username)
        login_key = _read_offered_key(credentials.blob, credentials.algName)
        keys = user.authorized_keys if user is not None else frozenset[bytes]()
        if user is None or login_key.blob not in keys:
            raise UnauthorizedLogin("this key does not open this account")
        if credentials.signature is None:
            raise ValidPublicKey
        if not verify_signature(
            login_key, credentials.algName, credentials.signature, credentials.sigData
        ):
            raise UnauthorizedLogin("the signature is not valid")
        return user.name


@implementer(ICredentialsChecker)
class PasswordChecker:
    """Checks a password against `User.password_hash`, in a thread.

    :param decoys: what to spend the time on when there is no hash to check.
    """

    credentialInterfaces = (IUsernamePassword,)

    def __init__(
        self, directory: UserDirectory, run_in_thread: RunInThread, decoys: Decoys
    ) -> None:
        self._directory = directory
        self._run_in_thread = run_in_thread
        self._decoys = decoys

    def requestAvatarId(self, credentials: Any) -> Deferred[Any]:
        return Deferred.fromCoroutine(self._check(credentials))

    async def _check(self, credentials: Any) -> str:
        user = await find_user(self._directory, credentials.username)
        known_hash = user.password_hash if user is not None else None
        password_hash = known_hash or self._decoys.hash_for(credentials.username)
        check = _Check()
        try:
            right = await self._run_in_thread(check, credentials.password, password_hash)
        except CancelledError:
            check.is_wanted = False
            raise
        if user is None or not known_hash or not right:
            raise UnauthorizedLogin("wrong user or password")
        return user.name


class _Check:
    """`matches` for any spelling, unless the client is gone by the time a thread is free.

    Otherwise a client that sends a guess and hangs up, again and again, would keep all
    threads busy for hours.
    """

    def __init__(self) -> None:
        self.is_wanted = True

    def __call__(self, password: bytes, password_hash: str) -> bool:
        return any(
            self.is_wanted and matches(spelling, password_hash) for spelling in spellings(password)
        )


async def find_user(directory: UserDirectory, username: bytes) -> User | None:
    """The user whose name is `username` in UTF-8; None for what is not UTF-8."""
    try:
        name = username.decode("utf-8")
    except UnicodeDecodeError:
        return None
    return await directory.find(name)


def _read_offered_key(blob: bytes, algorithm: bytes) -> LoginKey:
    try:
        login_key = read_key_blob(blob)
    except ValueError as problem:
        raise UnauthorizedLogin(str(problem)) from problem
    if algorithm not in login_key.algorithms:
        raise UnauthorizedLogin("the algorithm is not accepted, or not for this key")
    return login_key
