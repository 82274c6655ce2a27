"""A gateway for each policy, on the same files."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import bcrypt
import pytest
from cryptography.hazmat.primitives import serialization

from tests.interop.clients.scenario import LOGINS, Target
from tests.interop.conftest import gateway_config, lines, of_policy
from tests.interop.spawning import Account, Bucket, Gateway, Store

PARTNER = "partner"


@pytest.fixture(scope="session")
def old_keys(folder: Path, account: Account) -> dict[str, Path]:
    """The users' keys as PEM, which the oldest clients need; for Ed25519 there is no such form."""
    return {kind: _as_pem(folder, account.key_files[kind]) for kind in LOGINS if kind != "password"}


def _as_pem(folder: Path, key_file: Path) -> Path:
    key = serialization.load_ssh_private_key(key_file.read_bytes(), None)
    if "ed25519" in key_file.name:
        return key_file
    path = folder / f"pem_{key_file.name}"
    path.touch(0o600)
    path.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.TraditionalOpenSSL,
            serialization.NoEncryption(),
        )
    )
    path.with_suffix(".pub").write_bytes(key_file.with_suffix(".pub").read_bytes())
    return path


@pytest.fixture(scope="session")
def gateway_of(
    folder: Path, store: Store, bucket: Bucket, account: Account, host_keys: dict[str, Path]
) -> Iterator[Callable[[str], Gateway]]:
    """Starts the gateway with a policy, once."""
    password_hash = bcrypt.hashpw(account.password.encode(), bcrypt.gensalt(4)).decode()
    (folder / "partners.ini").write_text(
        f"[{PARTNER}]\nkey_prefix = {bucket.prefix}{PARTNER}/\npassword_hash = {password_hash}\n"
        f"authorized_keys =\n{lines(*account.public_keys())}\n"
    )
    started: dict[str, Gateway] = {}

    def start(policy: str) -> Gateway:
        if policy not in started:
            config = folder / f"{policy}.ini"
            state_prefix = f"{bucket.prefix}.sftpgw-{policy}/"
            text = gateway_config(store, host_keys, state_prefix, "partners.ini")
            config.write_text(of_policy(text, policy))
            started[policy] = Gateway.start("--config", str(config))
        return started[policy]

    yield start
    for gateway in started.values():
        gateway.stop()
        assert not gateway.lines_with("Traceback", "Unhandled")


@pytest.fixture
def target_of(
    gateway_of: Callable[[str], Gateway], account: Account, old_keys: dict[str, Path]
) -> Callable[[str], Target]:
    """Where a driver goes for a policy."""

    def target(policy: str) -> Target:
        return Target(gateway_of(policy).port, PARTNER, account.password, old_keys)

    return target
