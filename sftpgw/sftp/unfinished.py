"""Requests that go on although their channel has ended, and how many of them a user may have.

Knows: how many there are, and who waits until there are fewer. Must not know: what they do.

A request that has begun goes on when its channel is lost: it may have changed something already,
and a request to the store that is cancelled costs the connection to the store. A client that opens
channels, sends requests and closes the channels again would otherwise have any number of them under
way: all other limits are those of a channel or a connection. So the channels of its user begin no
request while there are `MAX_UNFINISHED`.
"""

from __future__ import annotations

from collections.abc import Callable

from twisted.logger import Logger

MAX_UNFINISHED = 1024
"""As many as four channels have at once. Each is a few KiB of memory and some requests to S3."""


class Unfinished:
    """The requests of one user whose channels have ended.

    :ivar is_full: whether further requests of the user must wait.
    """

    _log = Logger()

    def __init__(self) -> None:
        self.is_full = False  # an attribute: each request of a channel asks
        self._count = 0
        self._waiting: dict[Callable[[], None], None] = {}

    def add(self, count: int) -> None:
        """A channel has ended and has left so many requests."""
        self._count_more(count)

    def end_one(self) -> None:
        """One of them has ended."""
        self._count_more(-1)
        if self._waiting and not self.is_full:
            waiting, self._waiting = self._waiting, {}
            for go_on in waiting:
                try:
                    go_on()
                except Exception:
                    # The other channels wait for this call alone.
                    self._log.failure("a channel that waited could not go on")

    def _count_more(self, count: int) -> None:
        self._count += count
        self.is_full = self._count >= MAX_UNFINISHED

    def wait(self, go_on: Callable[[], None]) -> None:
        """Call `go_on` once, when there is room again. Repeated calls have no effect.

        :param go_on: lets a channel begin requests; it may call `wait` again.
        """
        self._waiting[go_on] = None

    def leave(self, go_on: Callable[[], None]) -> None:
        """Do not wait any more."""
        self._waiting.pop(go_on, None)


class UnfinishedOfUsers:
    """The same for all users of the process."""

    def __init__(self) -> None:
        self._users: dict[str, Unfinished] = {}

    def of(self, user: str) -> Unfinished:
        """Those of one user.

        :param user: the name of a user that exists.
        """
        return self._users.setdefault(user, Unfinished())
