"""A directory's marker, ``name/``, may hold bytes: no operation on directories destroys them."""

from __future__ import annotations

import pytest
from twisted.internet.defer import Deferred

from sftpgw.errors import StoreUnavailable
from sftpgw.files.paths import MARKER_CONTENT
from sftpgw.model.settings import FilesSettings
from sftpgw.model.store import ObjectName
from sftpgw.testing.other_users import with_mount
from sftpgw.testing.sftp_sessions import ALICE, CREATE, GatewayInMemory, SftpClient, SftpFailure
from sftpgw.wire.sftp import OpenFlag, Status
from tests.files.worlds import finisher
from tests.results import failure_of, result_of

HOME = "home/alice/"
CONTENT = MARKER_CONTENT.encode()


@pytest.fixture
def gateway() -> GatewayInMemory:
    gateway = GatewayInMemory()
    gateway.store.seed(HOME + "d/", b"precious")
    return gateway


def stored(gateway: GatewayInMemory) -> dict[str, bytes]:
    return {name.key.removeprefix(HOME): held.data for name, held in gateway.store.objects.items()}


class TestItCanBeSeen:
    def test_bytes_of_a_marker_are_a_file_in_its_directory(self, client: SftpClient) -> None:
        assert client.listdir(b"/") == [b"d"]
        assert client.listed(b"/d")[CONTENT]["size"] == 8
        assert client.stat(b"/d/" + CONTENT)["size"] == 8
        assert client.get(b"/d/" + CONTENT) == b"precious"

    def test_a_marker_without_bytes_has_no_such_file(
        self, gateway: GatewayInMemory, client: SftpClient
    ) -> None:
        client.mkdir(b"/e")
        assert client.listdir(b"/e") == []
        for asked in (
            client.stat,
            client.get,
            client.remove,
            lambda name: client.set_times(name, 77),
        ):
            with pytest.raises(SftpFailure) as caught:
                asked(b"/e/" + CONTENT)
            assert caught.value.code is Status.NO_SUCH_FILE
        assert stored(gateway) == {"d/": b"precious", "e/": b""}
        assert client.stat(b"/e").get("mtime") != 77

    def test_the_user_s_root_has_one_too(
        self, gateway: GatewayInMemory, client: SftpClient
    ) -> None:
        gateway.store.seed(HOME, b"of the root")
        assert set(client.listdir(b"/")) == {b"d", CONTENT}
        assert client.get(b"/" + CONTENT) == b"of the root"

    def test_the_file_of_a_markers_bytes_has_the_time_that_is_set_on_it(
        self, client: SftpClient
    ) -> None:
        client.set_times(b"/d/" + CONTENT, 77)
        assert client.stat(b"/d/" + CONTENT)["mtime"] == 77
        assert client.listed(b"/d")[CONTENT]["mtime"] == 77

    def test_a_real_object_of_that_name_is_not_shown_as_it(
        self, gateway: GatewayInMemory, client: SftpClient
    ) -> None:
        gateway.store.seed(HOME + "d/" + MARKER_CONTENT, b"another")
        assert client.listdir(b"/d") == [CONTENT]
        assert client.get(b"/d/" + CONTENT) == b"precious"


def test_an_open_of_a_markers_bytes_that_is_cancelled_holds_up_no_shutdown(
    gateway: GatewayInMemory,
) -> None:
    gateway.store.seed(HOME + "e/")
    gate = gateway.store.hold("head")
    opening = Deferred.fromCoroutine(gateway.tree().open_reader(b"/e/" + CONTENT))
    assert gate.waiting
    opening.cancel()
    failure_of(opening)
    result_of(gateway.transfers.idle())


class TestItIsRemovedOnPurposeOnly:
    def test_rmdir_says_what_is_in_the_way(
        self, gateway: GatewayInMemory, client: SftpClient
    ) -> None:
        with pytest.raises(SftpFailure, match=r"object holds 8 bytes; remove _\$folder_cont"):
            client.rmdir(b"/d")
        client.remove(b"/d/" + CONTENT)
        assert stored(gateway) == {"d/": b""}
        assert client.listdir(b"/d") == []
        client.rmdir(b"/d")
        assert stored(gateway) == {}

    def test_a_folder_that_replaces_its_folder_does_not_destroy_it(
        self, gateway: GatewayInMemory, client: SftpClient
    ) -> None:
        """It was overwritten by the empty marker of the other directory."""
        client.mkdir(b"/e")
        client.put(b"/e/f", b"file")
        for rename in (client.posix_rename, client.rename):
            with pytest.raises(SftpFailure):
                rename(b"/e", b"/d")
        assert stored(gateway) == {"d/": b"precious", "e/": b"", "e/f": b"file"}

    def test_bytes_of_a_marker_move_with_their_directory(
        self, gateway: GatewayInMemory, client: SftpClient
    ) -> None:
        client.mkdir(b"/e")
        client.posix_rename(b"/d", b"/e")
        assert stored(gateway) == {"e/": b"precious"}
        client.rename(b"/e", b"/f")
        assert stored(gateway) == {"f/": b"precious"}

    def test_a_hadoop_marker_beside_it_does_not_replace_it(
        self, gateway: GatewayInMemory, client: SftpClient
    ) -> None:
        gateway.store.seed(HOME + "d_$folder$", b"")
        client.rename(b"/d", b"/e")
        assert stored(gateway) == {"e/": b"precious"}

    def test_an_empty_directory_that_is_preserved_keeps_the_bytes_of_its_marker(self) -> None:
        gateway = GatewayInMemory(files=FilesSettings(keep_empty_directories=True))
        gateway.store.seed(HOME + "d/", b"precious")
        gateway.store.seed(HOME + "d/f", b"file")
        gateway.log_in().remove(b"/d/f")
        assert stored(gateway) == {"d/": b"precious"}

    def test_a_rename_that_is_given_up_leaves_the_target_as_it_was(
        self, gateway: GatewayInMemory, client: SftpClient
    ) -> None:
        """The target gets an empty marker again: with the copied bytes, no rename could succeed."""
        gateway.store.seed(HOME + "d/f", b"file")
        gateway.store.seed(HOME + "d/g", b"file")
        client.mkdir(b"/e")
        gateway.store.seed(HOME + "d/h", b"file")
        gateway.store.fail("copy", StoreUnavailable("down"), skip=2)
        with pytest.raises(SftpFailure):
            client.posix_rename(b"/d", b"/e")
        result_of(finisher(gateway).look())
        assert gateway.store.content(HOME + "e/") == b""
        client.posix_rename(b"/d", b"/e")
        assert gateway.store.content(HOME + "e/") == b"precious"


class TestNothingWritesIt:
    @pytest.mark.parametrize("path", [b"/d/", b"/e/"])
    def test_the_name_is_reserved(
        self, gateway: GatewayInMemory, client: SftpClient, path: bytes
    ) -> None:
        client.put(b"/f", b"file")
        name = path + CONTENT
        for refused in (
            lambda: client.put(name, b"new"),
            lambda: client.open(name, CREATE | OpenFlag.EXCL),
            lambda: client.open(name, OpenFlag.READ | OpenFlag.CREAT | OpenFlag.TRUNC),
            lambda: client.mkdir(name),
            lambda: client.posix_rename(b"/f", name),
            lambda: client.rename(name, b"/g"),
            lambda: client.put(name + b"/f", b"new"),
            lambda: client.mkdir(name + b"/e/g"),
            lambda: client.rename(b"/f", name + b"/f"),
        ):
            with pytest.raises(SftpFailure) as caught:
                refused()
            assert caught.value.code is Status.PERMISSION_DENIED
        assert stored(gateway) == {"d/": b"precious", "f": b"file"}


def test_a_whole_bucket_s_root_has_no_object_of_its_own() -> None:
    """Its key would be empty, so the name is like any other there."""
    gateway = GatewayInMemory()
    client = gateway.log_in(with_mount(ALICE, key_prefix=""))
    client.put(b"/" + CONTENT, b"a file")
    assert client.listdir(b"/") == [CONTENT]
    assert ObjectName("bucket", MARKER_CONTENT) in gateway.store.objects
