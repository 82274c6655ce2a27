"""libssh 0.10 and later: KDE, Ansible and QEMU have it. It is not libssh2."""

from __future__ import annotations

import subprocess
import sys
from ctypes.util import find_library
from pathlib import Path

import pytest

from tests.interop.spawning import CLIENT_SECONDS, KEY_KINDS, Account, Gateway
from tests.needs import needs

pytestmark = needs("libssh")
CLIENT = Path(__file__).with_name("libssh_client.py")


def log_in(gateway: Gateway, how: str, secret: str) -> subprocess.CompletedProcess[str]:
    library = find_library("ssh")
    assert library is not None
    return subprocess.run(
        [sys.executable, str(CLIENT), library, str(gateway.port), "alice", how, secret],
        capture_output=True,
        text=True,
        timeout=CLIENT_SECONDS,
        check=False,
    )


@pytest.mark.parametrize("kind", KEY_KINDS)
def test_a_key_of_each_kind_opens(gateway: Gateway, account: Account, kind: str) -> None:
    """RSA needs our server-sig-algs in the packet next to NEWKEYS."""
    done = log_in(gateway, "key", str(account.key_files[kind]))
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("is_right", [True, False])
def test_keyboard_interactive_opens(gateway: Gateway, account: Account, is_right: bool) -> None:
    done = log_in(gateway, "password", account.password if is_right else "wrong")
    assert (done.returncode == 0) is is_right, done.stderr
