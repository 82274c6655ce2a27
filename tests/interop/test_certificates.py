"""OpenSSH logs in with certificates of ``ssh-keygen``."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.auth.openssh_keys import MadeKeys
from tests.interop.spawning import NO_HOST_FILE, QUIET, Bucket, Gateway

pytestmark = [pytest.mark.interop, pytest.mark.needs("openssh")]

KINDS = ("ed25519", "rsa", "ecdsa")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> MadeKeys:
    """An authority, one of dana's own, and keys of each kind with good certificates."""
    made = MadeKeys(tmp_path_factory.mktemp("certificates"))
    for authority in ("ca", "own-ca"):
        made.key(authority)
    for kind in KINDS:
        made.key(kind, kind)
        made.certificate("ca", kind, "-n", "carol,deploy", "-z", "1", "-V", "+1h")
    for name, authority, options in (
        ("expired", "ca", ("-n", "carol", "-V", "-2h:-1h")),
        ("bob", "ca", ("-n", "bob")),
        ("no-principal", "ca", ()),
        ("elsewhere", "ca", ("-n", "carol", "-O", "source-address=192.0.2.0/24")),
        ("here", "ca", ("-n", "carol", "-O", "source-address=127.0.0.0/8")),
        ("command", "ca", ("-n", "carol", "-O", "force-command=ls")),
        ("sftp-command", "ca", ("-n", "carol", "-O", "force-command=internal-sftp")),
        ("revoked", "ca", ("-n", "carol", "-z", "77")),
        ("own", "own-ca", ("-n", "anything")),
    ):
        made.key(name)
        made.certificate(authority, name, *options)
    (made.folder / "spec").write_text("serial: 70-80\n")
    made.run("-k", "-f", "krl", "-s", "ca.pub", "spec")
    return made


@pytest.fixture(scope="module")
def gateway(config: Path, bucket: Bucket, made: MadeKeys) -> Iterator[Gateway]:
    own = made.folder / "sftpgw.ini"
    own.write_text(
        config.read_text()
        + f"[auth]\nca_keys = {made.folder / 'ca.pub'}\nrevoked_keys = {made.folder / 'krl'}\n"
    )
    (made.folder / "users.ini").write_text(
        f"[*]\nkey_prefix = {bucket.prefix}{{username}}/\n[carol]\n[dana]\nprincipals = deploy\n"
        "authorized_keys =\n"
        f'    cert-authority,principals="anything",from="127.*" {made.line("own-ca")}\n'
        f'    from="192.0.2.*" {made.line("here")}\n'
    )
    gateway = Gateway.start("--config", str(own))
    yield gateway
    gateway.stop()
    assert not gateway.lines_with("Traceback", "Unhandled")


def logs_in(gateway: Gateway, made: MadeKeys, user: str, name: str, *options: str) -> bool:
    """Whether ``sftp`` gets in with a key, and the certificate beside it."""
    done = subprocess.run(
        [
            *("sftp", "-b", "-", "-P", str(gateway.port)),
            *(*QUIET, *NO_HOST_FILE, *options, "-o", "IdentitiesOnly=yes"),
            *("-o", "PreferredAuthentications=publickey", "-i", str(made.folder / name)),
            f"{user}@127.0.0.1",
        ],
        input="pwd\n",
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0 or "Permission denied" in done.stderr, done.stderr
    return done.returncode == 0


@pytest.mark.parametrize("kind", KINDS)
def test_certificates_of_each_kind_log_in(gateway: Gateway, made: MadeKeys, kind: str) -> None:
    assert logs_in(gateway, made, "carol", kind)
    line = gateway.wait_for("login-succeeded")
    assert f'certificate="id of {kind} serial 1 by SHA256:' in line


@pytest.mark.parametrize("algorithm", ["rsa-sha2-256", "rsa-sha2-512"])
def test_an_rsa_certificate_signs_with_sha2(
    gateway: Gateway, made: MadeKeys, algorithm: str
) -> None:
    named = f"PubkeyAcceptedAlgorithms={algorithm}-cert-v01@openssh.com"
    assert logs_in(gateway, made, "carol", "rsa", "-o", named)


@pytest.mark.parametrize(
    ("user", "name", "reason"),
    [
        ("carol", "here", None),
        ("carol", "sftp-command", None),
        ("dana", "ed25519", None),
        ("dana", "own", None),
        ("carol", "own", "not trusted for this user"),
        ("carol", "expired", "has expired"),
        ("carol", "bob", "for other principals"),
        ("carol", "no-principal", "for other principals"),
        ("carol", "elsewhere", "not for this address"),
        ("carol", "command", "force-command"),
        ("carol", "revoked", "is revoked"),
        ("dana", "here", "from= does not admit the address"),
        ("unknown", "ed25519", "key-not-authorised"),
    ],
)
def test_who_gets_in_and_what_the_log_says(
    gateway: Gateway, made: MadeKeys, user: str, name: str, reason: str | None
) -> None:
    assert logs_in(gateway, made, user, name) is (reason is None)
    if reason is not None:
        gateway.wait_for(reason)
