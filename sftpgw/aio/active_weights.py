"""The users that share something now, and which part of it is a user's own.

Knows: how often each user takes part, and the sum of the weights. Must not know: what is shared.

The sum is kept up to date, so that a question costs the same for any number of users.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable


class ActiveWeights:
    """The users that take part.

    :param weight_of: returns the weight of a user. It is asked once while a user takes part.
    """

    def __init__(self, weight_of: Callable[[str], float]) -> None:
        self._weight_of = weight_of
        self._counts: Counter[str] = Counter()
        self._weights: dict[str, float] = {}
        self._sum = 0.0

    def __getitem__(self, user: str) -> int:
        """How often a user takes part: `add` less `remove`."""
        return self._counts[user]

    def add(self, user: str) -> None:
        """A user takes part once more.

        :param user: the user's name.
        """
        if user not in self._weights:
            weight = self._weights[user] = self._weight_of(user)
            self._sum += weight
        self._counts[user] += 1

    def remove(self, user: str) -> None:
        """A user takes part once less.

        :param user: the user's name.
        """
        self._counts[user] -= 1
        if not self._counts[user]:
            del self._counts[user]
            weight = self._weights.pop(user)
            # The sum is exact again when no user is left, whatever the rounding was.
            self._sum = self._sum - weight if self._weights else 0.0

    def weight(self, user: str) -> float:
        """The weight of a user, whether the user takes part or not.

        :param user: the user's name.
        """
        weight = self._weights.get(user)
        return self._weight_of(user) if weight is None else weight

    def share(self, user: str, whole: float) -> float:
        """How much of `whole` is a user's: all of it for one who is alone.

        :param user: the user's name. One who does not take part is told what it would be.
        :param whole: what is shared.
        """
        weight = self._weights.get(user)
        if weight is not None:
            return self.part(weight, whole)
        weight = self._weight_of(user)
        return whole * weight / (self._sum + weight)

    def part(self, weight: float, whole: float) -> float:
        """How much of `whole` falls to a user with this weight, who takes part.

        :param weight: the user's weight; one user at least must take part.
        :param whole: what is shared.
        """
        return whole * weight / self._sum
