"""Requests sent in one flight: what touches the same path is carried out in order."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sftpgw.files.lookup import CLOSE_WAIT_SECONDS
from sftpgw.model.settings import FilesSettings, StoreSettings
from sftpgw.model.units import KIB
from sftpgw.sftp.pending_requests import MAX_PENDING
from sftpgw.testing.fake_store import FakeStore
from sftpgw.testing.sftp_sessions import CREATE, GatewayInMemory, SftpClient, SftpFailure, SftpReply
from sftpgw.testing.store_faults import Gate
from sftpgw.wire import sftp as wire
from sftpgw.wire.sftp import Kind, OpenFlag, Status
from tests.sftp.test_protocol import take_all_memory

HOME = "home/alice/"
APPEND = OpenFlag.WRITE | OpenFlag.CREAT | OpenFlag.APPEND
OK, MISSING, REFUSED = Status.OK, Status.NO_SUCH_FILE, Status.FAILURE


def seed(gateway: GatewayInMemory, **contents: bytes) -> None:
    for name, data in contents.items():
        gateway.store.seed(HOME + name.replace("__", "/"), data)


def stored(gateway: GatewayInMemory) -> dict[str, bytes]:
    return {name.key.removeprefix(HOME): held.data for name, held in gateway.store.objects.items()}


def on_path(kind: Kind, path: bytes) -> wire.OnPath:
    return wire.OnPath(kind, 0, path)


def mkdir(path: bytes) -> wire.ChangePath:
    return wire.ChangePath(Kind.MKDIR, 0, path, {})


def rename(old: bytes, new: bytes) -> wire.OnTwoPaths:
    return wire.OnTwoPaths(Kind.RENAME, 0, old, new)


def posix_rename(old: bytes, new: bytes) -> wire.Extended:
    data = wire.string(old) + wire.string(new)
    return wire.Extended(0, b"posix-rename@openssh.com", data)


def opening(path: bytes, flags: int = CREATE) -> wire.Open:
    return wire.Open(0, path, flags, {})


def closing(handle: bytes) -> wire.OnHandle:
    return wire.OnHandle(Kind.CLOSE, 0, handle)


def code(reply: SftpReply) -> Status:
    """OK for an answer that is no STATUS."""
    return OK if reply.code is None else reply.code


def codes(client: SftpClient, sent: list[int]) -> list[Status]:
    return [code(client.replies[request_id]) for request_id in sent]


ALL = ("head", "get", "put", "delete", "copy", "list")


def slow(store: FakeStore, *operations: str) -> list[Gate]:
    return [store.hold(operation) for operation in operations]


def open_all(client: SftpClient, gates: list[Gate]) -> None:
    for gate in gates:
        gate.open()
    client.pump()


class TestOneFlight:
    """Each case went wrong when requests ran side by side, whichever the store answered first."""

    @pytest.fixture(params=[*ALL, "all"])
    def gates(self, request: Any, gateway: GatewayInMemory) -> list[Gate]:
        """What is slow."""
        return slow(gateway.store, *(ALL if request.param == "all" else (request.param,)))

    def test_a_directory_is_removed_behind_its_files(
        self, gateway: GatewayInMemory, client: SftpClient, gates: list[Gate]
    ) -> None:
        seed(gateway, d__f1=b"1", d__f2=b"2")
        sent = client.send_together(
            on_path(Kind.REMOVE, b"d/f1"), on_path(Kind.REMOVE, b"d/f2"), on_path(Kind.RMDIR, b"d")
        )
        open_all(client, gates)
        assert codes(client, sent) == [OK, OK, OK]
        assert stored(gateway) == {}

    def test_a_directory_is_removed_behind_one_in_it(
        self, gateway: GatewayInMemory, client: SftpClient, gates: list[Gate]
    ) -> None:
        seed(gateway, d__e__=b"", d__=b"")
        sent = client.send_together(on_path(Kind.RMDIR, b"d/e"), on_path(Kind.RMDIR, b"d"))
        open_all(client, gates)
        assert codes(client, sent) == [OK, OK]
        assert stored(gateway) == {}

    @pytest.mark.parametrize("kind", [Kind.STAT, Kind.LSTAT, Kind.OPENDIR])
    def test_a_stat_behind_a_mkdir_finds_the_directory(
        self, client: SftpClient, gates: list[Gate], kind: Kind
    ) -> None:
        sent = client.send_together(mkdir(b"m"), on_path(kind, b"m"))
        open_all(client, gates)
        assert codes(client, sent) == [OK, OK]

    def test_a_file_goes_into_a_directory_that_was_made(
        self, gateway: GatewayInMemory, client: SftpClient, gates: list[Gate]
    ) -> None:
        sent = client.send_together(mkdir(b"m"), opening(b"m/x"), on_path(Kind.OPENDIR, b"m"))
        open_all(client, gates)
        assert codes(client, sent) == [OK, OK, OK]
        client.close(client.replies[sent[1]].body)
        assert stored(gateway) == {"m/": b"", "m/x": b""}

    def test_a_renamed_file_is_seen_under_its_new_name_only(
        self, gateway: GatewayInMemory, client: SftpClient, gates: list[Gate]
    ) -> None:
        seed(gateway, a=b"123")
        sent = client.send_together(
            rename(b"a", b"b"), on_path(Kind.STAT, b"b"), on_path(Kind.STAT, b"a")
        )
        open_all(client, gates)
        assert codes(client, sent) == [OK, OK, MISSING]
        assert client.replies[sent[1]].attributes["size"] == 3

    def test_a_stat_before_a_rename_finds_the_old_name(
        self, gateway: GatewayInMemory, client: SftpClient, gates: list[Gate]
    ) -> None:
        seed(gateway, a=b"123")
        sent = client.send_together(
            on_path(Kind.STAT, b"a"), opening(b"a", OpenFlag.READ), rename(b"a", b"b")
        )
        open_all(client, gates)
        assert codes(client, sent) == [OK, OK, OK]

    def test_renames_follow_each_other(
        self, gateway: GatewayInMemory, client: SftpClient, gates: list[Gate]
    ) -> None:
        seed(gateway, a=b"a", b=b"b")
        sent = client.send_together(
            posix_rename(b"a", b"t"), posix_rename(b"b", b"a"), posix_rename(b"t", b"b")
        )
        open_all(client, gates)
        assert codes(client, sent) == [OK, OK, OK]
        assert stored(gateway) == {"a": b"b", "b": b"a"}

    def test_a_file_is_removed_and_written_anew(
        self, gateway: GatewayInMemory, client: SftpClient, gates: list[Gate]
    ) -> None:
        """The DELETE came behind the new file's PUT: all was confirmed, and the file gone."""
        seed(gateway, x=b"old")
        sent = client.send_together(on_path(Kind.REMOVE, b"x"), opening(b"x"))
        if sent[1] in client.replies:
            client.write(client.replies[sent[1]].body, 0, b"new")
            closed = client.send(closing(client.replies[sent[1]].body))
            open_all(client, gates)
            assert codes(client, [closed]) == [OK]
        else:
            open_all(client, gates)
            client.write(client.replies[sent[1]].body, 0, b"new")
            client.close(client.replies[sent[1]].body)
        assert codes(client, sent) == [OK, OK]
        assert stored(gateway) == {"x": b"new"}

    def test_a_file_is_renamed_and_written_anew(
        self, gateway: GatewayInMemory, client: SftpClient, gates: list[Gate]
    ) -> None:
        """The copy came behind the new file's PUT: the old bytes were lost."""
        seed(gateway, a=b"old")
        sent = client.send_together(rename(b"a", b"b"), opening(b"a"))
        open_all(client, gates)
        client.write(client.replies[sent[1]].body, 0, b"new")
        client.close(client.replies[sent[1]].body)
        assert codes(client, sent) == [OK, OK]
        assert stored(gateway) == {"a": b"new", "b": b"old"}

    @pytest.mark.parametrize("change", [rename, posix_rename])
    def test_a_rename_behind_a_close_moves_the_new_file(
        self, gateway: GatewayInMemory, client: SftpClient, change: Any
    ) -> None:
        handle = client.open(b"tmp", CREATE)
        client.write(handle, 0, b"data")
        gates = slow(gateway.store, *ALL)
        sent = client.send_together(
            closing(handle), change(b"tmp", b"final"), on_path(Kind.STAT, b"final")
        )
        open_all(client, gates)
        assert codes(client, sent) == [OK, OK, OK]
        assert stored(gateway) == {"final": b"data"}

    def test_a_remove_behind_a_close_removes_the_new_file(
        self, gateway: GatewayInMemory, client: SftpClient
    ) -> None:
        handle = client.open(b"d/x", CREATE)
        gates = slow(gateway.store, *ALL)
        sent = client.send_together(
            closing(handle), on_path(Kind.REMOVE, b"d/x"), on_path(Kind.RMDIR, b"d")
        )
        open_all(client, gates)
        assert codes(client, sent) == [OK, OK, OK]
        assert stored(gateway) == {}

    def test_times_set_before_a_rename_move_with_the_file(
        self, gateway: GatewayInMemory, client: SftpClient, gates: list[Gate]
    ) -> None:
        seed(gateway, a=b"1")
        times = {"atime": 5, "mtime": 5}
        sent = client.send_together(
            wire.ChangePath(Kind.SETSTAT, 0, b"a", times),
            rename(b"a", b"b"),
            on_path(Kind.STAT, b"b"),
        )
        open_all(client, gates)
        assert codes(client, sent) == [OK, OK, OK]
        assert client.replies[sent[2]].attributes["mtime"] == 5

    def test_times_set_through_a_handle_for_reading_come_before_a_rename(
        self, gateway: GatewayInMemory, client: SftpClient
    ) -> None:
        seed(gateway, a=b"1")
        handle = client.open(b"a")
        gates = slow(gateway.store, *ALL)
        sent = client.send_together(
            wire.ChangeHandle(0, handle, {"atime": 5, "mtime": 5}),
            rename(b"a", b"b"),
            on_path(Kind.STAT, b"b"),
        )
        open_all(client, gates)
        assert codes(client, sent) == [OK, OK, OK]
        assert client.replies[sent[2]].attributes["mtime"] == 5

    def test_a_size_is_set_before_the_file_is_renamed(
        self, gateway: GatewayInMemory, client: SftpClient, gates: list[Gate]
    ) -> None:
        seed(gateway, a=b"12345")
        sent = client.send_together(
            wire.ChangePath(Kind.SETSTAT, 0, b"a", {"size": 2}), rename(b"a", b"b")
        )
        open_all(client, gates)
        assert codes(client, sent) == [OK, OK]
        assert stored(gateway) == {"b": b"12"}

    def test_lsetstat_and_check_file_wait_in_order(
        self, gateway: GatewayInMemory, client: SftpClient, gates: list[Gate]
    ) -> None:
        seed(gateway, a=b"1")
        times = wire.string(b"a") + (8).to_bytes(4, "big") + (5).to_bytes(4, "big") * 2
        check = wire.string(b"b") + wire.string(b"md5") + bytes(8) + bytes(8) + bytes(4)
        sent = client.send_together(
            wire.Extended(0, b"lsetstat@openssh.com", times),
            posix_rename(b"a", b"b"),
            wire.Extended(0, b"check-file-name", check),
            posix_rename(b"b", b"c"),
            on_path(Kind.STAT, b"c"),
        )
        open_all(client, gates)
        while sent[2] not in client.replies:
            gateway.clock.advance(0)
            client.pump()
        assert codes(client, sent) == [OK] * 5
        assert client.replies[sent[4]].attributes["mtime"] == 5


class TestBehindAnOpen:
    """sshfs sends OPEN and LSTAT together: what it asks for is what the OPEN comes to."""

    EXCLUSIVE = CREATE | OpenFlag.EXCL

    def test_a_new_file_is_seen(self, gateway: GatewayInMemory, client: SftpClient) -> None:
        gate = gateway.store.hold("head")
        sent = client.send_together(opening(b"f", self.EXCLUSIVE), on_path(Kind.LSTAT, b"f"))
        assert gate.waiting == 1
        open_all(client, [gate])
        assert codes(client, sent) == [OK, OK]
        assert client.replies[sent[1]].attributes["size"] == 0

    def test_a_refused_one_is_not_waited_for(
        self, gateway: GatewayInMemory, client: SftpClient
    ) -> None:
        seed(gateway, f=b"x")
        gate = gateway.store.hold("head")
        sent = client.send_together(opening(b"f", self.EXCLUSIVE), on_path(Kind.LSTAT, b"f"))
        open_all(client, [gate])
        assert codes(client, sent) == [REFUSED, OK]

    def test_a_remove_behind_an_exclusive_open_removes_the_file(
        self, gateway: GatewayInMemory, client: SftpClient
    ) -> None:
        gate = gateway.store.hold("head")
        sent = client.send_together(opening(b"f", self.EXCLUSIVE), on_path(Kind.REMOVE, b"f"))
        open_all(client, [gate])
        client.close(client.replies[sent[0]].body)
        assert stored(gateway) == {}


class TestOverlap:
    """What does not conflict is not slower than before."""

    def test_a_thousand_lookups_of_different_names_overlap(
        self, gateway: GatewayInMemory, client: SftpClient
    ) -> None:
        gate = gateway.store.hold("head")
        client.send_together(*(on_path(Kind.STAT, b"d/%d" % each) for each in range(1000)))
        assert gate.waiting == MAX_PENDING
        open_all(client, [gate])
        assert len(client.replies) == 1000

    def test_lookups_of_one_name_overlap(
        self, gateway: GatewayInMemory, client: SftpClient
    ) -> None:
        seed(gateway, d__f=b"1")
        gates = slow(gateway.store, "head", "list", "get")
        client.send_together(
            *(on_path(Kind.STAT, b"d/f") for _ in range(4)),
            *(opening(b"d/f", OpenFlag.READ) for _ in range(4)),
            *(on_path(Kind.OPENDIR, b"d") for _ in range(4)),
        )
        assert [gate.waiting for gate in gates] == [4, 4, 4]

    def test_a_thousand_openings_of_different_names_overlap(
        self, gateway: GatewayInMemory, client: SftpClient
    ) -> None:
        gate = gateway.store.hold("head")
        client.send_together(
            *(opening(b"d/%d" % each, CREATE | OpenFlag.EXCL) for each in range(1000))
        )
        assert gate.waiting == MAX_PENDING

    @pytest.mark.parametrize("operation", ["head", "delete"])
    def test_removals_in_one_directory_overlap(
        self, gateway: GatewayInMemory, client: SftpClient, operation: str
    ) -> None:
        for each in range(100):
            seed(gateway, **{f"d__{each}": b"x"})
        gate = gateway.store.hold(operation)
        sent = client.send_together(
            *(on_path(Kind.REMOVE, b"d/%d" % each) for each in range(100)),
            on_path(Kind.RMDIR, b"d"),
        )
        assert gate.waiting == 100
        open_all(client, [gate])
        assert codes(client, sent) == [OK] * 101
        assert stored(gateway) == {}

    @pytest.mark.parametrize("count", [2, 3, 7])
    def test_a_preserved_directory_outlives_files_that_are_removed_at_the_same_time(
        self, count: int
    ) -> None:
        """Each of them used to count on the other one."""
        gateway = GatewayInMemory(files=FilesSettings(keep_empty_directories=True))
        client = gateway.log_in()
        seed(gateway, **{f"d__{each}": b"x" for each in range(count)})
        gate = gateway.store.hold("delete")
        half = count // 2
        sent = client.send_together(
            *(on_path(Kind.REMOVE, b"d/%d" % each) for each in range(half)),
            *(rename(b"d/%d" % each, b"e/%d" % each) for each in range(half, count)),
        )
        assert gate.waiting == count
        open_all(client, [gate])
        assert codes(client, sent) == [OK] * count
        assert sorted(stored(gateway)) == ["d/", *(f"e/{each}" for each in range(half, count))]

    def test_closes_overlap(self, gateway: GatewayInMemory, client: SftpClient) -> None:
        handles = [client.open(b"d/%d" % each, CREATE) for each in range(20)]
        gate = gateway.store.hold("put")
        client.send_together(*map(closing, handles))
        assert gate.waiting == 20

    def test_a_request_that_never_ends_holds_up_only_its_own_path(
        self, gateway: GatewayInMemory, client: SftpClient
    ) -> None:
        seed(gateway, d__f=b"1", e=b"2")
        gate = gateway.store.hold("copy")
        stuck, behind = client.send_together(rename(b"d/f", b"d/g"), on_path(Kind.STAT, b"d/g"))
        assert client.stat(b"e")["size"] == 1
        client.put(b"d/h", b"new")
        client.remove(b"e")
        assert stuck not in client.replies
        assert behind not in client.replies
        open_all(client, [gate])
        assert codes(client, [stuck, behind]) == [OK, OK]

    def test_waiting_requests_count_as_under_way(
        self, gateway: GatewayInMemory, client: SftpClient
    ) -> None:
        seed(gateway, a=b"1")
        gate = gateway.store.hold("copy")
        client.send_together(
            rename(b"a", b"b"), *(on_path(Kind.STAT, b"a") for _ in range(MAX_PENDING))
        )
        last = client.send(on_path(Kind.STAT, b"z"))
        assert last not in client.replies
        open_all(client, [gate])
        assert codes(client, [last]) == [MISSING]

    def test_many_that_waited_for_one_do_not_nest(
        self, gateway: GatewayInMemory, client: SftpClient
    ) -> None:
        gate = gateway.store.hold("list")
        sent = client.send_together(mkdir(b"m"), *(mkdir(b"m") for _ in range(MAX_PENDING - 1)))
        open_all(client, [gate])
        assert codes(client, sent) == [OK] + [REFUSED] * (MAX_PENDING - 1)


class TestLost:
    def test_waiting_requests_of_a_lost_client_are_dropped(
        self, gateway: GatewayInMemory, client: SftpClient
    ) -> None:
        seed(gateway, d__f=b"1", d__=b"")
        gate = gateway.store.hold("delete")
        client.send_together(
            on_path(Kind.REMOVE, b"d/f"), on_path(Kind.RMDIR, b"d"), opening(b"d/x")
        )
        client.drop()
        gate.open()
        assert stored(gateway) == {"d/": b""}
        gateway.assert_idle()

    def test_a_close_that_waits_is_carried_out(
        self, gateway: GatewayInMemory, client: SftpClient
    ) -> None:
        """The client has handed over the whole file."""
        seed(gateway, a=b"old")
        handle = client.open(b"a", CREATE)
        client.write(handle, 0, b"new")
        gate = gateway.store.hold("copy")
        client.send_together(rename(b"a", b"b"), closing(handle))
        client.drop()
        gate.open()
        assert stored(gateway) == {"b": b"new"}
        gateway.assert_idle()

    def test_the_clients_eof_waits_for_waiting_requests(
        self, gateway: GatewayInMemory, client: SftpClient
    ) -> None:
        gate = gateway.store.hold("put")
        sent = client.send_together(mkdir(b"m"), mkdir(b"m/n"))
        client.channel.send_eof()
        client.pump()
        assert client.channel.exit_status is None
        open_all(client, [gate])
        assert codes(client, sent) == [OK, OK]
        assert client.channel.exit_status == 0


class TestClose:
    def test_close_waits_for_a_rename_and_publishes_under_the_new_name(
        self, gateway: GatewayInMemory, client: SftpClient
    ) -> None:
        """It used to be stored under the old name, and the rename to fail."""
        seed(gateway, a=b"old")
        handle = client.open(b"a", CREATE)
        client.write(handle, 0, b"new")
        gate = gateway.store.hold("copy")
        sent = client.send_together(
            rename(b"a", b"b"), closing(handle), opening(b"b", OpenFlag.READ)
        )
        open_all(client, [gate])
        assert codes(client, sent) == [OK, OK, OK]
        assert stored(gateway) == {"b": b"new"}
        assert client.read(client.replies[sent[2]].body, 0, 10) == b"new"

    def test_close_waits_for_no_open(self, gateway: GatewayInMemory, client: SftpClient) -> None:
        """Its end may be what gives that memory."""
        seed(gateway, a=b"1", b=b"2")
        handles = [client.open(each, CREATE) for each in (b"a", b"b")]
        gate = gateway.store.hold("get")
        client.send_together(opening(b"a", OpenFlag.READ), opening(b"b", OpenFlag.READ))
        client.send_together(rename(b"a", b"c"))
        for handle in handles:
            client.close(handle)
        assert stored(gateway) == {"a": b"", "b": b""}
        open_all(client, [gate])
        assert stored(gateway) == {"c": b"", "b": b""}

    def test_an_open_that_queues_for_memory_does_not_hold_up_the_close_that_releases_it(
        self, gateway: GatewayInMemory, client: SftpClient
    ) -> None:
        seed(gateway, d__a=b"1")
        handle = client.open(b"d/b", CREATE)
        client.write(handle, 0, b"data")
        before_bytes = gateway.budget.held_bytes
        taken_bytes = take_all_memory(gateway) - before_bytes
        sent = client.send_together(
            opening(b"d/a", OpenFlag.READ), rename(b"d/a", b"d/c"), on_path(Kind.OPENDIR, b"d")
        )
        assert not client.replies
        client.close(handle)
        assert stored(gateway) == {"d/a": b"1", "d/b": b"data"}
        gateway.budget.release(taken_bytes)
        client.pump()
        assert codes(client, sent) == [OK, OK, OK]

    def test_a_handle_dies_as_its_close_comes(
        self, gateway: GatewayInMemory, client: SftpClient
    ) -> None:
        seed(gateway, a=b"1")
        handle = client.open(b"a", CREATE)
        gate = gateway.store.hold("copy")
        sent = client.send_together(rename(b"a", b"b"), closing(handle), closing(handle))
        assert code(client.replies[sent[2]]) is REFUSED
        open_all(client, [gate])
        assert codes(client, sent[:2]) == [OK, OK]


class TestOpenedTwice:
    """sshfs sends the OPEN of a file before the CLOSE of a handle that its user has closed."""

    def opened_again(
        self, client: SftpClient, path: bytes, flags: int = APPEND
    ) -> tuple[bytes, int]:
        """A handle with a line written through it, and an OPEN sent behind that."""
        handle = client.open(path, APPEND)
        client.write(handle, 0, b"one\n")
        return handle, client.send(opening(path, flags))

    @pytest.mark.parametrize("old", [None, b"", b"zero\n"])
    def test_no_appended_line_is_lost(
        self, gateway: GatewayInMemory, client: SftpClient, old: bytes | None
    ) -> None:
        if old is not None:
            seed(gateway, log=old)
        first, sent = self.opened_again(client, b"log")
        assert sent not in client.replies
        client.close(first)
        second = client.replies[sent].body
        client.write(second, 0, b"two\n")
        client.close(second)
        assert stored(gateway) == {"log": (old or b"") + b"one\ntwo\n"}

    def test_a_file_opened_for_reading_before_its_close_is_read_as_closed(
        self, gateway: GatewayInMemory, client: SftpClient
    ) -> None:
        seed(gateway, f=b"old\n")
        first, sent = self.opened_again(client, b"f", OpenFlag.READ)
        client.close(first)
        assert client.read(client.replies[sent].body, 0, 100) == b"old\none\n"

    def test_a_new_file_exists_for_an_exclusive_create(
        self, gateway: GatewayInMemory, client: SftpClient
    ) -> None:
        first, sent = self.opened_again(client, b"f", CREATE | OpenFlag.EXCL)
        client.close(first)
        assert codes(client, [sent]) == [REFUSED]

    def test_a_file_is_truncated_as_it_was_closed(
        self, gateway: GatewayInMemory, client: SftpClient
    ) -> None:
        seed(gateway, f=b"old\n")
        handle = client.open(b"f", APPEND)
        client.write(handle, 0, b"one\n")
        sent = client.send_together(
            wire.ChangePath(Kind.SETSTAT, 0, b"f", {"size": 6}), closing(handle)
        )
        assert codes(client, sent) == [OK, OK]
        assert stored(gateway) == {"f": b"old\non"}

    def test_an_open_that_truncates_does_not_wait_for_the_close(
        self, gateway: GatewayInMemory, client: SftpClient
    ) -> None:
        first, sent = self.opened_again(client, b"f", CREATE)
        second = client.replies[sent].body
        client.write(second, 0, b"two\n")
        client.send_together(closing(first), closing(second))
        assert stored(gateway) == {"f": b"two\n"}

    @pytest.mark.parametrize("flags", [OpenFlag.READ, OpenFlag.READ | OpenFlag.WRITE])
    def test_a_client_that_keeps_it_open_is_waited_for_once(
        self, gateway: GatewayInMemory, client: SftpClient, flags: int
    ) -> None:
        seed(gateway, f=b"old\n")
        client.open_seconds = CLOSE_WAIT_SECONDS if flags & OpenFlag.WRITE else 0
        first, sent = self.opened_again(client, b"f", flags)
        gateway.clock.advance(CLOSE_WAIT_SECONDS - 0.1)
        client.pump()
        assert sent not in client.replies
        gateway.clock.advance(0.1)
        client.pump()
        for handle in (client.replies[sent].body, client.open(b"f")):
            assert client.read(handle, 0, 100) == b"old\n"
            client.close(handle)
        client.close(first)
        assert stored(gateway) == {"f": b"old\none\n"}

    def test_a_removed_or_renamed_file_is_not_waited_for(
        self, gateway: GatewayInMemory, client: SftpClient
    ) -> None:
        for path in (b"a", b"b"):
            client.open(path, CREATE)
        client.remove(b"a")
        client.rename(b"b", b"c")
        with pytest.raises(SftpFailure):
            client.open(b"a")
        client.close(client.open(b"b", APPEND))

    def test_an_open_in_another_session_does_not_wait(
        self, gateway: GatewayInMemory, client: SftpClient
    ) -> None:
        seed(gateway, f=b"old\n")
        client.open(b"f", APPEND)
        assert gateway.log_in().get(b"f") == b"old\n"

    def test_of_two_sessions_that_append_the_second_to_close_fails(
        self, gateway: GatewayInMemory, client: SftpClient
    ) -> None:
        seed(gateway, f=b"old\n")
        other = gateway.log_in()
        other.open_seconds = CLOSE_WAIT_SECONDS
        handles = [each.open(b"f", APPEND) for each in (client, other)]
        for each, handle in zip((client, other), handles, strict=True):
            each.write(handle, 0, b"line\n")
        client.close(handles[0])
        with pytest.raises(SftpFailure):
            other.close(handles[1])
        assert stored(gateway) == {"f": b"old\nline\n"}

    @pytest.mark.parametrize("old", [None, b"zero\n"])
    def test_an_open_that_appends_waits_for_the_close_of_another_session(
        self, gateway: GatewayInMemory, client: SftpClient, old: bytes | None
    ) -> None:
        """sshfs with max_conns closes on one connection, and opens on the next before."""
        if old is not None:
            seed(gateway, log=old)
        first, other = client.open(b"log", APPEND), gateway.log_in()
        client.write(first, 0, b"one\n")
        sent = other.send(opening(b"log", APPEND))
        assert sent not in other.replies
        client.close(first)
        other.pump()
        second = other.replies[sent].body
        other.write(second, 0, b"two\n")
        other.close(second)
        assert stored(gateway) == {"log": (old or b"") + b"one\ntwo\n"}

    def test_a_session_that_opens_behind_anothers_close_appends_to_that(
        self, gateway: GatewayInMemory, client: SftpClient
    ) -> None:
        seed(gateway, f=b"old\n")
        handle = client.open(b"f", APPEND)
        client.write(handle, 0, b"one\n")
        gate = gateway.store.hold("put")
        closed = client.send(closing(handle))
        other = gateway.log_in()
        opened = other.send(opening(b"f", APPEND))
        open_all(client, [gate])
        other.pump()
        handle = other.replies[opened].body
        other.write(handle, 0, b"two\n")
        other.close(handle)
        assert codes(client, [closed]) == [OK]
        assert stored(gateway) == {"f": b"old\none\ntwo\n"}

    def test_a_client_that_leaves_meanwhile_leaves_nothing(
        self, gateway: GatewayInMemory, client: SftpClient
    ) -> None:
        for flags in (OpenFlag.READ, APPEND):
            _, sent = self.opened_again(client, b"f", flags)
            assert sent not in client.replies
            client.drop()
            client = gateway.log_in()
        client.drop()
        gateway.assert_idle()
        assert stored(gateway) == {}


class TestBehindCopyData:
    """copy-data is many READs and WRITEs; what comes behind it comes behind all of them."""

    DATA = bytes(range(256)) * 4096

    @pytest.fixture
    def gateway(self) -> GatewayInMemory:
        """It fetches a file in several parts."""
        settings = StoreSettings(bucket="bucket", download_part_size_bytes=64 * KIB)
        return GatewayInMemory(settings=settings)

    def copied(self, gateway: GatewayInMemory, client: SftpClient) -> tuple[bytes, bytes, Any]:
        """A source and a target, and a gate that holds up the copy between them."""
        seed(gateway, source=self.DATA)
        source, target = client.open(b"source"), client.open(b"target", CREATE)
        return source, target, gateway.store.hold("get")

    def copier(self, source: bytes, target: bytes, at: int = 0) -> wire.Extended:
        head = wire.string(source) + bytes(16) + wire.string(target) + at.to_bytes(8, "big")
        return wire.Extended(0, b"copy-data", head)

    def test_both_handles_are_closed_when_all_is_copied(
        self, gateway: GatewayInMemory, client: SftpClient
    ) -> None:
        """A file without its end was stored, and its CLOSE confirmed."""
        source, target, gate = self.copied(gateway, client)
        sent = client.send_together(self.copier(source, target), closing(source), closing(target))
        open_all(client, [gate])
        assert codes(client, sent) == [OK, OK, OK]
        assert stored(gateway)["target"] == self.DATA

    def test_a_write_behind_a_copy_stays(
        self, gateway: GatewayInMemory, client: SftpClient
    ) -> None:
        source, target, gate = self.copied(gateway, client)
        sent = client.send_together(
            self.copier(source, target),
            wire.Write(0, target, len(self.DATA) - 1, (b"one",)),
            wire.Write(0, target, len(self.DATA) - 1, (b"two",)),
            wire.Extended(0, b"fsync@openssh.com", wire.string(target)),
            wire.ChangeHandle(0, target, {"size": len(self.DATA) + 1}),
            closing(target),
        )
        open_all(client, [gate])
        assert codes(client, sent) == [OK] * 6
        assert stored(gateway)["target"] == self.DATA[:-1] + b"tw"

    def test_two_copies_follow_each_other(
        self, gateway: GatewayInMemory, client: SftpClient
    ) -> None:
        source, target, gate = self.copied(gateway, client)
        sent = client.send_together(
            self.copier(source, target),
            self.copier(source, target, len(self.DATA)),
            closing(target),
        )
        open_all(client, [gate])
        assert codes(client, sent) == [OK, OK, OK]
        assert stored(gateway)["target"] == self.DATA * 2

    def test_a_lost_client_leaves_nothing(
        self, gateway: GatewayInMemory, client: SftpClient
    ) -> None:
        source, target, gate = self.copied(gateway, client)
        client.send_together(self.copier(source, target), closing(source), closing(target))
        client.drop()
        gate.open()
        assert stored(gateway) == {"source": self.DATA}
        gateway.assert_idle()


# Whatever the store answers first.

NAMES = st.sampled_from([b"a", b"b", b"d", b"d/a", b"d/b", b"d/e", b"d/e/a", b"d/e/b"])
STEPS = st.one_of(
    st.tuples(st.sampled_from([Kind.STAT, Kind.OPENDIR, Kind.REMOVE, Kind.RMDIR]), NAMES),
    st.tuples(st.just("mkdir"), NAMES),
    st.tuples(st.sampled_from(["rename", "posix-rename"]), NAMES, NAMES),
    st.tuples(st.just("put"), NAMES),
    st.tuples(st.just("time"), NAMES),
    st.tuples(st.just("cut"), NAMES),
)


class Session:
    """Sends a program's requests, and writes files as soon as they are open."""

    def __init__(self, keeps_directories: bool) -> None:
        self.gateway = GatewayInMemory(
            files=FilesSettings(keep_empty_directories=keeps_directories)
        )
        seed(self.gateway, a=b"1", d__a=b"22", d__e__a=b"333", d__e__b=b"4444")
        self.client = self.gateway.log_in()
        self.sent: list[int] = []

    def path_request(self, name: Any, path: bytes, *more: bytes) -> wire.Request:
        match name:
            case "mkdir":
                return mkdir(path)
            case "rename":
                return rename(path, *more)
            case "posix-rename":
                return posix_rename(path, *more)
            case "time":
                return wire.ChangePath(Kind.SETSTAT, 0, path, {"atime": 7, "mtime": 7})
            case "cut":
                return wire.ChangePath(Kind.SETSTAT, 0, path, {"size": 1})
        return on_path(name, path)

    def answers(self) -> list[tuple[Status, int | None]]:
        replies = [self.client.replies[each] for each in self.sent]
        return [(code(reply), reply.attributes.get("size")) for reply in replies]


def run_serially(program: list[tuple[Any, ...]], keeps_directories: bool) -> Session:
    session = Session(keeps_directories)
    for number, (name, *paths) in enumerate(program):
        if name == "put":
            put(session, paths[0], b"data %d" % number)
        else:
            session.sent.append(session.client.send(session.path_request(name, *paths)))
    return session


def put(session: Session, path: bytes, data: bytes) -> None:
    session.sent.append(session.client.send(opening(path)))
    finish_put(session, data)


def finish_put(session: Session, data: bytes) -> None:
    reply = session.client.replies[session.sent[-1]]
    if reply.kind is Kind.HANDLE:
        write = wire.Write(0, reply.body, 0, (data,))
        session.sent += session.client.send_together(write, closing(reply.body))


def run_overlapped(
    program: list[tuple[Any, ...]], keeps_directories: bool, chance: Random
) -> Session:
    session = Session(keeps_directories)
    gates = slow(session.gateway.store, *ALL)

    def answer_one() -> bool:
        waiting = [gate for gate in gates if gate.waiting]
        if waiting:
            gate = chance.choice(waiting)
            chance.choice([gate.open_one, gate.open_last])()
            session.client.pump()
        return bool(waiting)

    for number, (name, *paths) in enumerate(program):
        if name == "put":
            session.sent.append(session.client.send(opening(paths[0])))
            while session.sent[-1] not in session.client.replies:
                assert answer_one()
            finish_put(session, b"data %d" % number)
        else:
            session.sent.append(session.client.send(session.path_request(name, *paths)))
        if chance.random() < 0.5:
            answer_one()
    while answer_one():
        pass
    return session


@given(st.lists(STEPS, max_size=12), st.booleans(), st.integers(0, 2**32))
@settings(max_examples=150, deadline=None)
def test_overlapped_requests_come_to_what_serial_ones_do(
    program: list[tuple[Any, ...]], keeps_directories: bool, seed: int
) -> None:
    serial = run_serially(program, keeps_directories)
    overlapped = run_overlapped(program, keeps_directories, Random(seed))
    assert overlapped.answers() == serial.answers()
    assert stored(overlapped.gateway) == stored(serial.gateway)
    for session in (serial, overlapped):
        session.client.drop()
        session.gateway.assert_idle()


def test_opens_that_wait_for_a_close_in_vain_go_on_in_their_order() -> None:
    gateway = GatewayInMemory()
    gateway.store.seed("home/alice/f", b"old")
    client = gateway.log_in()
    client.write(client.open(b"/f", CREATE), 0, b"new")
    sent = client.send_together(*(wire.Open(0, b"/f", OpenFlag.READ, {}) for _ in range(4)))
    assert not set(sent) & set(client.replies)
    gateway.clock.advance(CLOSE_WAIT_SECONDS)
    client.pump()
    assert [each for each in client.replies if each in sent] == list(sent)
