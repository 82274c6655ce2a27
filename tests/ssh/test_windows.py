"""Receive windows: they grow while there is memory, and shrink when others wait for it."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from sftpgw.files.memory.budget import Budget
from sftpgw.model.units import KIB, MIB
from sftpgw.ssh.window_shares import WindowMemory
from sftpgw.ssh.windows import (
    LEAST_WINDOW_BYTES,
    LONGEST_REQUEST_BYTES,
    WINDOW_BYTES,
    ReceiveWindow,
)


def send_all(window: ReceiveWindow, times: int) -> None:
    """The client sends as much as it may, again and again, and all of it is consumed."""
    left_bytes = window.size_bytes
    for _ in range(times):
        left_bytes = window.consumed(left_bytes)


def test_without_a_budget_the_window_is_full_from_the_start() -> None:
    window = ReceiveWindow(None)
    window.open()
    assert window.size_bytes == WINDOW_BYTES
    assert window.consumed(WINDOW_BYTES // 2 - 1) == 0
    assert window.consumed(1) == WINDOW_BYTES // 2


def test_a_window_grows_as_it_is_used_and_is_counted() -> None:
    budget = Budget(16 * MIB)
    window = ReceiveWindow(budget)
    window.open()
    assert budget.held_bytes == window.size_bytes == LEAST_WINDOW_BYTES
    send_all(window, 4)
    assert budget.held_bytes == window.size_bytes == WINDOW_BYTES
    window.close()
    window.close()
    assert budget.held_bytes == 0


def test_windows_together_do_not_grow_beyond_their_share() -> None:
    share = WindowMemory(Budget(16 * MIB), 1 * MIB).share("alice")
    window = ReceiveWindow(share)
    window.open()
    send_all(window, 4)
    assert window.size_bytes == 2 * LEAST_WINDOW_BYTES
    other = ReceiveWindow(share)
    other.open()
    assert other.size_bytes == LEAST_WINDOW_BYTES
    other.close()
    window.close()


def test_a_window_shrinks_while_others_wait_for_memory() -> None:
    budget = Budget(16 * MIB)
    window = ReceiveWindow(budget)
    window.open()
    send_all(window, 4)
    waiting = budget.share("alice").acquire(16 * MIB - LEAST_WINDOW_BYTES)
    assert waiting is not None
    assert not waiting.called
    assert window.consumed(1 * MIB) == 0
    assert window.consumed(1 * MIB) == WINDOW_BYTES - (WINDOW_BYTES - LEAST_WINDOW_BYTES)
    assert window.size_bytes == LEAST_WINDOW_BYTES
    assert waiting.called
    window.close()


def test_the_wait_of_others_is_not_prolonged_by_growth() -> None:
    budget = Budget(4 * MIB)
    window = ReceiveWindow(budget)
    window.open()
    assert budget.share("alice").acquire(4 * MIB) is not None
    send_all(window, 4)
    assert window.size_bytes == LEAST_WINDOW_BYTES
    window.close()


@settings(max_examples=300)
@given(
    st.lists(
        st.tuples(st.sampled_from(["send", "consume", "press", "free"]), st.integers(1, 3 * MIB)),
        max_size=60,
    )
)
def test_a_request_gets_through_whatever_happens(steps: list[tuple[str, int]]) -> None:
    budget = Budget(3 * MIB)
    window = ReceiveWindow(budget)
    window.open()
    left_bytes, unconsumed_bytes, held_bytes = window.size_bytes, 0, 0
    for step, size_bytes in steps:
        if step == "send":
            sent_bytes = min(size_bytes, left_bytes)
            left_bytes, unconsumed_bytes = left_bytes - sent_bytes, unconsumed_bytes + sent_bytes
        elif step == "consume":
            consumed_bytes = min(size_bytes, unconsumed_bytes)
            unconsumed_bytes -= consumed_bytes
            left_bytes += window.consumed(consumed_bytes)
        elif step == "press" and not held_bytes and budget.try_charge(size_bytes // 2):
            held_bytes = size_bytes // 2
            turn = budget.acquire(4 * MIB)
            if turn is not None:
                turn.addErrback(lambda failure: None)
                turn.cancel()
        elif step == "free":
            budget.release(held_bytes)
            held_bytes = 0
        assert budget.held_bytes == held_bytes + window.size_bytes
        assert left_bytes + unconsumed_bytes <= window.size_bytes <= WINDOW_BYTES
        if unconsumed_bytes < 257 * KIB + 4:
            assert left_bytes + unconsumed_bytes >= LONGEST_REQUEST_BYTES, "a request is stuck"
    window.close()
    assert budget.held_bytes == held_bytes
