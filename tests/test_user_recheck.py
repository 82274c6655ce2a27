"""Users of services and tables who have sessions open, and what becomes of these."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from sftpgw.errors import BadAnswer, SourceAway
from sftpgw.model.users import User, UserLimits
from sftpgw.testing.other_users import with_mount
from sftpgw.testing.ssh_pairs import RecordedEvents, make_user
from sftpgw.user_reload.account_sessions import AccountSessions
from sftpgw.user_reload.rechecker import MAX_AT_ONCE, UserRechecker

ALICE, BOB, CAROL = (make_user(name, None, "hash") for name in ("alice", "bob", "carol"))


def with_login(user: User, **changes: Any) -> User:
    return replace(user, login=replace(user.login, **changes))


class Connection:
    """A connection, which notes that it was ended."""

    def __init__(self, peer_host: str | None = "192.0.2.1") -> None:
        self.avatar: AvatarStandIn | None = None
        self.peer_host = peer_host
        self.ended: list[str] = []

    def sendDisconnect(self, reason: int, desc: str) -> None:
        self.ended.append(desc)


class AvatarStandIn:
    """What a login has made."""


class Table:
    """A source of users: `None` for one who is gone, an error for what cannot be asked."""

    name = "dynamodb"
    cache_seconds = 60.0

    def __init__(self) -> None:
        self.users: dict[str, User | Exception] = {}
        self.asked: list[tuple[str, str | None]] = []
        self.under_way: list[Deferred[None]] = []
        self.is_slow = False

    def may_look_again(self, user: User) -> bool:
        return not user.is_of_password

    async def look_again(self, user: User, peer_host: str | None) -> User | None:
        self.asked.append((user.name, peer_host))
        if self.is_slow:
            waiting: Deferred[None] = Deferred()
            self.under_way.append(waiting)
            await waiting
        found = self.users.get(user.name)
        if isinstance(found, Exception):
            raise found
        return found


class Looks:
    """A rechecker, and the sessions that it looks at."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.events = RecordedEvents()
        self.table = Table()
        self.connections: list[Connection] = [Connection()]  # one that is not logged in
        self.sessions = AccountSessions(lambda: self.connections)
        self.of_files: set[str] = set()
        self.rechecker = UserRechecker(
            [self.table],
            self.sessions,
            is_outdated=lambda user: user.name in self.of_files,
            clock=self.clock,
            events=self.events,
        )
        self.rechecker.start()

    def log_in(self, user: User, host: str = "192.0.2.1", **changes: Any) -> Connection:
        connection = Connection(host)
        connection.avatar = AvatarStandIn()
        found = replace(user, **({"source": "dynamodb"} | changes))
        self.table.users.setdefault(user.name, found)
        self.sessions.began(connection.avatar, found)
        self.connections.append(connection)
        return connection

    def round(self) -> list[tuple[str, str | None]]:
        """Let one round pass; what was asked in it."""
        self.table.asked.clear()
        self.clock.advance(60.0)
        return list(self.table.asked)


def test_users_with_sessions_are_looked_at_again_once_for_each_address() -> None:
    looks = Looks()
    looks.clock.advance(59.0)
    for host in ("192.0.2.1", "192.0.2.1", "192.0.2.2"):
        looks.log_in(ALICE, host)
    looks.log_in(BOB, source="")
    looks.log_in(CAROL, is_of_password=True)
    looks.clock.advance(1.0)
    assert looks.table.asked == [("alice", "192.0.2.1"), ("alice", "192.0.2.2")]
    assert looks.round() == [("alice", "192.0.2.1"), ("alice", "192.0.2.2")]
    assert not any(each.ended for each in looks.connections)
    assert looks.events.told == []


@pytest.mark.parametrize(
    ("now", "is_ended"),
    [
        (None, True),
        (ALICE, False),
        (with_login(ALICE, is_disabled=True), True),
        (with_login(ALICE, password_hash="new"), True),
        (with_mount(ALICE, key_prefix="x/"), True),
        (replace(ALICE, weight=7, limits=UserLimits(5)), False),
        (SourceAway("is away"), False),
        (BadAnswer("is nonsense"), False),
    ],
)
def test_what_a_source_says_later_ends_sessions(
    now: User | Exception | None, is_ended: bool
) -> None:
    looks = Looks()
    alice, bob = looks.log_in(ALICE), looks.log_in(BOB)
    looks.table.users["alice"] = now
    looks.round()
    assert alice.ended == ["the account has changed"] * is_ended
    assert bob.ended == []
    facts = looks.events.facts("user-sessions-ended")
    told = {"source": "dynamodb", "user": "alice", "gone": now is None, "disconnected": 1}
    assert facts == [told] * is_ended


def test_a_source_that_is_away_is_not_asked_about_all_users_and_nonsense_stops_none() -> None:
    looks = Looks()
    users = [replace(ALICE, name=f"user{number}") for number in range(50)]
    for user in users:
        looks.log_in(user)
    looks.table.users |= {user.name: SourceAway("is away") for user in users}
    assert len(looks.round()) == MAX_AT_ONCE
    looks.table.users |= {user.name: BadAnswer("is nonsense") for user in users}
    assert len(looks.round()) == 50


@pytest.mark.parametrize("fault", [SourceAway("status 500"), ValueError("a defect of ours")])
def test_one_user_for_whom_the_source_fails_keeps_no_other_user_in(fault: Exception) -> None:
    looks = Looks()
    for number in range(MAX_AT_ONCE):
        looks.table.users[f"user{number}"] = fault
        looks.log_in(replace(ALICE, name=f"user{number}"))
    gone = [looks.log_in(replace(BOB, name=f"gone{number}")) for number in range(9)]
    looks.table.users |= {f"gone{number}": None for number in range(9)}
    asked = [len(looks.round()) for _ in range(3)]
    assert [each.ended for each in gone] == [["the account has changed"]] * 9
    assert asked == [4, 13, 4]
    looks.table.users |= {f"user{number}": ALICE for number in range(MAX_AT_ONCE)}
    assert len(looks.round()) == 13


def test_few_questions_are_under_way_and_rounds_do_not_overlap() -> None:
    looks = Looks()
    looks.table.is_slow = True
    for number in range(50):
        looks.log_in(replace(ALICE, name=f"user{number}"))
    looks.clock.advance(600.0)
    assert len(looks.table.asked) == MAX_AT_ONCE
    while looks.table.under_way:
        looks.table.under_way.pop().callback(None)
    assert len(looks.table.asked) == 50


def test_a_name_that_becomes_one_of_a_file_ends_the_sessions_of_the_other_user() -> None:
    looks = Looks()
    alice, carol = looks.log_in(ALICE), looks.log_in(CAROL, is_of_password=True)
    of_file = looks.log_in(CAROL, source="")
    looks.of_files = {"carol"}
    looks.round()
    assert (alice.ended, of_file.ended) == ([], [])
    assert carol.ended == ["the account has changed"]


def test_a_rechecker_that_was_stopped_looks_no_more() -> None:
    looks = Looks()
    looks.log_in(ALICE)
    looks.rechecker.stop()
    assert looks.round() == []
    assert looks.clock.getDelayedCalls() == []
