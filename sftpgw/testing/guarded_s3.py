"""A guard in front of a small S3 over HTTP: signatures are checked, and policies decide, as in IAM.

Knows: SigV4, and which actions on which resources an HTTP request needs.
Must not know: how requests are made, how policies are generated, mounts, paths.

    guard = S3Guard(small.respond, secrets={"own": "s", "alice": "t"}, policies={"alice": policy})
    server.respond_with(guard.respond)

An access key without a policy may do everything: it is the gateway's own. A request whose signature
is not that of its access key is a 403.

https://docs.aws.amazon.com/AmazonS3/latest/userguide/using-with-s3-policy-actions.html
https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import ReadOnlyCredentials

from sftpgw.testing.iam import NO_CONTEXT, Decision, IamPolicy, IamRequest
from sftpgw.testing.scripted_s3 import RecordedRequest, ScriptedResponse, scripted_error

GET, PUT, DELETE = "s3:GetObject", "s3:PutObject", "s3:DeleteObject"
LIST = "s3:ListBucket"
_AUTHORIZATION = re.compile(
    r"AWS4-HMAC-SHA256 Credential=(?P<key>[^/]+)/\d+/(?P<region>[^/]+)/s3/aws4_request, ?"
    r"SignedHeaders=(?P<signed>[^,]+), ?Signature=(?P<signature>[0-9a-f]+)"
)

_OF_BUCKETS = {"uploads": "s3:ListBucketMultipartUploads"}
_OF_OBJECTS: dict[tuple[str, str], str] = {
    ("GET", "tagging"): "s3:GetObjectTagging",
    ("GET", "uploadId"): "s3:ListMultipartUploadParts",
    ("DELETE", "uploadId"): "s3:AbortMultipartUpload",
    ("GET", ""): GET,
    ("HEAD", ""): GET,
    ("PUT", ""): PUT,
    ("PUT", "uploadId"): PUT,
    ("POST", "uploads"): PUT,
    ("POST", "uploadId"): PUT,
    ("DELETE", ""): DELETE,
}
"""By method and the parameter that tells operations apart."""

_OF_HEADERS = {
    "x-amz-tagging": "s3:PutObjectTagging",
    "x-amz-acl": "s3:PutObjectAcl",
}


class S3Guard:
    """Decides about requests, and passes on those that are allowed.

    :param respond: the store behind the guard.
    :param secrets: the secret of each access key.
    :param policies: the policy of each access key that has one.
    :ivar refused: how many requests were refused, by access key and action.
    :ivar asked: how many requests came, by access key.
    """

    def __init__(
        self,
        respond: Callable[[RecordedRequest], ScriptedResponse],
        *,
        secrets: Mapping[str, str],
        policies: Mapping[str, IamPolicy],
    ) -> None:
        self._respond = respond
        self._secrets = secrets
        self._policies = policies
        self.refused: Counter[tuple[str, str]] = Counter()
        self.asked: Counter[str] = Counter()

    def respond(self, request: RecordedRequest) -> ScriptedResponse:
        """The response of the store, or a 403."""
        access_key = self._signer_of(request)
        if access_key is None:
            return scripted_error(403, "SignatureDoesNotMatch")
        self.asked[access_key] += 1
        for needed in _needed(request):
            if not self._is_allowed(access_key, needed):
                self.refused[access_key, needed.action] += 1
                return scripted_error(403, "AccessDenied")
        response = self._respond(request)
        if response.status == 404 and b"NoSuchKey" in response.body:
            # Only who may list the bucket is told; such a request has no prefix.
            bucket = IamRequest(LIST, f"arn:aws:s3:::{_place(request)[0]}")
            if not self._is_allowed(access_key, bucket):
                return scripted_error(403, "AccessDenied")
        return response

    def _is_allowed(self, access_key: str, request: IamRequest) -> bool:
        policy = self._policies.get(access_key)
        return policy is None or policy.decide(request) is Decision.ALLOW

    def _signer_of(self, request: RecordedRequest) -> str | None:
        """The access key that has signed a request; None if the signature is wrong."""
        found = _AUTHORIZATION.fullmatch(request.headers.get("authorization", ""))
        if found is None or found["key"] not in self._secrets:
            return None
        credentials = ReadOnlyCredentials(found["key"], self._secrets[found["key"]], None)
        expected = _signature(request, credentials, found["region"], found["signed"].split(";"))
        return found["key"] if expected == found["signature"] else None


class _CheckingAuth(S3SigV4Auth):  # type: ignore[misc]  # botocore has no types
    """Signs exactly the headers that were signed."""

    def headers_to_sign(self, request: AWSRequest) -> Any:
        return request.headers


def _signature(
    request: RecordedRequest, credentials: ReadOnlyCredentials, region: str, signed: list[str]
) -> str:
    plain = AWSRequest(
        request.method,
        f"http://{request.headers['host']}{request.target}",
        headers={name: request.headers.get(name, "") for name in signed},
    )
    plain.context["timestamp"] = request.headers["x-amz-date"]
    auth = _CheckingAuth(credentials, "s3", region)
    signature: str = auth.signature(
        auth.string_to_sign(plain, auth.canonical_request(plain)), plain
    )
    return signature


def _place(request: RecordedRequest) -> tuple[str, str]:
    """The bucket and the key."""
    bucket, _, key = unquote(urlsplit(request.target).path)[1:].partition("/")
    return bucket, key


def _needed(request: RecordedRequest) -> Iterator[IamRequest]:
    """What a request must be allowed to do."""
    bucket, key = _place(request)
    query = dict(parse_qsl(urlsplit(request.target).query, keep_blank_values=True))
    if not key:
        yield _on_bucket(bucket, query)
        return
    arn = f"arn:aws:s3:::{bucket}/{key}"
    kind = next((each for each in ("tagging", "uploadId", "uploads") if each in query), "")
    yield IamRequest(_OF_OBJECTS[request.method, kind], arn)
    for header, action in _OF_HEADERS.items():
        if header in request.headers:
            yield IamRequest(action, arn)
    if request.headers.get("if-match") and request.method in ("PUT", "DELETE"):
        yield IamRequest(GET, arn)
    if (source := request.headers.get("x-amz-copy-source")) is not None:
        yield IamRequest(GET, f"arn:aws:s3:::{unquote(source).lstrip('/')}")


def _on_bucket(bucket: str, query: Mapping[str, str]) -> IamRequest:
    kind = next((each for each in _OF_BUCKETS if each in query), "")
    names = {"prefix": "s3:prefix", "delimiter": "s3:delimiter", "max-keys": "s3:max-keys"}
    context = {names[name]: value for name, value in query.items() if name in names and value}
    return IamRequest(_OF_BUCKETS.get(kind, LIST), f"arn:aws:s3:::{bucket}", context or NO_CONTEXT)
