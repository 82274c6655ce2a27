"""The avatar: which channels a user who has logged in can open, and what runs on them.

Knows: the factories of subsystems and commands that it was given.
Must not know: what these do, or anything of the user but the name.
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

from sftpgw.aio.user_counts import UserCount
from sftpgw.model.events.session_events import SessionTotals
from sftpgw.model.memory import MemoryBudget, WindowBudget
from sftpgw.model.subsystem import CommandFactory, Subsystem, SubsystemFactory
from sftpgw.ssh.channel_pace import NO_LIMITS, SessionLimits
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
    """Opens session channels that run the given subsystems and commands, and nothing else.

    :param subsystems: their factories, by name.
    :param logout: called when the connection is gone.
    :param window_memory: the budget of the user's receive windows; None to count nothing.
    :param commands: makes what runs a command line; None to refuse all of them.
    :param output_memory: the budget for output that the client does not read; None to count
        nothing.
    :param totals: returns the session's totals for the log, when it ends.
    :param user_sessions: counts the channels of all connections of the user; None to count nothing.
    :param user: the user's name, under which work and windows are counted.
    :param limits: what the user's sessions may have together.
    """

    conn: Any = None

    def __init__(
        self,
        subsystems: Mapping[bytes, SubsystemFactory],
        logout: Callable[[], None] = lambda: None,
        window_memory: WindowBudget | None = None,
        commands: CommandFactory | None = None,
        output_memory: MemoryBudget | None = None,
        *,
        totals: Callable[[], SessionTotals] = SessionTotals,
        user_sessions: UserCount | None = None,
        user: str = "",
        limits: SessionLimits = NO_LIMITS,
    ) -> None:
        self.user = user
        self.limits = limits
        self.totals = totals
        self.user_sessions = user_sessions
        self.window_memory = window_memory
        self.output_memory = output_memory
        self._subsystems = subsystems
        self._commands = commands
        self._logout = logout

    def logout(self) -> None:
        """Tell the owner that the connection is gone."""
        self._logout()

    def lookupChannel(
        self, channelType: bytes, windowSize: int, maxPacket: int, data: bytes
    ) -> SessionChannel:
        """A new session channel.

        :raises ConchError: another kind of channel is asked for.
        """
        if channelType == b"session":
            return SessionChannel(remoteWindow=windowSize, remoteMaxPacket=maxPacket, avatar=self)
        if channelType in _FORWARDING:
            raise ConchError("forwarding is not allowed", OPEN_ADMINISTRATIVELY_PROHIBITED)
        raise ConchError("unknown channel type", OPEN_UNKNOWN_CHANNEL_TYPE)

    def lookupSubsystem(self, subsystem: bytes, data: bytes = b"") -> Any:
        """A new `Subsystem` of this name; None if there is none."""
        factory = self._subsystems.get(subsystem)
        return None if factory is None else factory()

    def lookup_command(self, line: bytes) -> Subsystem | None:
        """A new `Subsystem` that runs a command line; None if commands are refused."""
        return None if self._commands is None else self._commands(line)

    def gotGlobalRequest(self, requestType: bytes, data: bytes) -> int:
        """Refuse all global requests: port forwarding is not offered."""
        return 0
