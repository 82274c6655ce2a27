"""A spawned gateway on an S3, and the real clients that drive it.

The S3 is an embedded one, or the store that SFTPGW_TEST_S3_ENDPOINT, _BUCKET, _ACCESS_KEY
and _SECRET_KEY (and _UNSUPPORTED and _REGION, as in sftpgw.ini) name. Everything is kept under
a prefix of the run's own and removed at its end.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import bcrypt
import pytest

from sftpgw.demo import BUCKET, EmbeddedStore
from tests.assumed_capabilities import amazon_client, found_lacking, need
from tests.interop.spawning import KEY_KINDS, Account, Bucket, Client, Gateway, Store, make_key

# What moto accepts and then ignores.
MOTO_LACKS = "checksums conditional-copy copy-source-condition"

SSH = """
[ssh]
exempt_networks = 127.0.0.0/8
"""
"""Many clients on one machine."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.interop)


@pytest.fixture(scope="session")
def store() -> Iterator[Store]:
    """The S3 that the gateway is given."""
    endpoint = os.environ.get("SFTPGW_TEST_S3_ENDPOINT")
    if endpoint:
        yield Store(
            endpoint,
            os.environ["SFTPGW_TEST_S3_BUCKET"],
            os.environ["SFTPGW_TEST_S3_ACCESS_KEY"],
            os.environ["SFTPGW_TEST_S3_SECRET_KEY"],
            os.environ.get("SFTPGW_TEST_S3_UNSUPPORTED", ""),
            os.environ.get("SFTPGW_TEST_S3_REGION", "us-east-1"),
        )
        return
    embedded = EmbeddedStore.start()
    yield Store(embedded.endpoint, BUCKET, "access", "secret", MOTO_LACKS)
    embedded.stop()


@pytest.fixture(scope="session")
def s3(store: Store) -> Iterator[Any]:
    """Amazon's own client, to see what is really there."""
    client = amazon_client(store.endpoint, store.access_key, store.secret_key, store.region)
    yield client
    client.close()


@pytest.fixture(scope="session")
def lacks(store: Store, s3: Any) -> frozenset[str]:
    """What tests may not assume of the S3, by the names of `tests.assumed_capabilities`."""
    return found_lacking(s3, store.bucket, f"interop-{secrets.token_hex(6)}/")


@pytest.fixture
def assume(lacks: frozenset[str]) -> Callable[..., None]:
    """Skips the test, by name, if the S3 lacks one of these."""
    return partial(need, lacks)


@pytest.fixture(scope="session")
def bucket(store: Store, s3: Any) -> Iterator[Bucket]:
    """The run's own part of the bucket."""
    bucket = Bucket(s3, store.bucket, f"interop-{secrets.token_hex(6)}/")
    yield bucket
    bucket.clear()


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("gateway")


@pytest.fixture(scope="session")
def account(folder: Path) -> Account:
    """Keys and a password, which all users of these tests share."""
    key_files = {kind: make_key(folder / f"user_{kind}", kind) for kind in KEY_KINDS}
    password = secrets.token_hex(8)
    ask = folder / "askpass"
    ask.write_text(f"#!/bin/sh\necho {password}\n")
    ask.chmod(0o700)
    return Account(key_files["ed25519"], password, ask, key_files)


@pytest.fixture(scope="session")
def host_keys(folder: Path) -> dict[str, Path]:
    """A host key of each kind: a client that can do one of them only must find it."""
    return {kind: make_key(folder / f"host_{kind}", kind) for kind in KEY_KINDS}


@pytest.fixture(scope="session")
def config(
    folder: Path, store: Store, bucket: Bucket, account: Account, host_keys: dict[str, Path]
) -> Path:
    """The configuration: alice may do all, bob may only look and fetch from her files."""
    config = folder / "sftpgw.ini"
    config.write_text(gateway_config(store, host_keys, f"{bucket.prefix}.sftpgw/"))
    password_hash = bcrypt.hashpw(account.password.encode(), bcrypt.gensalt(4)).decode()
    keys = lines(*account.public_keys())
    login = f"authorized_keys =\n{keys}\npassword_hash = {password_hash}\n"
    (folder / "users.ini").write_text(
        f"""
[*]
key_prefix = {bucket.prefix}{{username}}/
[alice]
{login}
[bob]
{login}
key_prefix = {bucket.prefix}alice/
permissions = list download
[dropper]
{login}
permissions = upload list
[partner]
{login}
permissions = list download
permissions /incoming = upload mkdir
deny = *.exe
deny_hidden = yes
mount =
    /catalogue s3://{store.bucket}/{bucket.prefix}catalogue/ list download
    /desk s3://{store.bucket}/{bucket.prefix}desk/
    /archive s3://{store.bucket}/{bucket.prefix}archive/
permissions /desk = list download upload overwrite delete rename
permissions /archive = list download upload rename
[bounded]
{login}
mount = /shelf s3://{store.bucket}/{bucket.prefix}shelf/
quota_bytes = 1MiB
quota_files = 20
quota_bytes /shelf = 256KiB
"""
    )
    return config


def gateway_config(
    store: Store, host_keys: dict[str, Path], state_prefix: str, users: str = "users.ini"
) -> str:
    """A configuration for that S3, with users of that file beside it."""
    return f"""
[gateway]
listen = tcp:0:interface=127.0.0.1
users = {users}
host_keys =
{lines(*map(str, host_keys.values()))}
[s3]
bucket = {store.bucket}
endpoint = {store.endpoint}
region = {store.region}
access_key = {store.access_key}
secret_key = {store.secret_key}
unsupported = {store.unsupported}
state_prefix = {state_prefix}
{SSH}[limits]
drain = 5s
"""


def lines(*values: str) -> str:
    """The values of a key that has several, as ini files have them."""
    return "\n".join(f"    {value}" for value in values)


def of_policy(config: str, policy: str) -> str:
    """That text of `gateway_config`, with that ``[ssh] policy``."""
    return config.replace(SSH, f"{SSH}policy = {policy}\n")


def gateway_of_policy(config: Path, policy: str) -> Gateway:
    """A gateway with that ``[ssh] policy``, and all else as configured."""
    changed = config.with_name(f"{policy}.ini")
    changed.write_text(of_policy(config.read_text(), policy))
    return Gateway.start("--config", str(changed))


@pytest.fixture(scope="session")
def gateway(config: Path) -> Iterator[Gateway]:
    """A gateway that has been started with twistd, as a user would."""
    gateway = Gateway.start("--config", str(config))
    yield gateway
    gateway.stop()
    assert not gateway.lines_with("Traceback", "Unhandled")


@pytest.fixture
def alice(gateway: Gateway, account: Account, tmp_path: Path) -> Client:
    """OpenSSH's programs as alice, who may do all, in a folder of the test's own."""
    return Client(gateway, account, tmp_path)
