"""A file read through faults: the download, the client and HTTP together, on a scripted server."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater

from sftpgw.errors import ObjectChanged, StoreUnavailable
from sftpgw.files.downloads.download import Download
from sftpgw.files.memory.budget import Budget
from sftpgw.model.settings import StoreSettings
from sftpgw.model.store import ObjectName
from sftpgw.s3.s3_client import S3Client
from sftpgw.testing.scripted_s3 import ScriptedResponse, ScriptedS3, scripted_error
from sftpgw.testing.session_contexts import session_context
from tests.stores import RecordedEvents

DATA = bytes(range(100))
ETAG = '"e1"'
MODIFIED = "Wed, 21 Oct 2015 07:28:00 GMT"


def part(start: int, stop: int, *, etag: str = ETAG, **reply: object) -> ScriptedResponse:
    headers = {
        "ETag": etag,
        "Last-Modified": MODIFIED,
        "Content-Range": f"bytes {start}-{stop - 1}/{len(DATA)}",
    }
    return ScriptedResponse(206, DATA[start:stop], headers, **reply)  # type: ignore[arg-type]


@pytest.fixture
def events() -> RecordedEvents:
    return RecordedEvents()


@pytest.fixture
def download(client: S3Client, events: RecordedEvents) -> Iterator[Download]:
    budget = Budget(10_000)
    settings = StoreSettings(download_part_size_bytes=40, download_concurrency=1)
    context = session_context(client, budget=budget, events=events, settings=settings)
    download = Download(context, ObjectName("bucket", "key"))
    yield download
    download.close()
    assert budget.held_bytes == 0
    assert "defect" not in events.names()


async def read(download: Download, start: int, stop: int) -> bytes:
    data = download.read(start, stop - start)
    return b"".join(await data if isinstance(data, Deferred) else data)


@pytest_twisted.ensureDeferred
async def test_a_body_that_breaks_off_is_gone_on_with_from_its_last_byte(
    server: ScriptedS3, download: Download
) -> None:
    server.script(part(0, 40, cut_after_bytes=25), part(25, 40))
    await download.open()
    assert await read(download, 0, 40) == DATA[:40]
    again = server.requests[1].headers
    assert (again["range"], again["if-match"]) == ("bytes=25-39", ETAG)
    assert len(server.requests) == 2


@pytest_twisted.ensureDeferred
async def test_an_object_replaced_while_its_body_breaks_off_is_never_mixed(
    server: ScriptedS3, download: Download
) -> None:
    server.script(part(0, 40, cut_after_bytes=25), scripted_error(412, "PreconditionFailed"))
    await download.open()
    assert await read(download, 0, 25) == DATA[:25]
    with pytest.raises(ObjectChanged):
        await read(download, 25, 40)
    with pytest.raises(ObjectChanged):
        await read(download, 0, 10)


@pytest_twisted.ensureDeferred
async def test_a_store_that_ignores_if_match_is_found_out_by_the_etag(
    server: ScriptedS3, download: Download
) -> None:
    server.script(part(0, 40), part(40, 80, etag='"e2"'))
    await download.open()
    assert await read(download, 0, 20) == DATA[:20]
    with pytest.raises(ObjectChanged):
        await read(download, 40, 80)


@pytest_twisted.ensureDeferred
async def test_a_store_that_stays_down_fails_the_read_and_the_next_one_may_succeed(
    server: ScriptedS3, download: Download
) -> None:
    server.script(part(0, 40), *[scripted_error(503, "SlowDown")] * 20, part(70, 80))
    await download.open()
    with pytest.raises(StoreUnavailable):
        await read(download, 70, 80)
    assert await read(download, 70, 80) == DATA[70:80]


@pytest_twisted.ensureDeferred
async def test_an_unread_first_range_is_cut_off_and_its_bytes_stay(
    server: ScriptedS3, download: Download
) -> None:
    server.script(replace(part(0, 40), body=DATA[:15], length=40, stalls=True))
    await download.open()
    while download._ranges and any(each.request for each in download._ranges.values()):
        await deferLater(reactor, 0)
    server.script(part(15, 40))
    assert await read(download, 0, 15) == DATA[:15]
