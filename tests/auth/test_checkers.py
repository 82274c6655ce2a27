"""The portal: who gets an avatar, and what others can learn from refusals."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import bcrypt
import pytest
from twisted.conch.error import ValidPublicKey
from twisted.conch.interfaces import IConchUser
from twisted.cred.checkers import ICredentialsChecker
from twisted.cred.error import UnauthorizedLogin
from twisted.cred.portal import IRealm
from twisted.internet.defer import CancelledError, Deferred, maybeDeferred
from zope.interface.verify import verifyObject

from sftpgw.auth.authenticator import KeyGrant, KeyRefusal, LoginAttempt, PasswordRefusal
from sftpgw.auth.checkers import PasswordChecker, PublicKeyChecker, UndecidedProof, UnknownName
from sftpgw.auth.login_credentials import KeyCredentials, PasswordCredentials
from sftpgw.auth.offered_keys import OfferedKey
from sftpgw.auth.passwords import Decoys
from sftpgw.auth.realm import GatewayRealm, make_portal
from sftpgw.auth.sources.static import StaticUserDirectory
from sftpgw.auth.threads import RunInThread
from sftpgw.auth.user_records import RecordAuthenticator
from sftpgw.model.normalization import LONGEST_BYTES, normalized_bytes, spellings
from sftpgw.model.users import NO_OPTIONS, LoginRules, User
from sftpgw.testing.ssh_pairs import call_at_once, make_user, new_key
from tests.results import failure_of, result_of

KEY = new_key()
HASH = bcrypt.hashpw(b"secret", bcrypt.gensalt(4)).decode("ascii")
DECOY = bcrypt.hashpw(b"decoy password", bcrypt.gensalt(4)).decode("ascii")
DIRECTORY = StaticUserDirectory(
    {
        "alice": make_user("alice", KEY, HASH),
        "keys-only": make_user("keys-only", KEY),
        "jörg": make_user("jörg", None, HASH),
        "collector": replace(
            make_user("collector"),
            login=LoginRules({new_key().public().blob(): NO_OPTIONS for _ in range(50)}),
        ),
    }
)
MESSAGE = b"to be signed"
PEER = "192.0.2.1"


class PlainAvatar:
    def __init__(self) -> None:
        self.gone = False

    def logout(self) -> None:
        self.gone = True


class Harness:
    """A portal that records which hashes it has checked and which avatars it has made."""

    def __init__(self) -> None:
        self.work: list[str] = []
        self.made: list[tuple[str, str]] = []
        self.portal = make_portal(authenticator(run_in_thread=self._run), self._make_avatar)

    def login(self, credentials: Any) -> Any:
        """The avatar, or the exception."""
        outcome: list[Any] = []
        self.portal.login(credentials, "label", IConchUser).addBoth(outcome.append)
        result = outcome[0]
        return getattr(result, "value", result)

    def _make_avatar(self, user, session):
        self.made.append((user.name, session))
        return PlainAvatar()

    def _run(self, source: str, function, password: bytes, password_hash: str) -> Deferred[Any]:
        self.work.append(password_hash)
        return maybeDeferred(function, password, password_hash)


def authenticator(
    directory: StaticUserDirectory = DIRECTORY, run_in_thread: RunInThread = call_at_once
) -> RecordAuthenticator:
    return RecordAuthenticator(directory, run_in_thread, Decoys([DECOY]))


def credentials_of(
    user: bytes,
    blob: bytes,
    algorithm: bytes = b"ssh-ed25519",
    *,
    message: bytes | None = None,
    signature: bytes | None = None,
) -> KeyCredentials:
    attempt = LoginAttempt(user, PEER)
    return KeyCredentials(
        attempt, algorithm=algorithm, blob=blob, message=message, signature=signature
    )


def offered(user: bytes, key=KEY, algorithm: bytes = b"ssh-ed25519") -> KeyCredentials:
    return credentials_of(user, key.public().blob(), algorithm)


def signed(user: bytes, key=KEY, message: bytes = MESSAGE) -> KeyCredentials:
    blob = key.public().blob()
    return credentials_of(user, blob, message=MESSAGE, signature=key.sign(message))


def password_of(user: bytes, password: bytes) -> PasswordCredentials:
    return PasswordCredentials(LoginAttempt(user, PEER), password)


def test_the_interfaces_are_provided() -> None:
    keys: Any = PublicKeyChecker(authenticator())
    passwords: Any = PasswordChecker(authenticator())
    realm: Any = GatewayRealm(lambda user, session: PlainAvatar())
    assert verifyObject(ICredentialsChecker, keys)
    assert verifyObject(ICredentialsChecker, passwords)
    assert verifyObject(IRealm, realm)


def test_a_right_signature_gives_an_avatar_and_its_logout() -> None:
    harness = Harness()
    interface, avatar, logout = harness.login(signed(b"alice"))
    assert interface is IConchUser
    assert harness.made == [("alice", "label")]
    logout()
    assert avatar.gone


def test_a_right_password_gives_an_avatar() -> None:
    harness = Harness()
    harness.login(password_of("jörg".encode(), b"secret"))
    assert harness.made == [("jörg", "label")]


def test_an_authorized_key_without_a_signature_is_confirmed_only() -> None:
    harness = Harness()
    assert isinstance(harness.login(offered(b"alice")), ValidPublicKey)
    assert harness.made == []


@pytest.mark.parametrize(
    "credentials",
    [
        offered(b"alice", new_key()),
        offered(b"nobody"),
        offered(b"\xff\xfe"),
        offered(b"alice", algorithm=b"ssh-rsa"),
        offered("jörg".encode()),
        credentials_of(b"alice", b"no key at all"),
        credentials_of(b"alice", b"", message=MESSAGE, signature=b""),
        signed(b"alice", message=b"another message"),
        signed(b"alice", new_key()),
    ],
)
def test_other_keys_are_refused(credentials: KeyCredentials) -> None:
    harness = Harness()
    assert isinstance(harness.login(credentials), UnauthorizedLogin)
    assert harness.made == []


def test_an_unknown_user_looks_like_one_without_that_key() -> None:
    known = Harness().login(offered(b"alice", new_key()))
    unknown = Harness().login(offered(b"nobody", new_key()))
    assert (type(known), str(known)) == (type(unknown), str(unknown))


@pytest.mark.parametrize(
    ("user", "password", "work"),
    [
        (b"alice", b"wrong", HASH),
        (b"alice", b"", HASH),
        (b"alice", b"s" * 100, HASH),
        (b"nobody", b"secret", DECOY),
        (b"\xff", b"secret", DECOY),
        (b"keys-only", b"secret", DECOY),
        # The decoy's password opens no account either.
        (b"nobody", b"decoy password", DECOY),
        (b"keys-only", b"decoy password", DECOY),
    ],
)
def test_wrong_passwords_are_refused_after_the_same_work(
    user: bytes, password: bytes, work: str
) -> None:
    harness = Harness()
    refusal = harness.login(password_of(user, password))
    assert isinstance(refusal, UnauthorizedLogin)
    assert str(refusal) == "wrong user or password"
    assert harness.work == [work]
    assert harness.made == []


def calls_for(credentials: Any) -> int:
    """How many calls of Python and C a login makes; the garbage collector's are not counted."""
    calls = 0

    def count(frame: Any, event: str, argument: Any) -> None:
        nonlocal calls
        calls += event in ("call", "c_call")

    harness = Harness()
    gc.disable()
    sys.setprofile(count)
    try:
        harness.login(credentials)
    finally:
        sys.setprofile(None)
        gc.enable()
    return calls


def test_a_question_about_a_key_is_the_same_work_for_known_and_unknown_users() -> None:
    """Even if the user has many keys: none of them is parsed."""
    key = new_key()
    unknown, alice, collector = (
        calls_for(offered(name, key)) for name in (b"nobody", b"alice", b"collector")
    )
    assert unknown == alice == collector


JORG_NFC, JORG_NFD = "jörg".encode(), "jo\u0308rg".encode()


@pytest.mark.parametrize("user", [JORG_NFC, JORG_NFD])
@pytest.mark.parametrize("password", ["schlüssel", "schlu\u0308ssel"])
def test_names_and_passwords_match_in_any_spelling(user: bytes, password: str) -> None:
    for hashed in ("schlüssel", "schlu\u0308ssel"):
        text = bcrypt.hashpw(hashed.encode(), bcrypt.gensalt(4)).decode()
        directory = StaticUserDirectory({"jörg": make_user("jörg", None, text)})
        checker = PasswordChecker(authenticator(directory))
        done = checker.requestAvatarId(password_of(user, password.encode()))
        assert result_of(done).name == "jörg"


def test_a_user_whose_name_is_written_in_two_parts_is_found_too() -> None:
    directory = StaticUserDirectory({"jo\u0308rg": make_user("jo\u0308rg", KEY)})
    for name in ("jörg", "jo\u0308rg"):
        user = result_of(Deferred.fromCoroutine(directory.find(name)))
        assert user.name == "jo\u0308rg"  # as in users.ini, and in key_prefix


def test_spellings_of_a_name_in_composed_and_decomposed_letters() -> None:
    assert spellings(b"plain") == (b"plain",)
    assert spellings(JORG_NFC) == (JORG_NFC, JORG_NFD)
    assert spellings(JORG_NFD) == (JORG_NFD, JORG_NFC)
    assert spellings(b"\xff\xfe") == (b"\xff\xfe",)
    assert spellings("\ufb01".encode()) == ("\ufb01".encode(),)  # a ligature is not "fi"
    long = "o\u0308".encode() * LONGEST_BYTES
    assert spellings(long) == (long,)
    assert normalized_bytes(long) == long


def test_a_guess_is_not_checked_once_its_client_is_gone() -> None:
    waiting: list[Callable[[], bool]] = []

    def in_line(source: str, function, *arguments) -> Deferred[Any]:
        waiting.append(partial(function, *arguments))
        return Deferred()

    checker = PasswordChecker(authenticator(run_in_thread=in_line))
    guesses = [checker.requestAvatarId(password_of(b"alice", b"secret")) for _ in range(2)]
    guesses[0].cancel()
    failure_of(guesses[0]).trap(CancelledError)
    assert [call() for call in waiting] == [False, True]


class ElsewhereAuthenticator:
    """A source that verifies keys and passwords itself, as a directory service does."""

    def __init__(self) -> None:
        self.attempts: list[LoginAttempt] = []

    async def user_of_key(self, attempt: LoginAttempt, key: OfferedKey) -> KeyGrant | KeyRefusal:
        self.attempts.append(attempt)
        is_right = key.blob == KEY.public().blob()
        return KeyGrant(make_user("guest")) if is_right else KeyRefusal("")

    async def user_of_password(
        self, attempt: LoginAttempt, password: bytes
    ) -> User | PasswordRefusal:
        self.attempts.append(attempt)
        return make_user("guest") if password == b"right" else PasswordRefusal.WRONG


def test_a_source_may_verify_itself_and_learns_the_clients_address() -> None:
    """The signature of a key is verified here all the same."""
    elsewhere = ElsewhereAuthenticator()
    made: list[str] = []

    def make_avatar(user: User, session: str) -> PlainAvatar:
        made.append(user.name)
        return PlainAvatar()

    portal = make_portal(elsewhere, make_avatar)
    for credentials, is_right in (
        (password_of(b"alice", b"right"), True),
        (password_of(b"alice", b"wrong"), False),
        (signed(b"alice"), True),
        (signed(b"alice", message=b"another message"), False),
    ):
        made.clear()
        portal.login(credentials, "label", IConchUser).addErrback(
            lambda failure: failure.trap(UnauthorizedLogin)
        )
        assert made == (["guest"] if is_right else [])
    assert elsewhere.attempts == [LoginAttempt(b"alice", PEER)] * 4


@pytest.mark.parametrize(
    ("refusal", "raised"),
    [
        (PasswordRefusal.WRONG, UnauthorizedLogin),
        (PasswordRefusal.UNKNOWN_NAME, UnknownName),
        (PasswordRefusal.UNDECIDED, UndecidedProof),
    ],
)
def test_what_is_no_failure_of_the_client_is_told_from_a_wrong_password(
    refusal: PasswordRefusal, raised: type[Exception]
) -> None:
    class Refusing(ElsewhereAuthenticator):
        async def user_of_password(self, attempt: LoginAttempt, password: bytes) -> PasswordRefusal:
            return refusal

    outcome = PasswordChecker(Refusing()).requestAvatarId(password_of(b"alice", b"x"))
    assert type(failure_of(outcome).value) is raised


def test_a_name_that_no_record_has_is_unknown() -> None:
    checker = PasswordChecker(authenticator())
    unknown = checker.requestAvatarId(password_of(b"nosuch", b"x"))
    assert type(failure_of(unknown).value) is UnknownName
    wrong = checker.requestAvatarId(password_of(b"alice", b"x"))
    assert type(failure_of(wrong).value) is UnauthorizedLogin
