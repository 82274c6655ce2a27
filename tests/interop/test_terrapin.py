"""A connection from which a packet was removed ends."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import asyncssh
import pytest

from sftpgw.model.settings import Policy
from tests.interop.conftest import gateway_of_policy
from tests.interop.spawning import Account, Client, Gateway, program, wait_until
from tests.interop.terrapin import (
    MSG_KEXINIT,
    MSG_NEWKEYS,
    SERVICE_REQUEST_BYTES,
    UNCHANGED,
    Attack,
    between,
    ext_info_bytes,
    sealed_bytes,
)
from tests.needs import needs


class Suite(NamedTuple):
    """Cipher and MAC, the size of their blocks and of what follows a packet."""

    cipher: str
    mac: str
    block_bytes: int
    tail_bytes: int

    def __str__(self) -> str:
        return self.cipher

    def attack(self, before: int | None, payload_bytes: int) -> Attack:
        return Attack(before, sealed_bytes(payload_bytes, self.block_bytes, self.tail_bytes))


CHACHA = Suite("chacha20-poly1305@openssh.com", "hmac-sha2-256-etm@openssh.com", 8, 16)
ETM = Suite("aes128-ctr", "hmac-sha2-256-etm@openssh.com", 16, 32)
CBC = Suite("aes128-cbc", "hmac-sha2-256-etm@openssh.com", 16, 32)

CASES = [
    *((policy, suite) for policy in Policy for suite in (CHACHA, ETM)),
    (Policy.LEGACY, CBC),
]
with_each_policy = pytest.mark.parametrize(("policy", "suite"), CASES, ids=str)

GatewayOf = Callable[[Policy], Gateway]


@pytest.fixture(scope="module")
def gateway_of(config: Path, gateway: Gateway) -> Iterator[GatewayOf]:
    """Starts a gateway with a policy, once."""
    started = {Policy.COMPATIBLE: gateway}

    def start(policy: Policy) -> Gateway:
        if policy not in started:
            started[policy] = gateway_of_policy(config, policy.value)
        return started[policy]

    yield start
    del started[Policy.COMPATIBLE]
    for each in started.values():
        each.stop()
        assert not each.lines_with("Traceback", "Unhandled")


@pytest.fixture
def alice(gateway_of: GatewayOf, policy: Policy, account: Account, tmp_path: Path) -> Client:
    return Client(gateway_of(policy), account, tmp_path)


def openssh(alice: Client, port: int, suite: Suite) -> subprocess.CompletedProcess[str]:
    options = ["-o", f"Ciphers={suite.cipher}", "-o", f"MACs={suite.mac}"]
    options += alice.account.key_options
    command = [program("sftp"), "-P", str(port), *options, "-b", "-", alice.host]
    return alice.run(command, "pwd\n")


@needs("openssh")
@with_each_policy
@pytest.mark.parametrize(
    ("to", "before"),
    [
        ("client", MSG_KEXINIT),
        ("client", MSG_NEWKEYS),
        ("client", None),
        ("gateway", MSG_KEXINIT),
        ("gateway", MSG_NEWKEYS),
    ],
)
def test_a_packet_that_was_taken_out_is_missed(
    alice: Client, to: str, before: int | None, policy: Policy, suite: Suite
) -> None:
    payload_bytes = ext_info_bytes(policy) if to == "client" else SERVICE_REQUEST_BYTES
    attack = suite.attack(before, payload_bytes)
    ways = {"to_client": UNCHANGED, "to_gateway": UNCHANGED, f"to_{to}": attack}
    earlier = len(alice.gateway.lines_with("session-closed"))
    with between(alice.gateway.port, **ways) as port:
        done = openssh(alice, port, suite)
    assert done.returncode == 255
    assert "Remote working directory" not in done.stdout
    assert attack.put_in == (before is not None)
    wait_until(lambda: len(alice.gateway.lines_with("session-closed")) > earlier)
    if to == "gateway":
        closing = alice.gateway.lines_with("session-closed")[-1]
        assert "wrong time" in closing or "begins with KEXINIT" in closing


@needs("openssh")
@with_each_policy
def test_a_relay_that_changes_nothing_is_not_noticed(alice: Client, suite: Suite) -> None:
    with between(alice.gateway.port, to_client=UNCHANGED, to_gateway=UNCHANGED) as port:
        assert openssh(alice, port, suite).returncode == 0


def test_a_client_that_is_not_strict_does_not_notice(
    gateway: Gateway, account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or the attack would be none, and the tests above would prove nothing."""
    lax = asyncssh.SSHClientConnection
    monkeypatch.setattr(lax, "_get_extra_kex_algs", lambda _: [b"ext-info-c"])
    never = property(lambda _: False, lambda _, value: None)
    monkeypatch.setattr(lax, "_strict_kex", never, raising=False)
    attack = CHACHA.attack(MSG_NEWKEYS, ext_info_bytes(Policy.COMPATIBLE))
    with between(gateway.port, to_client=attack, to_gateway=UNCHANGED) as port:
        asyncio.run(asyncssh_session(port, account, CHACHA))
    assert attack.put_in == 1
    assert attack.dropped_bytes == attack.drop_bytes


async def asyncssh_session(port: int, account: Account, suite: Suite) -> None:
    options: dict[str, Any] = {
        "encryption_algs": [suite.cipher],
        "mac_algs": [suite.mac],
        "client_keys": [str(account.key_file)],
        "username": "alice",
        "known_hosts": None,
        "agent_path": None,
        "config": [],
    }
    async with (
        asyncssh.connect("127.0.0.1", port, **options) as connection,
        connection.start_sftp_client() as sftp,
    ):
        assert await sftp.realpath(".") == "/"
