"""Lists of a store that lead nowhere end, and honest ones with odd pages do not."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock

from sftpgw.errors import ListWithoutEnd
from sftpgw.files.housekeeping.pages import all_pages
from sftpgw.files.housekeeping.sweeper import Sweeper, Target
from sftpgw.files.listing.progress import MAX_EMPTY_PAGES, Progress
from sftpgw.files.transfers.registry import TransferRegistry
from sftpgw.model.messages import sentence_of
from sftpgw.model.store import ListPage, MultipartUpload, ObjectName, UploadsPage
from sftpgw.sftp.statuses import status_of
from sftpgw.testing.fake_store import FakeStore
from sftpgw.testing.sftp_sessions import GatewayInMemory
from sftpgw.testing.ssh_pairs import RecordedEvents
from sftpgw.wire.sftp import Status
from tests.results import result_of

NextToken = Callable[[str | None], str | None]


@given(st.lists(st.booleans(), max_size=50), st.integers(1, 40))
def test_a_circle_is_found_by_its_third_round(is_empty: list[bool], length: int) -> None:
    before, progress = len(is_empty), Progress()
    for number, empty in enumerate(is_empty):
        progress = progress.after(f"before {number}", is_empty=empty)
    rounds = 3 * (before + length)
    with pytest.raises(ListWithoutEnd, match="in a circle"):
        for number in range(rounds):
            progress = progress.after(f"circle {number % length}", is_empty=False)


@given(st.lists(st.booleans(), max_size=200))
def test_new_tokens_are_never_a_circle(is_empty: list[bool]) -> None:
    progress = Progress()
    for number, empty in enumerate(is_empty):
        progress = progress.after(str(number), is_empty=empty)
    assert progress.after(None, is_empty=True) == progress


def test_the_same_token_again_is_found_at_once() -> None:
    for before in range(20):
        progress = Progress()
        for number in range(before):
            progress = progress.after(str(number), is_empty=False)
        progress = progress.after("same", is_empty=False)
        with pytest.raises(ListWithoutEnd):
            progress.after("same", is_empty=False)


def test_some_empty_pages_are_normal() -> None:
    """A list over delete markers has them."""
    progress = Progress()
    for number in range(MAX_EMPTY_PAGES * 3):
        progress = progress.after(str(number), is_empty=number % MAX_EMPTY_PAGES != 0)
    with pytest.raises(ListWithoutEnd, match="over 1000 pages of a list were empty"):
        for number in range(MAX_EMPTY_PAGES + 1):
            progress = progress.after(f"more {number}", is_empty=True)


class OddStore(FakeStore):
    """Its lists never end.

    :param next_token: returns the token for the next page.
    :param is_empty: whether all pages but the first one are empty.
    """

    def __init__(self, next_token: NextToken, *, is_empty: bool) -> None:
        super().__init__(min_part_bytes=1)
        self._next_token = next_token
        self._is_empty = is_empty

    async def list(
        self,
        bucket: str,
        prefix: str,
        *,
        delimiter: str = "",
        token: str | None = None,
        limit: int = 1000,
    ) -> ListPage:
        page = await super().list(bucket, prefix, delimiter=delimiter, limit=limit)
        has_rows = token is None or not self._is_empty
        return ListPage(page.objects if has_rows else (), (), self._next_token(token))

    async def list_uploads(
        self, bucket: str, prefix: str, marker: tuple[str, str] | None = None
    ) -> UploadsPage:
        self.requests["list_uploads"] += 1
        upload = MultipartUpload(ObjectName(bucket, f"{prefix}k"), "id")
        token = self._next_token(marker[0] if marker else None)
        return UploadsPage((upload,), (token or "", "id"))


def same(token: str | None) -> str:
    return "same"


def counted(token: str | None) -> str:
    return str(int(token or "0") + 1)


CASES = [(same, True), (same, False), (counted, True)]


@pytest.mark.parametrize(("next_token", "is_empty"), CASES)
def test_a_directory_without_an_end_is_refused(next_token: NextToken, is_empty: bool) -> None:
    """One OPENDIR cost 26,365 LISTs, and would have cost more."""
    gateway = GatewayInMemory(OddStore(next_token, is_empty=is_empty))
    gateway.store.seed("home/alice/a")

    async def read() -> int:
        reader, entries = await gateway.tree().open_directory(b"/"), 0
        try:
            while found := await reader.next_entries():
                entries += len(found)
        finally:
            reader.close()
        return entries

    reading = Deferred.fromCoroutine(read())
    while not reading.called:
        gateway.clock.advance(1)
    error = reading.result.value  # type: ignore[attr-defined]
    reading.addErrback(lambda _: None)
    assert isinstance(error, ListWithoutEnd)
    assert gateway.store.requests["list"] <= MAX_EMPTY_PAGES + 5
    assert status_of(error) == (Status.FAILURE, sentence_of(error))
    assert "goes on without an end" in sentence_of(error)
    gateway.assert_idle()


@pytest.mark.parametrize(("next_token", "is_empty"), CASES)
def test_what_goes_through_all_pages_is_told(next_token: NextToken, is_empty: bool) -> None:
    """A rename would take what has come for all there is."""
    store = OddStore(next_token, is_empty=is_empty)
    store.seed("a")

    async def count() -> int:
        return len([page async for page in all_pages(store, "bucket", "")])

    counting = Deferred.fromCoroutine(count())
    assert isinstance(counting.result.value, ListWithoutEnd)  # type: ignore[attr-defined]
    counting.addErrback(lambda _: None)
    assert store.requests["list"] <= MAX_EMPTY_PAGES + 2


def test_the_sweeper_gives_up_a_list_of_uploads_without_an_end() -> None:
    store, events = OddStore(same, is_empty=False), RecordedEvents()
    sweeper = Sweeper(
        (Target("bucket", "home/", 86400.0),),
        store=store,
        transfers=TransferRegistry(),
        clock=Clock(),
        events=events,
        random=lambda: 0.5,
        expire=lambda _: succeed(frozenset[MultipartUpload]()),
    )
    result_of(sweeper.sweep())
    assert store.requests["list_uploads"] == 2
    (facts,) = events.facts("sweep-failed")
    assert (facts["code"], facts["reason"]) == (
        "BadAnswer",
        "a list of the store leads in a circle",
    )
