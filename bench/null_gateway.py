"""The gateway's SSH and SFTP with nothing behind them: ``python -m bench.null_gateway``.

Knows: the gateway's packages `ssh`, `auth` and `sftp`, put together as `sftpgw.session` does.
Must not know: any store. What is written is dropped, what is read is made up.

Prints its port when it listens, and ends when its standard input does.
"""

from __future__ import annotations

import secrets
import sys
import time
from pathlib import Path
from typing import Any

from twisted.internet.protocol import Protocol
from twisted.internet.stdio import StandardIO
from zope.interface import implementer

from bench.filling import filling
from sftpgw.aio.work.scheduler import WorkScheduler
from sftpgw.auth.authorized_keys import read_public_key
from sftpgw.auth.realm import make_portal
from sftpgw.auth.sources.static import static_authenticator
from sftpgw.auth.threads import LoginThreads
from sftpgw.errors import EndOfFile, Unsupported
from sftpgw.files.traffic import FileTraffic
from sftpgw.model.events import Event, EventSink
from sftpgw.model.settings import SshSettings
from sftpgw.model.units import Body
from sftpgw.model.users import NO_OPTIONS, LoginRules, SessionLabels, User
from sftpgw.sftp.contracts import IGatewayFile, IGatewayServer
from sftpgw.sftp.handles import Handles
from sftpgw.sftp.protocol import SFTPProtocol
from sftpgw.ssh.avatar import GatewayAvatar
from sftpgw.ssh.factory import GatewayFactory
from sftpgw.ssh.host_keys import create_host_key, load_host_keys
from sftpgw.wire.sftp import Attributes

_DIRECTORY = {"permissions": 0o040755}
_MAX_HANDLES = 256


@implementer(IGatewayFile)
class NullFile:
    """A file of `size_bytes` that forgets what is written to it."""

    def __init__(self, size_bytes: int) -> None:
        self.traffic = FileTraffic()
        self._size_bytes = size_bytes

    def corkWith(self, cork: object) -> None:
        """Every READ is answered at once."""

    def readChunk(self, offset: int, length: int) -> Body:
        left_bytes = self._size_bytes - offset
        if left_bytes <= 0:
            raise EndOfFile("end of file")
        return (filling(min(length, left_bytes)),)

    def writeChunk(self, offset: int, data: Body) -> None:
        """Drop it."""

    def getAttrs(self) -> Attributes:
        return {"size": self._size_bytes, "permissions": 0o100644}

    def setAttrs(self, attrs: Attributes) -> None:
        """Forget it."""

    def publishedPath(self) -> bytes | None:
        """CLOSE stores nothing."""
        return None

    def takesTime(self) -> bool:
        return False

    def announceTime(self, attrs: Attributes) -> None:
        """Forget it."""

    def digests(self, algorithm: str, start: int, length: int, block: int) -> Any:
        raise Unsupported("nothing is stored here")

    def sync(self) -> None:
        """Nothing is under way."""

    def close(self) -> None:
        """Nothing to publish."""

    def abandon(self) -> None:
        """Nothing to give up."""


@implementer(IGatewayServer)
class NullServer:
    """A directory in which every name is a file of `size_bytes`."""

    def __init__(self, size_bytes: int) -> None:
        self.avatar = "bench"
        self._size_bytes = size_bytes

    def gotVersion(self, otherVersion: int, extData: dict[bytes, bytes]) -> dict[bytes, bytes]:
        return {}

    def openFile(self, filename: bytes, flags: int, attrs: Attributes) -> NullFile:
        return NullFile(self._size_bytes)

    def getAttrs(self, path: bytes, followLinks: bool) -> Attributes:
        return _DIRECTORY if path == b"/" else NullFile(self._size_bytes).getAttrs()

    def setAttrs(self, path: bytes, attrs: Attributes) -> None:
        """Forget it."""

    def realPath(self, path: bytes) -> bytes:
        return b"/" if path == b"." else path

    def _unsupported(self, *arguments: object) -> Any:
        raise Unsupported("nothing is stored here")

    openDirectory = removeFile = renameFile = replaceFile = _unsupported
    makeDirectory = removeDirectory = readLink = makeLink = space = _unsupported
    extendedRequest = expandPath = homeDirectory = namesOfOwners = _unsupported


class Complaints:
    """An `EventSink` for standard error that is silent about a session's usual course."""

    def emit(self, event: Event) -> None:
        if event.event_name in ("defect", "login-failed", "protocol-broken"):
            sys.stderr.write(f"{event.event_name} {event.facts()}\n")

    def bind(self, **context: str) -> EventSink:
        return self


class _UntilEnd(Protocol):
    """Ends the reactor when standard input ends."""

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor

    def connectionLost(self, reason: Any = None) -> None:
        if self._reactor.running:
            self._reactor.stop()


def make_factory(reactor: Any, host_key: str, public_key: str, size_bytes: int) -> GatewayFactory:
    """The gateway's factory for the user ``bench``."""
    events = Complaints()
    work = WorkScheduler(reactor, time.perf_counter)

    def sftp() -> SFTPProtocol:
        return SFTPProtocol(
            NullServer(size_bytes),
            handles=Handles(_MAX_HANDLES, secrets.token_bytes),
            events=events,
            clock=reactor,
            work=work.share("bench"),
        )

    def make_avatar(user: User, labels: SessionLabels) -> GatewayAvatar:
        return GatewayAvatar({b"sftp": sftp}, user="bench")

    user = User.with_home(
        name="bench",
        bucket="none",
        key_prefix="",
        login=LoginRules({read_public_key(public_key).blob: NO_OPTIONS}),
    )
    threads = LoginThreads(reactor)
    return GatewayFactory(
        portal=make_portal(static_authenticator({"bench": user}, threads.run), make_avatar),
        host_keys=load_host_keys((host_key,)),
        settings=SshSettings(),
        clock=reactor,
        events=events,
        work=work,
        run_in_thread=threads.run,
    )


def main(folder: str, public_key: str, size_bytes: str) -> None:
    """Serve until standard input ends; the host key is made in `folder`."""
    from twisted.internet import reactor as installed  # noqa: PLC0415 - importing installs it

    reactor: Any = installed
    host_key = Path(folder) / "null_gateway_host_key"
    create_host_key(str(host_key))
    factory = make_factory(reactor, str(host_key), public_key, int(size_bytes))
    listening = reactor.listenTCP(0, factory, interface="127.0.0.1")
    StandardIO(_UntilEnd(reactor))
    print(listening.getHost().port, flush=True)  # noqa: T201 - the parent reads it
    reactor.run()


if __name__ == "__main__":
    main(*sys.argv[1:])
