"""Random histories of a fair order, and what must hold in each.

``python -m tests.aio.fair_histories`` runs a million of them, in three minutes.

A history puts, takes out, removes and charges at random, for users with sessions and channels of
their own. `WatchedOrder` knows nothing of how the order is computed: it keeps what was put in, and
what each user has got since it began to wait.
"""

from __future__ import annotations

import random
import sys
from collections import Counter, deque
from collections.abc import Callable

from sftpgw.aio.fair_order import FairOrder, Path, Ticket

MAX_COST = 4


class FairnessBroken(AssertionError):
    """A history in which the order was not fair."""


class WatchedOrder:
    """A `FairOrder`, and beside it all that a reader of its promises can count.

    :param weights: the weight of each user.
    """

    def __init__(self, weights: dict[str, float]) -> None:
        self.order: FairOrder[int] = FairOrder(weights.__getitem__)
        self.tickets: dict[Path, deque[Ticket[int]]] = {}
        self._weights = weights
        self._put = 0
        self._taken = 0
        self._gone = 0
        self.has_charges = False
        # For each two users: what each has got since both wait. Only such times compare.
        self._got: Counter[tuple[str, str]] = Counter()

    @property
    def busy(self) -> set[str]:
        return {path[0] for path, tickets in self.tickets.items() if tickets}

    def put(self, path: Path, cost: int) -> None:
        before = self.busy
        self.tickets.setdefault(path, deque()).append(self.order.put(path, self._put, cost))
        self._put += 1
        if path[0] not in before:
            self._restart(path[0])

    def remove(self, path: Path, index: int) -> None:
        tickets = self.tickets.get(path)
        if tickets:
            ticket = tickets[index % len(tickets)]
            tickets.remove(ticket)
            self.order.remove(ticket)
            self._gone += 1

    def pop(self) -> None:
        if self.order.is_empty:
            return
        promised = self.order.next
        ticket = self.order.pop()
        require(ticket is promised, "`next` names what `pop` takes")
        self._take(ticket)
        self._pay(ticket.path[0], ticket.cost)

    def serve(self, cost: int, meanwhile: Callable[[], None]) -> None:
        """As `pop`, with a cost that is known afterwards."""
        if self.order.is_empty:
            return
        promised = self.order.next
        ticket = self.order.begin()
        require(ticket is promised, "`next` names what `begin` takes")
        self._take(ticket)
        meanwhile()
        self.order.end(cost)
        self._pay(ticket.path[0], cost)

    def _take(self, ticket: Ticket[int]) -> None:
        require(ticket is self.tickets[ticket.path].popleft(), "one path is first in, first out")
        self._taken += 1

    def _pay(self, user: str, cost: float) -> None:
        for other in self.busy:
            self._got[user, other] += cost / self._weights[user]
            self._compare(user, other)

    def charge(self, path: Path, cost: int) -> None:
        """Charge a user that waits, or any while nothing waits: one charge of that is a debt."""
        user = path[0]
        if not self.order.is_empty and user not in self.busy:
            return
        self.order.charge(path, cost)
        self.has_charges = True
        for other in self._weights:
            self._got[user, other] += cost / self._weights[user]

    def check(self) -> None:
        waiting = sum(map(len, self.tickets.values()))
        require(len(self.order) == waiting, "the length is what waits")
        require(self.order.is_empty == (not waiting), "empty means that nothing waits")
        require(self._put == waiting + self._taken + self._gone, "nothing is lost or doubled")
        require(set(self.order.users) == self.busy, "the users are those that wait")

    def drain(self) -> None:
        """Whatever waits is served: the order ends."""
        for _ in range(len(self.order)):
            self.pop()
        self.check()
        require(self.order.is_empty, "all is served")

    def _restart(self, user: str) -> None:
        for other in self._weights:
            self._got[user, other] = self._got[other, user] = 0

    def _compare(self, user: str, other: str) -> None:
        """While both wait, neither gets ahead of the other by more than an entry of each."""
        if user == other or user not in self.busy or other not in self.busy:
            return
        ahead = self._got[user, other] - self._got[other, user]
        entries = 2 if self.has_charges else 1
        most = entries * (MAX_COST / self._weights[user] + MAX_COST / self._weights[other])
        require(ahead <= most + 1e-9, f"{user} is not {ahead} ahead of {other}")


def require(holds: bool, promise: str) -> None:
    if not holds:
        raise FairnessBroken(promise)


def some_path(choose: random.Random, users: str) -> Path:
    return (choose.choice(users), choose.choice("st"), choose.choice("xy"))


def change(watched: WatchedOrder, choose: random.Random, users: str) -> None:
    """What may happen while an entry is served: others come and go."""
    for _ in range(choose.randrange(4)):
        if choose.random() < 0.5:
            watched.put(some_path(choose, users), choose.randint(1, MAX_COST))
        else:
            watched.remove(some_path(choose, users), choose.randrange(8))


def run_history(seed: int, steps: int = 24) -> None:
    """One history.

    :param seed: makes its choices.
    :param steps: how many there are before all is drained.
    :raises FairnessBroken: with the promise that was broken.
    """
    choose = random.Random(seed)
    users = "abcd"[: choose.randint(1, 4)]
    watched = WatchedOrder({user: choose.choice((1.0, 1.0, 2.0, 0.5)) for user in users})
    has_charges = choose.random() < 0.3
    for _ in range(steps):
        path = some_path(choose, users)
        step = choose.random()
        if step < 0.5:
            watched.put(path, choose.randint(1, MAX_COST))
        elif step < 0.7:
            watched.pop()
        elif step < 0.85:
            watched.serve(choose.randint(1, MAX_COST), lambda: change(watched, choose, users))
        elif step < 0.95 or not has_charges:
            watched.remove(path, choose.randrange(8))
        else:
            watched.charge(path, choose.randint(1, MAX_COST))
    watched.check()
    watched.drain()


def main(histories: int) -> None:
    """Run so many histories, each with its number as the seed."""
    for seed in range(histories):
        try:
            run_history(seed)
        except AssertionError as problem:
            sys.exit(f"history {seed}: {problem!r}")
    print(f"{histories} histories")  # noqa: T201 - the result


if __name__ == "__main__":
    main(int(sys.argv[1]) if sys.argv[1:] else 1_000_000)
