"""OpenSSH's sftp, scp and ssh."""

from __future__ import annotations

import hashlib
import os
import random
import signal
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest

from tests.interop.spawning import (
    CLIENT_SECONDS,
    NO_HOST_FILE,
    QUIET,
    Account,
    Bucket,
    Client,
    Gateway,
    program,
    wait_until,
)
from tests.needs import needs

pytestmark = needs("openssh")

MIB = 1024 * 1024


@pytest.fixture
def alice(gateway: Gateway, account: Account, tmp_path: Path) -> Client:
    return Client(gateway, account, tmp_path)


@pytest.fixture
def bob(gateway: Gateway, account: Account, tmp_path: Path) -> Client:
    return Client(gateway, account, tmp_path, "bob")


def make_file(path: Path, size_bytes: int) -> bytes:
    source = random.Random(path.name)
    pieces = [source.randbytes(min(MIB, size_bytes - at)) for at in range(0, size_bytes, MIB)]
    data = b"".join(pieces)
    path.write_bytes(data)
    return data


@pytest.mark.parametrize("size_bytes", [0, 1, 100_000, 8 * MIB, 21 * MIB + 7])
def test_a_file_goes_up_and_down(alice: Client, bucket: Bucket, size_bytes: int) -> None:
    data = make_file(alice.folder / "up", size_bytes)
    name = f"file-{size_bytes}"
    alice.sftp(f"put up {name}", f"get {name} down")
    assert bucket.body(f"alice/{name}") == data
    assert (alice.folder / "down").read_bytes() == data
    assert bucket.uploads("alice/") == []


@pytest.mark.slow
def test_memory_stays_small(config: Path, account: Account, tmp_path: Path) -> None:
    gateway = Gateway.start("--config", str(config))
    try:
        alice = Client(gateway, account, tmp_path)
        make_file(tmp_path / "up", 300 * MIB)
        alice.sftp("put up three-hundred", "get three-hundred down")
        assert sha256(tmp_path / "down") == sha256(tmp_path / "up")
        assert gateway.memory_bytes() < 200 * MIB
    finally:
        gateway.stop()


def test_pwd_ls_and_cd_work(alice: Client) -> None:
    make_file(alice.folder / "a file", 1234)
    printed = alice.sftp(
        "pwd", "mkdir around", "cd around", "pwd", "mkdir below", 'put "a file"', "ls -1", "ls -l"
    )
    assert "Remote working directory: /\n" in printed
    assert "Remote working directory: /around\n" in printed
    _, _, listings = printed.partition("ls -1\n")
    short, _, long = listings.partition("sftp> ls -l\n")
    assert short.splitlines() == ["a file", "below"]
    file_line, directory_line = sorted(long.splitlines())
    assert file_line.startswith("-rw")
    assert " 1234 " in file_line
    assert file_line.endswith(" a file")
    assert directory_line.startswith("drwx")
    assert directory_line.endswith(" below")


def test_files_and_directories_are_renamed_and_removed(alice: Client, bucket: Bucket) -> None:
    data = make_file(alice.folder / "up", 5000)
    alice.sftp("mkdir moves", "put up moves/one", "rename moves/one moves/two")
    assert bucket.body("alice/moves/two") == data
    assert "alice/moves/one" not in bucket.keys("alice/moves/")
    alice.sftp("put up moves/one")
    alice.sftp("rmdir moves", ok=False)
    alice.sftp("rm moves/one", "rm moves/two", "rmdir moves")
    assert bucket.keys("alice/moves") == []
    alice.sftp("ls moves", ok=False)


def test_a_rename_onto_a_file_replaces_it_only_the_posix_way(alice: Client, bucket: Bucket) -> None:
    (alice.folder / "old").write_bytes(b"old")
    (alice.folder / "new").write_bytes(b"new")
    alice.sftp("put old target", "put new source")
    alice.sftp("rename -l source target", ok=False)
    assert bucket.body("alice/target") == b"old"
    alice.sftp("rename source target")  # OpenSSH sends posix-rename@openssh.com
    assert bucket.body("alice/target") == b"new"


def test_a_folder_is_renamed(alice: Client, bucket: Bucket) -> None:
    data = make_file(alice.folder / "up", 5000)
    alice.sftp("mkdir trip", "mkdir trip/day", "put up trip/one", 'put up "trip/day/t w o"')
    alice.sftp("rename trip journey")
    kept = bucket.keys("alice/journey/")
    assert kept == [f"alice/journey/{key}" for key in ("", "day/", "day/t w o", "one")]
    assert bucket.body("alice/journey/day/t w o") == data
    assert bucket.keys("alice/trip") == []
    assert bucket.keys(".sftpgw/renames/") == []
    # A folder may take the place of an empty one, and of no other.
    alice.sftp("mkdir away", "rename -l journey away", ok=False)
    alice.sftp("rename journey away")
    alice.sftp("mkdir full", "put up full/x", "rename away full", ok=False)
    alice.sftp("rename away away/below", ok=False)
    assert bucket.body("alice/away/one") == data


def test_a_file_in_parts_is_renamed_with_its_time(alice: Client, bucket: Bucket) -> None:
    data = make_file(alice.folder / "large", 21 * MIB)
    os.utime(alice.folder / "large", (1_000_000_000, 1_000_000_000))
    alice.sftp("put -p large large.filepart", "rename large.filepart large", "ls -l large")
    assert bucket.body("alice/large") == data
    assert "alice/large.filepart" not in bucket.keys("alice/large")
    alice.sftp("get -p large back")
    assert (alice.folder / "back").stat().st_mtime == 1_000_000_000


def test_cp_copies_within_the_gateway(alice: Client, bucket: Bucket) -> None:
    data = make_file(alice.folder / "up", 9 * MIB + 5)
    printed = alice.sftp("put up original", "cp original copied", "cp original copied")
    assert "not support" not in printed
    assert bucket.body("alice/copied") == data


def test_df_is_answered(alice: Client) -> None:
    assert "%Capacity" in alice.sftp("df")


def test_what_is_not_there_is_refused(alice: Client) -> None:
    printed = alice.sftp("get never-was", ok=False)
    assert "not found" in printed or "No such file" in printed
    assert "No such file" in alice.sftp("rm never-was", ok=False)
    alice.sftp("cd never-was", ok=False)
    alice.sftp("ln -s a b", ok=False)


def test_no_path_leaves_the_prefix(alice: Client, bucket: Bucket) -> None:
    bucket.put("secret", b"not hers")
    alice.sftp("get ../secret", ok=False)
    alice.sftp("get /../../secret", ok=False)
    assert "Remote working directory: /\n" in alice.sftp("cd ../..", "pwd")


def test_a_tree_goes_up_and_down(alice: Client) -> None:
    tree = alice.folder / "tree"
    (tree / "deep/er/and/deeper/still").mkdir(parents=True)
    (tree / "empty folder").mkdir()
    for number in range(60):
        make_file(tree / f"file {number}", number * 37)
    make_file(tree / "empty", 0)
    make_file(tree / "deep/er/and/deeper/still/häßlich ünïcode 日本 %+&#?.txt", 70_000)
    alice.sftp("put -r tree", "get -r tree back")
    assert contents(alice.folder / "back") == contents(tree)


def contents(top: Path) -> dict[str, str | None]:
    """Every path below `top`, with the SHA-256 of what is a file."""
    return {
        str(path.relative_to(top)): sha256(path) if path.is_file() else None
        for path in top.rglob("*")
    }


def sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@pytest.mark.parametrize(("first", "second"), [(9000, 100), (100, 9000), (9 * MIB, 17 * MIB)])
def test_scp_overwrites_a_file(alice: Client, bucket: Bucket, first: int, second: int) -> None:
    make_file(alice.folder / "first", first)
    data = make_file(alice.folder / "second", second)
    name = f"scp-{first}-{second}"
    alice.scp("first", f":{name}")
    alice.scp("second", f":{name}")
    assert bucket.body(f"alice/{name}") == data
    alice.scp(f":{name}", "down")
    assert (alice.folder / "down").read_bytes() == data


def test_scp_gets_whole_files(alice: Client) -> None:
    """OpenSSH 9.2's scp cuts a file off, and is content, where READs are answered out of order."""
    data = make_file(alice.folder / "up", 17 * MIB)
    alice.scp("up", ":whole")
    for number in range(10):
        alice.scp(":whole", f"down-{number}")
        assert (alice.folder / f"down-{number}").read_bytes() == data


def test_scp_copies_a_tree(alice: Client) -> None:
    (alice.folder / "tree/sub").mkdir(parents=True)
    make_file(alice.folder / "tree/sub/file", 4000)
    make_file(alice.folder / "tree/empty", 0)
    alice.scp("-r", "tree", ":scp-tree")
    alice.scp("-r", ":scp-tree", "back")
    assert contents(alice.folder / "back") == contents(alice.folder / "tree")


def test_times_are_kept(alice: Client) -> None:
    make_file(alice.folder / "up", 10)
    os.utime(alice.folder / "up", (1_500_000_000, 1_500_000_000))
    alice.sftp("put -p up dated", "get -p dated down")
    assert (alice.folder / "down").stat().st_mtime == 1_500_000_000


def test_permissions_are_enforced(alice: Client, bob: Client, bucket: Bucket) -> None:
    data = make_file(alice.folder / "up", 300)
    alice.sftp("put up shared")
    bob.sftp("ls", "get shared down")
    assert (bob.folder / "down").read_bytes() == data
    refused = ["put up bobs", "rm shared", "rename shared other", "mkdir new", "put up shared"]
    for line in refused:
        assert "ermission denied" in bob.sftp(line, ok=False)
    assert bucket.body("alice/shared") == data
    assert not {"alice/bobs", "alice/other", "alice/new/"} & set(bucket.keys("alice/"))


def test_upload_without_overwrite_or_download(
    gateway: Gateway, account: Account, tmp_path: Path, bucket: Bucket
) -> None:
    dropper = Client(gateway, account, tmp_path, "dropper")
    data = make_file(tmp_path / "up", 300)
    make_file(tmp_path / "other", 200)
    dropper.sftp("put up dropped")
    assert "ermission denied" in dropper.sftp("put other dropped", ok=False)
    assert "ermission denied" in dropper.sftp("get dropped", ok=False)
    assert bucket.body("dropper/dropped") == data


def test_a_client_that_dies_leaves_nothing(alice: Client, bucket: Bucket) -> None:
    make_file(alice.folder / "large", 200 * MIB)
    options = [*alice.account.key_options, "-l", "160000"]  # kbit/s: it takes ten seconds
    process = subprocess.Popen(
        [program("sftp"), "-P", str(alice.gateway.port), *options, "-b", "-", alice.host],
        cwd=alice.folder,
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        assert process.stdin is not None
        process.stdin.write(b"put large cut-off\n")
        process.stdin.flush()
        wait_until(lambda: bucket.uploads("alice/cut-off"))
    finally:
        os.killpg(process.pid, signal.SIGKILL)  # sftp and the ssh below it
        process.communicate()
    wait_until(lambda: not bucket.uploads("alice/cut-off"))
    assert bucket.keys("alice/cut-off") == []


@pytest.mark.parametrize("method", ["password", "keyboard-interactive"])
def test_a_password_opens_and_a_wrong_one_does_not(
    gateway: Gateway, account: Account, tmp_path: Path, method: str
) -> None:
    wrong = tmp_path / "wrong"
    wrong.write_text("#!/bin/sh\necho not it\n")
    wrong.chmod(0o700)
    options = ["-o", f"PreferredAuthentications={method}", "-o", "NumberOfPasswordPrompts=2"]
    command = [program("sftp"), "-P", str(gateway.port), *QUIET, *NO_HOST_FILE, *options]
    for askpass, status in ((account.askpass, 0), (wrong, 255)):
        done = subprocess.run(
            [*command, "alice@127.0.0.1"],
            input="pwd\n",
            env={**account.environment(), "SSH_ASKPASS": str(askpass)},
            capture_output=True,
            text=True,
            timeout=CLIENT_SECONDS,
            check=False,
        )
        assert done.returncode == status, done.stderr
    lines = partial(gateway.lines_with, f"method={method}")
    wait_until(lambda: any("login-failed" in line for line in lines()))
    wait_until(lambda: any("login-succeeded" in line for line in lines()))
    assert not gateway.lines_with(account.password, "not it")


@pytest.mark.parametrize("arguments", [("-T",), ("-tt",)])
def test_shells_are_refused(alice: Client, arguments: tuple[str, ...]) -> None:
    done = alice.ssh(*arguments)
    assert done.returncode != 0
    assert "request failed" in done.stdout


def test_unknown_commands_are_refused(alice: Client) -> None:
    done = alice.ssh("rm -rf /")
    assert done.returncode == 127
    assert "no such command" in done.stdout
    assert done.stdout.count("\n") == 1


def test_forwarding_is_refused(alice: Client) -> None:
    done = alice.ssh("-W", "127.0.0.1:9")
    assert done.returncode != 0
    assert "stdio forwarding failed" in done.stdout
    done = alice.ssh("-N", "-R", "0:127.0.0.1:9", "-o", "ExitOnForwardFailure=yes")
    assert done.returncode != 0
    assert "forwarding failed" in done.stdout


# New keys in the middle of transfers.


@pytest.fixture(scope="module")
def restless(config: Path) -> Iterator[Gateway]:
    """A gateway that changes keys after each MiB."""
    own = config.with_name("restless.ini")
    own.write_text(config.read_text().replace("[ssh]\n", "[ssh]\nrekey_bytes = 1MiB\n"))
    gateway = Gateway.start("--config", str(own))
    yield gateway
    gateway.stop()
    assert not gateway.lines_with("Traceback", "Unhandled", "protocol-broken")


@pytest.fixture
def restless_alice(restless: Gateway, account: Account, tmp_path: Path) -> Client:
    return Client(restless, account, tmp_path)


CIPHERS_AND_MACS = [
    ("aes128-gcm@openssh.com", ""),
    ("aes256-gcm@openssh.com", ""),
    ("chacha20-poly1305@openssh.com", ""),
    *(
        (f"aes{bits}-ctr", mac)
        for bits, mac in (
            (128, "hmac-sha2-256-etm@openssh.com"),
            (192, "hmac-sha2-512-etm@openssh.com"),
            (256, "hmac-sha2-256"),
            (128, "hmac-sha2-512"),
        )
    ),
]


@pytest.mark.parametrize(("cipher", "mac"), CIPHERS_AND_MACS)
def test_every_cipher_and_mac_both_ways_with_rekeys_by_both_sides(
    restless_alice: Client, bucket: Bucket, cipher: str, mac: str
) -> None:
    alice = restless_alice
    data = make_file(alice.folder / "up", 9 * MIB + 1)
    # OpenSSH takes the first value of an option, so that this one is not quiet.
    options = ["-o", "LogLevel=DEBUG3", "-o", f"Ciphers={cipher}", "-o", "RekeyLimit=1M"]
    if mac:
        options += ["-o", f"MACs={mac}"]
    port = ["-P", str(alice.gateway.port)]
    command = [program("sftp"), *options, *port, *alice.account.key_options]
    done = alice.run([*command, "-b", "-", alice.host], "put up rekeyed\nget rekeyed down\n")
    assert done.returncode == 0, done.stdout[-3000:]
    assert f"cipher: {cipher} MAC: {mac or '<implicit>'}" in done.stdout
    assert "will use strict KEX ordering" in done.stdout
    assert done.stdout.count("SSH2_MSG_NEWKEYS received") > 10
    assert (alice.folder / "down").read_bytes() == data
    assert bucket.body("alice/rekeyed") == data


def test_the_gateway_alone_changes_keys_in_the_middle_of_a_file(
    restless_alice: Client, bucket: Bucket
) -> None:
    alice = restless_alice
    data = make_file(alice.folder / "up", 20 * MIB)
    command = [program("sftp"), "-o", "LogLevel=DEBUG1", "-P", str(alice.gateway.port)]
    command += [*alice.account.key_options, "-b", "-", alice.host]
    done = alice.run(command, "put up rekeyed-alone\nget rekeyed-alone down\n")
    assert done.returncode == 0, done.stdout[-3000:]
    assert bucket.body("alice/rekeyed-alone") == data
    assert (alice.folder / "down").read_bytes() == data
    assert done.stdout.count("SSH2_MSG_NEWKEYS received") >= 20


# Strangers and regulars.


def test_sixteen_copies_at_once_and_again(alice: Client, bucket: Bucket) -> None:
    data = make_file(alice.folder / "up", 1000)
    port = ["-P", str(alice.gateway.port)]
    command = [program("scp"), *port, *alice.account.key_options, "up"]
    for turn in range(2):
        names = [f"copy-{turn}-{number}" for number in range(16)]
        copies = [
            subprocess.Popen(
                [*command, f"{alice.host}:{name}"], cwd=alice.folder, stdin=subprocess.DEVNULL
            )
            for name in names
        ]
        assert [copy.wait(CLIENT_SECONDS) for copy in copies] == [0] * 16
        assert all(bucket.body(f"alice/{name}") == data for name in names)


def test_eight_transfers_each_way_cross_many_key_exchanges(alice: Client, bucket: Bucket) -> None:
    """All at once: bytes that wait for one client's new keys hold up no other client."""
    numbers = range(8)
    data = [make_file(alice.folder / f"up-{number}", 8 * MIB) for number in numbers]
    port = ["-P", str(alice.gateway.port)]
    options = ["-o", "LogLevel=DEBUG3", "-o", "RekeyLimit=1M", *alice.account.key_options]
    command = [program("sftp"), *port, *options, "-b", "-", alice.host]

    def transfer(number: int) -> subprocess.CompletedProcess[str]:
        lines = f"put up-{number} parallel-{number}\nget parallel-{number} down-{number}\n"
        return alice.run(command, lines)

    with ThreadPoolExecutor(len(numbers)) as pool:
        for done in pool.map(transfer, numbers):
            assert done.returncode == 0, done.stdout[-3000:]
            assert done.stdout.count("SSH2_MSG_NEWKEYS received") > 12
    for number in numbers:
        assert bucket.body(f"alice/parallel-{number}") == data[number]
        assert (alice.folder / f"down-{number}").read_bytes() == data[number]
