"""The error codes of S3 and of stores like it: what may help, and which error they mean.

Knows: each code that the gateway treats on its own, with its source.
Must not know: how often a request is sent again (`s3/retry/plan`), or how a code is read from a
response (`s3/error_responses`).

This is the only table of error codes. Sources: [S3] is S3's list of error codes, [botocore] the
codes that its retry mode "standard" retries, [KMS] errors of the key service, which S3 passes on
with ``KMS.`` before them.

https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html
https://docs.aws.amazon.com/sdkref/latest/guide/feature-retry-behavior.html
https://docs.aws.amazon.com/kms/latest/APIReference/CommonErrors.html
"""

from __future__ import annotations

import enum
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
    StoreUnreachable,
)


class Remedy(enum.Enum):
    """What the gateway does before it sends a request again."""

    NONE = "none"
    """Nothing helps: the request is not sent again."""
    WAIT = "wait"
    RESEND = "resend"
    FOLLOW_REGION = "follow-region"
    REFRESH_CREDENTIALS = "refresh-credentials"
    CORRECT_CLOCK = "correct-clock"
    ASK_FOR_STORED_BYTES = "ask-for-stored-bytes"


# Codes of the gateway, for failures that have no code of S3.
CONNECTION_LOST = "ConnectionLost"
CONNECT_FAILED = "ConnectFailed"
TIMED_OUT = "TimedOut"
CERTIFICATE_REFUSED = "CertificateRefused"  # the certificate does not prove that it is the store
TLS_FAILED = "TlsFailed"  # the server speaks no TLS, or no version that the gateway speaks
PROXY_REFUSED = "ProxyRefused"
SETTINGS_UNUSABLE = "SettingsUnusable"  # the settings for certificates or the proxy
BAD_ANSWER = "BadAnswer"  # the response is not HTTP, or not the document that it should be
TRANSCODED = "Transcoded"  # the store has decompressed the stored object (GCS)
CUT_BODY = "CutBody"  # the body ends before its Content-Length
CHECKSUM_DIFFERS = "ChecksumDiffers"  # the store reports another checksum of a part than was sent
STORED_DAMAGED = "StoredDamaged"  # the same for an object, which is published: no further attempt
UNEXPLAINED = "Unexplained"  # a 400 to HEAD without a code; expired credentials look like this
NOT_WANTED = "Unwanted"  # the request was given up because its result is not wanted any more

CONFLICTS = frozenset({"ConditionalRequestConflict"})
"""Codes after which Complete cannot be repeated: every part must be sent again."""

DAMAGE = frozenset({"BadDigest", "XAmzContentChecksumMismatch", "XAmzContentSHA256Mismatch"})
"""Codes that say that the bytes do not match the checksum that was sent with them."""

NOT_SENT = frozenset(
    {CONNECT_FAILED, CERTIFICATE_REFUSED, TLS_FAILED, PROXY_REFUSED, SETTINGS_UNUSABLE}
)
"""Codes of the gateway after which the store has not received the request."""

CHECKSUMS_REFUSED = frozenset({"InvalidArgument", "InvalidRequest", "NotImplemented"})
"""Codes by which stores refuse to copy a part into an upload with checksums. S3 has no code for
it, since it does not refuse this. MinIO answers InvalidArgument."""

UNEQUAL_PARTS_REFUSED = "InvalidPart"
"""The code by which R2 refuses parts that differ in size. Other stores use it for a missing part,
so that the message must be read, too."""

SLOW_DOWN = frozenset(
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
"""Codes by which a store asks for fewer requests at once."""

SLOW_DOWN_STATUSES = frozenset({429, 503})
"""Statuses that ask for fewer requests where the code says nothing else."""


@dataclass(frozen=True, slots=True)
class CodeMeaning:
    """What the gateway makes of a code.

    :param remedy: what may help.
    :param error: the class to raise when nothing helps any more; None: the status decides.
    """

    remedy: Remedy = Remedy.NONE
    error: type[StoreError] | None = None


_WAIT = CodeMeaning(Remedy.WAIT)
_RESEND = CodeMeaning(Remedy.RESEND)
_STAYS = CodeMeaning(error=StoreError)
_DENIED = CodeMeaning(error=AccessDenied)
_EXPIRED = CodeMeaning(Remedy.REFRESH_CREDENTIALS, CredentialsUnavailable)
_UNREACHABLE = CodeMeaning(error=StoreUnreachable)

MEANINGS: dict[str, CodeMeaning] = {
    # The network. A store that restarts looks like this.
    CONNECTION_LOST: _WAIT,
    CONNECT_FAILED: _WAIT,
    TIMED_OUT: _WAIT,
    CUT_BODY: _WAIT,
    # The settings, or the other end, must change first.
    CERTIFICATE_REFUSED: _UNREACHABLE,
    TLS_FAILED: CodeMeaning(Remedy.RESEND, StoreUnreachable),
    PROXY_REFUSED: _UNREACHABLE,
    SETTINGS_UNUSABLE: _UNREACHABLE,
    # Likely to stay as it is: a few quick attempts.
    **dict.fromkeys(DAMAGE, _RESEND),
    CHECKSUM_DIFFERS: _RESEND,
    BAD_ANSWER: _RESEND,
    TRANSCODED: CodeMeaning(Remedy.ASK_FOR_STORED_BYTES),
    # Passes with time.
    **dict.fromkeys(SLOW_DOWN, _WAIT),
    "ConditionalRequestConflict": CodeMeaning(Remedy.WAIT, ConditionalConflict),  # [S3], 409
    "InternalError": _WAIT,  # [S3], 500: "try again"
    "KMS.DependencyTimeoutException": _WAIT,  # [KMS]: "you can retry"
    "KMS.KMSInternalException": _WAIT,  # [KMS]: "can be retried"
    "OperationAborted": _WAIT,  # [S3], 409: "try again"
    "RequestTimeout": _WAIT,  # [S3], 400; [botocore]
    "RequestTimeoutException": _WAIT,  # [botocore]
    "XMinioServerNotInitialized": _WAIT,  # MinIO while it starts, 503
    # A remedy of its own helps. All of these are 400 and 403.
    "ExpiredToken": _EXPIRED,
    "ExpiredTokenException": _EXPIRED,
    "TokenRefreshRequired": _EXPIRED,
    UNEXPLAINED: CodeMeaning(Remedy.REFRESH_CREDENTIALS),
    "RequestTimeTooSkewed": CodeMeaning(Remedy.CORRECT_CLOCK, AccessDenied),
    # Nothing helps, and the code says which error it is.
    "AccessDenied": _DENIED,
    "AccountProblem": _DENIED,
    "AllAccessDisabled": _DENIED,
    "InvalidAccessKeyId": _DENIED,
    "InvalidToken": _DENIED,
    "SignatureDoesNotMatch": _DENIED,
    "InvalidObjectState": CodeMeaning(error=ObjectArchived),
    "ObjectNotInActiveTierError": CodeMeaning(error=ObjectArchived),  # CopyObject's code for it
    "InvalidRange": CodeMeaning(error=RangeNotSatisfiable),
    "MethodNotAllowed": CodeMeaning(error=NotImplementedByStore),
    "NotImplemented": CodeMeaning(error=NotImplementedByStore),
    "BucketNotFound": CodeMeaning(error=NoSuchBucket),
    "NoSuchBucket": CodeMeaning(error=NoSuchBucket),
    "NoSuchKey": CodeMeaning(error=NoSuchObject),
    "NoSuchUpload": CodeMeaning(error=NoSuchUpload),
    "PreconditionFailed": CodeMeaning(error=PreconditionFailed),
    # Nothing helps: codes of 4xx in [S3] that stay, also with a 500 or within a 200.
    "AuthorizationHeaderMalformed": _STAYS,
    "EntityTooLarge": _STAYS,
    "EntityTooSmall": _STAYS,
    "ExistingObjectIsDirectory": _STAYS,  # SeaweedFS
    "ExistingObjectIsFile": _STAYS,  # SeaweedFS
    "InvalidArgument": _STAYS,
    "InvalidBucketName": _STAYS,
    "InvalidDigest": _STAYS,
    "InvalidEncryptionAlgorithmError": _STAYS,
    "InvalidObjectName": _STAYS,
    "InvalidPart": _STAYS,
    "InvalidPartOrder": _STAYS,
    "InvalidRequest": _STAYS,
    "InvalidStorageClass": _STAYS,
    "InvalidTag": _STAYS,
    "KeyTooLongError": _STAYS,
    "KMS.DisabledException": _STAYS,
    "KMS.KMSInvalidStateException": _STAYS,
    "KMS.NotFoundException": _STAYS,
    "MalformedXML": _STAYS,
    "MetadataTooLarge": _STAYS,
    "MissingContentLength": _STAYS,
    "NoSuchVersion": _STAYS,
    "QuotaExceeded": _STAYS,
}
"""By code. The status decides about codes that are not here."""

WAIT_STATUSES = frozenset({408, 429, 500, 502, 503, 504})
"""Statuses that pass with time: [botocore], and 408, which some servers send instead of
``RequestTimeout`` (RFC 9110, 15.5.9). 400, 501, 505 and 507 stay."""

OTHER_REGION_STATUSES = frozenset({301, 307, 400})
"""Statuses that may mean that the bucket is in another region."""

ERROR_BY_STATUS: dict[int, type[StoreError]] = {
    401: AccessDenied,
    403: AccessDenied,
    405: NotImplementedByStore,
    412: PreconditionFailed,
    416: RangeNotSatisfiable,
    501: NotImplementedByStore,
}

MISSING_CODES = frozenset(
    {"", "404", "BlobNotFound", "FileNotFound", "KeyNotFound", "NoSuchObject"}
    | {"NotFound", "ObjectNotFound", "ResourceNotFound"}
)
"""Codes of a 404 that say that the object is missing. Any other code of a 404 says that a key, an
account or the like is not known, which says nothing about the object."""
