"""Where credentials come from and how they stay fresh."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from botocore.credentials import Credentials, RefreshableCredentials
from twisted.internet.defer import CancelledError, Deferred, fail, succeed
from twisted.internet.task import Clock

from sftpgw.aws.credentials import (
    EARLY_REFRESH_PAUSE_SECONDS,
    LAST_SECONDS,
    MAX_WAIT_SECONDS,
    RENEWAL_PAUSE_SECONDS,
    SHORTEST_LIFE_SECONDS,
    RefreshedCredentials,
    StaticCredentials,
    credential_source,
    resolve_credentials,
)
from sftpgw.errors import CredentialsUnavailable
from sftpgw.model.settings import StoreSettings

STATIC = StoreSettings(access_key="AK", secret_key="SK", session_token="ST")


class HeldThread:
    """Replaces a thread: functions run when the test says so."""

    def __init__(self) -> None:
        self.waiting: list[tuple[Callable[[], Any], Deferred[Any]]] = []

    def __call__(self, work: Callable[[], Any]) -> Deferred[Any]:
        done: Deferred[Any] = Deferred()
        self.waiting.append((work, done))
        return done

    def run(self) -> None:
        work, done = self.waiting.pop(0)
        try:
            result = work()
        except Exception as error:
            done.errback(error)
        else:
            done.callback(result)


def at_once(work: Callable[[], Any]) -> Deferred[Any]:
    try:
        return succeed(work())
    except Exception as error:
        return fail(error)


def result_of(waiting: Deferred[Any]) -> Any:
    """The result of a Deferred that has fired; an error is raised."""
    found: list[Any] = []
    waiting.addBoth(found.append)
    assert found, "it has not fired"
    if hasattr(found[0], "raiseException"):
        found[0].raiseException()
    return found[0]


def start(coroutine: Any) -> Deferred[Any]:
    return Deferred.fromCoroutine(coroutine)


def test_configured_keys_are_used_as_they_are() -> None:
    source = credential_source(STATIC, HeldThread(), Clock())
    assert isinstance(source, StaticCredentials)
    found = result_of(start(source.current()))
    assert (found.access_key, found.secret_key, found.token) == ("AK", "SK", "ST")
    assert result_of(start(source.renew(found))) is False


def test_credentials_come_from_the_environment(no_surroundings: pytest.MonkeyPatch) -> None:
    no_surroundings.setenv("AWS_ACCESS_KEY_ID", "EK")
    no_surroundings.setenv("AWS_SECRET_ACCESS_KEY", "ES")
    source = credential_source(StoreSettings(), at_once, Clock())
    assert result_of(start(source.current())).access_key == "EK"


def test_a_role_is_assumed(no_surroundings: pytest.MonkeyPatch, moto_url: str) -> None:
    no_surroundings.setenv("AWS_ENDPOINT_URL_STS", moto_url)
    settings = replace(STATIC, role_arn="arn:aws:iam::123456789012:role/gateway")
    source = credential_source(settings, at_once, Clock())
    found = result_of(start(source.current()))
    assert found.access_key.startswith("ASIA")
    assert found.token


def test_missing_credentials_are_an_error(no_surroundings: pytest.MonkeyPatch) -> None:
    assert resolve_credentials(StoreSettings()) is None
    source = credential_source(StoreSettings(), at_once, Clock())
    with pytest.raises(CredentialsUnavailable, match=r"access_key and secret_key in \[s3\]"):
        result_of(start(source.current()))
    archive = credential_source(StoreSettings(name="archive"), at_once, Clock())
    with pytest.raises(CredentialsUnavailable, match=r"secret_key in \[store archive\]"):
        result_of(start(archive.current()))


def test_all_waiters_share_one_search() -> None:
    thread = HeldThread()
    source = RefreshedCredentials(lambda: Credentials("A", "S"), thread, Clock())
    waiting = [start(source.current()) for _ in range(3)]
    assert len(thread.waiting) == 1
    thread.run()
    assert {result_of(each).access_key for each in waiting} == {"A"}
    assert result_of(start(source.current())).access_key == "A"
    assert thread.waiting == []


def test_one_cancelled_waiter_does_not_cancel_the_others() -> None:
    thread = HeldThread()
    source = RefreshedCredentials(lambda: Credentials("A", "S"), thread, Clock())
    first, second = start(source.current()), start(source.current())
    first.cancel()
    with pytest.raises(CancelledError):
        result_of(first)
    thread.run()
    assert result_of(second).access_key == "A"


def test_a_failure_reaches_all_waiters_and_is_not_remembered() -> None:
    answers: list[Any] = [OSError("secret-in-a-message"), Credentials("A", "S")]

    def resolve() -> Credentials:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    thread = HeldThread()
    source = RefreshedCredentials(resolve, thread, Clock())
    waiting = [start(source.current()) for _ in range(2)]
    thread.run()
    for each in waiting:
        with pytest.raises(CredentialsUnavailable) as missing:
            result_of(each)
        assert "secret" not in str(missing.value)
    again = start(source.current())
    thread.run()
    assert result_of(again).access_key == "A"


def test_refused_credentials_are_looked_for_again() -> None:
    serial = iter(range(1, 9))
    source = RefreshedCredentials(lambda: Credentials(f"A{next(serial)}", "S"), at_once, Clock())
    first = result_of(start(source.current()))
    assert result_of(start(source.renew(first))) is True
    assert result_of(start(source.current())).access_key == "A2"
    # A refusal of the old ones to another request, a moment later, starts no other search.
    assert result_of(start(source.renew(first))) is True
    assert result_of(start(source.current())).access_key == "A2"


def test_the_same_again_is_no_renewal() -> None:
    source = RefreshedCredentials(lambda: Credentials("A", "S"), at_once, Clock())
    first = result_of(start(source.current()))
    assert result_of(start(source.renew(first))) is False


def test_a_guess_does_not_look_for_others_all_the_time() -> None:
    """HEAD of an object with a customer's key is a bare 400, as expired credentials are."""
    serial, clock = iter(range(1, 9)), Clock()
    source = RefreshedCredentials(lambda: Credentials(f"A{next(serial)}", "S"), at_once, clock)
    first = result_of(start(source.current()))
    for _ in range(3):
        assert result_of(start(source.renew(first, is_guess=True))) is False
    assert result_of(start(source.current())) == first
    clock.advance(SHORTEST_LIFE_SECONDS)
    assert result_of(start(source.renew(first, is_guess=True))) is True
    second = result_of(start(source.current()))
    assert second.access_key == "A2"
    assert result_of(start(source.renew(second, is_guess=True))) is False
    # What the store has told for certain is believed at any time.
    assert result_of(start(source.renew(second))) is True


def test_a_wrong_guess_does_not_replace_the_credentials() -> None:
    """Other requests use the old credentials meanwhile, and afterwards if there are no others."""
    found: list[Credentials | Exception] = [Credentials("A", "S"), OSError("no metadata")]
    clock, thread = Clock(), HeldThread()

    def resolve() -> Credentials:
        answer = found.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    source = RefreshedCredentials(resolve, thread, clock)
    waiting = start(source.current())
    thread.run()
    first = result_of(waiting)
    clock.advance(SHORTEST_LIFE_SECONDS)
    guessing = start(source.renew(first, is_guess=True))
    assert result_of(start(source.current())) == first
    thread.run()
    assert result_of(guessing) is False
    assert result_of(start(source.current())) == first


def test_credentials_are_refreshed_before_they_expire() -> None:
    serial = iter(range(1, 9))

    def metadata() -> dict[str, str]:
        soon = datetime.datetime.now(datetime.UTC) + datetime.timedelta(minutes=12)
        return {
            "access_key": f"A{next(serial)}",
            "secret_key": "S",
            "token": "T",
            "expiry_time": soon.isoformat(),
        }

    def resolve() -> RefreshableCredentials:
        return RefreshableCredentials.create_from_metadata(metadata(), metadata, "test")

    clock, thread = Clock(), HeldThread()
    source = RefreshedCredentials(resolve, thread, clock)
    waiting = start(source.current())
    thread.run()
    first = result_of(waiting).access_key
    # Twelve minutes are less than botocore's fifteen, but not every request may ask.
    assert result_of(start(source.current())).access_key == first
    clock.advance(EARLY_REFRESH_PAUSE_SECONDS)
    # No request waits for others while these are still valid.
    assert result_of(start(source.current())).access_key == first
    thread.run()
    assert result_of(start(source.current())).access_key != first


def test_a_refresh_before_the_end_may_fail() -> None:
    """Credentials that are still valid are used, and the next refresh does not begin at once."""

    def resolve() -> RefreshableCredentials:
        soon = datetime.datetime.now(datetime.UTC) + datetime.timedelta(minutes=12)
        found = {
            "access_key": "A",
            "secret_key": "S",
            "token": "T",
            "expiry_time": soon.isoformat(),
        }
        return RefreshableCredentials.create_from_metadata(found, refuse, "test")

    def refuse() -> dict[str, str]:
        raise OSError("no way there")

    asked = []

    def in_thread(work: Callable[[], Any]) -> Deferred[Any]:
        asked.append(work)
        return at_once(work)

    clock = Clock()
    source = RefreshedCredentials(resolve, in_thread, clock)
    assert result_of(start(source.current())).access_key == "A"
    clock.advance(EARLY_REFRESH_PAUSE_SECONDS)
    for _ in range(3):
        assert result_of(start(source.current())).access_key == "A"
    assert len(asked) == 2


@pytest.mark.parametrize("is_silent", [False, True])
def test_credentials_are_used_until_they_expire(is_silent: bool) -> None:
    """The source of credentials may be away for their last two minutes."""
    end = now = datetime.datetime(2030, 1, 1, tzinfo=datetime.UTC)
    now -= datetime.timedelta(minutes=12)

    def refuse() -> dict[str, str]:
        raise OSError("no way there")

    found = RefreshableCredentials("A", "S", "T", end, refuse, "test", time_fetcher=lambda: now)
    clock, thread = Clock(), HeldThread()
    source = RefreshedCredentials(lambda: found, thread, clock)

    def current() -> Any:
        waiting = start(source.current())
        if is_silent and not waiting.called:
            clock.advance(MAX_WAIT_SECONDS)
        elif thread.waiting:
            thread.run()
        return result_of(waiting)

    loading = start(source.current())
    thread.run()
    assert result_of(loading).access_key == "A"
    now = end - datetime.timedelta(seconds=100)
    assert current().access_key == "A"
    assert current().access_key == "A"
    now = end - datetime.timedelta(seconds=LAST_SECONDS / 2)
    with pytest.raises(CredentialsUnavailable):
        current()


def test_a_search_without_end_is_not_waited_for() -> None:
    clock, thread = Clock(), HeldThread()
    source = RefreshedCredentials(lambda: Credentials("A", "S"), thread, clock)
    waiting = start(source.current())
    clock.advance(MAX_WAIT_SECONDS)
    with pytest.raises(CredentialsUnavailable):
        result_of(waiting)
    thread.run()
    assert result_of(start(source.current())).access_key == "A"
    assert not clock.getDelayedCalls()


def test_secrets_are_in_no_repr() -> None:
    assert "SK" not in repr(STATIC)
    assert "ST" not in repr(StoreSettings(session_token="ST-token")).replace("STANDARD", "")


def test_a_bucket_that_refuses_all_credentials_does_not_have_them_renewed_all_the_time() -> None:
    """Each renewal took the credentials from all other requests, and a call of STS."""
    resolved: list[Credentials] = []

    def resolve() -> Credentials:
        resolved.append(Credentials(f"AK{len(resolved)}", "SK", "ST"))
        return resolved[-1]

    clock = Clock()
    source = RefreshedCredentials(resolve, at_once, clock)
    verdicts = []
    for _ in range(100):
        refused = result_of(start(source.current()))
        verdicts.append(result_of(start(source.renew(refused))))
        clock.advance(RENEWAL_PAUSE_SECONDS / 20)
    assert verdicts[:2] == [True, False]
    assert len(resolved) <= 2 + 100 // 20
    clock.advance(RENEWAL_PAUSE_SECONDS)
    assert result_of(start(source.renew(result_of(start(source.current())))))
