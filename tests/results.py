"""Deferreds and coroutines whose result is there already."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any, TypeVar

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

T = TypeVar("T")


def result_of(waiting: Deferred[T] | Coroutine[Any, Any, T]) -> T:
    """The result; fails the test if it is not there yet, or is an error."""
    outcome = _outcome(waiting)
    if isinstance(outcome, Failure):
        outcome.raiseException()
    return outcome  # type: ignore[no-any-return]


def failure_of(waiting: Deferred[Any] | Coroutine[Any, Any, Any]) -> Failure:
    """The failure; fails the test if there is none."""
    outcome = _outcome(waiting)
    assert isinstance(outcome, Failure), f"no failure but {outcome!r}"
    return outcome


def _outcome(waiting: Deferred[Any] | Coroutine[Any, Any, Any]) -> Any:
    deferred = waiting if isinstance(waiting, Deferred) else Deferred.fromCoroutine(waiting)
    outcomes: list[Any] = []
    deferred.addBoth(outcomes.append)
    assert outcomes, "there is no result yet"
    return outcomes[0]
