"""Where requests go, for every way to address a bucket."""

from __future__ import annotations

from urllib.parse import unquote, urlsplit

import pytest

from sftpgw.aws.endpoints import BucketEndpoint, Endpoints
from sftpgw.errors import StoreError
from sftpgw.model.settings import Addressing, StoreSettings


def endpoint_of(bucket: str, **settings: object) -> BucketEndpoint:
    return Endpoints(StoreSettings(**settings)).of_bucket(bucket)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("bucket", "settings", "base_url"),
    [
        (
            "my-bucket",
            {"region": "eu-central-1"},
            "https://my-bucket.s3.eu-central-1.amazonaws.com",
        ),
        ("my-bucket", {"region": "us-east-1"}, "https://my-bucket.s3.us-east-1.amazonaws.com"),
        ("my-bucket", {"region": "cn-north-1"}, "https://my-bucket.s3.cn-north-1.amazonaws.com.cn"),
        ("my.bucket", {"region": "eu-west-1"}, "https://s3.eu-west-1.amazonaws.com/my.bucket"),
        (
            "my-bucket",
            {"region": "eu-west-1", "addressing": Addressing.PATH},
            "https://s3.eu-west-1.amazonaws.com/my-bucket",
        ),
        (
            "my-bucket",
            {"region": "eu-west-1", "accelerate": True},
            "https://my-bucket.s3-accelerate.amazonaws.com",
        ),
        ("b-1", {"endpoint": "http://127.0.0.1:9000"}, "http://127.0.0.1:9000/b-1"),
        ("b-1", {"endpoint": "https://s3.example.org/"}, "https://s3.example.org/b-1"),
        ("b-1", {"endpoint": "https://example.org/s3"}, "https://example.org/s3/b-1"),
        (
            "b-1",
            {"endpoint": "https://s3.example.org", "addressing": Addressing.VIRTUAL},
            "https://b-1.s3.example.org",
        ),
    ],
)
def test_the_url_of_a_bucket(bucket: str, settings: dict[str, object], base_url: str) -> None:
    endpoint = endpoint_of(bucket, **settings)
    assert endpoint.base_url == base_url
    assert endpoint.signing_name == "s3"
    assert endpoint.signing_region == settings.get("region", "us-east-1")
    assert endpoint.is_encrypted is base_url.startswith("https:")


def test_an_access_point() -> None:
    arn = "arn:aws:s3:eu-west-1:123456789012:accesspoint/mine"
    endpoint = endpoint_of(arn, region="eu-west-1")
    assert endpoint.base_url == "https://mine-123456789012.s3-accesspoint.eu-west-1.amazonaws.com"


ACCESS_POINT = "arn:aws:s3:us-west-2:123456789012:accesspoint/mine"
ALIAS = "mine-abcdefghijklmnopqrstuvwxyz123456-s3alias"


@pytest.mark.parametrize(
    ("bucket", "settings", "host"),
    [
        ("my-bucket", {"fips": True}, "my-bucket.s3-fips.us-west-2"),
        ("my-bucket", {"dual_stack": True}, "my-bucket.s3.dualstack.us-west-2"),
        (
            "my-bucket",
            {"fips": True, "dual_stack": True},
            "my-bucket.s3-fips.dualstack.us-west-2",
        ),
        (
            "my-bucket",
            {"accelerate": True, "dual_stack": True},
            "my-bucket.s3-accelerate.dualstack",
        ),
        (ACCESS_POINT, {}, "mine-123456789012.s3-accesspoint.us-west-2"),
        (ACCESS_POINT, {"fips": True}, "mine-123456789012.s3-accesspoint-fips.us-west-2"),
        (
            ACCESS_POINT,
            {"dual_stack": True},
            "mine-123456789012.s3-accesspoint.dualstack.us-west-2",
        ),
        (
            ACCESS_POINT,
            {"fips": True, "dual_stack": True},
            "mine-123456789012.s3-accesspoint-fips.dualstack.us-west-2",
        ),
        (ALIAS, {}, f"{ALIAS}.s3.us-west-2"),
        (ALIAS, {"fips": True}, f"{ALIAS}.s3-fips.us-west-2"),
        (ALIAS, {"dual_stack": True}, f"{ALIAS}.s3.dualstack.us-west-2"),
        (
            ALIAS,
            {"fips": True, "dual_stack": True},
            f"{ALIAS}.s3-fips.dualstack.us-west-2",
        ),
    ],
)
def test_the_host_of_each_kind_of_endpoint(
    bucket: str, settings: dict[str, object], host: str
) -> None:
    """https://docs.aws.amazon.com/AmazonS3/latest/userguide/dual-stack-endpoints.html"""
    endpoint = endpoint_of(bucket, region="us-west-2", **settings)
    assert endpoint.base_url == f"https://{host}.amazonaws.com"
    assert endpoint.signing_region == "us-west-2"


def test_a_region_without_fips_is_told() -> None:
    """The rules have a host for it, which does not exist."""
    with pytest.raises(StoreError, match="no FIPS endpoint in eu-west-1; it has some in ca-"):
        endpoint_of("my-bucket", region="eu-west-1", fips=True)


def test_a_bucket_of_a_named_store_is_asked_for_by_its_own_name() -> None:
    endpoint = endpoint_of(f"far:{ACCESS_POINT}", region="us-west-2", name="far")
    assert endpoint.base_url.startswith("https://mine-123456789012.s3-accesspoint.")


@pytest.mark.parametrize(
    ("bucket", "settings"),
    [
        (ACCESS_POINT, {"accelerate": True}),
        ("my-bucket", {"region": "cn-north-1", "fips": True}),
        ("my-bucket", {"region": "not a region"}),
        ("my.bucket", {"accelerate": True}),
        ("arn:aws:s3::123456789012:accesspoint:mrap.mrap", {}),
    ],
)
def test_buckets_that_have_no_url_are_refused(bucket: str, settings: dict[str, object]) -> None:
    with pytest.raises(StoreError) as refused:
        endpoint_of(bucket, **settings)
    assert refused.value.code == "NoEndpoint"


def test_an_endpoint_is_kept() -> None:
    endpoints = Endpoints(StoreSettings())
    assert endpoints.of_bucket("my-bucket") is endpoints.of_bucket("my-bucket")


@pytest.mark.parametrize(
    "key", ["a b", "a+b", "%41", "a?b#c", "a//b", "/x", "x/", ".", "../x", "é☃𝄞", "a;b=c&d", "~-._"]
)
@pytest.mark.parametrize("base_url", ["https://b.example.org", "https://example.org/b"])
def test_a_key_is_encoded_once_and_not_normalised(key: str, base_url: str) -> None:
    url = urlsplit(BucketEndpoint(base_url, "r", "s3").url(key))
    assert unquote(url.path) == urlsplit(base_url).path + "/" + key
    assert (url.query, url.fragment) == ("", "")
    assert url.path.count("/") == urlsplit(base_url).path.count("/") + 1 + key.count("/")


def test_the_query_is_encoded_and_in_the_order_of_the_signature() -> None:
    endpoint = BucketEndpoint("https://b.example.org", "r", "s3")
    url = endpoint.url("k", (("uploads", ""), ("prefix", "a/b c+é"), ("list-type", "2")))
    assert url == "https://b.example.org/k?list-type=2&prefix=a%2Fb%20c%2B%C3%A9&uploads="
