"""Users that are exchanged while the gateway runs: what changes, and who is disconnected."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from sftpgw.auth.sources.live import LiveUsers
from sftpgw.config.users_ini import user_files
from sftpgw.errors import BadAnswer, ConfigError, SourceAway
from sftpgw.model.users import User, UserLimits
from sftpgw.testing.other_users import with_mount
from sftpgw.testing.ssh_pairs import RecordedEvents, call_at_once, make_user
from sftpgw.user_reload.files import UserFilesOnDisk
from sftpgw.user_reload.open_sessions import OpenSessions
from sftpgw.user_reload.plan import UserChanges, changes_between, is_expired
from sftpgw.user_reload.rechecker import MAX_AT_ONCE, UserRechecker
from sftpgw.user_reload.reloader import EVERY_SECONDS, UserReloader

ALICE, BOB, CAROL = (make_user(name, None, "hash") for name in ("alice", "bob", "carol"))


def named(*users: User) -> dict[str, User]:
    return {user.name: user for user in users}


def with_login(user: User, **changes: Any) -> User:
    return replace(user, login=replace(user.login, **changes))


@pytest.mark.parametrize(
    ("after", "changes"),
    [
        ([ALICE, BOB], UserChanges(0, 0, 0, frozenset())),
        ([ALICE, BOB, CAROL], UserChanges(1, 0, 0, frozenset())),
        ([ALICE], UserChanges(0, 1, 0, frozenset({"bob"}))),
        ([ALICE, with_login(BOB, is_disabled=True)], UserChanges(0, 0, 1, frozenset({"bob"}))),
        ([ALICE, with_login(BOB, expires_seconds=1.0)], UserChanges(0, 0, 1, frozenset({"bob"}))),
        ([ALICE, with_login(BOB, password_hash="new")], UserChanges(0, 0, 1, frozenset({"bob"}))),
        (
            [ALICE, with_login(BOB, authorized_keys={})],
            UserChanges(0, 0, 0, frozenset()),
        ),
        ([ALICE, with_mount(BOB, key_prefix="x/")], UserChanges(0, 0, 1, frozenset({"bob"}))),
        ([ALICE, replace(BOB, weight=7)], UserChanges(0, 0, 1, frozenset())),
        ([ALICE, replace(BOB, limits=UserLimits(5))], UserChanges(0, 0, 1, frozenset())),
    ],
)
def test_what_ends_sessions(after: list[User], changes: UserChanges) -> None:
    assert changes_between(named(ALICE, BOB), named(*after)) == changes


def test_accounts_end_with_their_time() -> None:
    users = [
        with_login(ALICE, expires_seconds=100.0),
        with_login(BOB, expires_seconds=101.0),
        CAROL,
    ]
    assert [is_expired(user, 100.0) for user in users] == [True, False, False]


class Files:
    """Files of users in memory."""

    def __init__(self, *users: User) -> None:
        self.users: Mapping[str, User] = named(*users)
        self.number = 0
        self.faults: tuple[str, ...] = ()
        self.reads = 0

    def write(self, *users: User, faults: tuple[str, ...] = ()) -> None:
        self.users, self.faults = named(*users), faults
        self.number += 1

    def read(self) -> Mapping[str, User]:
        self.reads += 1
        if self.faults:
            raise ConfigError(self.faults)
        return self.users

    def state(self) -> int:
        return self.number


def at_once(function: Callable[..., Any], *args: Any) -> Deferred[Any]:
    try:
        return succeed(function(*args))
    except ConfigError:
        failed: Deferred[Any] = Deferred()
        failed.errback(Failure())
        return failed


class World:
    def __init__(self, in_thread: Callable[..., Deferred[Any]] = at_once) -> None:
        self.clock = Clock()
        self.events = RecordedEvents()
        self.files = Files(ALICE, BOB)
        self.live = LiveUsers(self.files.users, call_at_once)
        self.ended: list[frozenset[str]] = []
        self.reloader = UserReloader(
            self.files,
            self.live,
            in_thread=in_thread,
            clock=self.clock,
            events=self.events,
            on_changes=self._on_changes,
        )
        self.reloader.start()
        self.clock.advance(0)

    def _on_changes(self, changes: UserChanges, users: Mapping[str, User]) -> int:
        assert self.live.users == users
        self.ended.append(changes.ended)
        return len(changes.ended)

    def looks(self, count: int) -> None:
        for _ in range(count):
            self.clock.advance(EVERY_SECONDS)


def test_a_change_is_read_once_it_has_stayed_the_same() -> None:
    world = World()
    world.looks(3)
    assert world.files.reads == 0
    world.files.write(ALICE)
    world.looks(1)
    world.files.write(ALICE, CAROL)
    world.looks(1)
    assert world.files.reads == 0
    world.looks(1)
    assert world.files.reads == 1
    assert set(world.live.users) == {"alice", "carol"}
    assert world.ended == [frozenset({"bob"})]
    (told,) = world.events.facts("users-reloaded")
    assert (told["users"], told["added"], told["removed"], told["disconnected"]) == (2, 1, 1, 1)
    world.looks(5)
    assert world.files.reads == 1


def test_faults_leave_all_users_as_they_were_and_are_all_told_once() -> None:
    world = World()
    world.files.write(faults=("users.ini: one", "users.ini: two"))
    world.looks(6)
    assert set(world.live.users) == {"alice", "bob"}
    assert world.ended == []
    told = world.events.facts("users-reload-failed")
    assert [(each["fault"], each["faults"]) for each in told] == [
        ("users.ini: one", 2),
        ("users.ini: two", 2),
    ]
    world.files.write(ALICE)
    world.looks(2)
    assert set(world.live.users) == {"alice"}


def test_one_reload_at_a_time_and_one_that_was_asked_for_follows() -> None:
    waiting: list[tuple[Deferred[Any], Callable[[], Any]]] = []

    def later(function: Callable[..., Any], *args: Any) -> Deferred[Any]:
        result: Deferred[Any] = Deferred()
        waiting.append((result, lambda: function(*args)))
        return result

    world = World(later)
    waiting.clear()
    for _ in range(5):
        world.reloader.ask()
    assert len(waiting) == 1
    while waiting:
        result, call = waiting.pop(0)
        result.callback(call())
    assert world.files.reads == 2


def test_logins_see_the_new_users_and_their_weights() -> None:
    world = World()
    bob = world.live.users["bob"]
    world.files.write(ALICE, with_login(replace(CAROL, weight=3), password_hash="x"))
    world.reloader.ask()
    assert world.live.weight_of("carol") == 3.0
    assert world.live.weight_of("bob") == 1.0
    assert world.live.is_outdated(bob)
    assert not world.live.is_outdated(world.live.users["alice"])


def test_a_login_that_began_several_reloads_ago_is_outdated_as_well() -> None:
    world = World()
    alice, bob = (world.live.users[name] for name in ("alice", "bob"))
    for users in ([ALICE, replace(BOB)], [ALICE], [replace(ALICE), CAROL]):
        world.files.write(*users)
        world.reloader.ask()
    assert world.live.is_outdated(bob)
    assert not world.live.is_outdated(alice)


def test_a_user_of_another_source_is_outdated_once_a_file_has_the_name() -> None:
    world = World()
    dave = replace(make_user("dave", None, "hash"), source="http")
    assert not world.live.is_outdated(dave)
    world.files.write(ALICE, BOB, make_user("dave", None, "hash"))
    world.reloader.ask()
    assert world.live.is_outdated(dave)


def test_the_state_of_files_tells_of_new_changed_and_removed_ones(tmp_path: Path) -> None:
    files = UserFilesOnDisk(tmp_path, user_files, dict)
    states = [files.state()]
    (tmp_path / "a.ini").write_text("[a]")
    states.append(files.state())
    (tmp_path / "a.ini").write_text("[ab]")
    states.append(files.state())
    (tmp_path / "new").write_text("[cd]")
    os.replace(tmp_path / "new", tmp_path / "a.ini")
    states.append(files.state())
    (tmp_path / "a.ini").unlink()
    states.append(files.state())
    assert len(set(states)) == 4
    assert states[0] == states[-1]


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
        self.sessions = OpenSessions(lambda: self.connections)
        self.of_files: set[str] = set()
        self.rechecker = UserRechecker(
            self.table,
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
        self.sessions.add(connection.avatar, found)
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
