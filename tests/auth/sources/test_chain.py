"""Several sources of users in order: which one decides, and how often each is asked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import bcrypt
import pytest
from twisted.internet.defer import Deferred

from sftpgw.auth.authenticator import KeyGrant, LoginAttempt, PasswordRefusal
from sftpgw.auth.offered_keys import read_offered_key
from sftpgw.auth.sources.chain import MAX_PASSWORD_BYTES, UNDECIDED_KEY, SourceChain
from sftpgw.auth.sources.live import LiveUsers
from sftpgw.errors import SourceAway
from sftpgw.model.users import User
from sftpgw.testing.ssh_pairs import call_at_once, make_user, new_key

PASSWORD = b"right"
HASH = bcrypt.hashpw(PASSWORD, bcrypt.gensalt(4)).decode("ascii")
KEY = new_key()


def user(name: str, home: str) -> User:
    login = make_user(name, KEY, HASH).login
    return User.with_home(name, "bucket", home, login=login)


class Files(LiveUsers):
    """Users of files, counted."""

    asked: int
    hashed: int

    async def find(self, name: str) -> User | None:
        self.asked += 1
        return await super().find(name)


class Source:
    """Users of another source."""

    def __init__(self, *users: User, verifies: bool = False, is_away: bool = False) -> None:
        self.users: Mapping[str, User] = {each.name: each for each in users}
        self.verifies_passwords = verifies
        self.is_away = is_away
        self.asked: list[bytes | None] = []

    async def find(
        self, name: str, peer_host: str | None, password: bytes | None = None
    ) -> User | None:
        self.asked.append(password)
        if self.is_away:
            raise SourceAway("is away")
        found = self.users.get(name)
        return found if not self.verifies_passwords or password in (None, PASSWORD) else None


class World:
    def __init__(self, *sources: Source) -> None:
        self.hashes: list[str] = []

        def hashing(source: str, function: Any, *arguments: Any) -> Deferred[Any]:
            self.hashes.append(arguments[1])
            return call_at_once(source, function, *arguments)

        self.files = Files({"alice": user("alice", "file/")}, hashing)
        self.files.asked = 0
        self.sources = sources
        self.chain = SourceChain(self.files, sources)

    def by_password(self, name: bytes, password: bytes = PASSWORD) -> str | PasswordRefusal:
        found = self._now(self.chain.user_of_password(attempt(name), password))
        return found if isinstance(found, PasswordRefusal) else found.mounts[0].key_prefix

    def by_key(self, name: bytes) -> str | None:
        found = self._now(
            self.chain.user_of_key(attempt(name), read_offered_key(KEY.public().blob()))
        )
        self.judged = found
        return found.user.mounts[0].key_prefix if isinstance(found, KeyGrant) else None

    def _now(self, coroutine: Any) -> Any:
        outcomes: list[Any] = []
        Deferred.fromCoroutine(coroutine).addBoth(outcomes.append)
        return outcomes[0]


def attempt(name: bytes) -> LoginAttempt:
    return LoginAttempt(name, "192.0.2.1")


def test_the_first_source_that_knows_the_name_decides() -> None:
    first, second = Source(user("bob", "first/")), Source(user("bob", "second/"))
    world = World(first, second)
    for name, home in ((b"alice", "file/"), (b"bob", "first/"), (b"carol", None), (b"\xff", None)):
        assert world.by_password(name) == (home or PasswordRefusal.UNKNOWN_NAME)
        assert world.by_key(name) == home
    assert world.by_password(b"bob", b"wrong") is PasswordRefusal.WRONG
    assert len(second.asked) == 2  # about carol


def test_a_source_that_verifies_passwords_is_given_them_and_others_are_not() -> None:
    records, service = Source(), Source(user("bob", "service/"), verifies=True)
    world = World(records, service)
    assert world.by_password(b"bob") == "service/"
    assert world.by_password(b"bob", b"wrong") is PasswordRefusal.WRONG
    assert world.by_password(b"carol") is PasswordRefusal.WRONG  # the service may know her
    assert records.asked == [None] * 3
    assert service.asked == [PASSWORD, b"wrong", PASSWORD]
    assert world.by_key(b"bob") == "service/"
    assert service.asked[3:] == [None]


@pytest.mark.parametrize("is_away", [False, True])
@pytest.mark.parametrize("password", [b"", b"\0", b"right\0", b"x" * (MAX_PASSWORD_BYTES + 1)])
def test_what_cannot_be_a_password_is_asked_of_none_that_verifies(
    password: bytes, is_away: bool
) -> None:
    service = Source(user("bob", "service/"), verifies=True, is_away=is_away)
    world = World(service)
    assert world.by_password(b"bob", password) is PasswordRefusal.WRONG
    assert service.asked == []
    assert len(world.hashes) == 1


def test_a_long_token_may_be_a_password() -> None:
    service = Source(user("bob", "service/"), verifies=True)
    World(service).by_password(b"bob", b"x" * MAX_PASSWORD_BYTES)
    assert service.asked == [b"x" * MAX_PASSWORD_BYTES]


def test_a_source_that_is_away_ends_the_search() -> None:
    away, second = Source(is_away=True), Source(user("bob", "second/"))
    world = World(away, second)
    assert world.by_password(b"bob") is PasswordRefusal.UNDECIDED
    assert world.by_key(b"bob") is None
    assert world.judged is UNDECIDED_KEY
    assert second.asked == []
    assert len(world.hashes) == 1


@pytest.mark.parametrize("name", [b"alice", b"bob", b"carol"])
def test_an_attempt_asks_each_source_once_and_hashes_once(name: bytes) -> None:
    """Names of files, of another source and unknown ones alike: else the time tells which."""
    source = Source(user("bob", "first/"))
    world = World(source)
    for password in (PASSWORD, b"wrong"):
        before = (world.files.asked, len(source.asked), len(world.hashes))
        world.by_password(name, password)
        assert world.files.asked == before[0] + 1
        assert len(source.asked) == before[1] + (name != b"alice")
        assert len(world.hashes) == before[2] + 1
    before = (world.files.asked, len(source.asked), len(world.hashes))
    world.by_key(name)
    assert world.files.asked == before[0] + 1
    assert len(source.asked) == before[1] + (name != b"alice")
    assert len(world.hashes) == before[2]
