"""Host keys: reads them from files, and creates missing ones.

Knows: private keys in PEM and OpenSSH's format, and which ones are strong enough.
Must not know: the configuration that names them.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from typing import Any

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import (
    SECP256R1,
    SECP384R1,
    SECP521R1,
    EllipticCurve,
)
from cryptography.hazmat.primitives.asymmetric.ec import generate_private_key as generate_ec_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key as generate_rsa_key
from cryptography.hazmat.primitives.serialization import (
    load_pem_private_key,
    load_ssh_private_key,
)
from twisted.conch.ssh.keys import Key

from sftpgw.errors import ConfigError
from sftpgw.ssh.algorithms import KNOWN

MIN_RSA_BITS = 2048
CREATED_RSA_BITS = 3072
_CURVES: Mapping[str, type[EllipticCurve]] = {
    "521": SECP521R1,
    "384": SECP384R1,
    "256": SECP256R1,
}
_SIGNATURES = frozenset(name.encode("ascii") for name in KNOWN["host_key_algorithms"])
_OPENSSH_MARK = b"BEGIN OPENSSH PRIVATE KEY"


def load_host_keys(paths: Sequence[str]) -> tuple[Key, ...]:
    """The private keys in the files at `paths`, one of each type.

    :raises ConfigError: with a line for each file that cannot be used.
    """
    keys: dict[bytes, Key] = {}
    faults = []
    for path in paths:
        try:
            key = _load(path)
        except ValueError as problem:
            faults.append(f"host key {path}: {problem}")
            continue
        if keys.setdefault(bytes(key.sshType()), key) is not key:
            faults.append(f"host key {path}: another host key has the same type")
    if not paths:
        faults.append("no host keys")
    if faults:
        raise ConfigError(tuple(faults))
    return tuple(keys.values())


def create_host_key(path: str) -> None:
    """Write a new key to a file that only its owner can read.

    :param path: the file; its name decides about the type (`type_for_name`).
    :raises ConfigError: the file exists, cannot be written, or is named after a DSA key.
    """
    text: bytes = Key(_new_key(type_for_name(path))).toString("OPENSSH", subtype="v1")
    try:
        # O_EXCL: a host key that clients have stored must never be overwritten.
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "wb") as file:
            file.write(text)
    except OSError as problem:
        raise ConfigError((f"host key {path}: cannot be created: {problem.strerror}",)) from problem


def create_missing_host_keys(paths: Sequence[str]) -> None:
    """Create those host keys that do not exist.

    :raises ConfigError: one cannot be created, or two would have the same type; in the latter case
        none is created.
    """
    for path in missing_host_keys(paths):
        create_host_key(path)


def missing_host_keys(paths: Sequence[str]) -> list[str]:
    """The paths of those host keys that do not exist.

    :raises ConfigError: one that exists cannot be used, or a new one would have the type of
        another.
    """
    missing = [path for path in paths if not os.path.exists(path)]
    existing = [path for path in paths if path not in missing]
    taken = {bytes(key.sshType()): "" for key in load_host_keys(existing)} if existing else {}
    for path in missing:
        key_type = type_for_name(path)
        if key_type in taken:
            first = taken[key_type] or "one that exists"
            text = (
                f"host key {path}: would be a second {key_type.decode()} key beside {first}; "
                "the name says which type is made: have ed25519, ecdsa or rsa in it"
            )
            raise ConfigError((text,))
        taken[key_type] = path
    return missing


def type_for_name(path: str) -> bytes:
    """The type of the key that is created in a file of this name.

    A name with ``rsa`` gets an RSA key of 3072 bits, one with ``ecdsa`` an ECDSA key on the NIST
    curve P-256, or P-384 or P-521 if the name also has ``384`` or ``521``; all others get an
    ed25519 key.

    :raises ConfigError: the name has ``dsa``.
    """
    name = os.path.basename(path).lower()
    if "ecdsa" in name:
        size = next((bits for bits in _CURVES if bits in name), "256")
        return f"ecdsa-sha2-nistp{size}".encode()
    if "rsa" in name:
        return b"ssh-rsa"
    if re.search(r"(?<![a-z])dsa(?![a-z])", name):
        raise ConfigError((f"host key {path}: DSA host keys are not supported; name another type",))
    return b"ssh-ed25519"


def _new_key(key_type: bytes) -> Any:
    if key_type == b"ssh-rsa":
        return generate_rsa_key(65537, CREATED_RSA_BITS)
    if key_type == b"ssh-ed25519":
        return Ed25519PrivateKey.generate()
    return generate_ec_key(_CURVES[key_type[-3:].decode()]())


def check_host_key_algorithms(keys: Sequence[Key], algorithms: Sequence[bytes]) -> None:
    """Check that the host keys can sign with one of the algorithms.

    :raises ConfigError: they cannot.
    """
    able = [name for key in keys for name in key.supportedSignatureAlgorithms()]
    if not frozenset(able) & frozenset(algorithms):
        listed = " ".join(name.decode("ascii") for name in algorithms)
        text = f"no host key can sign with any of the host_key_algorithms of [ssh]: {listed}"
        raise ConfigError((text,))


def _load(path: str) -> Key:
    """The key in a file.

    :raises ValueError: it cannot be used; says why, without the path.
    """
    try:
        with open(path, "rb") as file:
            status = os.fstat(file.fileno())
            text = file.read()
    except OSError as problem:
        raise ValueError(f"cannot be read: {problem.strerror}") from problem
    key = _parse(text)
    if not frozenset(key.supportedSignatureAlgorithms()) & _SIGNATURES:
        raise ValueError(f"{key.type()} host keys are not supported")
    if key.type() == "RSA" and key.size() < MIN_RSA_BITS:
        raise ValueError(f"RSA host keys must have at least {MIN_RSA_BITS} bits")
    if status.st_uid == os.geteuid() and status.st_mode & 0o077:
        # Like sshd: a file of another owner, such as a mounted secret, may be meant for a group.
        raise ValueError(f"can be read by others; run chmod 600 {path}")
    return key


def _parse(text: bytes) -> Key:
    load = load_ssh_private_key if _OPENSSH_MARK in text else load_pem_private_key
    try:
        key = Key(load(text, password=None))
        key.sshType()
    except TypeError as problem:  # what cryptography raises if a passphrase is needed
        raise ValueError("is encrypted with a passphrase, which is not supported") from problem
    except (ValueError, KeyError, RuntimeError, UnsupportedAlgorithm) as problem:
        raise ValueError("is not a private key in PEM or OpenSSH format") from problem
    return key
