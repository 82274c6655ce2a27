"""A spawned gateway on an S3, and the real clients that drive it.

The S3 is an embedded one, or the store that SFTPGW_TEST_S3_ENDPOINT, _BUCKET, _ACCESS_KEY
and _SECRET_KEY (and _UNSUPPORTED, as in sftpgw.ini) name. Everything is kept under a prefix
of the run's own and removed at its end.
"""

from __future__ import annotations

import os
import secrets
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import bcrypt
import botocore.session
import pytest

from sftpgw.demo import BUCKET, EmbeddedStore
from tests.interop.spawning import Account, Bucket, Gateway, Store

# What moto accepts and then ignores.
MOTO_LACKS = "conditional-copy copy-source-condition"


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
        )
        return
    embedded = EmbeddedStore.start()
    yield Store(embedded.endpoint, BUCKET, "access", "secret", MOTO_LACKS)
    embedded.stop()


@pytest.fixture(scope="session")
def s3(store: Store) -> Iterator[Any]:
    """Amazon's own client, to see what is really there."""
    client = botocore.session.get_session().create_client(
        "s3",
        region_name="us-east-1",
        endpoint_url=store.endpoint,
        aws_access_key_id=store.access_key,
        aws_secret_access_key=store.secret_key,
    )
    yield client
    client.close()


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
    """A key and a password, which all users of these tests share."""
    key_file = folder / "user_key"
    command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "test", "-f", str(key_file)]
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL)
    password = secrets.token_hex(8)
    ask = folder / "askpass"
    ask.write_text(f"#!/bin/sh\necho {password}\n")
    ask.chmod(0o700)
    return Account(key_file, password, ask)


@pytest.fixture(scope="session")
def config(folder: Path, store: Store, bucket: Bucket, account: Account) -> Path:
    """The configuration: alice may do all, bob may only look and fetch from her files."""
    config = folder / "sftpgw.ini"
    config.write_text(
        f"""
[gateway]
listen = tcp:0:interface=127.0.0.1
create_host_keys = yes
[s3]
bucket = {store.bucket}
endpoint = {store.endpoint}
access_key = {store.access_key}
secret_key = {store.secret_key}
unsupported = {store.unsupported}
state_prefix = {bucket.prefix}.sftpgw/
[limits]
drain = 5s
"""
    )
    password_hash = bcrypt.hashpw(account.password.encode(), bcrypt.gensalt(4)).decode()
    public_key = account.key_file.with_suffix(".pub").read_text().strip()
    login = f"authorized_keys = {public_key}\npassword_hash = {password_hash}\n"
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
"""
    )
    return config


@pytest.fixture(scope="session")
def gateway(config: Path) -> Iterator[Gateway]:
    """A gateway that has been started with twistd, as a user would."""
    gateway = Gateway.start("--config", str(config))
    yield gateway
    gateway.stop()
    assert not gateway.lines_with("Traceback", "Unhandled")
