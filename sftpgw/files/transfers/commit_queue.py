"""In which order the uploads of one object are published.

Knows: which uploads were closed, in which order, and which of them the store is storing now.
Must not know: how an upload is published.

Rules

1. The uploads of one object are published in the order of their CLOSEs: the last CLOSE wins.
2. A rename may change the name while a commit waits. A commit is ordered among those of its current
   name. The order is always that of the CLOSEs, so no two commits wait for each other.
3. A commit that *may overtake* passes the queue. It waits only for what the store is storing at
   that moment, and all other commits of the object wait for it (`files/uploads/relocation`).
4. Nothing is published while a rename decides under which name (`Commit.held`).
"""

from __future__ import annotations

from bisect import bisect_right, insort
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import count

from twisted.internet.defer import Deferred

from sftpgw.aio.notifier import Notifier
from sftpgw.model.store import ObjectName


class Commit:
    """The publication of one upload, from its CLOSE to its end.

    :param queue: the commits of the process.
    :param name: the object that the upload publishes.
    :ivar has_begun: the file is closed; other sessions wait for it.
    :ivar is_publishing: it has its position, and keeps its name from now on.
    :ivar waits_for_binding: a renamed upload needs this name first (`key_bindings`).
    """

    def __init__(self, queue: CommitQueue, name: ObjectName) -> None:
        self.name = name
        self.has_begun = False
        self.is_publishing = False
        self.has_ended = False
        self.waits_for_binding = False
        self.number = 0
        """The position among all CLOSEs of the process."""
        self.may_overtake = False
        self._stored_before: tuple[Commit, ...] = ()
        self._queue = queue
        self._holds = 0
        self._changes = Notifier()
        self._ended = Notifier()

    def begin(self, *, may_overtake: bool = False) -> None:
        """The client has closed the file; from now on other sessions wait for it.

        :param may_overtake: it waits only for commits that the store is storing now (rule 3).
        """
        self.may_overtake = may_overtake
        if may_overtake:
            self._stored_before = self._queue.being_stored(self.name)
        self.has_begun = True
        self._queue.join(self)

    def rename(self, name: ObjectName) -> None:
        """The upload publishes another object."""
        if self.has_begun:
            self._queue.leave(self)
        self.name = name
        if self.has_begun:
            self._queue.join(self)
        self.look_again()

    @contextmanager
    def held(self) -> Iterator[None]:
        """Publish nothing meanwhile: a rename is about to decide under which name."""
        self._holds += 1
        try:
            yield
        finally:
            self._holds -= 1
            if not self._holds:
                self.look_again()

    async def wait(self) -> bool:
        """Wait for the earlier commits of this object, and for a rename that is under way.

        From now on the file keeps its name. Returns whether there was anything to wait for.
        """
        has_waited = False
        while self._holds or self._gives_way():
            has_waited = True
            await self._changes.wait()
        self.is_publishing = True
        return has_waited

    def _gives_way(self) -> bool:
        if self.may_overtake:
            return not all(each.has_ended for each in self._stored_before)
        queue = self._queue.commits_of(self.name) if self.has_begun else [self]
        return queue[0] is not self or any(
            each.is_publishing or each.may_overtake for each in queue if each is not self
        )

    def look_again(self) -> None:
        """It may be able to go on, if it waits."""
        self._changes.notify_all()

    def leave(self) -> None:
        """It was published or given up."""
        if self.has_begun:
            self._queue.leave(self)

    def tell_end(self) -> None:
        """Tell those that wait for the end, which has come."""
        self._ended.notify_all()

    def wait_for_end(self) -> Deferred[None]:
        """Fires when it has ended."""
        return self._ended.wait()


class CommitQueue:
    """The commits of the process, by object."""

    def __init__(self) -> None:
        self._numbers = count(1)
        self._commits: dict[ObjectName, list[Commit]] = {}
        self._woken: deque[Commit] = deque()
        self._is_waking = False

    def join(self, commit: Commit) -> None:
        """A file was closed, or has another name since."""
        if not commit.number:
            commit.number = next(self._numbers)
        queue = self._commits.setdefault(commit.name, [])
        insort(queue, commit, key=lambda each: each.number)

    def leave(self, commit: Commit) -> None:
        """The commit publishes this object no more. Those that may go on now look again.

        These are the first one, and those that may overtake. If each one looked, the CLOSEs of an
        object would cost the square of their number.
        """
        queue = self._commits[commit.name]
        queue.remove(commit)
        if not queue:
            del self._commits[commit.name]
            return
        self._wake([queue[0], *[each for each in queue[1:] if each.may_overtake]])

    def _wake(self, commits: list[Commit]) -> None:
        """Let commits look again. One that ends at once leads back here: no recursion.

        Without credentials, for example, a request ends before it is sent.
        """
        self._woken.extend(commits)
        if self._is_waking:
            return
        self._is_waking = True
        try:
            while self._woken:
                self._woken.popleft().look_again()
        finally:
            self._is_waking = False

    def commits_of(self, name: ObjectName) -> Sequence[Commit]:
        """The commits of `name` that are under way, in the order of their CLOSEs."""
        return self._commits.get(name, ())

    def last_of(self, name: ObjectName, *, up_to: int | None = None) -> Commit | None:
        """Of the commits of `name`, the one whose CLOSE came last; None if there are none.

        :param name: the object.
        :param up_to: the position of the last CLOSE that counts; None: all count.
        """
        queue = self._commits.get(name)
        if not queue:
            return None
        count = len(queue)
        if up_to is not None:
            count = bisect_right(queue, up_to, key=lambda each: each.number)
        return queue[count - 1] if count else None

    def being_stored(self, name: ObjectName) -> tuple[Commit, ...]:
        """The commits of `name` that wait for nothing but the store."""
        return tuple(
            each
            for each in self.commits_of(name)
            if each.is_publishing and not each.waits_for_binding
        )
