"""Several mounts of one user: which keys their paths reach, and what stays where it is."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sftpgw.errors import PermissionDenied
from sftpgw.files.mount_table import MountTable, Unmounted
from sftpgw.files.paths import Location, canonical
from sftpgw.model.mounts import AccessRule, Mount, Permission
from sftpgw.model.store import ObjectName
from sftpgw.model.users import User
from sftpgw.testing.fake_store import FakeStore
from sftpgw.testing.sftp_sessions import ALICE, GatewayInMemory, SftpClient, SftpFailure
from sftpgw.wire.sftp import Kind, Status

NAMES = st.sampled_from(["a", "b", "c", "é"])
PATHS = st.lists(NAMES, max_size=4).map(tuple)
TABLES = st.lists(PATHS, min_size=1, max_size=5, unique=True)
REQUESTED = st.lists(st.sampled_from(["a", "b", "c", "é", "..", ".", ""]), max_size=8)


def mounted_at(paths: list[tuple[str, ...]]) -> list[Mount]:
    return [Mount(f"bucket-{at}", f"p{at}/", path=path) for at, path in enumerate(paths)]


def user_with(*mounts: Mount) -> User:
    return replace(ALICE, mounts=mounts)


def refused(client: SftpClient, *arguments: object) -> tuple[Status, str]:
    request, *rest = arguments
    with pytest.raises(SftpFailure) as caught:
        request(*rest)  # type: ignore[operator]
    return caught.value.code, caught.value.message


@settings(max_examples=300)
@given(TABLES, REQUESTED)
def test_the_longest_mount_wins(paths: list[tuple[str, ...]], words: list[str]) -> None:
    """As the naive way: all mounts whose path begins the resolved one, and the longest of them."""
    mounts = mounted_at(paths)
    found = MountTable(mounts).resolve("/".join(words).encode())
    resolved = canonical("/".join(words).encode())
    above = [each for each in mounts if resolved[: len(each.path)] == each.path]
    if not above:
        below = {
            each.path[len(resolved)] for each in mounts if each.path[: len(resolved)] == resolved
        }
        assert found == Unmounted(resolved, tuple(sorted(below)))
        return
    mount = max(above, key=lambda each: len(each.path))
    assert isinstance(found, Location)
    key = mount.key_prefix + "/".join(resolved[len(mount.path) :])
    assert found.file == ObjectName(mount.bucket, key)
    assert found.path == "/" + "/".join(resolved)
    is_fixed = any(each.path[: len(resolved)] == resolved for each in mounts)
    assert found.is_fixed is is_fixed
    assert found.may_be_file is (not is_fixed and words[-1] not in ("", ".", ".."))


@settings(max_examples=200)
@given(TABLES, PATHS)
def test_an_object_has_a_path_that_leads_to_it(
    paths: list[tuple[str, ...]], segments: tuple[str, ...]
) -> None:
    table = MountTable(mounted_at(paths))
    for at in range(len(paths)):
        name = ObjectName(f"bucket-{at}", f"p{at}/" + "/".join((*segments, "f")))
        path = table.path_of(name)
        if path is not None:
            found = table.resolve(path)
            assert isinstance(found, Location)
            assert found.file == name


def test_the_gateways_keys_are_out_of_reach_in_each_mount() -> None:
    table = MountTable((Mount("one", "home/", ".own/"), Mount("two", "", ".own/", path=("x",))))
    with pytest.raises(PermissionDenied, match="reserved"):
        table.resolve(b"/x/.own/renames")
    assert isinstance(table.resolve(b"/.own/renames"), Location)


def test_a_drop_box_is_fixed() -> None:
    rule = AccessRule(("in", "box"), Permission.UPLOAD)
    (found,) = MountTable((Mount("one", "", rules=(rule,)),))._by_path.values()
    assert found.fixed == (("in", "box"),)


HOME = Mount("bucket", "home/alice/")
SHARED = Mount("other", "pool/", path=("shared",))
DEEP = Mount("deep", "", path=("a", "b", "deep"))


@pytest.fixture
def gateway() -> GatewayInMemory:
    gateway = GatewayInMemory(FakeStore(buckets=("bucket", "other", "deep"), min_part_bytes=1))
    gateway.store.seed("home/alice/mine", b"mine")
    gateway.store.seed("home/alice/shared", b"a file in the way")
    gateway.store.seed("home/alice/shared/hidden", b"hidden")
    gateway.store.seed("home/alice/a/plain", b"plain")
    gateway.store.seed("home/alice/a/b/deep/hidden", b"hidden")
    gateway.store.seed("pool/theirs", b"theirs", bucket="other")
    return gateway


@pytest.fixture
def client(gateway: GatewayInMemory) -> SftpClient:
    return gateway.log_in(user_with(HOME, SHARED, DEEP))


def test_mounts_are_listed_once_and_hide_what_lies_under_them(client: SftpClient) -> None:
    assert sorted(client.listdir(b"/")) == [b"a", b"mine", b"shared"]
    assert sorted(client.listdir(b"/shared")) == [b"theirs"]
    assert sorted(client.listdir(b"/a")) == [b"b", b"plain"]
    assert client.listdir(b"/a/b/deep") == []
    assert client.get(b"/shared/theirs") == b"theirs"
    assert client.get(b"/shared/../mine") == b"mine"
    for hidden in (b"/shared/hidden", b"/a/b/deep/hidden"):
        assert refused(client, client.get, hidden)[0] is Status.NO_SUCH_FILE
        assert refused(client, client.stat, hidden)[0] is Status.NO_SUCH_FILE


def test_a_mount_is_in_one_page_of_many(gateway: GatewayInMemory) -> None:
    gateway.store._page_limit = 2
    for at in range(7):
        gateway.store.seed(f"home/alice/{at}", b"")
    gateway.store.seed("home/alice/shared-", b"")
    gateway.store.seed("home/alice/shared_$folder$", b"")
    names = gateway.log_in(user_with(HOME, SHARED)).listdir(b"/")
    assert sorted(names) == sorted(
        [b"a", b"mine", b"shared", b"shared-", *(b"%d" % at for at in range(7))]
    )


@pytest.mark.parametrize("path", [b"/shared", b"/a", b"/a/b", b"/a/b/deep", b"/shared/", b"/"])
def test_what_is_fixed_stays(gateway: GatewayInMemory, client: SftpClient, path: bytes) -> None:
    before = dict(gateway.store.objects)
    assert client.stat(path)["permissions"] & 0o40000
    attempts = [
        (client.rmdir, path),
        (client.remove, path),
        (client.rename, path, b"/new"),
        (client.posix_rename, path, b"/new"),
        (client.rename, b"/mine", path),
        (client.posix_rename, b"/mine", path),
        (client.posix_rename, b"/shared/theirs", path),
        (client.mkdir, path),
        (client.put, path, b"x"),
        (client.get, path),
    ]
    for attempt in attempts:
        refused(client, *attempt)
    client.set_times(path, 5)
    assert "exists already" in refused(client, client.mkdir, path)[1]
    assert gateway.store.objects == before


def test_a_root_without_a_mount_is_read_only(gateway: GatewayInMemory) -> None:
    client = gateway.log_in(user_with(SHARED, DEEP))
    gateway.store.requests.clear()
    assert client.listdir(b"/") == [b"a", b"shared"]
    assert client.listdir(b"/a") == [b"b"]
    assert client.stat(b"/")["permissions"] & 0o40000
    assert client.stat(b"/a/b")["permissions"] & 0o40000
    assert client.on_path(Kind.REALPATH, b"/a/../a/b").names[0][0] == b"/a/b"
    for path in (b"/new", b"/a/new", b"/a/b/new"):
        assert refused(client, client.stat, path)[0] is Status.NO_SUCH_FILE
        assert refused(client, client.listdir, path)[0] is Status.NO_SUCH_FILE
        assert refused(client, client.get, path)[0] is Status.NO_SUCH_FILE
        for attempt in ((client.put, path, b"x"), (client.mkdir, path)):
            code, message = refused(client, *attempt)
            assert code is Status.PERMISSION_DENIED
            assert "none of your mounts" in message
    for path in (b"/", b"/a", b"/a/b"):
        assert "exists already" in refused(client, client.mkdir, path)[1]
        assert "cannot be removed" in refused(client, client.rmdir, path)[1]
        assert "is a directory" in refused(client, client.get, path)[1]
        assert "only leads to mounts" in refused(client, client.put, path, b"x")[1]
        assert "only leads to mounts" in refused(client, client.rename, path, b"/shared/x")[1]
        assert "only leads to mounts" in refused(client, client.set_times, path, 5)[1]
    assert not gateway.store.requests


def test_one_mount_at_the_root_costs_no_request_more(gateway: GatewayInMemory) -> None:
    def requests(user: User) -> dict[str, int]:
        client = gateway.log_in(user)
        gateway.store.requests.clear()
        client.listdir(b"/")
        client.put(b"/new", b"x")
        client.get(b"/new")
        client.rename(b"/new", b"/newer")
        client.remove(b"/newer")
        return dict(gateway.store.requests)

    requests(user_with(HOME))  # the times of files are remembered
    assert requests(user_with(HOME)) == requests(user_with(HOME, SHARED, DEEP))
