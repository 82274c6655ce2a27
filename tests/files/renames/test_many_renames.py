"""Many renames of directories at once: what each costs, who waits, and which others are read."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred

from sftpgw.errors import AccessDenied, LimitReached, NoSuchFile
from sftpgw.files.renames import exclusion, recovery
from sftpgw.files.renames.plan import LEASE_SECONDS, Intent, intent_text, journal_id, may_overlap
from sftpgw.files.transfers.registry import WAITING_RENAMES
from sftpgw.files.tree import Tree
from sftpgw.model.settings import LimitSettings
from sftpgw.model.store import Capabilities
from sftpgw.model.users import User
from sftpgw.testing.fake_store import FakeStore
from sftpgw.testing.sftp_sessions import GatewayInMemory
from tests.files.worlds import finisher
from tests.results import failure_of, result_of

BOB = User.with_home("bob", "bucket", "home/bob/")
JOURNALS = ".sftpgw/renames/"
AT_ONCE = LimitSettings().directory_renames_per_user
REQUESTS_OF_ONE = 20
REQUESTS_OF_WAITING = 1
"""One that has waited looks again whether its source exists."""


def rename(tree: Tree, old: bytes, new: bytes) -> Deferred[None]:
    return Deferred.fromCoroutine(tree.rename(old, new, replace=False))


def begin(gateway: GatewayInMemory, count: int) -> list[Deferred[None]]:
    """So many renames of alice's, on four connections."""
    trees = [gateway.tree() for _ in range(4)]
    for number in range(count):
        gateway.store.seed(f"home/alice/d{number}/f", b"x")
    return [rename(trees[n % 4], b"/d%d" % n, b"/n%d" % n) for n in range(count)]


def journals(gateway: GatewayInMemory) -> set[str]:
    keys = gateway.store.keys()
    return {key.rpartition("/")[0] for key in keys if key.startswith(JOURNALS)}


@pytest.mark.parametrize("count", [1, 10, 60, 256])
def test_a_rename_costs_the_same_beside_any_number_of_others(count: int) -> None:
    gateway = GatewayInMemory()
    gateway.store.seed("home/bob/d/f", b"x")
    copies = gateway.store.hold("copy")
    moved = begin(gateway, count)
    before = gateway.store.requests.total()
    honest = rename(gateway.tree(BOB), b"/d", b"/n")
    assert gateway.store.requests.total() - before <= REQUESTS_OF_ONE
    assert gateway.store.requests["get"] == 0, "no intent of another rename is read"
    copies.open()
    assert [result_of(each) for each in [*moved, honest]] == [None] * (count + 1)
    limit = (count + 1) * (REQUESTS_OF_ONE + REQUESTS_OF_WAITING)
    assert gateway.store.requests.total() <= limit
    assert not journals(gateway)
    assert not len(gateway.transfers.rename_slots)


def test_a_user_has_so_many_under_way_and_the_others_wait_their_turn() -> None:
    gateway = GatewayInMemory()
    copies = gateway.store.hold("copy")
    moved = begin(gateway, 3 * AT_ONCE)
    assert len(journals(gateway)) == AT_ONCE
    assert copies.waiting == AT_ONCE
    for _ in moved:
        copies.open_one()
        assert len(journals(gateway)) <= AT_ONCE
    assert [result_of(each) for each in moved] == [None] * len(moved)


def test_one_that_has_waited_finds_its_source_gone() -> None:
    gateway = GatewayInMemory(limits=LimitSettings(directory_renames_per_user=1))
    copies = gateway.store.hold("copy")
    gateway.store.seed("home/alice/d/f", b"x")
    tree = gateway.tree()
    first, second = rename(tree, b"/d", b"/first"), rename(tree, b"/d", b"/second")
    copies.open()
    result_of(first)
    assert isinstance(failure_of(second).value, NoSuchFile)
    assert not [key for key in gateway.store.keys() if "second" in key]  # noqa: SIM118


def test_more_than_may_wait_are_refused_by_the_name_of_the_setting() -> None:
    gateway = GatewayInMemory(limits=LimitSettings(directory_renames_per_user=1))
    copies = gateway.store.hold("copy")
    moved = begin(gateway, 1 + WAITING_RENAMES + 1)
    assert not any(each.called for each in moved[:-1])
    error = failure_of(moved[-1]).value
    assert isinstance(error, LimitReached)
    assert "directory_renames_per_user" in error.message
    copies.open()
    assert [result_of(each) for each in moved[:-1]] == [None] * (1 + WAITING_RENAMES)


# Journals of other gateways.


def seed_journals(gateway: GatewayInMemory, found: Iterable[tuple[str, Intent]]) -> None:
    for name, intent in found:
        gateway.store.seed(f"{JOURNALS}{name}/intent", intent_text(intent))


def test_journals_of_other_gateways_are_not_read_unless_they_may_overlap() -> None:
    gateway = GatewayInMemory()
    gateway.store.seed("home/alice/d/f", b"x")
    intents = [Intent("bucket", f"home/bob/{n}/", f"home/bob/x{n}/") for n in range(60)]
    seed_journals(
        gateway, ((journal_id(f"{n:024x}", each), each) for n, each in enumerate(intents))
    )
    result_of(gateway.tree().rename(b"/d", b"/n", replace=False))
    assert gateway.store.requests["get"] == 1, "the page of its own journal"


@pytest.mark.parametrize("old", [False, True])
@pytest.mark.parametrize("source", ["home/alice/d/", "home/alice/", "home/alice/d/e/"])
def test_a_rename_by_another_gateway_that_overlaps_is_seen(old: bool, source: str) -> None:
    """Also one by an older gateway, whose ID has no digests."""
    gateway = GatewayInMemory()
    gateway.store.seed("home/alice/d/e/f", b"x")
    intent = Intent("bucket", source, "home/other/")
    seed_journals(gateway, [("0" * 24 if old else journal_id("0" * 24, intent), intent)])
    gateway.clock.advance(gateway.store.now_seconds - gateway.clock.seconds())
    error = failure_of(gateway.tree().rename(b"/d", b"/n", replace=False)).value
    assert isinstance(error, LimitReached)


def test_a_rename_by_an_older_gateway_that_does_not_overlap_is_read_and_passed() -> None:
    gateway = GatewayInMemory()
    gateway.store.seed("home/alice/d/f", b"x")
    seed_journals(gateway, [("0" * 24, Intent("bucket", "home/bob/d/", "home/bob/n/"))])
    result_of(gateway.tree().rename(b"/d", b"/n", replace=False))
    assert gateway.store.requests["get"] == 2


PREFIXES = st.lists(st.sampled_from(["a/", "b/", "ä b/", "/"]), min_size=1, max_size=12).map(
    "".join
)
INTENTS = st.builds(Intent, st.just("bucket"), PREFIXES, PREFIXES)


@given(INTENTS, INTENTS)
def test_the_id_of_a_journal_never_hides_an_overlap(mine: Intent, other: Intent) -> None:
    prefix = f"{JOURNALS}{journal_id('0' * 24, other)}/"
    assert may_overlap(prefix, mine) or not mine.overlaps(other)


@given(st.text("0123456789abcdef-x", max_size=60), INTENTS)
def test_an_id_of_no_gateway_is_about_nothing(name: str, intent: Intent) -> None:
    if name.count("-") != 2:
        is_old = len(name) == 24 and not set(name) & set("-x")
        assert may_overlap(f"{JOURNALS}{name}/", intent) is is_old


# Records that another writer has put there.

OLD_ID = "0" * 24
MINE, ABOVE, OTHERS = (
    journal_id(OLD_ID, Intent("bucket", source, "home/alice/else/"))
    for source in ("home/alice/d/", "home/alice/", "home/alice/x/")
)
REFUSED = AccessDenied("no", code="AccessDenied", status=403)


def beside(name: str, *, seconds: float = 0, **options: Any) -> GatewayInMemory:
    """A bucket with an intent that is none, so many seconds old."""
    gateway = GatewayInMemory(FakeStore(min_part_bytes=1, **options))
    gateway.store.seed("home/alice/d/f", b"x")
    gateway.store.seed(f"{JOURNALS}{name}/intent", b"junk")
    gateway.clock.advance(gateway.store.now_seconds - gateway.clock.seconds() + seconds)
    return gateway


def unreadable(gateway: GatewayInMemory) -> list[object]:
    return [facts["key"] for facts in gateway.events.facts("rename-record-unreadable")]


@pytest.mark.parametrize("name", [OTHERS, "junk", "0" * 23, "a-b-c"])
def test_a_record_that_cannot_be_read_keeps_no_other_rename_away(name: str) -> None:
    """One such object stopped the renames of all directories of a bucket, for ever."""
    gateway = beside(name)
    result_of(rename(gateway.tree(), b"/d", b"/n"))
    assert gateway.store.requests["get"] == 1, "the page of its own journal"
    assert f"{JOURNALS}{name}/intent" in gateway.store.keys()  # noqa: SIM118
    assert not unreadable(gateway)


@pytest.mark.parametrize("refusal", [None, REFUSED])
@pytest.mark.parametrize("name", [MINE, ABOVE])
def test_it_keeps_those_away_that_it_may_be_about_and_tells_the_operator(
    name: str, refusal: Exception | None
) -> None:
    gateway = beside(name, seconds=10 * 86400)
    if refusal is not None:
        gateway.store.fail("get", refusal)
    error = failure_of(rename(gateway.tree(), b"/d", b"/n")).value
    assert isinstance(error, LimitReached)
    assert unreadable(gateway) == [f"{JOURNALS}{name}/intent"]
    assert f"{JOURNALS}{name}/intent" in error.message
    assert set(gateway.store.keys()) == {"home/alice/d/f", f"{JOURNALS}{name}/intent"}


def test_one_without_digests_keeps_all_away_until_no_gateway_can_work_on_it() -> None:
    gateway = beside(OLD_ID)
    assert isinstance(failure_of(rename(gateway.tree(), b"/d", b"/n")).value, LimitReached)
    gateway.clock.advance(LEASE_SECONDS + 1)
    result_of(rename(gateway.tree(), b"/d", b"/n"))
    left = {name.key: held.data for name, held in gateway.store.objects.items()}
    assert left == {
        "home/alice/n/f": b"x",
        f"{JOURNALS}{OLD_ID}/intent": b"junk",
        f"{JOURNALS}{OLD_ID}/outcome": b"abandoned",
    }
    result_of(rename(gateway.tree(), b"/n", b"/d"))


def test_one_without_digests_that_another_gateway_may_read_keeps_all_away() -> None:
    gateway = beside(OLD_ID, seconds=10 * 86400)
    gateway.store.fail("get", REFUSED)
    assert isinstance(failure_of(rename(gateway.tree(), b"/d", b"/n")).value, LimitReached)
    assert unreadable(gateway)


def test_without_conditional_puts_it_keeps_all_away_for_a_day() -> None:
    gateway = beside(
        OLD_ID, seconds=LEASE_SECONDS + 1, capabilities=Capabilities(conditional_put=False)
    )
    assert isinstance(failure_of(rename(gateway.tree(), b"/d", b"/n")).value, LimitReached)
    gateway.clock.advance(86400)
    result_of(rename(gateway.tree(), b"/d", b"/n"))


def planted(count: int, page_rows: int = 1000) -> GatewayInMemory:
    """A bucket with so many records of no gateway; a page of a list has so many rows."""
    gateway = GatewayInMemory(FakeStore(min_part_bytes=1, page_limit=page_rows))
    gateway.store.seed("home/alice/d/f", b"x")
    for number in range(count):
        gateway.store.seed(f"{JOURNALS}{number:06}/intent", b"junk")
    return gateway


def test_a_rename_looks_through_a_bounded_number_of_records() -> None:
    """A million of them cost each rename a thousand LISTs."""
    gateway = planted(10 * exclusion.MAX_PAGES - 1, page_rows=10)
    result_of(rename(gateway.tree(), b"/d", b"/n"))
    gateway = planted(10 * exclusion.MAX_PAGES, page_rows=10)
    error = failure_of(rename(gateway.tree(), b"/d", b"/n")).value
    assert isinstance(error, LimitReached)
    assert JOURNALS in error.message
    assert gateway.store.requests["list"] < exclusion.MAX_PAGES + 10
    (facts,) = gateway.events.facts("rename-records-too-many")
    assert (facts["prefix"], facts["rows"]) == (JOURNALS, 10 * exclusion.MAX_PAGES)
    assert "home/alice/d/f" in list(gateway.store.keys())


def test_a_rename_reads_a_bounded_number_of_intents() -> None:
    gateway = GatewayInMemory()
    gateway.store.seed("home/alice/d/f", b"x")
    other = Intent("bucket", "home/bob/d/", "home/bob/n/")
    seed_journals(gateway, ((f"{n:024x}", other) for n in range(1000)))
    assert isinstance(failure_of(rename(gateway.tree(), b"/d", b"/n")).value, LimitReached)
    assert gateway.store.requests["get"] == exclusion.MAX_READ


def test_a_look_for_interrupted_renames_is_bounded_and_the_next_one_goes_on() -> None:
    gateway = planted(25 * recovery.MAX_PAGES, page_rows=10)
    intent = Intent("bucket", "home/alice/d/", "home/alice/n/")
    seed_journals(gateway, [("f" * 24, intent)])
    gateway.clock.advance(gateway.store.now_seconds - gateway.clock.seconds() + LEASE_SECONDS + 1)
    looker = finisher(gateway)
    for looks in (1, 2, 3):
        assert not gateway.events.facts("interrupted-rename-finished")
        before = gateway.store.requests.copy()
        result_of(looker.look())
        sent = gateway.store.requests - before
        assert sent["list"] <= recovery.MAX_PAGES * 11 + 1, looks
    assert gateway.events.facts("interrupted-rename-finished")
    assert len(gateway.events.facts("rename-records-too-many")) == 1, "told once"
    before = gateway.store.requests.copy()
    result_of(looker.look())
    assert (gateway.store.requests - before)["list"] > recovery.MAX_PAGES, "from the beginning"
