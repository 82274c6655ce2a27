"""What one user may have at once, over all connections, and what it counts for in memory."""

from __future__ import annotations

import pytest

from sftpgw.files.renames.directory_rename import PAGE_BYTES
from sftpgw.model.settings import LimitSettings, SshSettings
from sftpgw.model.units import MIB
from sftpgw.model.users import User
from sftpgw.sftp.handles import FIRST_HANDLES, HANDLE_BYTES
from sftpgw.sftp.pending_requests import (
    FREE_PENDING_BYTES,
    MAX_PENDING,
    PENDING_BYTES,
    PENDING_LOT_BYTES,
)
from sftpgw.testing.sftp_sessions import CREATE, GatewayInMemory, SftpClient, SftpFailure
from sftpgw.testing.ssh_pairs import SubsystemRefused
from sftpgw.wire import sftp as wire
from sftpgw.wire.sftp import Kind, OpenFlag, Status

BOB = User.with_home("bob", "bucket", "home/bob/")


def refusal(client: SftpClient, request: wire.Request) -> str:
    with pytest.raises(SftpFailure) as caught:
        client.ask(request)
    assert caught.value.code is Status.FAILURE
    return caught.value.message


class TestHandles:
    def test_all_sessions_of_a_user_share_them(self) -> None:
        gateway = GatewayInMemory(limits=LimitSettings(handles_per_user=3))
        first, second = gateway.log_in(), gateway.log_in()
        handles = [first.open(b"/a", CREATE), second.open(b"/b", CREATE)]
        directory = second.on_path(Kind.OPENDIR, b"/").body
        for request in (wire.Open(0, b"/c", CREATE, {}), wire.OnPath(Kind.OPENDIR, 0, b"/")):
            assert "[limits] handles_per_user" in refusal(first, request)
        assert gateway.log_in(BOB).open(b"/c", CREATE)  # another user
        second.close(directory)
        first.open(b"/c", CREATE)
        assert handles

    def test_those_of_a_lost_connection_come_back(self) -> None:
        gateway = GatewayInMemory(limits=LimitSettings(handles_per_user=3))
        first = gateway.log_in()
        for name in (b"/a", b"/b", b"/c"):
            first.open(name, CREATE)
        first.pair.drop()
        gateway.assert_idle()
        assert len(gateway.counts) == 0
        second = gateway.log_in()
        for name in (b"/a", b"/b", b"/c"):
            second.open(name, CREATE)

    def test_an_open_that_fails_or_ends_after_its_client_gives_its_own_back(self) -> None:
        gateway = GatewayInMemory(limits=LimitSettings(handles_per_user=2))
        client = gateway.log_in()
        for _ in range(3):
            with pytest.raises(SftpFailure):
                client.open(b"/missing", OpenFlag.READ)
        gate = gateway.store.hold("head")
        client.send(wire.Open(0, b"/a", OpenFlag.WRITE | OpenFlag.CREAT, {}))
        client.pair.drop()
        gate.open()
        gateway.assert_idle()
        assert len(gateway.counts) == 0

    def test_a_session_names_its_own_limit(self) -> None:
        client = GatewayInMemory(ssh=SshSettings(handles_per_session=1)).log_in()
        client.open(b"/a", CREATE)
        assert "[ssh] handles_per_session" in refusal(client, wire.Open(0, b"/b", CREATE, {}))

    def test_each_but_the_first_ones_counts_in_the_budget(self) -> None:
        gateway = GatewayInMemory()
        client = gateway.log_in()
        handles = [client.open(b"/%d" % number, CREATE) for number in range(100)]
        assert gateway.budget.held_bytes == (100 - FIRST_HANDLES) * HANDLE_BYTES
        for handle in handles[FIRST_HANDLES:]:
            client.close(handle)
        gateway.assert_idle()
        client.open(b"/x", CREATE)
        assert gateway.budget.held_bytes == HANDLE_BYTES
        client.pair.drop()
        gateway.assert_idle()

    def test_without_memory_only_the_first_ones_of_a_session_are_opened(self) -> None:
        gateway = GatewayInMemory(limits=LimitSettings(memory_bytes=16 * MIB))
        client = gateway.log_in()
        gateway.budget.charge(2 * 16 * MIB)
        for number in range(FIRST_HANDLES):
            client.open(b"/%d" % number, CREATE)
        assert "[limits] memory" in refusal(client, wire.Open(0, b"/x", CREATE, {}))
        gateway.budget.release(2 * 16 * MIB)
        client.open(b"/x", CREATE)


class TestSessions:
    def test_all_connections_of_a_user_share_them(self) -> None:
        gateway = GatewayInMemory(limits=LimitSettings(sessions_per_user=3))
        first, second = gateway.log_in(), gateway.log_in()
        third = first.pair.open_subsystem()
        for client in (first, second):
            with pytest.raises(SubsystemRefused, match=r"\[limits\] sessions_per_user"):
                client.pair.open_subsystem()
        gateway.log_in(BOB)
        third.close()
        first.pair.pump()
        second.pair.open_subsystem()

    def test_those_of_a_lost_connection_come_back(self) -> None:
        gateway = GatewayInMemory(limits=LimitSettings(sessions_per_user=2))
        for _ in range(3):
            client = gateway.log_in()
            client.pair.open_subsystem()
            client.pair.drop()
        assert len(gateway.counts) == 0

    def test_commands_count_as_well(self) -> None:
        gateway = GatewayInMemory(limits=LimitSettings(sessions_per_user=1))
        gateway.open_command(b"pwd")
        assert len(gateway.counts) == 0
        gateway.log_in()
        with pytest.raises(SubsystemRefused):
            gateway.open_command(b"pwd")

    def test_a_connection_names_its_own_limit(self) -> None:
        client = GatewayInMemory(ssh=SshSettings(sessions_per_connection=1)).log_in()
        with pytest.raises(SubsystemRefused, match=r"\[ssh\] sessions_per_connection"):
            client.pair.open_subsystem()


class TestPendingRequests:
    def test_more_than_a_few_count_in_the_budget_until_they_are_answered(self) -> None:
        gateway = GatewayInMemory()
        client = gateway.log_in()
        gate = gateway.store.hold("head")
        few = FREE_PENDING_BYTES // PENDING_BYTES
        sent = [client.send(wire.OnPath(Kind.STAT, 0, b"/a")) for _ in range(few)]
        assert gateway.budget.held_bytes == 0
        sent += [client.send(wire.OnPath(Kind.STAT, 0, b"/a")) for _ in range(MAX_PENDING)]
        assert gate.waiting == MAX_PENDING
        held_bytes = FREE_PENDING_BYTES + gateway.budget.held_bytes
        assert 0 <= held_bytes - MAX_PENDING * PENDING_BYTES < PENDING_LOT_BYTES
        gate.open()
        client.pump()
        assert sorted(client.replies) == sent
        gateway.assert_idle()

    def test_without_memory_requests_wait_in_the_window_and_none_is_lost(self) -> None:
        gateway = GatewayInMemory(limits=LimitSettings(memory_bytes=16 * MIB))
        client = gateway.log_in()
        gateway.budget.charge(2 * 16 * MIB)
        gate = gateway.store.hold("head")
        sent = [client.send(wire.OnPath(Kind.STAT, 0, b"/a")) for _ in range(100)]
        assert gate.waiting == 1 + FREE_PENDING_BYTES // PENDING_BYTES
        gate.open()
        client.pump()
        assert sorted(client.replies) == sent
        gateway.budget.release(2 * 16 * MIB)
        gateway.assert_idle()

    def test_those_of_a_lost_channel_count_until_they_have_ended(self) -> None:
        gateway = GatewayInMemory()
        client = gateway.log_in()
        gate = gateway.store.hold("head")
        for _ in range(100):
            client.send(wire.OnPath(Kind.STAT, 0, b"/a"))
        client.pair.drop()
        assert gateway.budget.held_bytes > 0
        gate.open()
        gateway.assert_idle()


def test_a_page_of_a_directory_rename_counts_and_without_memory_there_is_none() -> None:
    gateway = GatewayInMemory(limits=LimitSettings(memory_bytes=16 * MIB))
    gateway.store.seed("home/alice/d/a", b"x")
    client = gateway.log_in()
    gate = gateway.store.hold("copy")
    renaming = client.send(wire.OnTwoPaths(Kind.RENAME, 0, b"/d", b"/e"))
    assert gateway.budget.held_bytes == PAGE_BYTES
    gate.open()
    client.pump()
    assert client.replies[renaming].code is Status.OK
    gateway.assert_idle()
    gateway.budget.charge(2 * 16 * MIB)
    assert "[limits] memory" in refusal(client, wire.OnTwoPaths(Kind.RENAME, 0, b"/e", b"/f"))
