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

from dataclasses import dataclass

from sftpgw.model.store import ObjectName


@dataclass(frozen=True, slots=True)
class Usage:
    """Bytes and files that are stored, or a difference of two such figures.

    :ivar size_bytes: how many bytes.
    :ivar files: how many files.
    """

    size_bytes: int = 0
    files: int = 0

    def __add__(self, other: Usage) -> Usage:
        return Usage(self.size_bytes + other.size_bytes, self.files + other.files)

    def __sub__(self, other: Usage) -> Usage:
        return Usage(self.size_bytes - other.size_bytes, self.files - other.files)

    def __bool__(self) -> bool:
        return self != NOTHING_STORED

    @property
    def at_least_nothing(self) -> Usage:
        """The same without negative figures: nothing is stored less than not at all."""
        return Usage(max(0, self.size_bytes), max(0, self.files))


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
