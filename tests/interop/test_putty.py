"""PuTTY's psftp and pscp. What they can do with pscp -scp is in test_scp, too."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.interop.spawning import Bucket, Client, fingerprint, program
from tests.interop.trees import (
    LONG_AGO,
    MIB,
    demand_copied,
    demand_stored,
    make_file,
    make_tree,
    stored_time,
)


class Putty:
    """PuTTY's programs, logged in as a user."""

    def __init__(self, client: Client, host_key: Path) -> None:
        self.client = client
        self._options = ["-batch", "-noagent", "-P", str(client.gateway.port), "-l", client.user]
        self._options += ["-hostkey", fingerprint(host_key), "-i", self._key()]

    def _key(self) -> str:
        path = str(self.client.folder / "key.ppk")
        converting = [program("puttygen"), str(self.client.account.key_file), "-O", "private"]
        subprocess.run([*converting, "-o", path], check=True, stdin=subprocess.DEVNULL)
        return path

    def psftp(self, *lines: str, ok: bool = True) -> str:
        """Run a batch, which ends at the first failure; what it prints."""
        batch = self.client.folder / "batch"
        batch.write_text("".join(f"{line}\n" for line in lines))
        return self._run(ok, "psftp", *self._options, "-b", str(batch), "127.0.0.1")

    def pscp(self, *arguments: str, ok: bool = True) -> str:
        """Copy; ``:path`` is on the gateway."""
        paths = [f"127.0.0.1{each}" if each.startswith(":") else each for each in arguments]
        return self._run(ok, "pscp", *self._options, *paths)

    def _run(self, ok: bool, name: str, *arguments: str) -> str:
        own = f"PUTTYDIR={self.client.folder}"
        done = self.client.run(["env", own, program(name), *arguments])
        assert (done.returncode == 0) is ok, done.stdout
        return done.stdout


@pytest.fixture
def putty(alice: Client, host_keys: dict[str, Path]) -> Putty:
    return Putty(alice, host_keys["ed25519"])


def test_a_file_goes_up_and_down(alice: Client, putty: Putty, bucket: Bucket) -> None:
    data = make_file(alice.folder / "up", 17 * MIB + 7)
    putty.psftp("put up putty-file", "get putty-file down")
    assert bucket.body("alice/putty-file") == data
    assert (alice.folder / "down").read_bytes() == data
    assert bucket.uploads("alice/putty-file") == []


@pytest.mark.parametrize("stored_bytes", [100, 6 * MIB])
def test_broken_transfers_are_resumed(
    alice: Client, putty: Putty, bucket: Bucket, stored_bytes: int
) -> None:
    data = make_file(alice.folder / "up", 9 * MIB)
    bucket.put("alice/putty-on", data[:stored_bytes])
    (alice.folder / "down").write_bytes(data[:stored_bytes])
    putty.psftp("reput up putty-on", "reget putty-on down")
    assert bucket.body("alice/putty-on") == data
    assert (alice.folder / "down").read_bytes() == data
    assert bucket.uploads("alice/putty-on") == []


def test_everyday_commands_work(alice: Client, putty: Putty, bucket: Bucket) -> None:
    for name in ("a.txt", "b.txt", "c.log"):
        make_file(alice.folder / name, 70)
    printed = putty.psftp(
        "mkdir putty",
        "cd putty",
        "pwd",
        "mput *.txt c.log",
        "ls",
        "mv a.txt d.txt",
        "chmod 600 d.txt",
        "mkdir below",
        "mv b.txt d.txt below",
        "rm *.log",
        "dir below",
    )
    assert "Remote directory is /putty\n" in printed
    assert "-rw-r--r--" in printed
    keys = ["", "below/", "below/b.txt", "below/d.txt"]
    assert bucket.keys("alice/putty/") == [f"alice/putty/{key}" for key in keys]
    (alice.folder / "down").mkdir()
    putty.psftp("lcd down", "cd putty/below", "mget *.txt")
    assert (alice.folder / "down/d.txt").read_bytes() == (alice.folder / "a.txt").read_bytes()
    putty.psftp("del putty/below/*", "rmdir putty/below", "rmdir putty")
    assert bucket.keys("alice/putty/") == []


def test_a_tree_goes_up_and_down(alice: Client, putty: Putty, bucket: Bucket) -> None:
    tree = make_tree(alice.folder / "tree")
    putty.psftp("put -r tree putty-tree", "get -r putty-tree back")
    demand_stored(bucket, "alice/putty-tree", tree, times=False)
    demand_copied(tree, alice.folder / "back", times=False)


@pytest.mark.parametrize("protocol", ["-sftp", "-scp"])
def test_pscp_copies_a_tree_with_its_times(
    alice: Client, putty: Putty, bucket: Bucket, protocol: str
) -> None:
    tree = make_tree(alice.folder / "tree")
    top = f"pscp{protocol}"
    putty.psftp(f"mkdir {top}")  # where pscp is told no folder, it takes the last of many files
    putty.pscp(protocol, "-r", "-p", "tree", f":{top}")
    demand_stored(bucket, f"alice/{top}/tree", tree)
    (alice.folder / "down").mkdir()
    putty.pscp(protocol, "-r", "-p", f":{top}/tree", "down")
    demand_copied(tree, alice.folder / "down/tree")
    assert " tree" in putty.pscp("-ls", f":{top}")


@pytest.mark.parametrize("protocol", ["-sftp", "-scp"])
def test_pscp_writes_over_a_file(
    alice: Client, putty: Putty, bucket: Bucket, protocol: str
) -> None:
    for size_bytes in (6 * MIB, 10, 7 * MIB):
        data = make_file(alice.folder / "up", size_bytes, LONG_AGO + size_bytes)
        putty.pscp(protocol, "-p", "up", ":pscp-over")
        assert bucket.body("alice/pscp-over") == data
        assert stored_time(bucket, "alice/pscp-over") == LONG_AGO + size_bytes


def test_what_is_not_there_is_refused(putty: Putty) -> None:
    assert "no such file" in putty.psftp("get never-was", ok=False)
    assert "no such file" in putty.pscp("-sftp", ":never-was", "down", ok=False)
    assert "No such file" in putty.pscp("-scp", ":never-was", "down", ok=False)
