"""Uploads that real clients do not finish, and go on with: `[files] on_disconnect = resume`."""

from __future__ import annotations

import os
import random
import re
import shlex
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.interop.spawning import Account, Bucket, Client, Gateway, connect, program, wait_until
from tests.needs import needs

MIB = 1024 * 1024
SIZE = 24 * MIB


@pytest.fixture(scope="module")
def resuming(config: Path) -> Path:
    """The configuration, with uploads that are kept."""
    path = config.with_name("resuming.ini")
    path.write_text(config.read_text() + "[files]\non_disconnect = resume\n")
    return path


@pytest.fixture(scope="module")
def node(resuming: Path) -> Iterator[Gateway]:
    gateway = Gateway.start("--config", str(resuming))
    yield gateway
    gateway.stop()
    assert not gateway.lines_with("Traceback", "Unhandled")


@pytest.fixture
def alice(node: Gateway, account: Account, tmp_path: Path) -> Client:
    return Client(node, account, tmp_path)


@pytest.fixture(autouse=True)
def nothing_is_left(bucket: Bucket) -> Iterator[None]:
    yield
    assert bucket.uploads("alice/") == []
    assert bucket.keys(".sftpgw/partial") == []


def content(name: str) -> bytes:
    return random.Random(name).randbytes(SIZE)


def cut_off(client: Client, bucket: Bucket, name: str, data: bytes) -> int:
    """Send a part of a file and hang up, as a line does that breaks; how much is kept."""
    prepare(client, name, data)
    session = connect(client.gateway, username=client.user, password=client.account.password)
    with session, session.open_sftp().open(name, "w") as file:
        file.write(data[: 18 * MIB])
        transport = session.get_transport()
        assert transport is not None
        transport.close()
    return kept_of(client, bucket, name)


def kill_openssh(client: Client, bucket: Bucket, name: str, data: bytes) -> int:
    """The same with the real program, which needs ten seconds for all of it."""
    prepare(client, name, data)
    command = [program("sftp"), "-l", "20000", "-P", str(client.gateway.port)]
    process = subprocess.Popen(
        [*command, *client.account.key_options, "-b", "-", client.host],
        cwd=client.folder,
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert process.stdin is not None
    with process.stdin as commands:
        commands.write(f"put {name}\n")
        commands.flush()
        wait_until(lambda: arrived(client, name) > 9 * MIB)
        process.send_signal(signal.SIGKILL)
    process.wait()
    return kept_of(client, bucket, name)


def prepare(client: Client, name: str, data: bytes) -> None:
    (client.folder / name).write_bytes(data)
    # lftp believes a file of another size only if it is not newer than its own.
    os.utime(client.folder / name, (1_500_000_000, 1_500_000_000))


def kept_of(client: Client, bucket: Bucket, name: str) -> int:
    """What the gateway says that it has kept, once nothing of the upload is under way."""
    told = re.compile(rf"partial-kept .*key=\S*/{name} bytes=(\d+)")
    lines = client.gateway.lines
    wait_until(lambda: any(map(told.search, lines)))
    (found, *_) = filter(None, map(told.search, reversed(lines)))
    wait_until(lambda: arrived(client, name) == int(found[1]))
    assert bucket.keys(".sftpgw/partials/")
    assert f"alice/{name}" not in bucket.keys("alice/")
    return int(found[1])


def arrived(client: Client, name: str) -> int:
    """What `ls -l` shows, 0 if it shows nothing."""
    with connect(client.gateway, username=client.user, password=client.account.password) as session:
        sizes = {each.filename: each.st_size for each in session.open_sftp().listdir_attr("/")}
    return sizes.get(name) or 0


@needs("openssh")
@pytest.mark.parametrize(
    ("command", "cut", "least"), [("reput", kill_openssh, 8 * MIB), ("put -a", cut_off, 16 * MIB)]
)
def test_openssh_resumes_a_suspended_upload(
    alice: Client, bucket: Bucket, command: str, cut: Any, least: int
) -> None:
    name = f"kept-ssh-{command[-1]}"
    data = content(name)
    kept = cut(alice, bucket, name, data)
    assert least <= kept < SIZE
    assert str(kept) in alice.sftp("ls -l")
    alice.sftp(f"get {name} back", ok=False)
    alice.sftp(f"{command} {name}")
    assert bucket.body(f"alice/{name}") == data


@needs("lftp", "openssh")
def test_lftp_resumes_a_suspended_upload(alice: Client, bucket: Bucket) -> None:
    data = content("lftp")
    assert cut_off(alice, bucket, "kept-lftp", data) >= 16 * MIB
    asking = shlex.quote(" ".join(["ssh", "-a", "-x", *alice.account.key_options]))
    lines = [
        "set cmd:fail-exit yes",
        "set net:max-retries 1",
        f"set sftp:connect-program {asking}",
        f"open -u alice, -p {alice.gateway.port} sftp://127.0.0.1",
        "put -c kept-lftp",
    ]
    done = alice.run([program("lftp"), "--norc", "-c", "; ".join(lines)])
    assert done.returncode == 0, done.stdout
    assert bucket.body("alice/kept-lftp") == data


@needs("openssh")
def test_put_over_a_suspended_upload_stores_the_new_file(alice: Client, bucket: Bucket) -> None:
    cut_off(alice, bucket, "kept-anew", content("old"))
    data = content("new")
    (alice.folder / "kept-anew").write_bytes(data)
    alice.sftp("put kept-anew")
    assert bucket.body("alice/kept-anew") == data


@needs("openssh")
def test_scp_over_a_suspended_upload_stores_the_new_file(alice: Client, bucket: Bucket) -> None:
    cut_off(alice, bucket, "kept-scp", content("old scp"))
    data = content("new scp")
    (alice.folder / "kept-scp").write_bytes(data)
    alice.scp("kept-scp", ":kept-scp")
    assert bucket.body("alice/kept-scp") == data


@needs("openssh")
def test_a_suspended_upload_is_explained_to_the_client_and_removed(
    alice: Client, bucket: Bucket
) -> None:
    kept = cut_off(alice, bucket, "kept-rm", content("rm"))
    session = connect(alice.gateway, username="alice", password=alice.account.password)
    with session, pytest.raises(OSError, match=f"first {kept} bytes .* send the rest"):
        session.open_sftp().open("kept-rm")
    alice.sftp("rm kept-rm")
    assert arrived(alice, "kept-rm") == 0


def test_a_gateway_that_ends_suspends_an_upload_and_another_one_resumes_it(
    resuming: Path, account: Account, bucket: Bucket, tmp_path: Path, alice: Client
) -> None:
    data = content("ended")
    ending = Gateway.start("--config", str(resuming))
    with connect(ending, username="alice", password=account.password) as session:
        file = session.open_sftp().open("kept-ended", "w")
        file.write(data[: 20 * MIB])
        ending.process.send_signal(signal.SIGTERM)
        ending.process.wait(60)
    assert bucket.uploads("alice/kept-ended") == ["alice/kept-ended"]
    kept = arrived(alice, "kept-ended")
    assert 16 * MIB <= kept < 20 * MIB
    with connect(alice.gateway, username="alice", password=account.password) as session:
        rest = session.open_sftp().open("kept-ended", "r+")
        assert rest.stat().st_size == kept
        rest.seek(kept)
        rest.write(data[kept:])
        rest.close()
    assert bucket.body("alice/kept-ended") == data
