"""AssumeRole of AWS STS.

Knows: botocore's client, how long it may take, and which failures pass with time.
Must not know: whose credentials are renewed when (`role_sessions`). Everything here blocks, so it
runs in threads.

One client serves all threads: it takes 15 MiB. It is made when it is first used, and finds the
credentials to sign with as the gateway itself does: static keys, else the usual chain.

https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRole.html
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from email.utils import parsedate_to_datetime
from threading import Lock
from typing import Any, Protocol

from botocore.config import Config
from botocore.credentials import ReadOnlyCredentials
from botocore.exceptions import BotoCoreError, ClientError, HTTPClientError
from botocore.session import Session

from sftpgw.aws.session_policy.plan.role_requests import RoleRequest
from sftpgw.model.settings import StoreSettings

LIFE_SECONDS = 3600
"""How long credentials are asked for. AWS gives 900 seconds to the maximum of the role, which is an
hour unless it is raised, and never more than an hour to a role that another role assumes (role
chaining): so it is on an instance, in ECS and in EKS."""

MAX_REASON_CHARACTERS = 500
CONNECT_SECONDS = 5
READ_SECONDS = 10

PASSING_CODES = frozenset(
    {
        "InternalError",
        "InternalFailure",
        "RequestLimitExceeded",
        "RequestTimeout",
        "ServiceUnavailable",
        "SlowDown",
        "Throttling",
        "ThrottlingException",
        "TooManyRequestsException",
    }
)
"""Codes of AWS's common errors that pass with time.
https://docs.aws.amazon.com/STS/latest/APIReference/CommonErrors.html"""


@dataclass(frozen=True, slots=True)
class IssuedCredentials:
    """What STS has given.

    :ivar credentials: the credentials.
    :ivar life_seconds: how long they are valid.
    """

    credentials: ReadOnlyCredentials = field(repr=False)
    life_seconds: float


class RoleRefused(Exception):
    """STS has not given credentials.

    :param reason: why not; has no secret.
    :param code: its error code, or the name of the error.
    :param is_passing: whether it makes sense to ask again.
    """

    def __init__(self, reason: str, *, code: str, is_passing: bool) -> None:
        super().__init__(reason)
        self.reason = reason
        self.code = code
        self.is_passing = is_passing


class AssumeRole(Protocol):
    """Asks STS for credentials. Blocks."""

    def __call__(self, request: RoleRequest) -> IssuedCredentials:
        """The credentials.

        :param request: what is asked for.
        :raises RoleRefused: there are none.
        """


class StsClient:
    """Asks the STS of AWS, or that which ``AWS_ENDPOINT_URL_STS`` names.

    :param settings: those of the store: what the gateway signs with, and the region.
    """

    def __init__(self, settings: StoreSettings) -> None:
        self._settings = settings
        self._client: Any = None
        self._lock = Lock()

    def __call__(self, request: RoleRequest) -> IssuedCredentials:
        try:
            with self._lock:
                if self._client is None:
                    self._client = _new_client(self._settings)
            return _issued(self._client.assume_role(**_parameters(request)))
        except ClientError as error:
            raise _refusal(error) from None
        except HTTPClientError as error:  # the connection, TLS, a timeout
            code = type(error).__name__
            raise RoleRefused("STS does not answer", code=code, is_passing=True) from None
        except BotoCoreError as error:  # no credentials, no region; the text may quote them
            code = type(error).__name__
            text = "the gateway cannot ask STS"
            raise RoleRefused(text, code=code, is_passing=False) from None


def _parameters(request: RoleRequest) -> dict[str, Any]:
    parameters: dict[str, Any] = {
        "RoleArn": request.role_arn,
        "RoleSessionName": request.session_name,
        "Policy": request.policy,
        "DurationSeconds": LIFE_SECONDS,
    }
    if request.tags:
        parameters["Tags"] = [{"Key": name, "Value": value} for name, value in request.tags]
    return parameters


def _new_client(settings: StoreSettings) -> Any:
    given: dict[str, Any] = {}
    if settings.access_key:
        given = {
            "aws_access_key_id": settings.access_key,
            "aws_secret_access_key": settings.secret_key,
            "aws_session_token": settings.session_token or None,
        }
    return Session().create_client(
        "sts",
        region_name=settings.region,
        config=Config(
            connect_timeout=CONNECT_SECONDS,
            read_timeout=READ_SECONDS,
            retries={"total_max_attempts": 1},
            use_fips_endpoint=settings.fips,
            use_dualstack_endpoint=settings.dual_stack,
        ),
        **given,
    )


def _issued(answer: Mapping[str, Any]) -> IssuedCredentials:
    given = answer["Credentials"]
    credentials = ReadOnlyCredentials(
        given["AccessKeyId"], given["SecretAccessKey"], given["SessionToken"]
    )
    headers = answer.get("ResponseMetadata", {}).get("HTTPHeaders", {})
    return IssuedCredentials(credentials, _life_seconds(given["Expiration"], headers.get("date")))


def _life_seconds(expires: datetime, sent: str | None) -> float:
    """How long credentials live: by the clock of STS, since that of this machine may be wrong."""
    try:
        life_seconds = (expires - parsedate_to_datetime(sent or "")).total_seconds()
    except (TypeError, ValueError):
        return LIFE_SECONDS
    return min(max(0.0, life_seconds), LIFE_SECONDS)


def _refusal(error: ClientError) -> RoleRefused:
    told = error.response.get("Error", {})
    code, status = str(told.get("Code", "")), error.response["ResponseMetadata"]["HTTPStatusCode"]
    is_passing = code in PASSING_CODES or status >= 500
    text = str(told.get("Message", ""))[:MAX_REASON_CHARACTERS]
    return RoleRefused(text, code=code, is_passing=is_passing)
