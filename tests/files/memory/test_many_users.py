"""What the budget does at once does not grow with the users that hold or wait."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from twisted.internet.task import Clock

from sftpgw.files.memory.budget import LOOK_SECONDS, TOLD_A_LOOK, Budget, UploadAccount

USERS = 200


@dataclass(eq=False)
class SlowUpload:
    """It is slow, has no part that it could send, and gives back all when it is told."""

    budget: Budget
    user: str
    is_slow: bool = True
    is_silent: bool = False
    is_still: bool = False
    is_stalled: bool = True
    can_cut: bool = False
    unused_bytes: int = 0
    is_told: bool = False
    account: UploadAccount = field(init=False)

    def __post_init__(self) -> None:
        self.account = self.budget.open_upload(self, self.user)
        assert self.account.take(2, 2, cannot_wait=True)

    def cut(self) -> None:
        raise AssertionError

    def come_again(self) -> None:
        self.is_told = True
        self.account.close()


class Process:
    """A budget with many slow uploads, each of a user of its own; one user waits.

    :param limit_bytes: how large the budget is; another user holds what the uploads do not.
    """

    def __init__(self, limit_bytes: int = 4 * USERS) -> None:
        self.asked = Counter[str]()
        self.clock = Clock()
        self.budget = Budget(limit_bytes, self.clock.seconds, self._weight_of)
        self.uploads = [SlowUpload(self.budget, f"user {number}") for number in range(USERS)]
        self.budget.charge(limit_bytes - 2 * USERS, "sitter")
        self.waiting = self.budget.acquire(limit_bytes - 1, "waits")
        assert self.waiting is not None
        self.asked.clear()

    def _weight_of(self, user: str) -> float:
        self.asked[user] += 1
        return 1.0

    @property
    def told(self) -> int:
        return sum(upload.is_told for upload in self.uploads)


def test_one_look_tells_a_few_uploads_and_the_next_ones_go_on() -> None:
    process = Process()
    before = process.told
    assert before <= TOLD_A_LOOK
    looks = 0
    while process.told < USERS // 4:
        looks += 1
        process.clock.advance(LOOK_SECONDS)
        process.asked.clear()
        process.budget.request_reclaim()
        assert process.told - before <= TOLD_A_LOOK
        assert process.asked.total() <= USERS
        before = process.told
    assert looks > 1


def test_a_look_that_tells_no_upload_asks_for_few_weights() -> None:
    process = Process(16 * USERS)
    process.clock.advance(LOOK_SECONDS)
    process.budget.request_reclaim()
    assert not process.told
    assert process.asked.total() <= USERS


def test_a_try_beside_many_users_asks_for_few_weights() -> None:
    process = Process()
    for number in range(10):
        process.budget.try_acquire(1, f"new {number}")
    process.budget.is_over_fair_share("sitter")
    assert process.asked.total() <= 4 * 11


@dataclass(eq=False)
class WatchedUpload(SlowUpload):
    """It counts how often it is looked at."""

    looks: Counter[str] = field(default_factory=Counter)

    @property
    def is_slow(self) -> bool:  # type: ignore[override]
        self.looks["looks"] += 1
        return True

    @is_slow.setter
    def is_slow(self, is_slow: bool) -> None:
        pass


def test_many_that_ask_for_room_share_a_look_at_all_uploads() -> None:
    clock, looks = Clock(), Counter[str]()
    budget = Budget(4 * USERS, clock.seconds)
    uploads = [WatchedUpload(budget, f"user {number}", looks=looks) for number in range(USERS)]
    for upload in uploads:
        upload.account.make_room(4 * USERS)
    assert sum(upload.is_told for upload in uploads) > TOLD_A_LOOK
    assert USERS < looks.total() <= 2 * USERS


def test_one_that_asks_for_much_room_tells_a_few_uploads() -> None:
    clock = Clock()
    budget = Budget(4 * USERS, clock.seconds)
    uploads = [SlowUpload(budget, f"user {number}") for number in range(USERS)]
    uploads[0].account.make_room(4 * USERS)
    assert sum(upload.is_told for upload in uploads) == TOLD_A_LOOK
