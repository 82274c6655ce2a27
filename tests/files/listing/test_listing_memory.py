"""The memory that open directories hold: counted, bounded, given back while others wait."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.defer import Deferred

from sftpgw.errors import LimitReached, StoreUnavailable
from sftpgw.files.listing.listing import IDLE_SECONDS, LIST_BYTES, Listing
from sftpgw.files.memory.held_memory import WAIT_SECONDS
from sftpgw.model.settings import LimitSettings
from sftpgw.model.units import KIB, MIB
from sftpgw.testing.sftp_sessions import GatewayInMemory
from sftpgw.wire import sftp as wire
from sftpgw.wire.sftp import Kind, Status
from tests.results import failure_of, result_of

NAMES = [f"name-{number:04}" for number in range(2100)]


@pytest.fixture
def gateway() -> GatewayInMemory:
    gateway = GatewayInMemory(limits=LimitSettings(memory_bytes=64 * MIB))
    for name in NAMES:
        gateway.store.seed(f"home/alice/d/{name}", b"x")
    gateway.clock.advance(3600)
    return gateway


def opened(gateway: GatewayInMemory) -> Listing:
    listing = result_of(gateway.tree().open_directory(b"/d"))
    result_of(listing.fetch_first())
    return listing


def rest_of(listing: Listing) -> list[str]:
    names: list[str] = []
    while entries := result_of(listing.next_entries()):
        names += [entry.name for entry in entries]
    return names


def press(gateway: GatewayInMemory) -> None:
    """Wait for all memory, and give it back at once if it is granted."""
    waiting = gateway.budget.acquire(gateway.limits.memory_bytes)
    if waiting is not None:
        waiting.addErrback(lambda _: None)
        if not waiting.called:
            waiting.cancel()
            return
    gateway.budget.release(gateway.limits.memory_bytes)


def test_an_open_directory_holds_two_packed_pages(gateway: GatewayInMemory) -> None:
    listing = opened(gateway)
    assert 40 * KIB < gateway.budget.held_bytes < 100 * KIB
    assert rest_of(listing) == NAMES
    assert gateway.budget.held_bytes == 0
    listing.close()


def test_open_directories_give_everything_back_when_they_are_closed(
    gateway: GatewayInMemory,
) -> None:
    client = gateway.log_in()
    handles = [client.on_path(Kind.OPENDIR, b"/d").body for _ in range(20)]
    assert gateway.budget.held_bytes < 20 * 120 * KIB
    for handle in handles[:10]:
        client.close(handle)
    client.pair.drop()
    gateway.assert_idle()


def test_a_list_under_way_is_counted_before_it_is_sent(gateway: GatewayInMemory) -> None:
    gateway.store.hold("list")
    waiting = [
        Deferred.fromCoroutine(gateway.tree().open_directory(b"/d")).addErrback(lambda _: None)
        for _ in range(5)
    ]
    assert gateway.budget.held_bytes == 5 * LIST_BYTES
    for each in waiting:
        each.cancel()
    gateway.assert_idle()


def test_without_memory_a_listing_waits(gateway: GatewayInMemory) -> None:
    held_bytes = gateway.limits.memory_bytes
    gateway.budget.charge(2 * held_bytes)
    opening = Deferred.fromCoroutine(gateway.tree().open_directory(b"/d"))
    assert not opening.called
    assert not gateway.store.requests["list"]
    gateway.budget.release(2 * held_bytes)
    assert rest_of(result_of(opening)) == NAMES


def test_a_listing_that_waits_for_a_minute_is_refused_and_holds_nothing(
    gateway: GatewayInMemory,
) -> None:
    held_bytes = 2 * gateway.limits.memory_bytes
    gateway.budget.charge(held_bytes)
    opening = Deferred.fromCoroutine(gateway.tree().open_directory(b"/d"))
    gateway.clock.pump([WAIT_SECONDS / 4] * 4)
    error = failure_of(opening).value
    assert isinstance(error, LimitReached)
    assert "[limits] memory" in error.message
    gateway.budget.release(held_bytes)
    gateway.assert_idle()


def test_a_client_is_told_of_the_limit(gateway: GatewayInMemory) -> None:
    client = gateway.log_in()
    gateway.budget.charge(2 * gateway.limits.memory_bytes)
    request = client.send(wire.OnPath(Kind.OPENDIR, 0, b"/d"))
    gateway.clock.pump([WAIT_SECONDS / 4] * 4)
    client.pump()
    assert client.replies[request].code is Status.FAILURE
    assert "[limits] memory" in client.replies[request].message


def test_the_next_page_is_not_fetched_ahead_without_memory(gateway: GatewayInMemory) -> None:
    listing = opened(gateway)
    others_bytes = gateway.limits.memory_bytes - gateway.budget.held_bytes
    gateway.budget.charge(others_bytes)
    requests = gateway.store.requests["list"]
    result_of(listing.next_entries())
    result_of(listing.next_entries())
    assert gateway.store.requests["list"] == requests  # two pages were here already
    gateway.budget.release(others_bytes)
    assert len(rest_of(listing)) == 100


def test_a_list_that_fails_leaves_nothing(gateway: GatewayInMemory) -> None:
    gateway.store.fail("list", StoreUnavailable("down"))
    failure_of(gateway.tree().open_directory(b"/d"))
    gateway.assert_idle()
    listing = result_of(gateway.tree().open_directory(b"/d"))
    gateway.store.fail("list", StoreUnavailable("down"))
    result_of(listing.next_entries())
    failure_of(listing.next_entries())
    listing.close()
    gateway.assert_idle()


def test_what_has_failed_is_not_the_end_of_a_directory(gateway: GatewayInMemory) -> None:
    """A client that reads on must not take a part of the names for all of them."""
    listing = result_of(gateway.tree().open_directory(b"/d"))
    found = list(result_of(listing.next_entries()))
    gateway.store.fail("list", StoreUnavailable("down"), times=2)
    while found[-1].name != NAMES[-1]:
        try:
            more = result_of(listing.next_entries())
        except StoreUnavailable:
            continue
        assert more, "the listing has ended early"
        found += more
    assert [entry.name for entry in found] == NAMES


class TestUnderPressure:
    def test_a_listing_that_nothing_reads_gives_its_pages_back(
        self, gateway: GatewayInMemory
    ) -> None:
        listing = opened(gateway)
        gateway.clock.advance(IDLE_SECONDS)
        press(gateway)
        assert gateway.budget.held_bytes == 0
        assert rest_of(listing) == NAMES

    def test_a_listing_that_is_read_keeps_them(self, gateway: GatewayInMemory) -> None:
        listing = opened(gateway)
        gateway.clock.advance(IDLE_SECONDS - 1)
        press(gateway)
        assert gateway.budget.held_bytes > 0
        listing.close()

    def test_a_closed_listing_asks_for_nothing_more(self, gateway: GatewayInMemory) -> None:
        listing = opened(gateway)
        gateway.clock.advance(IDLE_SECONDS)
        press(gateway)
        listing.close()
        requests = gateway.store.requests["list"]
        assert rest_of(listing) == []
        assert gateway.store.requests["list"] == requests

    def test_a_directory_that_is_gone_meanwhile_ends(self, gateway: GatewayInMemory) -> None:
        listing = opened(gateway)
        gateway.clock.advance(IDLE_SECONDS)
        press(gateway)
        for name in NAMES:
            result_of(gateway.tree().remove_file(f"/d/{name}".encode()))
        assert rest_of(listing) == []


@settings(max_examples=15)
@given(st.lists(st.tuples(st.integers(1, 60_000), st.booleans()), max_size=6))
def test_pressure_at_any_moment_changes_no_entry(steps: list[tuple[int, bool]]) -> None:
    gateway = GatewayInMemory(limits=LimitSettings(memory_bytes=64 * MIB))
    for name in NAMES[:1300]:
        gateway.store.seed(f"home/alice/d/{name}", b"x")
    gateway.clock.advance(3600)
    listing = opened(gateway)
    names: list[str] = []
    for names_bytes, is_pressed in steps:
        names += [each.name for each in result_of(listing.next_entries(names_bytes))]
        if is_pressed:
            gateway.clock.advance(IDLE_SECONDS)
            press(gateway)
            assert gateway.budget.held_bytes == 0
    assert [*names, *rest_of(listing)] == NAMES[:1300]
    listing.close()
    gateway.assert_idle()
