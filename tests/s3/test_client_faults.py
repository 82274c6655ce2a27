"""`S3Client` and a store that misbehaves."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from email.utils import formatdate
from urllib.parse import parse_qsl

import pytest
import pytest_twisted
from botocore.credentials import ReadOnlyCredentials
from twisted.internet import task
from twisted.internet.defer import CancelledError, Deferred

from sftpgw import errors
from sftpgw.model.settings import ChecksumChoice
from sftpgw.model.store import (
    ByteRange,
    Capabilities,
    MultipartUpload,
    ObjectInfo,
    ObjectName,
    ObjectProperties,
    StoredPart,
    WriteCondition,
)
from sftpgw.s3.request_executor import SHORT_DEADLINE_ATTEMPTS
from sftpgw.s3.s3_client import S3Client
from sftpgw.testing.scripted_s3 import (
    RecordedRequest,
    ScriptedResponse,
    ScriptedS3,
    error_document,
    scripted_error,
)
from tests.scripted_server import Connect
from tests.stores import CollectingSink, RecordedEvents

NAME = ObjectName("bucket", "key")
UPLOAD = MultipartUpload(NAME, "upload-1")
SOURCE = ObjectInfo(ObjectName("bucket", "a b/é"), 5, '"source"', 0.0)
PLAIN = ObjectProperties()
IF_ABSENT = WriteCondition.IF_ABSENT


def now() -> str:
    """The date of a response: a current one, since an old one looks like a wrong clock here."""
    return formatdate(usegmt=True)


DATA = b"0123456789"


def object_headers(etag: str = '"e1"', **more: str) -> dict[str, str]:
    named = {name.replace("_", "-"): value for name, value in more.items()}
    return {"ETag": etag, "Last-Modified": now()} | named


def partial(start: int, stop: int, *, size: int = 10, **reply: object) -> ScriptedResponse:
    headers = object_headers(content_range=f"bytes {start}-{stop - 1}/{size}")
    return ScriptedResponse(206, DATA[start:stop], headers, **reply)  # type: ignore[arg-type]


def stored(etag: str = '"e1"', size: int = 10, **more: str) -> ScriptedResponse:
    """A response to HEAD, or to PUT."""
    return ScriptedResponse(200, b"", object_headers(etag, **more), length=size)


def done(kind: str, etag: str = '"e1"') -> ScriptedResponse:
    return ScriptedResponse(200, f"<{kind}><ETag>{etag}</ETag></{kind}>".encode())


def md5(data: bytes) -> str:
    return hashlib.md5(data).hexdigest()


async def got(client: S3Client, wanted: ByteRange | None = None, **options: str) -> CollectingSink:
    sink = CollectingSink()
    await client.get(NAME, wanted, sink, **options)
    return sink


class TestRetries:
    @pytest.mark.parametrize(
        "fault",
        [
            scripted_error(500, "InternalError"),
            scripted_error(503, "SlowDown"),
            scripted_error(400, "RequestTimeout"),
            scripted_error(409, "OperationAborted"),
            scripted_error(409, "ConditionalRequestConflict"),
            ScriptedResponse(502, b"<html>Bad gateway</html>"),
            ScriptedResponse(503),
            ScriptedResponse(is_reset=True),
            ScriptedResponse(200, cut_after_bytes=0, length=5),
        ],
    )
    @pytest_twisted.ensureDeferred
    async def test_faults_that_pass_are_retried(
        self, server: ScriptedS3, client: S3Client, events: RecordedEvents, fault: ScriptedResponse
    ) -> None:
        server.script(fault, stored('"new"', 0))
        assert await client.put(NAME, (b"a", b"b"), PLAIN) == '"new"'
        assert [request.body for request in server.requests] == [b"ab", b"ab"]
        assert client.requests["PutObject"] == 2
        assert events.names() == ["capabilities-known", "s3-request-retried"]

    @pytest_twisted.ensureDeferred
    async def test_attempts_are_bounded(
        self, server: ScriptedS3, connected: Connect, events: RecordedEvents
    ) -> None:
        client = connected(max_attempts=3).bind(session="s1")
        server.script(*[scripted_error(503, "SlowDown")] * 3)
        with pytest.raises(errors.StoreUnavailable) as gave_up:
            await client.head_bucket("bucket")
        assert (gave_up.value.status, len(server.requests)) == (503, 3)
        assert events.names() == ["s3-request-retried", "s3-request-retried", "s3-gave-up"]
        facts = events.told[-1][1]
        assert facts["session"] == "s1"
        assert (facts["operation"], facts["attempt"]) == ("HeadBucket", 3)

    @pytest_twisted.ensureDeferred
    async def test_trying_out_a_store_is_not_patient(
        self, server: ScriptedS3, client: S3Client
    ) -> None:
        server.script(*[scripted_error(503, "SlowDown")] * 3)
        with pytest.raises(errors.StoreUnavailable):
            await client.assuming(Capabilities()).head(NAME)
        assert client.requests["HeadObject"] == 3

    @pytest_twisted.ensureDeferred
    async def test_an_unreachable_store_is_given_up(
        self, server: ScriptedS3, connected: Connect
    ) -> None:
        client = connected(max_attempts=2, connect_timeout_seconds=5.0)
        await server.close()
        with pytest.raises(errors.StoreUnavailable) as gave_up:
            await client.put(NAME, (b"x",), PLAIN)
        assert gave_up.value.code == "ConnectFailed"

    @pytest.mark.parametrize(
        ("reply", "kind"),
        [
            (scripted_error(403, "AccessDenied"), errors.AccessDenied),
            (scripted_error(404, "NoSuchKey"), errors.NoSuchObject),
            (scripted_error(404, "NoSuchBucket"), errors.NoSuchBucket),
            (scripted_error(403, "InvalidObjectState"), errors.ObjectArchived),
            (scripted_error(412, "PreconditionFailed"), errors.PreconditionFailed),
            (scripted_error(416, "InvalidRange"), errors.RangeNotSatisfiable),
            (scripted_error(501, "NotImplemented"), errors.NotImplementedByStore),
            (scripted_error(301, "PermanentRedirect"), errors.StoreError),
            (ScriptedResponse(302, headers={"Location": "http://127.0.0.1:9/"}), errors.StoreError),
        ],
    )
    @pytest_twisted.ensureDeferred
    async def test_permanent_faults_are_not_retried(
        self,
        server: ScriptedS3,
        client: S3Client,
        reply: ScriptedResponse,
        kind: type[errors.StoreError],
    ) -> None:
        server.script(reply)
        with pytest.raises(kind) as refused:
            await got(client)
        assert type(refused.value) is kind
        assert len(server.requests) == 1

    @pytest.mark.parametrize(
        ("status", "kind"),
        [
            (403, errors.AccessDenied),
            (404, errors.NoSuchObject),
            (400, errors.StoreError),
            (412, errors.PreconditionFailed),
        ],
    )
    @pytest_twisted.ensureDeferred
    async def test_head_has_only_a_status(
        self, server: ScriptedS3, client: S3Client, status: int, kind: type[errors.StoreError]
    ) -> None:
        server.script(scripted_error(status, "Unseen", {"Date": now()}))
        with pytest.raises(kind) as refused:
            await client.head(NAME)
        assert type(refused.value) is kind
        assert len(server.requests) == 1

    @pytest_twisted.ensureDeferred
    async def test_the_request_id_goes_along(
        self, server: ScriptedS3, client: S3Client, events: RecordedEvents
    ) -> None:
        server.script(scripted_error(403, "AccessDenied", {"x-amz-request-id": "ID7"}))
        with pytest.raises(errors.AccessDenied) as refused:
            await got(client)
        assert refused.value.request_id == "ID7"
        assert events.told[0][1]["request_id"] == "ID7"
        assert "secret-of-the-test" not in repr(events.told)

    @pytest_twisted.ensureDeferred
    async def test_silence_times_out(self, server: ScriptedS3, connected: Connect) -> None:
        client = connected(read_timeout_seconds=0.05, max_attempts=2)
        server.script(ScriptedResponse(is_silent=True), stored('"new"', 0))
        assert await client.put(NAME, (b"x",), PLAIN) == '"new"'
        server.script(*[ScriptedResponse(is_silent=True)] * 2)
        with pytest.raises(errors.StoreUnavailable) as gave_up:
            await got(client)
        assert gave_up.value.code == "TimedOut"

    @pytest_twisted.ensureDeferred
    async def test_a_refusal_before_the_body_is_sent(
        self, server: ScriptedS3, connected: Connect
    ) -> None:
        client = connected(read_timeout_seconds=5.0)
        reply = ScriptedResponse(404, error_document("NoSuchUpload"), is_early=True)
        server.script(reply)
        with pytest.raises(errors.NoSuchUpload):
            await client.upload_part(UPLOAD, 1, (bytes(32 * 1024 * 1024),))
        assert len(server.requests) == 1

    @pytest_twisted.ensureDeferred
    async def test_connections_are_used_again(self, server: ScriptedS3, client: S3Client) -> None:
        server.script(*[stored()] * 3)
        for _ in range(3):
            await client.head(NAME)
        assert server.connections == 1

    @pytest_twisted.ensureDeferred
    async def test_cancelling_drops_the_connection(
        self, server: ScriptedS3, client: S3Client
    ) -> None:
        server.script(ScriptedResponse(is_silent=True))
        waiting = Deferred.fromCoroutine(got(client))
        await server.arrived(1)
        waiting.cancel()
        with pytest.raises(CancelledError):
            await waiting
        await server.all_gone()
        assert len(server.requests) == 1

    @pytest_twisted.ensureDeferred
    async def test_cancelling_between_attempts(
        self, server: ScriptedS3, client: S3Client, events: RecordedEvents
    ) -> None:
        from twisted.internet import reactor  # noqa: PLC0415

        server.script(scripted_error(503, "SlowDown", {"Retry-After": "100"}))
        waiting = Deferred.fromCoroutine(got(client))
        while not events.told:
            await task.deferLater(reactor, 0)
        assert events.told[0][1]["wait_seconds"] == 100.0
        waiting.cancel()
        with pytest.raises(CancelledError):
            await waiting


class TestGet:
    @pytest_twisted.ensureDeferred
    async def test_a_cut_body_is_gone_on_with(self, server: ScriptedS3, client: S3Client) -> None:
        server.script(
            partial(2, 9, cut_after_bytes=3), partial(5, 9, cut_after_bytes=1), partial(6, 9)
        )
        sink = await got(client, ByteRange(2, 9), if_match='"e1"')
        assert sink.data == DATA[2:9]
        assert sink.info.size_bytes == 10
        assert [request.headers["range"] for request in server.requests] == [
            "bytes=2-8",
            "bytes=5-8",
            "bytes=6-8",
        ]
        assert {request.headers["if-match"] for request in server.requests} == {'"e1"'}

    @pytest_twisted.ensureDeferred
    async def test_a_whole_object_is_gone_on_with_if_it_is_the_same(
        self, server: ScriptedS3, client: S3Client
    ) -> None:
        server.script(
            ScriptedResponse(200, DATA, object_headers(), cut_after_bytes=4), partial(4, 10)
        )
        assert (await got(client)).data == DATA
        assert "range" not in server.requests[0].headers
        assert "if-match" not in server.requests[0].headers
        assert server.requests[1].headers["range"] == "bytes=4-"
        assert server.requests[1].headers["if-match"] == '"e1"'

    @pytest_twisted.ensureDeferred
    async def test_a_short_206_is_gone_on_with(self, server: ScriptedS3, client: S3Client) -> None:
        server.script(partial(0, 4), partial(4, 8))
        assert (await got(client, ByteRange(0, 8))).data == DATA[:8]

    @pytest_twisted.ensureDeferred
    async def test_progress_allows_more_attempts(
        self, server: ScriptedS3, connected: Connect
    ) -> None:
        client = connected(max_attempts=2)
        server.script(*[partial(at, 10, cut_after_bytes=1) for at in range(9)], partial(9, 10))
        assert (await got(client, ByteRange(0, 10))).data == DATA

    @pytest_twisted.ensureDeferred
    async def test_without_progress_attempts_end(
        self, server: ScriptedS3, connected: Connect
    ) -> None:
        client = connected(max_attempts=2)
        server.script(*[partial(0, 10, cut_after_bytes=0)] * 2)
        with pytest.raises(errors.StoreUnavailable):
            await got(client, ByteRange(0, 10))

    @pytest_twisted.ensureDeferred
    async def test_a_body_that_stalls(self, server: ScriptedS3, connected: Connect) -> None:
        client = connected(read_timeout_seconds=0.05)
        server.script(partial(0, 10, cut_after_bytes=4, stalls=True), partial(4, 10))
        assert (await got(client, ByteRange(0, 10))).data == DATA

    @pytest_twisted.ensureDeferred
    async def test_an_object_replaced_while_being_read_fails_the_get(
        self, server: ScriptedS3, client: S3Client
    ) -> None:
        server.script(partial(0, 10, cut_after_bytes=4), scripted_error(412, "PreconditionFailed"))
        sink = CollectingSink()
        with pytest.raises(errors.PreconditionFailed):
            await client.get(NAME, ByteRange(0, 10), sink)
        assert sink.data == DATA[:4]

    @pytest_twisted.ensureDeferred
    async def test_a_store_that_ignores_if_match(
        self, server: ScriptedS3, client: S3Client
    ) -> None:
        server.script(partial(0, 10))
        sink = CollectingSink()
        with pytest.raises(errors.PreconditionFailed):
            await client.get(NAME, ByteRange(0, 10), sink, if_match='"other"')
        assert (sink.infos, sink.data) == ([], b"")

    @pytest.mark.parametrize(
        ("wanted", "reply"),
        [
            (ByteRange(3, 7), ScriptedResponse(200, DATA, object_headers())),
            (ByteRange(0, 7), ScriptedResponse(200, DATA, object_headers())),
            (ByteRange(3, 7), partial(0, 7)),
            (ByteRange(3, 7), partial(3, 8)),
            (ByteRange(3, 7), partial(2, 6)),
        ],
    )
    @pytest_twisted.ensureDeferred
    async def test_a_store_that_sends_something_else(
        self, server: ScriptedS3, client: S3Client, wanted: ByteRange, reply: ScriptedResponse
    ) -> None:
        server.script(reply)
        sink = CollectingSink()
        with pytest.raises(errors.StoreError) as refused:
            await client.get(NAME, wanted, sink)
        assert refused.value.code == "RangeIgnored"
        assert (sink.infos, sink.data) == ([], b"")

    @pytest_twisted.ensureDeferred
    async def test_the_whole_is_fine_if_it_was_wanted(
        self, server: ScriptedS3, client: S3Client
    ) -> None:
        server.script(ScriptedResponse(200, DATA, object_headers()))
        assert (await got(client, ByteRange(0, 10))).data == DATA

    @pytest_twisted.ensureDeferred
    async def test_a_body_longer_than_promised_fails_the_get(
        self, server: ScriptedS3, client: S3Client
    ) -> None:
        headers = object_headers(content_range="bytes 0-3/10")
        server.script(ScriptedResponse(206, DATA, headers))
        sink = CollectingSink()
        with pytest.raises(errors.StoreError) as refused:
            await client.get(NAME, ByteRange(0, 4), sink)
        assert refused.value.code == "TooManyBytes"
        assert len(sink.data) <= 4

    @pytest_twisted.ensureDeferred
    async def test_encoded_content_is_not_decoded(
        self, server: ScriptedS3, client: S3Client
    ) -> None:
        server.script(ScriptedResponse(200, b"not gzip", object_headers(content_encoding="gzip")))
        assert (await got(client)).data == b"not gzip"
        assert "accept-encoding" not in server.requests[0].headers

    @pytest_twisted.ensureDeferred
    async def test_an_empty_range_is_not_asked_for(
        self, server: ScriptedS3, client: S3Client
    ) -> None:
        with pytest.raises(errors.StoreError):
            await got(client, ByteRange(4, 4))
        assert server.requests == []

    @pytest_twisted.ensureDeferred
    async def test_an_exception_of_the_sink_is_raised(
        self, server: ScriptedS3, client: S3Client
    ) -> None:
        class Refusing(CollectingSink):
            def received(self, data: bytes) -> None:
                raise ZeroDivisionError

        server.script(ScriptedResponse(200, DATA, object_headers()))
        with pytest.raises(ZeroDivisionError):
            await client.get(NAME, None, Refusing())
        assert len(server.requests) == 1


class TestLostAnswers:
    @pytest_twisted.ensureDeferred
    async def test_a_put_whose_success_came_before_its_body(
        self, server: ScriptedS3, client: S3Client
    ) -> None:
        """The store cannot have the whole body: its success does not count."""
        large, early = (b"x" * (64 << 20),), replace(stored('"early"', 0), is_early=True)
        server.script(early, stored('"whole"', 0))
        assert await client.put(NAME, large, PLAIN) == '"whole"'
        assert [len(request.body) for request in server.requests][1:] == [64 << 20]
        refused = scripted_error(412, "PreconditionFailed")
        server.script(early, refused, stored('"cut"', 65536))
        with pytest.raises(errors.PreconditionFailed):
            await client.put(NAME, large, PLAIN, IF_ABSENT)

    @pytest_twisted.ensureDeferred
    async def test_a_put_that_had_worked(self, server: ScriptedS3, client: S3Client) -> None:
        ours = f'"{md5(DATA)}"'
        server.script(
            ScriptedResponse(is_reset=True), scripted_error(412, "PreconditionFailed"), stored(ours)
        )
        assert await client.put(NAME, (DATA,), PLAIN, IF_ABSENT) == ours
        assert [request.method for request in server.requests] == ["PUT", "PUT", "HEAD"]

    @pytest_twisted.ensureDeferred
    async def test_a_store_that_is_away_is_not_waited_for_twice(
        self, server: ScriptedS3, connected: Connect
    ) -> None:
        client = connected(max_attempts=6)
        server.respond_with(lambda request: ScriptedResponse(is_reset=True))
        with pytest.raises(errors.StoreUnavailable):
            await client.put(NAME, (DATA,), PLAIN)
        methods = [request.method for request in server.requests]
        assert methods == ["PUT"] * 6 + ["HEAD"] * SHORT_DEADLINE_ATTEMPTS

    @pytest_twisted.ensureDeferred
    async def test_a_put_that_had_worked_with_a_key_that_is_gone(
        self, server: ScriptedS3, connected: Connect
    ) -> None:
        """The key encrypts the checksum of the object, and none of its other properties."""
        client = connected(checksum=ChecksumChoice.AUTO)
        ours = f'"{md5(DATA)}"'
        server.script(ScriptedResponse(is_reset=True), scripted_error(412, "PreconditionFailed"))
        server.script(ScriptedResponse(400), stored(ours))
        assert await client.put(NAME, (DATA,), PLAIN, IF_ABSENT) == ours

    @pytest_twisted.ensureDeferred
    async def test_a_put_that_came_too_late(self, server: ScriptedS3, client: S3Client) -> None:
        others = f'"{md5(b"others")}"'
        server.script(
            ScriptedResponse(is_reset=True),
            scripted_error(412, "PreconditionFailed"),
            stored(others),
        )
        with pytest.raises(errors.PreconditionFailed):
            await client.put(NAME, (DATA,), PLAIN, IF_ABSENT)

    @pytest_twisted.ensureDeferred
    async def test_a_412_at_once_needs_no_second_look(
        self, server: ScriptedS3, client: S3Client
    ) -> None:
        server.script(scripted_error(412, "PreconditionFailed"))
        with pytest.raises(errors.PreconditionFailed):
            await client.put(NAME, (DATA,), PLAIN, IF_ABSENT)
        assert len(server.requests) == 1

    @pytest_twisted.ensureDeferred
    async def test_a_complete_that_had_worked(self, server: ScriptedS3, client: S3Client) -> None:
        parts = tuple(StoredPart(n, 5, f'"{md5(bytes([n]))}"') for n in (1, 2))
        joined = md5(b"".join(bytes.fromhex(part.etag.strip('"')) for part in parts))
        server.script(
            ScriptedResponse(is_reset=True),
            scripted_error(404, "NoSuchUpload"),
            stored(f'"{joined}-2"'),
        )
        assert await client.complete_upload(UPLOAD, parts) == f'"{joined}-2"'

    @pytest.mark.parametrize(
        "head", [stored(f'"{"0" * 32}-2"'), ScriptedResponse(404), ScriptedResponse(403)]
    )
    @pytest_twisted.ensureDeferred
    async def test_a_complete_that_had_not_worked(
        self, server: ScriptedS3, client: S3Client, head: ScriptedResponse
    ) -> None:
        parts = (StoredPart(1, 10, f'"{md5(b"1")}"'),)
        server.script(ScriptedResponse(is_reset=True), scripted_error(404, "NoSuchUpload"), head)
        with pytest.raises(errors.NoSuchUpload):
            await client.complete_upload(UPLOAD, parts)

    @pytest_twisted.ensureDeferred
    async def test_no_such_upload_at_once_is_final(
        self, server: ScriptedS3, client: S3Client
    ) -> None:
        server.script(scripted_error(404, "NoSuchUpload"))
        with pytest.raises(errors.NoSuchUpload):
            await client.complete_upload(UPLOAD, (StoredPart(1, 10, '"x"'),))
        assert len(server.requests) == 1

    @pytest_twisted.ensureDeferred
    async def test_a_copy_onto_itself_that_had_worked(
        self, server: ScriptedS3, client: S3Client
    ) -> None:
        """The copy changes the ETag of a multipart object, so that a second attempt is refused."""
        late = ObjectProperties({"mtime": "2"})
        refused = scripted_error(412, "PreconditionFailed")
        later = formatdate(4e9, usegmt=True)  # than the request, however slow this machine is
        ours = stored('"new"', 5, x_amz_meta_mtime="2", Last_Modified=later)
        server.script(ScriptedResponse(is_reset=True), refused, ours)
        source = replace(SOURCE, name=NAME, size_bytes=5)
        asked = client.copy(source, NAME, properties=late, if_match=source.etag)
        assert await asked == '"new"'
        first, second, _ = server.requests
        assert first.headers["if-match"] == second.headers["if-match"] == '"source"'
        others = stored('"new"', 5, x_amz_meta_mtime="3", Last_Modified=later)
        server.script(ScriptedResponse(is_reset=True), refused, others)
        with pytest.raises(errors.PreconditionFailed):
            await client.copy(source, NAME, properties=late, if_match=source.etag)

    @pytest_twisted.ensureDeferred
    async def test_a_delete_that_had_worked(self, server: ScriptedS3, client: S3Client) -> None:
        server.script(
            ScriptedResponse(is_reset=True),
            scripted_error(412, "PreconditionFailed"),
            ScriptedResponse(404),
        )
        await client.delete(NAME, if_match='"e1"')
        server.script(
            ScriptedResponse(is_reset=True), scripted_error(412, "PreconditionFailed"), stored()
        )
        with pytest.raises(errors.PreconditionFailed):
            await client.delete(NAME, if_match='"e1"')


class TestSuccessThatIsNone:
    PART = StoredPart(1, 5, '"p1"')

    @pytest_twisted.ensureDeferred
    async def test_complete_is_tried_again(self, server: ScriptedS3, client: S3Client) -> None:
        error = ScriptedResponse(200, b"\n \n" + error_document("InternalError"))
        server.script(error, done("CompleteMultipartUploadResult"))
        assert await client.complete_upload(UPLOAD, (self.PART,)) == '"e1"'
        assert len(server.requests) == 2

    @pytest_twisted.ensureDeferred
    async def test_copies_are_tried_again(self, server: ScriptedS3, client: S3Client) -> None:
        server.script(ScriptedResponse(200, error_document("SlowDown")), done("CopyObjectResult"))
        assert await client.copy(SOURCE, NAME) == '"e1"'
        server.script(
            ScriptedResponse(200, error_document("SlowDown")), done("CopyPartResult", '"p"')
        )
        part = await client.copy_part(UPLOAD, 3, SOURCE, ByteRange(1, 4))
        assert part == StoredPart(3, 3, '"p"')

    @pytest_twisted.ensureDeferred
    async def test_an_error_that_stays(self, server: ScriptedS3, connected: Connect) -> None:
        client = connected(max_attempts=2)
        server.script(
            *[ScriptedResponse(200, error_document("InternalError"))] * 2, ScriptedResponse(404)
        )
        with pytest.raises(errors.StoreUnavailable):
            await client.complete_upload(UPLOAD, (self.PART,))

    @pytest.mark.parametrize("body", [b"", b"<html/>", b"<CompleteMultipartUploadResult/>"])
    @pytest_twisted.ensureDeferred
    async def test_a_success_without_a_result(
        self, server: ScriptedS3, connected: Connect, body: bytes
    ) -> None:
        client = connected(max_attempts=1)
        server.script(ScriptedResponse(200, body), ScriptedResponse(404))
        with pytest.raises(errors.StoreUnavailable):
            await client.complete_upload(UPLOAD, (self.PART,))

    @pytest_twisted.ensureDeferred
    async def test_a_conflict_at_complete_is_final(
        self, server: ScriptedS3, client: S3Client
    ) -> None:
        server.script(scripted_error(409, "ConditionalRequestConflict"))
        with pytest.raises(errors.ConditionalConflict):
            await client.complete_upload(UPLOAD, (self.PART,), IF_ABSENT)
        assert len(server.requests) == 1

    @pytest.mark.parametrize("body", [b"", b"<html/>", b"\x00\xff"])
    @pytest_twisted.ensureDeferred
    async def test_a_list_that_is_none(
        self, server: ScriptedS3, connected: Connect, body: bytes
    ) -> None:
        client = connected(max_attempts=1)
        server.script(ScriptedResponse(200, body))
        with pytest.raises(errors.StoreUnavailable) as gave_up:
            await client.list("bucket", "")
        assert gave_up.value.code == "BadAnswer"


class Renewable:
    """Credentials that can be renewed, by counting."""

    def __init__(self) -> None:
        self.serial = 1

    async def current(self) -> ReadOnlyCredentials:
        return ReadOnlyCredentials(f"KEY{self.serial}", "secret", None)

    async def renew(self, refused: ReadOnlyCredentials, *, is_guess: bool = False) -> bool:
        self.serial += 1
        return True


class TestIdentityAndClock:
    @pytest_twisted.ensureDeferred
    async def test_expired_credentials_are_renewed_once(
        self, server: ScriptedS3, connected: Connect
    ) -> None:
        client = connected(credentials=Renewable())
        server.script(scripted_error(400, "ExpiredToken"), stored('"new"', 0))
        await client.put(NAME, (b"x",), PLAIN)
        keys = [
            request.headers["authorization"].split("Credential=")[1][:4]
            for request in server.requests
        ]
        assert keys == ["KEY1", "KEY2"]
        server.script(*[scripted_error(400, "ExpiredToken")] * 2)
        with pytest.raises(errors.CredentialsUnavailable):
            await client.put(NAME, (b"x",), PLAIN)
        assert len(server.requests) == 4

    @pytest_twisted.ensureDeferred
    async def test_a_head_refused_without_a_reason(
        self, server: ScriptedS3, connected: Connect
    ) -> None:
        client = connected(credentials=Renewable())
        server.script(ScriptedResponse(400), stored())
        assert (await client.head(NAME)).size_bytes == 10

    @pytest_twisted.ensureDeferred
    async def test_configured_credentials_cannot_be_renewed(
        self, server: ScriptedS3, client: S3Client
    ) -> None:
        server.script(scripted_error(400, "ExpiredToken"))
        with pytest.raises(errors.CredentialsUnavailable):
            await got(client)
        assert len(server.requests) == 1

    @pytest.mark.parametrize("method", ["head", "put"])
    @pytest_twisted.ensureDeferred
    async def test_a_clock_that_is_off(
        self, server: ScriptedS3, connected: Connect, events: RecordedEvents, method: str
    ) -> None:
        client = connected(wall_clock=lambda: 1_000_000_000.0)
        store_time = {"Date": formatdate(1_000_003_600.0, usegmt=True)}
        server.script(scripted_error(403, "RequestTimeTooSkewed", store_time), stored('"e"', 0))
        if method == "head":
            await client.head(NAME)
        else:
            await client.put(NAME, (b"x",), PLAIN)
        dates = [request.headers["x-amz-date"] for request in server.requests]
        assert dates == ["20010909T014640Z", "20010909T024640Z"]
        assert ("clock-corrected", {"offset_seconds": 3600.0}) in events.told


class TestStoredOrDecompressed:
    """GCS decompresses objects with ``Content-Encoding: gzip``, unless it is asked not to."""

    @staticmethod
    def gcs(request: RecordedRequest) -> ScriptedResponse:
        packed, plain = DATA[:6], DATA * 3
        stored = {"x-goog-stored-content-length": "6", "x-goog-stored-content-encoding": "gzip"}
        if request.headers.get("accept-encoding") != "gzip":
            return ScriptedResponse(200, plain, object_headers(**stored), is_chunked=True)
        headers = object_headers(content_encoding="gzip", **stored)
        if "range" not in request.headers:
            return ScriptedResponse(200, packed, headers)
        first, last = map(int, request.headers["range"].removeprefix("bytes=").split("-"))
        body = packed[first : last + 1]
        content_range = f"bytes {first}-{first + len(body) - 1}/6"
        return ScriptedResponse(206, body, headers | {"Content-Range": content_range})

    @pytest_twisted.ensureDeferred
    async def test_a_compressed_object_is_asked_for_as_it_is_stored(
        self, server: ScriptedS3, client: S3Client
    ) -> None:
        server.respond_with(self.gcs)
        sink = await got(client, ByteRange(0, 4))
        assert (sink.data, sink.info.size_bytes) == (DATA[:4], 6)
        assert sink.info.system_headers == {"content-encoding": "gzip"}
        assert len(server.requests) == 2
        # From now on, that is what is asked for in this bucket; nowhere else, and unsigned.
        assert (await got(client, ByteRange(4, 100))).data == DATA[4:6]
        assert (await client.head(NAME)).size_bytes == 6
        first, *others = server.requests
        assert "accept-encoding" not in first.headers
        assert [each.headers["accept-encoding"] for each in others] == ["gzip"] * 3
        assert not [each for each in others if "accept-encoding" in each.headers["authorization"]]
        server.script(stored('"e"', 0))
        await client.put(NAME, (b"x",), PLAIN)
        assert "accept-encoding" not in server.requests[-1].headers

    @pytest_twisted.ensureDeferred
    async def test_a_head_tells_of_what_is_stored(
        self, server: ScriptedS3, client: S3Client
    ) -> None:
        """A copy that does not restate the encoding would lose it."""
        server.respond_with(self.gcs)
        info = await client.head(NAME)
        assert (info.size_bytes, info.system_headers) == (6, {"content-encoding": "gzip"})
        told = object_headers(x_goog_stored_content_encoding="identity")
        server.script(ScriptedResponse(200, b"", told, length=6))
        info = await client.head(NAME)
        assert (info.size_bytes, info.system_headers) == (6, {})
        assert len(server.requests) == 2

    @pytest_twisted.ensureDeferred
    async def test_responses_without_an_object_are_not_decompressed(
        self, server: ScriptedS3, client: S3Client
    ) -> None:
        server.respond_with(self.gcs)
        await got(client)
        server.script(
            ScriptedResponse(200, b"<ListBucketResult/>"), ScriptedResponse(200, b"<Tagging/>")
        )
        await client.list("bucket", "")
        await client.tags(NAME)
        assert not [each for each in server.requests[-2:] if "accept-encoding" in each.headers]

    @pytest_twisted.ensureDeferred
    async def test_a_length_other_than_the_stored_one_is_noticed(
        self, server: ScriptedS3, client: S3Client
    ) -> None:
        told = object_headers(**{"x-goog-stored-content-length": "6"})
        server.script(ScriptedResponse(200, DATA, told), ScriptedResponse(200, DATA[:6], told))
        assert (await got(client)).data == DATA[:6]

    @pytest_twisted.ensureDeferred
    async def test_a_store_that_decompresses_all_the_same_fails_at_once(
        self, server: ScriptedS3, connected: Connect, events: RecordedEvents
    ) -> None:
        client = connected(max_attempts=20)
        server.script(*[ScriptedResponse(200, DATA, object_headers(), is_chunked=True)] * 2)
        with pytest.raises(errors.StoreError, match="another form of the object"):
            await got(client)
        assert len(server.requests) == 2
        assert events.names() == ["s3-request-retried", "s3-request-failed"]


class TestWhatIsTold:
    @pytest_twisted.ensureDeferred
    async def test_the_log_has_the_stores_message(
        self, server: ScriptedS3, connected: Connect, events: RecordedEvents
    ) -> None:
        client = connected(max_attempts=2)
        server.script(
            scripted_error(503, "SlowDown", message="Please reduce your request rate."),
            scripted_error(403, "AccessDenied", message="no kms:Decrypt for this key"),
            *[scripted_error(500, "InternalError", message="x" * 9000)] * 2,
        )
        with pytest.raises(errors.AccessDenied):
            await got(client)
        with pytest.raises(errors.StoreUnavailable):
            await got(client)
        assert [(name, str(facts["reason"])[:40]) for name, facts in events.told] == [
            ("s3-request-retried", "Please reduce your request rate."),
            ("s3-request-failed", "no kms:Decrypt for this key"),
            ("s3-request-retried", "x" * 40),
            ("s3-gave-up", "x" * 40),
        ]
        assert all(len(str(facts["reason"])) <= 500 for _, facts in events.told)

    @pytest.mark.parametrize(
        ("reply", "words", "code"),
        [
            (
                ScriptedResponse(
                    400,
                    b"Client sent an HTTP request to an HTTPS server.\n",
                    {"Content-Type": "text/plain; charset=utf-8"},
                ),
                "HTTP status 400: Client sent an HTTP request to an HTTPS server.",
                "",
            ),
            (
                ScriptedResponse(400, b"<html>no</html>", {"Content-Type": "text/html"}),
                "HTTP status 400",
                "",
            ),
            (ScriptedResponse(407, b"login"), "HTTP status 407", "ProxyRefused"),
        ],
    )
    @pytest_twisted.ensureDeferred
    async def test_error_pages_of_other_servers_are_quoted(
        self,
        server: ScriptedS3,
        client: S3Client,
        *,
        reply: ScriptedResponse,
        words: str,
        code: str,
    ) -> None:
        server.script(reply)
        with pytest.raises(errors.StoreError) as refused:
            await got(client)
        assert refused.value.message == f"GetObject: {words}"
        assert refused.value.code == code

    @pytest_twisted.ensureDeferred
    async def test_an_error_within_a_success_is_told_by_its_code(
        self, server: ScriptedS3, connected: Connect
    ) -> None:
        client = connected(max_attempts=20)
        server.script(ScriptedResponse(200, error_document("AccessDenied")))
        with pytest.raises(errors.AccessDenied):
            await client.copy(SOURCE, NAME)
        # One copy, and one look at whether it has happened all the same.
        assert [request.method for request in server.requests] == ["PUT", "HEAD"]

    @pytest_twisted.ensureDeferred
    async def test_keys_that_are_asked_too_often(
        self, server: ScriptedS3, client: S3Client
    ) -> None:
        server.script(scripted_error(400, "KMS.ThrottlingException"), ScriptedResponse(200, DATA))
        assert (await got(client)).data == DATA


class TestBlankParameters:
    """A condition of a policy on a missing parameter does not hold, even if it compares with ""."""

    @pytest_twisted.ensureDeferred
    async def test_lists_tell_their_prefix_always(
        self, server: ScriptedS3, client: S3Client
    ) -> None:
        server.script(*[ScriptedResponse(200, b"<ListBucketResult/>")] * 2)
        server.script(ScriptedResponse(200, b"<ListMultipartUploadsResult/>"))
        await client.list("bucket", "")
        await client.list("bucket", "a/", delimiter="/")
        await client.list_uploads("bucket", "")
        plain, below, uploads = [
            dict(parse_qsl(each.target.partition("?")[2], keep_blank_values=True))
            for each in server.requests
        ]
        assert (plain["prefix"], plain["delimiter"]) == ("", "")
        assert (below["prefix"], below["delimiter"]) == ("a/", "/")
        assert "continuation-token" not in plain
        assert uploads == {"uploads": "", "encoding-type": "url", "prefix": ""}


class TestWhatIsSent:
    async def headers_of_copy(
        self,
        server: ScriptedS3,
        client: S3Client,
        source: ObjectInfo = SOURCE,
        properties: ObjectProperties | None = None,
    ) -> Mapping[str, str]:
        server.script(done("CopyObjectResult"))
        await client.copy(source, NAME, IF_ABSENT, properties)
        return server.requests[-1].headers

    @pytest_twisted.ensureDeferred
    async def test_a_copy(self, server: ScriptedS3, client: S3Client) -> None:
        headers = await self.headers_of_copy(server, client)
        assert headers["x-amz-copy-source"] == "bucket/a%20b/%C3%A9"
        assert headers["x-amz-copy-source-if-match"] == '"source"'
        assert headers["if-none-match"] == "*"
        assert "x-amz-metadata-directive" not in headers
        assert "x-amz-storage-class" not in headers

    @pytest_twisted.ensureDeferred
    async def test_a_copy_restates_what_would_be_lost(
        self, server: ScriptedS3, client: S3Client
    ) -> None:
        source = ObjectInfo(
            SOURCE.name,
            5,
            '"source"',
            0.0,
            storage_class="STANDARD_IA",
            content_type="text/x-test",
            system_headers={"content-encoding": "gzip"},
        )
        headers = await self.headers_of_copy(server, client, source)
        assert headers["x-amz-storage-class"] == "STANDARD_IA"
        changed = ObjectProperties({"mtime": "2"})
        headers = await self.headers_of_copy(server, client, source, changed)
        assert headers["x-amz-metadata-directive"] == "REPLACE"
        assert headers["x-amz-meta-mtime"] == "2"
        assert headers["content-type"] == "text/x-test"
        assert headers["content-encoding"] == "gzip"
        assert headers["x-amz-storage-class"] == "STANDARD_IA"

    @pytest_twisted.ensureDeferred
    async def test_a_store_that_lacks_conditions(
        self, server: ScriptedS3, connected: Connect
    ) -> None:
        none = Capabilities(
            conditional_put=False,
            conditional_complete=False,
            conditional_copy=False,
            conditional_delete=False,
            copy_source_condition=False,
        )
        client = connected(capabilities=none)
        server.script(
            stored('"e"', 0),
            done("CompleteMultipartUploadResult"),
            done("CopyObjectResult"),
            done("CopyObjectResult"),
            ScriptedResponse(204),
        )
        await client.put(NAME, (b"x",), PLAIN, IF_ABSENT)
        await client.complete_upload(UPLOAD, (StoredPart(1, 1, '"p"'),), IF_ABSENT)
        await client.copy(SOURCE, NAME, IF_ABSENT)
        await client.copy(SOURCE, NAME, if_match='"e"')
        await client.delete(NAME, if_match='"e"')
        sent = {name for request in server.requests for name in request.headers}
        assert not sent & {"if-none-match", "if-match", "x-amz-copy-source-if-match"}

    @pytest_twisted.ensureDeferred
    async def test_the_configured_storage_class(
        self, server: ScriptedS3, connected: Connect
    ) -> None:
        client = connected(storage_class="INTELLIGENT_TIERING")
        server.script(stored('"e"', 0))
        await client.put(NAME, (b"x",), PLAIN)
        assert server.requests[0].headers["x-amz-storage-class"] == "INTELLIGENT_TIERING"

    @pytest_twisted.ensureDeferred
    async def test_ranges_of_part_copies(self, server: ScriptedS3, client: S3Client) -> None:
        server.script(*[done("CopyPartResult")] * 2)
        await client.copy_part(UPLOAD, 1, SOURCE, ByteRange(0, 5))
        await client.copy_part(UPLOAD, 2, SOURCE, ByteRange(1, 5))
        assert "x-amz-copy-source-range" not in server.requests[0].headers
        assert server.requests[1].headers["x-amz-copy-source-range"] == "bytes=1-4"
        assert server.requests[1].target == "/bucket/key?partNumber=2&uploadId=upload-1"

    @pytest.mark.parametrize("content_type", ["text/plain\r\nX-Evil: 1", "é"])
    @pytest_twisted.ensureDeferred
    async def test_a_header_that_cannot_be_sent(
        self, server: ScriptedS3, client: S3Client, content_type: str
    ) -> None:
        with pytest.raises(errors.StoreError):
            await client.put(NAME, (b"x",), ObjectProperties(content_type=content_type))
        assert server.requests == []
