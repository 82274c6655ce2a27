"""The users of one users.ini, held in memory.

Knows: a mapping from names to users.
Must not know: where it came from.
"""

from __future__ import annotations

from collections.abc import Mapping

from sftpgw.values import User


class StaticUserDirectory:
    """A `UserDirectory` that never changes."""

    def __init__(self, users: Mapping[str, User]) -> None:
        self._users = dict(users)

    async def find(self, name: str) -> User | None:
        return self._users.get(name)
