"""The store that all sessions share, and of which each has a view."""

from __future__ import annotations

from typing import Protocol

from sftpgw.model.object_settings import ObjectTable
from sftpgw.model.store import ObjectStore
from sftpgw.model.users import User


class SharedStore(ObjectStore, Protocol):
    """The store that all sessions share."""

    def bind(
        self, objects: ObjectTable | None = None, *, owner: User | None = None, **context: str
    ) -> ObjectStore:
        """The same store, whose events carry `context`: the session, the user.

        :param objects: how objects of the session's mounts are stored; None: as their stores say.
        :param owner: whose session it is, for its credentials; None: the gateway's own sign.
        :param context: fields of events.
        """
