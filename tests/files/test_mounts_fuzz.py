"""Any requests over any mounts and rules: what is outside of the mounts is not touched."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from sftpgw.model.mounts import ALL_PERMISSIONS, AccessRule, Mount, Permission
from sftpgw.model.store import ObjectName
from sftpgw.testing.fake_store import FakeStore
from sftpgw.testing.sftp_sessions import ALICE, CREATE, GatewayInMemory, SftpClient, SftpFailure
from sftpgw.wire.sftp import Kind, OpenFlag
from tests.files.worlds import client_without_ssh

NAMES = ["a", "b", "in"]
PATHS = st.lists(st.sampled_from(NAMES), max_size=2).map(tuple)
PREFIXES = ["home/", "home/a/", "pool/", "pool/in/"]
WORDS = st.lists(
    st.sampled_from([*NAMES, "..", ".", "", "secret", "%2e%2e", ".sftpgw"]), max_size=5
)
REQUESTED = WORDS.map(lambda words: "/".join(words).encode())
GRANTED = st.sampled_from(
    [ALL_PERMISSIONS, Permission.UPLOAD, Permission.LIST | Permission.DOWNLOAD, ALL_PERMISSIONS]
)

Request = Callable[[SftpClient, bytes, bytes], object]
REQUESTS: list[Request] = [
    lambda client, one, two: client.get(one),
    lambda client, one, two: client.listdir(one),
    lambda client, one, two: client.stat(one),
    lambda client, one, two: client.put(one, b"mine"),
    lambda client, one, two: client.put(one, b"mine", flags=OpenFlag.WRITE | OpenFlag.CREAT),
    lambda client, one, two: client.remove(one),
    lambda client, one, two: client.mkdir(one),
    lambda client, one, two: client.rmdir(one),
    lambda client, one, two: client.rename(one, two),
    lambda client, one, two: client.posix_rename(one, two),
    lambda client, one, two: client.set_times(one, 5),
    lambda client, one, two: client.close(client.open(one, CREATE | OpenFlag.READ)),
    lambda client, one, two: client.on_path(Kind.REALPATH, one),
]


@st.composite
def mounts(draw: st.DrawFn) -> tuple[Mount, ...]:
    made = []
    for path in draw(st.lists(PATHS, min_size=1, max_size=3, unique=True)):
        granted = draw(GRANTED)
        at = (*path, draw(st.sampled_from(NAMES)))
        rules = (AccessRule(at, draw(GRANTED)), AccessRule(path, granted))
        made.append(
            Mount(
                draw(st.sampled_from(["bucket", "other"])),
                draw(st.sampled_from(PREFIXES)),
                permissions=granted,
                path=path,
                rules=rules if draw(st.booleans()) else (),
            )
        )
    return tuple(made)


def secrets_outside(made: tuple[Mount, ...]) -> list[ObjectName]:
    """Objects in both buckets that are in none of the mounts."""
    keys = [
        f"{prefix}{name}"
        for prefix in ("", "home", "pool", *PREFIXES)
        for name in ("secret", "a", "in/f")
    ]
    names = [ObjectName(bucket, key) for bucket in ("bucket", "other") for key in keys]
    return [name for name in names if all(mount.path_of(name) is None for mount in made)]


@settings(max_examples=120, deadline=None)
@given(mounts(), st.lists(st.tuples(st.sampled_from(REQUESTS), REQUESTED, REQUESTED), max_size=12))
def test_nothing_outside_of_the_mounts_is_touched(
    made: tuple[Mount, ...], requests: list[tuple[Request, bytes, bytes]]
) -> None:
    gateway = GatewayInMemory(FakeStore(buckets=("bucket", "other"), min_part_bytes=1))
    secrets = secrets_outside(made)
    for name in secrets:
        gateway.store.seed(name.key, b"secret", name.bucket)
    before = dict(gateway.store.objects)
    client = client_without_ssh(gateway, replace(ALICE, mounts=made))
    for request, one, two in requests:
        try:
            answer = request(client, one, two)
        except SftpFailure:
            continue
        if isinstance(answer, bytes):
            assert b"secret" not in answer
    for name in secrets:
        assert gateway.store.objects[name] == before[name]
    for name in gateway.store.objects.keys() - before.keys():
        is_own = name.key.startswith(gateway.settings.state_prefix)
        assert is_own or any(mount.path_of(name) for mount in made), name
    assert gateway.events.facts("defect") == []
