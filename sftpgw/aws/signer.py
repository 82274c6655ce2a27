"""AWS Signature Version 4, with botocore's signer.

Knows: which headers a signed request has, the hash of a body in several buffers, a clock that may
be wrong.
Must not know: where credentials come from, or how a request is sent.

Specific to S3: `_Auth` is botocore's `S3SigV4Auth`, which signs paths as they are and sends
``x-amz-content-sha256``. Other services use `SigV4Auth`, which encodes paths twice.

botocore's signer reads the system clock and hashes one ``bytes``. Here the time is an argument, so
that a wrong clock can be corrected, and the body stays in its buffers.
https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html
"""

from __future__ import annotations

import datetime
import hashlib
from collections.abc import Callable
from urllib.parse import urlsplit

from botocore.auth import SIGV4_TIMESTAMP, UNSIGNED_PAYLOAD, S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import ReadOnlyCredentials

from sftpgw.aio.hasher import Hasher
from sftpgw.aws.endpoints import BucketEndpoint
from sftpgw.model.settings import SignPayload
from sftpgw.model.units import MIB, Body

HeaderList = tuple[tuple[str, str], ...]

SHA256_STEP_BYTES = 2 * MIB
"""How much is hashed in one step: 2 milliseconds, 5 on processors without SHA-256."""


class Signer:
    """Signs requests by a clock that can be corrected.

    :param sign_payload: ``[s3] sign_payload``: whether bodies are hashed.
    :param wall_clock: returns seconds since 1970.
    :param hasher: goes over large bodies in steps.
    """

    def __init__(
        self, sign_payload: SignPayload, wall_clock: Callable[[], float], hasher: Hasher
    ) -> None:
        self._sign_payload = sign_payload
        self._hasher = hasher
        self._wall_clock = wall_clock
        self.offset_seconds = 0.0
        """How far the service's clock is ahead of this machine's."""

    def now_seconds(self) -> float:
        """The time by the service's clock, seconds since 1970."""
        return self._wall_clock() + self.offset_seconds

    def correct_clock(self, store_seconds: float) -> None:
        """From now on sign by the service's clock, which shows `store_seconds` now."""
        self.offset_seconds = store_seconds - self._wall_clock()

    def sign(
        self,
        method: str,
        url: str,
        *,
        headers: HeaderList,
        payload_hash: str,
        endpoint: BucketEndpoint,
        credentials: ReadOnlyCredentials,
    ) -> HeaderList:
        """`headers`, ``Host`` and the headers of the signature.

        :param method: the HTTP method.
        :param url: the URL as it is sent, percent-encoded.
        :param headers: the headers to sign, without ``Host``.
        :param payload_hash: the result of `payload_hash` for the body.
        :param endpoint: names the service and the region of the signature.
        :param credentials: what the request is signed with.
        """
        request = AWSRequest(method=method, url=url, headers=dict(headers))
        request.headers["Host"] = urlsplit(url).netloc
        request.context["payload_hash"] = payload_hash
        request.context["seconds"] = self.now_seconds()
        auth = _Auth(credentials, endpoint.signing_name, endpoint.signing_region)
        auth.add_auth(request)
        return tuple((name, str(value)) for name, value in request.headers.items())

    async def payload_hash(self, body: Body, endpoint: BucketEndpoint, user: str = "") -> str:
        """The SHA-256 of `body` in hex, or ``UNSIGNED-PAYLOAD``.

        :param body: the buffers that are sent.
        :param endpoint: where they are sent.
        :param user: whose CPU time it takes.
        """
        if self._sign_payload is SignPayload.NO or (
            self._sign_payload is SignPayload.AUTO and endpoint.is_encrypted
        ):
            return str(UNSIGNED_PAYLOAD)
        digest = hashlib.sha256()
        await self._hasher.feed(body, digest.update, SHA256_STEP_BYTES, user)
        return digest.hexdigest()


class _Auth(S3SigV4Auth):  # type: ignore[misc]  # botocore has no types
    """botocore's signer with the time and the body's hash as arguments."""

    def add_auth(self, request: AWSRequest) -> None:
        moment = datetime.datetime.fromtimestamp(request.context["seconds"], datetime.UTC)
        request.context["timestamp"] = moment.strftime(SIGV4_TIMESTAMP)
        self._modify_request_before_signing(request)
        to_sign = self.string_to_sign(request, self.canonical_request(request))
        self._inject_signature_to_request(request, self.signature(to_sign, request))

    def payload(self, request: AWSRequest) -> str:
        payload_hash: str = request.context["payload_hash"]
        return payload_hash
