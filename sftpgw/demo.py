"""An embedded S3 and a demo user, for ``--demo``.

Knows: how to run moto's S3 as a child process, and the settings that lead to it.
Must not know: SSH, or how the gateway is put together.

The child (this module, run with ``python -m``) listens on loopback only. It ends when its
standard input does, so it ends with the gateway in every case, ``kill -9`` included.
"""

from __future__ import annotations

import http.client
import logging
import secrets
import select
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from types import MappingProxyType
from typing import IO

from sftpgw.auth.passwords import hash_password
from sftpgw.errors import ConfigError
from sftpgw.model.settings import (
    HOST_KEY_NAMES,
    FilesSettings,
    GatewaySettings,
    LimitSettings,
    Probe,
    Settings,
    SshSettings,
    StoreSettings,
)
from sftpgw.model.store import Capabilities
from sftpgw.model.users import LoginRules, User

LOOPBACK = "127.0.0.1"
USUAL_PORT = 2022
USER_NAME = "demo"
BUCKET = "demo"
START_SECONDS = 60.0
PROGRESS_SECONDS = 3.0
"""So often a start says that it still goes on. On a slow disk Python compiles moto for long."""

STOP_SECONDS = 5.0
NO_EXTRA = (
    "the demo needs an S3 to embed, which the extra 'demo' brings: "
    "pip install '.[demo]' in the folder of sftpgw's source"
)


class EmbeddedStore:
    """moto's S3 in a child process, with one bucket; gone after `stop`.

    :ivar endpoint: its URL.
    """

    def __init__(self, process: subprocess.Popen[str], endpoint: str) -> None:
        self._process = process
        self.endpoint = endpoint

    @classmethod
    def start(
        cls,
        wait_seconds: float = START_SECONDS,
        on_progress: Callable[[float], None] = lambda elapsed_seconds: None,
    ) -> EmbeddedStore:
        """Start it and wait until it listens; blocks, so before the reactor runs.

        :param wait_seconds: how long it may take.
        :param on_progress: called every `PROGRESS_SECONDS` with the seconds since the start.
        :raises ConfigError: moto is not installed, or does not come up.
        """
        if any(find_spec(name) is None for name in ("moto", "flask", "flask_cors")):
            raise ConfigError((NO_EXTRA,))
        process = subprocess.Popen(
            [sys.executable, "-m", "sftpgw.demo"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,  # a Ctrl-C is for the gateway, which has uploads to settle
        )
        assert process.stdout is not None
        is_ready = _wait_for_output(process.stdout, wait_seconds, PROGRESS_SECONDS, on_progress)
        endpoint = process.stdout.readline().strip() if is_ready else ""
        store = cls(process, endpoint)
        if not endpoint:
            store.stop()
            raise ConfigError(("the embedded S3 did not start; what it says is above",))
        return store

    def stop(self) -> None:
        """End the child, by force if it must be. May be called again."""
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def _wait_for_output(
    output: IO[str],
    wait_seconds: float,
    progress_seconds: float,
    on_progress: Callable[[float], None],
) -> bool:
    """Whether there is something to read, or the end, before `wait_seconds` have passed."""
    start = time.monotonic()
    while (elapsed_seconds := time.monotonic() - start) < wait_seconds:
        limit_seconds = min(progress_seconds, wait_seconds - elapsed_seconds)
        if select.select([output], [], [], limit_seconds)[0]:
            return True
        on_progress(time.monotonic() - start)
    return False


def demo_settings(endpoint: str, password: str, folder: Path) -> Settings:
    """One user, on loopback, with all permissions and the whole bucket of the embedded S3.

    :param endpoint: that of the S3.
    :param password: the user's.
    :param folder: where the host keys are made.
    """
    login = LoginRules(password_hash=hash_password(password.encode()))
    user = User.with_home(USER_NAME, BUCKET, "", login=login)
    return Settings(
        gateway=GatewaySettings(
            listen=(f"tcp:{_free_port()}:interface={LOOPBACK}",),
            host_keys=tuple(str(folder / name) for name in HOST_KEY_NAMES),
            create_host_keys=True,
        ),
        s3=StoreSettings(
            bucket=BUCKET,
            endpoint=endpoint,
            access_key="demo",
            secret_key="demo",
            # moto accepts these conditions and wrong checksums, and ignores them.
            capabilities=Capabilities(
                conditional_copy=False, copy_source_condition=False, checksums=False
            ),
            probe=Probe.NO,
        ),
        ssh=SshSettings(),
        limits=LimitSettings(),
        files=FilesSettings(),
        users=MappingProxyType({USER_NAME: user}),
    )


def new_password() -> str:
    """A password that is easy to paste and hard to guess."""
    return secrets.token_hex(8)


def greeting(port: int, password: str) -> str:
    """What to show once the gateway listens on `port`."""
    options = "-o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null"
    return f"""
sftpgw is up, on an S3 of its own that is gone when it ends (Ctrl-C). In another terminal:

    sftp -P {port} {options} {USER_NAME}@{LOOPBACK}

    password: {password}

"""


def _free_port() -> int:
    """The usual port if it is free, else 0: any."""
    with socket.socket() as trial:
        trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            trial.bind((LOOPBACK, USUAL_PORT))
        except OSError:
            return 0
    return USUAL_PORT


# The child.


def serve_store() -> None:
    """Serve S3 until standard input ends; the first line of output is the endpoint."""
    from moto.server import ThreadedMotoServer  # noqa: PLC0415 (heavy, and an extra)

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address=LOOPBACK, port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        _create_bucket(host, port)
        # The gateway may have ended meanwhile.
        with suppress(BrokenPipeError):
            print(f"http://{host}:{port}", flush=True)  # noqa: T201
            sys.stdin.read()
    finally:
        server.stop()


def _create_bucket(host: str, port: int) -> None:
    """CreateBucket, unsigned: moto checks no signature."""
    connection = http.client.HTTPConnection(host, port, timeout=START_SECONDS)
    try:
        connection.request("PUT", f"/{BUCKET}")
        response = connection.getresponse()
        if response.status != http.client.OK:
            raise SystemExit(f"moto refused to create a bucket: {response.status}")
    finally:
        connection.close()


if __name__ == "__main__":
    serve_store()
