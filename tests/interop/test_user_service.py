"""Users whom a web service knows, as AWS Transfer Family's identity providers and as our own."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import paramiko
import pytest

from tests.interop.spawning import Account, Bucket, Gateway, Store, connect

PASSWORD = "the password of carol"


class IdentityProvider(ThreadingHTTPServer):
    """A service with one user, carol. Notes what it is asked."""

    daemon_threads = True

    def __init__(self, bucket: str, prefix: str, public_keys: list[str]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.bucket, self.prefix, self.public_keys = bucket, prefix, public_keys
        self.asked: list[dict[str, Any]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def transfer_user(self) -> dict[str, Any]:
        target = f"/{self.bucket}/{self.prefix}carol"
        return {
            "Role": "arn:aws:iam::123456789012:role/transfer",
            "HomeDirectoryType": "LOGICAL",
            "HomeDirectoryDetails": json.dumps(
                [{"Entry": "/", "Target": target}, {"Entry": "/in box", "Target": f"{target}-in"}]
            ),
            "PublicKeys": self.public_keys,
        }

    def own_user(self) -> dict[str, Any]:
        return {
            "user": "carol",
            "mount": f"/ s3://{self.bucket}/{self.prefix}carol/ list download upload",
            "authorized_keys": self.public_keys,
        }


class _Handler(BaseHTTPRequestHandler):
    server: IdentityProvider

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        name = unquote(parts.path.split("/")[-2])
        asked = {"user": name, "password": self.headers["Password"], **parse_qs(parts.query)}
        self.server.asked.append(asked)
        is_right = name == "carol" and asked["password"] in (None, PASSWORD)
        self._answer(self.server.transfer_user() if is_right else {})

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.asked.append({**asked, "token": self.headers["Authorization"]})
        is_right = asked["user"] == "carol" and asked.get("password", PASSWORD) == PASSWORD
        self._answer(self.server.own_user() if is_right else {})

    def _answer(self, said: dict[str, Any]) -> None:
        body = json.dumps(said).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments: Any) -> None:
        """The log of the gateway is enough."""


@pytest.fixture
def provider(bucket: Bucket, store: Store, account: Account) -> Iterator[IdentityProvider]:
    keys = account.public_keys()
    server = IdentityProvider(store.bucket, bucket.prefix, list(map(str, keys)))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def running(config: Path, provider: IdentityProvider, dialect: str, more: str = "") -> Gateway:
    """A gateway that asks the provider."""
    text = config.read_text(encoding="utf-8")
    (config.parent / "token").write_text("the-token\n")
    section = (
        f"[auth]\nsources = file http\nhttp_url = {provider.url}\nhttp_dialect = {dialect}\n"
        f"http_token_file = token\n{more}"
    )
    changed = config.with_name(f"service-{dialect}.ini")
    changed.write_text(f"{text}\n{section}", encoding="utf-8")
    return Gateway.start("--config", str(changed))


def sftp(gateway: Gateway, user: str, **proof: Any) -> paramiko.SFTPClient:
    client = connect(gateway, username=user, **proof)
    return client.open_sftp()


@pytest.mark.parametrize("dialect", ["sftpgw", "aws-transfer"])
def test_a_user_of_a_service_logs_in_and_works(
    config: Path, provider: IdentityProvider, account: Account, dialect: str
) -> None:
    gateway = running(config, provider, dialect)
    try:
        by_password = sftp(gateway, "carol", password=PASSWORD)
        with by_password.open("/report.txt", "w") as file:
            file.write("by carol")
        by_key = sftp(gateway, "carol", key_filename=str(account.key_file))
        seen = {"report.txt", "in box"} if dialect == "aws-transfer" else {"report.txt"}
        assert set(by_key.listdir("/")) == seen
        with by_key.open("/report.txt") as file:
            assert file.read() == b"by carol"
        with pytest.raises(paramiko.AuthenticationException):
            sftp(gateway, "carol", password="wrong")
        with pytest.raises(paramiko.AuthenticationException):
            sftp(gateway, "dave", password=PASSWORD)
        # A name of users.ini is not the service's business.
        sftp(gateway, "alice", password=account.password).listdir("/")
        assert "alice" not in [asked["user"] for asked in provider.asked]
        if dialect == "sftpgw":
            assert {asked["token"] for asked in provider.asked} == {"Bearer the-token"}
    finally:
        gateway.stop()
    assert not gateway.lines_with("Traceback", "Unhandled", PASSWORD)
