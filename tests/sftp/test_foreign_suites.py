"""What the test suites of other projects rely on, and what their authors' users do too."""

from __future__ import annotations

import pytest

from sftpgw.testing.sftp_sessions import CREATE, GatewayInMemory, SftpClient, SftpFailure
from sftpgw.wire import sftp as wire
from sftpgw.wire.sftp import Kind, OpenFlag, Status


class TestWhatIsNotThere:
    @pytest.mark.parametrize("kind", [Kind.STAT, Kind.LSTAT, Kind.OPENDIR, Kind.RMDIR, Kind.REMOVE])
    def test_a_missing_file_is_told_in_the_words_that_scripts_search_for(
        self, client: SftpClient, kind: Kind
    ) -> None:
        """paramiko's users look for "No such file" in the message."""
        with pytest.raises(SftpFailure, match=r"/gone: No such file") as caught:
            client.on_path(kind, b"/gone")
        assert caught.value.code is Status.NO_SUCH_FILE

    @pytest.mark.parametrize("kind", [Kind.OPENDIR, Kind.RMDIR])
    def test_a_file_is_no_such_directory(self, client: SftpClient, kind: Kind) -> None:
        """As OpenSSH has it for ENOTDIR: fs.sshfs asks what is there after this code only."""
        client.put(b"/file", b"x")
        with pytest.raises(SftpFailure, match=r"is not a directory") as caught:
            client.on_path(kind, b"/file")
        assert caught.value.code is Status.NO_SUCH_FILE


class TestTheSizeOfAnOpenFile:
    """sshfs asks for it by name, and allows no read behind that size."""

    def open_and_write(self, gateway: GatewayInMemory, client: SftpClient) -> bytes:
        client.put(b"/file", b"old")
        handle = client.open(b"/file", OpenFlag.READ | OpenFlag.WRITE)
        assert client.stat(b"/file")["size"] == 3
        gateway.clock.advance(100)
        client.write(handle, 3, b"and new")
        return handle

    def test_the_writing_session_sees_what_is_written(
        self, gateway: GatewayInMemory, client: SftpClient
    ) -> None:
        handle = self.open_and_write(gateway, client)
        assert client.stat(b"/file")["size"] == 10
        assert client.listed(b"/")[b"file"]["size"] == 10
        client.close(handle)
        assert client.stat(b"/file")["size"] == 10

    def test_other_sessions_see_the_published_file(
        self, gateway: GatewayInMemory, client: SftpClient
    ) -> None:
        self.open_and_write(gateway, client)
        other = gateway.log_in()
        assert other.stat(b"/file")["size"] == 3
        assert other.get(b"/file") == b"old"

    def test_an_open_file_has_the_published_time_until_it_is_changed(
        self, gateway: GatewayInMemory, client: SftpClient
    ) -> None:
        client.put(b"/file", b"old")
        client.set_times(b"/file", 5)
        handle = client.open(b"/file", OpenFlag.READ | OpenFlag.WRITE)
        assert client.stat(b"/file")["mtime"] == 5
        gateway.clock.advance(100)
        client.write(handle, 3, b"and new")
        written = client.stat(b"/file")["mtime"]
        assert written == int(gateway.clock.seconds())
        gateway.clock.advance(100)
        assert client.stat(b"/file")["mtime"] == written


class TestADirectoryThatOneSessionEmptied:
    """rclone has several connections: one empties a folder, another one moves or removes it."""

    @pytest.fixture
    def other(self, gateway: GatewayInMemory, client: SftpClient) -> SftpClient:
        client.put(b"/top/folder/file", b"x")
        client.remove(b"/top/folder/file")
        assert client.stat(b"/top/folder")
        return gateway.log_in()

    @pytest.mark.parametrize("moved", [b"/top", b"/top/folder"])
    def test_an_emptied_directory_is_gone_when_another_session_has_moved_it(
        self, client: SftpClient, other: SftpClient, moved: bytes
    ) -> None:
        other.mkdir(b"/top/folder")
        other.rename(moved, b"/moved")
        with pytest.raises(SftpFailure, match=r"No such file"):
            client.stat(b"/top/folder")

    def test_an_emptied_directory_is_gone_when_another_session_has_removed_it(
        self, client: SftpClient, other: SftpClient
    ) -> None:
        other.mkdir(b"/top/folder")
        other.rmdir(b"/top/folder")
        with pytest.raises(SftpFailure, match=r"No such file"):
            client.stat(b"/top/folder")

    def test_an_emptied_directory_is_there_again_when_it_is_emptied_again(
        self, client: SftpClient, other: SftpClient
    ) -> None:
        other.mkdir(b"/top/folder")
        other.rmdir(b"/top/folder")
        client.put(b"/top/folder/file", b"x")
        client.remove(b"/top/folder/file")
        assert client.listdir(b"/top/folder") == []


class TestAFileInADirectorysPlace:
    """It would hide all that is below."""

    def test_a_directory_made_by_this_session_is_not_overwritten(self, client: SftpClient) -> None:
        client.mkdir(b"/folder")
        with pytest.raises(SftpFailure, match=r"is a directory"):
            client.put(b"/folder", b"x")

    def test_a_directory_seen_by_this_session_is_not_overwritten(
        self, gateway: GatewayInMemory, client: SftpClient
    ) -> None:
        gateway.log_in().put(b"/folder/file", b"x")
        client.listdir(b"/folder")
        with pytest.raises(SftpFailure, match=r"is a directory"):
            client.put(b"/folder", b"x")
        assert client.get(b"/folder/file") == b"x"

    def test_a_directory_being_uploaded_to_is_not_overwritten(
        self, gateway: GatewayInMemory, client: SftpClient
    ) -> None:
        gateway.log_in().open(b"/folder/file", CREATE)
        with pytest.raises(SftpFailure, match=r"is a directory"):
            client.put(b"/folder", b"x")

    def test_a_removed_file_is_in_the_way_of_none(
        self, gateway: GatewayInMemory, client: SftpClient
    ) -> None:
        client.mkdir(b"/folder")
        gateway.log_in().rmdir(b"/folder")
        client.put(b"/folder", b"x")
        assert client.get(b"/folder") == b"x"

    def test_a_put_beside_a_directory_is_one_request(
        self, gateway: GatewayInMemory, client: SftpClient
    ) -> None:
        client.mkdir(b"/folder")
        gateway.store.requests.clear()
        client.put(b"/file", b"x")
        assert len(gateway.store.requests) == 1


class TestWithoutWaitingForAnswers:
    """sshfs sends OPEN and LSTAT at once, and does not wait for CLOSE."""

    @pytest.mark.parametrize("flags", [OpenFlag.EXCL, OpenFlag(0)])
    def test_a_stat_behind_an_open_finds_the_new_file(
        self, gateway: GatewayInMemory, client: SftpClient, flags: OpenFlag
    ) -> None:
        gate = gateway.store.hold("head")
        flags |= OpenFlag.READ | OpenFlag.WRITE | OpenFlag.CREAT
        opened = client.send(wire.Open(0, b"/new", flags, {}))
        looked = client.send(wire.OnPath(Kind.LSTAT, 0, b"/new"))
        assert gate.waiting == 1, "LSTAT did not wait for OPEN"
        gate.open()
        client.pump()
        assert client.replies.pop(opened).kind is Kind.HANDLE
        assert client.replies.pop(looked).attributes["size"] == 0

    def test_a_stat_behind_an_open_that_fails_is_answered(
        self, gateway: GatewayInMemory, client: SftpClient
    ) -> None:
        gate = gateway.store.hold("head")
        opened = client.send(wire.Open(0, b"/none", OpenFlag.WRITE, {}))
        looked = client.send(wire.OnPath(Kind.LSTAT, 0, b"/none"))
        gate.open()
        client.pump()
        codes = [client.replies.pop(each).code for each in (opened, looked)]
        assert codes == [Status.NO_SUCH_FILE, Status.NO_SUCH_FILE]

    def test_a_file_is_cut_that_is_closed_meanwhile(
        self, gateway: GatewayInMemory, client: SftpClient
    ) -> None:
        """By name, from another session: pkg/sftp's TestClientTruncate on a file of sshfs."""
        handle = client.open(b"/file", CREATE)
        client.write(handle, 0, b"hello world")
        other = gateway.log_in()
        lookup, storing = gateway.store.hold("head"), gateway.store.hold("put")
        cut = other.send(wire.ChangePath(Kind.SETSTAT, 0, b"/file", {"size": 5}))
        client.send(wire.OnHandle(Kind.CLOSE, 0, handle))
        lookup.open()
        other.pump()
        storing.open()
        for each in (client, other, client, other):
            each.pump()
        assert other.replies.pop(cut).code is Status.OK
        assert other.get(b"/file") == b"hello"
