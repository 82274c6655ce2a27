"""Digests: compared with hashlib, in turns, and over any range."""

from __future__ import annotations

import hashlib
import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from sftpgw.errors import LimitReached
from sftpgw.files.digests import ALGORITHMS, MAX_BLOCKS, STEP_BYTES, Digester
from sftpgw.files.traffic import FileTraffic
from sftpgw.model.filesystem import FileAttributes, FileKind
from sftpgw.model.units import Body
from sftpgw.testing.cpu_clocks import dear_work
from tests.iterations import IterationClock


class Reader:
    """A `FileReader` over bytes; delayed replies come from the clock."""

    def __init__(self, clock: Clock, data: bytes, *, is_late: bool = False) -> None:
        self.lengths: list[int] = []
        self.traffic = FileTraffic()
        self._clock = clock
        self._data = data
        self._is_late = is_late

    def read(self, offset: int, length: int) -> Body | Deferred[Body]:
        self.lengths.append(length)
        found = self._data[offset : offset + length]
        body = (found[:10], memoryview(found)[10:])
        if not self._is_late:
            return body
        answer: Deferred[Body] = Deferred()
        self._clock.callLater(1, answer.callback, body)
        return answer

    async def attributes(self) -> FileAttributes:
        return FileAttributes(FileKind.FILE, len(self._data))


def finish(clock: Clock, work: Deferred[list[bytes]]) -> list[bytes]:
    found: list[list[bytes]] = []
    work.addCallback(found.append)
    while not found:
        assert clock.getDelayedCalls(), "it waits for nothing"
        clock.advance(1)
    assert clock.getDelayedCalls() == []
    return found[0]


@pytest.mark.parametrize("name", ALGORITHMS)
@pytest.mark.parametrize("size_bytes", [0, 1, STEP_BYTES, 2 * STEP_BYTES + 3])
@pytest.mark.parametrize("is_late", [False, True])
def test_digests_of_whole_files(name: str, size_bytes: int, is_late: bool) -> None:
    clock, data = Clock(), bytes(range(256)) * (size_bytes // 256 + 1)
    data = data[:size_bytes]
    reader = Reader(clock, data, is_late=is_late)
    work = Deferred.fromCoroutine(
        Digester(dear_work(clock, 1).share("alice")).digest_blocks(reader, name)
    )
    expected = zlib.crc32(data).to_bytes(4, "big") if name == "crc32" else None
    assert finish(clock, work) == [expected or hashlib.new(name, data).digest()]
    assert max(reader.lengths, default=0) <= STEP_BYTES


@settings(max_examples=50)
@given(st.binary(max_size=300), st.integers(0, 320), st.integers(0, 320), st.integers(0, 90))
def test_digests_of_ranges_and_blocks(data: bytes, start: int, length: int, block: int) -> None:
    clock = Clock()
    stop = start + length if length else 0
    work = Digester(dear_work(clock, 1).share("alice")).digest_blocks(
        Reader(clock, data), "md5", start, stop, block
    )
    wanted = data[start : stop or len(data)]
    blocks = [wanted[at : at + block] for at in range(0, len(wanted), block)] if block else [wanted]
    expected = [hashlib.md5(each).digest() for each in blocks]
    assert finish(clock, Deferred.fromCoroutine(work)) == expected


def test_too_many_blocks_are_refused_before_anything_is_read() -> None:
    clock = Clock()
    reader = Reader(clock, bytes(256 * MAX_BLOCKS + 1))
    work = Deferred.fromCoroutine(
        Digester(dear_work(clock, 1).share("alice")).digest_blocks(reader, "md5", 0, 0, 256)
    )
    failures: list[object] = []
    work.addErrback(lambda failure: failures.append(failure.trap(LimitReached)))
    assert failures == [LimitReached]
    assert reader.lengths == []


def test_one_step_in_each_reactor_iteration_round_robin() -> None:
    clock = IterationClock()
    digester = Digester(dear_work(clock, 1).share("alice"))
    readers = [Reader(clock, bytes(5 * STEP_BYTES)) for _ in range(3)]
    work = [Deferred.fromCoroutine(digester.digest_file(reader, "crc32")) for reader in readers]
    for turn in range(12):
        done = [len(reader.lengths) for reader in readers]
        assert sum(done) == 3 + turn
        assert max(done) - min(done) <= 1
        assert len(clock.getDelayedCalls()) == 1
        clock.iterate()
    for _ in range(3):
        clock.iterate()
    assert all(each.called for each in work)
    assert clock.getDelayedCalls() == []


def test_a_cancelled_digest_leaves_the_queue() -> None:
    clock = Clock()
    digester = Digester(dear_work(clock, 1).share("alice"))
    first, second = digester.next_step(), digester.next_step()
    first.addErrback(lambda failure: None)
    first.cancel()
    clock.advance(0)
    assert second.called
    third = digester.next_step()
    third.addErrback(lambda failure: None)
    third.cancel()
    assert clock.getDelayedCalls() == []
