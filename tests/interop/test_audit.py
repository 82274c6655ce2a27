"""ssh-audit on a gateway with the defaults: its algorithms, and its connection-rate test."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from tests.interop.spawning import CLIENT_SECONDS, Account, Client, Gateway, wait_until

NOT_POST_QUANTUM = "does not provide protection against post-quantum attacks"
AUDIT = (str(Path(sys.executable).with_name("ssh-audit")), "--no-colors")


def test_no_fail_no_warning_and_strangers_are_slowed_down(
    config: Path, account: Account, tmp_path: Path
) -> None:
    gateway = Gateway.start("--config", str(config))
    try:
        done = subprocess.run(
            [*AUDIT, "-p", str(gateway.port), "127.0.0.1"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=CLIENT_SECONDS,
            check=False,
        )
        assert "mlkem768x25519-sha256" in done.stdout, done.stdout + done.stderr
        remarks = re.findall(r"\[(?:warn|fail)\] (.*)", done.stdout)
        assert set(remarks) == {NOT_POST_QUANTUM}
        assert "connection throttling" not in done.stdout
        wait_until(lambda: gateway.lines_with("connections-refused address_fast="))
        Client(gateway, account, tmp_path).sftp("pwd")  # the address is let in again
    finally:
        gateway.stop()
