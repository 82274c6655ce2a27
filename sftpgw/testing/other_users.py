"""Users for tests, made of others."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from sftpgw.model.users import User


def with_mount(user: User, **changes: Any) -> User:
    """The same user, whose first mount has other values.

    :param user: the user.
    :param changes: fields of `Mount`.
    """
    home, *others = user.mounts
    return replace(user, mounts=(replace(home, **changes), *others))
