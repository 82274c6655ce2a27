"""Stores that list directories without keys: every client can remove them."""

from __future__ import annotations

import pytest

from sftpgw.errors import StoreUnavailable
from sftpgw.files.unlisted_directories import MAX_SIBLING_PAGES
from sftpgw.model.settings import FilesSettings
from sftpgw.testing.fake_store import FakeStore
from sftpgw.testing.sftp_sessions import GatewayInMemory, SftpClient, SftpFailure
from sftpgw.wire.sftp import Status
from tests.files.worlds import finisher
from tests.results import result_of

HOME = "home/alice/"


@pytest.fixture
def gateway() -> GatewayInMemory:
    return GatewayInMemory(FakeStore(min_part_bytes=1, keeps_folders=True))


def folders(gateway: GatewayInMemory) -> list[str]:
    found = (name.key for name in gateway.store.folders)
    return sorted(key.removeprefix(HOME) for key in found if key.startswith(HOME))


class TestRemoving:
    def test_the_session_that_has_emptied_a_folder_removes_it(
        self, gateway: GatewayInMemory, client: SftpClient
    ) -> None:
        client.put(b"/d/sub/f", b"x")
        client.remove(b"/d/sub/f")
        with pytest.raises(SftpFailure, match="not empty"):
            client.rmdir(b"/d")
        client.rmdir(b"/d/sub")
        client.rmdir(b"/d")
        assert client.listdir(b"/") == []
        assert folders(gateway) == [""]

    def test_another_session_removes_an_emptied_directory_too(
        self, gateway: GatewayInMemory, client: SftpClient
    ) -> None:
        client.put(b"/d/f", b"x")
        client.remove(b"/d/f")
        gateway.log_in().rmdir(b"/d")
        assert folders(gateway) == [""]

    def test_a_listed_ghost_directory_can_be_looked_at(
        self, gateway: GatewayInMemory, client: SftpClient
    ) -> None:
        client.put(b"/d/f", b"x")
        client.remove(b"/d/f")
        other = gateway.log_in()
        assert other.listdir(b"/") == [b"d"]
        assert other.listdir(b"/d") == []
        assert other.stat(b"/d")["permissions"] & 0o40000
        other.rmdir(b"/d")
        assert other.listdir(b"/") == []
        with pytest.raises(SftpFailure) as caught:
            other.stat(b"/d")
        assert caught.value.code is Status.NO_SUCH_FILE

    def test_a_made_folder_goes_as_before(
        self, gateway: GatewayInMemory, client: SftpClient
    ) -> None:
        client.mkdir(b"/d")
        client.rmdir(b"/d")
        assert folders(gateway) == [""]

    def test_many_names_that_begin_alike_are_not_all_looked_at(self) -> None:
        gateway = GatewayInMemory(FakeStore(page_limit=2))
        for number in range(20):
            gateway.store.seed(f"{HOME}aa{number:02}", b"x")
        client = gateway.log_in()
        with pytest.raises(SftpFailure, match="No such file"):
            client.rmdir(b"/ab")
        assert gateway.store.requests["list"] == 1 + MAX_SIBLING_PAGES


class TestRenaming:
    def fill(self, client: SftpClient) -> None:
        client.mkdir(b"/d")
        client.mkdir(b"/d/made")
        client.mkdir(b"/d/made/deeper")
        for path in (b"/d/f", b"/d/implied/more/f", b"/d/made/f"):
            client.put(path, b"x")

    def test_nothing_is_left_under_the_old_name(
        self, gateway: GatewayInMemory, client: SftpClient
    ) -> None:
        self.fill(client)
        client.rename(b"/d", b"/n")
        assert client.listdir(b"/") == [b"n"]
        assert [folder for folder in folders(gateway) if folder.startswith("d")] == []
        assert [key for key in gateway.store.keys() if "/d/" in key] == []  # noqa: SIM118

    def test_nothing_is_left_of_a_directory_without_markers(
        self, gateway: GatewayInMemory, client: SftpClient
    ) -> None:
        client.put(b"/d/f", b"x")
        client.rename(b"/d", b"/n")
        assert folders(gateway) == ["", "n/"]

    def test_nothing_is_left_under_the_new_name_if_the_rename_fails(
        self, gateway: GatewayInMemory, client: SftpClient
    ) -> None:
        self.fill(client)
        gateway.store.fail("copy", StoreUnavailable("down"), skip=2)
        with pytest.raises(SftpFailure):
            client.rename(b"/d", b"/n")
        assert [folder for folder in folders(gateway) if folder.startswith("n")] == []
        client.rename(b"/d", b"/n")
        assert client.listdir(b"/") == [b"n"]

    def test_another_gateway_that_completes_the_rename_clears_ghosts_too(
        self, gateway: GatewayInMemory, client: SftpClient
    ) -> None:
        self.fill(client)
        gateway.store.fail("delete", StoreUnavailable("down"), times=3)
        with pytest.raises(SftpFailure):
            client.rename(b"/d", b"/n")
        gateway.clock.advance(gateway.store.now_seconds - gateway.clock.seconds() + 1000)
        result_of(finisher(gateway).look())
        assert gateway.log_in().listdir(b"/") == [b"n"]

    def test_markers_go_last_and_the_deepest_first(
        self, gateway: GatewayInMemory, client: SftpClient
    ) -> None:
        """Then no ghost directory is left: such a store gets no more requests than others.

        This holds for several pages of the journal, too.
        """
        plain = GatewayInMemory(FakeStore(min_part_bytes=1))
        for each in (client, plain.log_in()):
            each.mkdir(b"/deep")
            for number in range(210):
                each.mkdir(b"/deep/%03d" % number)
                each.put(b"/deep/%03d/f" % number, b"x")
        for store in (gateway.store, plain.store):
            store.requests.clear()
        client.rename(b"/deep", b"/n")
        plain.log_in().rename(b"/deep", b"/n")
        assert gateway.store.requests == plain.store.requests
        assert [folder for folder in folders(gateway) if folder.startswith("deep")] == []
        assert b"deep" not in client.listdir(b"/")


def test_no_look_for_a_hadoop_marker_whose_name_no_file_system_takes() -> None:
    """MinIO and versitygw refuse such a HEAD, s3proxy fails; STAT and RMDIR failed, too."""
    gateway = GatewayInMemory(files=FilesSettings(hadoop_markers=True))
    client = gateway.log_in()
    for name, heads in ((b"n" * 246, 2), (b"n" * 247, 1)):
        gateway.store.requests.clear()
        with pytest.raises(SftpFailure) as caught:
            client.stat(b"/" + name)
        assert caught.value.code is Status.NO_SUCH_FILE
        assert gateway.store.requests["head"] == heads
        client.mkdir(b"/" + name)
        client.rmdir(b"/" + name)
