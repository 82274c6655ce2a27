"""A table of users: each has an item with what a section of users.ini may have.

Knows: what a table is asked. Must not know: which table it is, or how it is read.

A table has hashes of passwords, and `auth.user_records` compares them: it is asked about a name,
and never about a password.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from sftpgw.auth.sources.questions import GivenUser, Question


class _Found(Protocol):
    @property
    def given(self) -> Mapping[str, str]: ...


class UserTable(Protocol):
    """Where the items are."""

    async def get(self, name: str, source: str) -> _Found | None:
        """What the table says of a user; None if it has none of this name.

        :param name: the user's name.
        :param source: the client's address or /64, which takes turns with others.
        :raises SourceAway: the table cannot be read.
        :raises BadAnswer: the item is none of a user.
        """


class TableAsker:
    """An `Asker` of a table.

    :param table: where the items are.
    """

    def __init__(self, table: UserTable) -> None:
        self._table = table

    async def ask(self, source: str, question: Question) -> GivenUser | None:
        """What the table says of a user; None if it does not know the name.

        :param source: the client's address or /64, which takes turns with others.
        :param question: what is asked; the table has no use for an address or a password.
        :raises SourceAway: the table cannot be read.
        :raises BadAnswer: the item makes no sense.
        """
        found = await self._table.get(question.name, source)
        return None if found is None else GivenUser(found.given)
