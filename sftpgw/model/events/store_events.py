"""Events of the store: requests that failed, what it can do, how much it takes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, TypedDict

from sftpgw.model.events import Event, EventLevel

# Requests.


class S3RequestFacts(TypedDict):
    """The fields of an `S3RequestEvent`, for an event that is chosen later."""

    operation: str
    bucket: str
    key: str
    status: int
    code: str
    reason: str
    request_id: str
    attempt: int
    seconds: float


@dataclass(frozen=True, kw_only=True)
class S3RequestEvent(Event):
    """A request to the store was not answered with success.

    :param operation: the operation of the S3 API.
    :param bucket: the bucket.
    :param key: the key, empty for a request about the bucket.
    :param status: the HTTP status, 0 without a response.
    :param code: the store's error code.
    :param reason: the store's words.
    :param request_id: the store's id of the request.
    :param attempt: which attempt this was, from 1.
    :param seconds: how long the attempt took.
    """

    operation: str
    bucket: str
    key: str
    status: int
    code: str
    reason: str
    request_id: str
    attempt: int
    seconds: float


@dataclass(frozen=True, kw_only=True)
class S3RequestFailed(S3RequestEvent):
    """The store has refused a request, for a reason that no retry mends."""

    event_name: ClassVar[str] = "s3-request-failed"
    level: ClassVar[EventLevel] = EventLevel.WARNING
    advice: ClassVar[str] = (
        "``AccessDenied``: allow the ``operation`` on the ``key`` in the policy of the gateway's "
        "credentials. Another ``code``: look it up in the list of error codes of S3; the "
        "operator of the store finds the request by its ``request_id``."
    )


@dataclass(frozen=True, kw_only=True)
class S3GaveUp(S3RequestEvent):
    """A request was repeated for as long as the configuration allows, and never succeeded."""

    event_name: ClassVar[str] = "s3-gave-up"
    level: ClassVar[EventLevel] = EventLevel.WARNING
    advice: ClassVar[str] = (
        "The store is down, overloaded or not reachable; ``code`` and ``reason`` say which. "
        "``sftpgw check`` shows whether it can be reached now. To wait longer for it, raise "
        "``[s3] retry_time``."
    )


@dataclass(frozen=True, kw_only=True)
class S3RequestRetried(S3RequestEvent):
    """A request has failed and is repeated.

    :param wait_seconds: how long the gateway waits before that.
    """

    event_name: ClassVar[str] = "s3-request-retried"
    leading: ClassVar[tuple[str, ...]] = ("wait_seconds",)

    wait_seconds: float


@dataclass(frozen=True, kw_only=True)
class S3RequestDropped(S3RequestEvent):
    """A request has failed and is not repeated: the client that needed it is gone."""

    event_name: ClassVar[str] = "s3-request-dropped"


@dataclass(frozen=True, kw_only=True)
class CredentialsUnavailableEvent(Event):
    """The gateway has no credentials for the store.

    :param reason: what went wrong.
    """

    event_name: ClassVar[str] = "credentials-unavailable"
    advice: ClassVar[str] = (
        "Set ``access_key`` and ``secret_key``, or mend what the AWS chain finds: environment, "
        "profile, web identity, container, instance."
    )

    reason: str


@dataclass(frozen=True, kw_only=True)
class RegionFollowed(Event):
    """The bucket is in another region than configured; requests go there from now on.

    :param bucket: the bucket.
    :param region: its region.
    """

    event_name: ClassVar[str] = "region-followed"
    advice: ClassVar[str] = "Write the region into ``[s3] region``, which saves requests."

    bucket: str
    region: str


@dataclass(frozen=True, kw_only=True)
class ClockCorrected(Event):
    """The store's clock differs so much that it refused a signature; the gateway signs by its time.

    :param offset_seconds: how far the store's clock is ahead.
    """

    event_name: ClassVar[str] = "clock-corrected"
    level: ClassVar[EventLevel] = EventLevel.WARNING
    advice: ClassVar[str] = (
        "Set the clock of this machine, or of the store: one of them is wrong. Synchronize them "
        "with NTP."
    )

    offset_seconds: float


# Buckets.


@dataclass(frozen=True, kw_only=True)
class BucketUnusable(Event):
    """At its start, the gateway could not use a bucket of some user.

    :param bucket: the bucket.
    :param reason: what the store said.
    """

    event_name: ClassVar[str] = "bucket-unusable"
    level: ClassVar[EventLevel] = EventLevel.WARNING
    advice: ClassVar[str] = (
        "Run ``sftpgw check --config FILE``, which tries out more and says what to change: the "
        "bucket's name, the credentials, the endpoint or the network."
    )

    bucket: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class CapabilitiesKnown(Event):
    """It is known what the store can do with a bucket.

    :param bucket: the bucket.
    :param source: how: ``probe``, ``refusal`` of a request, or ``unsupported`` of ``[s3]``.
    :param lacking: what the store cannot do, as ``[s3] unsupported`` names it.
    :param checksum: the checksum that is sent with each body.
    """

    event_name: ClassVar[str] = "capabilities-known"

    bucket: str
    source: str
    lacking: str
    checksum: str


@dataclass(frozen=True, kw_only=True)
class CapabilitiesUnknown(Event):
    """What the store can do with a bucket could not be tried out; it is taken to do all.

    :param bucket: the bucket.
    :param code: the store's error code.
    :param reason: the store's words.
    """

    event_name: ClassVar[str] = "capabilities-unknown"
    advice: ClassVar[str] = (
        "Allow the gateway to write, read and delete under ``[s3] state_prefix``, or set "
        "``probe = no`` and name under ``unsupported`` what the store cannot do."
    )

    bucket: str
    code: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class ThrottlingBegan(Event):
    """The store has asked for fewer requests to a bucket; the gateway's requests wait in a queue.

    :param bucket: the bucket.
    :param in_flight: how many requests are under way at once.
    """

    event_name: ClassVar[str] = "throttling-began"
    level: ClassVar[EventLevel] = EventLevel.WARNING
    advice: ClassVar[str] = (
        "Transfers become slower, none fails for it. If it comes often: spread the users over "
        "more prefixes or buckets, use larger files, or ask the operator of the store for a "
        "higher rate."
    )

    bucket: str
    in_flight: int


@dataclass(frozen=True, kw_only=True)
class ThrottlingEnded(Event):
    """The store takes all requests to a bucket again.

    :param bucket: the bucket.
    :param seconds: how long requests have waited in a queue.
    :param refusals: how often the store has asked for fewer.
    """

    event_name: ClassVar[str] = "throttling-ended"

    bucket: str
    seconds: float
    refusals: int


@dataclass(frozen=True, kw_only=True)
class RequestsWaiting(Event):
    """As many requests to stores are under way as may be, and others wait for them.

    It is told after a second of that, and once a minute while it lasts.

    :param setting: the setting that bounds them.
    :param at_once: how many may be under way.
    :param waiting: how many wait now.
    :param users: of how many users these are.
    :param seconds: for how long there were always some that wait.
    """

    event_name: ClassVar[str] = "requests-waiting"
    level: ClassVar[EventLevel] = EventLevel.WARNING
    advice: ClassVar[str] = (
        "Users get turns, and none fails for it; all become slower. If the store is slow, look "
        "there first. If it is not: raise ``[s3] max_requests``, and the limit of descriptors that "
        "it is derived from (``LimitNOFILE``), or start another gateway. If one user has most of "
        "them, lower ``[limits] requests_per_user``."
    )

    setting: str
    at_once: int
    waiting: int
    users: int
    seconds: float
