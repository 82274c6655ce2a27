"""What is found out and decided before the gateway starts."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from sftpgw.errors import ConfigError
from sftpgw.model.settings import (
    FilesSettings,
    GatewaySettings,
    LimitSettings,
    Settings,
    SshSettings,
    StoreSettings,
)
from sftpgw.model.units import GIB, MIB
from sftpgw.startup import idle_connections, read_settings

DEFAULTS = Settings(
    GatewaySettings(), StoreSettings(), SshSettings(), LimitSettings(), FilesSettings(), {}
)


def kept(*, clients: int = 100, memory_bytes: int = 512 * MIB, **s3: int) -> int:
    settings = replace(
        DEFAULTS,
        s3=StoreSettings(**s3),
        ssh=SshSettings(max_connections=clients),
        limits=LimitSettings(memory_bytes=memory_bytes),
    )
    return idle_connections(settings)


def test_one_connection_is_kept_for_each_client() -> None:
    assert idle_connections(DEFAULTS) >= DEFAULTS.ssh.max_connections
    assert kept(clients=300) - kept(clients=200) == 100


def test_connections_are_kept_for_the_parts_that_memory_can_hold() -> None:
    assert kept(memory_bytes=GIB) - kept(memory_bytes=512 * MIB) == 64
    assert kept(part_size_bytes=16 * MIB) == kept()
    assert kept() - kept(part_size_bytes=16 * MIB, download_part_size_bytes=16 * MIB) == 32


def test_no_more_connections_are_kept_than_clients_have_parts() -> None:
    few = kept(clients=2, upload_concurrency=6)
    assert kept(clients=2, upload_concurrency=6, memory_bytes=GIB) == few
    assert kept(clients=2, upload_concurrency=1, download_concurrency=7) - few == 2


@pytest.mark.parametrize("clients", [1, 100_000])
def test_kept_connections_have_bounds(clients: int) -> None:
    assert 64 <= kept(clients=clients, memory_bytes=1024 * GIB) <= 1024


def test_settings_of_the_store_are_judged_before_the_start(tmp_path: Path) -> None:
    """Without a request, and without a password in what is told."""
    (tmp_path / "empty.pem").touch()
    users = "[*]\nkey_prefix = a\n[al]\npassword_hash = $2b$04$" + "a" * 53 + "\n"
    (tmp_path / "users.ini").write_text(users, encoding="utf-8")
    path = tmp_path / "sftpgw.ini"
    for lines, words in (
        ("ca_file = empty.pem", f"[s3] ca_file: {tmp_path}/empty.pem: there is no certificate"),
        ("ca_file = gone.pem", f"[s3] ca_file: {tmp_path}/gone.pem: No such file"),
        ("proxy = https://me:secret@h", "[s3] proxy: https:// is not supported"),
    ):
        ini = f"[gateway]\ncreate_host_keys = yes\n[s3]\nbucket = uploads\n{lines}\n"
        path.write_text(ini, encoding="utf-8")
        path.chmod(0o600)
        with pytest.raises(ConfigError) as refused:
            read_settings(str(path))
        (fault,) = refused.value.faults
        assert words in fault
        assert "secret" not in fault
