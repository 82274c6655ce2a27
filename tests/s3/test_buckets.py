"""Buckets that are not just a name: access points and Ceph's tenants, as they go over the wire."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest
import pytest_twisted
from botocore.awsrequest import AWSPreparedRequest
from botocore.config import Config
from botocore.session import Session

from sftpgw.model.settings import Addressing
from sftpgw.model.store import ByteRange, MultipartUpload, ObjectInfo, ObjectName, ObjectProperties
from sftpgw.s3.s3_client import S3Client
from sftpgw.testing.scripted_s3 import RecordedRequest, ScriptedResponse, ScriptedS3
from tests.scripted_server import Connect

ARN = "arn:aws:s3:eu-west-1:123456789012:accesspoint/mine"
ALIAS = "mine-aqfqprnstn7aefdfbarligizwgyfouse1a-s3alias"
KEY = "a b/c~d"
STORE = "s3.example.org"

COPIED = b"<CopyObjectResult><ETag>&quot;e&quot;</ETag></CopyObjectResult>"
PART_COPIED = b"<CopyPartResult><ETag>&quot;e&quot;</ETag></CopyPartResult>"
LISTED = b"<ListBucketResult><IsTruncated>false</IsTruncated></ListBucketResult>"


def answer(request: RecordedRequest) -> ScriptedResponse:
    if "x-amz-copy-source" in request.headers:
        return ScriptedResponse(200, PART_COPIED if "uploadId" in request.target else COPIED)
    return ScriptedResponse(200, LISTED if "list-type" in request.target else b"", {"ETag": '"e"'})


@pytest.fixture
def behind_proxy(server: ScriptedS3, connected: Connect) -> Iterator[S3Client]:
    """A client of a store with virtual hosts; the server is a proxy, and sees whole URLs."""
    server.respond_with(answer)
    return connected(
        endpoint=f"http://{STORE}",
        addressing=Addressing.VIRTUAL,
        proxy=server.url,
        region="eu-central-1",
    )


async def use(client: S3Client, bucket: str) -> None:
    """A request of each kind, all of which address the bucket."""
    name = ObjectName(bucket, KEY)
    source = ObjectInfo(name, 5, '"e"', 0.0)
    await client.head_bucket(bucket)
    await client.list(bucket, "home/")
    await client.put(name, (b"12345",), ObjectProperties())
    await client.copy(source, ObjectName(bucket, "copy"))
    await client.copy_part(MultipartUpload(name, "id"), 1, source, ByteRange(0, 5))


@pytest.mark.parametrize("arn", [ARN, ARN.replace("accesspoint/", "accesspoint:")])
@pytest_twisted.ensureDeferred
async def test_an_access_point_is_a_host(
    behind_proxy: S3Client, server: ScriptedS3, arn: str
) -> None:
    await use(behind_proxy, arn)
    host = f"mine-123456789012.{STORE}"
    for request in server.requests:
        assert urlsplit(request.target).netloc == host
        assert request.headers["host"] == host
        # The region is the access point's, whatever is configured.
        assert "/eu-west-1/s3/aws4_request" in request.headers["authorization"]
    paths = [urlsplit(request.target).path for request in server.requests]
    assert paths == ["/", "/", "/a%20b/c~d", "/copy", "/a%20b/c~d"]
    sources = [request.headers["x-amz-copy-source"] for request in server.requests[-2:]]
    assert [*map(unquote, sources)] == [f"{ARN}/object/{KEY}"] * 2


@pytest_twisted.ensureDeferred
async def test_an_alias_is_a_bucket(behind_proxy: S3Client, server: ScriptedS3) -> None:
    await use(behind_proxy, ALIAS)
    for request in server.requests:
        assert urlsplit(request.target).netloc == f"{ALIAS}.{STORE}"
        assert "/eu-central-1/s3/aws4_request" in request.headers["authorization"]
    assert server.requests[3].headers["x-amz-copy-source"] == f"{ALIAS}/a%20b/c~d"


@pytest.mark.parametrize("bucket", ["acme:docs", ":docs"])
@pytest.mark.parametrize("addressing", Addressing)
@pytest_twisted.ensureDeferred
async def test_a_tenants_bucket_is_a_path(
    connected: Connect, server: ScriptedS3, bucket: str, addressing: Addressing
) -> None:
    server.respond_with(answer)
    await use(connected(addressing=addressing), bucket)
    encoded = bucket.replace(":", "%3A")
    paths = [urlsplit(request.target).path for request in server.requests]
    key = "a%20b/c~d"
    assert [path.rstrip("/") for path in paths] == [
        f"/{encoded}",
        f"/{encoded}",
        f"/{encoded}/{key}",
        f"/{encoded}/copy",
        f"/{encoded}/{key}",
    ]
    for request in server.requests[-2:]:
        assert request.headers["x-amz-copy-source"] == f"{encoded}/{key}"


@pytest.mark.parametrize(
    ("bucket", "settings"),
    [
        (ARN, {}),
        (ARN.replace("accesspoint/", "accesspoint:"), {}),
        (ALIAS, {}),
        (ARN.replace("arn:aws:", "arn:aws-cn:").replace("eu-west-1", "cn-north-1"), {}),
        (ARN, {"endpoint": f"https://vpce-1-2.{STORE}", "addressing": Addressing.VIRTUAL}),
    ],
)
@pytest_twisted.ensureDeferred
async def test_the_signature_is_the_one_that_botocore_makes(
    connected: Connect, bucket: str, settings: dict[str, Any]
) -> None:
    """botocore is the oracle: host, path and the scope that is signed."""
    region = "cn-north-1" if "aws-cn" in bucket else "eu-central-1"
    expected = _sent_by_botocore(bucket, region, settings.get("endpoint"))
    client = connected(**({"endpoint": "", "region": region} | settings))
    endpoint = client.executor.attempts.endpoints.of_bucket(bucket)
    assert endpoint.url(KEY) == expected.url
    scope = f"/{endpoint.signing_region}/{endpoint.signing_name}/aws4_request"
    assert scope in expected.headers["Authorization"].decode()


class _Seen(Exception):
    pass


def _sent_by_botocore(bucket: str, region: str, endpoint: str | None) -> AWSPreparedRequest:
    client = Session().create_client(
        "s3",
        region_name=region,
        endpoint_url=endpoint,
        aws_access_key_id="key",
        aws_secret_access_key="secret",
        config=Config(s3={"addressing_style": "virtual"}, signature_version="s3v4"),
    )
    seen: list[AWSPreparedRequest] = []

    def keep(request: AWSPreparedRequest, **_: object) -> None:
        seen.append(request)
        raise _Seen

    client.meta.events.register("before-send.s3.HeadObject", keep)
    with pytest.raises(_Seen):
        client.head_object(Bucket=bucket, Key=KEY)
    client.close()
    return seen[0]
