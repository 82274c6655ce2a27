"""``sftpgw user`` on a table of DynamoDB, as moto serves it."""

from __future__ import annotations

import io
import json
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pyotp
import pytest

from sftpgw.auth.passwords import matches
from sftpgw.aws.dynamodb.table_writer import TableWriter
from sftpgw.cli import main
from sftpgw.config.users_editor import EditRefused
from sftpgw.model.settings import StoreSettings
from sftpgw.testing.ssh_pairs import new_key
from sftpgw.user_commands.table_editor import TableEditor
from tests.stores import moto_server

KEYS = [new_key().public().toString("OPENSSH", comment=name).decode() for name in ("one", "two")]
REGION = "eu-west-1"


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    with moto_server() as url:
        yield url


class Fleet:
    """A configuration whose users are in a table, and the command."""

    def __init__(self, folder: Path, endpoint: str, capsys: pytest.CaptureFixture[str]) -> None:
        self.table = f"users-{uuid.uuid4().hex[:12]}"
        self.place = StoreSettings(
            region=REGION, endpoint=endpoint, access_key="AK", secret_key="SK"
        )
        self.config = folder / "sftpgw.ini"
        self._capsys = capsys
        self.client = boto3.client(
            "dynamodb",
            endpoint_url=endpoint,
            region_name=REGION,
            aws_access_key_id="AK",
            aws_secret_access_key="SK",
        )
        (folder / "users.ini").write_text(
            f"[*]\nkey_prefix = home/{{username}}/\n[*partners]\npermissions = list\n"
            f"[local]\nauthorized_keys = {KEYS[0]}\n",
            encoding="utf-8",
        )
        self.write_config("file dynamodb", endpoint)

    def write_config(self, sources: str, endpoint: str) -> None:
        self.config.write_text(
            "[gateway]\ncreate_host_keys = yes\n[s3]\nbucket = uploads\n[auth]\n"
            f"sources = {sources}\ndynamodb_table = {self.table}\ndynamodb_region = {REGION}\n"
            f"dynamodb_endpoint = {endpoint}\ndynamodb_access_key = AK\ndynamodb_secret_key = SK\n"
            "allowed_buckets = uploads partner-*\n",
            encoding="utf-8",
        )

    def run(self, command: str, *rest: str, status: int = 0, typed: str = "") -> str:
        """What the command prints, on either stream."""
        read, stdin = io.TextIOWrapper(io.BytesIO(typed.encode())), sys.stdin
        sys.stdin = read
        try:
            found = main(["user", command, "--config", str(self.config), *rest])
        finally:
            sys.stdin = stdin
        shown = self._capsys.readouterr()
        assert found == status, shown
        return shown.out + shown.err

    def to(self, command: str, *rest: str, status: int = 0, typed: str = "") -> str:
        return self.run(command, "--to", "dynamodb", *rest, status=status, typed=typed)

    def item(self, name: str) -> dict[str, Any] | None:
        return self.client.get_item(TableName=self.table, Key={"name": {"S": name}}).get("Item")

    def put(self, name: str, **attributes: Any) -> None:
        self.client.put_item(TableName=self.table, Item={"name": {"S": name}, **attributes})


@pytest.fixture
def fleet(tmp_path: Path, endpoint: str, capsys: pytest.CaptureFixture[str]) -> Iterator[Fleet]:
    fleet = Fleet(tmp_path, endpoint, capsys)
    assert "is new" in fleet.run("create-table")
    yield fleet
    fleet.client.close()


def test_a_table_is_created_once_and_costs_what_is_used(fleet: Fleet) -> None:
    assert "already" in fleet.run("create-table", status=1)
    table = fleet.client.describe_table(TableName=fleet.table)["Table"]
    assert table["BillingModeSummary"]["BillingMode"] == "PAY_PER_REQUEST"
    assert table["KeySchema"] == [{"AttributeName": "name", "KeyType": "HASH"}]


def test_a_user_is_added_changed_shown_and_removed(fleet: Fleet) -> None:
    fleet.to("add", "alice", "--key", KEYS[0], "--password", typed="secret\n")
    item = fleet.item("alice")
    assert item is not None
    assert item["authorized_keys"] == {"L": [{"S": KEYS[0]}]}
    assert item["version"] == {"N": "1"}
    assert matches(b"secret", item["password_hash"]["S"])
    fleet.to("key", "alice", "--add", KEYS[1])
    fleet.to("passwd", "alice", typed="another\n")
    fleet.to("disable", "alice")
    item = fleet.item("alice")
    assert item is not None
    assert item["authorized_keys"] == {"L": [{"S": KEYS[0]}, {"S": KEYS[1]}]}
    assert matches(b"another", item["password_hash"]["S"])
    assert (item["disabled"], item["version"]) == ({"S": "yes"}, {"N": "4"})
    shown = fleet.to("show", "alice")
    assert "key_prefix = home/alice/    # [*] in users.ini" in shown
    assert "password_hash = (set)" in shown
    assert f"[alice] in dynamodb:{fleet.table}" in shown
    fleet.to("enable", "alice")
    assert "disabled" not in (fleet.item("alice") or {})
    assert fleet.to("key", "alice").count("SHA256:") == 2
    fleet.to("key", "alice", "--remove", "one")
    secret = pyotp.parse_uri(
        next(line for line in fleet.to("totp", "alice").splitlines() if "otpauth" in line)
    ).secret
    assert (fleet.item("alice") or {})["totp_secret"] == {"S": secret}
    fleet.to("remove", "alice")
    assert fleet.item("alice") is None
    assert "there is no user alice" in fleet.to("passwd", "alice", status=1, typed="x\n")


def test_all_users_of_the_table_are_listed(fleet: Fleet) -> None:
    for number in range(3):
        fleet.to("add", f"fleet-{number}", "--key", KEYS[0])
    fleet.put("broken", mount={"M": {}})
    listed = fleet.to("list", status=1)
    assert listed.count("1 key") == 3
    assert "an item has a 'mount' of the type M" in listed
    assert "local" not in listed
    assert "local" in fleet.run("list")


def test_a_name_that_only_the_table_may_have_is_not_just_unknown(fleet: Fleet) -> None:
    for command in ("show", "passwd"):
        told = fleet.run(command, "only-there", status=1, typed="x\n")
        assert "there is no user only-there" in told
        assert "add --to dynamodb" in told
        assert "--to" not in fleet.to(command, "only-there", status=1, typed="x\n")


def test_missing_credentials_are_told_with_the_keys_that_would_have_them(
    fleet: Fleet, endpoint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    fleet.write_config("file dynamodb", endpoint)
    text = fleet.config.read_text("utf-8")
    bare = [line for line in text.splitlines() if not line.startswith(("dynamodb_a", "dynamodb_s"))]
    fleet.config.write_text("\n".join(bare), encoding="utf-8")
    monkeypatch.setattr("botocore.session.Session.get_credentials", lambda session: None)
    told = fleet.to("list", status=1)
    assert "set dynamodb_access_key and dynamodb_secret_key in [auth]" in told


def test_the_configuration_says_where_users_are_written(fleet: Fleet, endpoint: str) -> None:
    fleet.run("add", "in-a-file", "--key", KEYS[0])
    assert fleet.item("in-a-file") is None
    fleet.write_config("dynamodb", endpoint)
    fleet.run("add", "in-the-table", "--key", KEYS[0], "--prefix", "home/x/")
    assert fleet.item("in-the-table") is not None
    fleet.write_config("file", endpoint)
    assert "sources does not have dynamodb" in fleet.to("list", status=1)


def test_what_the_gateway_would_refuse_is_refused(fleet: Fleet) -> None:
    told = fleet.to("add", "alice", "--key", KEYS[0], "--bucket", "others", status=1)
    assert "allowed_buckets" in told
    assert "cannot log in" in fleet.to("add", "alice", status=1)
    assert "is unknown" in fleet.to("add", "alice", "--key", KEYS[0], "--groups", "x", status=1)
    assert "already" not in fleet.to("add", "bob", "--key", KEYS[0])
    assert "already" in fleet.to("add", "bob", "--key", KEYS[1], status=1)
    assert fleet.item("alice") is None


def test_an_item_by_other_means_keeps_what_is_not_changed(fleet: Fleet) -> None:
    """Types, nulls and faults that were there before."""
    fleet.put(
        "alice",
        authorized_keys={"SS": [KEYS[0]]},
        networks={"SS": ["10.0.0.0/8", "192.0.2.0/24"]},
        max_sessions={"N": "7"},
        expires={"NULL": True},
        permissions={"S": "fly"},
    )
    fleet.to("disable", "alice")
    item = fleet.item("alice")
    assert item is not None
    updated = item.pop("updated")
    assert updated["S"].endswith("+00:00")
    assert item == {
        "name": {"S": "alice"},
        "authorized_keys": {"SS": [KEYS[0]]},
        "networks": {"SS": ["10.0.0.0/8", "192.0.2.0/24"]},
        "max_sessions": {"N": "7"},
        "expires": {"NULL": True},
        "permissions": {"S": "fly"},
        "disabled": {"S": "yes"},
        "version": {"N": "1"},
    }


def test_nonsense_and_what_a_section_cannot_say_are_left_alone(fleet: Fleet) -> None:
    fleet.put("map", mount={"M": {}})
    assert "type M" in fleet.to("disable", "map", status=1)
    fleet.put("comment", authorized_keys={"L": [{"S": KEYS[0]}, {"S": "# a comment"}]})
    assert "other means" in fleet.to("disable", "comment", status=1)
    assert "disabled" not in (fleet.item("comment") or {})


def editor_of(fleet: Fleet) -> TableEditor:
    return TableEditor(TableWriter(fleet.table, fleet.place), None, lambda name, given: None)


@pytest.mark.parametrize("other", ["change", "remove", "hand"])
def test_what_another_command_writes_meanwhile_is_not_lost(fleet: Fleet, other: str) -> None:
    fleet.to("add", "alice", "--key", KEYS[0])
    editor = editor_of(fleet)
    writer = TableWriter(fleet.table, fleet.place)
    read = writer.get("alice")
    assert read is not None
    if other == "change":
        fleet.to("key", "alice", "--add", KEYS[1])
    elif other == "remove":
        fleet.to("remove", "alice")
    else:  # by a program that knows of no version
        fleet.client.update_item(
            TableName=fleet.table,
            Key={"name": {"S": "alice"}},
            UpdateExpression="SET #p = :p",
            ExpressionAttributeNames={"#p": "permissions"},
            ExpressionAttributeValues={":p": {"S": "list"}},
        )
    after = fleet.item("alice")

    class Late(TableWriter):
        """Has read the item before the other one has written it."""

        def get(self, name: str) -> Any:
            return read

    late = TableEditor(Late(fleet.table, fleet.place), None, lambda name, given: None)
    place = editor.file_for_new("alice")
    with pytest.raises(EditRefused, match="was changed by another program"):
        late.edit(place, lambda text: f"{text}permissions = upload\n")
    assert fleet.item("alice") == after
    if other != "hand":
        with pytest.raises(EditRefused, match="was changed by another program"):
            late.edit(place, lambda text: "")
        assert fleet.item("alice") == after


def test_two_commands_cannot_add_the_same_user(fleet: Fleet) -> None:
    class Late(TableWriter):
        def get(self, name: str) -> None:
            return None

    fleet.to("add", "alice", "--key", KEYS[0])
    before = fleet.item("alice")
    late = TableEditor(Late(fleet.table, fleet.place), None, lambda name, given: None)
    with pytest.raises(EditRefused, match="was changed by another program"):
        late.edit(late.file_for_new("alice"), lambda text: f"[alice]\nauthorized_keys = {KEYS[1]}")
    assert fleet.item("alice") == before


def test_users_of_other_programs_are_imported(fleet: Fleet, tmp_path: Path) -> None:
    users = {
        "users": [
            {
                "username": f"user{number}",
                "status": 1,
                "public_keys": [KEYS[number % 2]],
                "filesystem": {
                    "provider": 1,
                    "s3config": {"bucket": "partner-a", "key_prefix": f"u{number}/"},
                },
                "permissions": {"/": ["*"]},
            }
            for number in range(3)
        ]
    }
    dump = tmp_path / "dump.json"
    dump.write_text(json.dumps(users), encoding="utf-8")
    assert fleet.to("import", "--from", "sftpgo", str(dump)).count(": added") == 3
    assert (fleet.item("user2") or {})["key_prefix"] == {"S": "u2/"}
    assert "3" not in fleet.to("import", "--from", "sftpgo", str(dump), status=1).split()
