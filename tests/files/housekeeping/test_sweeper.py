"""The sweeper against the fake store."""

from __future__ import annotations

import pytest
from twisted.internet.task import Clock

from sftpgw.errors import AccessDenied, StoreUnavailable
from sftpgw.files.housekeeping.sweeper import EVERY_SECONDS, Sweeper, Target, targets_of
from sftpgw.files.transfers.registry import TransferRegistry
from sftpgw.model.settings import Stores, StoreSettings
from sftpgw.model.store import MultipartUpload, ObjectName, ObjectProperties
from sftpgw.model.users import User
from sftpgw.testing.fake_store import FakeStore
from sftpgw.testing.ssh_pairs import RecordedEvents
from tests.results import result_of

DAY = 86400.0
NOW = 1_700_000_000.0


class Process:
    """A sweeper with its store, clock and events."""

    def __init__(
        self,
        *targets: Target,
        recorded: tuple[MultipartUpload, ...] = (),
        store: FakeStore | None = None,
    ) -> None:
        self.store = store or FakeStore(("bucket", "other"))
        self.transfers = TransferRegistry()
        self.clock = Clock()
        self.clock.advance(NOW)
        self.events = RecordedEvents()
        self.sweeper = Sweeper(
            targets,
            store=self.store,
            transfers=self.transfers,
            clock=self.clock,
            events=self.events,
            random=lambda: 0.5,
            expire=self.expire,
        )
        self.recorded = frozenset(recorded)
        self.fails = False
        self.expired: list[str] = []

    async def expire(self, bucket: str) -> frozenset[MultipartUpload]:
        self.expired.append(bucket)
        if self.fails:
            raise StoreUnavailable("down")
        return self.recorded

    def upload(self, key: str, age_days: float, bucket: str = "bucket") -> MultipartUpload:
        self.store.now_seconds = NOW - age_days * DAY
        return result_of(self.store.create_upload(ObjectName(bucket, key), ObjectProperties()))

    def object(self, key: str, age_days: float) -> None:
        self.store.now_seconds = NOW - age_days * DAY
        self.store.seed(key, b"x")

    def left(self) -> set[str]:
        return {opened.upload.name.key for opened in self.store.uploads.values()}


HOMES = Target("bucket", "home/", 7 * DAY)
PIECES = Target("bucket", ".sftpgw/pieces/", 7 * DAY, has_objects=True)


def test_old_uploads_are_aborted_and_young_ones_are_not() -> None:
    process = Process(HOMES)
    process.upload("home/old", 7.1)
    process.upload("home/young", 6.9)
    process.upload("elsewhere/old", 30)
    result_of(process.sweeper.sweep())
    assert process.left() == {"home/young", "elsewhere/old"}
    (facts,) = process.events.facts("stale-upload-aborted")
    assert (facts["key"], facts["age_seconds"]) == ("home/old", pytest.approx(7.1 * DAY))


def test_uploads_in_use_or_recorded_or_of_unknown_age_are_spared() -> None:
    recorded = MultipartUpload(ObjectName("bucket", "home/recorded"), "upload-2")
    process = Process(HOMES, recorded=(recorded,))
    transfers = process.upload("home/in-flight", 30)
    process.upload("home/recorded", 30)
    process.upload("home/unknown", NOW / DAY)
    process.transfers.pinned.add(transfers)
    result_of(process.sweeper.sweep())
    assert process.left() == {"home/in-flight", "home/recorded", "home/unknown"}


def test_an_upload_of_unknown_age_is_as_old_as_it_has_been_known() -> None:
    """SeaweedFS does not tell when an upload began."""
    process = Process(HOMES)
    process.upload("home/unknown", NOW / DAY)
    for _ in range(8):
        assert process.left() == {"home/unknown"}
        result_of(process.sweeper.sweep())
        process.clock.advance(DAY)
    result_of(process.sweeper.sweep())
    assert process.left() == set()
    (facts,) = process.events.facts("stale-upload-aborted")
    assert facts["age_seconds"] == pytest.approx(8 * DAY)
    (told,) = process.events.facts("upload-ages-unknown")
    assert (told["prefix"], told["uploads"]) == ("home/", 1)


class _Pretends(FakeStore):
    """A store that confirms a removal and does not carry it out."""

    async def abort_upload(self, upload: MultipartUpload) -> None:
        return

    async def delete(self, name: ObjectName, *, if_match: str | None = None) -> None:
        return


def test_an_upload_is_reported_as_aborted_only_if_it_is_gone() -> None:
    process = Process(HOMES, PIECES, store=_Pretends(("bucket",)))
    process.upload("home/old", 30)
    process.object(".sftpgw/pieces/a", 8)
    result_of(process.sweeper.sweep())
    assert process.left() == {"home/old"}
    assert not process.events.facts("stale-upload-aborted")
    assert not process.events.facts("stale-piece-deleted")
    assert [facts["key"] for facts in process.events.facts("sweep-failed")] == [
        "home/old",
        ".sftpgw/pieces/a",
    ]


def test_records_that_cannot_be_read_keep_uploads_where_they_are() -> None:
    process = Process(HOMES, PIECES)
    process.upload("home/old", 30)
    process.object(".sftpgw/pieces/a", 8)
    process.fails = True
    result_of(process.sweeper.sweep())
    assert process.left() == {"home/old"}
    assert process.store.keys() == []
    assert len(process.events.facts("sweep-failed")) == 2


def test_records_are_looked_at_without_any_upload() -> None:
    process = Process(HOMES, PIECES)
    result_of(process.sweeper.sweep())
    assert process.expired == ["bucket"]


def test_old_staging_objects_are_deleted_and_young_or_pinned_ones_are_not() -> None:
    process = Process(PIECES)
    for key, age_days in (("a", 8), ("b", 6), ("kept", 8)):
        process.object(f".sftpgw/pieces/{key}", age_days)
    process.object(".sftpgw/records/a", 30)
    process.object("home/a", 30)
    process.upload(".sftpgw/pieces/u", 8)
    process.transfers.pinned.add(ObjectName("bucket", ".sftpgw/pieces/kept"))
    result_of(process.sweeper.sweep())
    assert process.store.keys() == [
        ".sftpgw/pieces/b",
        ".sftpgw/pieces/kept",
        ".sftpgw/records/a",
        "home/a",
    ]
    assert process.left() == set()
    (facts,) = process.events.facts("stale-piece-deleted")
    assert facts["key"] == ".sftpgw/pieces/a"


def test_objects_of_users_are_never_touched() -> None:
    process = Process(HOMES)
    process.object("home/old", 1000)
    result_of(process.sweeper.sweep())
    assert process.store.keys() == ["home/old"]


def test_all_pages_are_looked_at() -> None:
    process = Process(HOMES, PIECES)
    process.store._page_limit = 3
    for index in range(10):
        process.upload(f"home/{index}", 8)
        process.object(f".sftpgw/pieces/{index}", 8)
    result_of(process.sweeper.sweep())
    assert process.left() == set()
    assert process.store.keys() == []


def test_an_error_of_one_bucket_does_not_stop_the_others() -> None:
    process = Process(Target("missing", "home/", DAY), HOMES, Target("other", "", DAY))
    process.upload("home/old", 8)
    process.upload("old", 8, bucket="other")
    process.store.fail("abort_upload", AccessDenied("no", code="AccessDenied"))
    result_of(process.sweeper.sweep())
    assert process.left() == {"home/old"}
    assert [(facts["bucket"], facts["code"]) for facts in process.events.facts("sweep-failed")] == [
        ("missing", "NoSuchBucket"),
        ("bucket", "AccessDenied"),
    ]


def test_an_upload_that_cannot_be_aborted_does_not_stop_the_others() -> None:
    process = Process(HOMES, PIECES)
    process.upload("home/locked", 8)
    process.upload("home/old", 8)
    process.object(".sftpgw/pieces/locked", 8)
    process.object(".sftpgw/pieces/old", 8)
    process.store.fail("abort_upload", AccessDenied("no", code="AccessDenied"))
    process.store.fail("delete", AccessDenied("no", code="AccessDenied"))
    result_of(process.sweeper.sweep())
    assert process.left() == {"home/locked"}
    assert process.store.keys() == [".sftpgw/pieces/locked"]
    assert [facts["key"] for facts in process.events.facts("sweep-failed")] == [
        "home/locked",
        ".sftpgw/pieces/locked",
    ]


def test_a_store_that_goes_down_is_not_asked_for_each() -> None:
    process = Process(HOMES)
    for number in range(10):
        process.upload(f"home/{number}", 8)
    process.store.fail("abort_upload", StoreUnavailable("down"), times=10)
    result_of(process.sweeper.sweep())
    assert process.store.requests["abort_upload"] == 1
    assert len(process.events.facts("sweep-failed")) == 1


def test_the_sweeper_runs_soon_after_the_start_and_then_every_hour() -> None:
    process = Process(HOMES)
    process.sweeper.start()
    assert process.store.requests["list_uploads"] == 0
    process.clock.advance(120)
    assert process.store.requests["list_uploads"] == 1
    process.clock.advance(EVERY_SECONDS)
    assert process.store.requests["list_uploads"] == 2
    process.sweeper.stop()
    assert not process.clock.getDelayedCalls()


def test_stopped_in_the_middle_of_a_run_it_leaves_nothing_behind() -> None:
    process = Process(HOMES)
    gate = process.store.hold("list_uploads")
    process.sweeper.start()
    process.clock.advance(120)
    assert gate.waiting == 1
    process.sweeper.stop()
    assert gate.waiting == 0
    assert not process.clock.getDelayedCalls()
    assert process.events.told == []


def test_runs_do_not_overlap_and_a_defect_does_not_end_them() -> None:
    process = Process(HOMES)
    gate = process.store.hold("list_uploads")
    process.store.fail("list_uploads", ZeroDivisionError())  # type: ignore[arg-type]
    process.sweeper.start()
    process.clock.advance(10 * EVERY_SECONDS)
    assert process.store.requests["list_uploads"] == 1
    gate.open()
    assert len(process.events.facts("defect")) == 1
    process.clock.advance(EVERY_SECONDS)
    assert process.store.requests["list_uploads"] == 2
    process.sweeper.stop()


def test_a_store_that_is_down_is_told_and_tried_again() -> None:
    process = Process(HOMES)
    process.upload("home/old", 8)
    process.store.fail("list_uploads", StoreUnavailable("down"))
    process.sweeper.start()
    process.clock.advance(120)
    assert process.left() == {"home/old"}
    process.clock.advance(EVERY_SECONDS)
    assert process.left() == set()
    process.sweeper.stop()


class TestTargets:
    USERS = (
        User.with_home("a", "bucket", "home/a/"),
        User.with_home("b", "bucket", "home/"),
        User.with_home("c", "bucket", "home-c/"),
        User.with_home("d", "other", ""),
        User.with_home("e", "other", "home/e/"),
    )

    def test_only_the_state_prefix_is_swept_if_the_option_is_off(self) -> None:
        targets = targets_of(lambda bucket: StoreSettings(), self.USERS)
        assert [(target.bucket, target.prefix) for target in targets] == [
            ("bucket", ".sftpgw/pieces/"),
            ("bucket", ".sftpgw/probe/"),
            ("bucket", ".sftpgw/partial-claims/"),
            ("other", ".sftpgw/pieces/"),
            ("other", ".sftpgw/probe/"),
            ("other", ".sftpgw/partial-claims/"),
        ]
        assert [target.stale_seconds for target in targets] == 2 * [7 * DAY, 7 * DAY, 3600]
        assert all(target.has_objects for target in targets)

    def test_the_settings_are_those_of_the_store(self) -> None:
        stores = Stores(
            StoreSettings(),
            {
                "far": StoreSettings(
                    name="far", state_prefix=".far/", abort_stale_uploads_seconds=2 * DAY
                )
            },
        )
        users = (User.with_home("a", "far:bucket", "home/"), User.with_home("b", "bucket", "b/"))
        targets = targets_of(stores.of, users)
        assert [(target.bucket, target.prefix, target.stale_seconds) for target in targets] == [
            ("bucket", ".sftpgw/pieces/", 7 * DAY),
            ("bucket", ".sftpgw/probe/", 7 * DAY),
            ("bucket", ".sftpgw/partial-claims/", 3600),
            ("far:bucket", ".far/pieces/", 2 * DAY),
            ("far:bucket", ".far/probe/", 2 * DAY),
            ("far:bucket", ".far/partial-claims/", 3600),
            ("far:bucket", "home/", 2 * DAY),
        ]

    def test_each_prefix_is_swept_once(self) -> None:
        settings = StoreSettings(abort_stale_uploads_seconds=2 * DAY)
        targets = [
            target
            for target in targets_of(lambda bucket: settings, self.USERS)
            if not target.has_objects
        ]
        assert [(target.bucket, target.prefix) for target in targets] == [
            ("bucket", "home-c/"),
            ("bucket", "home/"),
            ("other", ""),
        ]
        assert {target.stale_seconds for target in targets} == {2 * DAY}
