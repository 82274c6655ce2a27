"""The avatar provides Conch's interface of an avatar."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.conch.error import ConchError
from twisted.conch.interfaces import IConchUser
from zope.interface.verify import verifyObject

from sftpgw.ssh.avatar import GatewayAvatar
from sftpgw.testing.ssh_pairs import RecordingSubsystem


def test_the_avatar_is_a_conch_user() -> None:
    avatar: Any = GatewayAvatar({})
    assert verifyObject(IConchUser, avatar)


def test_each_lookup_makes_a_new_subsystem() -> None:
    avatar = GatewayAvatar({b"sftp": RecordingSubsystem})
    one, two = avatar.lookupSubsystem(b"sftp"), avatar.lookupSubsystem(b"sftp")
    assert isinstance(one, RecordingSubsystem)
    assert one is not two
    assert avatar.lookupSubsystem(b"shell") is None


def test_only_sessions_are_opened() -> None:
    avatar = GatewayAvatar({})
    assert avatar.lookupChannel(b"session", 1, 2, b"").remoteMaxPacket == 2
    with pytest.raises(ConchError):
        avatar.lookupChannel(b"direct-tcpip", 1, 2, b"")


def test_logout_is_passed_on() -> None:
    told: list[str] = []
    GatewayAvatar({}, lambda: told.append("bye")).logout()
    assert told == ["bye"]
