"""The requests about bans: ``bans`` lists them, ``unban`` ends them.

Knows: the lockout, and what an operator who ends a ban expects.
Must not know: lines or sockets.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any

from sftpgw.auth.lockout.lockout import MAX_LISTED_BANS, Ban, Lockout
from sftpgw.control.control_lines import ControlError
from sftpgw.control.control_server import Handler
from sftpgw.model.events import EventSink
from sftpgw.model.events.session_events import Unbanned


class BanRequests:
    """Answers them.

    :param lockout: has the bans.
    :param forgive: ends the penalties of an address, or of a /64: a login would fail for them too.
    :param events: is told of each ban that is ended.
    """

    def __init__(self, lockout: Lockout, forgive: Callable[[str], None], events: EventSink) -> None:
        self._lockout = lockout
        self._forgive = forgive
        self._events = events

    @property
    def handlers(self) -> Mapping[str, Handler]:
        """What answers each request, by its name."""
        return {"bans": self.list_bans, "unban": self.unban}

    async def list_bans(self, arguments: Mapping[str, Any]) -> Any:
        """A page of the bans that are in force.

        :param arguments: ``first`` is the index of the first ban that is wanted.
        """
        first = arguments.get("first", 0)
        if not isinstance(first, int) or first < 0:
            raise ControlError("first is not a number from 0 on")
        count, bans = self._lockout.bans(first, MAX_LISTED_BANS)
        return {"bans": _told(bans), "count": count}

    async def unban(self, arguments: Mapping[str, Any]) -> Any:
        """End the bans and penalties of an address, or the bans of a user.

        :param arguments: ``name`` is the address or the user.
        """
        name = arguments.get("name")
        if not isinstance(name, str) or not name:
            raise ControlError("name is neither an address nor a user")
        ended = self._lockout.unban(name)
        for address in {name, *(ban.address for ban in ended)}:
            self._forgive(address)
        for ban in ended:
            self._events.emit(Unbanned(address=ban.address, user=ban.user or None))
        return {"ended": _told(ended)}


def _told(bans: list[Ban]) -> list[dict[str, Any]]:
    return [asdict(ban) for ban in bans]
