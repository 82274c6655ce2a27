"""Which requests may be under way, and which one is next when one has ended.

Knows: how many are under way, of the process and of each user, and which ones wait.
Must not know: what a request says, how one is sent, or what waits for its turn (`queue`).

Rules

1. At most `RequestLimits.at_once` requests are under way, of one user at most `per_user`, and to a
   throttled bucket as many as its `Throttle` allows. A request that waits holds none of these: not
   for its bucket, and not between two attempts.
2. When there is room, the next request is of a user that has fewer under way than a fair share: of
   all requests at once, by weight, among the users that have requests under way or waiting. Only
   when no such user waits for something that has room, users with more get what is left.
3. Among the users on the same side of their share, the fair order decides (`aio/fair_order`), and
   then among the sessions of a user, and in a session among its uploads and operations.
4. A throttled bucket without room has turns of its own, so that its users are not looked at until
   it has some. Of several with room, the one goes first whose next user has the fewest under way by
   weight, and in turn where they have the same.

So a user with fewer requests than a fair share never waits for one with more, and each one that
waits is served: a user's share falls due when its own requests, or those of others, end.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import ceil
from typing import Any, Generic, TypeVar

from sftpgw.aio.active_weights import ActiveWeights
from sftpgw.aio.fair_order import FairOrder, Ticket
from sftpgw.s3.throttle.plan import Throttle

COMMON = ""
"""Stands for all buckets that have not run out of room; no bucket has this name."""


@dataclass(frozen=True, slots=True)
class RequestLimits:
    """How many requests may be under way.

    :param at_once: of the process.
    :param per_user: of one user.
    """

    at_once: int
    per_user: int


class PlannedRequest:
    """One request, from the moment it is due until its response is whole.

    :param bucket: the bucket that it goes to.
    :param path: whose it is: the user, the session, and the upload or the operation.
    :param is_slow: the store may need minutes: it counts for its bucket's throttle only while it
        waits, so that others do not wait for it where only one may be in flight.
    """

    __slots__ = ("began", "bucket", "is_slow", "path", "throttle", "ticket", "waiter")

    def __init__(self, bucket: str, path: tuple[str, str, str], *, is_slow: bool = False) -> None:
        self.bucket = bucket
        self.path = path
        self.is_slow = is_slow
        self.began: int | None = None
        """The result of `Throttle.began`; None while the request has not begun."""
        self.throttle: Throttle | None = None
        """That of its bucket, once the request has begun."""
        self.waiter: _Waiter[Any] | None = None
        self.ticket: Ticket[Any] | None = None


RequestT = TypeVar("RequestT", bound=PlannedRequest)


class _User(Generic[RequestT]):
    """A user with requests under way or waiting."""

    __slots__ = ("name", "under_way", "waiters", "weight")

    def __init__(self, name: str, weight: float) -> None:
        self.name = name
        self.weight = weight
        self.under_way = 0
        self.waiters: dict[str, _Waiter[RequestT]] = {}  # by bucket


class _Waiter(Generic[RequestT]):
    """The requests of one user that wait, to one bucket."""

    __slots__ = ("bucket", "order", "ticket", "turns", "user")

    def __init__(self, user: _User[RequestT], bucket: _Bucket[RequestT]) -> None:
        self.user = user
        self.bucket = bucket
        self.order: FairOrder[RequestT] = FairOrder()
        self.turns: FairOrder[_Waiter[RequestT]] | None = None  # where its turn stands
        self.ticket: Ticket[_Waiter[RequestT]] | None = None

    def stand_in(self, turns: FairOrder[_Waiter[RequestT]] | None) -> None:
        """Move the turn; None: it has none, since its user may have no more."""
        if self.turns is not None and self.ticket is not None:
            self.turns.remove(self.ticket)
        self.turns = turns
        self.ticket = None if turns is None else turns.put((self.user.name,), self)


class _Turns(Generic[RequestT]):
    """The users whose turn comes, those below their fair share first."""

    __slots__ = ("above", "below")

    def __init__(self, weight_of: Callable[[str], float]) -> None:
        self.below: FairOrder[_Waiter[RequestT]] = FairOrder(weight_of)
        self.above: FairOrder[_Waiter[RequestT]] = FairOrder(weight_of)

    @property
    def next(self) -> _Waiter[RequestT] | None:
        turns = self.above if self.below.is_empty else self.below
        return None if turns.is_empty else turns.next.item


class _Bucket(Generic[RequestT]):
    """The throttle of a bucket, and how many requests to it wait."""

    __slots__ = ("name", "throttle", "turns", "waiting")

    def __init__(self, name: str, throttle: Throttle, turns: _Turns[RequestT]) -> None:
        self.name = name
        self.throttle = throttle
        self.turns = turns  # from when it has no room until all turns are taken
        self.waiting = 0


class RequestPlan(Generic[RequestT]):
    """The requests of the process.

    :param limits: how many may be under way.
    :param throttle_ceiling: see `Throttle`.
    :param weight_of: returns the weight of a user.
    """

    def __init__(
        self,
        limits: RequestLimits,
        throttle_ceiling: int,
        weight_of: Callable[[str], float] = lambda user: 1.0,
    ) -> None:
        self.under_way = 0
        self.waiting = 0
        self.limits = limits
        self._throttle_ceiling = throttle_ceiling
        self._weight_of = weight_of
        self._weights = ActiveWeights(weight_of)  # of `_users`
        self._largest_weight = 1.0
        self._known_share = 0  # as of the last look at all that wait
        self._users: dict[str, _User[RequestT]] = {}
        self._buckets: dict[str, _Bucket[RequestT]] = {}
        self._lanes: dict[str, _Turns[RequestT]] = {COMMON: _Turns(weight_of)}
        """What turns are taken from: `COMMON`, and buckets that have run out of room."""

    # What is asked.

    @property
    def is_full(self) -> bool:
        """Whether others wait while as many are under way as may be of the process."""
        return bool(self.waiting) and self.under_way >= self.limits.at_once

    @property
    def waiting_users(self) -> int:
        """How many users have requests that wait. It looks at all users."""
        return sum(1 for user in self._users.values() if user.waiters)

    def share_of(self, user: str) -> float:
        """How many requests of a user may be under way before others come first: at least 1."""
        return max(1.0, self._weights.share(user, self.limits.at_once))

    def throttle_of(self, bucket: str) -> Throttle:
        """The throttle of a bucket; it changes only by what is told to it."""
        return self._bucket(bucket).throttle

    def is_crowded(self, bucket: str) -> bool:
        """Whether requests wait for room at a throttled bucket."""
        found = self._bucket(bucket)
        return bool(found.waiting) and not found.throttle.has_room

    # What happens.

    def enter(self, request: RequestT) -> bool:
        """A request is due. Returns whether it begins now; else it waits for `next_begun`."""
        user, bucket = self._user(request.path[0]), self._bucket(request.bucket)
        if not self.waiting and self._has_room(user) and bucket.throttle.has_room:
            self._begin(request, user, bucket)
            return True
        self._put(request, user, bucket)
        return False

    def next_begun(self) -> RequestT | None:
        """The next request that begins; None if none can. Call it until then after each event."""
        if not self.waiting or self.under_way >= self.limits.at_once:
            return None
        waiter = self._next_waiter()
        if waiter is None:
            return None
        if waiter.turns is not None:
            waiter.turns.pop()
            waiter.turns = waiter.ticket = None
        request = waiter.order.pop().item
        self._taken(request, waiter)
        self._begin(request, waiter.user, waiter.bucket)
        if not waiter.order.is_empty:
            self._give_turn(waiter)
        return request

    def leave(self, request: RequestT) -> None:
        """A request has ended, or is given up while it waits; `next_begun` may have more then."""
        user = self._users[request.path[0]]
        if request.waiter is not None and request.ticket is not None:
            waiter = request.waiter
            waiter.order.remove(request.ticket)
            self._taken(request, waiter)
            if waiter.order.is_empty:
                waiter.stand_in(None)
        else:
            self.under_way -= 1
            user.under_way -= 1
            if request.throttle is not None and not request.is_slow:
                request.throttle.ended()
            for waiter in user.waiters.values():
                self._give_turn(waiter)
        if not user.under_way and not user.waiters:
            self._forget(user)

    # How.

    def _user(self, name: str) -> _User[RequestT]:
        user = self._users.get(name)
        if user is None:
            self._weights.add(name)
            user = self._users[name] = _User(name, self._weights.weight(name))
            self._largest_weight = max(self._largest_weight, user.weight)
            self._known_share = min(self._known_share, self._largest_share)
        return user

    def _forget(self, user: _User[RequestT]) -> None:
        """A user has nothing any more: the shares of the others grow."""
        del self._users[user.name]
        self._weights.remove(user.name)
        share, known_share = self._largest_share, self._known_share
        self._known_share = share
        if self.waiting and share > known_share:
            for other in self._users.values():
                for waiter in other.waiters.values():
                    self._give_turn(waiter)

    @property
    def _largest_share(self) -> int:
        """The largest share of a user, in whole requests.

        While it is the same, no turn changes; with weights in between, one may change a little
        late. To look at all that wait for each request that ends would cost more.
        """
        if not self._users:
            return 0
        return ceil(self._weights.part(self._largest_weight, self.limits.at_once))

    def _bucket(self, name: str) -> _Bucket[RequestT]:
        bucket = self._buckets.get(name)
        if bucket is None:
            throttle = Throttle(self._throttle_ceiling)
            bucket = self._buckets[name] = _Bucket(name, throttle, _Turns(self._weight_of))
        return bucket

    def _has_room(self, user: _User[RequestT]) -> bool:
        limits = self.limits
        return self.under_way < limits.at_once and user.under_way < limits.per_user

    def _begin(self, request: RequestT, user: _User[RequestT], bucket: _Bucket[RequestT]) -> None:
        self.under_way += 1
        user.under_way += 1
        request.throttle = throttle = bucket.throttle
        request.began = throttle.began()
        if request.is_slow:
            throttle.ended()

    def _put(self, request: RequestT, user: _User[RequestT], bucket: _Bucket[RequestT]) -> None:
        waiter = user.waiters.get(bucket.name)
        if waiter is None:
            waiter = user.waiters[bucket.name] = _Waiter(user, bucket)
        request.waiter = waiter
        request.ticket = waiter.order.put(request.path[1:], request)
        self.waiting += 1
        bucket.waiting += 1
        if waiter.turns is None:
            self._give_turn(waiter)

    def _taken(self, request: RequestT, waiter: _Waiter[RequestT]) -> None:
        """A request does not wait any more."""
        request.waiter = request.ticket = None
        self.waiting -= 1
        waiter.bucket.waiting -= 1
        if waiter.order.is_empty:
            del waiter.user.waiters[waiter.bucket.name]

    def _give_turn(self, waiter: _Waiter[RequestT]) -> None:
        """Let the turn of a user stand where it belongs now."""
        bucket, user = waiter.bucket, waiter.user
        if user.under_way >= self.limits.per_user:
            if waiter.turns is not None:
                waiter.stand_in(None)
            return
        lane = self._lanes.get(bucket.name)  # which stays until all turns in it are taken
        if lane is None and not bucket.throttle.has_room:
            lane = self._lanes[bucket.name] = bucket.turns
        lane = lane or self._lanes[COMMON]
        turns = lane.below if user.under_way < self.share_of(user.name) else lane.above
        if waiter.turns is not turns:
            waiter.stand_in(turns)

    def _next_waiter(self) -> _Waiter[RequestT] | None:
        found: tuple[tuple[bool, float], str, _Waiter[RequestT]] | None = None
        for name in tuple(self._lanes):
            waiter = self._next_of(name)
            if waiter is None:
                continue
            user = waiter.user
            rank = (user.under_way >= self.share_of(user.name), user.under_way / user.weight)
            if found is None or rank < found[0]:
                found = rank, name, waiter
        if found is None:
            return None
        _, name, waiter = found
        self._lanes[name] = self._lanes.pop(name)  # of equal ones it comes last the next time
        return waiter

    def _next_of(self, name: str) -> _Waiter[RequestT] | None:
        """The user whose turn is next in a lane; turns that stand in the wrong place move."""
        lane = self._lanes[name]
        if name != COMMON and not self._buckets[name].throttle.has_room:
            return None
        while (waiter := lane.next) is not None:
            user = waiter.user
            if user.under_way >= self.limits.per_user:
                waiter.stand_in(None)
            elif not waiter.bucket.throttle.has_room:
                self._give_turn(waiter)  # in a lane that is not looked at now
            elif waiter.turns is lane.below and user.under_way >= self.share_of(user.name):
                waiter.stand_in(lane.above)
            else:
                return waiter
        if name != COMMON:
            del self._lanes[name]
        return None
