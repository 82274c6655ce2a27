"""How much is stored at a place, and which keys are at which place.

Knows: what counts as a file.
Must not know: quotas, who stores something.

Rules

1. A place is all keys of a bucket that begin with a prefix, but for the gateway's own.
2. A key that ends with a slash is the marker of a directory, and no file. If it has bytes, they
   count.
3. A suspended upload counts as a file of the size of its parts, as long as it is kept.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from sftpgw.model.store import ObjectName


class Usage(NamedTuple):
    """Bytes and files that are stored, or a difference of two such figures.

    :ivar size_bytes: how many bytes.
    :ivar files: how many files.
    """

    size_bytes: int = 0
    files: int = 0

    def __add__(self, other: Usage) -> Usage:  # type: ignore[override]
        return Usage(self[0] + other[0], self[1] + other[1])

    def __sub__(self, other: Usage) -> Usage:
        return Usage(self[0] - other[0], self[1] - other[1])

    def __bool__(self) -> bool:
        return self[0] != 0 or self[1] != 0

    @property
    def at_least_nothing(self) -> Usage:
        """The same without negative figures: nothing is stored less than not at all."""
        return self if self[0] >= 0 <= self[1] else Usage(max(0, self[0]), max(0, self[1]))


NOTHING_STORED = Usage()


@dataclass(frozen=True, slots=True)
class Place:
    """A prefix of a bucket whose objects are counted together.

    :ivar bucket: the bucket.
    :ivar prefix: what the keys begin with; empty for the whole bucket.
    :ivar state_prefix: the prefix of the gateway's own keys, which do not count.
    """

    bucket: str
    prefix: str
    state_prefix: str
    _hash: int = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        # It is looked up several times for each file.
        object.__setattr__(self, "_hash", hash((self.bucket, self.prefix, self.state_prefix)))

    def __hash__(self) -> int:
        return self._hash

    def holds(self, name: ObjectName) -> bool:
        """Whether an object is at this place.

        :param name: the object.
        """
        return (
            name.key.startswith(self.prefix)
            and name.bucket == self.bucket
            and not name.key.startswith(self.state_prefix)
        )

    def is_inside(self, other: Place) -> bool:
        """Whether all that is at this place is at another one, too.

        :param other: the other place.
        """
        return self.bucket == other.bucket and self.prefix.startswith(other.prefix)


def usage_of(key: str, size_bytes: int) -> Usage:
    """What one object counts.

    :param key: its key.
    :param size_bytes: its size.
    """
    return Usage(size_bytes, 0 if key.endswith("/") else 1)


def outermost(places: tuple[Place, ...]) -> tuple[Place, ...]:
    """Those of some places that are not inside another one of them.

    :param places: the places, in any order.
    """
    found: list[Place] = []
    for place in sorted(dict.fromkeys(places), key=lambda each: (each.bucket, each.prefix)):
        # A prefix sorts before all that begins with it.
        if not (found and place.is_inside(found[-1])):
            found.append(place)
    return tuple(found)
