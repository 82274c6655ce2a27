"""How long the documents of a store may be, and that long ones do not hold up the reactor."""

from __future__ import annotations

import pytest
import pytest_twisted
from twisted.internet.defer import Deferred

from sftpgw import errors
from sftpgw.model.store import ListPage, ObjectName
from sftpgw.model.units import KIB, MIB
from sftpgw.s3.page_reader import AT_ONCE_BYTES, PIECE_BYTES, PageReader
from sftpgw.s3.s3_client import S3Client
from sftpgw.s3.s3_request import MAX_PAGE_BYTES
from sftpgw.testing.cpu_clocks import dear_work
from sftpgw.testing.scripted_s3 import ScriptedResponse, ScriptedS3, error_document
from sftpgw.wire import s3xml
from tests.iterations import IterationClock
from tests.scripted_server import Connect

NAME = ObjectName("bucket", "key")


def page_of(rows: str) -> bytes:
    return f"<ListBucketResult>{rows}</ListBucketResult>".encode()


def longest_row(key: str) -> str:
    """A row with all that S3 may say about an object."""
    checksums = "".join(f"<ChecksumAlgorithm>{name}</ChecksumAlgorithm>" for name in ("A", "B"))
    return (
        f"<Contents><Key>{key}</Key><LastModified>2026-01-02T03:04:05.000Z</LastModified>"
        f"<ETag>&quot;{'0' * 32}-10000&quot;</ETag>{checksums}"
        "<ChecksumType>FULL_OBJECT</ChecksumType><Size>5497558138880</Size>"
        f"<Owner><ID>{'0' * 64}</ID><DisplayName>{'d' * 64}</DisplayName></Owner>"
        "<StorageClass>INTELLIGENT_TIERING</StorageClass><RestoreStatus><IsRestoreInProgress>"
        "false</IsRestoreInProgress><RestoreExpiryDate>2026-01-02T03:04:05.000Z"
        "</RestoreExpiryDate></RestoreStatus></Contents>"
    )


@pytest.mark.parametrize("byte", ["%C3", "&quot;", "&amp;"])
def test_a_page_of_the_longest_keys_is_read(byte: str) -> None:
    """The first one is what a store sends that honours the encoding."""
    document = page_of(longest_row(byte * 1024) * 1000)
    assert len(document) < MAX_PAGE_BYTES
    assert len(s3xml.parse_object_list(document, "bucket").objects) == 1000


@pytest.mark.parametrize("is_chunked", [False, True])
@pytest_twisted.ensureDeferred
async def test_an_error_is_not_read_beyond_its_limit(
    is_chunked: bool, server: ScriptedS3, client: S3Client
) -> None:
    """One of 16 MiB took seconds of one iteration, and 400 MiB of memory."""
    body = b"<Error>" + b"<a/>" * (4 * MIB) + b"<Code>NoSuchKey</Code></Error>"
    server.respond_with(lambda _: ScriptedResponse(404, body, is_chunked=is_chunked))
    with pytest.raises(errors.StoreUnavailable, match="404 with a document of over 65536") as info:
        await client.tags(NAME)
    assert info.value.code == "BadAnswer"


@pytest_twisted.ensureDeferred
async def test_an_error_within_its_limit_is_read(server: ScriptedS3, client: S3Client) -> None:
    document = error_document("NoSuchKey", message="x" * 60_000)
    server.script(ScriptedResponse(404, document))
    with pytest.raises(errors.NoSuchObject):
        await client.tags(NAME)


@pytest_twisted.ensureDeferred
async def test_a_long_page_before_a_store_that_is_away_is_waited_out(
    server: ScriptedS3, client: S3Client
) -> None:
    """Proxies have pages of any size, and the status says enough."""
    server.script(*[ScriptedResponse(503, b"<html>" + b"x" * MIB)] * 4)
    server.respond_with(lambda _: ScriptedResponse(200, page_of("")))
    assert await client.list("bucket", "") == ListPage((), (), None)
    assert len(server.requests) == 5


@pytest.mark.parametrize("operation", ["list", "list_uploads", "tags"])
@pytest_twisted.ensureDeferred
async def test_no_document_is_read_beyond_its_limit(
    operation: str, server: ScriptedS3, client: S3Client
) -> None:
    body = b"<a>" + b" " * (MAX_PAGE_BYTES if "list" in operation else 64 * KIB)
    server.respond_with(lambda _: ScriptedResponse(200, body))
    asking = client.tags(NAME) if operation == "tags" else getattr(client, operation)("bucket", "")
    with pytest.raises(errors.StoreUnavailable, match="200 with a document of over") as info:
        await asking
    assert info.value.code == "BadAnswer"


@pytest_twisted.ensureDeferred
async def test_a_long_page_is_parsed(server: ScriptedS3, connected: Connect) -> None:
    document = page_of(longest_row("k" * 900) * 1000)
    server.script(ScriptedResponse(200, document))
    page = await connected().list("bucket", "")
    assert len(page.objects) == 1000


def test_pages_are_parsed_in_steps_and_take_turns() -> None:
    """256 of them at once took 11 seconds of one iteration."""
    clock = IterationClock()
    pages = PageReader(dear_work(clock, 1))
    document = page_of(longest_row("k" * 900) * 300)
    steps = -(-len(document) // PIECE_BYTES)
    assert steps > 4
    fed: list[int] = []

    class Counted(s3xml.PageParser[ListPage]):
        def feed(self, piece: bytes) -> None:
            fed.append(len(piece))
            super().feed(piece)

    def begin() -> Deferred[ListPage]:
        parser = s3xml.object_list_parser("bucket")
        counted = Counted(parser._reader, parser._finish)
        return Deferred.fromCoroutine(pages.read(counted, document))

    reading = [begin() for _ in range(4)]
    for iteration in range(4 * steps):
        assert len(fed) == iteration
        assert max(fed, default=0) <= PIECE_BYTES
        clock.iterate()
    assert all(len(each.result.objects) == 300 for each in reading)  # type: ignore[attr-defined]
    assert not clock.getDelayedCalls()


def test_a_short_page_is_parsed_at_once() -> None:
    clock = IterationClock()
    document = page_of("<Contents><Key>k</Key></Contents>")
    assert len(document) <= AT_ONCE_BYTES
    reading = Deferred.fromCoroutine(
        PageReader(dear_work(clock, 1)).read(s3xml.object_list_parser("bucket"), document)
    )
    assert reading.result.objects[0].name == ObjectName("bucket", "k")  # type: ignore[attr-defined]
