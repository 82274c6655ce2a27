"""Requests that wait for their turn among those of their session.

Knows: which requests wait, and what begins them.
Must not know: which of them conflict (`sftp/request_order/plan`), or what they do.

A request is answered before those begin that have waited for it, so that answers come
in the order in which requests were carried out.

A lost session drops what waits; it was not begun. Its CLOSEs are carried out: the client had
handed over the whole file.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeVar

from twisted.internet.defer import CancelledError, Deferred, maybeDeferred
from twisted.python.failure import Failure

from sftpgw.files.paths import canonical
from sftpgw.model.limits import MAX_KEY_BYTES
from sftpgw.sftp.contracts import Eventual
from sftpgw.sftp.handles import OpenFile
from sftpgw.sftp.request_order.plan import Access, OrderedRequest, RequestOrder, Segments
from sftpgw.wire.sftp import Attributes

T = TypeVar("T")

Paths: TypeAlias = tuple[Segments, ...]


@dataclass(frozen=True, slots=True)
class _Waiting:
    """A request that waits: how it begins, and its answer."""

    begin: Callable[[], Eventual[Any]]
    answer: Deferred[Any]
    current_paths: Callable[[], Paths] | None


class Sequencer:
    """Begins each request of a session when its turn has come."""

    def __init__(self) -> None:
        self._order = RequestOrder()
        self._waiting: dict[OrderedRequest, _Waiting] = {}
        self._free: deque[OrderedRequest] = deque()
        self._is_resuming = False

    def run(
        self,
        access: Access,
        paths: Paths,
        begin: Callable[[], Eventual[T]],
        *,
        current_paths: Callable[[], Paths] | None = None,
    ) -> Eventual[T]:
        """Begin a request, now or when all earlier ones have ended that conflict with it.

        :param paths: what it touches; none if it need not wait.
        :param current_paths: what it touches once it has waited, if that may have changed: a
            file that was renamed.
        """
        if not paths:
            return begin()
        ticket = self._order.enter(access, paths)
        if self._order.begin(ticket):
            return self._carry_out(ticket, begin)
        answer: Deferred[T] = Deferred()
        self._waiting[ticket] = _Waiting(begin, answer, current_paths)
        return answer

    def drop(self) -> None:
        """The session is lost: nothing that waits is begun any more, but for its CLOSEs."""
        dropped = [each for each in self._waiting if each.access is not Access.CLOSE]
        answers = [self._waiting.pop(ticket).answer for ticket in dropped]
        for ticket in dropped:
            self._free.extend(self._order.leave(ticket))
        for answer in answers:
            answer.errback(CancelledError())
        self._resume()

    def _carry_out(self, ticket: OrderedRequest, begin: Callable[[], Eventual[T]]) -> Eventual[T]:
        try:
            outcome = begin()
        except BaseException:
            self._end(ticket)
            raise
        if not isinstance(outcome, Deferred):
            self._end(ticket)
            return outcome
        answer: Deferred[T] = Deferred()

        def ended(result: T | Failure) -> None:
            answer.callback(result)
            self._end(ticket)

        outcome.addBoth(ended)
        return answer

    def _end(self, ticket: OrderedRequest) -> None:
        free = self._order.leave(ticket)
        if free:
            self._free.extend(free)
            self._resume()

    def _resume(self) -> None:
        """Begin what is free. What ends at once leads back here: no recursion."""
        if self._is_resuming:
            return
        self._is_resuming = True
        try:
            while self._free:
                self._begin_waiting(self._free.popleft())
        finally:
            self._is_resuming = False

    def _begin_waiting(self, ticket: OrderedRequest) -> None:
        waiting = self._waiting.get(ticket)
        if waiting is None:
            return  # dropped
        if waiting.current_paths is not None:
            self._order.move(ticket, waiting.current_paths())
        if not self._order.begin(ticket):
            return
        del self._waiting[ticket]
        try:
            outcome = self._carry_out(ticket, waiting.begin)
        except Exception:
            waiting.answer.errback(Failure())
            return
        if isinstance(outcome, Deferred):
            outcome.addBoth(waiting.answer.callback)
        else:
            waiting.answer.callback(outcome)


class HandleOrder:
    """The order of requests on handles where there is a long one: copy-data.

    READ and WRITE are taken by a file in their order. copy-data is many of these; what comes behind
    it on either handle, and depends on it, waits until it has ended. All else costs nothing here.
    """

    def __init__(self) -> None:
        self._sequencer = Sequencer()

    def run(self, files: Sequence[OpenFile], begin: Callable[[], Eventual[T]]) -> Deferred[T]:
        """Begin a request on open files, now or when all earlier ones in here have ended."""
        for file in files:
            file.in_order += 1

        def ended(outcome: T | Failure) -> T | Failure:
            for file in files:
                file.in_order -= 1
            return outcome

        paths = tuple((str(id(file)),) for file in files)
        run: Callable[..., Any] = self._sequencer.run
        outcome: Deferred[T] = maybeDeferred(run, Access.CHANGE, paths, begin)
        return outcome.addBoth(ended)

    def behind(self, file: OpenFile, begin: Callable[[], Eventual[T]]) -> Eventual[T]:
        """Begin a request that waits for the end of what is in here, if there is anything."""
        return self.run((file,), begin) if file.in_order else begin()

    def drop(self) -> None:
        """The session is lost: nothing that waits is begun any more."""
        self._sequencer.drop()


def changing(attributes: Attributes) -> Access:
    """How SETSTAT of these attributes touches a path: a size is set by opening the file."""
    return Access.OPEN if "size" in attributes else Access.CHANGE


def touched(*paths: bytes) -> Paths:
    """What requests for these paths touch.

    Nothing, where a path is longer than any key can be: such a request is refused at once.

    :raises InvalidPath: a path is none.
    """
    found = tuple(map(canonical, paths))
    if max(map(len, paths)) > MAX_KEY_BYTES:
        return found if all(sum(map(len, each)) <= MAX_KEY_BYTES for each in found) else ()
    return found
