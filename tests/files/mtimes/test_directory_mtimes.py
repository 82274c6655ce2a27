"""A directory has the mtime of its marker; without a marker it has none."""

from __future__ import annotations

import pytest

from sftpgw.model.settings import ExactTimes, FilesSettings, LateTimes
from sftpgw.model.store import ObjectName
from sftpgw.testing.sftp_sessions import GatewayInMemory, SftpClient, SftpFailure
from sftpgw.wire import sftp as wire
from sftpgw.wire.sftp import Kind, Status

HOME = "home/alice/"


def both(client: SftpClient, name: bytes) -> tuple[int | None, int | None]:
    """The mtime of a directory in STAT, and in the listing of its parent."""
    return client.stat(b"/" + name).get("mtime"), client.listed(b"/")[name].get("mtime")


class TestWhatIsShown:
    def test_none_where_there_is_no_marker(self, client: SftpClient) -> None:
        """Such directories were dated 1970."""
        client.put(b"/d/f", b"x")
        assert both(client, b"d") == (None, None)
        assert "mtime" not in client.stat(b"/")

    def test_the_marker_s_date(self, gateway: GatewayInMemory, client: SftpClient) -> None:
        client.mkdir(b"/d")
        made = int(gateway.store.now_seconds)
        assert both(client, b"d") == (made, made)

    def test_long_names_keep_their_columns(self, client: SftpClient) -> None:
        client.put(b"/d/f", b"x")
        [(_, long_name)] = client.entries(b"/")
        assert len(long_name.split()) == 9

    def test_folders_are_asked_for_once_a_minute(
        self, gateway: GatewayInMemory, client: SftpClient
    ) -> None:
        for name in (b"/a/f", b"/b/f"):
            client.put(name, b"x")
        client.mkdir(b"/c")
        gateway.store.requests.clear()
        client.listed(b"/")
        client.listed(b"/")
        gateway.log_in().listed(b"/")
        assert gateway.store.requests == {"list": 3, "head": 3}
        gateway.clock.advance(61)
        client.listed(b"/")
        assert gateway.store.requests["head"] == 6

    def test_no_request_where_exact_times_are_not_wanted(self) -> None:
        gateway = GatewayInMemory(files=FilesSettings(exact_times=ExactTimes.NO))
        client = gateway.log_in()
        client.mkdir(b"/d")
        client.set_times(b"/d", 77)
        set_at = int(gateway.store.now_seconds)
        gateway.store.requests.clear()
        assert both(client, b"d") == (set_at, None)
        assert gateway.store.requests == {"head": 1, "list": 2}


class TestWhatIsSet:
    def test_a_made_folder_keeps_it(self, gateway: GatewayInMemory, client: SftpClient) -> None:
        """rclone sets it at each sync, and would repeat that at every sync."""
        client.mkdir(b"/d")
        client.set_times(b"/d", 77)
        assert both(client, b"d") == (77, 77)
        assert both(gateway.log_in(), b"d") == (77, 77)
        stored = gateway.store.objects[ObjectName("bucket", HOME + "d/")]
        assert (stored.data, stored.properties.metadata["mtime"]) == (b"", "77")
        assert stored.properties.content_type == "application/x-directory"

    def test_a_directory_time_that_is_being_set_is_waited_for(
        self, gateway: GatewayInMemory, client: SftpClient
    ) -> None:
        client.mkdir(b"/d")
        other = gateway.log_in()
        gateway.store.requests.clear()
        gate = gateway.store.hold("put")
        setting = [
            each.send(wire.ChangePath(Kind.SETSTAT, 0, b"/d", {"atime": at, "mtime": at}))
            for each, at in ((client, 5), (other, 7))
        ]
        assert gateway.store.requests["put"] == 1
        gate.open()
        for each, request_id in zip((client, other), setting, strict=True):
            each.pump()
            each.answer(request_id)
        assert both(client, b"d") == (7, 7)

    def test_setting_the_same_one_stores_nothing(
        self, gateway: GatewayInMemory, client: SftpClient
    ) -> None:
        client.mkdir(b"/d")
        client.set_times(b"/d", 77)
        gateway.store.requests.clear()
        client.set_times(b"/d/", 77)
        assert gateway.store.requests["put"] == 0

    def test_a_folder_that_is_only_a_prefix_gets_a_marker(
        self, gateway: GatewayInMemory, client: SftpClient
    ) -> None:
        client.put(b"/d/f", b"x")
        assert both(client, b"d") == (None, None)
        client.set_times(b"/d", 77)
        assert both(client, b"d") == (77, 77)
        client.remove(b"/d/f")
        assert both(gateway.log_in(), b"d") == (77, 77)
        client.rmdir(b"/d")
        assert not gateway.store.objects

    def test_metadata_of_others_on_the_marker_stays(
        self, gateway: GatewayInMemory, client: SftpClient
    ) -> None:
        gateway.store.seed(HOME + "d/", b"", uid="1000", mtime="5")
        client.set_times(b"/d", 77)
        stored = gateway.store.objects[ObjectName("bucket", HOME + "d/")]
        assert stored.properties.metadata == {"uid": "1000", "mtime": "77"}

    def test_the_bytes_of_a_marker_stay(self, gateway: GatewayInMemory, client: SftpClient) -> None:
        gateway.store.seed(HOME + "d/", b"precious")
        client.set_times(b"/d", 77)
        assert gateway.store.content(HOME + "d/") == b"precious"
        assert client.stat(b"/d")["mtime"] == 77

    def test_a_directory_time_moves_with_the_directory(
        self, gateway: GatewayInMemory, client: SftpClient
    ) -> None:
        client.mkdir(b"/d")
        made = int(gateway.store.now_seconds)
        client.mkdir(b"/d/sub")
        client.set_times(b"/d/sub", 77)
        client.rename(b"/d", b"/n")
        assert both(client, b"n") == (made, made)
        assert client.listed(b"/n")[b"sub"]["mtime"] == 77

    def test_a_missing_directory_has_no_time(
        self, gateway: GatewayInMemory, client: SftpClient
    ) -> None:
        for path in (b"/m", b"/m/"):
            with pytest.raises(SftpFailure) as caught:
                client.set_times(path, 77)
            assert caught.value.code is Status.NO_SUCH_FILE
        client.set_times(b"/", 77)
        assert not gateway.store.objects

    def test_times_that_are_to_be_ignored_are(self) -> None:
        gateway = GatewayInMemory(files=FilesSettings(late_times=LateTimes.IGNORE))
        client = gateway.log_in()
        client.put(b"/d/f", b"x")
        client.set_times(b"/d", 77)
        assert both(client, b"d") == (None, None)


class TestScp:
    def test_the_classic_protocol_keeps_them_too(
        self, gateway: GatewayInMemory, client: SftpClient
    ) -> None:
        command = gateway.open_command(b"scp -r -p -t /")
        for line in (
            b"T77 0 77 0\n",
            b"D0755 0 d\n",
            b"T5 0 5 0\n",
            b"C0644 1 f\n",
            b"x\0",
            b"E\n",
        ):
            assert command.say(line) == b"\0"
        command.end_input()
        assert command.status == 0
        assert both(client, b"d") == (77, 77)
        assert client.stat(b"/d/f")["mtime"] == 5
        command = gateway.open_command(b"scp -r -p -f /d")
        assert command.say(b"\0") == b"T77 0 77 0\n"
        assert command.say(b"\0") == b"D0755 0 d\n"


class TestDots:
    @pytest.mark.parametrize("path", [b"/", b"/d", b"/d/empty"])
    def test_dot_entries_come_first_and_once(
        self, gateway: GatewayInMemory, client: SftpClient, path: bytes
    ) -> None:
        for number in range(3):
            gateway.store.seed(f"{HOME}d/f{number}", b"x")
        client.mkdir(b"/d/empty")
        handle = client.on_path(Kind.OPENDIR, path).body
        names: list[bytes] = []
        with pytest.raises(SftpFailure) as caught:
            while True:
                reply = client.ask(wire.OnHandle(Kind.READDIR, 0, handle))
                names += [name for name, _ in reply.names]
                assert all(found["permissions"] for found in reply.listed)
        assert caught.value.code is Status.EOF
        assert names[:2] == [b".", b".."]
        assert sorted(names[2:]) == sorted(client.listdir(path))
