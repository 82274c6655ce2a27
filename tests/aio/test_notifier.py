"""`aio/notifier`: each waiter goes on once, or leaves."""

from __future__ import annotations

import pytest
from twisted.internet.defer import CancelledError, Deferred
from twisted.python.failure import Failure

from sftpgw.aio.notifier import Notifier


def heard(waiter: Deferred[None]) -> list[object]:
    outcomes: list[object] = []
    waiter.addBoth(outcomes.append)
    return outcomes


def test_all_that_wait_go_on_in_their_order() -> None:
    notifier, order = Notifier(), []
    for name in "abc":
        notifier.wait().addCallback(lambda _, name=name: order.append(name))
    assert notifier
    notifier.notify_all()
    assert order == ["a", "b", "c"]
    assert not notifier


def test_one_that_begins_to_wait_meanwhile_goes_on_waiting() -> None:
    notifier = Notifier()
    again: list[list[object]] = []
    notifier.wait().addCallback(lambda _: again.append(heard(notifier.wait())))
    notifier.notify_all()
    assert again == [[]]
    notifier.notify_all()
    assert again == [[None]]


def test_a_failure_is_what_all_of_them_get() -> None:
    notifier = Notifier()
    outcomes = [heard(notifier.wait()) for _ in range(2)]
    failure = Failure(ValueError("no"))
    notifier.notify_all(failure)
    assert outcomes == [[failure], [failure]]


def test_a_cancelled_one_leaves() -> None:
    notifier = Notifier()
    first, second = notifier.wait(), notifier.wait()
    outcomes = heard(first), heard(second)
    first.cancel()
    notifier.notify_all()
    assert isinstance(outcomes[0][0], Failure)
    assert outcomes[0][0].check(CancelledError)
    assert outcomes[1] == [None]


def test_one_that_is_notified_may_cancel_the_next() -> None:
    notifier = Notifier()
    first, second = notifier.wait(), notifier.wait()
    first.addCallback(lambda _: second.cancel())
    outcome = heard(second)
    notifier.notify_all()
    assert isinstance(outcome[0], Failure)
    assert outcome[0].check(CancelledError)


@pytest.mark.parametrize("how", ["cancel", "notify"])
def test_it_tells_when_none_is_left(how: str) -> None:
    told: list[bool] = []
    notifier = Notifier(lambda: told.append(bool(notifier)))
    notifier.notify_all()
    assert told == []
    first, second = notifier.wait(), notifier.wait()
    outcomes = heard(first), heard(second)
    if how == "notify":
        notifier.notify_all()
    else:
        first.cancel()
        assert told == []
        second.cancel()
    assert told == [False]
    assert all(outcomes)
