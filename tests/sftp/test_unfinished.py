"""What channels leave when they end, and how much of it a user may have."""

from __future__ import annotations

from typing import Any

from sftpgw.model.users import User
from sftpgw.sftp.unfinished import MAX_UNFINISHED, Unfinished
from sftpgw.testing.sftp_requests import encode_request
from sftpgw.testing.sftp_sessions import GatewayInMemory
from sftpgw.wire import sftp as wire
from sftpgw.wire.sftp import Kind
from tests.in_memory import gateway

__all__ = ["gateway"]

AT_ONCE = 256


def test_lookups_of_channels_that_come_and_go_are_bounded(gateway: GatewayInMemory) -> None:
    """A client closes its channel before the store responds, and opens the next one."""
    gate = gateway.store.hold("head")
    stats = [wire.OnPath(Kind.STAT, 0, b"/%d" % number) for number in range(AT_ONCE)]
    clients = [gateway.log_in() for _ in range(3 * MAX_UNFINISHED // AT_ONCE)]
    for client in clients:
        client.send_together(*stats)
        client.drop()
    assert gate.waiting == MAX_UNFINISHED
    gate.open()
    gateway.assert_idle()


def test_changes_that_go_on_are_bounded_and_later_ones_wait(gateway: GatewayInMemory) -> None:
    gate = gateway.store.hold("put")
    clients = [gateway.log_in() for _ in range(3 * MAX_UNFINISHED // AT_ONCE)]
    for folder, client in enumerate(clients):
        client.send_together(
            *[
                wire.ChangePath(Kind.MKDIR, 0, b"/%d-%d" % (folder, number), {})
                for number in range(AT_ONCE)
            ]
        )
        client.drop()
    assert gate.waiting == MAX_UNFINISHED
    later, leaves = gateway.log_in(greet=False), gateway.log_in(greet=False)
    other = gateway.log_in(User.with_home("bob", "bucket", "home/bob/"))
    for client in (later, leaves):
        client.transmit(encode_request(wire.Init(3)))
        assert not client.replies
    leaves.drop()
    assert other.listdir(b"/") == []
    gate.open()
    later.pump()
    assert later.replies
    gateway.assert_idle()


def test_a_channel_that_fails_to_go_on_keeps_no_other_from_it(logged_failures: Any) -> None:
    def broken() -> None:
        raise RuntimeError("a defect")

    unfinished, gone_on = Unfinished(), list[str]()
    unfinished.add(MAX_UNFINISHED)
    unfinished.wait(broken)
    unfinished.wait(lambda: gone_on.append("next"))
    unfinished.end_one()
    (failure,), logged_failures.found = logged_failures.found, []
    assert "a defect" in failure
    assert gone_on == ["next"]
