"""When roles are assumed for users, with an STS that does what the test says."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from botocore.credentials import ReadOnlyCredentials
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from sftpgw.aws.session_policy.plan.role_requests import RoleRequest
from sftpgw.aws.session_policy.role_sessions import (
    AHEAD_SECONDS,
    AT_ONCE,
    LAST_SECONDS,
    MAX_REMEMBERED,
    MAX_WAIT_SECONDS,
    PAUSE_SECONDS,
    PAUSES_SECONDS,
    WAIT_FROM_SECONDS,
    RoleCredentials,
    RoleSessions,
)
from sftpgw.aws.session_policy.sts_client import LIFE_SECONDS, IssuedCredentials, RoleRefused
from sftpgw.errors import RoleNotAssumed
from tests.stores import RecordedEvents

ROLE = "arn:aws:iam::123456789012:role/partners"
DENIED = RoleRefused("not authorized", code="AccessDenied", is_passing=False)
THROTTLED = RoleRefused("rate exceeded", code="Throttling", is_passing=True)
DUE_SECONDS = LIFE_SECONDS - AHEAD_SECONDS


def request(user: str = "alice", policy: str = "{}") -> RoleRequest:
    return RoleRequest(user, ROLE, f"sftpgw-{user}", policy)


@dataclass
class FakeSts:
    """An STS in memory, and the threads that ask it: a question is answered when `run` is called.

    :ivar asked: the users of all questions.
    :ivar faults: what the next answers are instead.
    """

    clock: Clock = field(default_factory=Clock)
    events: RecordedEvents = field(default_factory=RecordedEvents)
    asked: list[str] = field(default_factory=list)
    faults: list[Exception] = field(default_factory=list)
    life_seconds: float = LIFE_SECONDS
    waiting: list[Callable[[], None]] = field(default_factory=list)
    most_at_once: int = 0

    def __post_init__(self) -> None:
        self.sessions = RoleSessions(self.assume, self.in_thread, self.clock, self.events)

    def assume(self, asked: RoleRequest) -> IssuedCredentials:
        self.asked.append(asked.user)
        if self.faults:
            raise self.faults.pop(0)
        key = f"{asked.user}-{len(self.asked)}"
        return IssuedCredentials(ReadOnlyCredentials(key, "s", "t"), self.life_seconds)

    def in_thread(self, work: Callable[..., Any], *arguments: Any) -> Deferred[Any]:
        done: Deferred[Any] = Deferred()

        def run() -> None:
            try:
                result = work(*arguments)
            except Exception as error:
                done.errback(error)
            else:
                done.callback(result)

        self.waiting.append(run)
        self.most_at_once = max(self.most_at_once, len(self.waiting))
        return done

    def run(self) -> None:
        """Answer all questions, also those that follow."""
        while self.waiting:
            self.waiting.pop(0)()


class Key:
    """The access key that a request would be signed with, or why there is none."""

    def __init__(self, credentials: RoleCredentials) -> None:
        self.found: list[str] = []
        self.error: Exception | None = None
        self.waiting = Deferred.fromCoroutine(credentials.current())
        self.waiting.addCallbacks(
            lambda given: self.found.append(given.access_key),
            lambda failure: setattr(self, "error", failure.value),
        )


def renewal(credentials: RoleCredentials, key: str, *, is_guess: bool = False) -> list[Any]:
    found: list[Any] = []
    refused = ReadOnlyCredentials(key, "s", "t")
    renewed = Deferred.fromCoroutine(credentials.renew(refused, is_guess=is_guess))
    renewed.addBoth(found.append)
    return found


def test_a_login_asks_at_once_and_its_first_request_waits() -> None:
    sts = FakeSts()
    credentials = sts.sessions.credentials_for(request())
    assert len(sts.waiting) == 1
    key = Key(credentials)
    assert not key.found
    sts.run()
    assert key.found == ["alice-1"]
    assert Key(credentials).found == ["alice-1"]
    ((name, facts),) = sts.events.told
    assert name == "session-credentials-issued"
    assert facts == {
        "user": "alice",
        "role": ROLE,
        "session_name": "sftpgw-alice",
        "access_key": "alice-1",
        "valid_seconds": LIFE_SECONDS,
    }


def test_five_hundred_logins_of_one_user_ask_once() -> None:
    sts = FakeSts()
    keys = [Key(sts.sessions.credentials_for(request())) for _ in range(500)]
    sts.run()
    assert sts.asked == ["alice"]
    assert all(key.found == ["alice-1"] for key in keys)


def test_five_hundred_users_wait_for_each_other_a_few_at_once() -> None:
    sts = FakeSts()
    keys = {
        user: Key(sts.sessions.credentials_for(request(user)))
        for user in (f"u{number}" for number in range(500))
    }
    assert len(sts.waiting) == AT_ONCE
    sts.run()
    assert sts.most_at_once == AT_ONCE
    assert sorted(sts.asked) == sorted(keys)
    assert all(key.found[0].startswith(f"{user}-") for user, key in keys.items())


def test_another_user_or_policy_gets_other_credentials() -> None:
    sts = FakeSts()
    sources = [
        sts.sessions.credentials_for(each)
        for each in (request(), request(policy="{1}"), request("bob"))
    ]
    sts.run()
    assert len({key for source in sources for key in Key(source).found}) == 3
    assert sts.sessions.credentials_for(request()) is sources[0]


def test_credentials_are_renewed_ahead_and_no_request_waits() -> None:
    sts = FakeSts()
    credentials = sts.sessions.credentials_for(request())
    sts.run()
    sts.clock.advance(DUE_SECONDS - 1)
    assert Key(credentials).found == ["alice-1"]
    assert not sts.waiting
    sts.clock.advance(1)
    for _ in range(100):
        assert Key(credentials).found == ["alice-1"]
    assert len(sts.waiting) == 1
    sts.run()
    assert Key(credentials).found == ["alice-2"]
    assert sts.asked == ["alice"] * 2


def test_a_short_life_is_renewed_at_its_half() -> None:
    sts = FakeSts(life_seconds=900)
    credentials = sts.sessions.credentials_for(request())
    sts.run()
    sts.clock.advance(449)
    assert Key(credentials).found
    assert not sts.waiting
    sts.clock.advance(1)
    assert Key(credentials).found
    assert len(sts.waiting) == 1


def test_a_session_without_requests_is_not_renewed_and_waits_later() -> None:
    sts = FakeSts()
    credentials = sts.sessions.credentials_for(request())
    sts.run()
    sts.clock.advance(LIFE_SECONDS - WAIT_FROM_SECONDS)
    assert not sts.waiting
    key = Key(credentials)
    assert not key.found
    sts.run()
    assert key.found == ["alice-2"]


def test_old_credentials_count_while_sts_fails() -> None:
    sts = FakeSts()
    credentials = sts.sessions.credentials_for(request())
    sts.run()
    sts.clock.advance(DUE_SECONDS)
    sts.faults = [DENIED] * 1000
    while sts.clock.seconds() < LIFE_SECONDS - LAST_SECONDS - PAUSE_SECONDS:
        key = Key(credentials)
        sts.run()
        assert key.found == ["alice-1"]
        sts.clock.advance(PAUSE_SECONDS)
    failed = sts.events.names().count("session-credentials-failed")
    assert failed == len(sts.asked) - 1
    assert AHEAD_SECONDS / PAUSE_SECONDS - 3 <= failed <= AHEAD_SECONDS / PAUSE_SECONDS
    sts.clock.advance(LIFE_SECONDS - LAST_SECONDS - sts.clock.seconds())
    key = Key(credentials)
    sts.run()
    assert isinstance(key.error, RoleNotAssumed)
    assert "AccessDenied: not authorized" in key.error.message


def test_what_passes_is_tried_again() -> None:
    sts = FakeSts(faults=[THROTTLED] * len(PAUSES_SECONDS))
    key = Key(sts.sessions.credentials_for(request()))
    for pause_seconds in PAUSES_SECONDS:
        sts.run()
        assert not key.found
        sts.clock.advance(pause_seconds)
    sts.run()
    assert key.found == [f"alice-{len(PAUSES_SECONDS) + 1}"]
    assert sts.events.names() == ["session-credentials-issued"]


def test_a_pause_between_attempts_takes_no_slot() -> None:
    sts = FakeSts(faults=[THROTTLED] * AT_ONCE)
    for number in range(AT_ONCE):
        sts.sessions.credentials_for(request(f"u{number}"))
    sts.run()
    key = Key(sts.sessions.credentials_for(request("late")))
    sts.run()
    assert key.found == [f"late-{AT_ONCE + 1}"]


def test_a_failure_is_told_once_and_counts_for_all_that_come() -> None:
    sts = FakeSts(faults=[DENIED])
    keys = [Key(sts.sessions.credentials_for(request())) for _ in range(500)]
    sts.run()
    assert all(isinstance(key.error, RoleNotAssumed) for key in keys)
    assert isinstance(Key(sts.sessions.credentials_for(request())).error, RoleNotAssumed)
    assert not sts.waiting
    assert sts.events.told == [
        (
            "session-credentials-failed",
            {"user": "alice", "role": ROLE, "code": "AccessDenied", "reason": "not authorized"},
        )
    ]
    sts.clock.advance(PAUSE_SECONDS)
    key = Key(sts.sessions.credentials_for(request()))
    sts.run()
    assert key.found == ["alice-2"]


def test_an_sts_that_never_answers_keeps_no_request() -> None:
    sts = FakeSts()
    credentials = sts.sessions.credentials_for(request())
    keys = [Key(credentials) for _ in range(3)]
    sts.clock.advance(MAX_WAIT_SECONDS)
    assert all(isinstance(key.error, RoleNotAssumed) for key in keys)
    assert len(sts.waiting) == 1
    late = Key(credentials)
    sts.run()  # at last
    assert late.found == ["alice-1"]


def test_a_request_that_leaves_takes_nothing_from_the_others() -> None:
    sts = FakeSts()
    credentials = sts.sessions.credentials_for(request())
    first, second = Key(credentials), Key(credentials)
    first.waiting.cancel()
    sts.run()
    assert second.found == ["alice-1"]


def test_refused_credentials_are_replaced_but_not_all_the_time() -> None:
    sts = FakeSts()
    credentials = sts.sessions.credentials_for(request())
    sts.run()
    assert renewal(credentials, "alice-1") == [False]
    sts.clock.advance(PAUSE_SECONDS)
    renewed = renewal(credentials, "alice-1")
    also = renewal(credentials, "alice-1")  # of another request
    sts.run()
    assert renewed == also == [True]
    assert renewal(credentials, "alice-1") == [True]
    assert renewal(credentials, "alice-2") == [False]
    assert sts.asked == ["alice"] * 2


def test_a_guess_renews_nothing() -> None:
    sts = FakeSts()
    credentials = sts.sessions.credentials_for(request())
    sts.run()
    sts.clock.advance(PAUSE_SECONDS)
    assert renewal(credentials, "alice-1", is_guess=True) == [False]
    assert not sts.waiting


def test_credentials_that_have_expired_already_are_none() -> None:
    sts = FakeSts(life_seconds=LAST_SECONDS)
    key = Key(sts.sessions.credentials_for(request()))
    for pause_seconds in PAUSES_SECONDS:
        sts.run()
        sts.clock.advance(pause_seconds)
    sts.run()
    assert isinstance(key.error, RoleNotAssumed)
    assert "expired" in key.error.message


def test_a_defect_is_told_and_keeps_no_request() -> None:
    sts = FakeSts(faults=[ZeroDivisionError()])
    key = Key(sts.sessions.credentials_for(request()))
    sts.run()
    assert isinstance(key.error, RoleNotAssumed)
    assert sts.events.names() == ["defect"]


def test_what_is_remembered_has_a_bound_and_sessions_keep_their_own() -> None:
    sts = FakeSts()
    first = sts.sessions.credentials_for(request("first"))
    for number in range(MAX_REMEMBERED):
        sts.sessions.credentials_for(request(f"u{number}"))
    sts.run()
    assert Key(first).found
    assert sts.sessions.credentials_for(request("first")) is not first


@pytest.mark.parametrize("number", range(2))
def test_no_secret_is_shown(number: int) -> None:
    issued = IssuedCredentials(ReadOnlyCredentials("AK", "SECRET", "TOKEN"), 1.0)
    shown = (repr(issued), repr(request(policy="POLICY")))[number]
    assert not any(each in shown for each in ("SECRET", "TOKEN", "POLICY"))
