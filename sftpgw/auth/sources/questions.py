"""What any source of users beside files is asked, and what it says.

Knows: nothing of services or servers: these are the values that they have in common.

Each answer becomes what a section of users.ini may have: names of keys, with their texts. So there
is one place that judges users, wherever they come from.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from sftpgw.errors import SourceAway


class AnswerUnusable(SourceAway):
    """A source has answered something else than a user. The text says what is wrong."""


@dataclass(frozen=True, slots=True)
class Question:
    """What a source is asked.

    :ivar name: the name of the user.
    :ivar address: the client's address; empty if it has none.
    :ivar password: the password that the source is to check; None if the user has a key.
    """

    name: str
    address: str
    password: bytes | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class GivenUser:
    """What a source says of a user.

    :ivar given: the texts of keys, as in a section of users.ini.
    :ivar role_arn: the role to assume for the user's files; empty for the gateway's own.
    :ivar session_policy: a policy that bounds the role; empty for none.
    :ivar groups: groups of the source; those count that users.ini has, in its order.
    """

    given: Mapping[str, str]
    role_arn: str = ""
    session_policy: str = field(default="", repr=False)
    groups: tuple[str, ...] = ()
