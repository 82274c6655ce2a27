"""Whether a request that failed is sent again, after how long, and with which remedy.

Knows: what the error codes and statuses of `s3/error_codes` ask for, and how long to wait.
Must not know: how a request is sent, which clock runs, where random numbers come from.

Rules:

1. The error code decides. The status decides only where there is no code (responses to HEAD have
   no body) or an unknown one: ``RequestTimeout`` is a 400 and passes, ``InvalidObjectState`` is a
   403 and does not.
2. After an error that passes, the request is sent again after a random wait ("full jitter"), whose
   bound doubles each time. ``Retry-After`` is a lower bound.
3. Expired credentials are refreshed once, a wrong clock is corrected once, a bucket is followed to
   another region once. Each time the request is sent again at once.
4. After an error that is likely to stay, the request is sent again a few times within a second or
   two: bytes damaged on the way (BadDigest; a store that computes a checksum wrongly will always
   do so), responses that make no sense, TLS that fails. A certificate that does not verify, and a
   proxy that refuses, fail at once.
5. The number of attempts and their time are bounded, wide enough for the restart of a store. A
   single wait stays short, so that the store is found soon after it is back. A first failure may
   be late: one more attempt follows even if a timeout has used up all the time.
6. Progress (received bytes of a body) starts the count of attempts afresh, a bounded number of
   times.

Requests are also sent again elsewhere, when it is not the same request any more. In
`CapabilityFallbacks.send` it leaves out what the store lacks; in `EditedBase.ask` it names the
object's new key; in `Copier` a copy in parts begins anew, without checksums. And
`ResumableGet.next_request` makes the request of each attempt that this module allows: for the
bytes that are still missing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from sftpgw.aio.backoff import random_wait_seconds
from sftpgw.errors import NoSuchObject, StoreError, StoreUnavailable
from sftpgw.s3.error_codes import (
    ERROR_BY_STATUS,
    MEANINGS,
    MISSING_CODES,
    NOT_SENT,
    OTHER_REGION_STATUSES,
    SLOW_DOWN,
    SLOW_DOWN_STATUSES,
    WAIT_STATUSES,
    Remedy,
)

FIRST_WAIT_SECONDS = 0.2
LONGEST_WAIT_SECONDS = 10.0
MAX_RESENDS = 3
MAX_RENEWALS = 20


@dataclass(frozen=True, slots=True)
class Fault:
    """Why an attempt failed.

    :param code: S3's error code, or one of the gateway's (`s3/error_codes`).
    :param status: the HTTP status; 0 without a response.
    :param retry_after_seconds: the ``Retry-After`` header, 0 without one.
    :param is_final: the same request would fail again, whatever the code says (`CONFLICTS`,
        `DAMAGE`).
    :param other_region: the bucket's region, if the request was sent to another one.
    """

    code: str
    status: int = 0
    retry_after_seconds: float = 0.0
    is_final: bool = False
    other_region: str = ""


def remedy_for(fault: Fault) -> Remedy:
    """What may help against `fault`, if attempts and time are left."""
    if fault.is_final:
        return Remedy.NONE
    if fault.other_region and fault.status in OTHER_REGION_STATUSES:
        return Remedy.FOLLOW_REGION
    if fault.code in MEANINGS:
        return MEANINGS[fault.code].remedy
    return Remedy.WAIT if fault.status in WAIT_STATUSES else Remedy.NONE


def may_have_happened(fault: Fault) -> bool:
    """Whether the store may have carried out the request that failed with `fault`."""
    if fault.status == 0:
        return fault.code not in NOT_SENT
    return fault.status >= 500


def asks_for_fewer(fault: Fault) -> bool:
    """Whether the store gets more requests at once than it wants (`s3/throttle/plan`)."""
    if fault.code in SLOW_DOWN:
        return True
    has_remedy = fault.code in MEANINGS and MEANINGS[fault.code].remedy is not Remedy.NONE
    return fault.status in SLOW_DOWN_STATUSES and not has_remedy


def error_class(fault: Fault, missing: type[StoreError] = NoSuchObject) -> type[StoreError]:
    """The class to raise for `fault` when the request is not sent again.

    :param fault: why the last attempt failed.
    :param missing: the class for a 404 without a known code.
    """
    meaning = MEANINGS.get(fault.code)
    if meaning is not None and meaning.error is not None:
        return meaning.error
    if fault.status == 404:
        return missing if fault.code in MISSING_CODES else StoreError
    if fault.status in ERROR_BY_STATUS:
        return ERROR_BY_STATUS[fault.status]
    if fault.status == 0 or fault.status >= 500 or remedy_for(fault) is Remedy.WAIT:
        return StoreUnavailable
    return StoreError


@dataclass(frozen=True, slots=True)
class TryAgain:
    """Send again, after `wait_seconds` and the remedy."""

    wait_seconds: float
    remedy: Remedy


class RetryPlan:
    """The attempts of one request.

    :param max_attempts: how many attempts in all; those that follow another remedy than
        `Remedy.WAIT` or `Remedy.RESEND` do not count.
    :param random: returns a number in [0, 1).
    :param now_seconds: when the first attempt starts, by the same clock as in `after`.
    :param deadline_seconds: how long after that the last attempt may start.
    """

    def __init__(
        self,
        max_attempts: int,
        random: Callable[[], float],
        now_seconds: float,
        deadline_seconds: float,
    ) -> None:
        self._max_attempts = max_attempts
        self._random = random
        self._give_up_at = now_seconds + deadline_seconds
        self._deadline_seconds = deadline_seconds
        self._failures = 0
        self._resends = 0
        self._renewals = 0
        self._used: set[Remedy] = set()

    def progressed(self, now_seconds: float) -> None:
        """Bytes arrived before the fault: attempts and time start afresh, `MAX_RENEWALS` times."""
        if self._renewals < MAX_RENEWALS:
            self._renewals += 1
            self._failures = 0
            self._give_up_at = now_seconds + self._deadline_seconds

    def queued(self, seconds: float) -> None:
        """The request has waited this long for a slot; that does not count as time of attempts."""
        self._give_up_at += seconds

    def after(self, fault: Fault, now_seconds: float) -> TryAgain | None:
        """What to do after a failed attempt; None: give up."""
        remedy = remedy_for(fault)
        if remedy is Remedy.NONE:
            return None
        if remedy is Remedy.RESEND:
            self._resends += 1
            if self._resends > MAX_RESENDS:
                return None
        elif remedy is not Remedy.WAIT:
            return self._once(remedy)
        self._failures += 1
        wait_seconds = self._wait_seconds(fault)
        if self._failures >= self._max_attempts or self._is_late(now_seconds, wait_seconds):
            return None
        return TryAgain(wait_seconds, remedy)

    def _is_late(self, now_seconds: float, wait_seconds: float) -> bool:
        if self._failures == 1 and wait_seconds <= FIRST_WAIT_SECONDS:
            return False
        return now_seconds + wait_seconds > self._give_up_at

    def _once(self, remedy: Remedy) -> TryAgain | None:
        if remedy in self._used:
            return None
        self._used.add(remedy)
        return TryAgain(0.0, remedy)

    def _wait_seconds(self, fault: Fault) -> float:
        wait_seconds = random_wait_seconds(
            self._failures - 1,
            self._random(),
            first_seconds=FIRST_WAIT_SECONDS,
            longest_seconds=LONGEST_WAIT_SECONDS,
        )
        return max(wait_seconds, fault.retry_after_seconds)
