"""What ssh-audit has to say of a gateway, by policy.

Of ``modern`` nothing, but for two things: that clients without a post-quantum key exchange are
served too, and that strict key exchange takes a client that has it as well. Of ``compatible``,
which is the default, what it says of the curves of NIST, of MACs of the clear text and of a group
of 2048 bits.
"""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from tests.interop.spawning import (
    CLIENT_SECONDS,
    Account,
    Client,
    Gateway,
    Store,
    wait_until,
)
from tests.needs import needs

PARTS = ("kex", "key", "enc", "mac")
NOT_POST_QUANTUM = "does not provide protection against post-quantum attacks"
STRICT = "this target properly supports the strict key exchange method"


NIST = "using elliptic curves that are suspected as being backdoored"
WEAK_RANDOM = "using weak random number generator could reveal the key"
PLAIN_MAC = "using encrypt-and-MAC mode"
SHORT = "2048-bit modulus only provides 112-bits of symmetric strength"
SHA1 = "using broken SHA-1 hash algorithm"
CBC = "using weak cipher mode"

SAID_OF = {
    "modern": {NOT_POST_QUANTUM},
    "compatible": {NOT_POST_QUANTUM, NIST, WEAK_RANDOM, PLAIN_MAC, SHORT},
    "legacy": {NOT_POST_QUANTUM, NIST, WEAK_RANDOM, PLAIN_MAC, SHORT, SHA1, CBC},
}


@pytest.fixture(scope="module", params=["modern", "compatible", "legacy"])
def policy(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def plain_gateway(
    store: Store, account: Account, tmp_path_factory: pytest.TempPathFactory, policy: str
) -> Iterator[Gateway]:
    """A gateway whose configuration says no word about SSH, but for the policy."""
    folder = tmp_path_factory.mktemp("plain")
    ssh = "" if policy == "compatible" else f"[ssh]\npolicy = {policy}\n"
    (folder / "sftpgw.ini").write_text(
        "[gateway]\nlisten = tcp:0:interface=127.0.0.1\ncreate_host_keys = yes\n"
        f"[s3]\nbucket = {store.bucket}\nendpoint = {store.endpoint}\n"
        f"access_key = {store.access_key}\nsecret_key = {store.secret_key}\n{ssh}"
    )
    (folder / "users.ini").write_text(
        f"[alice]\nauthorized_keys =\n    {account.public_keys()[0]}\nkey_prefix = nothing/\n"
    )
    gateway = Gateway.start("--config", str(folder / "sftpgw.ini"))
    yield gateway
    gateway.stop()
    assert not gateway.lines_with("Traceback", "Unhandled")


@pytest.fixture(scope="module")
def audit(plain_gateway: Gateway) -> dict[str, Any]:
    """What ssh-audit finds; its test of the connection rate is part of that."""
    command = [str(Path(sys.executable).with_name("ssh-audit")), "--json"]
    done = subprocess.run(
        [*command, "--port", str(plain_gateway.port), "127.0.0.1"],
        capture_output=True,
        text=True,
        timeout=CLIENT_SECONDS,
        check=False,
    )
    assert done.stdout.startswith("{"), done.stdout + done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def notes(audit: dict[str, Any], *levels: str) -> set[tuple[str, str]]:
    """Algorithms and what was noted of them at one of `levels`."""
    return {
        (each["algorithm"], note)
        for part in PARTS
        for each in audit[part]
        for level in levels
        for note in each["notes"].get(level, ())
    }


def test_ssh_audit_has_seen_our_algorithms(audit: dict[str, Any], policy: str) -> None:
    assert all(audit[part] for part in PARTS)
    keys = {"ssh-ed25519", "rsa-sha2-512", "rsa-sha2-256"}
    keys |= set() if policy == "modern" else {"ecdsa-sha2-nistp256"}
    keys |= {"ssh-rsa"} if policy == "legacy" else set()
    assert {each["algorithm"] for each in audit["key"]} == keys
    assert notes(audit, "info")


def test_what_is_said_is_what_the_policy_lets_in(audit: dict[str, Any], policy: str) -> None:
    said = {note for _, note in notes(audit, "fail", "warn")}
    known = {note: text for note in said for text in SAID_OF[policy] if note.startswith(text)}
    assert set(known) == said, "something else was found"
    assert set(known.values()) == SAID_OF[policy], "a policy lets in less than the tests say"


def test_modern_is_clean(audit: dict[str, Any], policy: str) -> None:
    if policy == "modern":
        assert notes(audit, "fail") == set()
        assert notes(audit, "warn") == {
            ("curve25519-sha256", NOT_POST_QUANTUM),
            ("curve25519-sha256@libssh.org", NOT_POST_QUANTUM),
        }
        assert audit["recommendations"] == {}
    assert audit["cves"] == []


def test_connections_are_throttled(audit: dict[str, Any]) -> None:
    """Against DHEat (CVE-2002-20001): clients that make us compute key after key."""
    assert not [note for note in audit["additional_notes"] if "throttling" in note]


@needs("openssh")
def test_an_address_that_was_refused_is_let_in_again(
    audit: dict[str, Any], plain_gateway: Gateway, account: Account, tmp_path: Path, policy: str
) -> None:
    """Once its penalties have passed: a second for each of the audit's twenty connections."""
    if policy != "compatible":
        return  # the penalties are the same, and each wait takes twenty seconds

    def is_refused() -> bool:
        """The audit's own connections may have come slowly."""
        for _ in range(100):
            with suppress(OSError), socket.create_connection(("127.0.0.1", plain_gateway.port)):
                pass
        return bool(plain_gateway.lines_with("connections-refused"))

    wait_until(is_refused)
    client = Client(plain_gateway, account, tmp_path)

    def is_let_in() -> bool:
        try:
            client.sftp("pwd")
        except AssertionError:
            return False
        return True

    wait_until(is_let_in)


def test_terrapin_is_known_to_be_dealt_with(audit: dict[str, Any]) -> None:
    (note,) = (note for note in audit["additional_notes"] if "Terrapin" in note)
    assert STRICT in note


def test_the_banner_tells_no_version(audit: dict[str, Any]) -> None:
    assert audit["banner"]["raw"] == "SSH-2.0-sftpgw"
