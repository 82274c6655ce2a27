"""What an answer of the store means, and whether to ask again.

Knows: S3's error codes and HTTP statuses, which of them pass, and how long to wait.
Must not know: how a request is sent, which clock runs, where randomness comes from.

Rules:

1. The error code decides; the status decides only where there is no code (HEAD
   has no body) or an unknown one. ``RequestTimeout`` is a 400 and passes,
   ``InvalidObjectState`` is a 403 and does not.
2. What passes is tried again after a random wait ("full jitter"), whose bound
   doubles each time. A ``Retry-After`` is a lower bound.
3. Expired credentials are refreshed once, a clock that is off is corrected once, a
   bucket is followed into another region once; then once more, without a wait.
4. What is likely to stay as it is, is tried again a few times within a second or two: bytes that
   were damaged on the way (BadDigest; a store that gets a checksum wrong will never get it right),
   answers that make no sense, TLS that fails. A certificate that does not verify, and a proxy that
   refuses, are told at once.
5. Attempts and time are bounded, so that a store may be away for as long as a restart
   takes. Waits stay short enough that it is found soon after it is back. A first
   failure may be late: one more attempt is made even if a timeout took all the time.
6. Progress (bytes of a body that arrived) makes the attempts start afresh, the
   renewals are bounded too.

The tables name their sources: [S3] is S3's list of error codes, [botocore] what its retry mode
"standard" retries, [KMS] the errors that S3 passes on of keys, with ``KMS.`` before them.

https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html
https://docs.aws.amazon.com/sdkref/latest/guide/feature-retry-behavior.html
https://docs.aws.amazon.com/kms/latest/APIReference/CommonErrors.html
https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from dataclasses import dataclass

from sftpgw.errors import (
    AccessDenied,
    ConditionalConflict,
    CredentialsUnavailable,
    NoSuchBucket,
    NoSuchObject,
    NoSuchUpload,
    NotImplementedByStore,
    ObjectArchived,
    PreconditionFailed,
    RangeNotSatisfiable,
    StoreError,
    StoreUnavailable,
    StoreUnreachable,
)

FIRST_WAIT_SECONDS = 0.2
LONGEST_WAIT_SECONDS = 10.0
RESENDS = 3
RENEWALS = 20


class Remedy(enum.Enum):
    """What may help against a fault."""

    NONE = "none"
    WAIT = "wait"
    RESEND = "resend"
    FOLLOW_REGION = "follow-region"
    REFRESH_CREDENTIALS = "refresh-credentials"
    CORRECT_CLOCK = "correct-clock"
    ASK_FOR_STORED_BYTES = "ask-for-stored-bytes"


# Words of ours for faults that have no S3 code.
CONNECTION_LOST = "ConnectionLost"
CONNECT_FAILED = "ConnectFailed"
TIMED_OUT = "TimedOut"
CERTIFICATE_REFUSED = "CertificateRefused"  # the store has not proved who it is
TLS_FAILED = "TlsFailed"  # it speaks no TLS, or none that we speak
PROXY_REFUSED = "ProxyRefused"
SETTINGS_UNUSABLE = "SettingsUnusable"  # of certificates or the proxy
BAD_ANSWER = "BadAnswer"
TRANSCODED = "Transcoded"  # the store has decompressed what is stored (GCS)
CUT_BODY = "CutBody"
CHECKSUM_DIFFERS = "ChecksumDiffers"  # the store has other bytes for a part than we sent
STORED_DAMAGED = "StoredDamaged"  # the same of a whole object: it is published, so no more tries
UNEXPLAINED = "Unexplained"  # a 400 to HEAD, which is how expired credentials look there

CONFLICTS = frozenset({"ConditionalRequestConflict"})
"""Codes that Complete cannot be repeated after: the parts are to be sent again."""

DAMAGE = frozenset({"BadDigest", "XAmzContentChecksumMismatch", "XAmzContentSHA256Mismatch"})
"""Codes that tell of bytes that are not those of the checksum sent with them."""

_NOT_RECEIVED = frozenset(
    {CONNECT_FAILED, CERTIFICATE_REFUSED, TLS_FAILED, PROXY_REFUSED, SETTINGS_UNUSABLE}
)

_SLOW_DOWN = frozenset(
    {
        "BandwidthLimitExceeded",  # [botocore], 509
        "EC2ThrottledException",  # [botocore]
        "KMS.ThrottlingException",  # [KMS], 400
        "LimitExceededException",  # [botocore]
        "PriorRequestNotComplete",  # [botocore]
        "ProvisionedThroughputExceededException",  # [botocore]
        "RequestLimitExceeded",  # [botocore]
        "RequestThrottled",  # [botocore]
        "RequestThrottledException",  # [botocore]
        "ServiceUnavailable",  # [S3], 503
        "SlowDown",  # [S3], 503
        "SlowDownRead",  # MinIO, 503
        "SlowDownWrite",  # MinIO, 503
        "ThrottledException",  # [botocore]
        "Throttling",  # [botocore]
        "ThrottlingException",  # [botocore]
        "TooManyRequests",  # MinIO, 429
        "TooManyRequestsException",  # [botocore]
    }
)
_SLOW_DOWN_STATUS = frozenset({429, 503})

_REMEDY_BY_CODE = {
    # The network: a restart of the store looks like this.
    CONNECTION_LOST: Remedy.WAIT,
    CONNECT_FAILED: Remedy.WAIT,
    TIMED_OUT: Remedy.WAIT,
    CUT_BODY: Remedy.WAIT,
    # What is likely to stay (rule 4).
    **dict.fromkeys(DAMAGE, Remedy.RESEND),
    CHECKSUM_DIFFERS: Remedy.RESEND,
    BAD_ANSWER: Remedy.RESEND,
    TLS_FAILED: Remedy.RESEND,
    TRANSCODED: Remedy.ASK_FOR_STORED_BYTES,
    # What passes.
    **dict.fromkeys(_SLOW_DOWN, Remedy.WAIT),
    "ConditionalRequestConflict": Remedy.WAIT,  # [S3], 409: "retry"
    "InternalError": Remedy.WAIT,  # [S3], 500: "try again"
    "KMS.DependencyTimeoutException": Remedy.WAIT,  # [KMS]: "you can retry"
    "KMS.KMSInternalException": Remedy.WAIT,  # [KMS]: "can be retried"
    "OperationAborted": Remedy.WAIT,  # [S3], 409: "try again"
    "RequestTimeout": Remedy.WAIT,  # [S3], 400; [botocore]
    "RequestTimeoutException": Remedy.WAIT,  # [botocore]
    "XMinioServerNotInitialized": Remedy.WAIT,  # MinIO while it starts, 503
    # What has a remedy of its own; all of these are 400 and 403.
    "ExpiredToken": Remedy.REFRESH_CREDENTIALS,
    "ExpiredTokenException": Remedy.REFRESH_CREDENTIALS,
    "TokenRefreshRequired": Remedy.REFRESH_CREDENTIALS,
    UNEXPLAINED: Remedy.REFRESH_CREDENTIALS,
    "RequestTimeTooSkewed": Remedy.CORRECT_CLOCK,
    "NotImplemented": Remedy.NONE,
}

_STAYS = frozenset(
    {
        "AuthorizationHeaderMalformed",
        "EntityTooLarge",
        "EntityTooSmall",
        "ExistingObjectIsDirectory",  # SeaweedFS
        "ExistingObjectIsFile",  # SeaweedFS
        "InvalidArgument",
        "InvalidBucketName",
        "InvalidDigest",
        "InvalidEncryptionAlgorithmError",
        "InvalidObjectName",
        "InvalidPart",
        "InvalidPartOrder",
        "InvalidRequest",
        "InvalidStorageClass",
        "InvalidTag",
        "KeyTooLongError",
        "KMS.DisabledException",
        "KMS.KMSInvalidStateException",
        "KMS.NotFoundException",
        "MalformedXML",
        "MetadataTooLarge",
        "MissingContentLength",
        "NoSuchVersion",
        "QuotaExceeded",
    }
)
"""Codes of 4xx in [S3] that stay, should they come with a 500, or within a 200. So do those of
`_ERROR_BY_CODE` that have no remedy."""

_ELSEWHERE = frozenset({301, 307, 400})
"""Statuses that may mean: right, but in another region."""

_REMEDY_BY_STATUS = dict.fromkeys((408, 429, 500, 502, 503, 504), Remedy.WAIT)
"""[botocore], and 408 for what answers so instead of ``RequestTimeout`` (RFC 9110, 15.5.9). Not
501, 505 and 507, nor 400: these tell of what stays."""

_ERROR_BY_CODE: dict[str, type[StoreError]] = {
    CERTIFICATE_REFUSED: StoreUnreachable,
    TLS_FAILED: StoreUnreachable,
    PROXY_REFUSED: StoreUnreachable,
    SETTINGS_UNUSABLE: StoreUnreachable,
    "AccessDenied": AccessDenied,
    "AccountProblem": AccessDenied,
    "AllAccessDisabled": AccessDenied,
    "InvalidAccessKeyId": AccessDenied,
    "InvalidToken": AccessDenied,
    "RequestTimeTooSkewed": AccessDenied,
    "SignatureDoesNotMatch": AccessDenied,
    "ExpiredToken": CredentialsUnavailable,
    "ExpiredTokenException": CredentialsUnavailable,
    "TokenRefreshRequired": CredentialsUnavailable,
    "ConditionalRequestConflict": ConditionalConflict,
    "InvalidObjectState": ObjectArchived,
    "ObjectNotInActiveTierError": ObjectArchived,  # as CopyObject says it
    "InvalidRange": RangeNotSatisfiable,
    "MethodNotAllowed": NotImplementedByStore,
    "BucketNotFound": NoSuchBucket,
    "NoSuchBucket": NoSuchBucket,
    "NoSuchKey": NoSuchObject,
    "NoSuchUpload": NoSuchUpload,
    "NotImplemented": NotImplementedByStore,
    "PreconditionFailed": PreconditionFailed,
}

_ERROR_BY_STATUS: dict[int, type[StoreError]] = {
    401: AccessDenied,
    403: AccessDenied,
    405: NotImplementedByStore,
    412: PreconditionFailed,
    416: RangeNotSatisfiable,
    501: NotImplementedByStore,
}


_MISSING = frozenset(
    {"", "404", "BlobNotFound", "FileNotFound", "KeyNotFound", "NoSuchObject", "NoSuchVersion"}
    | {"NotFound", "ObjectNotFound", "ResourceNotFound"}
)
"""What a 404 may say of an object that is missing. Others say that a key, an account or what else
the gateway has is not known: that is no word about a file."""


@dataclass(frozen=True, slots=True)
class Fault:
    """Why an attempt failed; `status` is 0 and `code` a word of ours without an answer."""

    code: str
    status: int = 0
    retry_after_seconds: float = 0.0
    is_final: bool = False
    """The same request again would not help, whatever the code says (`CONFLICTS`, `DAMAGE`)."""
    other_region: str = ""
    """Where the bucket is, if the request went to another region."""


def remedy_for(fault: Fault) -> Remedy:
    """What may help against `fault`, attempts and time allowing."""
    if fault.is_final:
        return Remedy.NONE
    if fault.other_region and fault.status in _ELSEWHERE:
        return Remedy.FOLLOW_REGION
    if fault.code in _REMEDY_BY_CODE:
        return _REMEDY_BY_CODE[fault.code]
    if fault.code in _STAYS or fault.code in _ERROR_BY_CODE:
        return Remedy.NONE
    return _REMEDY_BY_STATUS.get(fault.status, Remedy.NONE)


def may_have_happened(fault: Fault) -> bool:
    """Whether the store may have done what was asked although the answer is `fault`."""
    if fault.status == 0:
        return fault.code not in _NOT_RECEIVED
    return fault.status >= 500


def asks_for_fewer(fault: Fault) -> bool:
    """Whether the store has more requests at once than it wants (`s3/throttle/plan`)."""
    return fault.code in _SLOW_DOWN or (
        fault.status in _SLOW_DOWN_STATUS and fault.code not in _REMEDY_BY_CODE
    )


def error_class(fault: Fault, missing: type[StoreError] = NoSuchObject) -> type[StoreError]:
    """The class that tells of `fault` once nothing helps any more.

    :param missing: what a 404 without a known code means for the request.
    """
    if fault.code in _ERROR_BY_CODE:
        return _ERROR_BY_CODE[fault.code]
    if fault.code in _STAYS:
        return StoreError
    if fault.status == 404:
        return missing if fault.code in _MISSING else StoreError
    if fault.status in _ERROR_BY_STATUS:
        return _ERROR_BY_STATUS[fault.status]
    if fault.status == 0 or fault.status >= 500 or remedy_for(fault) is Remedy.WAIT:
        return StoreUnavailable
    return StoreError


@dataclass(frozen=True, slots=True)
class TryAgain:
    """Another attempt, after `wait_seconds` and the remedy."""

    wait_seconds: float
    remedy: Remedy


class RetryPlan:
    """The attempts of one request.

    :param max_attempts: of those that wait for better times.
    :param random: a number in [0, 1) each time.
    :param now_seconds: when the first attempt starts, by any clock that
        `after` is told the time of, too.
    :param deadline_seconds: how long after that the last may start.
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
        """Bytes arrived before the fault: attempts and time start afresh, within bounds."""
        if self._renewals < RENEWALS:
            self._renewals += 1
            self._failures = 0
            self._give_up_at = now_seconds + self._deadline_seconds

    def stood_in_line(self, seconds: float) -> None:
        """The request waited so long for its turn: that was not the store's fault, nor its own."""
        self._give_up_at += seconds

    def after(self, fault: Fault, now_seconds: float) -> TryAgain | None:
        """What follows a failed attempt; None: give up."""
        remedy = remedy_for(fault)
        if remedy is Remedy.NONE:
            return None
        if remedy is Remedy.RESEND:
            self._resends += 1
            if self._resends > RESENDS:
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
        # The exponent is bounded, not only its result: 2.0**5000 is an OverflowError.
        doublings = min(self._failures - 1, 20)
        bound = min(LONGEST_WAIT_SECONDS, FIRST_WAIT_SECONDS * 2.0**doublings)
        return max(self._random() * bound, fault.retry_after_seconds)
