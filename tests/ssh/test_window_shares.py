"""The memory of receive windows is shared by users: none is refused because of others."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from sftpgw.files.memory.budget import Budget
from sftpgw.model.units import MIB
from sftpgw.ssh.window_shares import WindowMemory
from sftpgw.ssh.windows import LEAST_WINDOW_BYTES, ReceiveWindow

USERS = "abcde"


class Process:
    """Windows that are opened, used and closed."""

    def __init__(self, limit_bytes: int, weights: dict[str, float] | None = None) -> None:
        self.budget = Budget(512 * MIB)
        weights = weights or {}
        self.memory = WindowMemory(
            self.budget.share("/windows"), limit_bytes, lambda user: weights.get(user, 1.0)
        )
        self.windows: list[ReceiveWindow] = []

    def open(self, user: str) -> ReceiveWindow | None:
        window = ReceiveWindow(self.memory.share(user))
        if not window.open():
            return None
        self.windows.append(window)
        return window

    def open_many(self, user: str, most: int = 1000) -> int:
        """As many as are allowed; returns how many."""
        return next((count for count in range(most) if self.open(user) is None), most)

    def close_all(self) -> None:
        for window in self.windows:
            window.close()
        assert self.budget.held_bytes == self.memory.held_bytes == 0
        assert self.memory.fair_share_bytes("x") == self.memory._limit_bytes


def use(window: ReceiveWindow, times: int = 6) -> None:
    """The client sends all that it may, again and again."""
    left_bytes = window.size_bytes
    for _ in range(times):
        left_bytes = window.consumed(left_bytes)


def test_one_user_alone_may_have_all_of_it() -> None:
    process = Process(10 * LEAST_WINDOW_BYTES)
    assert process.open_many("mallory") == 10
    process.close_all()


def test_who_comes_later_gets_a_fair_share_all_the_same() -> None:
    """39 connections of one user used up all, and further channels of others were refused."""
    process = Process(128 * MIB)
    taken = process.open_many("mallory")
    assert taken == 128 * MIB // LEAST_WINDOW_BYTES
    assert process.open_many("alice") == taken // 2
    assert process.open("mallory") is None
    assert process.open_many("bob") == taken // 3
    process.close_all()


def test_a_weight_counts() -> None:
    process = Process(30 * LEAST_WINDOW_BYTES, {"alice": 2.0})
    process.open_many("mallory")
    assert process.open_many("alice") == 20
    process.close_all()


def test_windows_over_the_share_shrink_when_others_come() -> None:
    process = Process(4 * MIB)
    grown = process.open("mallory")
    assert grown is not None
    use(grown)
    assert grown.size_bytes == 2 * MIB
    process.open_many("mallory")
    assert process.memory.held_by("mallory") > 3 * MIB
    alice = process.open("alice")
    assert alice is not None
    assert process.memory.held_bytes > 4 * MIB
    grown.consumed(2 * MIB)
    assert grown.size_bytes < 2 * MIB
    assert process.memory.held_bytes <= 4 * MIB
    process.close_all()


@given(
    st.lists(
        st.tuples(st.sampled_from(USERS), st.sampled_from(["open", "use", "close"])), max_size=60
    ),
    st.dictionaries(st.sampled_from(USERS), st.sampled_from([0.5, 1.0, 3.0])),
)
def test_below_the_share_no_one_is_refused(
    steps: list[tuple[str, str]], weights: dict[str, float]
) -> None:
    process = Process(8 * LEAST_WINDOW_BYTES, weights)
    open_windows: dict[str, list[ReceiveWindow]] = {user: [] for user in USERS}
    for user, step in steps:
        mine = open_windows[user]
        held_bytes = process.memory.held_by(user)
        if step == "open":
            fits = held_bytes + LEAST_WINDOW_BYTES <= process.memory.fair_share_bytes(user)
            window = process.open(user)
            assert window is not None or not fits
            if window is not None:
                mine.append(window)
        elif mine and step == "use":
            use(mine[-1], 2)
        elif mine:
            mine.pop().close()
        assert process.memory.held_by(user) == sum(each._counted_bytes for each in mine)
    process.close_all()
