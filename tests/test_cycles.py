"""What comes and goes with sessions, files and requests leaves no reference cycle behind.

What is in a cycle stays until the garbage collector looks at it, which it may not do for as long as
the process lives (`aio/work/garbage`).
"""

from __future__ import annotations

import gc
from collections.abc import Callable

import pytest

from sftpgw.model.units import KIB
from sftpgw.testing.sftp_sessions import CREATE, GatewayInMemory, SftpClient, SftpFailure
from sftpgw.wire import sftp as wire
from sftpgw.wire.sftp import Kind
from tests.files.quotas.quota_worlds import HOUR, limited
from tests.in_memory import client, gateway

__all__ = ["client", "gateway"]


def left_by(work: Callable[[], object]) -> set[str]:
    """The classes of the gateway whose objects stay in cycles after `work`."""
    work()  # what is made once does not count
    gc.collect()
    # Nor does what others have left that goes now: Twisted keeps the log's last events until a
    # program logs.
    gc.freeze()
    gc.disable()
    gc.set_debug(gc.DEBUG_SAVEALL)
    try:
        work()
        gc.collect()
        names = {f"{type(each).__module__}.{type(each).__qualname__}" for each in gc.garbage}
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()
        gc.unfreeze()
    return {
        name
        for name in names
        if name.startswith("sftpgw.") and not name.startswith("sftpgw.testing.")
    }


def test_a_check_sees_a_cycle() -> None:
    def work() -> None:
        gateway = GatewayInMemory()
        gateway.events.gateway = gateway  # type: ignore[attr-defined]
        gateway.shared()

    assert "sftpgw.files.transfers.registry.TransferRegistry" in left_by(work)


def test_an_upload(client: SftpClient) -> None:
    assert left_by(lambda: client.put(b"/file", b"hello")) == set()


def test_an_upload_in_parts(client: SftpClient) -> None:
    assert left_by(lambda: client.put(b"/file", bytes(6_000_000))) == set()


def test_an_upload_that_fails(client: SftpClient) -> None:
    """Its error led to the bytes of the WRITE that it refused, and to the upload that kept it."""

    def work() -> None:
        handle = client.open(b"/file", CREATE)
        for _ in range(2):
            with pytest.raises(SftpFailure):
                client.write(handle, 1 << 40, b"too far away")
        with pytest.raises(SftpFailure):
            client.close(handle)

    assert left_by(work) == set()


def test_a_user_with_a_quota(gateway: GatewayInMemory) -> None:
    """What is stored, replaced, refused, removed and counted."""
    client = gateway.log_in(limited(max_bytes=64 * KIB))

    def work() -> None:
        client.put(b"/file", b"hello")
        client.put(b"/file", b"hello again")
        with pytest.raises(SftpFailure, match="quota"):
            client.put(b"/file", bytes(65 * KIB))
        client.rename(b"/file", b"/other")
        client.remove(b"/other")
        gateway.clock.advance(2 * HOUR)
        client.extended(b"statvfs@openssh.com", wire.string(b"/"))

    assert left_by(work) == set()


def test_a_download(client: SftpClient) -> None:
    client.put(b"/file", b"hello")

    def work() -> None:
        handle = client.open(b"/file")
        client.read(handle, 0, 5)
        client.close(handle)

    assert left_by(work) == set()


def test_a_listing(client: SftpClient) -> None:
    client.put(b"/file", b"hello")
    assert left_by(lambda: client.listdir(b"/")) == set()


def test_a_session_and_what_is_open_at_its_end(gateway: GatewayInMemory) -> None:
    def work() -> None:
        client = gateway.log_in()
        client.put(b"/file", b"hello")
        client.open(b"/file")
        client.open(b"/other", CREATE)
        client.send(wire.OnPath(Kind.OPENDIR, 0, b"/"))
        client.drop()
        gateway.clock.advance(60)
        for io in (client.pair.server_io, client.pair.client_io):
            vars(io).clear()  # a cycle of the test's own
        client.pair.server.factory = None

    assert left_by(work) == set()


def test_a_command(gateway: GatewayInMemory, client: SftpClient) -> None:
    client.put(b"/file", b"hello")

    def work() -> None:
        command = gateway.open_command(b"md5sum file")
        command.pump()
        command.drop()
        gateway.clock.advance(60)

    assert left_by(work) == set()
