"""Which keys and signatures are accepted for a login."""

from __future__ import annotations

import base64
from collections.abc import Callable

import pytest
from cryptography.hazmat.primitives.asymmetric import dsa, ec, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from twisted.conch.ssh.common import NS
from twisted.conch.ssh.keys import Key

from sftpgw.auth.authorized_keys import read_public_key
from sftpgw.auth.login_keys import (
    LOGIN_ALGORITHMS,
    SHA1_LOGIN_ALGORITHMS,
    USER_PRESENT,
    USER_VERIFIED,
    read_key_blob,
    verify_signature,
)
from tests.auth.certificate_bytes import SecurityKey

MESSAGE = b"what the client signs"


def ed25519_key() -> Key:
    return Key(Ed25519PrivateKey.generate())


def ecdsa_key(curve: ec.EllipticCurve) -> Key:
    return Key(ec.generate_private_key(curve))


def rsa_key(bits: int = 2048) -> Key:
    return Key(rsa.generate_private_key(65537, bits))


def line_of(key: Key, comment: str = "") -> str:
    text: bytes = key.public().toString("OPENSSH")
    return f"{text.decode('ascii')} {comment}".strip()


@pytest.mark.parametrize(
    ("make", "algorithms"),
    [
        (ed25519_key, [b"ssh-ed25519"]),
        (lambda: ecdsa_key(ec.SECP256R1()), [b"ecdsa-sha2-nistp256"]),
        (lambda: ecdsa_key(ec.SECP384R1()), [b"ecdsa-sha2-nistp384"]),
        (lambda: ecdsa_key(ec.SECP521R1()), [b"ecdsa-sha2-nistp521"]),
        (rsa_key, [b"rsa-sha2-512", b"rsa-sha2-256", b"ssh-rsa"]),
    ],
    ids=["ed25519", "nistp256", "nistp384", "nistp521", "rsa"],
)
def test_each_accepted_type_verifies_with_each_of_its_algorithms(
    make: Callable[[], Key], algorithms: list[bytes]
) -> None:
    key = make()
    login_key = read_public_key(line_of(key, "alice@laptop with spaces"))
    assert list(login_key.algorithms) == algorithms
    for algorithm in algorithms:
        assert (algorithm in LOGIN_ALGORITHMS) != (algorithm in SHA1_LOGIN_ALGORITHMS)
        signature = key.sign(MESSAGE, signatureType=algorithm)
        assert verify_signature(login_key, algorithm, signature, MESSAGE)
        assert not verify_signature(login_key, algorithm, signature, MESSAGE + b"!")


def test_an_rsa_signature_with_sha1_is_refused_under_another_name() -> None:
    key = rsa_key()
    login_key = read_key_blob(key.public().blob())
    sha1 = key.sign(MESSAGE, signatureType=b"ssh-rsa")
    assert not verify_signature(login_key, b"rsa-sha2-256", sha1, MESSAGE)
    assert not verify_signature(login_key, b"rsa-sha2-512", sha1, MESSAGE)


def test_the_signature_must_be_of_the_announced_algorithm() -> None:
    key = rsa_key()
    login_key = read_key_blob(key.public().blob())
    sha256 = key.sign(MESSAGE, signatureType=b"rsa-sha2-256")
    assert not verify_signature(login_key, b"rsa-sha2-512", sha256, MESSAGE)


def test_an_ed25519_signature_under_another_name_is_refused() -> None:
    key = ed25519_key()
    login_key = read_key_blob(key.public().blob())
    good = key.sign(MESSAGE)
    value = good[4 + len(b"ssh-ed25519") :]
    assert verify_signature(login_key, b"ssh-ed25519", good, MESSAGE)
    assert not verify_signature(login_key, b"ssh-ed25519", NS(b"ssh-rsa") + value, MESSAGE)


@pytest.mark.parametrize("cut", [0, 3, 10, 20, 60])
def test_a_truncated_signature_is_refused(cut: int) -> None:
    key = ed25519_key()
    login_key = read_key_blob(key.public().blob())
    assert not verify_signature(login_key, b"ssh-ed25519", key.sign(MESSAGE)[:cut], MESSAGE)


def test_a_signature_with_bytes_behind_it_is_refused() -> None:
    key = ed25519_key()
    login_key = read_key_blob(key.public().blob())
    assert not verify_signature(login_key, b"ssh-ed25519", key.sign(MESSAGE) + b"x", MESSAGE)


def test_a_security_key_that_was_touched_is_accepted() -> None:
    device = SecurityKey()
    login_key = read_key_blob(device.blob)
    assert verify_signature(login_key, device.kind, device.sign(MESSAGE, 1), MESSAGE)


def test_a_security_key_that_was_not_touched_is_refused() -> None:
    device = SecurityKey()
    login_key = read_key_blob(device.blob)
    assert not verify_signature(login_key, device.kind, device.sign(MESSAGE, 0), MESSAGE)


@pytest.mark.parametrize(
    ("flags", "required", "is_enough"),
    [
        (0, 0, True),
        (USER_PRESENT, 0, True),
        (USER_PRESENT, USER_VERIFIED, False),
        (USER_PRESENT, USER_PRESENT | USER_VERIFIED, False),
        (USER_PRESENT | USER_VERIFIED, USER_PRESENT | USER_VERIFIED, True),
        (USER_VERIFIED, USER_VERIFIED, True),
    ],
)
def test_what_a_security_key_must_tell_is_the_callers_choice(
    flags: int, required: int, is_enough: bool
) -> None:
    device = SecurityKey()
    signature = device.sign(MESSAGE, flags)
    login_key = read_key_blob(device.blob)
    assert verify_signature(login_key, device.kind, signature, MESSAGE, required) is is_enough
    # The flags are signed, too.
    forged = signature[:-5] + bytes((required | 1,)) + signature[-4:]
    assert not verify_signature(login_key, device.kind, forged, MESSAGE, required) or (
        flags == required | 1
    )


def test_a_security_key_signature_without_its_trailer_is_refused() -> None:
    device = SecurityKey()
    signature = device.sign(MESSAGE, 1)[:-5]
    assert not verify_signature(read_key_blob(device.blob), device.kind, signature, MESSAGE)


def weak_rsa_line() -> str:
    return line_of(rsa_key(1024))


def dsa_line() -> str:
    return line_of(Key(dsa.generate_private_key(1024)))


def swapped_line() -> str:
    return line_of(ed25519_key()).replace("ssh-ed25519", "ssh-rsa", 1)


def sloppy_line() -> str:
    blob = ed25519_key().public().blob() + b"more"
    return f"ssh-ed25519 {base64.b64encode(blob).decode('ascii')}"


@pytest.mark.parametrize(
    ("make_line", "complaint"),
    [
        (lambda: "", "empty"),
        (lambda: "ssh-ed25519", "missing"),
        (lambda: "ssh-ed25519 ???", "base64"),
        (lambda: "ssh-ed25519 AAAA", "not a public key"),
        (lambda: "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIA==", "not a public key"),
        (lambda: f"restrict {line_of(ed25519_key())}", "options"),
        (lambda: "ssh-ed25519-cert-v01@openssh.com AAAA", "certificates"),
        (weak_rsa_line, "2048"),
        (dsa_line, "not accepted"),
        (swapped_line, "type"),
        (sloppy_line, "encoded"),
    ],
)
def test_a_line_that_cannot_be_used_is_explained(
    make_line: Callable[[], str], complaint: str
) -> None:
    with pytest.raises(ValueError, match=complaint):
        read_public_key(make_line())


def test_a_good_line_passes() -> None:
    key = ed25519_key()
    line = line_of(key, "a comment; with # signs %")
    assert read_public_key(line).blob == key.public().blob()
