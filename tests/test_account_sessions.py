"""Which sessions end: those of users who have changed, and those whose own account has ended."""

from __future__ import annotations

from dataclasses import replace

from sftpgw.model.steps import finish
from sftpgw.model.users import User
from sftpgw.testing.ssh_pairs import make_user
from sftpgw.user_reload.account_sessions import (
    CHANGED,
    EXPIRED,
    REVOKED,
    STEP_CONNECTIONS,
    AccountSessions,
)


class Avatar:
    """What a session has."""


class Connection:
    """A connection, which may have logged in."""

    def __init__(self, avatar: Avatar | None) -> None:
        self.avatar = avatar
        self.told: list[str] = []
        self.login_keys: tuple[bytes, ...] = ()

    def sendDisconnect(self, reason: int, desc: str, /) -> None:
        self.told.append(desc)


class World:
    def __init__(self) -> None:
        self.connections: list[Connection] = [Connection(None)]
        self.sessions = AccountSessions(lambda: self.connections)

    def log_in(self, name: str, expires_seconds: float | None = None) -> Connection:
        user: User = make_user(name, None, "hash")
        user = replace(user, login=replace(user.login, expires_seconds=expires_seconds))
        connection = Connection(Avatar())
        self.sessions.began(connection.avatar, user)
        self.connections.append(connection)
        return connection


def test_sessions_end_by_the_names_of_users_and_others_go_on() -> None:
    world = World()
    alice, bob, again = (world.log_in(name) for name in ("alice", "bob", "alice"))
    assert finish(world.sessions.end_of_users({"alice", "carol"})) == 2
    assert (alice.told, bob.told, again.told) == ([CHANGED], [], [CHANGED])
    assert finish(world.sessions.end_of_users(frozenset())) == 0


def test_a_session_ends_with_the_account_with_which_it_began() -> None:
    world = World()
    old = world.log_in("alice", expires_seconds=100.0)
    renewed = world.log_in("alice", expires_seconds=900.0)
    for_good = world.log_in("alice")
    assert finish(world.sessions.end_expired(99.9)) == 0
    assert finish(world.sessions.end_expired(100.0)) == 1
    assert (old.told, renewed.told, for_good.told) == ([EXPIRED], [], [])


def test_sessions_end_one_at_a_time() -> None:
    """To tell a thousand clients at once would stop all others."""
    world = World()
    sessions = [world.log_in("alice") for _ in range(3)]
    steps = world.sessions.end_of_users({"alice"})
    for count in (1, 2, 3):
        next(steps)
        assert sum(len(session.told) for session in sessions) == count


def test_sessions_end_that_a_revoked_key_has_opened() -> None:
    world = World()
    first, other, password = (world.log_in(name) for name in ("alice", "alice", "bob"))
    first.login_keys, other.login_keys = (b"old", b"lost"), (b"new",)
    assert finish(world.sessions.end_revoked(lambda blob, user: blob == b"lost")) == 1
    assert (first.told, other.told, password.told) == ([REVOKED], [], [])


def test_keys_of_few_sessions_are_judged_in_a_step() -> None:
    world = World()
    for _ in range(100):
        world.log_in("alice").login_keys = (b"key",)
    judged = before = most = 0

    def is_revoked(blob: bytes, user: User) -> bool:
        nonlocal judged
        judged += 1
        return False

    for _ in world.sessions.end_revoked(is_revoked):
        most, before = max(most, judged - before), judged
    assert judged == 100
    assert most <= STEP_CONNECTIONS
