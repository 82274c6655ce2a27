"""Faults of a store that a test can program.

Knows: which calls fail, wait, or lose their response.
Must not know: what an operation does (`fake_store`).
"""

from __future__ import annotations

from collections import deque

from twisted.internet.defer import Deferred


class Gate:
    """Holds operations until it opens."""

    def __init__(self) -> None:
        self._waiting: list[Deferred[None]] = []
        self._open = False

    @property
    def waiting(self) -> int:
        """How many operations wait at the gate."""
        return len(self._waiting)

    async def passed(self) -> None:
        """Wait until the gate is open."""
        if not self._open:
            arrived: Deferred[None] = Deferred(self._waiting.remove)
            self._waiting.append(arrived)
            await arrived

    def open(self) -> None:
        """Let all operations pass, now and from now on."""
        self._open = True
        while self._waiting:
            self._waiting.pop(0).callback(None)

    def open_one(self) -> None:
        """Let the operation that has waited longest pass."""
        self._waiting.pop(0).callback(None)

    def open_last(self) -> None:
        """Let the operation that came last pass."""
        self._waiting.pop().callback(None)


class StoreFaults:
    """The faults that are due, by operation (`put`, `upload_part`)."""

    def __init__(self) -> None:
        self._errors: dict[str, deque[Exception | None]] = {}
        self._late_errors: dict[str, deque[Exception]] = {}
        self._cut_bodies: deque[int] = deque()
        self._gates: dict[str, Gate] = {}

    def fail(self, operation: str, error: Exception, *, times: int, skip: int) -> None:
        """After `skip` calls of `operation`, the next `times` raise `error` and change nothing."""
        errors: list[Exception | None] = [None] * skip + [error] * times
        self._errors.setdefault(operation, deque()).extend(errors)

    def lose_response(self, operation: str, error: Exception) -> None:
        """The next call of `operation` does its work and then raises `error`."""
        self._late_errors.setdefault(operation, deque()).append(error)

    def cut_body(self, after_bytes: int) -> None:
        """The next body ends after `after_bytes`."""
        self._cut_bodies.append(after_bytes)

    def hold(self, operation: str) -> Gate:
        """From now on `operation` waits at the gate; "body": each chunk of a body."""
        gate = self._gates[operation] = Gate()
        return gate

    def clear(self) -> None:
        """Forget the programmed errors."""
        self._errors.clear()

    # For the store.

    async def before(self, operation: str) -> None:
        """Wait at the operation's gate, then raise the error that is due."""
        if operation in self._gates:
            await self._gates[operation].passed()
        errors = self._errors.get(operation)
        if errors and (error := errors.popleft()):
            raise error

    def after(self, operation: str) -> None:
        """Raise the error that stands for a lost response."""
        if self._late_errors.get(operation):
            raise self._late_errors[operation].popleft()

    async def before_chunk(self) -> None:
        """Wait at the gate of bodies."""
        if "body" in self._gates:
            await self._gates["body"].passed()

    def next_cut(self) -> int | None:
        """After how many bytes the body that begins now breaks off; None: it is whole."""
        return self._cut_bodies.popleft() if self._cut_bodies else None
