"""A real gateway, real clients, and a store that fails: nothing is stored that was not reported.

``SFTPGW_SOAK_SECONDS=120 pytest tests/soak/test_gateway.py`` goes on for so long, by default
for a little while; ``SFTPGW_SOAK_SEED`` has the store's dice fall as they did then. It is no more
than that: clients and gateway run at their own pace.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from pathlib import Path

import bcrypt
import pytest

from sftpgw.model.units import MIB
from tests.interop.spawning import Gateway, wait_until
from tests.soak.clients import Fleet
from tests.soak.stormy_s3 import State, StormyProcess

SHORT_SECONDS = 20.0
SETTLE_SECONDS = 30.0
MEMORY_BYTES = 48 * MIB
REST_BYTES = 100 * MIB
"""What the process needs beside what its transfers may hold."""

pytestmark = [pytest.mark.slow, pytest.mark.interop]


@pytest.fixture
def store(seed: int) -> Iterator[StormyProcess]:
    store = StormyProcess.start(seed)
    yield store
    store.stop()


@pytest.fixture
def password() -> str:
    return secrets.token_hex(8)


@pytest.fixture
def gateway(store: StormyProcess, password: str, tmp_path: Path) -> Iterator[Gateway]:
    lacks = "unequal-parts" if "needs_equal_parts=True" in store.tell("calm").dialect else ""
    (tmp_path / "sftpgw.ini").write_text(
        f"""
[gateway]
listen = tcp:0:interface=127.0.0.1
host_keys = host_ed25519
create_host_keys = yes
[s3]
bucket = bucket
endpoint = http://127.0.0.1:{store.port}
access_key = access
secret_key = secret
unsupported = {lacks}
part_size = 5MiB
download_part_size = 512KiB
read_timeout = 1s
max_attempts = 5
retry_time = 3s
[ssh]
exempt_networks = 127.0.0.0/8
[limits]
memory = {MEMORY_BYTES // MIB}MiB
drain = 1s
"""
    )
    password_hash = bcrypt.hashpw(password.encode(), bcrypt.gensalt(4)).decode()
    users = "".join(f"[{user}]\npassword_hash = {password_hash}\n" for user in ("ann", "bob"))
    (tmp_path / "users.ini").write_text(f"[*]\nkey_prefix = home/{{username}}/\n{users}")
    gateway = Gateway.start("--config", str(tmp_path / "sftpgw.ini"))
    yield gateway
    gateway.process.kill()
    gateway.process.wait()
    (tmp_path / "gateway.log").write_text("".join(gateway.lines))


def test_what_is_reported_stored_is_stored(
    gateway: Gateway, store: StormyProcess, password: str, seed: int
) -> None:
    fleet = Fleet(gateway.port, password, seed)
    fleet.warm_up()
    store.tell("storm")
    fleet.run(float(os.environ.get("SFTPGW_SOAK_SECONDS", SHORT_SECONDS)))
    state = store.tell("calm")
    print(state.dialect, state.faults, "faults", fleet.told(), gateway.memory_bytes() // MIB, "MiB")  # noqa: T201
    gateway_is_well(gateway)
    wait_until(lambda: set(store.tell("state").uploads) <= left_behind(gateway), SETTLE_SECONDS)
    state = store.tell("state")
    fleet.compare(state)
    nothing_is_left_over(state)
    assert fleet.done > 20
    assert state.faults > 20
    assert gateway.memory_bytes() < MEMORY_BYTES + REST_BYTES


def gateway_is_well(gateway: Gateway) -> None:
    assert gateway.process.poll() is None
    defects = gateway.lines_with("Traceback", "Unhandled", "defect ")
    assert not defects, "".join(gateway.lines[:5000])


def left_behind(gateway: Gateway) -> set[str]:
    """Uploads that the store would not let it abort, and that it has told of."""
    lines = gateway.lines_with("upload-left-behind")
    return {line.partition("upload_id=")[2].split()[0] for line in lines}


def nothing_is_left_over(state: State) -> None:
    ours = [key for key in state.objects if not key.startswith("home/")]
    assert not ours, "the gateway's own objects are left"
