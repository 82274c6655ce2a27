"""Whole transfers, from the tree to a socket, through each fault.

Either the right bytes are published or delivered, or the client gets a clear failure and
nothing is published.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from email.utils import formatdate
from typing import Any

import pytest
import pytest_twisted
from botocore.credentials import ReadOnlyCredentials
from twisted.internet.defer import Deferred

from sftpgw import errors
from sftpgw.files.memory.budget import Budget
from sftpgw.files.tree import Tree
from sftpgw.model.filesystem import AttributeChanges, WriteIntent
from sftpgw.model.settings import (
    ChecksumChoice,
    FilesSettings,
    LimitSettings,
    OnDisconnect,
    Probe,
    StoreSettings,
)
from sftpgw.model.store import Capabilities, ObjectName
from sftpgw.model.units import KIB, MIB, Body
from sftpgw.model.users import User
from sftpgw.s3.s3_client import S3Client
from sftpgw.testing.scripted_s3 import (
    RecordedRequest,
    ScriptedResponse,
    ScriptedS3,
    error_document,
    scripted_error,
)
from sftpgw.testing.session_contexts import session_context
from sftpgw.testing.small_s3 import Dialect, SmallS3, checksum_text
from sftpgw.wire.s3xml import encode_checksum
from tests.scripted_server import Connect
from tests.stores import RecordedEvents

PART_BYTES = 64 * KIB
DATA = random.Random(4).randbytes(5 * PART_BYTES + 1000)
SMALL = DATA[:1000]
IN_PLACE = WriteIntent(create=False, truncate=False)
EXCLUSIVE = WriteIntent(exclusive=True)
SHORT = {"read_timeout_seconds": 0.2}


def is_part(number: int) -> Callable[[RecordedRequest], bool]:
    return lambda request: f"partNumber={number}&" in request.target


def is_put(request: RecordedRequest) -> bool:
    """A PutObject by the user, not a part or one of the probe's."""
    return (
        request.method == "PUT"
        and "partNumber" not in request.target
        and request.target.startswith("/bucket/home/")
    )


def is_complete(request: RecordedRequest) -> bool:
    return request.method == "POST" and "uploadId" in request.target


def is_get(request: RecordedRequest) -> bool:
    return request.method == "GET"


class Credentials:
    """Credentials that expire and are renewed; all waiting requests share one renewal."""

    def __init__(self) -> None:
        self.renewals = 0
        self._current = ReadOnlyCredentials("KEY0", "secret", None)

    async def current(self) -> ReadOnlyCredentials:
        return self._current

    async def renew(self, refused: ReadOnlyCredentials, *, is_guess: bool = False) -> bool:
        if refused == self._current:
            self.renewals += 1
            self._current = ReadOnlyCredentials(f"KEY{self.renewals}", "secret", None)
        return True


@dataclass
class Journey:
    """A user's files on a store in memory, behind a real client and a real socket."""

    server: ScriptedS3
    store: SmallS3
    connected: Connect
    events: RecordedEvents
    files: FilesSettings = field(default_factory=FilesSettings)
    budget: Budget = field(default_factory=lambda: Budget(16 * MIB))

    def tree(self, **settings: Any) -> Tree:
        from twisted.internet import reactor  # noqa: PLC0415

        client = self.connected(**({"checksum": ChecksumChoice.AUTO} | settings))
        return self.tree_on(client, reactor)

    def tree_on(self, client: S3Client, reactor: Any) -> Tree:
        context = session_context(
            client,
            budget=self.budget,
            clock=reactor,
            events=self.events,
            settings=StoreSettings(part_size_bytes=PART_BYTES, download_part_size_bytes=PART_BYTES),
            limits=LimitSettings(memory_bytes=self.budget.limit_bytes),
            files=self.files,
        )
        return Tree(User.with_home("alice", "bucket", "home/"), context)

    async def put(
        self, data: bytes = DATA, intent: WriteIntent | None = None, **settings: Any
    ) -> None:
        await self.put_on(self.tree(**settings), data, intent)

    async def put_on(
        self, tree: Tree, data: bytes = DATA, intent: WriteIntent | None = None
    ) -> None:
        writer = await tree.open_writer(b"/file", intent or WriteIntent(), AttributeChanges())
        try:
            for offset in range(0, len(data), 32 * KIB):
                paused = writer.write(offset, data[offset : offset + 32 * KIB])
                if paused is not None:
                    await paused
            await writer.commit()
        finally:
            await writer.abandon()

    async def append_on(self, tree: Tree, data: bytes) -> None:
        intent = WriteIntent(truncate=False, append=True)
        writer = await tree.open_writer(b"/file", intent, AttributeChanges())
        try:
            writer.write(0, data)
            await writer.commit()
        finally:
            await writer.abandon()

    async def get(self, **settings: Any) -> bytes:
        reader = await self.tree(**settings).open_reader(b"/file")
        found = bytearray()
        try:
            while True:
                answer = reader.read(len(found), 32 * KIB)
                body: Body = await answer if isinstance(answer, Deferred) else answer
                for piece in body:
                    found += piece
        except errors.EndOfFile:
            return bytes(found)
        finally:
            reader.close()

    @property
    def published(self) -> dict[str, bytes]:
        return self.store.objects


@pytest.fixture
def journey(server: ScriptedS3, connected: Connect, events: RecordedEvents) -> Iterator[Journey]:
    store = SmallS3(min_part_bytes=PART_BYTES)
    server.respond_with(store.respond)
    yield Journey(server, store, connected, events)
    assert store.uploads == {}, "an upload was left behind"


PASSING = {
    "a storm of 503s": [scripted_error(503, "SlowDown")] * 6,
    "a 500": [scripted_error(500, "InternalError")],
    "a reset": [ScriptedResponse(is_reset=True)],
    "a reset in the middle": [ScriptedResponse(is_reset=True, is_early=True)],
    "an answer that breaks off": [ScriptedResponse(200, b"", length=9, cut_after_bytes=0)],
    "a stall": [ScriptedResponse(is_silent=True)],
    "damage on the way": [scripted_error(400, "BadDigest")],
    "an idle connection": [scripted_error(400, "RequestTimeout")],
    "a skewed clock": [
        scripted_error(
            403, "RequestTimeTooSkewed", {"Date": formatdate(2_000_000_000, usegmt=True)}
        )
    ],
    "another region": [scripted_error(301, "PermanentRedirect", {"x-amz-bucket-region": "r2"})],
}
IN_A_200 = ScriptedResponse(200, b" \n" + error_document("InternalError"))


class TestUploads:
    @pytest.mark.parametrize("fault", PASSING)
    @pytest_twisted.ensureDeferred
    async def test_a_part_gets_through(self, journey: Journey, fault: str) -> None:
        journey.server.disturb(is_part(2), *PASSING[fault])
        await journey.put(**SHORT)
        assert journey.published == {"home/file": DATA}
        assert journey.server.undisturbed == 0

    @pytest.mark.parametrize("fault", PASSING)
    @pytest_twisted.ensureDeferred
    async def test_a_small_file_gets_through(self, journey: Journey, fault: str) -> None:
        journey.server.disturb(is_put, *PASSING[fault])
        await journey.put(SMALL, EXCLUSIVE, **SHORT)
        assert journey.published == {"home/file": SMALL}
        assert journey.server.undisturbed == 0

    # Not a stall: a store may think about Complete for five minutes.
    @pytest.mark.parametrize("fault", sorted(PASSING.keys() - {"damage on the way", "a stall"}))
    @pytest_twisted.ensureDeferred
    async def test_complete_gets_through(self, journey: Journey, fault: str) -> None:
        journey.server.disturb(is_complete, *PASSING[fault])
        await journey.put(intent=EXCLUSIVE, **SHORT)
        assert journey.published == {"home/file": DATA}
        assert journey.server.undisturbed == 0

    @pytest_twisted.ensureDeferred
    async def test_an_error_in_a_200_is_none(self, journey: Journey) -> None:
        journey.server.disturb(is_complete, IN_A_200)
        journey.server.disturb(is_part(2), IN_A_200)
        await journey.put()
        assert journey.published == {"home/file": DATA}

    @pytest.mark.parametrize(
        "refusal",
        [
            scripted_error(403, "AccessDenied"),
            scripted_error(404, "NoSuchBucket"),
            scripted_error(400, "EntityTooLarge"),
            scripted_error(400, "ExpiredToken"),
            scripted_error(405, "MethodNotAllowed"),
            scripted_error(501, "NotImplemented"),
        ],
    )
    @pytest.mark.parametrize("concerns", [is_part(2), is_complete])
    @pytest_twisted.ensureDeferred
    async def test_a_permanent_fault_publishes_nothing(
        self,
        journey: Journey,
        refusal: ScriptedResponse,
        concerns: Callable[[RecordedRequest], bool],
    ) -> None:
        # What a store may lack is tried without it, once for each way and once for all together.
        journey.server.disturb(concerns, *[refusal] * 4)
        with pytest.raises(errors.GatewayError):
            await journey.put()
        assert journey.published == {}

    @pytest_twisted.ensureDeferred
    async def test_an_upload_that_is_gone(self, journey: Journey) -> None:
        """The upload is aborted by another program, such as a lifecycle rule."""

        def is_first_part_after_all_was_lost(request: RecordedRequest) -> bool:
            if is_part(3)(request):
                journey.store.uploads.clear()
            return False

        journey.server.disturb(is_first_part_after_all_was_lost, ScriptedResponse(599))
        with pytest.raises(errors.StoreError) as refused:
            await journey.put()
        assert isinstance(refused.value, errors.NoSuchUpload)
        assert journey.published == {}

    @pytest_twisted.ensureDeferred
    async def test_parts_that_the_store_finds_too_small(self, journey: Journey) -> None:
        journey.server.respond_with(SmallS3(min_part_bytes=PART_BYTES + 1).respond)
        with pytest.raises(errors.StoreError) as refused:
            await journey.put()
        assert refused.value.code == "EntityTooSmall"
        assert journey.published == {}

    @pytest.mark.parametrize("data", [SMALL, DATA])
    @pytest_twisted.ensureDeferred
    async def test_a_success_whose_answer_is_lost(self, journey: Journey, data: bytes) -> None:
        """The request is carried out and its response is lost: HEAD settles it, by the checksum."""
        concerns, lost = (is_put if data is SMALL else is_complete), []

        def answer(request: RecordedRequest) -> ScriptedResponse:
            reply = journey.store.respond(request)
            if concerns(request) and not lost:
                lost.append(request)
                return ScriptedResponse(is_reset=True)
            return reply

        journey.server.respond_with(answer)
        await journey.put(data, EXCLUSIVE)
        assert journey.published == {"home/file": data}
        assert journey.server.requests[-1].method == "HEAD"

    @pytest.mark.parametrize("data", [SMALL, DATA])
    @pytest_twisted.ensureDeferred
    async def test_a_file_of_others_stays(self, journey: Journey, data: bytes) -> None:
        """The other object is stored while the response is lost, and has the same size."""
        theirs = bytes(len(data))
        concerns = is_put if data is SMALL else is_complete

        def is_overtaken(request: RecordedRequest) -> bool:
            if concerns(request):
                journey.store.objects["home/file"] = theirs
            return concerns(request)

        journey.server.disturb(is_overtaken, ScriptedResponse(is_reset=True))
        with pytest.raises(errors.AlreadyExists):
            await journey.put(data, EXCLUSIVE)
        assert journey.published == {"home/file": theirs}

    @pytest_twisted.ensureDeferred
    async def test_a_conflict_at_complete_is_final(self, journey: Journey) -> None:
        journey.server.disturb(is_complete, scripted_error(409, "ConditionalRequestConflict"))
        with pytest.raises(errors.AlreadyExists):
            await journey.put(intent=EXCLUSIVE)
        assert journey.published == {}
        assert sum(map(is_complete, journey.server.requests)) == 1

    @pytest_twisted.ensureDeferred
    async def test_a_conflict_at_put_is_not(self, journey: Journey) -> None:
        journey.server.disturb(is_put, scripted_error(409, "ConditionalRequestConflict"))
        await journey.put(SMALL, EXCLUSIVE)
        assert journey.published == {"home/file": SMALL}

    @pytest_twisted.ensureDeferred
    async def test_credentials_that_end_in_the_middle_are_renewed_once(
        self, journey: Journey
    ) -> None:
        credentials = Credentials()

        def has_ended(request: RecordedRequest) -> bool:
            is_old = "Credential=KEY0/" in request.headers["authorization"]
            return "partNumber" in request.target and is_old

        journey.server.disturb(has_ended, *[scripted_error(400, "ExpiredToken")] * 10)
        await journey.put(credentials=credentials)
        assert journey.published == {"home/file": DATA}
        assert credentials.renewals == 1

    @pytest_twisted.ensureDeferred
    async def test_a_client_that_leaves_is_not_sent_for(self, journey: Journey) -> None:
        """The store refuses all parts: none is sent again, only the abort is."""
        refusal = scripted_error(503, "SlowDown")

        def refuse_parts(request: RecordedRequest) -> ScriptedResponse:
            return refusal if "partNumber" in request.target else journey.store.respond(request)

        journey.server.respond_with(refuse_parts)
        journey.server.disturb(lambda request: request.method == "DELETE", refusal, refusal)
        writer = await journey.tree().open_writer(b"/file", WriteIntent(), AttributeChanges())
        writer.write(0, DATA)
        await journey.server.arrived(1 + 3)
        await writer.abandon()
        asked = Counter(request.method for request in journey.server.requests)
        assert asked["PUT"] <= 3 + StoreSettings().upload_concurrency, "those on their way"
        assert (asked["POST"], asked["DELETE"]) == (1, 3)
        assert journey.budget.held_bytes == 0

    @pytest_twisted.ensureDeferred
    async def test_parts_of_an_upload_being_suspended_are_retried(self, journey: Journey) -> None:
        journey.files = FilesSettings(on_disconnect=OnDisconnect.RESUME)
        refusals = [scripted_error(503, "SlowDown")] * 10
        journey.server.disturb(lambda request: "partNumber" in request.target, *refusals)
        tree = journey.tree()
        writer = await tree.open_writer(b"/file", WriteIntent(), AttributeChanges())
        writer.write(0, DATA)
        await journey.server.arrived(1 + 3)
        await writer.abandon()
        assert journey.server.undisturbed == 0
        assert "partial-kept" in journey.events.names()
        (left,) = journey.store.uploads.values()
        assert sum(map(len, left.parts.values())) == 5 * PART_BYTES
        journey.store.uploads.clear()


class TestDownloads:
    @pytest.mark.parametrize(
        "fault",
        sorted(PASSING.keys() - {"damage on the way", "an answer that breaks off"}),
    )
    @pytest_twisted.ensureDeferred
    async def test_faults_pass(self, journey: Journey, fault: str) -> None:
        journey.store.objects["home/file"] = DATA
        journey.server.disturb(is_get, *PASSING[fault])
        assert await journey.get(**SHORT) == DATA
        assert journey.server.undisturbed == 0

    @pytest.mark.parametrize(
        "change",
        [
            {"cut_after_bytes": 1000},
            {"cut_after_bytes": 1000, "stalls": True},
            {"length": PART_BYTES + 7, "cut_after_bytes": PART_BYTES},
        ],
    )
    @pytest_twisted.ensureDeferred
    async def test_a_body_that_is_not_what_was_promised(
        self, journey: Journey, change: dict[str, Any]
    ) -> None:
        """The body breaks off, stalls, or has another length than promised."""
        journey.store.objects["home/file"] = DATA
        done: list[RecordedRequest] = []

        def answer(request: RecordedRequest) -> ScriptedResponse:
            reply = journey.store.respond(request)
            done.append(request)
            if len(done) > 2:
                return reply
            return ScriptedResponse(reply.status, reply.body, reply.headers, **change)

        journey.server.respond_with(answer)
        try:
            assert await journey.get(**SHORT) == DATA
        except errors.GatewayError:
            assert "length" in change, "a lie is an error, the rest is gone on with"

    @pytest_twisted.ensureDeferred
    async def test_an_object_that_is_replaced_is_not_mixed(self, journey: Journey) -> None:
        journey.store.objects["home/file"] = DATA

        def is_late(request: RecordedRequest) -> bool:
            if "if-match" in request.headers:
                journey.store.objects["home/file"] = DATA[::-1]
            return False

        journey.server.disturb(is_late, ScriptedResponse(599))
        with pytest.raises(errors.ObjectChanged):
            await journey.get()


class TestDialects:
    """The probe finds what each store lacks, and the gateway does without it."""

    DIALECTS = (
        Dialect(),
        Dialect(conditions="ignored"),
        Dialect(conditions="refused"),
        Dialect(checksums="ignored"),
        Dialect(checksums="refused"),
        Dialect(object_size="ignored"),
        Dialect(object_size="refused"),
        Dialect(checksums="ignored", object_size="refused"),
        Dialect(conditions="refused", checksums="refused", needs_equal_parts=True),
    )

    @pytest.mark.parametrize("dialect", DIALECTS)
    @pytest.mark.parametrize("data", [SMALL, DATA])
    @pytest_twisted.ensureDeferred
    async def test_files_are_stored(self, journey: Journey, dialect: Dialect, data: bytes) -> None:
        journey.store.dialect = dialect
        await journey.put(data, EXCLUSIVE, probe=Probe.AUTO)
        assert journey.published == {"home/file": data}
        (found,) = [facts for name, facts in journey.events.told if name == "capabilities-known"]
        lacking = str(found["lacking"]).split()
        assert ("conditional-put" in lacking) == (dialect.conditions != "honoured")
        assert ("conditional-complete" in lacking) == (dialect.conditions != "honoured")
        assert ("checksums" in lacking) == (dialect.checksums != "checked")
        assert ("object-size" in lacking) == (dialect.object_size == "refused")
        assert (found["checksum"] == "md5") == (dialect.checksums != "checked")

    @pytest_twisted.ensureDeferred
    async def test_a_store_that_wants_equal_parts_is_found_out_by_its_first_refusal(
        self, journey: Journey
    ) -> None:
        """Parts begin to grow only after part 100."""
        journey.store.dialect = Dialect(needs_equal_parts=True)
        tree = journey.tree(probe=Probe.AUTO)
        data = random.Random(5).randbytes(104 * PART_BYTES)
        with pytest.raises(errors.PartsMustBeEqual):
            await journey.put_on(tree, data)
        assert journey.published == {}
        await journey.put_on(tree, data)
        assert journey.published == {"home/file": data}
        told = [facts for name, facts in journey.events.told if name == "capabilities-known"]
        assert [facts["source"] for facts in told] == ["probe", "refusal"]
        assert "unequal-parts" in str(told[1]["lacking"])

    @pytest.mark.parametrize("probe", Probe)
    @pytest.mark.parametrize("manner", ["right", "refused", "untold"])
    @pytest_twisted.ensureDeferred
    async def test_a_file_is_appended_to(self, journey: Journey, manner: str, probe: Probe) -> None:
        """Whether the probe has found the lack, or the store refuses only when it matters."""
        journey.store.dialect = Dialect(copies_with_checksums=manner)
        journey.store.objects["home/file"] = old = random.Random(6).randbytes(6 * MIB)
        tree = journey.tree(probe=probe)
        for _ in range(2):
            await journey.append_on(tree, SMALL)
        assert journey.published == {"home/file": old + 2 * SMALL}
        found = [facts for name, facts in journey.events.told if name == "capabilities-known"]
        is_lacking = manner == "refused" or (manner == "untold" and probe is Probe.NO)
        assert ("copied-checksums" in str(found[-1]["lacking"])) == is_lacking
        creations = [r for r in journey.server.requests if r.target.endswith("?uploads=")]
        mine = [r for r in creations if r.target.startswith("/bucket/home/")]
        announced = ["x-amz-checksum-algorithm" in request.headers for request in mine]
        expected = [True, True]
        if is_lacking:
            expected = [False, False] if probe is Probe.AUTO else [True, False, False]
        assert announced == expected

    @pytest.mark.parametrize("probe", Probe)
    @pytest_twisted.ensureDeferred
    async def test_no_false_checksum_is_kept(self, journey: Journey, probe: Probe) -> None:
        """The store reports, and stores, the checksum of the whole source for a copied range."""
        journey.store.dialect = Dialect(copies_with_checksums="whole")
        journey.store.objects["home/file"] = old = random.Random(6).randbytes(11 * MIB)
        tree = journey.tree(probe=probe)
        writer = await tree.open_writer(
            b"/file", WriteIntent(create=False, truncate=False), AttributeChanges()
        )
        writer.write(0, SMALL)
        await writer.commit()
        assert journey.published == {"home/file": SMALL + old[len(SMALL) :]}
        head = await journey.connected(checksum=ChecksumChoice.AUTO).head(
            ObjectName("bucket", "home/file"), with_checksum=True
        )
        assert head.checksum is not None
        assert encode_checksum(head.checksum) == checksum_text(journey.published["home/file"])

    @pytest_twisted.ensureDeferred
    async def test_an_upload_that_refuses_copies_after_parts_were_sent_is_explained(
        self, journey: Journey
    ) -> None:
        """The store has changed since the probe. The next upload is made in the other way."""
        old = random.Random(6).randbytes(16 * MIB)
        journey.store.objects["home/file"] = old
        new = random.Random(7).randbytes(9 * MIB)
        tree = journey.tree(probe=Probe.AUTO)
        await journey.append_on(tree, SMALL)
        journey.store.objects["home/file"] = old
        journey.store.dialect = Dialect(copies_with_checksums="refused")
        with pytest.raises(errors.CopiesLackChecksums):
            await journey.put_on(tree, new, IN_PLACE)
        assert journey.published == {"home/file": old}
        await journey.put_on(tree, new, IN_PLACE)
        assert journey.published == {"home/file": new + old[len(new) :]}

    @pytest_twisted.ensureDeferred
    async def test_without_a_probe_the_configuration_helps(self, journey: Journey) -> None:
        journey.store.dialect = Dialect(conditions="refused", checksums="refused")
        lacking = Capabilities(checksums=False, conditional_put=False)
        await journey.put(SMALL, EXCLUSIVE, capabilities=lacking)
        assert journey.published == {"home/file": SMALL}
        told = [facts for name, facts in journey.events.told if name == "capabilities-known"]
        assert [facts["source"] for facts in told] == ["unsupported"]

    @pytest.mark.parametrize("data", [SMALL, DATA])
    @pytest.mark.parametrize(
        "dialect",
        [
            Dialect(conditions="refused"),
            Dialect(checksums="refused"),
            Dialect(object_size="refused"),
            Dialect(conditions="refused", checksums="refused", object_size="refused"),
        ],
    )
    @pytest_twisted.ensureDeferred
    async def test_a_refusal_corrects_what_was_believed(
        self, journey: Journey, dialect: Dialect, data: bytes
    ) -> None:
        journey.store.dialect = dialect
        tree = journey.tree(probe=Probe.NO)
        await journey.put_on(tree, data, EXCLUSIVE)
        assert journey.published == {"home/file": data}
        refused = sum(name == "s3-request-failed" for name in journey.events.names())
        with pytest.raises(errors.AlreadyExists):
            await journey.put_on(tree, SMALL, EXCLUSIVE)
        journey.store.objects.clear()
        await journey.put_on(tree, data, EXCLUSIVE)
        assert journey.published == {"home/file": data}
        failed = sum(name == "s3-request-failed" for name in journey.events.names())
        assert failed == refused, "it is known by now"
