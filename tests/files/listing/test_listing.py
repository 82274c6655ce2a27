"""Listings: exact mtimes, and unpublished files."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred

from sftpgw.errors import AccessDenied, NoSuchFile
from sftpgw.files.listing import page_mtimes
from sftpgw.files.listing.plan import EntrySieve
from sftpgw.files.mtimes import cache
from sftpgw.files.mtimes.cache import MtimeCache, SharedMtimes
from sftpgw.files.tree import Tree
from sftpgw.model.filesystem import (
    NO_CHANGES,
    AttributeChanges,
    DirectoryReader,
    FileAttributes,
    FileKind,
    FileWriter,
    WriteIntent,
)
from sftpgw.model.mounts import Mount
from sftpgw.model.settings import ExactTimes, FilesSettings
from sftpgw.model.store import ListPage, ObjectInfo, ObjectName
from sftpgw.testing.fake_store import FakeStore
from sftpgw.testing.sftp_sessions import GatewayInMemory
from tests.results import failure_of, result_of

ALWAYS, NEVER = (FilesSettings(exact_times=each) for each in (ExactTimes.YES, ExactTimes.NO))
OLD = 1_600_000_000.0


def seed(gateway: GatewayInMemory, *names: str) -> None:
    for name in names:
        gateway.store.seed(f"home/alice/d/{name}", b"x", mtime=str(OLD))
    gateway.clock.advance(len(names) + 60)  # so that nothing is too fresh to be kept


def times(reader: DirectoryReader) -> dict[str, float]:
    found: dict[str, float] = {}
    while page := result_of(reader.next_entries()):
        found |= {entry.name: entry.attributes.modified_seconds for entry in page}
    return found


def listed(tree: Tree, path: bytes = b"/d") -> dict[str, float]:
    return times(result_of(tree.open_directory(path)))


def heads(gateway: GatewayInMemory) -> int:
    return gateway.store.requests["head"]


def opened(tree: Tree, path: bytes, data: bytes = b"data") -> FileWriter:
    writer = result_of(tree.open_writer(path, WriteIntent(), NO_CHANGES))
    writer.write(0, data)
    return writer


class TestExactTimes:
    def test_a_listing_agrees_with_stat_and_the_second_one_is_free(self) -> None:
        gateway = GatewayInMemory()
        seed(gateway, "a", "b", "sub/c")
        assert listed(gateway.tree())["a"] == OLD
        assert heads(gateway) == 3  # and of the folder, whether it has a marker
        assert listed(gateway.tree())["b"] == OLD  # another session
        assert heads(gateway) == 3

    def test_a_file_that_was_replaced_is_asked_for_again(self) -> None:
        gateway = GatewayInMemory()
        seed(gateway, "a", "b")
        listed(gateway.tree())
        gateway.store.seed("home/alice/d/a", b"x", mtime="1500000000")
        assert listed(gateway.tree()) == {"a": 1_500_000_000, "b": OLD}
        assert heads(gateway) == 3

    def test_the_mtime_of_a_fresh_object_is_not_cached(self) -> None:
        """Its mtime could be set again within the second of its Last-Modified."""
        gateway = GatewayInMemory()
        gateway.store.seed("home/alice/d/a", b"x", mtime="1500000000")
        assert listed(gateway.tree()) == listed(gateway.tree()) == {"a": 1_500_000_000}
        assert heads(gateway) == 2

    def test_large_directories_are_asked_for_only_if_that_is_wanted(self) -> None:
        for files, expected in ((FilesSettings(), 0), (ALWAYS, 25), (NEVER, 0)):
            gateway = GatewayInMemory(FakeStore(page_limit=10), files=files)
            seed(gateway, *(f"{number:02}" for number in range(25)))
            found = listed(gateway.tree())
            assert (len(found), heads(gateway)) == (25, expected)
            assert (set(found.values()) == {OLD}) is (files is ALWAYS)

    def test_without_exact_times_no_file_is_asked_for(self) -> None:
        gateway = GatewayInMemory(files=NEVER)
        seed(gateway, "a")
        assert listed(gateway.tree())["a"] != OLD
        assert heads(gateway) == 0

    def test_own_uploads_are_known_in_directories_of_any_size(self) -> None:
        gateway = GatewayInMemory(FakeStore(page_limit=3))
        tree = gateway.tree()
        for number in range(8):
            writer = opened(tree, f"/d/{number}".encode())
            result_of(writer.set_attributes(AttributeChanges(modified_seconds=OLD)))
            result_of(writer.commit())
        assert set(listed(gateway.tree()).values()) == {OLD}
        result_of(tree.set_attributes(b"/d/3", AttributeChanges(modified_seconds=5)))
        before = heads(gateway)
        assert listed(gateway.tree())["3"] == 5
        assert heads(gateway) == before

    def test_an_upload_without_a_time_has_the_objects_date(self) -> None:
        gateway = GatewayInMemory()
        result_of(opened(gateway.tree(), b"/d/a").commit())
        stored = gateway.store.objects[ObjectName("bucket", "home/alice/d/a")]
        assert listed(gateway.tree()) == {"a": stored.modified_seconds}
        assert heads(gateway) == 0

    def test_an_upload_of_the_same_bytes_by_another_gateway_is_not_taken_for_ours(self) -> None:
        gateway = GatewayInMemory()
        result_of(opened(gateway.tree(), b"/d/a", b"x").commit())
        gateway.store.now_seconds += 1000
        seed(gateway, "a")
        assert listed(gateway.tree()) == {"a": OLD}

    def test_a_refusal_shows_the_lists_times_and_ends_the_asking(self) -> None:
        gateway = GatewayInMemory(files=ALWAYS)
        seed(gateway, *map(str, range(500)))
        gateway.store.fail("head", AccessDenied("no"), times=1000)
        found = listed(gateway.tree())
        assert len(found) == 500
        assert OLD not in found.values()
        assert heads(gateway) < page_mtimes.MAX_REFUSED + page_mtimes.MAX_HEADS
        assert len(gateway.events.facts("times-unknown")) == 1

    def test_requests_for_mtimes_are_bounded_in_number_and_time(self) -> None:
        gateway = GatewayInMemory()
        seed(gateway, *map(str, range(100)))
        gate = gateway.store.hold("head")
        tree = gateway.tree()
        listings = [result_of(tree.open_directory(b"/d")) for _ in range(4)]
        waiting = [Deferred.fromCoroutine(each.next_entries()) for each in listings]
        assert gate.waiting == cache.MAX_HEADS_TOGETHER == 2 * page_mtimes.MAX_HEADS
        gateway.clock.advance(page_mtimes.MAX_WAIT_SECONDS)
        for each in waiting:
            assert len(result_of(each)) == 100
        assert gate.waiting == 0
        assert gateway.clock.getDelayedCalls() == []
        gate.open()
        assert listed(gateway.tree())["1"] == OLD

    def test_listings_of_a_user_share_the_requests_for_the_same_times(self) -> None:
        """Eight at once sent each request eight times."""
        gateway = GatewayInMemory()
        seed(gateway, *map(str, range(1000)))
        gate = gateway.store.hold("head")
        listings = [result_of(gateway.tree().open_directory(b"/d")) for _ in range(8)]
        waiting = [Deferred.fromCoroutine(each.next_entries()) for each in listings]
        while gate.waiting:
            gate.open_one()
        for each in waiting:
            entries = result_of(each)
            assert {entry.attributes.modified_seconds for entry in entries} == {OLD}
        assert heads(gateway) <= 1000 + 8 * page_mtimes.MAX_HEADS

    def test_a_listing_that_is_closed_ends_no_request_of_another_one(self) -> None:
        gateway = GatewayInMemory()
        seed(gateway, *map(str, range(100)))
        gate = gateway.store.hold("head")
        listings = [result_of(gateway.tree().open_directory(b"/d")) for _ in range(2)]
        first, second = (Deferred.fromCoroutine(each.next_entries()) for each in listings)
        for _ in range(3 * page_mtimes.MAX_HEADS):
            gate.open_one()
        first.cancel()
        listings[0].close()
        result_of(first)
        gate.open()
        assert {entry.attributes.modified_seconds for entry in result_of(second)} == {OLD}

    def test_a_time_that_was_set_since_is_not_shown_by_an_older_request(self) -> None:
        gateway = GatewayInMemory()
        seed(gateway, "a")
        gate = gateway.store.hold("head")
        early = result_of(gateway.tree().open_directory(b"/d"))
        first = Deferred.fromCoroutine(early.next_entries())
        gateway.store.now_seconds += 100
        gateway.store.seed("home/alice/d/a", b"x", mtime="1500000000")
        gateway.clock.advance(5)
        late = Deferred.fromCoroutine(
            result_of(gateway.tree().open_directory(b"/d")).next_entries()
        )
        assert gate.waiting == 2
        gate.open()
        assert [each.attributes.modified_seconds for each in result_of(late)] == [1_500_000_000]
        result_of(first)

    def test_a_closed_listing_asks_for_nothing_more(self) -> None:
        gateway = GatewayInMemory()
        seed(gateway, *map(str, range(100)))
        gate = gateway.store.hold("head")
        listing = result_of(gateway.tree().open_directory(b"/d"))
        late = Deferred.fromCoroutine(listing.next_entries())
        listing.close()
        gate.open()
        result_of(late)
        assert heads(gateway) == page_mtimes.MAX_HEADS
        assert gateway.clock.getDelayedCalls() == []


class TestKnownTimes:
    INFO = ObjectInfo(ObjectName("bucket", "k"), 3, '"e"', 1000.0)

    def test_the_cache_forgets_the_least_recently_used_mtime(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(cache, "MAX_FILES", 2)
        known = MtimeCache(SharedMtimes(), "alice")
        infos = [replace(self.INFO, size_bytes=size) for size in range(3)]
        for info in infos[:2]:
            known.put_looked_up(info, info, 9999)
        known.find(infos[0])
        known.put_looked_up(infos[2], infos[2], 9999)
        assert [known.find(info) is None for info in infos] == [False, True, False]

    def test_a_user_does_not_push_out_the_mtimes_of_another(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(cache, "MAX_FILES", 4)
        shared = SharedMtimes()
        honest, flooding = MtimeCache(shared, "honest"), MtimeCache(shared, "flooding")
        infos = [replace(self.INFO, size_bytes=size) for size in range(100)]
        for info in infos[:2]:
            honest.put_looked_up(info, info, 9999)
            honest.defer(info, 7.0)
        for info in infos[2:]:
            flooding.put_looked_up(info, info, 9999)
            flooding.defer(info, 8.0)
        assert [flooding.find(info) for info in infos[:2]] == [7.0, 7.0]
        assert len(shared.known) == len(shared.deferred) == 4

    @pytest.mark.parametrize(
        "other",
        [
            {"name": ObjectName("other", "k")},
            {"name": ObjectName("bucket", "l")},
            {"size_bytes": 4},
            {"etag": '"f"'},
            {"modified_seconds": 1001.0},
        ],
    )
    def test_the_mtime_of_another_version_is_not_used(self, other: dict[str, object]) -> None:
        known = MtimeCache(SharedMtimes(), "alice")
        known.put_looked_up(self.INFO, replace(self.INFO, metadata={"mtime": "5"}), 9999)
        assert known.find(self.INFO) == 5
        assert known.find(replace(self.INFO, **other)) is None

    def test_the_head_of_another_version_is_not_cached(self) -> None:
        known = MtimeCache(SharedMtimes(), "alice")
        told = replace(self.INFO, etag='"other"', metadata={"mtime": "5"})
        assert known.put_looked_up(self.INFO, told, 9999) is None
        assert known.find(self.INFO) is None


class TestFilesBeingWritten:
    def test_files_being_written_are_listed_with_their_current_size(self) -> None:
        gateway = GatewayInMemory()
        seed(gateway, "a", "c", "z/x")
        writer = opened(gateway.tree(), b"/d/b", b"four")
        opened(gateway.tree(), b"/d/c", b"replaces what is there")
        opened(gateway.tree(), b"/d/deeper/x")
        (page,) = [result_of(result_of(gateway.tree().open_directory(b"/d")).next_entries())]
        assert [(entry.name, entry.attributes.size_bytes) for entry in page] == [
            ("a", 1),
            ("b", 4),
            ("c", 1),
            ("z", 0),
        ]
        result_of(writer.abandon())
        assert "b" not in listed(gateway.tree())

    def test_a_directory_of_nothing_else_exists(self) -> None:
        gateway = GatewayInMemory()
        tree = gateway.tree()
        writer = opened(tree, b"/new/deep/f")
        assert result_of(tree.stat(b"/new")).kind is FileKind.DIRECTORY
        assert list(listed(tree, b"/new/deep")) == ["f"]
        result_of(writer.abandon())
        assert isinstance(failure_of(tree.open_directory(b"/new/deep")).value, NoSuchFile)

    @given(
        st.sets(st.text("ab-./é", min_size=1, max_size=3), max_size=8),
        st.sets(st.text("ab-.é", min_size=1, max_size=3), max_size=5),
        st.integers(1, 4),
    )
    def test_each_name_comes_once_and_in_order(
        self, stored: set[str], written: set[str], rows: int
    ) -> None:
        """For any size of pages, the listing is as if all files were stored."""
        all_stored = self.sifted(stored | written, set(), 1000)
        assert self.sifted(stored, written, rows) == all_stored

    def sifted(self, stored: set[str], written: set[str], rows: int) -> list[str]:
        store = FakeStore(page_limit=rows)
        for name in stored:
            store.seed(f"d/{name}")
        sieve = EntrySieve(Mount("bucket", ""), "d/")
        being_written = {f"d/{name}": FileAttributes(FileKind.FILE, 1) for name in written}
        found: list[str] = []
        token = None
        while True:
            page: ListPage = result_of(store.list("bucket", "d/", delimiter="/", token=token))
            found += [entry.name for entry in sieve.entries(page, being_written)]
            if (token := page.next_token) is None:
                return found


def test_keys_that_are_not_utf_8_are_skipped_and_counted() -> None:
    gateway = GatewayInMemory()
    seed(gateway, "a", "b\udcff", "z")
    gateway.store.seed("home/alice/d/\udcfe/x")
    assert list(listed(gateway.tree())) == ["a", "z"]
    assert gateway.events.facts("keys-skipped")[0]["count"] == 2
