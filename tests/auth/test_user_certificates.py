"""What is read of a certificate, and which ones are refused."""

from __future__ import annotations

import base64
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import dsa, ec, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization.ssh import (
    SSHCertificate,
    load_ssh_public_identity,
)
from hypothesis import given
from hypothesis import strategies as st
from twisted.conch.ssh.common import NS
from twisted.conch.ssh.keys import Key

from sftpgw.auth.user_certificates import (
    certified_blob,
    describe_certificate,
    is_certificate,
    plain_algorithm,
    read_certificate,
)
from sftpgw.model.addresses import address_of
from tests.auth.certificate_bytes import Certificate, SecurityKey
from tests.auth.openssh_keys import MadeKeys

ED25519 = Key(Ed25519PrivateKey.generate())
RSA = Key(rsa.generate_private_key(65537, 2048))
KEYS = {
    "ed25519": ED25519,
    "rsa": RSA,
    "nistp256": Key(ec.generate_private_key(ec.SECP256R1())),
    "nistp384": Key(ec.generate_private_key(ec.SECP384R1())),
    "nistp521": Key(ec.generate_private_key(ec.SECP521R1())),
}
BLOBS = {name: key.public().blob() for name, key in KEYS.items()} | {"sk": SecurityKey().blob}
GOOD = Certificate(ED25519.public().blob())


@pytest.mark.parametrize("authority", [*KEYS.values(), SecurityKey()], ids=[*KEYS, "sk"])
@pytest.mark.parametrize("name", BLOBS)
def test_every_kind_of_key_is_certified_by_every_kind(
    name: str, authority: Key | SecurityKey
) -> None:
    blob = Certificate(BLOBS[name], principals=(b"alice", b"bob")).signed_by(authority)
    found = read_certificate(blob)
    assert is_certificate(blob)
    assert found.login_key.blob == certified_blob(blob) == BLOBS[name]
    assert found.principals == {"alice", "bob"}
    assert (found.serial, found.key_id) == (7, b"alice@laptop")
    assert found.needs_touch
    assert not found.needs_verification
    assert describe_certificate(blob).startswith("alice@laptop serial 7 by SHA256:")


def test_each_byte_counts() -> None:
    blob = GOOD.signed_by(ED25519)
    for place in range(len(blob)):
        wrong = blob[:place] + bytes((blob[place] ^ 1,)) + blob[place + 1 :]
        with pytest.raises(ValueError, match=r"certificate cannot be used|not a public key"):
            read_certificate(wrong)
    for end in range(len(blob)):
        with pytest.raises(ValueError, match="certificate cannot be used"):
            read_certificate(blob[:end])
    with pytest.raises(ValueError, match="goes on"):
        read_certificate(blob + b"x")


def wrong(**changes: object) -> bytes:
    return replace(GOOD, **changes).signed_by(ED25519)


@pytest.mark.parametrize(
    ("blob", "complaint"),
    [
        (wrong(kind=2), "not a user's"),
        (wrong(principals=tuple(b"%d" % n for n in range(257))), "more than 256"),
        (wrong(options={b"force-command": b"ls"}), "force-command"),
        (wrong(options={b"force-command": b"internal-sftp -R"}), "force-command"),
        (wrong(options={b"unheard@example.com": None}), "unheard@example.com is not supported"),
        (wrong(options={b"source-address": b"10.0.0.1/8"}), "not a network"),
        (wrong(options={b"source-address": b"*"}), "not a network"),
        (wrong(options={b"source-address": b"\xff"}), "cannot be used"),
        (wrong(options={b"verify-required": b"x"}), "has a value"),
        (wrong(raw_options=2 * (NS(b"source-address") + NS(NS(b"::/0")))), "twice"),
        (wrong(raw_options=NS(b"source-address") + NS(NS(b"::/0") + b"x")), "goes on"),
        (wrong(raw_options=NS(b"source-address") + NS(b"")), "too early"),
        (GOOD.signed_by(RSA, b"ssh-rsa"), "must not sign with this"),
        (GOOD.signed_by(Key(rsa.generate_private_key(65537, 1024))), "2048"),
        (GOOD.signed_by(Key(dsa.generate_private_key(1024))), "must not sign with this"),
        (GOOD.body(RSA.public().blob()) + NS(ED25519.sign(b"")), "signature is wrong"),
        (GOOD.body(GOOD.signed_by(RSA)) + NS(ED25519.sign(b"")), "not a public key"),
        (
            Certificate(Key(rsa.generate_private_key(65537, 1024)).public().blob()).signed_by(RSA),
            "2048",
        ),
        (Certificate(Key(dsa.generate_private_key(1024)).public().blob()).signed_by(RSA), "type"),
        (ED25519.public().blob(), "type"),
    ],
)
def test_what_cannot_be_trusted_is_refused(blob: bytes, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        read_certificate(blob)


def test_what_is_restricted_is_known() -> None:
    options = {b"force-command": b"internal-sftp", b"source-address": b"10.0.0.0/8,::1"}
    found = read_certificate(wrong(options={**options, b"verify-required": None}))
    assert found.needs_verification
    assert found.sources is not None
    assert found.sources.admit(address_of("10.1.2.3"))
    assert found.sources.admit(address_of("::ffff:10.1.2.3"))
    assert found.sources.admit(address_of("::1"))
    assert not found.sources.admit(address_of("11.0.0.1"))
    assert not found.sources.admit(None)
    found = read_certificate(wrong(extensions={b"no-touch-required": None, b"else@x": b"y"}))
    assert not found.needs_touch


def test_the_algorithm_of_a_signature_is_that_of_the_key() -> None:
    for named, plain in (
        (b"ssh-ed25519-cert-v01@openssh.com", b"ssh-ed25519"),
        (b"rsa-sha2-512-cert-v01@openssh.com", b"rsa-sha2-512"),
        (b"sk-ssh-ed25519-cert-v01@openssh.com", b"sk-ssh-ed25519@openssh.com"),
        (b"sk-ssh-ed25519@openssh.com", b"sk-ssh-ed25519@openssh.com"),
        (b"ssh-rsa", b"ssh-rsa"),
    ):
        assert plain_algorithm(named) == plain


def test_cryptography_reads_the_same() -> None:
    for key in KEYS.values():
        blob = Certificate(key.public().blob(), options={b"source-address": b"::/0"}).signed_by(RSA)
        name = blob[4 : 4 + blob[3]]
        read = load_ssh_public_identity(name + b" " + base64.b64encode(blob))
        assert isinstance(read, SSHCertificate)
        read.verify_cert_signature()
        found = read_certificate(blob)
        assert (read.serial, read.key_id) == (found.serial, found.key_id)
        assert {each.decode() for each in read.valid_principals} == found.principals


@given(st.binary(max_size=300), st.integers(0, 400))
def test_any_bytes_are_a_certificate_or_a_value_error(data: bytes, place: int) -> None:
    blob = GOOD_BLOB[:place] + data
    for read in (read_certificate, certified_blob, describe_certificate):
        try:
            read(blob)
        except ValueError:
            continue
    is_certificate(blob)


GOOD_BLOB = GOOD.signed_by(ED25519)


@pytest.mark.needs("openssh")
@pytest.mark.parametrize("authority", ["ed25519", "rsa", "ecdsa"])
@pytest.mark.parametrize("kind", ["ed25519", "rsa", "ecdsa"])
def test_certificates_of_ssh_keygen(tmp_path: Path, kind: str, authority: str) -> None:
    made = MadeKeys(tmp_path)
    made.key("ca", authority)
    made.key("user", kind)
    restrictions = ("-O", "source-address=192.0.2.0/24", "-O", "force-command=internal-sftp")
    blob = made.certificate("ca", "user", "-n", "alice,bob", "-z", "9", "-V", "+1h", *restrictions)
    found = read_certificate(blob)
    assert found.login_key.blob == made.blob("user")
    assert found.authority == made.blob("ca")
    assert found.principals == {"alice", "bob"}
    assert found.serial == 9
    assert found.sources is not None
    assert found.valid_until - found.valid_from >= 3600
    with pytest.raises(ValueError, match="not a user's"):
        read_certificate(made.certificate("ca", "user", "-h", "-n", "host"))
