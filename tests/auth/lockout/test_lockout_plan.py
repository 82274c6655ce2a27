"""How failures add up: properties that hold for every history of failures and logins."""

from __future__ import annotations

from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sftpgw.auth.lockout.plan import (
    EMPTY,
    MOST_POINTS,
    GuessFailure,
    Standing,
    after_failure,
    after_login,
    ban_seconds,
    delay_seconds,
    failures_in_window,
    is_banned,
    is_known,
    points_of,
    with_delay_up_to,
    without_failures,
)
from sftpgw.model.settings import LockoutSettings

SETTINGS = LockoutSettings()
WRONG, CODE, UNKNOWN = (
    GuessFailure.WRONG_PASSWORD,
    GuessFailure.WRONG_CODE,
    GuessFailure.UNKNOWN_NAME,
)

settings_of = st.builds(
    LockoutSettings,
    window_seconds=st.floats(10, 86400),
    delay_after=st.integers(0, 20),
    max_delay_seconds=st.floats(0, 30),
    address_score=st.integers(1, 50),
    ban_seconds=st.floats(1, 86400),
    max_ban_seconds=st.floats(86400, 365 * 86400.0),
)
steps = st.lists(
    st.tuples(st.floats(0, 200_000), st.sampled_from([*GuessFailure, None])), max_size=60
)


def failed(standing: Standing, now: float, failure: GuessFailure = WRONG) -> Standing:
    score = SETTINGS.address_score
    return after_failure(
        standing, failure, SETTINGS, now, points=points_of(failure), ban_score=score
    )


@given(settings=settings_of, history=steps)
def test_every_history_keeps_the_bounds(
    settings: LockoutSettings, history: list[tuple[float, GuessFailure | None]]
) -> None:
    now, standing = 0.0, EMPTY
    for passed, failure in history:
        now += passed
        before = standing
        if failure is None:
            standing = after_login(standing, "alice", now, forgives=False)
            assert standing.score == before.score, "a login takes nothing back"
        else:
            standing = after_failure(
                standing,
                failure,
                settings,
                now,
                points=points_of(failure, is_new_name=len(history) % 2 == 0),
                ban_score=settings.address_score,
            )
        assert standing.score >= 0
        assert standing.failures >= 0
        assert 0 <= standing.score < settings.address_score + MOST_POINTS or is_banned(
            standing, now
        )
        assert standing.banned_until_seconds <= now + settings.max_ban_seconds, "a ban ends"
        assert not is_banned(standing, max(now, standing.banned_until_seconds))
        if is_banned(before, now):
            assert standing.banned_until_seconds == before.banned_until_seconds, (
                "failures in spite of a ban do not draw it out"
            )
        assert 0 <= delay_seconds(standing.failures, settings) <= settings.max_delay_seconds


@given(settings=settings_of, bans=st.integers(1, 10_000))
def test_bans_grow_up_to_their_bound(settings: LockoutSettings, bans: int) -> None:
    first, second = ban_seconds(bans, settings), ban_seconds(bans + 1, settings)
    assert settings.ban_seconds <= first <= second <= settings.max_ban_seconds
    assert second == pytest.approx(min(2 * first, settings.max_ban_seconds))


@given(settings=settings_of, failures=st.integers(0, 100_000))
def test_delays_grow_up_to_their_bound(settings: LockoutSettings, failures: int) -> None:
    delay = delay_seconds(failures, settings)
    assert delay <= delay_seconds(failures + 1, settings) <= settings.max_delay_seconds
    assert (delay > 0) is (failures >= settings.delay_after and settings.max_delay_seconds > 0)


def test_the_points_that_ban() -> None:
    for failure, count in ((WRONG, 20), (CODE, 10), (UNKNOWN, 20)):
        standing = EMPTY
        for number in range(count):
            assert not is_banned(standing, 1.0), f"after {number} times {failure.value}"
            standing = failed(standing, 1.0, failure)
        assert is_banned(standing, 1.0)
        assert (standing.ban_score, standing.reason) == (20, failure.value)


def test_the_delay_does_not_tell_whether_a_name_exists() -> None:
    wrong, unknown = EMPTY, EMPTY
    for _ in range(9):
        wrong, unknown = failed(wrong, 1.0), failed(unknown, 1.0, UNKNOWN)
        failures = [failures_in_window(each, 1.0) for each in (wrong, unknown)]
        assert delay_seconds(failures[0], SETTINGS) == delay_seconds(failures[1], SETTINGS)


def test_failures_count_in_a_window() -> None:
    standing = EMPTY
    for _ in range(19):
        standing = failed(standing, 100.0)
    assert failures_in_window(standing, 699.9) == 19
    assert failures_in_window(standing, 700.0) == 0
    standing = failed(standing, 700.0)
    assert (standing.failures, standing.score) == (1, 1)


def test_a_ban_is_twice_as_long_each_time_and_starts_over_after_a_good_while() -> None:
    standing, now, lengths = EMPTY, 0.0, []
    for _ in range(10):
        while not is_banned(standing, now):
            standing = failed(standing, now)
        lengths.append(standing.banned_until_seconds - now)
        now = standing.banned_until_seconds
    assert lengths == [600.0 * 2**number for number in range(8)] + [86400.0] * 2
    now += SETTINGS.max_ban_seconds
    while not is_banned(standing, now):
        standing = failed(standing, now)
    assert standing.banned_until_seconds - now == 600.0


def test_without_a_ban_score_nothing_bans() -> None:
    standing = EMPTY
    for _ in range(10_000):
        standing = after_failure(standing, UNKNOWN, SETTINGS, 1.0, points=3, ban_score=None)
    assert not is_banned(standing, 1.0)


def test_a_login_makes_known_for_a_while_and_outlives_an_unban() -> None:
    login = partial(after_login, user="alice", now_seconds=5.0)
    standing = login(failed(EMPTY, 1.0), forgives=True)
    assert (standing.failures, standing.score) == (0, 0)
    cleared = without_failures(standing)
    for each in (standing, cleared):
        assert is_known(each, SETTINGS, 5.0 + SETTINGS.known_seconds - 1)
        assert not is_known(each, SETTINGS, 5.0 + SETTINGS.known_seconds)
    assert not is_known(EMPTY, SETTINGS, 0.0)


def test_a_delay_leaves_time_for_the_login() -> None:
    assert with_delay_up_to(2.5, SETTINGS).max_delay_seconds == 2.5
    assert with_delay_up_to(15.0, SETTINGS) == SETTINGS
