"""A trailing slash names a directory, and nothing is created below a file."""

from __future__ import annotations

import pytest

from sftpgw.errors import AccessDenied, NotADirectory
from sftpgw.model.mounts import Permission
from sftpgw.model.settings import FilesSettings, OnDisconnect
from sftpgw.testing.other_users import with_mount
from sftpgw.testing.sftp_sessions import ALICE, CREATE, GatewayInMemory, SftpClient, SftpFailure
from sftpgw.wire import sftp as wire
from sftpgw.wire.sftp import Kind, OpenFlag, Status
from tests.results import failure_of, result_of

HOME = "home/alice/"


def keys(gateway: GatewayInMemory) -> list[str]:
    return [name.key.removeprefix(HOME) for name in gateway.store.objects]


class TestTrailingSlashes:
    def test_files_moved_into_a_folder_that_is_not_there_are_not_lost(
        self, gateway: GatewayInMemory, client: SftpClient
    ) -> None:
        """Each file was stored as ``archive``, and replaced the one before."""
        for name in (b"/in_a", b"/in_b", b"/in_c"):
            client.put(name, name)
            with pytest.raises(SftpFailure, match="archive: No such file") as caught:
                client.posix_rename(name, b"/archive/")
            assert caught.value.code is Status.NO_SUCH_FILE
            with pytest.raises(SftpFailure):
                client.rename(name, b"/archive/")
        assert keys(gateway) == ["in_a", "in_b", "in_c"]

    def test_a_trailing_slash_costs_no_request_where_a_file_is_created(
        self, gateway: GatewayInMemory, client: SftpClient
    ) -> None:
        with pytest.raises(SftpFailure, match="is a directory"):
            client.open(b"/new/", CREATE)
        assert not gateway.store.requests

    def test_a_file_being_written_is_not_reached_with_a_trailing_slash(
        self, gateway: GatewayInMemory, client: SftpClient
    ) -> None:
        handle = client.open(b"/f", CREATE)
        client.write(handle, 0, b"bytes")
        for refused in (
            lambda: client.stat(b"/f/"),
            lambda: client.remove(b"/f/"),
            lambda: client.set_times(b"/f/", 5),
            lambda: client.rename(b"/f/", b"/g"),
            lambda: client.posix_rename(b"/f", b"/f/"),
        ):
            with pytest.raises(SftpFailure):
                refused()
        client.close(handle)
        assert gateway.store.content(HOME + "f") == b"bytes"

    def test_scp_s_target_with_a_slash_is_no_file(self, gateway: GatewayInMemory) -> None:
        gateway.store.seed(HOME + "f", b"old")
        command = gateway.open_command(b"scp -t f/")
        assert command.status == 1
        assert gateway.store.content(HOME + "f") == b"old"

    @pytest.mark.parametrize("line", [b"md5sum f/", b"md5sum */f/", b"scp -f f/"])
    def test_commands_find_no_file_by_it(self, gateway: GatewayInMemory, line: bytes) -> None:
        gateway.store.seed(HOME + "f", b"old")
        gateway.store.seed(HOME + "d/f", b"old")
        command = gateway.open_command(line)
        printed = command.say(b"\0") + command.complaints
        assert b"directory" in printed
        assert command.status == 1


class TestBelowAFile:
    """A disk returns ENOTDIR. S3 would store the file, and listings would not show it."""

    @pytest.mark.parametrize("how", ["stat", "list", "stored", "writing"])
    def test_nothing_is_made_below_a_file_that_the_session_knows(
        self, gateway: GatewayInMemory, client: SftpClient, how: str
    ) -> None:
        if how == "stored":
            client.put(b"/f", b"bytes")
        elif how == "writing":
            gateway.log_in().open(b"/f", CREATE)
        else:
            gateway.store.seed(HOME + "f", b"bytes")
            client.stat(b"/f") if how == "stat" else client.listdir(b"/")
        for refused in (
            lambda: client.mkdir(b"/f/sub"),
            lambda: client.put(b"/f/x", b"lost from sight"),
            lambda: client.put(b"/f/x/y", b"lost from sight", flags=CREATE | OpenFlag.EXCL),
            lambda: client.open(b"/f/x", OpenFlag.READ | OpenFlag.CREAT),
        ):
            with pytest.raises(SftpFailure, match="/f: is not a directory") as caught:
                refused()
            assert caught.value.code is Status.NO_SUCH_FILE
        assert keys(gateway) in (["f"], [])

    def test_a_rename_puts_nothing_there(
        self, gateway: GatewayInMemory, client: SftpClient
    ) -> None:
        for path in (b"/f", b"/g", b"/d/in"):
            client.put(path, path)
        for source in (b"/g", b"/d"):
            for rename in (client.rename, client.posix_rename):
                with pytest.raises(SftpFailure, match="/f: is not a directory"):
                    rename(source, b"/f/x")
        assert sorted(keys(gateway)) == ["d/in", "f", "g"]

    def test_objects_below_a_file_stay_in_reach(
        self, gateway: GatewayInMemory, client: SftpClient
    ) -> None:
        """A bucket may hold a file and a directory with the same name."""
        gateway.store.seed(HOME + "f", b"file")
        gateway.store.seed(HOME + "f/old", b"below")
        assert client.stat(b"/f")["size"] == 4
        assert client.get(b"/f/old") == b"below"
        assert client.listdir(b"/f") == [b"old"]
        client.put(b"/f/new", b"new")
        client.rename(b"/f/new", b"/f/newer")
        client.mkdir(b"/f/sub")
        assert set(client.listdir(b"/f")) == {b"old", b"newer", b"sub"}
        client.remove(b"/f/old")

    def test_a_removed_file_may_become_a_directory(
        self, gateway: GatewayInMemory, client: SftpClient
    ) -> None:
        client.put(b"/f", b"bytes")
        del gateway.store.objects[next(iter(gateway.store.objects))]  # by another gateway
        client.put(b"/f/x", b"new")
        assert keys(gateway) == ["f/x"]

    def test_unknown_parents_are_believed_by_default(
        self, gateway: GatewayInMemory, client: SftpClient
    ) -> None:
        client.put(b"/a/b/c/x", b"new")
        client.mkdir(b"/p/q")
        assert gateway.store.requests == {"put": 2, "list": 1}

    def test_strict_parents_are_asked_for_once(self) -> None:
        gateway = GatewayInMemory(files=FilesSettings(strict_parents=True))
        client = gateway.log_in()
        gateway.store.seed(HOME + "f", b"bytes")
        with pytest.raises(SftpFailure, match="/f: is not a directory"):
            client.put(b"/f/x/y", b"lost from sight")
        gateway.store.requests.clear()
        client.put(b"/a/b/x", b"new")
        assert gateway.store.requests == {"head": 2, "put": 1}
        client.put(b"/a/b/y", b"new")
        assert gateway.store.requests == {"head": 2, "put": 2}

    def test_a_store_that_does_not_tell_refuses_nothing(self) -> None:
        gateway = GatewayInMemory(files=FilesSettings(strict_parents=True))
        client = gateway.log_in()
        gateway.store.fail("head", AccessDenied("403"))
        client.put(b"/a/x", b"new")
        assert keys(gateway) == ["a/x"]


def test_a_path_that_ends_in_dots_is_a_directory_s(gateway: GatewayInMemory) -> None:
    gateway.store.seed(HOME + "f", b"bytes")
    gateway.store.seed(HOME + "d/f", b"bytes")
    tree = gateway.tree()
    for path in (b"f/.", b"f/./", b"d/f/.", b"d/../f/"):
        assert isinstance(failure_of(tree.stat(path)).value, NotADirectory)
    for path in (b"d/.", b"d/f/..", b"d/./"):
        assert result_of(tree.stat(path)).kind.value == "directory"


class TestOpenToReadThatCreates:
    def test_the_file_is_there_before_close(
        self, gateway: GatewayInMemory, client: SftpClient
    ) -> None:
        """flock(1), ``os.open(path, O_CREAT)`` over sshfs."""
        handle = client.open(b"/lock", OpenFlag.READ | OpenFlag.CREAT)
        assert gateway.log_in().stat(b"/lock")["size"] == 0
        client.close(handle)
        assert keys(gateway) == ["lock"]

    def test_an_existing_file_costs_as_much_as_reading(
        self, gateway: GatewayInMemory, client: SftpClient
    ) -> None:
        gateway.store.seed(HOME + "f", b"bytes")
        handle = client.open(b"/f", OpenFlag.READ | OpenFlag.CREAT)
        assert client.read(handle, 0, 10) == b"bytes"
        assert gateway.store.requests == {"get": 1}

    def test_only_one_of_two_creates_it(self, gateway: GatewayInMemory) -> None:
        first, second = gateway.log_in(), gateway.log_in()
        flags = OpenFlag.READ | OpenFlag.CREAT | OpenFlag.EXCL
        gate = gateway.store.hold("head")
        asked = [(each, each.send(_open(flags))) for each in (first, second)]
        gate.open()
        replies = []
        for each, request_id in asked:
            each.pump()
            replies.append(each.replies.pop(request_id))
        assert sorted(reply.kind for reply in replies) == [Kind.STATUS, Kind.HANDLE]

    def test_a_file_that_is_created_meanwhile_is_read_as_it_is(
        self, gateway: GatewayInMemory, client: SftpClient
    ) -> None:
        gate = gateway.store.hold("put")
        asked = client.send(_open(OpenFlag.READ | OpenFlag.CREAT))
        gateway.store.seed(HOME + "f", b"theirs")
        gate.open()
        client.pump()
        assert client.read(client.answer(asked).body, 0, 10) == b"theirs"
        assert gateway.store.content(HOME + "f") == b"theirs"

    def test_an_open_that_creates_and_reads_needs_both_permissions(self) -> None:
        gateway = GatewayInMemory()
        gateway.store.seed(HOME + "f", b"bytes")
        reader = gateway.log_in(with_mount(ALICE, permissions=Permission.DOWNLOAD))
        writer = gateway.log_in(with_mount(ALICE, permissions=Permission.UPLOAD))
        reader.close(reader.open(b"/f", OpenFlag.READ | OpenFlag.CREAT))
        for client, path, flags in (
            (reader, b"/m", OpenFlag.READ | OpenFlag.CREAT),
            (reader, b"/f", OpenFlag.READ | OpenFlag.TRUNC),
            (writer, b"/m", OpenFlag.READ | OpenFlag.CREAT),
        ):
            with pytest.raises(SftpFailure) as caught:
                client.open(path, flags)
            assert caught.value.code is Status.PERMISSION_DENIED
        assert gateway.store.content(HOME + "f") == b"bytes"
        assert keys(gateway) == ["f"]


def _open(flags: int) -> wire.Open:
    return wire.Open(0, b"/f", flags, {})


def test_a_directory_that_comes_into_being_during_an_open_is_not_hidden() -> None:
    """OPEN waits for the records of suspended uploads. Meanwhile a file is begun inside."""
    gateway = GatewayInMemory(files=FilesSettings(on_disconnect=OnDisconnect.RESUME))
    first, second = gateway.log_in(), gateway.log_in()
    gate = gateway.store.hold("get")
    of_file = first.send(wire.Open(0, b"/d", CREATE, {}))
    inside = second.send(wire.Open(0, b"/d/x", CREATE, {}))
    assert gate.waiting == 2
    gate.open_last()
    second.pump()
    assert second.replies[inside].kind is Kind.HANDLE
    gate.open()
    first.pump()
    assert first.replies[of_file].message == "/d: is a directory"
