"""Which requests overlap, and that their results do not show it."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sftpgw.sftp.request_order.plan import Access, OrderedRequest, RequestOrder, Segments

LOOK, READ, OPEN, CHANGE, CLOSE = Access


def path(text: str) -> Segments:
    return tuple(filter(None, text.split("/")))


DEEP = "/".join("a" * 300)


def entered(order: RequestOrder, access: Access, *paths: str) -> tuple[OrderedRequest, bool]:
    """A request, and whether it has begun."""
    ticket = order.enter(access, [path(each) for each in paths])
    return ticket, order.begin(ticket)


@pytest.mark.parametrize(
    ("earlier", "later", "overlap"),
    [
        ((LOOK, "a"), (LOOK, "a"), True),
        ((LOOK, "d"), (LOOK, "d/f"), True),
        ((READ, "f"), (LOOK, "f"), True),
        ((LOOK, "f"), (READ, "f"), True),
        ((CHANGE, "d/f1"), (CHANGE, "d/f2"), True),
        ((OPEN, "d/f1"), (OPEN, "d/f2"), True),
        ((CHANGE, "d/f"), (LOOK, "d/g"), True),
        ((CHANGE, "d"), (LOOK, "da"), True),
        ((CHANGE, "a", "b"), (CHANGE, "c", "d"), True),
        ((CHANGE, "m"), (LOOK, "m"), False),
        ((CHANGE, "m"), (OPEN, "m/x"), False),
        ((CHANGE, "d/f"), (CHANGE, "d"), False),
        ((CHANGE, "d/e/f"), (LOOK, "d"), False),
        ((CHANGE, "d/e/f"), (LOOK, ""), False),
        ((CHANGE, ""), (LOOK, "d/e/f"), False),
        ((CHANGE, "a", "b"), (LOOK, "b/c"), False),
        ((LOOK, "d"), (OPEN, "d/f"), False),
        ((OPEN, "f"), (LOOK, "f"), False),
        ((OPEN, "f"), (OPEN, "f"), False),
        ((CLOSE, "f"), (CHANGE, "f", "g"), False),
        ((CLOSE, "d/f"), (LOOK, "d"), False),
        ((CHANGE, "f", "g"), (CLOSE, "f"), False),
        ((LOOK, "d"), (CLOSE, "d/f"), False),
        ((OPEN, "f"), (CLOSE, "f"), True),
        ((READ, "f"), (CLOSE, "f"), True),
        ((CLOSE, "f"), (CLOSE, "f"), True),
        ((CHANGE, f"{DEEP}/d/f1"), (CHANGE, f"{DEEP}/d/f2"), True),
        ((CHANGE, f"{DEEP}/d"), (LOOK, f"{DEEP}/da"), True),
        ((CHANGE, f"{DEEP}/d/f"), (CHANGE, f"{DEEP}/d"), False),
        ((LOOK, f"{DEEP}/d"), (OPEN, f"{DEEP}/d/f"), False),
        ((CHANGE, f"{DEEP}/d/f"), (LOOK, "a/a"), False),
        ((CHANGE, "a"), (LOOK, f"{DEEP}/d/f"), False),
        ((CHANGE, f"{DEEP}/d/f"), (LOOK, "a/b"), True),
    ],
)
def test_requests_wait_for_earlier_ones_that_conflict(
    earlier: tuple[Any, ...], later: tuple[Any, ...], overlap: bool
) -> None:
    order = RequestOrder()
    first, has_begun = entered(order, *earlier)
    assert has_begun
    second, has_begun = entered(order, *later)
    assert has_begun is overlap
    assert order.leave(first) == ([] if overlap else [second])
    assert order.begin(second)
    order.leave(second)
    assert order.is_empty


def test_a_waiting_request_holds_up_only_what_conflicts_with_it() -> None:
    order = RequestOrder()
    stuck, _ = entered(order, CHANGE, "d", "e")
    waiting, has_begun = entered(order, LOOK, "d/f")
    assert not has_begun
    behind, has_begun = entered(order, CHANGE, "d/f")
    assert not has_begun
    _, has_begun = entered(order, CHANGE, "g")
    assert has_begun
    assert order.leave(stuck) == [waiting]
    assert order.leave(waiting) == [behind]


def test_long_paths_of_many_requests_take_little_memory() -> None:
    """As many as a session may have under way, of two paths each, with 500 directories in each."""
    order = RequestOrder()
    tickets = [entered(order, CHANGE, "d")[0]]
    long = "/".join("a" * 500)
    tracemalloc.start()
    try:
        tickets += [
            entered(order, CHANGE, f"d/{n}/{long}", f"d/-{n}/{long}")[0] for n in range(255)
        ]
        paths_bytes = 255 * 2 * 500 * 8
        assert tracemalloc.get_traced_memory()[1] < 10 * 1024 * 1024 + 4 * paths_bytes
    finally:
        tracemalloc.stop()
    for ticket in tickets:
        order.leave(ticket)
    assert order.is_empty


def test_a_close_overtakes_what_has_not_begun_and_that_waits_for_it() -> None:
    order = RequestOrder()
    opening, _ = entered(order, OPEN, "f")  # may wait for the CLOSE
    renamer, has_begun = entered(order, CHANGE, "f", "g")
    assert not has_begun
    close, has_begun = entered(order, CLOSE, "f")
    assert has_begun
    assert order.leave(opening) == []
    assert order.leave(close) == [renamer]


def test_a_close_that_has_waited_goes_by_its_new_name() -> None:
    order = RequestOrder()
    first, _ = entered(order, CHANGE, "a", "b")
    second, _ = entered(order, CHANGE, "b", "c")
    close, has_begun = entered(order, CLOSE, "a")
    assert not has_begun
    lookup, _ = entered(order, LOOK, "b")
    assert order.leave(first) == [second, close]
    assert order.begin(second)
    order.move(close, [path("b")])
    assert not order.begin(close)  # the second rename has begun meanwhile
    assert order.leave(second) == [close]
    order.move(close, [path("c")])
    assert order.begin(close)
    assert order.leave(close) == [lookup]
    order.leave(lookup)
    assert order.is_empty


def test_a_close_of_what_was_removed_touches_nothing() -> None:
    order = RequestOrder()
    removing, _ = entered(order, CHANGE, "a")
    close, _ = entered(order, CLOSE, "a")
    assert order.leave(removing) == [close]
    order.move(close, [])
    assert order.begin(close)
    assert order.is_empty


PATHS = st.sampled_from(["", "a", "b", "a/a", "a/b", "b/a", "a/a/a", "a/a/b", "ab", "c"])


@given(
    st.lists(
        st.tuples(
            st.sampled_from([LOOK, READ, OPEN, CHANGE]),
            st.lists(PATHS, min_size=1, max_size=2),
            st.integers(0, 3),
        ),
        max_size=30,
    ),
    st.data(),
)
@settings(max_examples=300, deadline=None)
def test_a_request_begins_as_soon_as_all_earlier_ones_have_ended_that_conflict(
    requests: list[tuple[Access, list[str], int]], data: st.DataObject
) -> None:
    order = RequestOrder()
    pending: dict[OrderedRequest, tuple[Access, list[Segments]]] = {}

    def check() -> None:
        earlier: list[tuple[Access, list[Segments]]] = []
        for ticket, request in pending.items():
            waits = any(conflict(each, request) for each in earlier)
            assert ticket.has_begun is not waits
            earlier.append(request)

    def end_one() -> None:
        begun = [each for each in pending if each.has_begun]
        ended = data.draw(st.sampled_from(begun))
        del pending[ended]
        for free in order.leave(ended):
            assert order.begin(free)
        check()

    for access, texts, ends in requests:
        paths = [path(text) for text in texts]
        ticket = order.enter(access, paths)
        order.begin(ticket)
        pending[ticket] = (access, paths)
        check()
        for _ in range(min(ends, len(pending))):
            end_one()
    while pending:
        end_one()
    assert order.is_empty


def conflict(first: tuple[Access, list[Segments]], second: tuple[Access, list[Segments]]) -> bool:
    """The rule, as it reads."""
    if not (first[0].changes or second[0].changes):
        return False
    return any(
        one[: len(other)] == other or other[: len(one)] == one
        for one in first[1]
        for other in second[1]
    )


# Serial and overlapped.


@dataclass
class Disk:
    """A file system that has one name for each open file, which goes with what is renamed."""

    directories: set[Segments] = field(default_factory=lambda: {()})
    files: dict[Segments, int] = field(default_factory=dict)
    uploads: dict[int, Segments | None] = field(default_factory=dict)
    """By handle; what a handle writes is its number."""

    def carry_out(self, request: tuple[Any, ...]) -> Any:
        name, *arguments = request
        handler: Callable[..., Any] = getattr(self, name)
        return handler(*arguments)

    def look(self, path: Segments) -> Any:
        if path in self.directories:
            return "directory"
        writing = [handle for handle, at in self.uploads.items() if at == path]
        return writing[-1] if writing else self.files.get(path)

    def read(self, path: Segments) -> Any:
        return self.look(path)

    def listing(self, path: Segments) -> Any:
        if path not in self.directories:
            return None
        return sorted(each[-1] for each in self.names() if each[:-1] == path)

    def names(self) -> set[Segments]:
        at = {each for each in self.uploads.values() if each is not None}
        return {*self.directories, *self.files, *at} - {()}

    def below(self, path: Segments) -> list[Segments]:
        return [each for each in self.names() if each[: len(path)] == path and each != path]

    def mkdir(self, path: Segments) -> bool:
        if self.look(path) is not None or path[:-1] not in self.directories:
            return False
        self.directories.add(path)
        return True

    def rmdir(self, path: Segments) -> bool:
        if path not in self.directories or self.below(path) or not path:
            return False
        self.directories.remove(path)
        return True

    def remove(self, path: Segments) -> bool:
        if self.look(path) in (None, "directory"):
            return False
        self.lose(path)
        return True

    def lose(self, path: Segments) -> None:
        self.files.pop(path, None)
        for handle, at in self.uploads.items():
            if at == path:
                self.uploads[handle] = None

    def rename(self, old: Segments, new: Segments) -> bool:
        source, target = self.look(old), self.look(new)
        is_directory = source == "directory"
        if source is None or new[:-1] not in self.directories or new[: len(old)] == old:
            return source is not None and new == old
        if target is not None and (is_directory != (target == "directory") or self.below(new)):
            return False
        self.lose(new)
        self.directories.discard(new)
        for each in [old, *self.below(old)]:
            moved = new + each[len(old) :]
            if each in self.directories:
                self.directories.remove(each)
                self.directories.add(moved)
            if each in self.files:
                self.files[moved] = self.files.pop(each)
            for handle, at in self.uploads.items():
                if at == each:
                    self.uploads[handle] = moved
        return True

    def open(self, path: Segments, handle: int) -> bool:
        if path in self.directories or path[:-1] not in self.directories:
            return False
        self.uploads[handle] = path
        return True

    def close(self, handle: int) -> bool:
        at = self.uploads.pop(handle)
        if at is not None:
            self.files[at] = handle
        return True


FEW = st.sampled_from([path(each) for each in ("a", "b", "a/a", "a/b", "b/a", "a/a/a")])

REQUESTS = st.one_of(
    st.tuples(st.sampled_from(["look", "read", "listing", "mkdir", "rmdir", "remove"]), FEW),
    st.tuples(st.just("mkdir"), FEW),
    st.tuples(st.just("rename"), FEW, FEW),
    st.tuples(st.just("open"), FEW),
    st.tuples(st.just("close"), st.integers(0, 5)),
)

ACCESSES = {"look": LOOK, "listing": LOOK, "read": READ, "open": OPEN, "close": CLOSE}


def serial(wanted: list[tuple[Any, ...]]) -> tuple[Disk, list[tuple[tuple[Any, ...], Any]]]:
    """What a server that does one after the other makes of it: all requests, with their answers.

    No file is opened to be written twice at the same time, since a CLOSE that overtakes what waits
    could be noticed then: it is the last one that counts.
    """
    disk = Disk()
    told = []
    for number, (name, *arguments) in enumerate(wanted):
        request = (name, *arguments)
        if name == "open":
            if arguments[0] in disk.uploads.values():
                continue
            request = (name, *arguments, number)
        if name == "close":
            handles = [*disk.uploads]
            if arguments[0] >= len(handles):
                continue
            request = (name, handles[arguments[0]])
        told.append((request, disk.carry_out(request)))
    return disk, told


class Overlapped:
    """Carries out what may begin, at any moment between its beginning and its end."""

    def __init__(self, data: st.DataObject) -> None:
        self.draw = data.draw
        self.disk = Disk()
        self.order = RequestOrder()
        self.begun: dict[OrderedRequest, int] = {}
        self.numbers: dict[OrderedRequest, int] = {}
        self.requests: dict[int, tuple[Any, ...]] = {}
        self.answers: dict[int, Any] = {}
        self.ended: set[int] = set()
        self.most = 0

    def paths(self, request: tuple[Any, ...]) -> list[Segments]:
        if request[0] == "close":
            at = self.disk.uploads[request[1]]
            return [] if at is None else [at]
        return [each for each in request[1:] if isinstance(each, tuple)]

    def send(self, number: int, request: tuple[Any, ...]) -> None:
        if request[0] == "close":  # who closes a file has been told its handle
            while request[1] not in self.disk.uploads:
                self.end_one()
        self.requests[number] = request
        ticket = self.order.enter(ACCESSES.get(request[0], CHANGE), self.paths(request))
        self.numbers[ticket] = number
        self.begin(ticket)

    def begin(self, ticket: OrderedRequest) -> None:
        if self.order.begin(ticket):
            self.begun[ticket] = self.numbers[ticket]
            self.most = max(self.most, len(self.begun))
            if self.draw(st.booleans()):
                self.carry_out(self.numbers[ticket])

    def carry_out(self, number: int) -> None:
        if number not in self.answers:
            self.answers[number] = self.disk.carry_out(self.requests[number])

    def end_one(self) -> None:
        ticket = self.draw(st.sampled_from([*self.begun]))
        number = self.begun.pop(ticket)
        self.carry_out(number)
        self.ended.add(number)
        for free in self.order.leave(ticket):
            request = self.requests[self.numbers[free]]
            if request[0] == "close":
                self.order.move(free, self.paths(request))
            self.begin(free)


@given(st.lists(REQUESTS, max_size=30), st.data())
@settings(max_examples=500, deadline=None)
def test_overlapped_requests_are_answered_as_serial_ones(
    wanted: list[tuple[Any, ...]], data: st.DataObject
) -> None:
    disk, told = serial(wanted)
    overlapped = Overlapped(data)
    for number, (request, _) in enumerate(told):
        overlapped.send(number, request)
        for _ in range(data.draw(st.integers(0, 1))):
            if overlapped.begun:
                overlapped.end_one()
    while overlapped.begun:
        overlapped.end_one()
    answers = [overlapped.answers.get(number, "never") for number in range(len(told))]
    assert answers == [answer for _, answer in told]
    assert overlapped.disk == disk
    assert overlapped.order.is_empty
