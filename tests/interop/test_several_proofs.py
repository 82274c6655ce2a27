"""Logins that need several proofs, with real clients: partial success, prompts, codes."""

from __future__ import annotations

import os
import secrets
import subprocess
from collections.abc import Iterator
from pathlib import Path

import paramiko
import pyotp
import pytest

from tests.interop.spawning import (
    CLIENT_SECONDS,
    NO_HOST_FILE,
    QUIET,
    Account,
    Bucket,
    Gateway,
    program,
)
from tests.needs import needs

RULES = {
    "keyed": "publickey+totp",
    "keyed2": "publickey+totp",
    "both": "password+totp",
    "both2": "password+totp",
    "both3": "password+totp",
    "pair": "publickey+password",
    "either": "publickey+totp password+totp",
    "plain": "any",
}


@pytest.fixture(scope="module")
def users() -> dict[str, str]:
    """The secrets of the codes, by user: each code opens once."""
    return {name: pyotp.random_base32() for name in RULES}


@pytest.fixture(scope="module")
def strict(
    config: Path, users: dict[str, str], account: Account, bucket: Bucket
) -> Iterator[Gateway]:
    base = config.with_name("users.ini").read_text(encoding="utf-8")
    login = base[base.index("[alice]\n") + len("[alice]\n") : base.index("[bob]")]
    sections = [
        f"[{name}]\n{login}require = {rule}\ntotp_secret = {users[name]}\n"
        for name, rule in RULES.items()
    ]
    folder = config.parent
    (folder / "strict_users.ini").write_text(
        f"[*]\nkey_prefix = {bucket.prefix}{{username}}/\n{''.join(sections)}", encoding="utf-8"
    )
    changed = folder / "strict.ini"
    changed.write_text(
        config.read_text(encoding="utf-8").replace(
            "users = users.ini\n", "users = strict_users.ini\n"
        ),
        encoding="utf-8",
    )
    gateway = Gateway.start("--config", str(changed))
    yield gateway
    gateway.stop()
    assert not gateway.lines_with("Traceback", "Unhandled", *users.values())


def code_of(secret: str) -> str:
    return pyotp.TOTP(secret).now()


class Answering:
    """OpenSSH's sftp, whose questions a script answers by their words."""

    def __init__(self, gateway: Gateway, account: Account, folder: Path) -> None:
        self._gateway = gateway
        self._account = account
        self._folder = folder

    def sftp(self, user: str, secret: str, *options: str, password: str | None = None) -> bool:
        """Whether `user` gets in."""
        ask = self._folder / f"ask-{secrets.token_hex(4)}"
        ask.write_text(
            '#!/bin/sh\necho "$1" >>asked\ncase "$1" in *ode:*) echo '
            f"{code_of(secret)};; *) echo {password or self._account.password};; esac\n"
        )
        ask.chmod(0o700)
        given = [each for option in options for each in ("-o", option)]
        done = subprocess.run(
            [
                program("sftp"),
                *QUIET,
                *NO_HOST_FILE,
                *("-P", str(self._gateway.port)),
                *("-i", str(self._account.key_file), "-o", "IdentitiesOnly=yes"),
                *given,
                f"{user}@127.0.0.1",
            ],
            cwd=self._folder,
            input="pwd\n",
            env={**os.environ, "SSH_ASKPASS": str(ask), "SSH_ASKPASS_REQUIRE": "force"},
            capture_output=True,
            text=True,
            timeout=CLIENT_SECONDS,
            check=False,
        )
        return done.returncode == 0

    @property
    def asked(self) -> list[str]:
        """The questions, without the user and the host that OpenSSH puts before them."""
        file = self._folder / "asked"
        lines = file.read_text().splitlines() if file.exists() else []
        return [line.rpartition(") ")[2].rpartition("'s ")[2] for line in lines]


@pytest.fixture
def openssh(strict: Gateway, account: Account, tmp_path: Path) -> Answering:
    return Answering(strict, account, tmp_path)


@needs("openssh")
def test_openssh_with_a_key_and_a_code(openssh: Answering, users: dict[str, str]) -> None:
    assert openssh.sftp("keyed", users["keyed"])
    assert openssh.asked == ["Verification code: "]
    assert not openssh.sftp("keyed", users["keyed"], "NumberOfPasswordPrompts=1"), "once"


@needs("openssh")
def test_openssh_with_a_password_and_a_code(openssh: Answering, users: dict[str, str]) -> None:
    assert openssh.sftp("both", users["both"], "PubkeyAuthentication=no")
    assert openssh.asked == ["Password: ", "Verification code: "]


@needs("openssh")
def test_openssh_whose_password_goes_first(openssh: Answering, users: dict[str, str]) -> None:
    order = "PreferredAuthentications=password,keyboard-interactive"
    assert openssh.sftp("both2", users["both2"], order)
    assert openssh.asked == ["password: ", "Verification code: "]


@needs("openssh")
def test_openssh_with_a_key_and_a_password(openssh: Answering, users: dict[str, str]) -> None:
    assert openssh.sftp("pair", users["pair"])
    assert openssh.asked == ["Password: "]
    assert not openssh.sftp("pair", users["pair"], "PubkeyAuthentication=no")


@needs("openssh")
def test_openssh_with_one_of_two_ways(openssh: Answering, users: dict[str, str]) -> None:
    assert openssh.sftp("either", users["either"])


@needs("openssh")
@pytest.mark.parametrize("prompts", [1, 3])
def test_openssh_asks_as_often_as_it_is_told(
    openssh: Answering, users: dict[str, str], prompts: int
) -> None:
    """keyboard-interactive, and then the method "password", as before."""
    limit = f"NumberOfPasswordPrompts={prompts}"
    assert not openssh.sftp(
        "plain", users["plain"], "PubkeyAuthentication=no", limit, password="wrong"
    )
    assert 2 * prompts - 1 <= len(openssh.asked) <= 2 * prompts
    assert openssh.sftp("plain", users["plain"], "PubkeyAuthentication=no", limit)


def transport_to(gateway: Gateway) -> paramiko.Transport:
    transport = paramiko.Transport(("127.0.0.1", gateway.port))
    transport.start_client(timeout=60)
    return transport


def test_paramiko_step_by_step(strict: Gateway, account: Account, users: dict[str, str]) -> None:
    key = paramiko.Ed25519Key.from_private_key_file(str(account.key_file))
    with transport_to(strict) as transport:
        assert transport.auth_publickey("keyed2", key) == ["keyboard-interactive"]
        assert not transport.is_authenticated()
        prompts: list[object] = []

        def answer(title: str, instructions: str, fields: list[tuple[str, bool]]) -> list[str]:
            prompts.extend(fields)
            return [code_of(users["keyed2"]) for _ in fields]

        assert transport.auth_interactive("keyed2", answer) == []
        assert transport.is_authenticated()
        assert prompts == [("Verification code: ", False)]
        sftp = paramiko.SFTPClient.from_transport(transport)
        assert sftp is not None
        assert sftp.normalize(".") == "/"
    assert strict.wait_for("proofs=publickey+totp")


def test_paramiko_with_its_password_first(
    strict: Gateway, account: Account, users: dict[str, str]
) -> None:
    with transport_to(strict) as transport:
        assert transport.auth_password("both3", account.password) == ["keyboard-interactive"]
        assert not transport.is_authenticated()
        with pytest.raises(paramiko.AuthenticationException):
            transport.auth_interactive("both3", lambda *_: ["000000"])
        code = code_of(users["both3"])
        assert transport.auth_interactive("both3", lambda *_: [code]) == []
        assert transport.is_authenticated()


@pytest.mark.parametrize("user", ["pair", "both", "nobody"])
def test_paramiko_with_a_wrong_password_learns_nothing(strict: Gateway, user: str) -> None:
    with transport_to(strict) as transport, pytest.raises(paramiko.AuthenticationException):
        transport.auth_password(user, "wrong", fallback=False)
