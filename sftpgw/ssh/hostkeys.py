"""Host keys: read from files, or created once.

Knows: private keys in PEM and OpenSSH's format, and which are good enough.
Must not know: the configuration they are named in.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key as generate_rsa_key
from cryptography.hazmat.primitives.serialization import (
    load_pem_private_key,
    load_ssh_private_key,
)
from twisted.conch.ssh.keys import Key

from sftpgw.errors import ConfigError
from sftpgw.ssh.algorithms import HOST_KEY_SIGNATURES

MIN_RSA_BITS = 2048
CREATED_RSA_BITS = 3072
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
    """Write a new key to `path`, readable by the owner only.

    It is an ed25519 key; an RSA key where the file's name has ``rsa`` in it, as
    ``ssh_host_rsa_key`` has.

    :raises ConfigError: the file exists already, or cannot be written.
    """
    wants_rsa = "rsa" in os.path.basename(path).lower()
    text: bytes = Key(
        generate_rsa_key(65537, CREATED_RSA_BITS) if wants_rsa else Ed25519PrivateKey.generate()
    ).toString("OPENSSH", subtype="v1")
    try:
        # O_EXCL: a host key that clients know must never be overwritten.
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "wb") as file:
            file.write(text)
    except OSError as problem:
        raise ConfigError((f"host key {path}: cannot be created: {problem.strerror}",)) from problem


def check_host_key_algorithms(keys: Sequence[Key], algorithms: Sequence[bytes]) -> None:
    """:raises ConfigError: none of the `keys` can sign with any of the `algorithms`."""
    able = [name for key in keys for name in key.supportedSignatureAlgorithms()]
    if not frozenset(able) & frozenset(algorithms):
        listed = " ".join(name.decode("ascii") for name in algorithms)
        text = f"no host key can sign with any of the host_key_algorithms of [ssh]: {listed}"
        raise ConfigError((text,))


def _load(path: str) -> Key:
    """:raises ValueError: says what is wrong with the file, without the path."""
    try:
        with open(path, "rb") as file:
            text = file.read()
    except OSError as problem:
        raise ValueError(f"cannot be read: {problem.strerror}") from problem
    key = _parse(text)
    if not frozenset(key.supportedSignatureAlgorithms()) & frozenset(HOST_KEY_SIGNATURES):
        raise ValueError(f"{key.type()} host keys are not supported")
    if key.type() == "RSA" and key.size() < MIN_RSA_BITS:
        raise ValueError(f"RSA host keys must have at least {MIN_RSA_BITS} bits")
    return key


def _parse(text: bytes) -> Key:
    load = load_ssh_private_key if _OPENSSH_MARK in text else load_pem_private_key
    try:
        key = Key(load(text, password=None))
        key.sshType()
    except TypeError as problem:  # how cryptography says that a passphrase is needed
        raise ValueError("is encrypted with a passphrase, which is not supported") from problem
    except (ValueError, KeyError, RuntimeError, UnsupportedAlgorithm) as problem:
        raise ValueError("is not a private key in PEM or OpenSSH format") from problem
    return key
