"""Users that are exchanged while the gateway runs: what changes, and who is disconnected."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import pytest
from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock

from sftpgw.auth.sources.live import LiveUsers
from sftpgw.errors import ConfigError
from sftpgw.model.settings import FileUsers
from sftpgw.model.steps import Steps, finish
from sftpgw.model.users import AssumedRole, User, UserLimits
from sftpgw.testing.other_users import with_mount
from sftpgw.testing.ssh_pairs import RecordedEvents, call_at_once, make_user
from sftpgw.user_reload.plan import UserChanges, changes_between, has_expired
from sftpgw.user_reload.reloader import (
    EVERY_SECONDS,
    SELDOM_SECONDS,
    SETTLE_SECONDS,
    UserReloader,
)
from sftpgw.user_reload.watched_places import Places

T = TypeVar("T")

ROLE = AssumedRole("arn:aws:iam::123456789012:role/partner")
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
        ([ALICE, replace(BOB, role=ROLE)], UserChanges(0, 0, 1, frozenset({"bob"}))),
        ([ALICE, replace(BOB, weight=7)], UserChanges(0, 0, 1, frozenset())),
        ([ALICE, replace(BOB, limits=UserLimits(5))], UserChanges(0, 0, 1, frozenset())),
    ],
)
def test_what_ends_sessions(after: list[User], changes: UserChanges) -> None:
    assert finish(changes_between(named(ALICE, BOB), named(*after))) == changes


def test_accounts_end_with_their_time() -> None:
    users = [
        with_login(ALICE, expires_seconds=100.0),
        with_login(BOB, expires_seconds=101.0),
        CAROL,
    ]
    assert [user.name for user in users if has_expired(user, 100.0)] == ["alice"]


class Files:
    """Files of users in memory."""

    def __init__(self, *users: User) -> None:
        self.users: Mapping[str, User] = named(*users)
        self.number = 0
        self.faults: tuple[str, ...] = ()
        self.reads = self.looks = 0
        self.read_state = 0

    def write(self, *users: User, faults: tuple[str, ...] = ()) -> None:
        self.users, self.faults = named(*users), faults
        self.number += 1

    def load(self) -> tuple[Mapping[str, User], tuple[str, ...]]:
        self.reads += 1
        self.read_state = self.number
        return self.users, self.faults

    def steps(self, loaded: Any) -> Steps[FileUsers]:
        yield
        users, faults = loaded
        if faults:
            raise ConfigError(faults)
        yield
        return FileUsers(users)

    def state(self) -> int:
        self.looks += 1
        return self.number

    def paths(self) -> list[Path]:
        return []

    def folder(self) -> Path | None:
        return None


def at_once(function: Callable[..., Any], *args: Any) -> Deferred[Any]:
    return succeed(function(*args))


async def finished(steps: Steps[T]) -> T:
    return finish(steps)


class Watch:
    """Whether it can watch, and what it calls."""

    def __init__(self) -> None:
        self.can_watch = False
        self.places: Places = {}
        self.is_stopped = False
        self.on_event: Callable[[], None] = lambda: None

    def follow(self, places: Places) -> bool:
        self.places = places
        return self.can_watch

    def stop(self) -> None:
        self.is_stopped = True


class World:
    def __init__(
        self,
        in_thread: Callable[..., Deferred[Any]] = at_once,
        *,
        changed_early: bool = False,
    ) -> None:
        self.clock = Clock()
        self.events = RecordedEvents()
        self.files = Files(ALICE, BOB)
        self.live = LiveUsers(self.files.users, call_at_once)
        self.ended: list[frozenset[str]] = []
        self.watch = Watch()
        self.reloader = UserReloader(
            self.files,
            self.live,
            in_thread=in_thread,
            in_turns=finished,
            watch=self._watched,
            clock=self.clock,
            events=self.events,
            follow=self._follow,
        )
        if changed_early:
            self.files.write(CAROL)
        self.reloader.start()
        self.clock.advance(0)

    def _watched(self, on_event: Callable[[], None]) -> Watch:
        self.watch.on_event = on_event
        return self.watch

    def _follow(self, changes: UserChanges) -> Steps[int]:
        self.ended.append(changes.ended)
        yield
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


def test_what_inotify_tells_of_is_read_soon_and_a_loss_is_made_up_for() -> None:
    world = World()
    world.watch.can_watch = True
    world.looks(1)
    world.files.write(ALICE)
    world.watch.on_event()
    world.clock.advance(SETTLE_SECONDS)
    world.files.write(ALICE, CAROL)  # it is still being written
    world.clock.advance(SETTLE_SECONDS)
    assert world.files.reads == 0
    world.clock.advance(SETTLE_SECONDS)
    assert world.files.reads == 1
    assert set(world.live.users) == {"alice", "carol"}
    states = world.files.looks
    world.clock.advance(SELDOM_SECONDS / 2)
    assert world.files.looks == states, "nothing is looked at for nothing"
    world.files.write(BOB)  # nothing tells of it
    world.clock.advance(SELDOM_SECONDS / 2)
    world.clock.advance(SETTLE_SECONDS)
    assert set(world.live.users) == {"bob"}
    world.reloader.stop()
    assert world.watch.is_stopped


def test_a_change_before_the_first_look_is_seen() -> None:
    world = World(lambda function, *args: succeed(function(*args)), changed_early=True)
    world.looks(1)
    assert world.files.reads == 1
    assert set(world.live.users) == {"carol"}


def test_what_was_broken_is_read_again_once_it_is_mended() -> None:
    world = World()
    world.files.write(faults=("users.ini:3: half a file",))
    world.looks(2)
    assert set(world.live.users) == {"alice", "bob"}
    world.looks(4)
    assert world.files.reads == 1
    world.files.write(ALICE)
    world.looks(2)
    assert set(world.live.users) == {"alice"}


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
