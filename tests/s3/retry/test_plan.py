"""Faults: their meaning, and whether a request is sent again."""

from __future__ import annotations

import pytest

from sftpgw import errors
from sftpgw.s3.error_codes import (
    BAD_ANSWER,
    CERTIFICATE_REFUSED,
    CONNECT_FAILED,
    CONNECTION_LOST,
    CUT_BODY,
    PROXY_REFUSED,
    SETTINGS_UNUSABLE,
    TIMED_OUT,
    TLS_FAILED,
    TRANSCODED,
    UNEXPLAINED,
    Remedy,
)
from sftpgw.s3.retry.plan import (
    FIRST_WAIT_SECONDS,
    LONGEST_WAIT_SECONDS,
    MAX_RENEWALS,
    MAX_RESENDS,
    Fault,
    RetryPlan,
    TryAgain,
    asks_for_fewer,
    error_class,
    may_have_happened,
    remedy_for,
)

SLOW_DOWN = Fault("SlowDown", 503)


@pytest.mark.parametrize(
    ("fault", "remedy", "kind"),
    [
        (Fault("NoSuchKey", 404), Remedy.NONE, errors.NoSuchObject),
        (Fault("", 404), Remedy.NONE, errors.NoSuchObject),
        (Fault("NoSuchBucket", 404), Remedy.NONE, errors.NoSuchBucket),
        (Fault("NoSuchUpload", 404), Remedy.NONE, errors.NoSuchUpload),
        (Fault("AccessDenied", 403), Remedy.NONE, errors.AccessDenied),
        (Fault("", 403), Remedy.NONE, errors.AccessDenied),
        (Fault("SignatureDoesNotMatch", 403), Remedy.NONE, errors.AccessDenied),
        (Fault("InvalidObjectState", 403), Remedy.NONE, errors.ObjectArchived),
        (Fault("ObjectNotInActiveTierError", 403), Remedy.NONE, errors.ObjectArchived),
        (Fault("PreconditionFailed", 412), Remedy.NONE, errors.PreconditionFailed),
        (Fault("", 412), Remedy.NONE, errors.PreconditionFailed),
        (Fault("InvalidRange", 416), Remedy.NONE, errors.RangeNotSatisfiable),
        (Fault("NotImplemented", 501), Remedy.NONE, errors.NotImplementedByStore),
        (Fault("EntityTooSmall", 400), Remedy.NONE, errors.StoreError),
        (Fault("BucketAlreadyExists", 409), Remedy.NONE, errors.StoreError),
        (Fault("PermanentRedirect", 301), Remedy.NONE, errors.StoreError),
        (Fault("RequestTimeout", 400), Remedy.WAIT, errors.StoreUnavailable),
        (Fault("SlowDown", 503), Remedy.WAIT, errors.StoreUnavailable),
        (Fault("InternalError", 500), Remedy.WAIT, errors.StoreUnavailable),
        (Fault("Unheard-of", 500), Remedy.WAIT, errors.StoreUnavailable),
        (Fault("", 502), Remedy.WAIT, errors.StoreUnavailable),
        (Fault("", 504), Remedy.WAIT, errors.StoreUnavailable),
        (Fault("", 429), Remedy.WAIT, errors.StoreUnavailable),
        (Fault("OperationAborted", 409), Remedy.WAIT, errors.StoreUnavailable),
        (Fault("ConditionalRequestConflict", 409), Remedy.WAIT, errors.ConditionalConflict),
        (
            Fault("ConditionalRequestConflict", 409, is_final=True),
            Remedy.NONE,
            errors.ConditionalConflict,
        ),
        (Fault(CONNECTION_LOST), Remedy.WAIT, errors.StoreUnavailable),
        (Fault(CONNECT_FAILED), Remedy.WAIT, errors.StoreUnavailable),
        (Fault(TIMED_OUT), Remedy.WAIT, errors.StoreUnavailable),
        (Fault(BAD_ANSWER), Remedy.RESEND, errors.StoreUnavailable),
        (Fault(TLS_FAILED), Remedy.RESEND, errors.StoreUnreachable),
        (Fault(CERTIFICATE_REFUSED), Remedy.NONE, errors.StoreUnreachable),
        (Fault(PROXY_REFUSED), Remedy.NONE, errors.StoreUnreachable),
        (Fault(SETTINGS_UNUSABLE), Remedy.NONE, errors.StoreUnreachable),
        (Fault(TRANSCODED, 200), Remedy.ASK_FOR_STORED_BYTES, errors.StoreError),
        (Fault("KMS.ThrottlingException", 400), Remedy.WAIT, errors.StoreUnavailable),
        (Fault("KMS.DependencyTimeoutException", 400), Remedy.WAIT, errors.StoreUnavailable),
        (Fault("KMS.DisabledException", 400), Remedy.NONE, errors.StoreError),
        (Fault("PriorRequestNotComplete", 400), Remedy.WAIT, errors.StoreUnavailable),
        (Fault("RequestLimitExceeded", 503), Remedy.WAIT, errors.StoreUnavailable),
        # The code decides, in whatever it comes.
        (Fault("AccessDenied", 500), Remedy.NONE, errors.AccessDenied),
        (Fault("NoSuchUpload", 500), Remedy.NONE, errors.NoSuchUpload),
        (Fault("EntityTooSmall", 500), Remedy.NONE, errors.StoreError),
        (Fault("InvalidPart", 500), Remedy.NONE, errors.StoreError),
        (Fault("ExistingObjectIsDirectory", 500), Remedy.NONE, errors.StoreError),
        (Fault("", 501), Remedy.NONE, errors.NotImplementedByStore),
        (Fault("", 507), Remedy.NONE, errors.StoreUnavailable),
        (Fault(CUT_BODY), Remedy.WAIT, errors.StoreUnavailable),
        (
            Fault("ExpiredToken", 400),
            Remedy.REFRESH_CREDENTIALS,
            errors.CredentialsUnavailable,
        ),
        (Fault(UNEXPLAINED, 400), Remedy.REFRESH_CREDENTIALS, errors.StoreError),
        (Fault("RequestTimeTooSkewed", 403), Remedy.CORRECT_CLOCK, errors.AccessDenied),
    ],
)
def test_each_fault_has_its_remedy_and_error(
    fault: Fault, remedy: Remedy, kind: type[errors.StoreError]
) -> None:
    assert remedy_for(fault) is remedy
    assert error_class(fault) is kind


def test_a_bare_404_is_what_the_request_says() -> None:
    assert error_class(Fault("", 404), errors.NoSuchUpload) is errors.NoSuchUpload
    assert error_class(Fault("NoSuchBucket", 404), errors.NoSuchUpload) is errors.NoSuchBucket


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        (Fault(CONNECTION_LOST), True),
        (Fault(TIMED_OUT), True),
        (Fault(CONNECT_FAILED), False),
        (Fault(CERTIFICATE_REFUSED), False),
        (Fault(PROXY_REFUSED), False),
        (Fault("InternalError", 500), True),
        (SLOW_DOWN, True),
        (Fault("PreconditionFailed", 412), False),
        (Fault("AccessDenied", 403), False),
    ],
)
def test_faults_after_which_a_write_may_have_happened(fault: Fault, expected: bool) -> None:
    assert may_have_happened(fault) is expected


def plan(max_attempts: int = 5, random: float = 0.5) -> RetryPlan:
    return RetryPlan(max_attempts, lambda: random, now_seconds=0.0, deadline_seconds=100.0)


def waits(retries: RetryPlan, fault: Fault, count: int) -> list[float]:
    found = []
    for _ in range(count):
        again = retries.after(fault, 0.0)
        assert again is not None
        found.append(again.wait_seconds)
    return found


def test_waits_double_up_to_a_bound() -> None:
    found = waits(plan(100, random=1.0), SLOW_DOWN, 50)
    assert found[:3] == [FIRST_WAIT_SECONDS, FIRST_WAIT_SECONDS * 2, FIRST_WAIT_SECONDS * 4]
    assert found[-1] == LONGEST_WAIT_SECONDS


@pytest.mark.parametrize("code", [BAD_ANSWER, TLS_FAILED, "BadDigest"])
def test_faults_that_are_likely_to_stay_fail_within_two_seconds(code: str) -> None:
    retries = plan(100, random=1.0)
    assert sum(waits(retries, Fault(code), MAX_RESENDS)) < 2.0
    assert retries.after(Fault(code), 0.0) is None


def test_waits_are_random_from_nothing_on() -> None:
    assert waits(plan(random=0.0), SLOW_DOWN, 4) == [0.0] * 4


def test_attempts_are_bounded() -> None:
    retries = plan(max_attempts=3)
    waits(retries, SLOW_DOWN, 2)
    assert retries.after(SLOW_DOWN, 0.0) is None


def test_a_single_attempt_is_not_repeated() -> None:
    assert plan(max_attempts=1).after(SLOW_DOWN, 0.0) is None


def test_a_wait_beyond_the_deadline_is_not_begun() -> None:
    in_time, late = plan(random=0.0), plan(random=0.0)
    for retries in (in_time, late):
        assert retries.after(SLOW_DOWN, 1.0) is not None
    assert in_time.after(SLOW_DOWN, 100.0) is not None
    assert late.after(SLOW_DOWN, 100.1) is None


def test_a_first_failure_may_be_late() -> None:
    """After a timeout that uses up all the time, one more attempt follows."""
    retries = plan()
    assert retries.after(Fault(TIMED_OUT), 300.0) is not None
    assert retries.after(Fault(TIMED_OUT), 300.0) is None


def test_retry_after_is_a_lower_bound() -> None:
    again = plan().after(Fault("SlowDown", 503, retry_after_seconds=7.0), 0.0)
    assert again == TryAgain(7.0, Remedy.WAIT)
    assert plan().after(Fault("SlowDown", 503, retry_after_seconds=101.0), 0.0) is None


@pytest.mark.parametrize("code", ["ExpiredToken", "RequestTimeTooSkewed"])
def test_credentials_and_clock_are_put_right_once_and_at_once(code: str) -> None:
    retries, fault = plan(), Fault(code, 400)
    assert retries.after(fault, 0.0) == TryAgain(0.0, remedy_for(fault))
    assert retries.after(fault, 0.0) is None


def test_permanent_faults_are_not_retried() -> None:
    assert plan().after(Fault("AccessDenied", 403), 0.0) is None


def test_progress_starts_afresh_but_not_for_ever() -> None:
    retries, fault, rounds = plan(max_attempts=2, random=0.0), Fault(CUT_BODY), 0
    while retries.after(fault, rounds * 90.0) is not None:
        rounds += 1
        retries.progressed(rounds * 90.0)
    assert rounds == MAX_RENEWALS + 1


def test_time_in_the_queue_does_not_count_against_the_deadline() -> None:
    plan = RetryPlan(10, lambda: 0.0, 0.0, 20.0)
    plan.queued(100.0)
    assert plan.after(Fault("SlowDown", 503), 110.0) is not None
    assert plan.after(Fault("SlowDown", 503), 119.0) is not None
    assert plan.after(Fault("SlowDown", 503), 121.0) is None


@pytest.mark.parametrize(
    ("fault", "does"),
    [
        (Fault("SlowDown", 503), True),
        (Fault("", 503), True),
        (Fault("", 429), True),
        (Fault("TooManyRequests", 400), True),
        (Fault("SlowDown", 500), True),
        (Fault("KMS.ThrottlingException", 400), True),
        (Fault("KMS.DisabledException", 400), False),
        (Fault("InternalError", 500), False),
        (Fault("InternalError", 503), False),
        (Fault("XMinioServerNotInitialized", 503), False),
        (Fault(TIMED_OUT), False),
    ],
)
def test_responses_that_ask_for_fewer_requests(fault: Fault, does: bool) -> None:
    assert asks_for_fewer(fault) is does
