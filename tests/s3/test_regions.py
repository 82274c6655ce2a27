"""A bucket that turns out to be in another region is followed there."""

from __future__ import annotations

from dataclasses import replace

import pytest
import pytest_twisted
from twisted.internet.defer import Deferred, gatherResults

from sftpgw import errors
from sftpgw.aws.endpoints import BucketEndpoint, Endpoints
from sftpgw.model.settings import StoreSettings
from sftpgw.model.store import ObjectName, ObjectProperties
from sftpgw.s3.s3_client import S3Client
from sftpgw.testing.scripted_s3 import ScriptedResponse, ScriptedS3, scripted_error
from tests.stores import CollectingSink, RecordedEvents

NAME = ObjectName("bucket", "key")
HERE, THERE = "us-east-1", "eu-central-1"
MOVED = {"x-amz-bucket-region": THERE}
FINE = ScriptedResponse(
    200, headers={"ETag": '"e"', "Last-Modified": "Thu, 01 Jan 1970 00:00:00 GMT"}
)


def regions(server: ScriptedS3) -> list[str]:
    """The regions that the requests were signed for."""
    return [
        request.headers["authorization"].split("Credential=")[1].split("/")[2]
        for request in server.requests
    ]


@pytest.mark.parametrize(
    "refusal",
    [
        scripted_error(301, "PermanentRedirect", MOVED),
        scripted_error(307, "TemporaryRedirect", MOVED),
        scripted_error(400, "AuthorizationHeaderMalformed", region=THERE),
        scripted_error(400, "IllegalLocationConstraintException", MOVED),
    ],
)
@pytest_twisted.ensureDeferred
async def test_a_redirect_to_a_region_is_followed_and_remembered(
    server: ScriptedS3, client: S3Client, events: RecordedEvents, refusal: ScriptedResponse
) -> None:
    server.script(refusal, FINE, FINE)
    for body in (b"first", b"second"):
        assert await client.put(NAME, (body,), ObjectProperties()) == '"e"'
    assert regions(server) == [HERE, THERE, THERE]
    assert [request.body for request in server.requests] == [b"first", b"first", b"second"]
    told = [facts for name, facts in events.told if name == "region-followed"]
    assert told == [{"bucket": "bucket", "region": THERE}]


@pytest.mark.parametrize("status", [301, 307, 400])
@pytest_twisted.ensureDeferred
async def test_head_says_so_in_a_header_only(
    server: ScriptedS3, client: S3Client, status: int
) -> None:
    server.script(ScriptedResponse(status, headers=MOVED), FINE)
    await client.head(NAME)
    assert regions(server) == [HERE, THERE]


@pytest_twisted.ensureDeferred
async def test_requests_under_way_follow_too_and_it_is_logged_once(
    server: ScriptedS3, client: S3Client, events: RecordedEvents
) -> None:
    server.disturb(
        lambda request: f"/{HERE}/" in request.headers["authorization"],
        *[scripted_error(301, "PermanentRedirect", MOVED)] * 3,
    )
    server.script(*[FINE] * 3)
    await gatherResults([Deferred.fromCoroutine(client.head(NAME)) for _ in range(3)])
    assert sorted(regions(server)) == [THERE] * 3 + [HERE] * 3
    assert events.names().count("region-followed") == 1


@pytest_twisted.ensureDeferred
async def test_a_redirect_back_is_not_followed(server: ScriptedS3, client: S3Client) -> None:
    back = {"x-amz-bucket-region": HERE}
    server.script(
        scripted_error(301, "PermanentRedirect", MOVED),
        scripted_error(301, "PermanentRedirect", back),
    )
    with pytest.raises(errors.StoreError, match=HERE):
        await client.get(NAME, None, CollectingSink())
    assert len(server.requests) == 2


@pytest.mark.parametrize("region", [HERE, "evil.example/", "a b", "-" * 65])
@pytest_twisted.ensureDeferred
async def test_no_news_and_nonsense_are_not_followed(
    server: ScriptedS3, client: S3Client, region: str
) -> None:
    server.script(scripted_error(301, "PermanentRedirect", {"x-amz-bucket-region": region}))
    with pytest.raises(errors.StoreError):
        await client.get(NAME, None, CollectingSink())
    assert len(server.requests) == 1


@pytest.mark.parametrize("status", [403, 404])
@pytest_twisted.ensureDeferred
async def test_other_answers_name_a_region_in_passing(
    server: ScriptedS3, client: S3Client, status: int
) -> None:
    server.script(scripted_error(status, "NoSuchKey" if status == 404 else "AccessDenied", MOVED))
    with pytest.raises(errors.StoreError):
        await client.get(NAME, None, CollectingSink())
    assert len(server.requests) == 1


def test_on_aws_the_host_changes() -> None:
    endpoints = Endpoints(StoreSettings(region=HERE))
    assert endpoints.of_bucket("one").base_url == "https://one.s3.us-east-1.amazonaws.com"
    assert endpoints.move("one", THERE)
    assert endpoints.of_bucket("one").base_url == "https://one.s3.eu-central-1.amazonaws.com"
    assert endpoints.of_bucket("one").signing_region == THERE
    assert endpoints.of_bucket("two").signing_region == HERE
    assert not endpoints.move("one", THERE)
    assert endpoints.move("one", HERE)
    endpoints.take_back("one")
    endpoints.take_back("two")
    assert endpoints.of_bucket("one").signing_region == HERE


@pytest_twisted.ensureDeferred
async def test_a_region_where_no_one_answers_is_left_again(
    server: ScriptedS3, client: S3Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One wrong answer, of a proxy perhaps, hid the bucket until the gateway was restarted."""
    resolve = Endpoints._resolve

    def nowhere(self: Endpoints, bucket: str, region: str) -> BucketEndpoint:
        found = resolve(self, bucket, region)
        away = "http://127.0.0.1:1" if region == THERE else found.base_url
        return replace(found, base_url=away)

    monkeypatch.setattr(Endpoints, "_resolve", nowhere)
    server.script(scripted_error(301, "PermanentRedirect", MOVED), FINE, FINE)
    for _ in range(2):
        await client.head(NAME)
    assert regions(server) == [HERE] * 3
