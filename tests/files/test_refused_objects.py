"""A refusal that concerns one object (SSE-C, a KMS key of another owner) stops nothing else."""

from __future__ import annotations

import pytest

from sftpgw.errors import AccessDenied, StoreError, StoreUnavailable
from sftpgw.testing.sftp_sessions import CREATE, GatewayInMemory, SftpClient, SftpFailure
from sftpgw.wire.sftp import OpenFlag, Status

HOME = "home/alice/"
REFUSALS = (AccessDenied("403", status=403), StoreError("400", code="Unexplained", status=400))


@pytest.fixture(params=REFUSALS, ids=["KMS", "SSE-C"])
def gateway(request: pytest.FixtureRequest) -> GatewayInMemory:
    gateway = GatewayInMemory()
    gateway.store.seed(HOME + "secret", b"bytes", mtime="5")
    gateway.store.refused[HOME + "secret"] = request.param
    return gateway


def keys(gateway: GatewayInMemory) -> list[str]:
    return sorted(name.key.removeprefix(HOME) for name in gateway.store.objects)


class TestOperationsThatNeedNothingOfIt:
    def test_stat_of_a_refused_object_shows_what_a_list_says(self, client: SftpClient) -> None:
        assert client.stat(b"/secret")["size"] == 5
        assert client.stat(b"/secret") == client.listed(b"/")[b"secret"]

    def test_a_refused_object_can_be_removed(
        self, gateway: GatewayInMemory, client: SftpClient
    ) -> None:
        client.remove(b"/secret")
        assert keys(gateway) == []

    def test_a_refused_object_can_be_replaced(
        self, gateway: GatewayInMemory, client: SftpClient
    ) -> None:
        client.put(b"/secret", b"new", flags=OpenFlag.WRITE | OpenFlag.TRUNC)
        del gateway.store.refused[HOME + "secret"]
        assert client.get(b"/secret") == b"new"

    def test_a_refused_object_fails_an_exclusive_create_at_once(self, client: SftpClient) -> None:
        with pytest.raises(SftpFailure, match="exists already"):
            client.open(b"/secret", CREATE | OpenFlag.EXCL)

    def test_a_refused_object_is_replaced_by_posix_rename_only(
        self, gateway: GatewayInMemory, client: SftpClient
    ) -> None:
        client.put(b"/f", b"x")
        with pytest.raises(SftpFailure, match="exists already"):
            client.rename(b"/f", b"/secret")
        client.posix_rename(b"/f", b"/secret")
        assert keys(gateway) == ["secret"]

    def test_a_refused_object_is_no_directory(self, client: SftpClient) -> None:
        with pytest.raises(SftpFailure, match="is not a directory") as caught:
            client.rmdir(b"/secret")
        assert caught.value.code is Status.NO_SUCH_FILE
        with pytest.raises(SftpFailure, match="is not a directory"):
            client.stat(b"/secret/")
        with pytest.raises(SftpFailure, match="is not a directory"):
            client.mkdir(b"/secret/sub")

    def test_a_folder_beside_a_refused_hadoop_marker_is_removed(
        self, gateway: GatewayInMemory, client: SftpClient
    ) -> None:
        client.mkdir(b"/d")
        gateway.store.seed(HOME + "d_$folder$", b"")
        gateway.store.refused[HOME + "d_$folder$"] = gateway.store.refused[HOME + "secret"]
        client.rmdir(b"/d")
        assert keys(gateway) == ["secret"]


class TestOperationsThatNeedAllOfIt:
    @pytest.mark.parametrize("how", ["read", "edit", "rename", "touch"])
    def test_operations_on_its_bytes_fail_and_change_nothing(
        self, gateway: GatewayInMemory, client: SftpClient, how: str
    ) -> None:
        with pytest.raises(SftpFailure):
            match how:
                case "read":
                    client.get(b"/secret")
                case "edit":
                    client.open(b"/secret", OpenFlag.WRITE | OpenFlag.CREAT)
                case "rename":
                    client.rename(b"/secret", b"/n")
                case "touch":
                    client.set_times(b"/secret", 77)
        assert gateway.store.content(HOME + "secret") == b"bytes"
        assert keys(gateway) == ["secret"]


class TestListings:
    def test_the_others_keep_their_times(
        self, gateway: GatewayInMemory, client: SftpClient
    ) -> None:
        for number in range(199):
            gateway.store.seed(HOME + f"f{number:03}", b"x", mtime="77")
        listed = client.listed(b"/")
        assert sum(found["mtime"] == 77 for found in listed.values()) == 199
        assert len(gateway.events.facts("times-unknown")) == 1

    def test_a_listing_whose_objects_are_all_refused_stops_asking(
        self, gateway: GatewayInMemory, client: SftpClient
    ) -> None:
        for number in range(500):
            gateway.store.seed(HOME + f"f{number:03}", b"x")
            gateway.store.refused[HOME + f"f{number:03}"] = AccessDenied("403", status=403)
        client.listed(b"/")
        assert 64 <= gateway.store.requests["head"] < 64 + 32

    def test_a_listing_stops_asking_at_once_when_the_store_fails(
        self, gateway: GatewayInMemory, client: SftpClient
    ) -> None:
        for number in range(500):
            gateway.store.seed(HOME + f"f{number:03}", b"x")
        gateway.store.fail("head", StoreUnavailable("down"), times=500)
        client.listed(b"/")
        assert gateway.store.requests["head"] <= 32


def test_a_refused_list_is_asked_for_only_once() -> None:
    """Then the HEAD of a missing object is a 403, and no request shows whether it exists."""
    gateway = GatewayInMemory()
    client = gateway.log_in()
    denied = AccessDenied("403", status=403)
    gateway.store.fail("head", denied, times=3)
    gateway.store.fail("list", denied, times=3)
    for _ in range(3):
        with pytest.raises(SftpFailure) as caught:
            client.remove(b"/f")
        assert caught.value.code is Status.PERMISSION_DENIED
    assert gateway.store.requests == {"head": 3, "list": 1}
