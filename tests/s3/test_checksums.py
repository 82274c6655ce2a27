"""Checksums: how they are made, sent, and compared with those that the store reports."""

from __future__ import annotations

import base64
import hashlib
import re
from dataclasses import replace

import pytest
import pytest_twisted
from hypothesis import given
from hypothesis import strategies as st

from sftpgw import errors
from sftpgw.model.settings import ChecksumChoice
from sftpgw.model.store import (
    ByteRange,
    Capabilities,
    Checksum,
    ChecksumAlgorithm,
    MultipartUpload,
    ObjectInfo,
    ObjectName,
    ObjectProperties,
    StoredPart,
    WriteCondition,
)
from sftpgw.model.units import MIB
from sftpgw.s3.checksums import RunningChecksum, chosen_algorithm, joined
from sftpgw.s3.s3_client import S3Client
from sftpgw.testing.scripted_s3 import ScriptedResponse, ScriptedS3, scripted_error
from sftpgw.testing.small_s3 import LONG_AGO
from sftpgw.wire.s3xml import decode_checksum, encode_checksum
from tests.scripted_server import Connect
from tests.stores import RecordedEvents

CRC64NVME = ChecksumAlgorithm.CRC64NVME
NAME = ObjectName("bucket", "key")
UPLOAD = MultipartUpload(NAME, "upload-1", CRC64NVME)
PLAIN = ObjectProperties()
IF_ABSENT = WriteCondition.IF_ABSENT
HEADER = "x-amz-checksum-crc64nvme"
OTHER = encode_checksum(Checksum(CRC64NVME, 7))


def sum_of(*buffers: bytes, algorithm: ChecksumAlgorithm = CRC64NVME) -> Checksum:
    running = RunningChecksum(algorithm)
    for buffer in buffers:
        running.update(buffer)
    return running.checksum


def text_of(*buffers: bytes) -> str:
    return encode_checksum(sum_of(*buffers))


def answer(etag: str = '"e1"', **headers: str) -> ScriptedResponse:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return ScriptedResponse(200, b"", {"ETag": etag, **named})


def result(kind: str, *fields: str) -> ScriptedResponse:
    return ScriptedResponse(200, f"<{kind}><ETag>e1</ETag>{''.join(fields)}</{kind}>".encode())


def completed(*fields: str) -> ScriptedResponse:
    return result("CompleteMultipartUploadResult", *fields)


@pytest.fixture
def client(connected: Connect) -> S3Client:
    """A client that handles checksums as the default configuration says."""
    return connected(checksum=ChecksumChoice.AUTO, max_attempts=8)


class TestAlgorithms:
    @pytest.mark.parametrize(
        ("algorithm", "check"),
        # The catalogue's "check" value of each: the sum of the nine digits.
        # https://reveng.sourceforge.io/crc-catalogue/all.htm
        [
            (ChecksumAlgorithm.CRC64NVME, 0xAE8B14860A799888),
            (ChecksumAlgorithm.CRC32C, 0xE3069283),
            (ChecksumAlgorithm.CRC32, 0xCBF43926),
        ],
    )
    def test_checksums_are_those_of_the_published_vectors(
        self, algorithm: ChecksumAlgorithm, check: int
    ) -> None:
        found = sum_of(b"1234", b"", b"56789", algorithm=algorithm)
        assert found == Checksum(algorithm, check)
        assert decode_checksum(encode_checksum(found), algorithm) == found

    @given(st.lists(st.binary(max_size=40), max_size=6), st.sampled_from(ChecksumAlgorithm))
    def test_parts_make_the_whole(self, bodies: list[bytes], algorithm: ChecksumAlgorithm) -> None:
        parts = [
            StoredPart(number, len(body), "", sum_of(body, algorithm=algorithm))
            for number, body in enumerate(bodies, 1)
        ]
        assert joined(parts, algorithm) == sum_of(*bodies, algorithm=algorithm)

    def test_a_part_without_a_sum_leaves_none_for_the_whole(self) -> None:
        known = StoredPart(1, 1, "", sum_of(b"x"))
        assert joined([known, StoredPart(2, 1, "")], CRC64NVME) is None
        assert joined([known], ChecksumAlgorithm.CRC32C) is None

    @pytest.mark.parametrize("text", ["", "é", "not base64", "AAAA", f"{OTHER}-2"])
    def test_values_that_are_no_checksums(self, text: str) -> None:
        assert decode_checksum(text, CRC64NVME) is None

    @pytest.mark.parametrize(
        ("choice", "is_able", "algorithm"),
        [
            (ChecksumChoice.AUTO, True, ChecksumAlgorithm.CRC64NVME),
            (ChecksumChoice.AUTO, False, None),
            (ChecksumChoice.CRC32C, False, ChecksumAlgorithm.CRC32C),
            (ChecksumChoice.CRC32, True, ChecksumAlgorithm.CRC32),
            (ChecksumChoice.NONE, True, None),
        ],
    )
    def test_the_algorithm_is_chosen_by_configuration_and_capability(
        self, choice: ChecksumChoice, is_able: bool, algorithm: ChecksumAlgorithm | None
    ) -> None:
        assert chosen_algorithm(choice, is_able=is_able) is algorithm


class TestWhatIsSent:
    @pytest_twisted.ensureDeferred
    async def test_a_put_has_the_checksum_of_its_body(
        self, server: ScriptedS3, client: S3Client
    ) -> None:
        server.script(answer())
        await client.put(NAME, (b"one", bytearray(b"two"), memoryview(b"three")), PLAIN)
        (request,) = server.requests
        assert request.headers[HEADER] == text_of(b"onetwothree")
        assert HEADER in request.headers["authorization"]

    @pytest_twisted.ensureDeferred
    async def test_a_multipart_upload_has_checksums_of_parts_and_object(
        self, server: ScriptedS3, client: S3Client
    ) -> None:
        created = ScriptedResponse(
            200,
            b"<InitiateMultipartUploadResult><UploadId>u</UploadId></InitiateMultipartUploadResult>",
        )
        server.script(created, answer('"p1"'), answer('"p2"'), completed())
        upload = await client.create_upload(NAME, PLAIN)
        parts = tuple([await client.upload_part(upload, n, (b"part", b"%d" % n)) for n in (1, 2)])
        await client.complete_upload(upload, parts)
        creation, *sent, completion = server.requests
        assert creation.headers["x-amz-checksum-algorithm"] == "CRC64NVME"
        assert creation.headers["x-amz-checksum-type"] == "FULL_OBJECT"
        assert [part.headers[HEADER] for part in sent] == [text_of(b"part1"), text_of(b"part2")]
        assert completion.headers[HEADER] == text_of(b"part1part2")
        assert completion.headers["x-amz-checksum-type"] == "FULL_OBJECT"
        assert completion.headers["x-amz-mp-object-size"] == "10"
        assert completion.body.count(b"<ChecksumCRC64NVME>") == 2

    @pytest_twisted.ensureDeferred
    async def test_an_upload_begun_without_checksums_goes_on_without(
        self, server: ScriptedS3, client: S3Client
    ) -> None:
        """Like an upload that an earlier process has left."""
        server.script(answer('"p1"'), completed())
        upload = MultipartUpload(NAME, "old")
        part = await client.upload_part(upload, 1, (b"x",))
        await client.complete_upload(upload, (part,))
        names = {name for request in server.requests for name in request.headers}
        assert not {name for name in names if "checksum" in name}

    @pytest.mark.parametrize("able", [True, False])
    @pytest_twisted.ensureDeferred
    async def test_the_size_needs_no_sums(
        self, server: ScriptedS3, connected: Connect, able: bool
    ) -> None:
        """The size is left out only where the store would refuse it."""
        client = connected(capabilities=Capabilities(checksums=False, object_size=able))
        server.script(completed())
        parts = (StoredPart(1, 5, '"p1"'), StoredPart(2, 4, '"p2"'))
        await client.complete_upload(MultipartUpload(NAME, "u"), parts)
        told = server.requests[0].headers.get("x-amz-mp-object-size")
        assert told == ("9" if able else None)

    @pytest.mark.parametrize(
        ("settings", "header"),
        [
            ({"checksum": ChecksumChoice.NONE}, None),
            ({"checksum": ChecksumChoice.MD5}, "content-md5"),
            ({"capabilities": Capabilities(checksums=False)}, "content-md5"),
            ({"checksum": ChecksumChoice.CRC32C}, "x-amz-checksum-crc32c"),
        ],
    )
    @pytest_twisted.ensureDeferred
    async def test_the_configuration_decides(
        self,
        server: ScriptedS3,
        connected: Connect,
        events: RecordedEvents,
        settings: dict[str, object],
        header: str | None,
    ) -> None:
        client = connected(**({"checksum": ChecksumChoice.AUTO} | settings))
        server.script(answer(), answer())
        for _ in range(2):
            await client.put(NAME, (b"x",), PLAIN)
        sums = [name for name in server.requests[0].headers if re.search("checksum|md5", name)]
        assert sums == ([header] if header else [])
        (chosen,) = [facts for name, facts in events.told if name == "capabilities-known"]
        assert chosen["checksum"] == re.sub("^(x-amz-checksum|content)-", "", header or "none")

    @pytest_twisted.ensureDeferred
    async def test_where_there_are_no_checksums_md5_is_sent(
        self, server: ScriptedS3, connected: Connect
    ) -> None:
        """Object Lock refuses uploads without a checksum or an MD5. The header is signed, too."""
        client = connected(checksum=ChecksumChoice.AUTO, capabilities=Capabilities(checksums=False))
        body = (b"12", bytearray(b""), memoryview(b"x345")[1:], bytes(5 * MIB))
        server.script(answer(), answer(), answer())
        await client.put(NAME, body, PLAIN)
        await client.upload_part(replace(UPLOAD, checksum=None), 1, body)
        await client.put(NAME, (), PLAIN)
        digests = [hashlib.md5(b"".join(body)).digest()] * 2 + [hashlib.md5().digest()]
        told = [request.headers["content-md5"] for request in server.requests]
        assert told == [base64.b64encode(digest).decode() for digest in digests]
        assert all("content-md5" in each.headers["authorization"] for each in server.requests)

    @pytest_twisted.ensureDeferred
    async def test_a_checksum_makes_md5_needless(
        self, server: ScriptedS3, client: S3Client
    ) -> None:
        server.script(answer(), answer())
        await client.put(NAME, (b"x",), PLAIN)
        await client.upload_part(UPLOAD, 1, (b"x",))
        assert not [each for each in server.requests if "content-md5" in each.headers]

    @pytest_twisted.ensureDeferred
    async def test_without_md5_none_is_sent(
        self, server: ScriptedS3, connected: Connect, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A Python for FIPS 140 has no MD5; a lost response is settled without it."""

        def refuse(data: bytes = b"", **options: object) -> None:
            raise ValueError("[digital envelope routines] unsupported")

        monkeypatch.setattr(hashlib, "md5", refuse)
        client = connected(checksum=ChecksumChoice.MD5)
        server.script(
            answer(),
            ScriptedResponse(is_reset=True),
            scripted_error(403, "AccessDenied"),
            ScriptedResponse(404),
        )
        await client.put(NAME, (b"x",), PLAIN)
        with pytest.raises(errors.AccessDenied):
            await client.put(NAME, (b"x",), PLAIN)
        assert not [each for each in server.requests if "content-md5" in each.headers]

    @pytest_twisted.ensureDeferred
    async def test_copied_parts_take_the_checksum_that_the_store_tells(
        self, server: ScriptedS3, client: S3Client
    ) -> None:
        """The store reports their checksums; without them it computes that of the object itself."""
        source = ObjectInfo(ObjectName("bucket", "source"), 5, '"s"', 0.0)
        known = result("CopyPartResult", f"<ChecksumCRC64NVME>{OTHER}</ChecksumCRC64NVME>")
        server.script(known, completed(), completed())
        with_sum = await client.copy_part(UPLOAD, 1, source, ByteRange(0, 5))
        without = StoredPart(2, 5, "e1")
        assert with_sum.checksum == Checksum(CRC64NVME, 7)
        await client.complete_upload(UPLOAD, (with_sum,))
        await client.complete_upload(UPLOAD, (with_sum, without))
        first, second = server.requests[1:]
        assert first.headers[HEADER] == OTHER
        assert HEADER not in second.headers
        assert second.headers["x-amz-mp-object-size"] == "10"

    @pytest_twisted.ensureDeferred
    async def test_a_copied_part_without_a_sum_is_a_refusal(
        self, server: ScriptedS3, client: S3Client
    ) -> None:
        """Unless the store has been seen to report one: it might refuse the whole upload then."""
        source = ObjectInfo(ObjectName("bucket", "source"), 5, '"s"', 0.0)
        server.script(result("CopyPartResult"))
        with pytest.raises(errors.CopiesLackChecksums):
            await client.copy_part(UPLOAD, 1, source, ByteRange(0, 5))


class TestWhatTheStoreTells:
    @pytest_twisted.ensureDeferred
    async def test_a_part_that_arrived_damaged_is_sent_again(
        self, server: ScriptedS3, client: S3Client
    ) -> None:
        mine = text_of(b"x")
        server.script(
            scripted_error(400, "BadDigest"),
            answer('"bad"', **{HEADER: OTHER}),
            answer('"good"', **{HEADER: mine}),
        )
        part = await client.upload_part(UPLOAD, 1, (b"x",))
        assert (part.etag, part.checksum) == ('"good"', sum_of(b"x"))
        assert [request.body for request in server.requests] == [b"x"] * 3

    @pytest.mark.parametrize(
        "refusal", [scripted_error(400, "BadDigest"), answer('"bad"', **{HEADER: OTHER})]
    )
    @pytest_twisted.ensureDeferred
    async def test_a_part_that_arrives_damaged_every_time_fails(
        self, server: ScriptedS3, client: S3Client, refusal: ScriptedResponse
    ) -> None:
        server.script(*[refusal] * 8)
        with pytest.raises(errors.StoreError):
            await client.upload_part(UPLOAD, 1, (b"x",))
        assert len(server.requests) == 4

    @pytest_twisted.ensureDeferred
    async def test_an_object_stored_damaged_is_not_reported_stored(
        self, server: ScriptedS3, client: S3Client
    ) -> None:
        server.script(answer(**{HEADER: OTHER}))
        with pytest.raises(errors.StoreError) as refused:
            await client.put(NAME, (b"x",), PLAIN, IF_ABSENT)
        assert refused.value.code == "StoredDamaged"
        assert len(server.requests) == 1

    @pytest.mark.parametrize(
        "reply",
        [
            completed(f"<ChecksumCRC64NVME>{OTHER}</ChecksumCRC64NVME>"),
            scripted_error(400, "BadDigest"),
            ScriptedResponse(200, scripted_error(400, "BadDigest").body),
        ],
    )
    @pytest_twisted.ensureDeferred
    async def test_an_upload_completed_damaged_is_not_reported_stored(
        self, server: ScriptedS3, client: S3Client, reply: ScriptedResponse
    ) -> None:
        server.script(reply, ScriptedResponse(404))
        with pytest.raises(errors.StoreError):
            await client.complete_upload(UPLOAD, (StoredPart(1, 1, '"p"', sum_of(b"x")),))
        assert [request.method for request in server.requests].count("POST") == 1

    @pytest_twisted.ensureDeferred
    async def test_a_composites_sum_tells_nothing(
        self, server: ScriptedS3, client: S3Client
    ) -> None:
        composite = completed(
            f"<ChecksumCRC64NVME>{OTHER}</ChecksumCRC64NVME>",
            "<ChecksumType>COMPOSITE</ChecksumType>",
        )
        server.script(composite)
        part = StoredPart(1, 1, '"p"', sum_of(b"x"))
        assert await client.complete_upload(UPLOAD, (part,)) == '"e1"'


class TestLostAnswers:
    PARTS = (StoredPart(1, 3, '"opaque"', sum_of(b"one")), StoredPart(2, 3, "", sum_of(b"two")))

    def looked_at(self, checksum: str, size_bytes: int = 6) -> ScriptedResponse:
        headers = {"ETag": '"kms"', "Last-Modified": "Thu, 01 Jan 1970 00:00:00 GMT"}
        kind = {"x-amz-checksum-type": "FULL_OBJECT", "x-amz-server-side-encryption": "aws:kms"}
        return ScriptedResponse(200, b"", headers | kind | {HEADER: checksum}, length=size_bytes)

    @pytest_twisted.ensureDeferred
    async def test_a_complete_is_known_by_its_sum(
        self, server: ScriptedS3, client: S3Client
    ) -> None:
        server.script(
            ScriptedResponse(is_reset=True),
            scripted_error(404, "NoSuchUpload"),
            self.looked_at(text_of(b"onetwo")),
        )
        assert await client.complete_upload(UPLOAD, self.PARTS) == '"kms"'
        assert server.requests[-1].headers["x-amz-checksum-mode"] == "ENABLED"

    @pytest.mark.parametrize(
        ("checksum", "size_bytes"), [(OTHER, 6), (text_of(b"onetwo"), 7), (OTHER, 7)]
    )
    @pytest_twisted.ensureDeferred
    async def test_an_object_with_another_checksum_is_not_taken_for_ours(
        self, server: ScriptedS3, client: S3Client, checksum: str, size_bytes: int
    ) -> None:
        server.script(
            ScriptedResponse(is_reset=True),
            scripted_error(404, "NoSuchUpload"),
            self.looked_at(checksum, size_bytes),
        )
        with pytest.raises(errors.NoSuchUpload):
            await client.complete_upload(UPLOAD, self.PARTS)

    @pytest_twisted.ensureDeferred
    async def test_a_put_is_known_by_its_sum(self, server: ScriptedS3, client: S3Client) -> None:
        server.script(
            ScriptedResponse(is_reset=True),
            scripted_error(412, "PreconditionFailed"),
            self.looked_at(text_of(b"onetwo")),
        )
        assert await client.put(NAME, (b"one", b"two"), PLAIN, IF_ABSENT) == '"kms"'

    @pytest_twisted.ensureDeferred
    async def test_without_kms_decrypt_the_sum_is_not_to_be_seen(
        self, server: ScriptedS3, client: S3Client
    ) -> None:
        """A HEAD that asks for the checksum is refused then, although the object is there."""
        etag = hashlib.md5(b"onetwo", usedforsecurity=False).hexdigest()
        server.script(
            ScriptedResponse(is_reset=True),
            scripted_error(412, "PreconditionFailed"),
            ScriptedResponse(403),
            ScriptedResponse(200, b"", {"ETag": etag, "Last-Modified": LONG_AGO}, length=6),
        )
        assert await client.put(NAME, (b"one", b"two"), PLAIN, IF_ABSENT) == f'"{etag}"'
        modes = ["x-amz-checksum-mode" in request.headers for request in server.requests[2:]]
        assert modes == [True, False]


def test_sums_are_base64_in_network_order() -> None:
    assert base64.b64decode(text_of(b"123456789")) == bytes.fromhex("AE8B14860A799888")
