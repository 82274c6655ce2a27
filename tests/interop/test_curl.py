"""curl's sftp:// and scp://, by libssh2. Its algorithms are in test_algorithms."""

from __future__ import annotations

from typing import Protocol

import pytest

from tests.interop.spawning import Account, Bucket, Client, program
from tests.interop.trees import MIB, content, make_file

SIZE_BYTES = 9 * MIB + 1


class Run(Protocol):
    """Runs curl; a word that begins with a slash is a path on the gateway."""

    def __call__(self, *arguments: str, scheme: str = "sftp", ok: bool = True) -> str: ...


@pytest.fixture
def curl(alice: Client, account: Account) -> Run:
    key = str(account.key_file)
    login = ["--user", "alice:", "--key", key, "--pubkey", f"{key}.pub", "--insecure"]

    def run(*arguments: str, scheme: str = "sftp", ok: bool = True) -> str:
        host = f"{scheme}://127.0.0.1:{alice.gateway.port}"
        words = [f"{host}{word}" if word.startswith("/") else word for word in arguments]
        done = alice.run([program("curl"), "-q", "--silent", "--show-error", *login, *words])
        assert (done.returncode == 0) is ok, done.stdout
        return done.stdout

    return run


@pytest.mark.parametrize("scheme", ["sftp", "scp"])
def test_a_file_goes_up_and_down(alice: Client, bucket: Bucket, curl: Run, scheme: str) -> None:
    data = make_file(alice.folder / "up", SIZE_BYTES)
    curl("-T", "up", f"/curl-{scheme}%20file", scheme=scheme)
    assert bucket.body(f"alice/curl-{scheme} file") == data
    curl("-o", "down", f"/curl-{scheme}%20file", scheme=scheme)
    assert (alice.folder / "down").read_bytes() == data
    assert bucket.uploads("alice/curl-") == []


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ("0-9", slice(0, 10)),
        ("8388600-8388700", slice(8_388_600, 8_388_701)),
        ("9000000-", slice(9_000_000, None)),
        ("-500", slice(-500, None)),
        ("9437180-99999999", slice(9_437_180, None)),
    ],
)
def test_a_range_is_fetched(
    alice: Client, bucket: Bucket, curl: Run, spec: str, expected: slice
) -> None:
    data = content(SIZE_BYTES)
    bucket.put("alice/curl-range", data)
    curl("-r", spec, "-o", "down", "/curl-range")
    assert (alice.folder / "down").read_bytes() == data[expected]


@pytest.mark.parametrize("there_bytes", [100, 6 * MIB, SIZE_BYTES - 1])
def test_broken_transfers_are_resumed(
    alice: Client, bucket: Bucket, curl: Run, there_bytes: int
) -> None:
    data = make_file(alice.folder / "up", SIZE_BYTES)
    bucket.put("alice/curl-on", data[:there_bytes])
    curl("-C", "-", "-T", "up", "/curl-on")
    assert bucket.body("alice/curl-on") == data
    (alice.folder / "down").write_bytes(data[:there_bytes])
    curl("-C", "-", "-o", "down", "/curl-on")
    assert (alice.folder / "down").read_bytes() == data
    assert bucket.uploads("alice/curl-on") == []


@pytest.mark.parametrize("there_bytes", [0, 100, 6 * MIB])
def test_appended_bytes_are_stored(
    alice: Client, bucket: Bucket, curl: Run, there_bytes: int
) -> None:
    data = make_file(alice.folder / "up", 6 * MIB)
    bucket.put("alice/curl-log", content(there_bytes, "old"))
    curl("--append", "-T", "up", "/curl-log")
    assert bucket.body("alice/curl-log") == content(there_bytes, "old") + data


def test_commands_before_and_after(alice: Client, bucket: Bucket, curl: Run) -> None:
    data = make_file(alice.folder / "up", 5000)
    quoted = ["mkdir /curl-q", "mkdir '/curl-q/b c'", "*rm /curl-q/never-was", "pwd", "statvfs /"]
    after = ["-rename /curl-q/part '/curl-q/b c/whole'", "-chmod 600 '/curl-q/b c/whole'"]
    words = [word for line in (*quoted, *after) for word in ("-Q", line)]
    curl(*words, "-T", "up", "/curl-q/part")
    assert bucket.body("alice/curl-q/b c/whole") == data
    assert "whole" in curl("/curl-q/b%20c/")
    # It shows what comes, as from OpenSSH's server.
    assert curl("--list-only", "/curl-q/").splitlines() == [".", "..", "b c"]
    words = ["-Q", "rm '/curl-q/b c/whole'", "-Q", "rmdir '/curl-q/b c'", "-Q", "rmdir /curl-q"]
    curl(*words, "/")
    assert bucket.keys("alice/curl-q") == []
    curl("-Q", "rm /curl-q/never-was", "/", ok=False)
    curl("-Q", "ln /up /link", "/", ok=False)


def test_missing_folders_are_made(alice: Client, bucket: Bucket, curl: Run) -> None:
    data = make_file(alice.folder / "up", 10)
    curl("--ftp-create-dirs", "-T", "up", "/curl-made/b/c/file")
    assert bucket.body("alice/curl-made/b/c/file") == data


def test_what_is_not_there_is_refused(curl: Run) -> None:
    for scheme in ("sftp", "scp"):
        curl("-o", "down", "/never-was", scheme=scheme, ok=False)
