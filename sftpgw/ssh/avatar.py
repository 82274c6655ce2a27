"""The avatar: what a user who has logged in can open.

Knows: the subsystems that it was given, and what runs commands.
Must not know: what they do, or who the user is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from twisted.conch.error import ConchError
from twisted.conch.interfaces import IConchUser
from twisted.conch.ssh.connection import (
    OPEN_ADMINISTRATIVELY_PROHIBITED,
    OPEN_UNKNOWN_CHANNEL_TYPE,
)
from zope.interface import implementer

from sftpgw.model.events.session_events import SessionTotals
from sftpgw.model.memory import MemoryBudget
from sftpgw.model.subsystem import CommandFactory, Subsystem, SubsystemFactory
from sftpgw.ssh.channels import SessionChannel

_FORWARDING = frozenset(
    (
        b"direct-tcpip",
        b"forwarded-tcpip",
        b"direct-streamlocal@openssh.com",
        b"forwarded-streamlocal@openssh.com",
        b"tun@openssh.com",
        b"x11",
        b"auth-agent@openssh.com",
    )
)


@implementer(IConchUser)
class GatewayAvatar:
    """Session channels with these `subsystems`, by name, and commands; nothing else.

    :param commands: what runs a command line; None if every one is refused.
    :param window_memory: what all receive windows may hold; None if that is not counted.
    :param answer_memory: what answers are counted in that the client does not read.
    :param totals: what the session has done, for the log, when it ends.
    """

    conn: Any = None

    def __init__(
        self,
        subsystems: Mapping[bytes, SubsystemFactory],
        logout: Callable[[], None] = lambda: None,
        window_memory: MemoryBudget | None = None,
        commands: CommandFactory | None = None,
        answer_memory: MemoryBudget | None = None,
        *,
        totals: Callable[[], SessionTotals] = SessionTotals,
    ) -> None:
        self.totals = totals
        self.window_memory = window_memory
        self.answer_memory = answer_memory
        self._subsystems = subsystems
        self._commands = commands
        self._logout = logout

    def logout(self) -> None:
        """The connection is gone."""
        self._logout()

    def lookupChannel(
        self, channelType: bytes, windowSize: int, maxPacket: int, data: bytes
    ) -> SessionChannel:
        """:raises ConchError: for every channel that is not a session."""
        if channelType == b"session":
            return SessionChannel(remoteWindow=windowSize, remoteMaxPacket=maxPacket, avatar=self)
        if channelType in _FORWARDING:
            raise ConchError("forwarding is not allowed", OPEN_ADMINISTRATIVELY_PROHIBITED)
        raise ConchError("unknown channel type", OPEN_UNKNOWN_CHANNEL_TYPE)

    def lookupSubsystem(self, subsystem: bytes, data: bytes = b"") -> Any:
        """A new `Subsystem` of this name, or None."""
        factory = self._subsystems.get(subsystem)
        return None if factory is None else factory()

    def lookup_command(self, line: bytes) -> Subsystem | None:
        """A new `Subsystem` that runs a command line, or None."""
        return None if self._commands is None else self._commands(line)

    def gotGlobalRequest(self, requestType: bytes, data: bytes) -> int:
        """Nothing is granted: port forwarding is all there is to ask for."""
        return 0
