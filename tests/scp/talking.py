"""A command and its client without SSH: bytes in, bytes out, credit counted."""

from __future__ import annotations

from twisted.internet.error import ConnectionLost
from twisted.python.failure import Failure

from sftpgw.model.units import Buffer
from sftpgw.model.users import User
from sftpgw.testing.sftp_sessions import ALICE, GatewayInMemory


class Channel:
    """A `FlowControl` that remembers."""

    unsent_bytes = 0

    def __init__(self) -> None:
        self.written = bytearray()
        self.errors = bytearray()
        self.consumed_bytes = 0
        self.status: int | None = None

    def write(self, *buffers: Buffer) -> None:
        assert self.status is None, "written after the end"
        self.written += b"".join(buffers)

    def write_error(self, text: bytes) -> None:
        self.errors += text

    def consumed(self, size_bytes: int) -> None:
        self.consumed_bytes += size_bytes

    def finish(self, exit_status: int) -> None:
        assert self.status is None, "ended twice"
        self.status = exit_status

    def loseConnection(self) -> None:
        raise AssertionError("that was not asked for")


class Talk:
    """One command line run for a user of `gateway`; every turn of the reactor is taken at once."""

    def __init__(self, gateway: GatewayInMemory, line: bytes, user: User = ALICE) -> None:
        self.gateway = gateway
        self.channel = Channel()
        self.console = gateway.command(line, user)
        self.sent_bytes = 0
        self.console.makeConnection(self.channel)
        self.turn()

    def turn(self) -> None:
        clock = self.gateway.clock
        while any(call.getTime() <= clock.seconds() for call in clock.getDelayedCalls()):
            clock.advance(0)

    def say(self, data: bytes) -> bytes:
        """Send `data`; what is printed meanwhile."""
        if data:
            self.sent_bytes += len(data)
            self.console.dataReceived(data)
        return self.heard()

    def heard(self) -> bytes:
        """What was printed since the last time."""
        self.turn()
        printed = bytes(self.channel.written)
        self.channel.written.clear()
        return printed

    def end_input(self) -> bytes:
        self.console.inputEnded()
        return self.heard()

    def drop(self) -> None:
        """Lose the connection."""
        self.console.connectionLost(Failure(ConnectionLost()))
        self.turn()

    @property
    def status(self) -> int | None:
        return self.channel.status

    def demand_all_credited(self) -> None:
        assert self.channel.consumed_bytes == self.sent_bytes


def stored(gateway: GatewayInMemory, deeper: str = "home/alice/") -> dict[str, bytes]:
    """What the store holds below a prefix."""
    return {
        name.key.removeprefix(deeper): found.data
        for name, found in gateway.store.objects.items()
        if name.key.startswith(deeper)
    }


def seed(gateway: GatewayInMemory, files: dict[bytes, bytes]) -> None:
    """Files of alice's; a path that ends with a slash is a directory."""
    client = gateway.log_in()
    for path, data in files.items():
        if path.endswith(b"/"):
            client.mkdir(path)
        else:
            client.put(path, data)
    client.drop()
