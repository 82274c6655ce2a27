"""Begins the requests of one SFTP channel in an order that keeps conflicting ones apart.

Knows: which requests wait, and how each begins.
Must not know: which of them conflict (`sftp/request_order/plan`), or what they do.

A request is answered before those begin that have waited for it, so that replies come
in the order in which requests were carried out.

A lost channel drops the requests that wait, which have not begun. But its CLOSEs are carried out:
the client had sent the whole file.
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
    """A request that waits: how it begins, its reply, and its paths when they may have changed."""

    begin: Callable[[], Eventual[Any]]
    reply: Deferred[Any]
    current_paths: Callable[[], Paths] | None


class Sequencer:
    """Begins each request of one channel when no earlier one that conflicts with it is left."""

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

        :param access: how the request touches its paths.
        :param paths: the paths that it touches; none if it need not wait.
        :param begin: carries the request out.
        :param current_paths: tells the paths again once the request has waited, where they may
            have changed: for a file that was renamed.
        """
        if not paths:
            return begin()
        request = self._order.enter(access, paths)
        if self._order.begin(request):
            return self._carry_out(request, begin)
        reply: Deferred[T] = Deferred()
        self._waiting[request] = _Waiting(begin, reply, current_paths)
        return reply

    def drop(self) -> None:
        """The channel is lost: drop the requests that wait, but for CLOSEs."""
        dropped = [each for each in self._waiting if each.access is not Access.CLOSE]
        replies = [self._waiting.pop(request).reply for request in dropped]
        for request in dropped:
            self._free.extend(self._order.leave(request))
        for reply in replies:
            reply.errback(CancelledError())
        self._resume()

    def _carry_out(self, request: OrderedRequest, begin: Callable[[], Eventual[T]]) -> Eventual[T]:
        try:
            outcome = begin()
        except BaseException:
            self._end(request)
            raise
        if not isinstance(outcome, Deferred):
            self._end(request)
            return outcome
        reply: Deferred[T] = Deferred()

        def ended(result: T | Failure) -> None:
            reply.callback(result)
            self._end(request)

        outcome.addBoth(ended)
        return reply

    def _end(self, request: OrderedRequest) -> None:
        free = self._order.leave(request)
        if free:
            self._free.extend(free)
            self._resume()

    def _resume(self) -> None:
        """Begin the requests that are free. One that ends at once leads back here: no recursion."""
        if self._is_resuming:
            return
        self._is_resuming = True
        try:
            while self._free:
                self._begin_waiting(self._free.popleft())
        finally:
            self._is_resuming = False

    def _begin_waiting(self, request: OrderedRequest) -> None:
        waiting = self._waiting.get(request)
        if waiting is None:
            return  # dropped
        if waiting.current_paths is not None:
            self._order.move(request, waiting.current_paths())
        if not self._order.begin(request):
            return
        del self._waiting[request]
        try:
            outcome = self._carry_out(request, waiting.begin)
        except Exception:
            waiting.reply.errback(Failure())
            return
        if isinstance(outcome, Deferred):
            outcome.addBoth(waiting.reply.callback)
        else:
            waiting.reply.callback(outcome)


class HandleOrder:
    """The order of the requests on one handle, where a long one is among them: copy-data.

    A file takes READs and WRITEs in their order. copy-data is many of these: a request behind it on
    either handle that depends on it waits until it has ended. Other requests cost nothing here.
    """

    def __init__(self) -> None:
        self._sequencer = Sequencer()

    def run(self, files: Sequence[OpenFile], begin: Callable[[], Eventual[T]]) -> Deferred[T]:
        """Begin a request on open files, now or when all earlier ones in here have ended."""
        for file in files:
            file.ordered_requests += 1

        def ended(outcome: T | Failure) -> T | Failure:
            for file in files:
                file.ordered_requests -= 1
            return outcome

        paths = tuple((str(id(file)),) for file in files)
        run: Callable[..., Any] = self._sequencer.run
        outcome: Deferred[T] = maybeDeferred(run, Access.CHANGE, paths, begin)
        return outcome.addBoth(ended)

    def behind(self, file: OpenFile, begin: Callable[[], Eventual[T]]) -> Eventual[T]:
        """Begin a request when the requests in here have ended, or now if there are none."""
        return self.run((file,), begin) if file.ordered_requests else begin()

    def drop(self) -> None:
        """The channel is lost: drop the requests that wait."""
        self._sequencer.drop()


def access_of_change(attributes: Attributes) -> Access:
    """How a change of these attributes touches a path: a size is set by opening the file."""
    return Access.OPEN if "size" in attributes else Access.CHANGE


def touched_paths(*paths: bytes) -> Paths:
    """The paths that a request touches, in canonical form.

    Empty if a path is longer than any key can be: that request is refused at once, so it need not
    wait.

    :raises InvalidPath: a path is malformed.
    """
    found = tuple(map(canonical, paths))
    if max(map(len, paths)) > MAX_KEY_BYTES:
        return found if all(sum(map(len, each)) <= MAX_KEY_BYTES for each in found) else ()
    return found
