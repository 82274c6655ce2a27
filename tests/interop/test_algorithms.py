"""Every client with every algorithm that it shares with the gateway, with rekeys.

Each test is one connection that puts a file and gets it back; the file crosses new key
exchanges where the client can start them.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import re
import shutil
import socket
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import asyncssh
import paramiko
import pytest
import ssh2.session
import ssh2.sftp

from tests.interop import matrix
from tests.interop.conftest import gateway_of_policy
from tests.interop.matrix import LOGINS, Row
from tests.interop.spawning import CLIENT_SECONDS, Account, Bucket, Gateway, fingerprint, program
from tests.needs import needs

MIB = 1024 * 1024
SIZE_BYTES = 3 * MIB + 1
REKEY_BYTES = MIB // 2
HERE = Path(__file__).parent

pytestmark = pytest.mark.filterwarnings("ignore:Diffie-Hellman over finite fields")
"""What cryptography says to asyncssh and paramiko."""


@dataclass(frozen=True)
class Job:
    """A file to put as `name` and to get back into `down`."""

    gateway: Gateway
    account: Account
    folder: Path
    name: str
    data: bytes

    @property
    def up(self) -> Path:
        return self.folder / "up"

    @property
    def down(self) -> Path:
        return self.folder / "down"

    @property
    def port(self) -> int:
        return self.gateway.port

    def key(self, row: Row) -> Path:
        return self.account.key_files[LOGINS[row.login]]

    def run(self, *command: str, text: str = "", **variables: str) -> str:
        """Run a client program; what it prints."""
        done = subprocess.run(
            command,
            cwd=self.folder,
            input=text,
            env={**os.environ, **variables},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=CLIENT_SECONDS,
            check=False,
        )
        assert done.returncode == 0, done.stdout[-3000:]
        return done.stdout

    def demand_equal(self, bucket: Bucket) -> None:
        """The file is in the bucket and has come back."""
        assert bucket.body(f"alice/{self.name}") == self.data
        assert self.down.read_bytes() == self.data


@pytest.fixture(scope="module")
def legacy(config: Path) -> Iterator[Gateway]:
    """A gateway that has each algorithm."""
    gateway = gateway_of_policy(config, "legacy")
    assert gateway.lines_with("#warn] [ssh] offers what only the policy legacy has")
    yield gateway
    gateway.stop()
    assert not gateway.lines_with("Traceback", "Unhandled")


@pytest.fixture
def job(legacy: Gateway, account: Account, tmp_path: Path, request: pytest.FixtureRequest) -> Job:
    name = request.node.originalname
    data = random.Random(name).randbytes(SIZE_BYTES)
    (tmp_path / "up").write_bytes(data)
    return Job(legacy, account, tmp_path, name, data)


# OpenSSH.


@cache
def openssh_has(kind: str) -> list[str]:
    ssh = shutil.which("ssh")
    if ssh is None:
        return [
            *matrix.AEAD_CIPHERS,
            *matrix.CTR_CIPHERS,
            *matrix.CBC_CIPHERS,
            *matrix.MACS,
            *matrix.KEY_EXCHANGES,
        ]
    done = subprocess.run([ssh, "-Q", kind], capture_output=True, text=True, check=True)
    return done.stdout.split()


OPENSSH_ROWS = matrix.rows(
    ciphers=openssh_has("cipher"), macs=openssh_has("mac"), key_exchanges=openssh_has("kex")
)


@needs("openssh")
@pytest.mark.parametrize("row", OPENSSH_ROWS, ids=str)
def test_openssh_connects_with_each_algorithm(job: Job, bucket: Bucket, row: Row) -> None:
    values = {
        "LogLevel": "DEBUG3",  # OpenSSH takes the first value of an option
        "Ciphers": row.cipher,
        "MACs": row.mac,
        "KexAlgorithms": row.key_exchange,
        "HostKeyAlgorithms": row.host_key,
        "PubkeyAcceptedAlgorithms": row.login,
        "RekeyLimit": str(REKEY_BYTES),
    }
    options = [word for name, value in values.items() for word in ("-o", f"{name}={value}")]
    account = Account(job.key(row), job.account.password, job.account.askpass)
    command = [program("sftp"), "-P", str(job.port), *options, *account.key_options, "-b", "-"]
    printed = job.run(*command, "alice@127.0.0.1", text=f"put up {job.name}\nget {job.name} down\n")
    job.demand_equal(bucket)
    assert f"cipher: {row.cipher} MAC: {'<implicit>' if row.is_aead else row.mac}" in printed
    assert f"kex: algorithm: {row.key_exchange}\n" in printed
    assert f"kex: host key algorithm: {row.host_key}\n" in printed
    assert "will use strict KEX ordering" in printed
    assert printed.count("SSH2_MSG_NEWKEYS received") > 6


@needs("openssh")
def test_openssh_with_new_keys_for_every_packet(job: Job, bucket: Bucket) -> None:
    """16 bytes are the least RekeyLimit. Who moves data may exchange keys all the time."""
    options = ["-o", "LogLevel=DEBUG1", "-o", "RekeyLimit=16", *job.account.key_options]
    command = [program("sftp"), "-P", str(job.port), *options, "-b", "-", "alice@127.0.0.1"]
    printed = job.run(*command, text=f"put up {job.name}\nget {job.name} down\n")
    job.demand_equal(bucket)
    assert printed.count("SSH2_MSG_NEWKEYS received") > 30


# PuTTY: ciphers and key types are chosen by groups, MACs not at all.


class PuttyRow(NamedTuple):
    """PuTTY's names for groups of ciphers and host keys, and a kind of key to log in with."""

    cipher: str
    host_key: str
    login: str

    def __str__(self) -> str:
        return " ".join(self)


PUTTY_ROWS = [
    PuttyRow("aesgcm", "ed25519", "ed25519"),
    PuttyRow("chacha20", "ecdsa", "rsa-3072"),
    PuttyRow("aes", "rsa", "ecdsa-256"),
    PuttyRow("aes", "ed25519", "ecdsa-384"),
    PuttyRow("aesgcm", "rsa", "ecdsa-521"),
]
PUTTY_TELLS = {"aesgcm": "AES-128 GCM", "chacha20": "ChaCha20", "aes": "AES-256 SDCTR"}
"""The cipher of a group that it takes first, as it prints it."""


@needs("putty")
@pytest.mark.parametrize("row", PUTTY_ROWS, ids=str)
def test_putty_connects_with_each_algorithm(
    job: Job, bucket: Bucket, host_keys: dict[str, Path], row: PuttyRow
) -> None:
    printed = psftp(job, host_keys, row)
    job.demand_equal(bucket)
    initialised = f"Initialised {PUTTY_TELLS[row.cipher]}"
    assert printed.count(initialised) > 12, printed  # in each direction, for each exchange


@needs("putty")
def test_putty_where_only_the_better_macs_are_offered(
    job: Job, bucket: Bucket, host_keys: dict[str, Path], config: Path
) -> None:
    """PuTTY takes a plain MAC if there is one: this is how it gets to the others."""
    gateway = gateway_of_policy(config, "modern")
    try:
        printed = psftp(replace(job, gateway=gateway), host_keys, PuttyRow("aes", "rsa", "ed25519"))
    finally:
        gateway.stop()
    job.demand_equal(bucket)
    found = re.findall(r"Initialised HMAC-SHA-256 .*(in|out)bound MAC .*ETM mode", printed)
    assert set(found) == {"in", "out"}, printed


def psftp(job: Job, host_keys: dict[str, Path], row: PuttyRow) -> str:
    """Put and get; what PuTTY prints."""
    key = job.folder / "key.ppk"
    login = str(job.account.key_files[row.login])
    job.run(program("puttygen"), login, "-O", "private", "-o", str(key))
    (job.folder / "sessions").mkdir()
    # WARN: what follows would have to be confirmed, and in a batch is refused.
    (job.folder / "sessions/ours").write_text(
        f"Protocol=ssh\nCipher={row.cipher},WARN\nKEX=ecdh,WARN\nHostKey={row.host_key},WARN\n"
        f"PreferKnownHostKeys=0\nRekeyBytes={REKEY_BYTES}\n"
    )
    (job.folder / "batch").write_text(f"put up {job.name}\nget {job.name} down\n")
    options = ["-load", "ours", "-batch", "-v", "-P", str(job.port), "-l", "alice", "-noagent"]
    for path in host_keys.values():
        options += ["-hostkey", fingerprint(path)]
    command = [program("psftp"), *options, "-i", str(key), "-b", "batch", "127.0.0.1"]
    return job.run(*command, PUTTYDIR=str(job.folder))


# paramiko.

PARAMIKO_KINDS = {
    "ciphers": "ciphers",
    "macs": "digests",
    "kex": "kex",
    "keys": "key_types",
    "pubkeys": "key_types",
}
"""Kinds of algorithms that paramiko can disable, and where it lists them."""


@cache
def paramiko_has(kind: str) -> tuple[str, ...]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        options = paramiko.Transport(ours).get_security_options()
        found: tuple[str, ...] = getattr(options, PARAMIKO_KINDS[kind])
        return found


PARAMIKO_ROWS = matrix.rows(
    ciphers=paramiko_has("ciphers"),
    macs=paramiko_has("macs"),
    key_exchanges=paramiko_has("kex"),
    host_keys=paramiko_has("keys"),
    logins=paramiko_has("pubkeys"),
)


@pytest.mark.parametrize("row", PARAMIKO_ROWS, ids=str)
def test_paramiko_connects_with_each_algorithm(job: Job, bucket: Bucket, row: Row) -> None:
    chosen = {
        "ciphers": row.cipher,
        "macs": row.mac,
        "kex": row.key_exchange,
        "keys": row.host_key,
        "pubkeys": row.login,
    }
    others = {
        kind: [each for each in paramiko_has(kind) if each != name] for kind, name in chosen.items()
    }
    transport = paramiko.Transport(("127.0.0.1", job.port), disabled_algorithms=others)
    transport.packetizer.REKEY_BYTES = REKEY_BYTES
    try:
        key = paramiko.PKey.from_path(job.key(row))
        transport.connect(username="alice", pkey=key)
        sftp = paramiko.SFTPClient.from_transport(transport)
        assert sftp is not None
        sftp.put(str(job.up), job.name)
        sftp.get(job.name, str(job.down))
        assert transport.remote_cipher == transport.local_cipher == row.cipher
    finally:
        transport.close()
    job.demand_equal(bucket)


# asyncssh.


def asyncssh_has(names: list[bytes]) -> list[str]:
    return [name.decode() for name in names]


ASYNCSSH_ROWS = matrix.rows(
    ciphers=asyncssh_has(asyncssh.encryption.get_encryption_algs()),
    macs=asyncssh_has(asyncssh.mac.get_mac_algs()),
    key_exchanges=asyncssh_has(asyncssh.kex.get_kex_algs()),
)


def test_asyncssh_has_the_key_exchange_that_others_lack() -> None:
    assert set(matrix.KEY_EXCHANGES) == {row.key_exchange for row in ASYNCSSH_ROWS}


@pytest.mark.parametrize("row", ASYNCSSH_ROWS, ids=str)
def test_asyncssh_connects_with_each_algorithm(job: Job, bucket: Bucket, row: Row) -> None:
    asyncio.run(asyncssh_round_trip(job, row))
    job.demand_equal(bucket)


async def asyncssh_round_trip(job: Job, row: Row) -> None:
    options: dict[str, Any] = {
        "encryption_algs": [row.cipher],
        "mac_algs": [row.mac],
        "kex_algs": [row.key_exchange],
        "server_host_key_algs": [row.host_key],
        "signature_algs": [row.login],
        "client_keys": [str(job.key(row))],
        "rekey_bytes": REKEY_BYTES,
        "username": "alice",
        "known_hosts": None,
        "agent_path": None,
        "config": [],
    }
    async with (
        asyncssh.connect("127.0.0.1", job.port, **options) as connection,
        connection.start_sftp_client() as sftp,
    ):
        await sftp.put(str(job.up), job.name)
        await sftp.get(job.name, str(job.down))
        assert connection.get_extra_info("send_cipher") == row.cipher
        assert connection.get_extra_info("recv_cipher") == row.cipher


# libssh2: 1.11 in the ssh2-python package, and Debian's, an older one, below curl.

LIBSSH2_SIGN_ALGORITHM = ssh2.session.MethodType(10)
"""LIBSSH2_METHOD_SIGN_ALGO, which the package has no name for."""


@cache
def libssh2_has(kind: Any) -> list[str]:
    found: list[str] = ssh2.session.Session().supported_algs(kind)
    return found


LIBSSH2_ROWS = matrix.rows(
    ciphers=libssh2_has(ssh2.session.LIBSSH2_METHOD_CRYPT_CS),
    macs=libssh2_has(ssh2.session.LIBSSH2_METHOD_MAC_CS),
    key_exchanges=libssh2_has(ssh2.session.LIBSSH2_METHOD_KEX),
    host_keys=libssh2_has(ssh2.session.LIBSSH2_METHOD_HOSTKEY),
)


@pytest.mark.parametrize("row", LIBSSH2_ROWS, ids=str)
def test_libssh2_connects_with_each_algorithm(job: Job, bucket: Bucket, row: Row) -> None:
    methods = {
        ssh2.session.LIBSSH2_METHOD_CRYPT_CS: row.cipher,
        ssh2.session.LIBSSH2_METHOD_CRYPT_SC: row.cipher,
        ssh2.session.LIBSSH2_METHOD_MAC_CS: row.mac,
        ssh2.session.LIBSSH2_METHOD_MAC_SC: row.mac,
        ssh2.session.LIBSSH2_METHOD_KEX: row.key_exchange,
        ssh2.session.LIBSSH2_METHOD_HOSTKEY: row.host_key,
        LIBSSH2_SIGN_ALGORITHM: row.login,
    }
    session = ssh2.session.Session()
    for kind, name in methods.items():
        session.method_pref(kind, name)
    with socket.create_connection(("127.0.0.1", job.port), timeout=CLIENT_SECONDS) as connection:
        session.handshake(connection)
        assert session.methods(ssh2.session.LIBSSH2_METHOD_CRYPT_CS) == row.cipher
        key = job.key(row)
        session.userauth_publickey_fromfile("alice", str(key), "", f"{key}.pub")
        libssh2_round_trip(job, session)
        session.disconnect()
    job.demand_equal(bucket)


def libssh2_round_trip(job: Job, session: Any) -> None:
    sftp = session.sftp_init()
    flags = ssh2.sftp.LIBSSH2_FXF_CREAT | ssh2.sftp.LIBSSH2_FXF_WRITE | ssh2.sftp.LIBSSH2_FXF_TRUNC
    with sftp.open(job.name, flags, 0o600) as file:
        file.write(job.data)
    with sftp.open(job.name, ssh2.sftp.LIBSSH2_FXF_READ, 0) as file:
        job.down.write_bytes(b"".join(piece for _, piece in file))


CURL_LOGINS = ["ed25519", "ecdsa-256", "ecdsa-384", "ecdsa-521", "password"]
"""Not RSA: libssh2 before 1.11 signs with SHA-1 only."""


@needs("curl")
@pytest.mark.parametrize("login", CURL_LOGINS)
def test_curl_connects_with_each_algorithm(job: Job, bucket: Bucket, login: str) -> None:
    command = [program("curl"), "-q", "--silent", "--show-error", "--insecure"]
    if login == "password":
        command += ["--user", f"alice:{job.account.password}"]
    else:
        key = job.account.key_files[login]
        command += ["--user", "alice:", "--key", str(key), "--pubkey", f"{key}.pub"]
    url = f"sftp://127.0.0.1:{job.port}/{job.name}"
    job.run(*command, "--upload-file", "up", url)
    job.run(*command, "--output", "down", url)
    job.demand_equal(bucket)


# ssh2, on Node.

NODE_ROWS = matrix.rows(
    key_exchanges=[name for name in matrix.KEY_EXCHANGES if "mlkem" not in name]
)


@needs("node", "ssh2")
@pytest.mark.parametrize("row", NODE_ROWS, ids=str)
def test_node_connects_with_each_algorithm(job: Job, bucket: Bucket, row: Row) -> None:
    node = program("node")
    task = {
        "port": job.port,
        "user": "alice",
        "key": str(job.key(row)),
        "up": str(job.up),
        "down": str(job.down),
        "name": job.name,
        "algorithms": {
            "cipher": [row.cipher],
            "hmac": [row.mac],
            "kex": [row.key_exchange],
            "serverHostKey": [row.host_key],
        },
    }
    agreed = json.loads(
        job.run(node, str(HERE / "node_client.js"), json.dumps(task)).split("\n")[0]
    )
    job.demand_equal(bucket)
    assert agreed["cs"]["cipher"] == agreed["sc"]["cipher"] == row.cipher
    assert agreed["kex"] == row.key_exchange
