"""Signatures, against the examples that AWS publishes.

https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html
"""

from __future__ import annotations

import hashlib

import pytest
from botocore.credentials import ReadOnlyCredentials
from twisted.internet import task
from twisted.internet.defer import Deferred

from sftpgw.aio.hasher import Hasher
from sftpgw.aws.endpoints import BucketEndpoint
from sftpgw.aws.signer import Signer
from sftpgw.model.settings import SignPayload
from sftpgw.model.units import Body
from sftpgw.testing.cpu_clocks import free_work

CREDENTIALS = ReadOnlyCredentials(
    "AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", None
)
MAY_24_2013 = 1369353600.0
PLAIN = BucketEndpoint("http://examplebucket.s3.amazonaws.com", "us-east-1", "s3")
ENCRYPTED = BucketEndpoint("https://examplebucket.s3.amazonaws.com", "us-east-1", "s3")


def signer_at(seconds: float, choice: SignPayload = SignPayload.YES) -> Signer:
    return Signer(choice, lambda: seconds, Hasher(free_work(task.Clock())))


def signed(
    endpoint: BucketEndpoint = PLAIN,
    *,
    key: str = "",
    query: tuple[tuple[str, str], ...] = (),
    headers: tuple[tuple[str, str], ...] = (),
    body: Body = (),
    signer: Signer | None = None,
    credentials: ReadOnlyCredentials = CREDENTIALS,
) -> dict[str, str]:
    signer = signer or signer_at(MAY_24_2013)
    hashed: list[str] = []
    done = Deferred.fromCoroutine(signer.payload_hash(body, endpoint))
    done.addCallback(hashed.append)
    pairs = signer.sign(
        "GET",
        endpoint.url(key, query),
        headers=headers,
        payload_hash=hashed[0],
        endpoint=endpoint,
        credentials=credentials,
    )
    return {name.lower(): value for name, value in pairs}


@pytest.mark.parametrize(
    ("request_parts", "signature"),
    [
        (
            {"key": "test.txt", "headers": (("Range", "bytes=0-9"),)},
            "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41",
        ),
        (
            {"query": (("lifecycle", ""),)},
            "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543",
        ),
        (
            {"query": (("prefix", "J"), ("max-keys", "2"))},
            "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7",
        ),
    ],
)
def test_signatures_are_those_of_the_published_examples(
    request_parts: dict[str, object], signature: str
) -> None:
    headers = signed(**request_parts)  # type: ignore[arg-type]
    assert headers["authorization"].endswith(f"Signature={signature}")
    assert headers["host"] == "examplebucket.s3.amazonaws.com"
    assert headers["x-amz-date"] == "20130524T000000Z"


@pytest.mark.parametrize(
    ("choice", "endpoint", "is_hashed"),
    [
        (SignPayload.AUTO, PLAIN, True),
        (SignPayload.AUTO, ENCRYPTED, False),
        (SignPayload.YES, ENCRYPTED, True),
        (SignPayload.NO, PLAIN, False),
    ],
)
def test_whether_the_body_is_hashed(
    choice: SignPayload, endpoint: BucketEndpoint, is_hashed: bool
) -> None:
    headers = signed(
        endpoint,
        body=(b"one", bytearray(b"two"), memoryview(b"three")),
        signer=signer_at(MAY_24_2013, choice),
    )
    expected = hashlib.sha256(b"onetwothree").hexdigest() if is_hashed else "UNSIGNED-PAYLOAD"
    assert headers["x-amz-content-sha256"] == expected


def test_the_clock_is_corrected() -> None:
    signer = signer_at(MAY_24_2013 - 3600.0)
    assert signed(signer=signer)["x-amz-date"] == "20130523T230000Z"
    signer.correct_clock(MAY_24_2013)
    assert signer.offset_seconds == 3600.0
    assert signed(signer=signer)["x-amz-date"] == "20130524T000000Z"


def test_a_session_token_is_sent_and_signed() -> None:
    headers = signed(credentials=ReadOnlyCredentials("A", "S", "the-token"))
    assert headers["x-amz-security-token"] == "the-token"
    assert "x-amz-security-token" in headers["authorization"]


def test_a_port_belongs_to_the_host() -> None:
    headers = signed(BucketEndpoint("http://127.0.0.1:9000/b", "r", "s3"), key="k")
    assert headers["host"] == "127.0.0.1:9000"
