"""The classic scp protocol and the hash commands, by the programs that speak them."""

from __future__ import annotations

import asyncio
import hashlib
import os
import random
import signal
import subprocess
from pathlib import Path
from typing import Any

import asyncssh
import pytest

from tests.interop.spawning import (
    CLIENT_SECONDS,
    Account,
    Bucket,
    Client,
    Gateway,
    connect,
    fingerprint,
    program,
    wait_until,
)
from tests.needs import needs

MIB = 1024 * 1024


@pytest.fixture
def alice(gateway: Gateway, account: Account, tmp_path: Path) -> Client:
    return Client(gateway, account, tmp_path)


@pytest.fixture
def bob(gateway: Gateway, account: Account, tmp_path: Path) -> Client:
    return Client(gateway, account, tmp_path, "bob")


def make_file(path: Path, size_bytes: int) -> bytes:
    source = random.Random(path.name)
    data = b"".join(source.randbytes(min(MIB, size_bytes - at)) for at in range(0, size_bytes, MIB))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return data


def make_tree(root: Path) -> dict[str, bytes]:
    """A few files in a few directories, one of them empty."""
    sizes = {"one": 1000, "two words": 0, "below/three": 300_000, "below/deeper/it's four": 5}
    (root / "empty").mkdir(parents=True)
    return {name: make_file(root / name, size) for name, size in sizes.items()}


def tree_of(root: Path) -> dict[str, bytes]:
    files = (path for path in root.rglob("*") if path.is_file())
    return {str(path.relative_to(root)): path.read_bytes() for path in files}


# OpenSSH.


@needs("openssh")
@pytest.mark.parametrize("size_bytes", [0, 1, 100_000, 8 * MIB, 21 * MIB + 7])
def test_a_file_goes_up_and_down(alice: Client, bucket: Bucket, size_bytes: int) -> None:
    data = make_file(alice.folder / "up", size_bytes)
    name = f"scp-{size_bytes}"
    alice.scp("-O", "up", f":{name}")
    assert bucket.body(f"alice/{name}") == data
    alice.scp("-O", f":{name}", "down")
    assert (alice.folder / "down").read_bytes() == data
    assert bucket.uploads("alice/") == []


@needs("openssh")
def test_a_file_replaces_a_longer_and_a_shorter_one(alice: Client, bucket: Bucket) -> None:
    for size_bytes in (1000, 10, 9 * MIB, 9 * MIB):
        data = make_file(alice.folder / "up", size_bytes)
        alice.scp("-O", "up", ":again")
        assert bucket.body("alice/again") == data


@needs("openssh")
@pytest.mark.parametrize("classic", [("-O",), ()])
def test_a_file_that_is_replaced_stays_the_same_file(
    alice: Client, bucket: Bucket, classic: tuple[str, ...]
) -> None:
    bucket.client.put_object(
        Bucket=bucket.name,
        Key=bucket.prefix + "alice/typed",
        Body=b"longer than the new one",
        ContentType="text/x-test",
        Metadata={"note": "kept", "mtime": "1"},
    )
    data = make_file(alice.folder / "up", 10)
    alice.scp(*classic, "up", ":typed")
    assert bucket.body("alice/typed") == data
    assert bucket.metadata("alice/typed") == {"note": "kept"}
    found = bucket.client.head_object(Bucket=bucket.name, Key=bucket.prefix + "alice/typed")
    assert found["ContentType"] == "text/x-test"


@needs("openssh")
def test_a_tree_goes_up_and_down_with_its_times(alice: Client, bucket: Bucket) -> None:
    files = make_tree(alice.folder / "tree")
    os.utime(alice.folder / "tree/one", (1_600_000_001, 1_500_000_001))
    alice.scp("-O", "-r", "-p", "tree", ":/uploaded")
    assert {key: bucket.body(f"alice/uploaded/{key}") for key in files} == files
    assert "alice/uploaded/empty/" in bucket.keys("alice/uploaded/")
    alice.scp("-O", "-r", "-p", ":uploaded", "down")
    assert tree_of(alice.folder / "down") == files
    assert (alice.folder / "down/empty").is_dir()
    assert int((alice.folder / "down/one").stat().st_mtime) == 1_500_000_001


@needs("openssh")
def test_a_tree_goes_into_a_directory_that_exists(alice: Client, bucket: Bucket) -> None:
    files = make_tree(alice.folder / "tree")
    alice.sftp("mkdir existing")
    for _ in range(2):
        alice.scp("-O", "-r", "tree", ":existing")
    assert {key: bucket.body(f"alice/existing/tree/{key}") for key in files} == files
    (alice.folder / "here").mkdir()
    alice.scp("-O", "-r", ":existing/tree", "here")
    assert tree_of(alice.folder / "here/tree") == files


@needs("openssh")
def test_several_sources_need_a_directory(alice: Client, bucket: Bucket) -> None:
    for name in ("s1", "s2"):
        make_file(alice.folder / name, 100)
    assert "No such file or directory" in alice.scp("-O", "s1", "s2", ":nowhere", ok=False)
    alice.sftp("mkdir several")
    alice.scp("-O", "s1", "s2", ":several")
    assert bucket.keys("alice/several/") == [f"alice/several/{n}" for n in ("", "s1", "s2")]
    (alice.folder / "down").mkdir()
    alice.scp("-O", ":several/s1", ":several/s2", "down")
    assert sorted(tree_of(alice.folder / "down")) == ["s1", "s2"]


@needs("openssh")
def test_wildcards_are_for_the_gateway(alice: Client) -> None:
    wanted = {}
    for name in ("a one.txt", "b.txt", "c.log", "[d].txt"):
        wanted[name] = make_file(alice.folder / name, 50)
    alice.sftp("mkdir wild")
    alice.scp("-O", *wanted, ":wild")
    (alice.folder / "down").mkdir()
    alice.scp("-O", ":wild/*.txt", "down")
    assert sorted(tree_of(alice.folder / "down")) == ["[d].txt", "a one.txt", "b.txt"]
    alice.scp("-O", ":w*/?.l[a-o]g", "down")
    assert (alice.folder / "down/c.log").read_bytes() == wanted["c.log"]
    assert "No such file or directory" in alice.scp("-O", ":wild/*.nothing", "down", ok=False)


@needs("openssh")
@pytest.mark.parametrize("name", ["two words", "it's", 'say "hi"', "back\\slash", "$HOME;ls", "ä€"])
def test_names_that_a_shell_would_take_apart(alice: Client, bucket: Bucket, name: str) -> None:
    data = make_file(alice.folder / "up", 77)
    quoted = "'" + name.replace("'", "'\\''") + "'"
    alice.scp("-O", "up", f":{quoted}")
    assert bucket.body(f"alice/{name}") == data
    # -T: a name that was quoted is none that scp itself recognises, whatever the server.
    alice.scp("-O", "-T", f":{quoted}", "down")
    assert (alice.folder / "down").read_bytes() == data


@needs("openssh")
def test_errors_in_the_middle_of_a_tree_do_not_lose_the_rest(alice: Client, bucket: Bucket) -> None:
    files = make_tree(alice.folder / "tree")
    bucket.put("alice/broken/tree/below", b"a file where a directory has to be")
    printed = alice.scp("-O", "-r", "tree", ":broken", ok=False)
    assert "is not a directory" in printed
    kept = {key: data for key, data in files.items() if not key.startswith("below/")}
    assert {key: bucket.body(f"alice/broken/tree/{key}") for key in kept} == kept
    (alice.folder / "down").mkdir()
    printed = alice.scp("-O", ":broken/missing", ":broken/tree/one", "down", ok=False)
    assert "No such file or directory" in printed
    assert sorted(tree_of(alice.folder / "down")) == ["one"]


@needs("openssh")
def test_a_directory_needs_r(alice: Client) -> None:
    alice.sftp("mkdir flat")
    assert "is a directory" in alice.scp("-O", ":flat", "down", ok=False)


@needs("openssh")
def test_from_one_user_to_another_through_the_client(
    alice: Client, bob: Client, bucket: Bucket, account: Account
) -> None:
    data = make_file(alice.folder / "up", 3 * MIB)
    alice.scp("-O", "up", ":third")
    url = f"scp://{{}}@127.0.0.1:{alice.gateway.port}/"
    target = url.format("dropper") + "third"
    done = alice.run(
        [program("scp"), "-O", "-3", *account.key_options, url.format("alice") + "third", target]
    )
    assert done.returncode == 0, done.stdout
    assert bucket.body("dropper/third") == data
    bucket.remove("dropper/third")


@needs("openssh")
def test_permissions_are_those_of_sftp(alice: Client, bob: Client, bucket: Bucket) -> None:
    make_file(alice.folder / "up", 10)
    assert "you may not upload" in bob.scp("-O", "up", ":forbidden", ok=False)
    assert bucket.keys("alice/forbidden") == []
    alice.scp("-O", "up", ":scp-dropped")
    dropper = Client(alice.gateway, alice.account, alice.folder, "dropper")
    dropper.scp("-O", "up", ":scp-dropped")
    assert "you may not download" in dropper.scp("-O", ":scp-dropped", "down", ok=False)
    assert "may not overwrite" in dropper.scp("-O", "up", ":scp-dropped", ok=False)
    assert "you may not download" in dropper.ssh("md5sum scp-dropped").stdout
    bucket.remove("dropper/scp-dropped")


@needs("openssh")
def test_a_client_that_is_killed_leaves_nothing(alice: Client, bucket: Bucket) -> None:
    make_file(alice.folder / "up", 60 * MIB)
    bucket.put("alice/scp-cut-off", b"the old one")
    port = ["-P", str(alice.gateway.port)]
    command = [program("scp"), "-O", "-l", "80000", *port, *alice.account.key_options]
    process = subprocess.Popen([*command, "up", f"{alice.host}:scp-cut-off"], cwd=alice.folder)
    wait_until(lambda: bucket.uploads("alice/scp-cut-off"))
    process.send_signal(signal.SIGKILL)
    process.wait(CLIENT_SECONDS)
    wait_until(lambda: not bucket.uploads("alice/scp-cut-off"))
    assert bucket.body("alice/scp-cut-off") == b"the old one"


@needs("openssh")
@pytest.mark.slow
def test_memory_stays_small(config: Path, account: Account, tmp_path: Path) -> None:
    gateway = Gateway.start("--config", str(config))
    try:
        alice = Client(gateway, account, tmp_path)
        data = make_file(tmp_path / "up", 160 * MIB)
        alice.scp("-O", "up", ":scp-large")
        alice.scp("-O", ":scp-large", "down")
        assert (tmp_path / "down").read_bytes() == data
        assert (
            alice.ssh("sha256sum scp-large").stdout.split()[0] == hashlib.sha256(data).hexdigest()
        )
        assert gateway.memory_bytes() < 200 * MIB
    finally:
        gateway.stop()


# PuTTY.


def pscp(client: Client, host_key: Path, *paths: str) -> subprocess.CompletedProcess[str]:
    key = client.folder / "key.ppk"
    if not key.exists():
        converting = [program("puttygen"), str(client.account.key_file), "-O", "private"]
        subprocess.run([*converting, "-o", str(key)], check=True, stdin=subprocess.DEVNULL)
    options = ["-scp", "-batch", "-noagent", "-P", str(client.gateway.port), "-l", client.user]
    options += ["-hostkey", fingerprint(host_key), "-i", str(key)]
    command = [program("pscp"), *options, *paths]
    return client.run(["env", f"PUTTYDIR={client.folder}", *command])


@needs("putty")
def test_pscp_copies_both_ways(alice: Client, bucket: Bucket, host_keys: dict[str, Path]) -> None:
    files = make_tree(alice.folder / "tree")
    host_key = host_keys["ed25519"]
    done = pscp(alice, host_key, "-r", "-p", "tree", "127.0.0.1:pscp")
    assert done.returncode == 0, done.stdout
    assert {key: bucket.body(f"alice/pscp/{key}") for key in files} == files
    (alice.folder / "down").mkdir()
    done = pscp(alice, host_key, "-r", "-p", "127.0.0.1:pscp", "down")
    assert done.returncode == 0, done.stdout
    assert tree_of(alice.folder / "down/pscp") == files
    done = pscp(alice, host_key, "-unsafe", "127.0.0.1:'pscp/o*'", "down/one")
    assert "No such file or directory" in done.stdout


# curl, by libssh2.


@needs("curl")
def test_curl_copies_both_ways_by_scp(alice: Client, bucket: Bucket, account: Account) -> None:
    data = make_file(alice.folder / "up", 9 * MIB + 3)
    key = account.key_file
    command = [program("curl"), "-q", "--silent", "--show-error", "--insecure", "--user", "alice:"]
    command += ["--key", str(key), "--pubkey", f"{key}.pub"]
    url = f"scp://127.0.0.1:{alice.gateway.port}/curl%20it's"
    done = alice.run([*command, "--upload-file", "up", url])
    assert done.returncode == 0, done.stdout
    assert bucket.body("alice/curl it's") == data
    done = alice.run([*command, "--output", "down", url])
    assert done.returncode == 0, done.stdout
    assert (alice.folder / "down").read_bytes() == data
    assert alice.run([*command, "--output", "none", url + "-missing"]).returncode != 0


# asyncssh, whose scp is one of its own.


def test_asyncssh_copies_both_ways_by_scp(alice: Client, bucket: Bucket, account: Account) -> None:
    files = make_tree(alice.folder / "tree")

    async def copy() -> None:
        login: dict[str, Any] = {"username": "alice", "client_keys": [str(account.key_file)]}
        login |= {"known_hosts": None, "agent_path": None, "config": []}
        async with asyncssh.connect("127.0.0.1", alice.gateway.port, **login) as connection:
            options = {"preserve": True, "recurse": True}
            await asyncssh.scp(str(alice.folder / "tree"), (connection, "asyncssh"), **options)
            await asyncssh.scp((connection, "asyncssh"), str(alice.folder / "down"), **options)

    asyncio.run(asyncio.wait_for(copy(), CLIENT_SECONDS))
    assert {key: bucket.body(f"alice/asyncssh/{key}") for key in files} == files
    assert tree_of(alice.folder / "down") == files


# Commands.


@needs("openssh", "coreutils")
def test_sums_as_coreutils_print_them(alice: Client, bucket: Bucket) -> None:
    data = make_file(alice.folder / "up", 2 * MIB + 1)
    bucket.put("alice/sums/a b", data)
    bucket.put("alice/sums/back\\slash", b"")
    (alice.folder / "sums").mkdir()
    (alice.folder / "sums/a b").write_bytes(data)
    (alice.folder / "sums/back\\slash").write_bytes(b"")
    for name in ("md5sum", "sha1sum", "sha256sum", "sha512sum"):
        for line in (f"{name} sums/*", f"{name} -b 'sums/a b' sums/back\\\\slash", name):
            here = alice.run(["sh", "-c", line])
            assert alice.ssh(line).stdout == here.stdout
    done = alice.ssh("md5sum missing 'sums/a b'")
    assert done.returncode == 1
    assert "/missing: No such file or directory" in done.stdout
    assert hashlib.md5(data).hexdigest() in done.stdout


@needs("openssh")
def test_what_is_left_of_a_shell(alice: Client) -> None:
    alice.sftp("mkdir left")
    assert alice.ssh("pwd").stdout == "/\n"
    assert alice.ssh("cd left").returncode == 0
    done = alice.ssh("cd nowhere")
    assert (done.returncode, done.stdout) == (1, "cd: /nowhere: No such file or directory\n")
    assert alice.ssh("pwd; ls").returncode == 127


@needs("rclone")
def test_rclone_uses_the_checksum_commands(alice: Client, bucket: Bucket, account: Account) -> None:
    files = make_tree(alice.folder / "tree")
    config = alice.folder / "rclone.conf"
    config.write_text(
        f"[gateway]\ntype = sftp\nhost = 127.0.0.1\nport = {alice.gateway.port}\nuser = alice\n"
        f"key_file = {account.key_file}\n"
    )
    command = [program("rclone"), "--config", str(config), "-v"]
    target = "gateway:rclone's tree"

    def rclone(*arguments: str) -> subprocess.CompletedProcess[str]:
        return alice.run([*command, *arguments])

    done = rclone("copy", "--checksum", "tree", target)
    assert done.returncode == 0, done.stdout
    assert {key: bucket.body(f"alice/rclone's tree/{key}") for key in files} == files
    done = rclone("copy", "--checksum", "tree", target)
    assert "There was nothing to transfer" in done.stdout
    done = rclone("check", "tree", target)
    assert done.returncode == 0, done.stdout
    assert "4 matching files" in done.stdout
    assert "could not be checked" not in done.stdout
    bucket.put("alice/rclone's tree/one", random.Random("another").randbytes(1000))
    done = rclone("check", "tree", target)
    assert done.returncode != 0
    assert "differ" in done.stdout
    assert "1 differences found" in done.stdout


# check-file.


def test_paramiko_checks_a_file(alice: Client, bucket: Bucket) -> None:
    data = make_file(alice.folder / "up", 3 * MIB)
    bucket.put("alice/checked", data)
    client = connect(alice.gateway, username="alice", key_filename=str(alice.account.key_file))
    with client, client.open_sftp() as sftp, sftp.open("checked") as file:
        assert file.check("sha256") == hashlib.sha256(data).digest()
        assert file.check("sha1", 5, 1000) == hashlib.sha1(data[5:1005]).digest()
        blocks = [data[at : at + MIB] for at in range(0, len(data), MIB)]
        found = file.check("nothing,md5", 0, 0, MIB)
        assert found == b"".join(hashlib.md5(block).digest() for block in blocks)
        with pytest.raises(OSError, match="none of these algorithms"):
            file.check("rot13")
