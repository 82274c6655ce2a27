"""The users of one users.ini, held in memory.

Knows: a mapping from names to users.
Must not know: where it came from.
"""

from __future__ import annotations

from collections.abc import Mapping

from sftpgw.model.normalization import normalized
from sftpgw.model.users import User


class StaticUserDirectory:
    """A `UserDirectory` that never changes. Names are found in any spelling."""

    def __init__(self, users: Mapping[str, User]) -> None:
        self._users = {normalized(name): user for name, user in users.items()}

    async def find(self, name: str) -> User | None:
        return self._users.get(normalized(name))
