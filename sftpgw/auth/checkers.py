"""Cred's checkers: they verify credentials with the help of an `Authenticator`.

Knows: cred, and how keys and signatures are verified.
Must not know: where users come from, SSH packets, how many attempts there were, or what a user may
do.

The avatar id that a checker returns is the `User`, so that the source of users is asked once.
"""

from __future__ import annotations

from typing import Any

from twisted.conch.error import ValidPublicKey
from twisted.cred.checkers import ICredentialsChecker
from twisted.cred.credentials import ISSHPrivateKey, IUsernamePassword
from twisted.cred.error import LoginFailed, UnauthorizedLogin
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure
from zope.interface import implementer

from sftpgw.auth.authenticator import Authenticator, KeyRefusal, PasswordRefusal
from sftpgw.auth.login_credentials import (
    CodeCredentials,
    IOneTimeCode,
    KeyCredentials,
    PasswordCredentials,
)
from sftpgw.auth.login_keys import verify_signature
from sftpgw.auth.offered_keys import OfferedKey, read_offered_key
from sftpgw.auth.one_time_codes import CodeVerifier, WrongCode
from sftpgw.model.users import User


@implementer(ICredentialsChecker)
class PublicKeyChecker:
    """Checks a key, and the signature if there is one.

    Takes the place of Conch's `SSHPublicKeyChecker`, which confirms every key
    (`requestAvatarId`), authorised or not, and does not compare the signature's algorithm with the
    announced one.

    :param authenticator: knows which keys are authorised.
    """

    credentialInterfaces = (ISSHPrivateKey,)

    def __init__(self, authenticator: Authenticator) -> None:
        self._authenticator = authenticator

    def requestAvatarId(self, credentials: Any) -> Deferred[Any]:
        """Fires with the `User`; fails with `KeyAuthorised` for an authorised key alone.

        :param credentials: `KeyCredentials`.
        """
        return Deferred.fromCoroutine(self._check(credentials)).addErrback(_without_traceback)

    async def _check(self, credentials: KeyCredentials) -> User:
        key = _read_offered_key(credentials)
        grant = await self._authenticator.user_of_key(credentials.attempt, key)
        if isinstance(grant, KeyRefusal):
            raise (UndecidedProof if grant.is_undecided else RefusedProof)(grant.reason)
        if credentials.signature is None:
            raise KeyAuthorised(grant.user)
        if not verify_signature(
            key.login_key,
            credentials.signature_algorithm,
            credentials.signature,
            credentials.sigData,
            grant.required_flags,
        ):
            raise RefusedProof("the signature is not valid")
        return grant.user


@implementer(ICredentialsChecker)
class PasswordChecker:
    """Checks a password.

    :param authenticator: knows the passwords.
    """

    credentialInterfaces = (IUsernamePassword,)

    def __init__(self, authenticator: Authenticator) -> None:
        self._authenticator = authenticator

    def requestAvatarId(self, credentials: Any) -> Deferred[Any]:
        """Fires with the `User`.

        :param credentials: `PasswordCredentials`.
        """
        return Deferred.fromCoroutine(self._check(credentials)).addErrback(_without_traceback)

    async def _check(self, credentials: PasswordCredentials) -> User:
        found = await self._authenticator.user_of_password(
            credentials.attempt, credentials.password
        )
        if found is PasswordRefusal.UNDECIDED:
            raise UndecidedProof(found.value)
        if found is PasswordRefusal.UNKNOWN_NAME:
            raise UnknownName("wrong user or password")
        if isinstance(found, PasswordRefusal):
            raise UnauthorizedLogin("wrong user or password")
        return found


@implementer(ICredentialsChecker)
class CodeChecker:
    """Checks a one-time code. The source of users is not asked again: the user is known.

    :param verifier: knows which codes are right, and which were used.
    """

    credentialInterfaces = (IOneTimeCode,)

    def __init__(self, verifier: CodeVerifier) -> None:
        self._verifier = verifier

    def requestAvatarId(self, credentials: Any) -> Deferred[Any]:
        """Fires with the `User`; fails with `RefusedProof`.

        :param credentials: `CodeCredentials`.
        """
        return Deferred.fromCoroutine(self._check(credentials)).addErrback(_without_traceback)

    async def _check(self, credentials: CodeCredentials) -> User:
        try:
            await self._verifier.verify(credentials.user, credentials.code)
        except WrongCode as problem:
            raise RefusedProof(str(problem)) from None
        return credentials.user


def _without_traceback(failure: Failure) -> Failure:
    """The same failure; the frames of a traceback hold the Deferred that holds the failure."""
    problem = failure.value
    if isinstance(problem, (LoginFailed, ValidPublicKey)):
        return Failure(problem.with_traceback(None))
    return failure


class RefusedProof(UnauthorizedLogin):
    """A proof does not help, for a reason that the log tells and the client does not learn."""


class UndecidedProof(RefusedProof):
    """A proof could not be judged. The client has not failed."""


class UnknownName(UnauthorizedLogin):
    """A password was given for a name that no user has; the log does not tell that either."""


class KeyAuthorised(ValidPublicKey):
    """The answer to the question whether a key would do: it would, with a signature.

    :param user: whose key it is.
    """

    def __init__(self, user: User) -> None:
        super().__init__()
        self.user = user


class UnfitKey(UnauthorizedLogin):
    """A key that no account can have: of a type or size that is not accepted."""


def _read_offered_key(credentials: KeyCredentials) -> OfferedKey:
    """The key or certificate that a client offers.

    :raises UnfitKey: it cannot be used, or not with this algorithm.
    """
    try:
        key = read_offered_key(credentials.blob)
    except ValueError as problem:
        raise UnfitKey(str(problem)) from problem
    names_certificate = credentials.signature_algorithm != credentials.algName
    if (
        names_certificate is (key.certificate is None)
        or credentials.signature_algorithm not in key.login_key.algorithms
    ):
        raise UnfitKey("the key cannot sign with the algorithm that the client names")
    return key
