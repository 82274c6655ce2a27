"""Large bodies are gone over in steps, each in a turn of its own."""

from __future__ import annotations

import hashlib
from itertools import pairwise

import pytest
from twisted.internet.defer import CancelledError, Deferred

from sftpgw.aio.hasher import Hasher
from sftpgw.model.units import Buffer
from sftpgw.testing.cpu_clocks import dear_work
from tests.iterations import IterationClock

STEP_BYTES = 10


class Feeding:
    """A body being fed, and what came of it at each call."""

    def __init__(self, hasher: Hasher, *body: Buffer) -> None:
        self.pieces: list[bytes] = []
        self.ends: list[object] = []
        feeding = hasher.feed(body, lambda piece: self.pieces.append(bytes(piece)), STEP_BYTES)
        self.work = Deferred.fromCoroutine(feeding)
        self.work.addBoth(self.ends.append)

    @property
    def size_bytes(self) -> int:
        return sum(map(len, self.pieces))


def test_a_body_that_fits_into_a_step_is_hashed_at_once() -> None:
    clock = IterationClock()
    small = Feeding(Hasher(dear_work(clock, 1)), b"one", bytearray(b"two"), memoryview(b""))
    assert (small.pieces, small.ends) == ([b"one", b"two"], [None])
    assert not clock.getDelayedCalls()


def test_a_step_is_bounded() -> None:
    clock = IterationClock()
    large = Feeding(Hasher(dear_work(clock, 1)), b"a" * 37, b"b" * 3, b"c" * 3)
    done_bytes = []
    while not large.ends:
        done_bytes.append(large.size_bytes)
        clock.iterate()
    assert done_bytes[:3] == [0, 10, 20]
    steps = [second - first for first, second in pairwise(done_bytes)]
    assert max(steps) <= 2 * STEP_BYTES
    assert b"".join(large.pieces) == b"a" * 37 + b"bbbccc"
    assert max(map(len, large.pieces)) <= STEP_BYTES


def test_many_hashes_share_the_iterations() -> None:
    """Two bodies at once take as many turns as one after the other, and keep their order."""
    clock = IterationClock()
    hasher = Hasher(dear_work(clock, 1))
    first, second = (Feeding(hasher, bytes(30)) for _ in range(2))
    third = Feeding(hasher, b"small")
    for _ in range(3):
        clock.iterate()
    assert (first.size_bytes, second.size_bytes, third.size_bytes) == (30, 0, 0)
    assert first.ends
    for _ in range(4):
        clock.iterate()
    assert second.ends
    assert third.ends
    assert not clock.getDelayedCalls()


def test_a_cancelled_hash_leaves_the_queue() -> None:
    clock = IterationClock()
    hasher = Hasher(dear_work(clock, 1))
    first, second = (Feeding(hasher, bytes(30)) for _ in range(2))
    first.work.cancel()
    (ended,) = first.ends
    assert ended.check(CancelledError)  # type: ignore[attr-defined]
    for _ in range(3):
        clock.iterate()
    assert (first.size_bytes, second.size_bytes) == (0, 30)
    assert not clock.getDelayedCalls()


@pytest.mark.parametrize("size_bytes", [0, 1, 10, 11, 1000])
def test_each_hash_covers_every_byte(size_bytes: int) -> None:
    clock, digest = IterationClock(), hashlib.sha256()
    data = bytes(range(256)) * 4
    body = (data[: size_bytes // 3], memoryview(data)[size_bytes // 3 : size_bytes])
    done = Deferred.fromCoroutine(Hasher(dear_work(clock, 1)).feed(body, digest.update, STEP_BYTES))
    while not done.called:
        clock.iterate()
    assert digest.digest() == hashlib.sha256(data[:size_bytes]).digest()
