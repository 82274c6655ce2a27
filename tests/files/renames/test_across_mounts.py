"""Renames and copies from one mount to another: same bucket, other bucket, other store."""

from __future__ import annotations

from dataclasses import replace

import pytest

from sftpgw.errors import AccessDenied
from sftpgw.model.mounts import ALL_PERMISSIONS, Mount, Permission
from sftpgw.model.settings import StoreSettings
from sftpgw.model.store import ObjectName, ObjectProperties
from sftpgw.model.units import MIB
from sftpgw.model.users import User
from sftpgw.testing.fake_store import FakeStore
from sftpgw.testing.sftp_sessions import ALICE, CREATE, GatewayInMemory, SftpClient, SftpFailure
from sftpgw.wire.sftp import OpenFlag, Status
from tests.results import result_of
from tests.scp.talking import Talk
from tests.sftp.test_copy_data import copy_data

HOME = Mount("bucket", "home/alice/")
MOUNTS = {
    b"/same": Mount("bucket", "pool/", path=("same",)),
    b"/other": Mount("other", "pool/", path=("other",)),
    b"/far": Mount("far:b", "pool/", path=("far",)),
}
USER = replace(ALICE, mounts=(HOME, *MOUNTS.values()))
PROPERTIES = ObjectProperties(
    metadata={"mtime": "1234567890.5", "colour": "blue"},
    content_type="text/csv",
    tags={"team": "a"},
    system_headers={"cache-control": "no-store"},
)


@pytest.fixture
def gateway() -> GatewayInMemory:
    store = FakeStore(buckets=("bucket", "other", "far:b"), min_part_bytes=1, stores=("far",))
    return GatewayInMemory(store, settings=StoreSettings(bucket="bucket", part_size_bytes=5 * MIB))


def client_of(gateway: GatewayInMemory, user: User = USER) -> SftpClient:
    return gateway.log_in(user)


def refusal(client: SftpClient, *arguments: object) -> SftpFailure:
    request, *rest = arguments
    with pytest.raises(SftpFailure) as caught:
        request(*rest)  # type: ignore[operator]
    return caught.value


def without(missing: Permission) -> User:
    """A user whose mounts, but for the home, lack a permission."""
    granted = ALL_PERMISSIONS & ~missing
    others = (replace(mount, permissions=granted) for mount in MOUNTS.values())
    return replace(USER, mounts=(HOME, *others))


def object_at(gateway: GatewayInMemory, path: bytes, name: str) -> ObjectName:
    mount = MOUNTS.get(path, HOME)
    return ObjectName(mount.bucket, mount.key_prefix + name)


@pytest.mark.parametrize("replaces", [False, True])
@pytest.mark.parametrize("size", [0, 100, 12 * MIB])
@pytest.mark.parametrize("to", list(MOUNTS))
def test_a_file_takes_its_properties_along(
    gateway: GatewayInMemory, to: bytes, size: int, replaces: bool
) -> None:
    store, data = gateway.store, b"abcd" * (size // 4)
    source = ObjectName("bucket", "home/alice/f")
    result_of(store.put(source, (data,), PROPERTIES))
    if replaces:
        target = object_at(gateway, to, "g")
        store.seed(target.key, b"old", target.bucket)
    client = client_of(gateway)
    rename = client.posix_rename if replaces else client.rename
    store.requests.clear()
    rename(b"/f", to + b"/g")
    assert source not in store.objects
    held = store.objects[object_at(gateway, to, "g")]
    assert held.data == data
    info = result_of(store.head(object_at(gateway, to, "g")))
    assert info.metadata == PROPERTIES.metadata
    assert info.content_type == PROPERTIES.content_type
    assert info.system_headers == PROPERTIES.system_headers
    assert result_of(store.tags(info.name)) == PROPERTIES.tags
    assert client.get(to + b"/g") == data
    assert client.stat(to + b"/g")["mtime"] == 1234567890
    assert client.listdir(b"/") == [b"far", b"other", b"same"]
    client.drop()
    gateway.assert_idle()


@pytest.mark.parametrize("to", list(MOUNTS))
def test_only_another_store_sees_the_bytes(gateway: GatewayInMemory, to: bytes) -> None:
    gateway.store.seed("home/alice/f", b"data")
    client = client_of(gateway)
    gateway.store.requests.clear()
    client.rename(b"/f", to + b"/f")
    streams = to == b"/far"
    assert gateway.store.requests["copy"] == (0 if streams else 1)
    assert gateway.store.requests["get"] == (1 if streams else 0)


def test_a_copy_that_is_refused_is_streamed(gateway: GatewayInMemory) -> None:
    """The credentials of the target may not read the source."""
    gateway.store.seed("home/alice/f", b"data")
    gateway.store.fail("copy", AccessDenied("no"))
    client_of(gateway).rename(b"/f", b"/other/f")
    assert gateway.store.content("pool/f", "other") == b"data"
    assert gateway.store.keys("bucket") == []


@pytest.mark.parametrize("to", list(MOUNTS))
def test_nothing_is_replaced_without_being_asked(gateway: GatewayInMemory, to: bytes) -> None:
    gateway.store.seed("home/alice/f", b"mine")
    target = object_at(gateway, to, "g")
    gateway.store.seed(target.key, b"theirs", target.bucket)
    client = client_of(gateway)
    assert "exists already" in refusal(client, client.rename, b"/f", to + b"/g").message
    user = without(Permission.OVERWRITE)
    careful = client_of(gateway, user)
    failure = refusal(careful, careful.posix_rename, b"/f", to + b"/g")
    assert failure.code is Status.PERMISSION_DENIED
    assert gateway.store.objects[target].data == b"theirs"
    assert gateway.store.content("home/alice/f") == b"mine"


@pytest.mark.parametrize("to", list(MOUNTS))
def test_both_ends_need_the_permission(gateway: GatewayInMemory, to: bytes) -> None:
    gateway.store.seed("home/alice/f", b"mine")
    target = object_at(gateway, to, "g")
    gateway.store.seed(target.key, b"theirs", target.bucket)
    user = without(Permission.RENAME)
    client = client_of(gateway, user)
    for old, new in ((b"/f", to + b"/h"), (to + b"/g", b"/h")):
        assert refusal(client, client.rename, old, new).code is Status.PERMISSION_DENIED


def test_a_directory_moves_within_its_bucket_only(gateway: GatewayInMemory) -> None:
    for key in ("d/a", "d/b/c"):
        gateway.store.seed(f"home/alice/{key}", key.encode())
    client = client_of(gateway)
    for to in (b"/other/d", b"/far/d"):
        failure = refusal(client, client.rename, b"/d", to)
        assert failure.code is Status.FAILURE
        assert "another bucket" in failure.message
    client.rename(b"/d", b"/same/e")
    assert [key for key in gateway.store.keys("bucket") if not key.startswith(".")] == [
        "pool/e/a",
        "pool/e/b/c",
    ]
    assert client.get(b"/same/e/b/c") == b"d/b/c"


def test_a_file_that_is_written_stays_in_its_bucket(gateway: GatewayInMemory) -> None:
    client = client_of(gateway)
    handle = client.open(b"/f", CREATE)
    client.write(handle, 0, b"x")
    assert "is being written" in refusal(client, client.rename, b"/f", b"/other/f").message
    client.rename(b"/f", b"/same/f")
    client.close(handle)
    assert gateway.store.content("pool/f") == b"x"


def test_one_object_by_two_paths_is_not_lost(gateway: GatewayInMemory) -> None:
    """Mounts overlap: a rename onto the same object does nothing, one into itself is refused."""
    inner = Mount("bucket", "home/alice/d/", path=("inner",))
    gateway.store.seed("home/alice/d/f", b"data")
    client = client_of(gateway, replace(USER, mounts=(HOME, inner)))
    client.posix_rename(b"/d/f", b"/inner/f")
    client.posix_rename(b"/inner/f", b"/d/f")
    refusal(client, client.rename, b"/d", b"/inner/e")
    assert gateway.store.content("home/alice/d/f") == b"data"


def test_one_bucket_by_two_names_loses_nothing(gateway: GatewayInMemory) -> None:
    """Such as that of an access point: both names have the same objects."""
    alias = Mount("far:b", "home/alice/", path=("alias",))
    for bucket in ("bucket", "far:b"):
        gateway.store.seed("home/alice/f", b"data", bucket)
    client = client_of(gateway, replace(USER, mounts=(HOME, alias)))
    assert "exists already" in refusal(client, client.posix_rename, b"/f", b"/alias/f").message
    assert gateway.store.content("home/alice/f") == b"data"


def test_sessions_see_what_changed_by_another_path(gateway: GatewayInMemory) -> None:
    inner = Mount("bucket", "home/alice/d/", path=("inner",))
    user = replace(USER, mounts=(HOME, inner))
    gateway.store.seed("home/alice/d/f", b"data")
    one, two = client_of(gateway, user), client_of(gateway, user)
    handle = one.open(b"/inner/new", CREATE)
    one.write(handle, 0, b"123")
    assert two.stat(b"/d/new")["size"] == 3
    assert set(two.listdir(b"/d")) == {b"f", b"new"}
    assert two.stat(b"/inner")["permissions"] & 0o40000
    one.close(handle)
    two.stat(b"/d")
    one.remove(b"/inner/new")
    assert two.listdir(b"/d") == [b"f"]


@pytest.mark.parametrize("to", list(MOUNTS))
def test_copy_data_and_hashes_work_across(gateway: GatewayInMemory, to: bytes) -> None:
    gateway.store.seed("home/alice/f", b"data")
    client = client_of(gateway)
    source, target = client.open(b"/f"), client.open(to + b"/f", CREATE | OpenFlag.READ)
    client.ask(copy_data(source, target))
    client.close(target)
    assert client.get(to + b"/f") == b"data"
    talk = Talk(gateway, b"md5sum /f " + to + b"/*", USER)
    assert {line.split()[0] for line in talk.heard().splitlines()} == {
        b"8d777f385d3dfec8815d20f7496026dc"
    }
    assert len(talk.heard() or b"") == 0
