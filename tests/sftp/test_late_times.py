"""Times that clients set when they have closed a file: how many versions that makes of it."""

from __future__ import annotations

import pytest

from sftpgw.model.mounts import ALL_PERMISSIONS, Permission
from sftpgw.model.settings import FilesSettings, LateTimes, StoreSettings
from sftpgw.model.store import ObjectName
from sftpgw.model.units import KIB
from sftpgw.testing.other_users import with_mount
from sftpgw.testing.sftp_sessions import ALICE, CREATE, GatewayInMemory, SftpClient, SftpFailure
from sftpgw.wire import sftp as wire
from sftpgw.wire.sftp import Kind, Status

LONG_AGO = 1_500_000_000
NAME = ObjectName("bucket", "home/alice/f")
TIMES = {"atime": LONG_AGO, "mtime": LONG_AGO}


def gateway_with(
    late_times: LateTimes = LateTimes.APPLY, wait_seconds: float = 0.0
) -> GatewayInMemory:
    files = FilesSettings(late_times=late_times, late_times_wait_seconds=wait_seconds)
    return GatewayInMemory(
        settings=StoreSettings(bucket="bucket", part_size_bytes=64 * KIB),
        files=files,
        holds_closes=True,
    )


def begun(client: SftpClient, data: bytes = b"data") -> bytes:
    handle = client.open(b"/f", CREATE)
    if data:
        client.write(handle, 0, data)
    return handle


def close(handle: bytes) -> wire.OnHandle:
    return wire.OnHandle(Kind.CLOSE, 0, handle)


def set_times(path: bytes = b"/f", **more: int) -> wire.ChangePath:
    return wire.ChangePath(Kind.SETSTAT, 0, path, {**TIMES, **more})


def pipelined(client: SftpClient, *requests: wire.Request) -> list[int]:
    """Their ids; all are sent in one packet, and time is given to each wait."""
    ids = client.send_together(*requests)
    settle(client)
    return ids


def settle(client: SftpClient, seconds: float = 0.0) -> None:
    for _ in range(3):
        client.pair.clock.advance(seconds)
        client.pump()


def mtime(gateway: GatewayInMemory) -> str | None:
    return gateway.store.objects[NAME].properties.metadata.get("mtime")


class TestRightBehindClose:
    """As WinSCP does with what it does not upload under another name."""

    @pytest.mark.parametrize("late_times", [LateTimes.APPLY, LateTimes.DEFER])
    @pytest.mark.parametrize("data", [b"data", b""])
    def test_a_time_right_behind_close_makes_one_version(
        self, late_times: LateTimes, data: bytes
    ) -> None:
        gateway = gateway_with(late_times)
        client = gateway.log_in()
        handle = begun(client, data)
        for request_id in pipelined(client, close(handle), set_times(b"//./f")):
            client.answer(request_id)
        assert mtime(gateway) == str(LONG_AGO)
        assert (gateway.store.requests["put"], gateway.store.requests["copy"]) == (1, 0)
        assert client.stat(b"/f")["mtime"] == LONG_AGO
        gateway.assert_idle()

    def test_close_waits_for_a_time_in_a_packet_of_its_own(self) -> None:
        gateway = gateway_with(wait_seconds=0.02)
        client = gateway.log_in()
        closing = client.send(close(begun(client)))
        client.pair.clock.advance(0.01)
        client.pump()
        assert closing not in client.replies
        setting = client.send(set_times())
        client.answer(closing)
        client.answer(setting)
        assert mtime(gateway) == str(LONG_AGO)
        assert gateway.store.requests["copy"] == 0

    @pytest.mark.parametrize("wait_seconds", [0.0, 0.02])
    def test_close_waits_for_a_time_only_so_long(self, wait_seconds: float) -> None:
        gateway = gateway_with(wait_seconds=wait_seconds)
        client = gateway.log_in()
        closing = client.send(close(begun(client)))
        assert (closing in client.replies) is (wait_seconds == 0)
        settle(client, wait_seconds)
        client.answer(closing)
        client.ask(set_times())
        assert mtime(gateway) == str(LONG_AGO)
        assert gateway.store.requests["copy"] == 1

    def test_any_other_request_ends_the_wait(self) -> None:
        gateway = gateway_with(wait_seconds=5.0)
        client = gateway.log_in()
        closing = client.send(close(begun(client)))
        assert client.stat(b"/f")["size"] == 4
        client.answer(closing)
        assert gateway.store.requests["put"] == 1

    @pytest.mark.parametrize(
        "behind", [set_times(b"/g"), set_times(size=2), wire.OnPath(Kind.REMOVE, 0, b"/f")]
    )
    def test_other_requests_are_not_taken_for_the_time(self, behind: wire.Request) -> None:
        gateway = gateway_with(wait_seconds=5.0)
        gateway.store.seed("home/alice/g", b"another")
        client = gateway.log_in()
        ids = pipelined(client, close(begun(client)), behind)
        for request_id in ids:
            client.answer(request_id)
        if isinstance(behind, wire.OnPath):
            assert NAME not in gateway.store.objects
        elif behind.path == b"/g":
            assert mtime(gateway) is None
        else:
            assert gateway.store.content(NAME.key) == b"da"

    def test_a_file_that_was_renamed_is_known_by_its_new_name(self) -> None:
        gateway = gateway_with()
        client = gateway.log_in()
        handle = client.open(b"/f.part", CREATE)
        client.write(handle, 0, b"data")
        client.rename(b"/f.part", b"/f")
        for request_id in pipelined(client, close(handle), set_times()):
            client.answer(request_id)
        assert (mtime(gateway), gateway.store.requests["copy"]) == (str(LONG_AGO), 0)

    def test_a_user_without_setstat_sets_no_times(self) -> None:
        gateway = gateway_with()
        client = gateway.log_in(
            with_mount(ALICE, permissions=ALL_PERMISSIONS & ~Permission.SETSTAT)
        )
        closing, setting = pipelined(client, close(begun(client)), set_times())
        client.answer(closing)
        with pytest.raises(SftpFailure) as caught:
            client.answer(setting)
        assert caught.value.code is Status.PERMISSION_DENIED
        assert mtime(gateway) is None

    @pytest.mark.parametrize("ends", ["drop", "eof"])
    def test_a_client_that_is_gone_had_closed_its_file(self, ends: str) -> None:
        gateway = gateway_with(wait_seconds=5.0)
        client = gateway.log_in()
        client.send(close(begun(client)))
        if ends == "drop":
            client.drop()
        else:
            client.channel.send_eof()
            client.pump()
        assert gateway.store.content(NAME.key) == b"data"

    @pytest.mark.parametrize("what", ["timed", "large", "read", "unchanged"])
    def test_a_close_that_no_time_can_follow_is_not_held(self, what: str) -> None:
        gateway = gateway_with(wait_seconds=5.0)
        gateway.store.seed("home/alice/g", b"there")
        client = gateway.log_in()
        if what == "timed":
            handle = client.open(b"/f", CREATE, **TIMES)
        elif what == "large":
            handle = begun(client, bytes(100 * KIB))
        else:
            handle = client.open(b"/g", 1 if what == "read" else 2)
        client.close(handle)


class TestLater:
    """As FileZilla and rclone do: behind the answer to CLOSE, which tells that it is stored."""

    def test_an_applied_late_time_is_a_second_version(self) -> None:
        gateway = gateway_with(LateTimes.APPLY)
        client = self.uploaded(gateway)
        client.ask(set_times())
        assert (mtime(gateway), gateway.store.requests["copy"]) == (str(LONG_AGO), 1)

    def test_a_deferred_time_is_shown_and_not_stored(self) -> None:
        gateway = gateway_with(LateTimes.DEFER)
        client = self.uploaded(gateway)
        client.ask(set_times())
        assert (mtime(gateway), gateway.store.requests["copy"]) == (None, 0)
        for each in (client, gateway.log_in()):
            assert each.stat(b"/f")["mtime"] == LONG_AGO
            assert each.listed(b"/")[b"f"]["mtime"] == LONG_AGO
            handle = each.open(b"/f")
            assert each.ask(wire.OnHandle(Kind.FSTAT, 0, handle)).attributes["mtime"] == LONG_AGO
            each.close(handle)

    def test_a_deferred_time_follows_its_version_through_renames(self) -> None:
        gateway = gateway_with(LateTimes.DEFER)
        client = self.uploaded(gateway)
        client.ask(set_times())
        client.rename(b"/f", b"/g")
        assert client.stat(b"/g")["mtime"] == LONG_AGO
        client.put(b"/g", b"other")
        settle(client)
        assert client.stat(b"/g")["mtime"] != LONG_AGO

    def test_a_deferred_time_is_not_that_of_the_same_bytes_stored_anew(self) -> None:
        gateway = gateway_with(LateTimes.DEFER)
        client = self.uploaded(gateway)
        client.ask(set_times())
        client.close(begun(client))
        settle(client)
        assert client.stat(b"/f")["mtime"] != LONG_AGO

    def test_the_last_deferred_time_counts(self) -> None:
        gateway = gateway_with(LateTimes.DEFER)
        client = self.uploaded(gateway)
        for seconds in (5, 7):
            client.set_times(b"/f", seconds)
        assert client.stat(b"/f")["mtime"] == 7

    def test_an_ignored_late_time_is_accepted(self) -> None:
        gateway = gateway_with(LateTimes.IGNORE)
        client = self.uploaded(gateway)
        before = client.stat(b"/f")["mtime"]
        client.ask(set_times())
        assert (mtime(gateway), gateway.store.requests["copy"]) == (None, 0)
        assert client.stat(b"/f")["mtime"] == before
        with pytest.raises(SftpFailure) as caught:
            client.ask(set_times(b"/none"))
        assert caught.value.code is Status.NO_SUCH_FILE

    @pytest.mark.parametrize("late_times", LateTimes)
    def test_a_time_before_close_is_late_once_parts_were_sent(self, late_times: LateTimes) -> None:
        gateway = gateway_with(late_times)
        client = gateway.log_in()
        handle = begun(client, bytes(100 * KIB))
        client.ask(wire.ChangeHandle(0, handle, TIMES))
        client.close(handle)
        assert gateway.store.requests["copy"] == (late_times is LateTimes.APPLY)
        assert (client.stat(b"/f")["mtime"] == LONG_AGO) is (late_times is not LateTimes.IGNORE)

    @pytest.mark.parametrize("late_times", LateTimes)
    def test_a_time_with_the_open_is_not_late(self, late_times: LateTimes) -> None:
        gateway = gateway_with(late_times)
        client = gateway.log_in()
        handle = begun(client)
        client.ask(wire.ChangeHandle(0, handle, TIMES))
        client.close(handle)
        assert (mtime(gateway), gateway.store.requests["copy"]) == (str(LONG_AGO), 0)

    def uploaded(self, gateway: GatewayInMemory) -> SftpClient:
        client = gateway.log_in()
        closing = client.send(close(begun(client)))
        settle(client)
        client.answer(closing)
        return client
