"""What requests cost beside many open uploads: as much as beside none.

Costs are counted in calls of Python and C functions, not in seconds.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import pytest
from twisted.internet.defer import Deferred

from sftpgw.files.tree import Tree
from sftpgw.model.filesystem import NO_CHANGES, WriteIntent
from sftpgw.model.store import ObjectName
from sftpgw.model.users import User
from sftpgw.testing.sftp_sessions import CREATE, GatewayInMemory
from sftpgw.testing.store_faults import Gate
from sftpgw.wire import sftp as wire
from sftpgw.wire.sftp import Kind, Status
from tests.results import result_of

BOB = User.with_home("bob", "bucket", "home/bob/")
FEW, MANY = 8, 400


def calls_of(work: Callable[[], Any]) -> int:
    """How many functions `work` calls, of Python or C."""
    count = 0

    def observe(frame: Any, event: str, argument: Any) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    previous = sys.getprofile()
    sys.setprofile(observe)
    try:
        work()
    finally:
        sys.setprofile(previous)
    return count


def open_many(tree: Tree, count: int, path: bytes = b"/d/%d") -> list[Any]:
    names = [path % number if b"%" in path else path for number in range(count)]
    return [result_of(tree.open_writer(name, WriteIntent(), NO_CHANGES)) for name in names]


def answer_one_by_one(gate: Gate) -> None:
    while gate.waiting:
        gate.open_one()


def abandon(writers: list[Any]) -> None:
    for writer in writers:
        result_of(writer.abandon())


REQUESTS: dict[str, Callable[[Tree], Any]] = {
    "a file": lambda tree: tree.stat(b"/file"),
    "a folder": lambda tree: tree.stat(b"/folder"),
    "nothing": lambda tree: tree.stat(b"/folder/absent"),
    "an own upload": lambda tree: tree.stat(b"/own"),
}


@pytest.mark.parametrize("what", REQUESTS)
@pytest.mark.parametrize("path", [b"/d/%d", b"/%d/x", b"/one"])
def test_a_stat_costs_the_same_beside_many_uploads(what: str, path: bytes) -> None:
    calls = {}
    for count in (FEW, MANY):
        gateway = GatewayInMemory()
        gateway.store.seed("home/bob/file", b"x")
        gateway.store.seed("home/bob/folder/x", b"x")
        writers = open_many(gateway.tree(), count, path)
        tree = gateway.tree(BOB)
        writers += open_many(tree, 1, b"/own")

        def stat(tree: Tree = tree) -> None:
            asked = Deferred.fromCoroutine(REQUESTS[what](tree))
            asked.addErrback(lambda _: None)

        stat()
        calls[count] = calls_of(stat)
        abandon(writers)
    assert calls[MANY] <= calls[FEW] + 4, "a bisection takes two steps more"


@pytest.mark.parametrize("path", [b"/d/%d", b"/one"])
def test_an_open_to_write_costs_the_same_beside_many_uploads(path: bytes) -> None:
    calls = {}
    for count in (FEW, MANY):
        gateway = GatewayInMemory()
        tree = gateway.tree()
        writers = open_many(tree, count, path)
        calls[count] = calls_of(lambda: writers.extend(open_many(tree, 1, path)))  # noqa: B023
        abandon(writers)
    assert calls[MANY] <= calls[FEW] * 1.5


@pytest.mark.parametrize("path", [b"/d/%d", b"/one"])
def test_closes_that_wait_do_not_wake_each_other(path: bytes) -> None:
    """The store is slow: all CLOSEs wait. Their cost grows with their number, not its square."""
    calls = {}
    for count in (FEW, MANY):
        gateway = GatewayInMemory()
        puts = gateway.store.hold("put")
        closed = []
        for writer in open_many(gateway.tree(), count, path):
            writer.write(0, b"x")
            closed.append(Deferred.fromCoroutine(writer.commit()))
        calls[count] = calls_of(lambda: answer_one_by_one(puts))  # noqa: B023
        for each in closed:
            result_of(each)
    assert calls[MANY] / MANY <= 2 * calls[FEW] / FEW


def test_a_close_waits_for_the_closes_of_its_name_before_it_and_for_no_later_one() -> None:
    """Of whatever user: their order decides what is stored at the end."""
    gateway = GatewayInMemory()
    alice, bob = gateway.tree(), gateway.tree(User.with_home("bob", "bucket", "home/alice/"))
    writers = [
        open_many(tree, count, b"/one") for tree, count in ((alice, FEW), (bob, 1), (alice, FEW))
    ]
    puts = gateway.store.hold("put")
    before, (his,), later = (
        [Deferred.fromCoroutine(each.commit()) for each in some] for some in writers
    )
    for _ in range(FEW):
        assert not his.called
        puts.open_one()
    puts.open_one()
    result_of(his)
    assert not any(each.called for each in later)
    puts.open()
    for each in (*before, *later):
        result_of(each)


def test_an_edit_is_found_among_many_uploads(gateway: GatewayInMemory) -> None:
    gateway.store.seed("home/alice/file", b"old bytes")
    tree = gateway.tree()
    writers = open_many(tree, FEW)
    intent = WriteIntent(truncate=False)
    edited = result_of(tree.open_writer(b"/file", intent, NO_CHANGES))
    result_of(tree.rename(b"/file", b"/moved", replace=False))
    edited.write(0, b"new")
    result_of(edited.commit())
    assert gateway.store.content("home/alice/moved") == b"new bytes"
    abandon(writers)


def test_stats_that_wait_for_closes_do_not_wait_for_each_one() -> None:
    """One of each number: what both together cost grows with their number, not its square."""
    calls = {}
    for count in (FEW, MANY):
        gateway = GatewayInMemory()
        puts = gateway.store.hold("put")
        tree = gateway.tree()
        closed = []
        for writer in open_many(tree, count, b"/one"):
            writer.write(0, b"x")
            closed.append(Deferred.fromCoroutine(writer.commit()))
        stats = [Deferred.fromCoroutine(tree.stat(b"/one")) for _ in range(count)]
        calls[count] = calls_of(lambda: answer_one_by_one(puts))  # noqa: B023
        assert {result_of(each).size_bytes for each in stats} == {1}
        for each in closed:
            result_of(each)
    assert calls[MANY] / MANY <= 2 * calls[FEW] / FEW


def test_one_that_was_overtaken_is_awaited_too(gateway: GatewayInMemory) -> None:
    name = ObjectName("bucket", "home/alice/file")
    registry = gateway.transfers
    first, second = registry.register(name, None), registry.register(name, None)
    for each in (first, second):
        each.commit.begin()
    settled = Deferred.fromCoroutine(registry.settled(name))
    second.end()
    assert not settled.called
    later = registry.register(name, None)
    later.commit.begin()
    first.end()
    assert settled.called, "it does not wait for what came later"
    later.end()


def test_a_thousand_closes_of_one_file_that_end_at_once() -> None:
    """Each one lets the next go on: not from within the other."""
    gateway = GatewayInMemory()
    opening = [wire.Open(0, b"/same", CREATE, {})] * 250
    clients = [gateway.log_in() for _ in range(4)]
    handles = [[each.answer(id).body for id in each.send_together(*opening)] for each in clients]
    gate = gateway.store.hold("put")
    asked = [
        client.send_together(*[wire.OnHandle(Kind.CLOSE, 0, handle) for handle in opened])
        for client, opened in zip(clients, handles, strict=True)
    ]
    assert gate.waiting == 1
    gate.open()
    for client, ids in zip(clients, asked, strict=True):
        client.pump()
        assert {client.replies[each].code for each in ids} == {Status.OK}
    gateway.assert_idle()
