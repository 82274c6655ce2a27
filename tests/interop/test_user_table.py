"""Users of a table of DynamoDB, as moto serves it, log in with OpenSSH."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from subprocess import PIPE
from typing import Any

import boto3
import pytest

from tests.interop.spawning import Account, Bucket, Client, Gateway, program, wait_until
from tests.stores import moto_server

pytestmark = [pytest.mark.interop, pytest.mark.needs("openssh")]

TABLE = "sftp-users"
REGION = "eu-west-1"


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    with moto_server() as url:
        yield url


@pytest.fixture(scope="module")
def table(endpoint: str) -> Iterator[Any]:
    keys = {"aws_access_key_id": "AK", "aws_secret_access_key": "SK"}
    client = boto3.client("dynamodb", endpoint_url=endpoint, region_name=REGION, **keys)
    client.create_table(
        TableName=TABLE,
        AttributeDefinitions=[{"AttributeName": "name", "AttributeType": "S"}],
        KeySchema=[{"AttributeName": "name", "KeyType": "HASH"}],
        BillingMode="PAY_PER_REQUEST",
    )
    yield client
    client.close()


@pytest.fixture(scope="module")
def gateway(config: Path, endpoint: str) -> Iterator[Gateway]:
    changed = config.with_name("table.ini")
    section = (
        f"[auth]\nsources = file dynamodb\ndynamodb_table = {TABLE}\ndynamodb_region = {REGION}\n"
        f"dynamodb_endpoint = {endpoint}\ndynamodb_access_key = AK\ndynamodb_secret_key = SK\n"
        "dynamodb_cache = 1s\n"
    )
    changed.write_text(f"{config.read_text(encoding='utf-8')}\n{section}", encoding="utf-8")
    gateway = Gateway.start("--config", str(changed))
    yield gateway
    gateway.stop()
    assert not gateway.lines_with("Traceback", "Unhandled")


def put(table: Any, account: Account, name: str, **attributes: Any) -> None:
    keys = {"L": [{"S": line} for line in account.public_keys()]}
    item = {"name": {"S": name}, "authorized_keys": keys, **attributes}
    table.put_item(TableName=TABLE, Item=item)


def test_a_user_of_the_table_works_with_openssh(
    gateway: Gateway, table: Any, account: Account, bucket: Bucket, tmp_path: Path
) -> None:
    put(table, account, "fleet-7", permissions={"S": "list download upload"})
    (tmp_path / "report").write_bytes(b"from the fleet")
    client = Client(gateway, account, tmp_path, user="fleet-7")
    assert "report" in client.sftp("put report", "ls -1", "get report copy")
    assert (tmp_path / "copy").read_bytes() == b"from the fleet"
    assert bucket.body("fleet-7/report") == b"from the fleet"
    client.sftp("rm report", ok=False)
    replace(client, user="fleet-8").sftp("pwd", ok=False)


def test_a_session_ends_with_its_user(gateway: Gateway, table: Any, account: Account) -> None:
    """One of two users with open sessions is removed, the other is changed in what is no matter."""
    with ExitStack() as stack:
        opened = {}
        for name in ("fleet-9", "fleet-10"):
            put(table, account, name)
            host, port = f"{name}@127.0.0.1", str(gateway.port)
            command = [program("sftp"), "-P", port, *account.key_options, host]
            process = subprocess.Popen(command, stdin=PIPE, stdout=PIPE, stderr=subprocess.STDOUT)
            stack.callback(process.wait, 60)
            stack.callback(process.kill)
            opened[name] = process
            wait_until(partial(has_line, gateway, "login-succeeded", name))
        put(table, account, "fleet-10", weight={"N": "3"})
        table.delete_item(TableName=TABLE, Key={"name": {"S": "fleet-9"}})
        wait_until(lambda: has_line(gateway, "user-sessions-ended", "fleet-9"))
        output, _ = opened["fleet-9"].communicate(timeout=60)
        assert b"the account has changed" in output
        output, _ = opened["fleet-10"].communicate(b"pwd\n", timeout=60)
        assert b"Remote working directory: /" in output


def has_line(gateway: Gateway, *texts: str) -> bool:
    return any(all(text in line for text in texts) for line in gateway.lines)


def test_nonsense_is_refused_and_told(
    gateway: Gateway, table: Any, account: Account, tmp_path: Path
) -> None:
    put(table, account, "broken", permissions={"S": "fly"})
    Client(gateway, account, tmp_path, user="broken").sftp("pwd", ok=False)
    (line, *_) = gateway.lines_with("user-source-answer-bad")
    assert "broken" in line
    assert "fly" in line
    Client(gateway, account, tmp_path).sftp("pwd")  # a user of the file, from the same address
