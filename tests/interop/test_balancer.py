"""A gateway behind a load balancer: OpenSSH through a relay that sends the PROXY protocol."""

from __future__ import annotations

import shlex
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.interop.spawning import CLIENT_SECONDS, Account, Client, Gateway, program, wait_until
from tests.needs import needs

RELAY = """
import os, select, socket, sys
port, header = int(sys.argv[1]), sys.argv[2].encode().decode("unicode_escape").encode("latin-1")
gateway = socket.create_connection(("127.0.0.1", port))
gateway.sendall(header)
while True:
    for ready in select.select([0, gateway], [], [])[0]:
        data = os.read(0, 65536) if ready == 0 else gateway.recv(65536)
        if not data:
            sys.exit()
        gateway.sendall(data) if ready == 0 else os.write(1, data)
"""
V1 = r"PROXY TCP4 198.51.100.7 192.0.2.2 4711 22\r\n"
V2 = r"\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c\xc6\x33\x64\x07\xc0\x00\x02\x02\x12\x67\x00\x16"
CLIENT = "peer=198.51.100.7:4711"


@pytest.fixture(scope="module")
def behind(config: Path) -> Iterator[Gateway]:
    """A gateway that listens for balancers."""
    own = config.with_name("behind.ini")
    text = config.read_text().replace("listen = tcp:", "listen = haproxy:tcp:")
    own.write_text(text.replace("[ssh]\n", "[ssh]\nbalancer_networks = 127.0.0.0/8\n"))
    gateway = Gateway.start("--config", str(own))
    yield gateway
    gateway.stop()
    assert not gateway.lines_with("Traceback", "Unhandled")


@needs("openssh")
@pytest.mark.parametrize("header", [V1, V2], ids=["version 1", "version 2"])
def test_openssh_through_a_balancer(
    behind: Gateway, account: Account, tmp_path: Path, header: str
) -> None:
    relay = shlex.join([sys.executable, "-c", RELAY, str(behind.port), header])
    client = Client(behind, account, tmp_path)
    (tmp_path / "up").write_bytes(b"content" * 1000)
    options = ["-o", f"ProxyCommand={relay}", "-b", "-"]
    done = client.run(
        [program("sftp"), *account.key_options, *options, client.host],
        "put up behind\nget behind down\n",
    )
    assert done.returncode == 0, done.stdout
    assert (tmp_path / "down").read_bytes() == b"content" * 1000
    wait_until(lambda: behind.lines_with("session-closed"))
    for event in ("session-opened", "login-succeeded", "session-closed"):
        assert all(CLIENT in line for line in behind.lines_with(f" {event} "))
    assert "via=127.0.0.1:" in behind.lines_with(" session-opened ")[0]


HAPROXY = """
defaults
    mode tcp
    timeout connect 5s
    timeout client 1m
    timeout server 1m
listen one
    bind fd@{one}
    server gateway 127.0.0.1:{port} send-proxy check check-send-proxy inter 100ms
listen two
    bind fd@{two}
    option tcp-check
    tcp-check expect string SSH-2.0-
    server gateway 127.0.0.1:{port} send-proxy-v2 check check-send-proxy inter 100ms
"""


@needs("haproxy", "openssh")
def test_openssh_through_haproxy(behind: Gateway, account: Account, tmp_path: Path) -> None:
    """Both versions; its health checks, ten a second, are neither refused nor told of."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
    one, two = (each.fileno() for each in sockets)
    config = tmp_path / "haproxy.cfg"
    config.write_text(HAPROXY.format(one=one, two=two, port=behind.port))
    earlier = len(behind.lines_with("connections-"))
    with subprocess.Popen([program("haproxy"), "-f", str(config)], pass_fds=(one, two)) as process:
        try:
            for each in sockets:
                port = each.getsockname()[1]
                options = [*account.key_options, "-o", "BindAddress=127.0.0.77", "-P", str(port)]
                client = Client(behind, account, tmp_path)
                done = client.run([program("sftp"), *options, "-b", "-", client.host], "pwd\n")
                assert done.returncode == 0, done.stdout
            wait_until(lambda: len(behind.lines_with(" session-closed ")) >= 2)
            opened = behind.lines_with("peer=127.0.0.77:")
            assert sum(" session-opened " in line for line in opened) == 2
            assert len(behind.lines_with("connections-")) == earlier
        finally:
            process.terminate()
            for each in sockets:
                each.close()


def test_without_a_header_there_is_no_answer(behind: Gateway) -> None:
    earlier = len(behind.lines_with("session-opened"))
    with socket.create_connection(("127.0.0.1", behind.port), CLIENT_SECONDS) as connection:
        connection.sendall(b"SSH-2.0-direct\r\n")
        with suppress(ConnectionResetError):
            assert connection.recv(100) == b""
    wait_until(lambda: behind.lines_with("connections-refused bad_header="))
    assert len(behind.lines_with("session-opened")) == earlier
