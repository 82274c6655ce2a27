"""What every test must leave behind: nothing.

No delayed call, no socket in the reactor, no failure in Twisted's log. A Deferred
that fails unheard is logged when it is collected, so the heap is swept after each
module as well.
"""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import settings
from twisted.logger import formatEvent, globalLogPublisher

from sftpgw.aio.work.scheduler import WorkScheduler
from tests.assumed_capabilities import pytest_terminal_summary
from tests.needs import skip_without_needs

__all__ = ["pytest_terminal_summary"]

settings.register_profile("gate", deadline=None, derandomize=True, print_blob=True)
settings.register_profile("search", deadline=None, derandomize=False, print_blob=True)
settings.load_profile(os.environ.get("SFTPGW_TEST_PROPERTIES", "gate"))


LONGEST_IN_A_NAME = 32


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    skip_without_needs(item)


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """A long value does not name its test.

    Keys and salted hashes are other ones in each process, and processes that share the tests must
    have the same names for them.
    """
    return argname if isinstance(val, str | bytes) and len(val) > LONGEST_IN_A_NAME else None


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """What ``-n auto`` means: half as many again as CPUs, since tests of spawned gateways wait."""
    return len(os.sched_getaffinity(0)) * 3 // 2


class LoggedFailures:
    """Collects what Twisted logs as a failure; a test that expects one takes it out."""

    def __init__(self) -> None:
        self.found: list[str] = []

    def __call__(self, event: dict[str, Any]) -> None:
        if "log_failure" in event or event.get("isError"):
            failure = event.get("log_failure") or event.get("failure")
            self.found.append(f"{formatEvent(event)}\n{failure}")

    def demand_none(self) -> None:
        found, self.found = self.found, []
        assert not found, "failures were logged:\n" + "\n".join(found)


@pytest.fixture(autouse=True, scope="session")
def logged_failures() -> Iterator[LoggedFailures]:
    """Everything that was logged as a failure so far."""
    collected = LoggedFailures()
    globalLogPublisher.addObserver(collected)
    yield collected
    globalLogPublisher.removeObserver(collected)
    gc.collect()
    collected.demand_none()


@pytest.fixture(autouse=True, scope="module")
def no_unheard_deferreds(logged_failures: LoggedFailures) -> Iterator[None]:
    yield
    gc.collect()
    logged_failures.demand_none()


@pytest.fixture(autouse=True)
def nothing_left_behind(logged_failures: LoggedFailures) -> Iterator[None]:
    reactor = sys.modules.get("twisted.internet.reactor")
    before = _left_in(reactor)
    yield
    left = _left_in(sys.modules.get("twisted.internet.reactor")) - before
    assert not left, f"left in the reactor: {left}"
    logged_failures.demand_none()


def _left_in(reactor: Any) -> set[Any]:
    """Delayed calls, readers and writers, but for the reactor's own.

    A round of turns ends by itself in the next iteration.
    """
    if reactor is None:
        return set()
    internal = set(getattr(reactor, "_internalReaders", ()))
    calls = {
        call
        for call in reactor.getDelayedCalls()
        if call.active()
        and getattr(call.func, "__qualname__", "") != WorkScheduler._on_iteration.__qualname__
    }
    return (calls | set(reactor.getReaders()) | set(reactor.getWriters())) - internal
