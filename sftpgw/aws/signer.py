"""AWS Signature Version 4, with botocore's signer.

Knows: which headers a signed request has, the hash of a body in several buffers, a clock that may
be wrong.
Must not know: where credentials come from, or how a request is sent.

`Signer` is for S3, by botocore's `S3SigV4Auth`, which signs paths as they are and sends
``x-amz-content-sha256``. `ServiceSigner` is for other services, by `SigV4Auth`, which encodes paths
twice.

botocore's signer reads the system clock and hashes one ``bytes``. Here the time is an argument, so
that a wrong clock can be corrected, and the body stays in its buffers.
https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html
"""

from __future__ import annotations

import datetime
import hashlib
from collections.abc import Callable
from typing import Any, ClassVar, Protocol
from urllib.parse import urlsplit

from botocore.auth import SIGV4_TIMESTAMP, UNSIGNED_PAYLOAD, S3SigV4Auth, SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import ReadOnlyCredentials

from sftpgw.aio.hasher import Hasher
from sftpgw.aws.endpoints import BucketEndpoint
from sftpgw.model.settings import SignPayload
from sftpgw.model.units import MIB, Body

HeaderList = tuple[tuple[str, str], ...]

SHA256_STEP_BYTES = 2 * MIB
"""How much is hashed in one step: 2 milliseconds, 5 on processors without SHA-256."""


class SigningScope(Protocol):
    """What a signature is for."""

    @property
    def signing_name(self) -> str:
        """The service."""

    @property
    def signing_region(self) -> str:
        """The region."""


class _TimedAuth:
    """botocore's signer with the time and the body's hash as arguments."""

    def add_auth(self: Any, request: AWSRequest) -> None:
        moment = datetime.datetime.fromtimestamp(request.context["seconds"], datetime.UTC)
        request.context["timestamp"] = moment.strftime(SIGV4_TIMESTAMP)
        self._modify_request_before_signing(request)
        to_sign = self.string_to_sign(request, self.canonical_request(request))
        self._inject_signature_to_request(request, self.signature(to_sign, request))

    def payload(self, request: AWSRequest) -> str:
        payload_hash: str = request.context["payload_hash"]
        return payload_hash


class _ServiceAuth(_TimedAuth, SigV4Auth):  # type: ignore[misc]  # botocore has no types
    """For services other than S3."""


class _S3Auth(_TimedAuth, S3SigV4Auth):  # type: ignore[misc]  # botocore has no types
    """For S3."""


class ServiceSigner:
    """Signs requests by a clock that can be corrected.

    :param wall_clock: returns seconds since 1970.
    """

    auth: ClassVar[type[Any]] = _ServiceAuth

    def __init__(self, wall_clock: Callable[[], float]) -> None:
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
        endpoint: SigningScope,
        credentials: ReadOnlyCredentials,
    ) -> HeaderList:
        """`headers`, ``Host`` and the headers of the signature.

        :param method: the HTTP method.
        :param url: the URL as it is sent, percent-encoded.
        :param headers: the headers to sign, without ``Host``.
        :param payload_hash: the SHA-256 of the body in hex; for S3 the result of
            `Signer.payload_hash`.
        :param endpoint: names the service and the region of the signature.
        :param credentials: what the request is signed with.
        """
        request = AWSRequest(method=method, url=url, headers=dict(headers))
        request.headers["Host"] = urlsplit(url).netloc
        request.context["payload_hash"] = payload_hash
        request.context["seconds"] = self.now_seconds()
        auth = self.auth(credentials, endpoint.signing_name, endpoint.signing_region)
        auth.add_auth(request)
        return tuple((name, str(value)) for name, value in request.headers.items())


class Signer(ServiceSigner):
    """Signs requests to S3.

    :param sign_payload: ``[s3] sign_payload``: whether bodies are hashed.
    :param wall_clock: returns seconds since 1970.
    :param hasher: goes over large bodies in steps.
    """

    auth = _S3Auth

    def __init__(
        self, sign_payload: SignPayload, wall_clock: Callable[[], float], hasher: Hasher
    ) -> None:
        super().__init__(wall_clock)
        self._sign_payload = sign_payload
        self._hasher = hasher

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
