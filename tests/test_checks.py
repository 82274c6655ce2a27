"""What --check reports of a store."""

from __future__ import annotations

from dataclasses import replace
from types import MappingProxyType

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from sftpgw.checks import (
    LOOK_SECONDS,
    Finding,
    Level,
    RetryReporter,
    buckets_of,
    check_buckets,
    look_at_buckets,
)
from sftpgw.errors import AccessDenied, NoSuchBucket, NoSuchObject, StoreError, StoreUnavailable
from sftpgw.model.events.store_events import S3RequestFacts, S3RequestFailed, S3RequestRetried
from sftpgw.model.mounts import Permission
from sftpgw.model.settings import (
    AuthSettings,
    FilesSettings,
    GatewaySettings,
    LimitSettings,
    Settings,
    SshSettings,
    StoreSettings,
)
from sftpgw.model.settings import Probe as ProbeChoice
from sftpgw.model.store import Capabilities, ObjectStore
from sftpgw.model.users import User
from sftpgw.testing.fake_store import FakeStore
from sftpgw.testing.ssh_pairs import RecordedEvents

ALL = Capabilities()


def settings_of(
    *users: User, declared: Capabilities = ALL, probe: ProbeChoice = ProbeChoice.AUTO
) -> Settings:
    return Settings(
        GatewaySettings(),
        StoreSettings(bucket="here", capabilities=declared, probe=probe),
        SshSettings(),
        LimitSettings(),
        FilesSettings(),
        MappingProxyType({user.name: user for user in users}),
    )


def found(settings: Settings, store: FakeStore, able: Capabilities | StoreError = ALL) -> list[str]:
    """What is reported on a store that can do `able`, or answers the probe with that."""

    async def probe(store: ObjectStore, bucket: str) -> Capabilities:
        assert bucket == "here"
        if isinstance(able, StoreError):
            raise able
        return able

    lines: list[str] = []

    def report(level: Level, text: str) -> None:
        lines.append(str(Finding(level, text)))

    done = Deferred.fromCoroutine(check_buckets(settings, store, probe, report))
    results: list[object] = []
    done.addBoth(results.append)
    assert results == [None]
    return lines


def with_sources(*sources: str, allowed: tuple[str, ...] = (), bucket: str = "here") -> Settings:
    auth = AuthSettings(sources=sources, allowed_buckets=allowed)
    settings = settings_of(User.with_home("alice", "of-files", ""))
    return replace(settings, auth=auth, s3=replace(settings.s3, bucket=bucket))


def test_buckets_that_only_users_of_other_sources_have_are_known_as_far_as_settings_tell() -> None:
    assert buckets_of(with_sources("file", allowed=("named",))) == ("of-files",)
    assert buckets_of(with_sources("file", "ldap")) == ("here", "of-files")
    patterns = ("named", "partner-*", "a?", "[ab]")
    assert buckets_of(with_sources("file", "http", allowed=patterns)) == ("named", "of-files")
    assert buckets_of(with_sources("file", "http", allowed=("h*",))) == ("here", "of-files")
    assert buckets_of(with_sources("file", "http", bucket="")) == ("of-files",)


def test_a_bucket_of_users_of_other_sources_whose_head_is_refused_is_not_passed_over() -> None:
    settings = replace(with_sources("ldap"), users=MappingProxyType({}))
    store = FakeStore(buckets=("here",))
    store.fail("head_bucket", AccessDenied("", status=403))
    store.fail("list", AccessDenied("no", code="AccessDenied", status=403))
    assert found(settings, store)[0] == (
        "note: bucket here: the whole bucket: may not be listed: AccessDenied: no"
    )


def findings(declared: Capabilities, able: Capabilities, *buckets: str) -> list[str]:
    """What is reported on a fake store that has the bucket ``here`` and can do `able`."""
    users = [User.with_home(bucket, bucket, "") for bucket in buckets]
    return found(settings_of(*users, declared=declared), FakeStore(buckets=("here",)), able)


def test_a_missing_bucket_does_not_hide_the_next() -> None:
    missing, exists, able = findings(ALL, ALL, "here", "gone")
    assert missing.startswith("fault: bucket gone: NoSuchBucket")
    assert exists.startswith("ok: bucket here: exists")
    assert able == "ok: bucket here: the store can do what the gateway asks of it"


@pytest.mark.parametrize(
    ("declared", "able", "text"),
    [
        (
            ALL,
            replace(ALL, conditional_copy=False, part_copy=False),
            (
                "note: bucket here: the store lacks conditional-copy part-copy; the gateway finds "
                "that out, and does without; not to have it tried, write into [s3]: "
                "unsupported = conditional-copy part-copy"
            ),
        ),
        (
            replace(ALL, unequal_parts=False),
            replace(ALL, conditional_put=False),
            (
                "note: bucket here: the store lacks conditional-put; the gateway finds that out, "
                "and does without; not to have it tried, write into [s3]: "
                "unsupported = conditional-put unequal-parts"
            ),
        ),
        (
            replace(ALL, conditional_put=False),
            replace(ALL, conditional_put=False),
            "ok: bucket here: the store can do what the gateway asks of it",
        ),
        (
            replace(ALL, conditional_put=False),
            ALL,
            "note: bucket here: the store can do what unsupported denies it: conditional-put",
        ),
    ],
)
def test_declared_and_found_capabilities_are_compared(
    declared: Capabilities, able: Capabilities, text: str
) -> None:
    assert findings(declared, able, "here")[-1] == text


def test_an_undeclared_lack_is_a_fault_without_a_probe() -> None:
    settings = settings_of(User.with_home("here", "here", ""), probe=ProbeChoice.NO)
    able = replace(ALL, part_copy=False)
    assert found(settings, FakeStore(buckets=("here",)), able)[-1] == (
        "fault: bucket here: the store lacks part-copy; write into [s3]: unsupported = part-copy"
    )


ALICE = User.with_home("alice", "here", "home/alice/")
WRITER = User.with_home("bob", "here", "in/", permissions=Permission.UPLOAD)
REACHES = "the store can do what the gateway asks of it"


def bare(kind: type[StoreError], status: int) -> StoreError:
    """What an answer to HEAD tells."""
    return kind(f"HeadBucket: HTTP status {status}", status=status)


class TestRefusedHeads:
    """HEAD has no body: what is wrong is asked once more by GET."""

    @pytest.mark.parametrize(
        ("head", "get", "told"),
        [
            (
                bare(AccessDenied, 403),
                AccessDenied(
                    "ListObjectsV2: no such key id", code="InvalidAccessKeyId", status=403
                ),
                (
                    "InvalidAccessKeyId: ListObjectsV2: no such key id; "
                    "the store does not know access_key"
                ),
            ),
            (
                bare(AccessDenied, 403),
                AccessDenied("ListObjectsV2: differs", code="SignatureDoesNotMatch", status=403),
                (
                    "SignatureDoesNotMatch: ListObjectsV2: differs; "
                    "secret_key is not the one of access_key"
                ),
            ),
            (
                bare(NoSuchBucket, 404),
                NoSuchObject("ListObjectsV2: no user", code="XAdminUserNotFound", status=404),
                ("XAdminUserNotFound: ListObjectsV2: no user; the store does not know access_key"),
            ),
            (
                bare(NoSuchBucket, 404),
                NoSuchObject("ListObjectsV2: HTTP status 404", status=404),
                (
                    "NoSuchBucket: HeadBucket: HTTP status 404; "
                    "make the bucket, or write its right name"
                ),
            ),
            (
                bare(StoreError, 400),
                StoreError("ListObjectsV2: bad", code="AuthorizationHeaderMalformed", status=400),
                "AuthorizationHeaderMalformed: ListObjectsV2: bad",
            ),
        ],
    )
    def test_the_code_of_the_get_is_told(
        self, head: StoreError, get: StoreError, told: str
    ) -> None:
        store = FakeStore(buckets=("here",))
        store.fail("head_bucket", head)
        store.fail("list", get)
        assert found(settings_of(ALICE), store) == [f"fault: bucket here: {told}"]

    def test_a_policy_for_prefixes_only_is_fine(self) -> None:
        store = FakeStore(buckets=("here",))
        store.fail("head_bucket", bare(AccessDenied, 403))
        listed, able = found(settings_of(ALICE), store)
        assert listed.startswith("ok: bucket here: home/alice/: may be listed")
        assert able == f"ok: bucket here: {REACHES}"

    def test_a_prefix_that_may_not_be_listed_is_a_fault_for_users_who_may_list(self) -> None:
        store = FakeStore(buckets=("here",))
        store.fail("head_bucket", bare(AccessDenied, 403))
        denied = AccessDenied("ListObjectsV2: no", code="AccessDenied", status=403)
        store.fail("list", denied, times=2)
        assert found(settings_of(ALICE, WRITER), store) == [
            "fault: bucket here: home/alice/: may not be listed: AccessDenied: ListObjectsV2: no",
            "note: bucket here: in/: may not be listed: AccessDenied: ListObjectsV2: no",
            f"ok: bucket here: {REACHES}",
        ]

    def test_a_store_that_is_away_is_not_asked_again(self) -> None:
        store = FakeStore(buckets=("here",))
        store.fail("head_bucket", StoreUnavailable("HeadBucket: refused", code="ConnectFailed"))
        told = found(settings_of(ALICE), store)
        assert told == ["fault: bucket here: ConnectFailed: HeadBucket: refused"]
        assert store.requests["list"] == 0

    def test_the_number_of_prefixes_asked_for_is_bounded(self) -> None:
        users = [User.with_home(f"u{number}", "here", f"home/{number}/") for number in range(1000)]
        store = FakeStore(buckets=("here",))
        store.fail("head_bucket", bare(AccessDenied, 403))
        found(settings_of(*users), store)
        assert store.requests["list"] == 20


class TestStatePrefix:
    """Where nothing may be put under it, the gateway works, but for what needs it."""

    DENIED = AccessDenied("PutObject: no", code="AccessDenied", status=403)

    def test_a_refused_state_prefix_is_a_note_where_files_can_be_stored(self) -> None:
        store = FakeStore(buckets=("here",))
        _, state, stored = found(settings_of(ALICE), store, self.DENIED)
        assert state.startswith("note: bucket here: .sftpgw/: may not be written")
        assert stored == "ok: bucket here: home/alice/: files may be stored"
        assert not store.uploads
        assert not store.objects

    def test_a_refused_state_prefix_is_a_fault_where_nothing_can_be_stored(self) -> None:
        store = FakeStore(buckets=("here",))
        refused = AccessDenied("CreateMultipartUpload: no", code="AccessDenied", status=403)
        store.fail("create_upload", refused)
        assert found(settings_of(ALICE), store, self.DENIED)[-1] == (
            "fault: bucket here: home/alice/: nothing can be stored: "
            "AccessDenied: CreateMultipartUpload: no"
        )

    def test_a_refused_state_prefix_does_not_matter_to_users_who_only_download(self) -> None:
        reader = User.with_home("carol", "here", "out/", permissions=Permission.DOWNLOAD)
        told = found(settings_of(reader), FakeStore(buckets=("here",)), self.DENIED)
        assert [line.partition(":")[0] for line in told] == ["ok", "note"]


class TestStart:
    """What the log is told when the gateway starts."""

    def told(self, store: FakeStore, *users: User) -> list[tuple[object, object]]:
        return self.told_of(store, settings_of(*users))

    def told_of(self, store: FakeStore, settings: Settings) -> list[tuple[object, object]]:
        clock, events = Clock(), RecordedEvents()
        looking = look_at_buckets(settings, store, clock, events, lambda level, text: None)
        results: list[object] = []
        Deferred.fromCoroutine(looking).addBoth(results.append)
        clock.advance(LOOK_SECONDS - 1)
        assert events.facts("bucket-unusable") == [] or results == [None]
        clock.advance(1)
        assert results == [None]
        assert clock.getDelayedCalls() == []
        return [(facts["bucket"], facts["reason"]) for facts in events.facts("bucket-unusable")]

    def test_each_missing_bucket_is_told(self) -> None:
        users = [User.with_home(name, name, "") for name in ("here", "gone", "lost")]
        unusable = self.told(FakeStore(buckets=("here",)), *users)
        assert [bucket for bucket, _ in unusable] == ["gone", "lost"]

    def test_a_store_that_is_away_is_told_once(self) -> None:
        store = FakeStore(buckets=("a", "b"))
        away = StoreUnavailable("HeadBucket: h:1: refused", code="ConnectFailed")
        store.fail("head_bucket", away, times=2)
        unusable = self.told(store, User.with_home("a", "a", ""), User.with_home("b", "b", ""))
        assert unusable == [("a", "ConnectFailed: HeadBucket: h:1: refused")]

    def test_each_store_that_is_away_is_told_once(self) -> None:
        store = FakeStore(buckets=("a", "b", "far:a", "far:b"))
        away = StoreUnavailable("HeadBucket: h:1: refused", code="ConnectFailed")
        store.fail("head_bucket", away, times=4)
        users = [User.with_home(name, name, "") for name in ("a", "b", "far:a", "far:b")]
        settings = replace(settings_of(*users), stores={"far": StoreSettings(name="far")})
        assert [bucket for bucket, _ in self.told_of(store, settings)] == ["a", "far:a"]

    def test_a_store_that_does_not_answer_is_told_once(self) -> None:
        store = FakeStore(buckets=("a", "b"))
        store.hold("head_bucket")
        unusable = self.told(store, User.with_home("a", "a", ""), User.with_home("b", "b", ""))
        assert unusable == [("a", "no answer within 10 seconds")]


def test_waiting_for_a_store_is_told_once() -> None:
    notes: list[str] = []
    reporter = RetryReporter(
        lambda level, text: notes.append(f"{level.value}: {text}"), StoreSettings()
    )
    facts: S3RequestFacts = {
        "operation": "HeadBucket",
        "bucket": "here",
        "key": "",
        "status": 0,
        "code": "ConnectFailed",
        "reason": "refused",
        "request_id": "",
        "attempt": 1,
        "seconds": 0.1,
    }
    for attempt in (1, 2, 3):
        facts["attempt"] = attempt
        reporter.bind(user="al").emit(S3RequestRetried(wait_seconds=1.0, **facts))
    reporter.emit(S3RequestFailed(**facts))
    (note,) = notes
    assert note.startswith("note: bucket here: ConnectFailed: refused; still trying, for up to 180")
