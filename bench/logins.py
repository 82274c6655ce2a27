"""``python -m bench logins``: what a login costs the gateway, by what the client proves.

Knows: keys, certificates and passwords, and asyncssh's client. Must not know: files.

Each login is a connection of its own, with key exchange, proof and disconnect; that without a proof
tells what the proof does not cost. asyncssh asks about a key before it signs, as most clients do.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncssh
import bcrypt
import pyotp

from bench.figures import table
from bench.processes import BenchError, cpu_seconds
from bench.servers import KEY_PREFIX, Store
from bench.watching import watched_gateway
from sftpgw.auth.passwords import hash_password

USER = "bench"
PASSWORD = "correct horse"
SECRET = "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP"
NO_STORE = Store("http://127.0.0.1:9", "none")
"""No login needs a store."""

SETTINGS = ("ssh.exempt_networks=127.0.0.0/8", "ssh.connections_per_user=1000")
DESCRIPTORS = 1024


@dataclass(frozen=True)
class Proof:
    """What a client proves.

    :param users: the lines of the user's section.
    :param options: for asyncssh's client.
    :param settings: lines for sftpgw.ini, each ``section.key=value``.
    :param has_code: whether a one-time code follows. It opens once, so each login has a user of its
        own.
    """

    users: str
    options: Mapping[str, Any]
    settings: tuple[str, ...] = ()
    has_code: bool = False


@dataclass(frozen=True, slots=True)
class LoginsPlan:
    """What is to be measured.

    :param trees: the source trees of the gateways.
    :param logins: how many logins with each proof.
    :param at_once: how many of them at the same time.
    :param proofs: the names of proofs to measure; empty for all.
    """

    trees: Sequence[Path]
    logins: int = 200
    at_once: int = 4
    proofs: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class LoginCost:
    """What a login costs.

    :param cpu_milliseconds: of the gateway's process, with all of its threads.
    :param per_second: how many were done.
    """

    proof: str
    tree: str
    cpu_milliseconds: float
    per_second: float


def measure_logins(plan: LoginsPlan, folder: Path, tell: Callable[[str], None]) -> list[LoginCost]:
    """Each proof with each tree; a proof that a tree does not know is left out."""
    found = []
    for name, proof in _proofs(folder).items():
        if plan.proofs and name not in plan.proofs:
            continue
        for number, tree in enumerate(plan.trees):
            tell(f"{name}, {tree.name}")
            try:
                found.append(_measured(name, proof, tree, plan, folder / f"{name} {number}"))
            except BenchError as problem:
                tell(f"{name}, {tree.name} is left out: {str(problem).splitlines()[-1]}")
    return found


def logins_table(found: Sequence[LoginCost]) -> str:
    """A proof and a tree a line."""
    rows = [("proof", "tree", "CPU-ms", "a second")]
    for each in found:
        cost = f"{each.cpu_milliseconds:.1f}"
        rows.append((each.proof, each.tree, cost, f"{each.per_second:.0f}"))
    return table(rows)


def _proofs(folder: Path) -> dict[str, Proof]:
    authority = asyncssh.generate_private_key("ssh-ed25519")
    (folder / "ca.pub").write_bytes(authority.export_public_key())
    keys = {
        "ed25519": asyncssh.generate_private_key("ssh-ed25519"),
        "ecdsa-256": asyncssh.generate_private_key("ecdsa-sha2-nistp256"),
        "rsa-3072": asyncssh.generate_private_key("ssh-rsa", key_size=3072),
    }
    found = {"none": Proof("password_hash = " + hash_password(b"another"), {})}
    for name, key in keys.items():
        line = key.export_public_key().decode().strip()
        found[name] = Proof(f"authorized_keys = {line}", {"client_keys": [key]})
        certificate = authority.generate_user_certificate(key, name, principals=[USER])
        found[f"{name} certificate"] = Proof(
            "password_hash = " + hash_password(b"another"),
            {"client_keys": [(key, certificate)]},
            (f"auth.ca_keys={folder / 'ca.pub'}",),
        )
    hashes = {f"bcrypt, cost {cost}": _bcrypt(cost) for cost in (10, 12)}
    for name, text in {**hashes, "argon2id": hash_password(PASSWORD.encode())}.items():
        found[name] = Proof(f"password_hash = {text}", {"password": PASSWORD})
    line = keys["ed25519"].export_public_key().decode().strip()
    found["ed25519 and a code"] = Proof(
        f"authorized_keys = {line}\ntotp_secret = {SECRET}\nrequire = publickey+totp",
        {"client_keys": [keys["ed25519"]]},
        has_code=True,
    )
    return found


def _bcrypt(cost: int) -> str:
    return bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(cost)).decode()


def _measured(name: str, proof: Proof, tree: Path, plan: LoginsPlan, folder: Path) -> LoginCost:
    count = plan.logins + plan.at_once if proof.has_code else 1
    users = "".join(
        f"[{USER}{number or ''}]\nkey_prefix = {KEY_PREFIX}\n{proof.users}\n"
        for number in range(count)
    )
    settings = [*SETTINGS, *proof.settings]
    with watched_gateway(
        folder, tree, NO_STORE, users=users, descriptors=DESCRIPTORS, settings=settings
    ) as gateway:
        asyncio.run(
            _log_in(gateway.port, proof, range(plan.at_once), plan.at_once)
        )  # loads what is needed
        began, cpu_began = time.monotonic(), cpu_seconds(gateway.pid)
        numbers = range(plan.at_once, plan.at_once + plan.logins)
        asyncio.run(_log_in(gateway.port, proof, numbers, plan.at_once))
        cpu = cpu_seconds(gateway.pid) - cpu_began
        per_second = plan.logins / (time.monotonic() - began)
    return LoginCost(name, tree.name, 1000 * cpu / plan.logins, per_second)


class _CodeClient(asyncssh.SSHClient):
    """Types the code that the app of a phone would show."""

    def kbdint_auth_requested(self) -> str:
        return ""

    def kbdint_challenge_received(
        self, name: str, instructions: str, lang: str, prompts: Sequence[tuple[str, bool]]
    ) -> list[str]:
        return [pyotp.TOTP(SECRET).now() for _ in prompts]


async def _log_in(port: int, proof: Proof, numbers: Sequence[int], at_once: int) -> None:
    """Log in with each number; each of `at_once` clients begins anew when it is done."""
    left = iter(numbers)
    refusals = () if proof.options else (asyncssh.PermissionDenied,)

    async def go_on() -> None:
        for number in left:
            with suppress(*refusals):
                async with asyncssh.connect(
                    "127.0.0.1",
                    port,
                    username=f"{USER}{number or ''}" if proof.has_code else USER,
                    client_factory=_CodeClient if proof.has_code else None,
                    known_hosts=None,
                    agent_path=None,
                    config=None,
                    **{"client_keys": None, **proof.options},
                ):
                    pass

    await asyncio.gather(*(go_on() for _ in range(at_once)))
