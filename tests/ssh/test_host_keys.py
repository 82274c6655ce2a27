"""Host keys: which files are accepted, why others are not, and how keys are created."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
)
from twisted.internet.task import Clock

from sftpgw.errors import ConfigError
from sftpgw.model.settings import SshSettings
from sftpgw.ssh.factory import GatewayFactory
from sftpgw.ssh.host_keys import (
    check_host_key_algorithms,
    create_host_key,
    create_missing_host_keys,
    load_host_keys,
)
from sftpgw.testing.cpu_clocks import free_work
from sftpgw.testing.ssh_pairs import RecordedEvents, call_at_once, make_test_portal
from tests.needs import needs

PLAIN = NoEncryption()


def write(
    path: Path,
    key,
    form: PrivateFormat = PrivateFormat.OpenSSH,
    encryption: KeySerializationEncryption = PLAIN,
) -> str:
    path.write_bytes(key.private_bytes(Encoding.PEM, form, encryption))
    path.chmod(0o600)
    return str(path)


def test_keys_of_each_type_and_format(tmp_path: Path) -> None:
    paths = [
        write(tmp_path / "a", Ed25519PrivateKey.generate()),
        write(tmp_path / "b", ec.generate_private_key(ec.SECP256R1()), PrivateFormat.PKCS8),
        write(
            tmp_path / "c", rsa.generate_private_key(65537, 2048), PrivateFormat.TraditionalOpenSSL
        ),
    ]
    kinds = [key.sshType() for key in load_host_keys(paths)]
    assert kinds == [b"ssh-ed25519", b"ecdsa-sha2-nistp256", b"ssh-rsa"]


def test_every_fault_is_reported_at_once(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("not a key")
    (tmp_path / "public").write_text("ssh-ed25519 AAAA")
    secret = BestAvailableEncryption(b"passphrase")
    paths = [
        str(tmp_path / "missing"),
        str(tmp_path),
        str(tmp_path / "text"),
        str(tmp_path / "public"),
        write(tmp_path / "good", Ed25519PrivateKey.generate()),
        write(tmp_path / "same", Ed25519PrivateKey.generate()),
        write(tmp_path / "weak", rsa.generate_private_key(65537, 1024)),
        write(tmp_path / "dsa", dsa.generate_private_key(2048), PrivateFormat.PKCS8),
        write(tmp_path / "ed448", ed448.Ed448PrivateKey.generate(), PrivateFormat.PKCS8),
        write(tmp_path / "pem", Ed25519PrivateKey.generate(), PrivateFormat.PKCS8, secret),
        write(tmp_path / "ssh", Ed25519PrivateKey.generate(), PrivateFormat.OpenSSH, secret),
    ]
    with pytest.raises(ConfigError) as caught:
        load_host_keys(paths)
    faults = caught.value.faults
    faulty = [path for path in paths if not path.endswith("good")]
    assert [fault.split(": ")[0].removeprefix("host key ") for fault in faults] == faulty
    reasons = ["cannot be read"] * 2 + ["is not a private key"] * 2
    reasons += ["same type", "2048 bits", "DSA", "not", "passphrase", "passphrase"]
    for fault, reason in zip(faults, reasons, strict=True):
        assert reason in fault


def test_no_keys_at_all_is_a_fault() -> None:
    with pytest.raises(ConfigError, match="no host keys"):
        load_host_keys([])


def test_a_key_is_created_for_the_owner_only_and_can_be_loaded(tmp_path: Path) -> None:
    path = tmp_path / "host"
    create_host_key(str(path))
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    (key,) = load_host_keys([str(path)])
    assert key.sshType() == b"ssh-ed25519"
    assert not key.isPublic()


@pytest.mark.parametrize("name", ["ssh_host_rsa_key", "RSA.pem"])
def test_an_rsa_key_is_made_where_the_name_asks_for_one(tmp_path: Path, name: str) -> None:
    create_host_key(str(tmp_path / name))
    (key,) = load_host_keys([str(tmp_path / name)])
    assert (key.sshType(), key.size()) == (b"ssh-rsa", 3072)
    assert stat.S_IMODE((tmp_path / name).stat().st_mode) == 0o600


def test_the_folder_does_not_decide_the_type(tmp_path: Path) -> None:
    (tmp_path / "rsa").mkdir()
    create_host_key(str(tmp_path / "rsa" / "ssh_host_key"))
    (key,) = load_host_keys([str(tmp_path / "rsa" / "ssh_host_key")])
    assert key.sshType() == b"ssh-ed25519"


@pytest.mark.parametrize(
    ("name", "key_type"),
    [
        ("ssh_host_ecdsa_key", b"ecdsa-sha2-nistp256"),
        ("ecdsa-sha2-nistp384", b"ecdsa-sha2-nistp384"),
        ("ECDSA_521", b"ecdsa-sha2-nistp521"),
        ("ssh_host_ed25519_key", b"ssh-ed25519"),
        ("ssh_host_key", b"ssh-ed25519"),
    ],
)
def test_a_key_is_what_its_name_says(tmp_path: Path, name: str, key_type: bytes) -> None:
    create_host_key(str(tmp_path / name))
    (key,) = load_host_keys([str(tmp_path / name)])
    assert key.sshType() == key_type


def test_the_three_keys_of_sshd_are_made_side_by_side(tmp_path: Path) -> None:
    paths = [str(tmp_path / f"ssh_host_{kind}_key") for kind in ("rsa", "ecdsa", "ed25519")]
    create_missing_host_keys(paths)
    create_missing_host_keys(paths)
    assert len(load_host_keys(paths)) == 3


def test_no_dsa_key_is_made(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="DSA host keys are not supported"):
        create_missing_host_keys([str(tmp_path / "ssh_host_dsa_key")])
    assert not list(tmp_path.iterdir())


def test_a_second_key_of_a_type_is_not_even_made(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"would be a second ssh-ed25519 key beside .*/one"):
        create_missing_host_keys([str(tmp_path / "one"), str(tmp_path / "two")])
    assert not list(tmp_path.iterdir())
    create_host_key(str(tmp_path / "one"))
    with pytest.raises(ConfigError, match="beside one that exists"):
        create_missing_host_keys([str(tmp_path / "one"), str(tmp_path / "two")])


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660])
def test_a_key_that_others_can_read_is_refused_as_by_sshd(tmp_path: Path, mode: int) -> None:
    path = write(tmp_path / "host", Ed25519PrivateKey.generate())
    Path(path).chmod(mode)
    with pytest.raises(ConfigError, match="can be read by others; run chmod 600"):
        load_host_keys([path])


@needs("root")
def test_another_owner_may_let_a_group_read_it(tmp_path: Path) -> None:
    path = write(tmp_path / "host", Ed25519PrivateKey.generate())
    os.chown(path, 65534, 0)
    Path(path).chmod(0o640)
    assert len(load_host_keys([path])) == 1


def test_a_host_key_must_suit_the_algorithms(tmp_path: Path) -> None:
    keys = load_host_keys([write(tmp_path / "ed", Ed25519PrivateKey.generate())])
    check_host_key_algorithms(keys, [b"rsa-sha2-512", b"ssh-ed25519"])
    with pytest.raises(ConfigError, match=r"no host key can sign .*: rsa-sha2-512 rsa-sha2-256"):
        check_host_key_algorithms(keys, [b"rsa-sha2-512", b"rsa-sha2-256"])


def test_a_key_that_exists_is_never_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "host"
    path.write_text("precious")
    with pytest.raises(ConfigError, match="cannot be created"):
        create_host_key(str(path))
    assert path.read_text() == "precious"


def test_a_key_that_cannot_be_created_is_explained(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"No such file"):
        create_host_key(str(tmp_path / "no" / "host"))


def test_an_rsa_host_key_signs_with_sha2_only(tmp_path: Path) -> None:
    keys = load_host_keys(
        [
            write(tmp_path / "rsa", rsa.generate_private_key(65537, 2048)),
            write(tmp_path / "ed", Ed25519PrivateKey.generate()),
        ]
    )
    factory = GatewayFactory(
        portal=make_test_portal({}, {}),
        host_keys=keys,
        settings=SshSettings(),
        clock=Clock(),
        events=RecordedEvents(),
        work=free_work(Clock()),
        run_in_thread=call_at_once,
    )
    transport = factory.buildProtocol(None)
    assert transport.supportedPublicKeys == [b"ssh-ed25519", b"rsa-sha2-512", b"rsa-sha2-256"]
