"""Times, as real clients set and compare them; and what they ask of owners and homes."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import paramiko
import pytest

from tests.interop.spawning import Account, Bucket, Client, Gateway, connect, program, wait_until
from tests.interop.test_lftp import lftp
from tests.needs import needs

LONG_AGO = 1_500_000_000


@pytest.fixture
def alice(gateway: Gateway, account: Account, tmp_path: Path) -> Client:
    return Client(gateway, account, tmp_path)


@pytest.fixture
def dropper(gateway: Gateway, account: Account, tmp_path: Path) -> Client:
    return Client(gateway, account, tmp_path, "dropper")


def make_tree(folder: Path) -> None:
    """Files of long ago, in directories."""
    (folder / "sub").mkdir(parents=True)
    for number, name in enumerate(("a", "b b", "sub/c", "sub/d", "empty")):
        path = folder / name
        path.write_bytes(b"x" * 1000 * number)
        os.utime(path, (LONG_AGO + number, LONG_AGO + number))


def times_of(folder: Path) -> dict[str, int]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): int(path.stat().st_mtime) for path in files}


def stored(gateway: Gateway) -> int:
    """How many files the gateway has stored so far."""
    gateway.settle()
    return len(gateway.lines_with("file-stored"))


def read(gateway: Gateway) -> int:
    """How many downloads have ended so far."""
    gateway.settle()
    return len(gateway.lines_with("file-read"))


@needs("openssh")
class TestOpenSSH:
    def test_put_p_and_get_p_keep_times(self, alice: Client) -> None:
        make_tree(alice.folder / "up")
        alice.sftp("mkdir keeping", "put -Rp up/* keeping", "get -Rp keeping down")
        assert times_of(alice.folder / "down") == times_of(alice.folder / "up")

    def test_scp_p_keeps_times_both_ways(self, alice: Client) -> None:
        make_tree(alice.folder / "up")
        alice.scp("-rp", "up", ":/scp-keeping")
        alice.scp("-rp", ":/scp-keeping", "down")
        assert times_of(alice.folder / "down") == times_of(alice.folder / "up")

    @pytest.mark.parametrize("mode", ["-rp", "-Orp"])
    def test_scp_p_keeps_the_times_of_folders_both_ways(
        self, alice: Client, mode: str, assume: Callable[..., None]
    ) -> None:
        assume("folders-with-metadata")
        make_tree(alice.folder / "up")
        for folder in ("up/sub", "up"):
            os.utime(alice.folder / folder, (LONG_AGO, LONG_AGO))
        alice.scp(mode, "up", f":/folders{mode}")
        alice.scp(mode, f":/folders{mode}", "down")
        for folder in ("down/sub", "down"):
            assert int((alice.folder / folder).stat().st_mtime) == LONG_AGO

    def test_a_large_file_keeps_its_time(self, alice: Client, bucket: Bucket) -> None:
        path = alice.folder / "large"
        path.write_bytes(b"x" * 20_000_000)
        os.utime(path, (LONG_AGO, LONG_AGO))
        alice.scp("-p", "large", ":/large-keeping")
        alice.sftp("get -p large-keeping down")
        assert int((alice.folder / "down").stat().st_mtime) == LONG_AGO

    def test_a_user_who_may_only_upload_can_use_put_p(self, dropper: Client) -> None:
        path = dropper.folder / "timed"
        path.write_bytes(b"data")
        os.utime(path, (LONG_AGO, LONG_AGO))
        dropper.sftp("put -p timed")
        dropper.scp("-p", "timed", ":/timed-by-scp")
        assert dropper.sftp("ls -l timed*").count("2017") == 2

    def test_home_directories_are_expanded(self, alice: Client, bucket: Bucket) -> None:
        (alice.folder / "f").write_bytes(b"home")
        alice.scp("f", ":~/from-home")
        assert bucket.body("alice/from-home") == b"home"
        alice.scp(":~alice/from-home", "back")
        assert (alice.folder / "back").read_bytes() == b"home"
        alice.scp(":~nobody/from-home", "back", ok=False)

    def test_ls_l_shows_owner_names(self, alice: Client) -> None:
        (alice.folder / "f").write_bytes(b"x")
        alice.sftp("put f named")
        # The link count that it does not know tells that the client has made the line itself.
        assert "? alice    alice" in alice.sftp("ls -l named")


class TestMirrors:
    @needs("lftp", "openssh")
    def test_lftp_sends_nothing_the_second_time(self, alice: Client, gateway: Gateway) -> None:
        make_tree(alice.folder / "tree")
        lftp(alice, "mirror -R tree lftp-mirrored")
        before = stored(gateway)
        lftp(alice, "mirror -R tree lftp-mirrored")
        assert stored(gateway) == before

    @needs("lftp", "openssh")
    def test_lftp_fetches_nothing_the_second_time(self, alice: Client, gateway: Gateway) -> None:
        make_tree(alice.folder / "tree")
        before = read(gateway)
        lftp(alice, "mirror -R tree lftp-fetched", "mirror lftp-fetched back")
        assert times_of(alice.folder / "back") == times_of(alice.folder / "tree")
        # Its lines in the log come after it has gone.
        wait_until(lambda: read(gateway) - before == len(times_of(alice.folder / "tree")))
        lftp(alice, "mirror lftp-fetched back", "get lftp-fetched/a -o again")
        wait_until(lambda: read(gateway) - before > len(times_of(alice.folder / "tree")))
        assert read(gateway) - before == len(times_of(alice.folder / "tree")) + 1

    @needs("rclone")
    def test_rclone_copies_nothing_the_second_time(self, alice: Client, gateway: Gateway) -> None:
        make_tree(alice.folder / "tree")
        rclone(alice, "tree", ":sftp:/rcloned")
        before = stored(gateway), read(gateway)
        rclone(alice, "tree", ":sftp:/rcloned")
        assert (stored(gateway), read(gateway)) == before
        rclone(alice, ":sftp:/rcloned", "back")
        assert times_of(alice.folder / "back") == times_of(alice.folder / "tree")
        before = stored(gateway), read(gateway)
        rclone(alice, ":sftp:/rcloned", "back")
        assert (stored(gateway), read(gateway)) == before


def rclone(client: Client, source: str, target: str, *more: str) -> str:
    options = {
        "config": "",
        "sftp-host": "127.0.0.1",
        "sftp-port": str(client.gateway.port),
        "sftp-user": client.user,
        "sftp-key-file": str(client.account.key_file),
        "sftp-shell-type": "none",
        "retries": "1",
    }
    flags = [f"--{name}={value}" for name, value in options.items()]
    done = client.run([program("rclone"), "copy", *flags, *more, source, target])
    assert done.returncode == 0, done.stdout
    return done.stdout


def test_paramiko_sees_the_same_times_everywhere(gateway: Gateway, account: Account) -> None:
    with (
        connect(gateway, username="alice", password=account.password) as client,
        client.open_sftp() as sftp,
    ):
        sftp.mkdir("utimes")
        for number in range(3):
            with sftp.open(f"utimes/{number}", "w") as file:
                file.write("text")
            sftp.utime(f"utimes/{number}", (LONG_AGO, LONG_AGO + number))
        sftp.utime("utimes", (LONG_AGO, LONG_AGO))
        listed = {each.filename: each for each in sftp.listdir_attr("utimes")}
        for number in range(3):
            attributes = sftp.stat(f"utimes/{number}")
            assert attributes.st_mtime == LONG_AGO + number
            assert same(attributes, listed[str(number)])
            with sftp.open(f"utimes/{number}") as file:
                assert same(file.stat(), attributes)


def same(one: paramiko.SFTPAttributes, other: paramiko.SFTPAttributes) -> bool:
    names = ("st_size", "st_uid", "st_gid", "st_mode", "st_atime", "st_mtime")
    return [getattr(one, name) for name in names] == [getattr(other, name) for name in names]


@needs("lftp", "openssh", "rclone")
def test_clients_that_set_times_later_work_for_users_who_may_only_upload(
    dropper: Client, bucket: Bucket
) -> None:
    make_tree(dropper.folder / "tree")
    lftp(dropper, "put tree/a -o lftp-dropped")
    rclone(dropper, "tree/sub", ":sftp:/", "--sftp-set-modtime=false")
    assert {"dropper/lftp-dropped", "dropper/c", "dropper/d"} <= set(bucket.keys("dropper/"))
