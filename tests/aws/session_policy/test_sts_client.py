"""AssumeRole as it is sent, to moto's STS and to one that does what the test says."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from urllib.parse import parse_qs

import pytest
import pytest_twisted
from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThread

from sftpgw.aws.session_policy.plan.role_requests import RoleRequest
from sftpgw.aws.session_policy.sts_client import (
    LIFE_SECONDS,
    IssuedCredentials,
    RoleRefused,
    StsClient,
)
from sftpgw.model.settings import StoreSettings
from sftpgw.testing.scripted_s3 import ScriptedResponse, ScriptedS3

ROLE = "arn:aws:iam::123456789012:role/partners"
POLICY = '{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"s3:*","Resource":"*"}]}'
REQUEST = RoleRequest("alice", ROLE, "sftpgw-alice", POLICY, (("user", "alice"), ("team", "x")))
STATIC = StoreSettings(access_key="AK", secret_key="SK")

ANSWER = """<AssumeRoleResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/">
<AssumeRoleResult><Credentials><AccessKeyId>ASIA1</AccessKeyId>
<SecretAccessKey>secret</SecretAccessKey><SessionToken>token</SessionToken>
<Expiration>{expiration}</Expiration></Credentials></AssumeRoleResult>
<ResponseMetadata><RequestId>r</RequestId></ResponseMetadata></AssumeRoleResponse>"""

REFUSAL = """<ErrorResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><Error>
<Type>Sender</Type><Code>{code}</Code><Message>not authorized</Message></Error>
<RequestId>r</RequestId></ErrorResponse>"""


@pytest.fixture
def sts(no_surroundings: pytest.MonkeyPatch) -> Iterator[ScriptedS3]:
    """A scripted server that ``AWS_ENDPOINT_URL_STS`` names."""
    from twisted.internet import reactor  # noqa: PLC0415

    server = pytest_twisted.blockon(Deferred.fromCoroutine(ScriptedS3.listen(reactor)))
    no_surroundings.setenv("AWS_ENDPOINT_URL_STS", server.url)
    yield server
    pytest_twisted.blockon(Deferred.fromCoroutine(server.close()))


def answer(expiration: str, date: str = "Tue, 14 Nov 2023 22:13:20 GMT") -> ScriptedResponse:
    text = ANSWER.format(expiration=expiration)
    return ScriptedResponse(200, text.encode(), {"Content-Type": "text/xml", "Date": date})


def refusal(status: int, code: str) -> ScriptedResponse:
    return ScriptedResponse(
        status, REFUSAL.format(code=code).encode(), {"Content-Type": "text/xml"}
    )


Ask = Callable[[], Deferred[IssuedCredentials]]


def asked(settings: StoreSettings = STATIC) -> Deferred[IssuedCredentials]:
    return deferToThread(StsClient(settings), REQUEST)


def test_moto_gives_credentials_for_the_policy(
    no_surroundings: pytest.MonkeyPatch, moto_url: str
) -> None:
    from moto.sts.models import sts_backends  # noqa: PLC0415

    no_surroundings.setenv("AWS_ENDPOINT_URL_STS", moto_url)
    issued = StsClient(STATIC)(REQUEST)
    assert issued.credentials.access_key.startswith("ASIA")
    assert issued.credentials.token
    assert LIFE_SECONDS - 10 <= issued.life_seconds <= LIFE_SECONDS
    assumed = sts_backends["123456789012"]["aws"].assumed_roles[-1]
    assert (assumed.role_arn, assumed.session_name) == (ROLE, "sftpgw-alice")
    assert assumed.policy == POLICY


@pytest_twisted.ensureDeferred
async def test_role_name_policy_tags_and_duration_are_sent(sts: ScriptedS3) -> None:
    sts.script(answer("2023-11-14T23:13:20Z"))
    issued = await asked()
    (request,) = sts.requests
    sent = {name: values[0] for name, values in parse_qs(request.body.decode()).items()}
    assert sent == {
        "Action": "AssumeRole",
        "Version": "2011-06-15",
        "RoleArn": ROLE,
        "RoleSessionName": "sftpgw-alice",
        "Policy": POLICY,
        "DurationSeconds": "3600",
        "Tags.member.1.Key": "user",
        "Tags.member.1.Value": "alice",
        "Tags.member.2.Key": "team",
        "Tags.member.2.Value": "x",
    }
    assert "Credential=AK/" in request.headers["authorization"]
    assert issued.credentials.access_key == "ASIA1"


@pytest.mark.parametrize(
    ("expiration", "date", "life_seconds"),
    [
        ("2023-11-14T22:28:20Z", "Tue, 14 Nov 2023 22:13:20 GMT", 900.0),
        ("2023-11-15T22:13:20Z", "Tue, 14 Nov 2023 22:13:20 GMT", LIFE_SECONDS),
        ("2023-11-14T22:13:00Z", "Tue, 14 Nov 2023 22:13:20 GMT", 0.0),
        ("2023-11-14T22:28:20Z", "yesterday", LIFE_SECONDS),
    ],
)
@pytest_twisted.ensureDeferred
async def test_the_clock_of_sts_counts(
    sts: ScriptedS3, expiration: str, date: str, life_seconds: float
) -> None:
    sts.script(answer(expiration, date))
    assert (await asked()).life_seconds == life_seconds


@pytest.mark.parametrize(
    ("response", "code", "is_passing"),
    [
        (refusal(403, "AccessDenied"), "AccessDenied", False),
        (refusal(400, "PackedPolicyTooLarge"), "PackedPolicyTooLarge", False),
        (refusal(400, "MalformedPolicyDocument"), "MalformedPolicyDocument", False),
        (refusal(400, "Throttling"), "Throttling", True),
        (refusal(503, "ServiceUnavailable"), "ServiceUnavailable", True),
        (refusal(500, "Anything"), "Anything", True),
        (ScriptedResponse(is_reset=True), "ConnectionClosedError", True),
    ],
)
@pytest_twisted.ensureDeferred
async def test_each_question_is_sent_once_and_its_failure_is_judged(
    sts: ScriptedS3, response: ScriptedResponse, code: str, *, is_passing: bool
) -> None:
    sts.script(response)
    with pytest.raises(RoleRefused) as caught:
        await asked()
    assert (caught.value.code, caught.value.is_passing) == (code, is_passing)
    assert len(sts.requests) == 1


def test_without_credentials_of_its_own_nothing_is_asked(
    no_surroundings: pytest.MonkeyPatch,
) -> None:
    with pytest.raises(RoleRefused) as caught:
        StsClient(StoreSettings())(REQUEST)
    assert (caught.value.code, caught.value.is_passing) == ("NoCredentialsError", False)
