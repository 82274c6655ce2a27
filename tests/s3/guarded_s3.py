"""A small S3 behind IAM: what an access key may do is what its policy says.

Knows: which actions the requests of the gateway need.
Must not know: how the gateway chooses what to sign with.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, unquote, urlsplit

from sftpgw.testing.iam import Decision, IamPolicy, IamRequest
from sftpgw.testing.scripted_s3 import RecordedRequest, ScriptedResponse, scripted_error
from sftpgw.testing.small_s3 import SmallS3

GET, PUT, DELETE = "s3:GetObject", "s3:PutObject", "s3:DeleteObject"
LIST, ABORT = "s3:ListBucket", "s3:AbortMultipartUpload"
DENIED = scripted_error(403, "AccessDenied")
BARE_DENIAL = ScriptedResponse(403)


def signer_of(request: RecordedRequest) -> str:
    """The access key that a request was signed with."""
    found = re.search(r"Credential=([^/]+)/", request.headers["authorization"])
    assert found is not None
    return found[1]


@dataclass
class Asked:
    """A request as IAM sees it: its object, or the prefix of its list."""

    request: RecordedRequest

    def __post_init__(self) -> None:
        url = urlsplit(self.request.target)
        _, self.bucket, *rest = unquote(url.path).split("/", 2)
        self.key = rest[0] if rest else ""
        self.query = dict(parse_qsl(url.query, keep_blank_values=True))

    @property
    def place(self) -> str:
        """The key, or the prefix of a list."""
        return self.key or self.query.get("prefix", "")

    @property
    def source(self) -> str:
        """The bucket and key that are copied from; empty if nothing is."""
        return unquote(self.request.headers.get("x-amz-copy-source", "")).removeprefix("/")

    def needed(self) -> Iterator[IamRequest]:
        """What the policy must allow."""
        if not self.key:
            context = {
                f"s3:{name}": self.query[name]
                for name in ("prefix", "delimiter")
                if name in self.query
            }
            action = LIST if "list-type" in self.query else "s3:ListBucketMultipartUploads"
            yield IamRequest(action, f"arn:aws:s3:::{self.bucket}", context)
            return
        method = self.request.method
        is_abort = method == "DELETE" and "uploadId" in self.query
        action = {"HEAD": GET, "GET": GET, "DELETE": ABORT if is_abort else DELETE}.get(method, PUT)
        yield IamRequest(action, f"arn:aws:s3:::{self.bucket}/{self.key}")
        if self.source:
            yield IamRequest(GET, f"arn:aws:s3:::{self.source}")


@dataclass
class GuardedS3:
    """The server's side.

    :param policies: by access key; a key without one may do everything.
    :ivar refused: what was refused.
    """

    policies: dict[str, IamPolicy]
    inner: SmallS3 = field(default_factory=SmallS3)
    refused: list[Asked] = field(default_factory=list)

    def respond(self, request: RecordedRequest) -> ScriptedResponse:
        policy, asked = self.policies.get(signer_of(request)), Asked(request)
        denial = BARE_DENIAL if request.method == "HEAD" else DENIED
        if policy is not None and not all(_allows(policy, each) for each in asked.needed()):
            self.refused.append(asked)
            return denial
        response = self.inner.respond(request)
        if policy is not None and response.status == 404 and request.method in ("HEAD", "GET"):
            whole = IamRequest(LIST, f"arn:aws:s3:::{asked.bucket}", NO_PREFIX)
            return response if _allows(policy, whole) else denial
        return response


NO_PREFIX: Mapping[str, str] = {}


def _allows(policy: IamPolicy, request: IamRequest) -> bool:
    return policy.decide(request) is Decision.ALLOW
