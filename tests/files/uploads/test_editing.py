"""Files edited in place, from the handle to the fake store, against a byte array."""

from __future__ import annotations

from dataclasses import replace
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from sftpgw.errors import (
    EndOfFile,
    GatewayError,
    IsADirectory,
    LimitReached,
    NoSuchFile,
    ObjectChanged,
    PermissionDenied,
    StoreUnavailable,
    Unsupported,
)
from sftpgw.files.downloads.download import Download
from sftpgw.files.memory.budget import Budget
from sftpgw.files.transfers.registry import TransferRegistry
from sftpgw.files.tree import Tree
from sftpgw.files.uploads.open_mode import OpenMode
from sftpgw.files.uploads.plan.boundaries import BaseObject
from sftpgw.files.uploads.plan.part_sizes import Ladder
from sftpgw.files.uploads.plan.staging_layout import StagingLayout
from sftpgw.files.uploads.readback import Readback
from sftpgw.files.uploads.upload import Upload
from sftpgw.model.filesystem import NO_CHANGES, AttributeChanges, WriteIntent
from sftpgw.model.mounts import ALL_PERMISSIONS, Permission
from sftpgw.model.settings import LimitSettings, StoreSettings
from sftpgw.model.store import Capabilities, ObjectInfo, ObjectName, ObjectProperties
from sftpgw.model.units import MIB
from sftpgw.testing.fake_store import FakeStore
from sftpgw.testing.other_users import with_mount
from sftpgw.testing.session_contexts import session_context
from sftpgw.testing.sftp_sessions import ALICE, GatewayInMemory
from sftpgw.testing.ssh_pairs import RecordedEvents
from tests.files.uploads.upload_plans import make_plan
from tests.results import failure_of, result_of

NAME = ObjectName("bucket", "file")
LAYOUT = StagingLayout(Ladder(8, 16, step_parts=2), 10_000)
MIN = 5


def content(size_bytes: int) -> bytes:
    return bytes(index % 251 + 1 for index in range(size_bytes))


class Process:
    """A store of small parts with one object in it, and what uploads share."""

    def __init__(self, base: bytes = b"", *, budget: int = MIB, **able: bool) -> None:
        self.able = Capabilities(**able)
        self.store = FakeStore(min_part_bytes=MIN, chunk_bytes=7, capabilities=self.able)
        self.store.seed("file", base)
        self.clock = Clock()
        self.budget = Budget(budget, self.clock.seconds)
        self.transfers = TransferRegistry()
        self.events = RecordedEvents()
        self._context = session_context(
            self.store,
            budget=self.budget,
            transfers=self.transfers,
            clock=self.clock,
            events=self.events,
            settings=StoreSettings(download_part_size_bytes=32, download_concurrency=2),
        )

    def open(self, name: ObjectName = NAME, **options: Any) -> Upload:
        """The file opened for reading and writing."""
        info = result_of(self.store.head(name))
        base = BaseObject(info.size_bytes, self.able.part_copy, MIN, copy_limit_bytes=40)
        options = {"concurrency": 2, "reorder_bytes": 24, "small_bytes": 4, **options}
        plan = make_plan(LAYOUT, base=base, **options)
        return Upload(
            self._context,
            plan,
            name,
            mode=OpenMode(base=info),
            readback=Readback(plan, info, self._reader),
        )

    def _reader(self, base: ObjectInfo) -> Download:
        return Download(self._context, NAME, etag=base.etag)

    @property
    def content(self) -> bytes:
        return self.store.content("file")

    def assert_idle(self) -> None:
        assert self.budget.held_bytes == 0
        assert self.budget.waiting == 0
        assert not self.store.uploads
        assert not self.transfers.pinned
        result_of(self.transfers.idle())
        assert self.events.facts("defect") == []
        assert not self.clock.getDelayedCalls()


def started(waiting: Any) -> Deferred[Any]:
    return Deferred.fromCoroutine(waiting)


def read(upload: Upload, offset: int, length: int) -> bytes:
    body = upload.read(offset, length)
    return b"".join(result_of(body) if isinstance(body, Deferred) else body)


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("write"), st.integers(0, 150), st.binary(max_size=30)),
        st.tuples(st.just("write"), st.just(-1), st.binary(min_size=3, max_size=30)),
        st.tuples(st.just("truncate"), st.integers(0, 150), st.just(b"")),
        st.tuples(st.just("read"), st.integers(0, 150), st.binary(min_size=1, max_size=60)),
    ),
    max_size=20,
)


@settings(max_examples=600, deadline=None)
@given(
    st.integers(0, 140),
    STEPS,
    st.booleans(),
    st.booleans(),
    st.sampled_from([None, None, None, "get", "copy_part", "upload_part", "put", "replace"]),
)
def test_a_handle_shows_and_stores_what_a_file_on_a_disk_would(
    base_bytes: int,
    steps: list[tuple[str, int, bytes]],
    part_copy: bool,
    condition: bool,
    trouble: str | None,
) -> None:
    process = Process(content(base_bytes), part_copy=part_copy, copy_source_condition=condition)
    upload = process.open()
    if trouble == "replace":
        process.store.seed("file", b"another client's")
    elif trouble:
        process.store.fail(trouble, StoreUnavailable("down"))
    before, model = process.content, bytearray(content(base_bytes))
    try:
        edit(upload, model, steps)
        result_of(upload.commit())
    except GatewayError:
        result_of(upload.abandon())
        assert process.content == before
    else:
        assert process.content in (bytes(model), before if trouble == "replace" else b"none")
    process.assert_idle()


def edit(upload: Upload, model: bytearray, steps: list[tuple[str, int, bytes]]) -> None:
    cursor = 0
    for what, number, data in steps:
        at = cursor if number < 0 else number
        if what == "write":
            assert upload.write(at, data) is None
            if data:
                model.extend(bytes(max(0, at - len(model))))
                model[at : at + len(data)] = data
            cursor = at + len(data)
        elif what == "truncate":
            result_of(upload.set_attributes(AttributeChanges(size_bytes=number)))
            del model[number:]
            model.extend(bytes(number - len(model)))
        else:
            look(upload, model, at, len(data))
        assert result_of(upload.attributes()).size_bytes == len(model)


def look(upload: Upload, model: bytearray, offset: int, length: int) -> None:
    if offset >= len(model):
        with pytest.raises(EndOfFile):
            upload.read(offset, length)
        return
    try:
        found = read(upload, offset, length)
    except (Unsupported, ObjectChanged, StoreUnavailable):
        return  # sent already, or replaced by another client, or the store is down
    assert found == model[offset : offset + length]


class Resuming:
    """A client that writes on from the end, and waits when it is told to."""

    def __init__(self, upload: Upload, offset: int, data: bytes) -> None:
        self.upload, self.offset, self.data = upload, offset, data
        self.later: Deferred[Any] | None = None
        self.is_closing = self.failed = False

    @property
    def is_done(self) -> bool:
        return self.is_closing and self.later is not None and self.later.called

    @property
    def can_go_on(self) -> bool:
        return not self.is_closing and (self.later is None or self.later.called)

    def go_on(self) -> None:
        step, self.data = self.data[:3], self.data[3:]
        try:
            self.later = self.upload.write(self.offset, step)
        except GatewayError:
            step = b""
        self.offset += len(step)
        if not step or not self.data:
            self.is_closing = True
            self.later = started(self.upload.commit())
        if self.later is not None:
            self.later.addErrback(self._failed)

    def _failed(self, failure: Any) -> None:
        failure.trap(GatewayError)
        self.failed = True


class TestConditions:
    """Another client replaces the object while it is open here."""

    @pytest.mark.parametrize("condition", [True, False])
    @pytest.mark.parametrize("size", [4, 60])
    def test_an_object_replaced_before_its_bytes_are_needed_fails_the_commit(
        self, condition: bool, size: int
    ) -> None:
        process = Process(content(size), copy_source_condition=condition)
        upload = process.open()
        upload.write(size, b"more")
        process.store.seed("file", bytes(size))
        failure = failure_of(upload.commit()).value
        assert isinstance(failure, ObjectChanged)
        assert "another client" in failure.message
        assert process.content == bytes(size)
        process.assert_idle()

    @pytest.mark.parametrize("condition", [True, False])
    def test_an_object_replaced_between_two_copies_fails_the_commit(self, condition: bool) -> None:
        process = Process(content(100), copy_source_condition=condition)
        gate = process.store.hold("copy_part")
        upload = process.open()
        upload.write(50, b"x" * 8)
        committing = started(upload.commit())
        gate.open_one()
        process.store.seed("file", bytes(100))
        gate.open()
        assert isinstance(failure_of(committing).value, ObjectChanged)
        assert process.content == bytes(100)
        process.assert_idle()

    def test_an_object_deleted_meanwhile_fails_the_commit(self) -> None:
        process = Process(content(60))
        upload = process.open()
        upload.write(60, b"more")
        result_of(process.store.delete(NAME))
        assert isinstance(failure_of(upload.commit()).value, ObjectChanged)
        assert process.store.keys() == []

    def test_when_nothing_of_it_was_needed_the_last_close_wins(self) -> None:
        process = Process(content(20))
        upload = process.open()
        upload.write(0, b"y" * 20)
        process.store.seed("file", b"another client's")
        result_of(upload.commit())
        assert process.content == b"y" * 20

    def test_a_read_does_not_mix_versions(self) -> None:
        process = Process(content(60))
        upload = process.open()
        process.store.seed("file", bytes(60))
        assert isinstance(failure_of(upload.read(0, 10)).value, ObjectChanged)  # type: ignore[arg-type]
        result_of(upload.commit())
        process.assert_idle()


class TestMemory:
    def test_fetched_bytes_wait_for_memory(self) -> None:
        process = Process(content(4), budget=100)
        upload = process.open()
        upload.write(4, b"x")
        assert process.budget.try_charge(100)
        committing = started(upload.commit())
        assert process.store.requests["get"] == 0
        assert not committing.called
        process.budget.release(100)
        result_of(committing)
        assert process.content == content(4) + b"x"
        process.assert_idle()

    def test_scattered_edits_never_queue_for_memory(self) -> None:
        process = Process(content(60), budget=100)
        assert process.budget.try_charge(105)
        upload = process.open()
        assert upload.write(0, b"abc") is None
        with pytest.raises(LimitReached, match="memory"):
            upload.write(30, b"defghi")
        process.budget.release(105)
        result_of(upload.abandon())
        assert process.content == content(60)
        process.assert_idle()

    def test_the_client_waits_while_bytes_are_fetched(self) -> None:
        process = Process(content(4))
        gate = process.store.hold("get")
        upload = process.open()
        later = upload.write(4, b"x" * 9)
        assert later is not None
        assert not later.called
        assert process.budget.held_bytes == 9 + 4
        gate.open()
        result_of(later)
        result_of(upload.commit())
        process.assert_idle()

    @pytest.mark.parametrize("base_bytes", [3, 60])
    @pytest.mark.parametrize("seed", range(5))
    def test_many_resumes_with_little_memory_all_finish(self, base_bytes: int, seed: int) -> None:
        process, choice = Process(content(base_bytes), budget=40), Random(seed)
        gates = [process.store.hold(each) for each in ("get", "copy_part", "upload_part", "put")]
        new = content(50)[::-1]
        clients = []
        for key in "abcdefgh":
            process.store.seed(key, content(base_bytes))
            upload = process.open(ObjectName("bucket", key))
            clients.append(Resuming(upload, base_bytes, new))
        while not all(client.is_done for client in clients):
            ready = [client for client in clients if client.can_go_on]
            busy = [gate for gate in gates if gate.waiting]
            assert ready or busy, "no upload can go on: a deadlock"
            if ready and (not busy or choice.random() < 0.7):
                choice.choice(ready).go_on()
            else:
                choice.choice(busy).open_one()
            assert process.budget.held_bytes <= 44
        assert not any(client.failed for client in clients)
        for key in "abcdefgh":
            assert process.store.content(key) == content(base_bytes) + new
        process.assert_idle()

    def test_abandoned_while_bytes_are_fetched(self) -> None:
        process = Process(content(4))
        gate = process.store.hold("get")
        upload = process.open()
        upload.write(4, b"x")
        committing, leaving = started(upload.commit()), started(upload.abandon())
        assert not leaving.called
        gate.open()
        result_of(leaving)
        assert isinstance(failure_of(committing).value, GatewayError)
        assert process.content == content(4)
        process.assert_idle()


class TestReading:
    def test_a_handle_that_never_writes_publishes_nothing(self) -> None:
        process = Process(content(100))
        upload = process.open()
        assert b"".join(read(upload, at, 10) for at in range(0, 100, 10)) == content(100)
        process.store.requests.clear()
        result_of(upload.commit())
        assert not process.store.requests
        process.assert_idle()

    def test_many_reads_at_once_open_the_object_once(self) -> None:
        process = Process(content(30))
        gate = process.store.hold("get")
        upload = process.open()
        reads = [upload.read(at, 10) for at in (0, 10, 20)]
        assert process.store.requests["get"] == 1
        gate.open()
        assert b"".join(fragment for each in reads for fragment in result_of(each)) == content(30)  # type: ignore[arg-type]
        result_of(upload.commit())
        process.assert_idle()

    def test_a_read_that_failed_may_be_tried_again(self) -> None:
        process = Process(content(30))
        process.store.fail("get", StoreUnavailable("down"))
        upload = process.open()
        with pytest.raises(StoreUnavailable):
            read(upload, 0, 10)
        assert read(upload, 0, 10) == content(10)
        result_of(upload.commit())
        process.assert_idle()

    def test_reads_are_answered_though_the_file_is_closed_meanwhile(self) -> None:
        process = Process(content(30))
        gate = process.store.hold("get")
        upload = process.open()
        waiting = [upload.read(0, 10), upload.read(10, 10)]
        result_of(upload.commit())
        gate.open()
        assert all(isinstance(failure_of(each).value, GatewayError) for each in waiting)  # type: ignore[arg-type]
        process.assert_idle()

    def test_bytes_of_all_kinds_in_one_read(self) -> None:
        process = Process(content(20))
        upload = process.open()
        upload.write(5, b"new")
        upload.write(25, b"end")
        expected = content(5) + b"new" + content(20)[8:] + bytes(5) + b"end"
        assert read(upload, 0, 100) == expected
        result_of(upload.commit())
        assert process.content == expected
        process.assert_idle()


# The tree, with S3's own sizes.

IN_PLACE = WriteIntent(truncate=False)
BOTH = WriteIntent(truncate=False, create=False, read=True)
LARGE = content(6 * MIB)


@pytest.fixture
def gateway() -> GatewayInMemory:
    return GatewayInMemory(FakeStore())


@pytest.fixture
def tree(gateway: GatewayInMemory) -> Tree:
    return gateway.tree()


def seed(gateway: GatewayInMemory, data: bytes, properties: ObjectProperties | None = None) -> None:
    result_of(
        gateway.store.put(
            ObjectName("bucket", "home/alice/f"), (data,), properties or ObjectProperties()
        )
    )
    gateway.store.requests.clear()


def opened(tree: Tree, intent: WriteIntent = IN_PLACE) -> Upload:
    return result_of(tree.open_writer(b"/f", intent, NO_CHANGES))


def stored(gateway: GatewayInMemory) -> bytes:
    return gateway.store.content("home/alice/f")


class TestTree:
    def test_a_resume_costs_what_it_adds(self, gateway: GatewayInMemory, tree: Tree) -> None:
        seed(gateway, LARGE)
        upload = opened(tree)
        upload.write(len(LARGE), b"tail")
        result_of(upload.commit())
        assert stored(gateway) == LARGE + b"tail"
        assert gateway.store.requests == {
            "head": 2,  # at OPEN, and whether it still is that file before the end
            "create_upload": 1,
            "copy_part": 1,
            "upload_part": 1,
            "complete_upload": 1,
        }
        gateway.assert_idle()

    def test_a_small_file_is_fetched_and_put(self, gateway: GatewayInMemory, tree: Tree) -> None:
        seed(gateway, b"hello")
        upload = opened(tree, WriteIntent(truncate=False, append=True))
        upload.write(0, b", world")
        result_of(upload.commit())
        assert stored(gateway) == b"hello, world"
        assert gateway.store.requests == {"head": 1, "get": 1, "put": 1}

    @pytest.mark.parametrize("first", [LARGE, b"short"])
    @pytest.mark.parametrize("second", [b"", b"new", LARGE[::-1], b"x" * len(LARGE)])
    def test_scp_overwrites_without_looking_back(
        self, gateway: GatewayInMemory, tree: Tree, first: bytes, second: bytes
    ) -> None:
        seed(gateway, first)
        upload = opened(tree)
        upload.write(0, second)
        result_of(upload.set_attributes(AttributeChanges(size_bytes=len(second))))
        result_of(upload.commit())
        assert stored(gateway) == second
        assert gateway.store.requests == {"head": 1, "put": 1}

    def test_an_edited_file_keeps_its_properties_but_not_its_mtime(
        self, gateway: GatewayInMemory, tree: Tree
    ) -> None:
        properties = ObjectProperties(
            metadata={"owner": "ann", "mtime": "1"},
            content_type="text/plain",
            storage_class="STANDARD_IA",
            system_headers={"cache-control": "no-store"},
            encryption={"x-amz-server-side-encryption": "aws:kms"},
            tags={"team": "red"},
        )
        for data in (b"small", LARGE):
            seed(gateway, data, properties)
            upload = opened(tree)
            upload.write(2, b"X")
            result_of(upload.commit())
            preserved = gateway.store.objects[ObjectName("bucket", "home/alice/f")].properties
            # The bytes are new, so that the time is the store's.
            assert preserved == replace(properties, metadata={"owner": "ann"})

    @pytest.mark.parametrize("configured", ["", "STANDARD_IA"])
    def test_the_usual_class_is_named_only_where_another_is_usual(self, configured: str) -> None:
        gateway = GatewayInMemory(FakeStore(), settings=StoreSettings(storage_class=configured))
        seed(gateway, b"old")
        upload = opened(gateway.tree(with_mount(ALICE, bucket="bucket")))
        upload.write(0, b"new")
        result_of(upload.commit())
        preserved = gateway.store.objects[ObjectName("bucket", "home/alice/f")].properties
        assert preserved.storage_class == ("STANDARD" if configured else "")

    def test_tags_of_a_file_that_is_gone_are_not_missed(
        self, gateway: GatewayInMemory, tree: Tree
    ) -> None:
        seed(gateway, b"old", ObjectProperties(tags={"team": "red"}))
        upload = opened(tree)
        upload.write(0, b"new")
        result_of(gateway.store.delete(ObjectName("bucket", "home/alice/f")))
        result_of(upload.commit())
        assert stored(gateway) == b"new"

    def test_a_replaced_file_has_the_properties_of_a_new_one(
        self, gateway: GatewayInMemory, tree: Tree
    ) -> None:
        seed(gateway, b"old", ObjectProperties(content_type="text/plain", tags={"team": "red"}))
        upload = opened(tree, WriteIntent())
        upload.write(0, b"new")
        result_of(upload.commit())
        preserved = gateway.store.objects[ObjectName("bucket", "home/alice/f")].properties
        assert preserved == ObjectProperties()

    @pytest.mark.parametrize("size", [0, 3, 5 * MIB, len(LARGE) - 1, len(LARGE) + 9])
    def test_setstat_of_a_size(self, gateway: GatewayInMemory, tree: Tree, size: int) -> None:
        seed(gateway, LARGE)
        result_of(tree.set_attributes(b"/f", AttributeChanges(size_bytes=size)))
        assert stored(gateway) == LARGE[:size] + bytes(max(0, size - len(LARGE)))
        gateway.assert_idle()

    def test_setstat_of_the_same_size_changes_nothing(
        self, gateway: GatewayInMemory, tree: Tree
    ) -> None:
        seed(gateway, LARGE)
        result_of(tree.set_attributes(b"/f", AttributeChanges(size_bytes=len(LARGE))))
        assert gateway.store.requests == {"head": 1}

    def test_setstat_of_a_size_that_fails_leaves_nothing(
        self, gateway: GatewayInMemory, tree: Tree
    ) -> None:
        seed(gateway, LARGE)
        gateway.store.fail("copy_part", StoreUnavailable("down"))
        cutting = tree.set_attributes(b"/f", AttributeChanges(size_bytes=5 * MIB))
        assert isinstance(failure_of(cutting).value, StoreUnavailable)
        far = tree.set_attributes(b"/f", AttributeChanges(size_bytes=2**50))
        assert isinstance(failure_of(far).value, LimitReached)
        assert stored(gateway) == LARGE
        gateway.assert_idle()

    def test_setstat_of_a_size_needs_a_file(self, tree: Tree) -> None:
        cutting = tree.set_attributes(b"/no", AttributeChanges(size_bytes=0))
        assert isinstance(failure_of(cutting).value, NoSuchFile)

    def test_setstat_of_a_size_finds_a_file_that_is_being_written(
        self, gateway: GatewayInMemory, tree: Tree
    ) -> None:
        upload = opened(tree)
        upload.write(0, b"too long")
        result_of(gateway.tree().set_attributes(b"/f", AttributeChanges(size_bytes=3)))
        result_of(upload.commit())
        assert stored(gateway) == b"too"

    def test_a_directory_has_no_size(self, gateway: GatewayInMemory, tree: Tree) -> None:
        gateway.store.seed("home/alice/d/", b"")
        for path in (b"/d", b"/d/", b"/"):
            cutting = tree.set_attributes(path, AttributeChanges(size_bytes=0))
            assert isinstance(failure_of(cutting).value, IsADirectory)

    @pytest.mark.parametrize("missing", [Permission.OVERWRITE, Permission.UPLOAD])
    def test_a_size_needs_what_overwriting_needs(
        self, gateway: GatewayInMemory, missing: Permission
    ) -> None:
        seed(gateway, b"old")
        tree = gateway.tree(with_mount(ALICE, permissions=ALL_PERMISSIONS & ~missing))
        cutting = tree.set_attributes(b"/f", AttributeChanges(size_bytes=0))
        assert isinstance(failure_of(cutting).value, PermissionDenied)
        assert stored(gateway) == b"old"

    def test_a_user_who_may_not_download_cannot_read_a_file_being_written(
        self, gateway: GatewayInMemory
    ) -> None:
        seed(gateway, b"old")
        tree = gateway.tree(with_mount(ALICE, permissions=ALL_PERMISSIONS & ~Permission.DOWNLOAD))
        upload = opened(tree, BOTH)
        upload.write(0, b"new")
        with pytest.raises(PermissionDenied, match="/f"):
            upload.read(0, 1)
        result_of(upload.commit())
        assert stored(gateway) == b"new"

    def test_a_handle_that_was_not_opened_for_reading_is_not_read(
        self, gateway: GatewayInMemory, tree: Tree
    ) -> None:
        seed(gateway, b"old")
        upload = opened(tree)
        with pytest.raises(Unsupported, match="writing only"):
            upload.read(0, 1)
        result_of(upload.commit())

    def test_a_new_file_can_be_read_while_it_is_written(
        self, gateway: GatewayInMemory, tree: Tree
    ) -> None:
        upload = opened(tree, WriteIntent(read=True))
        upload.write(0, LARGE)
        assert read(upload, 7, 100) == LARGE[7:107]
        result_of(upload.commit())
        assert stored(gateway) == LARGE

    def test_a_store_that_cannot_copy_gets_it_all_again(self) -> None:
        gateway = GatewayInMemory(FakeStore(capabilities=Capabilities(part_copy=False)))
        seed(gateway, LARGE)
        upload = opened(gateway.tree())
        upload.write(len(LARGE), b"tail")
        result_of(upload.commit())
        assert stored(gateway) == LARGE + b"tail"
        gateway.assert_idle()

    def test_a_store_that_cannot_copy_does_not_get_more_than_may_be_held(self) -> None:
        gateway = GatewayInMemory(
            FakeStore(capabilities=Capabilities(unequal_parts=False)),
            limits=LimitSettings(memory_bytes=10 * MIB),
        )
        seed(gateway, LARGE)
        upload = opened(gateway.tree())
        upload.write(len(LARGE), b"tail")
        failure = failure_of(upload.commit()).value
        assert isinstance(failure, Unsupported)
        assert "cannot copy parts" in failure.message
        assert stored(gateway) == LARGE
        gateway.assert_idle()
