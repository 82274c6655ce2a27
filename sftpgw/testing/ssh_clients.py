"""The client's side of `ssh_pairs`: Conch's client classes, adapted for tests.

Knows: Conch's client, and how TCP differs from an `iosim` transport.
Must not know: the gateway.
"""

# mypy: disallow-untyped-calls=False
# (what is inherited from Conch and iosim has no types)

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.conch.error import ConchError
from twisted.conch.ssh.channel import SSHChannel
from twisted.conch.ssh.connection import SSHConnection
from twisted.conch.ssh.keys import Key
from twisted.conch.ssh.service import SSHService
from twisted.conch.ssh.transport import MSG_DISCONNECT, SSHClientTransport
from twisted.conch.ssh.userauth import SSHUserAuthClient
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import ISystemHandle
from twisted.test.iosim import FakeTransport
from zope.interface import implementer

from sftpgw.model.units import KIB, Buffer

SOCKET_BYTES = 256 * KIB
"""The size of a socket's send buffer."""

_TRANSPORT_MESSAGES = frozenset((MSG_DISCONNECT, *range(20, 50)))


@implementer(ISystemHandle)
class MemoryTransport(FakeTransport):
    """An `iosim` transport with a socket, which is full when it holds `SOCKET_BYTES`.

    :param protocol: the protocol on top of it.
    :param is_server: whether it is the server's end.
    """

    def __init__(self, protocol: Any, *, is_server: bool) -> None:
        super().__init__(protocol, isServer=is_server)
        self.waiting_bytes = 0
        self.aborted = False
        self._is_writing = False
        self._close_forgotten = False

    def getHandle(self) -> MemoryTransport:
        return self

    def sendmsg(self, buffers: list[Buffer], /) -> int:
        """As a socket's. Data that is given to `write` comes on top, in Twisted's own buffer."""
        room_bytes = max(0, SOCKET_BYTES - self.waiting_bytes)
        if not room_bytes:
            raise BlockingIOError("the socket is full")
        data = b"".join(buffers)[:room_bytes]
        self.write(data)
        return len(data)

    def write(self, data: bytes) -> None:
        super().write(data)
        self.waiting_bytes += len(data)

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        """As Twisted's TCP: a pull producer is called at once, and whenever there is room."""
        assert not streaming
        self.producer = producer
        producer.resumeProducing()

    def unregisterProducer(self) -> None:
        self.producer = None

    def startWriting(self) -> None:
        self._is_writing = True

    def take(self) -> bytes:
        """All bytes that were written, as the network would take them."""
        data: bytes = self.getOutBuffer() or b""
        self.waiting_bytes = 0
        if self._is_writing and self.producer:
            self._is_writing = False
            # As Twisted's TCP: it does not close after it has resumed a producer.
            self._close_forgotten = bool(self.disconnecting)
            self.producer.resumeProducing()
        return data

    @property
    def has_closed(self) -> bool:
        """Whether it has closed: it was told to, and its buffer was sent or dropped."""
        drained = not self.waiting_bytes and not self._close_forgotten
        return self.aborted or bool(self.disconnecting and drained)

    def abortConnection(self) -> None:
        self.aborted = True
        self.stream.clear()
        self.disconnecting = True


class ClientTransport(SSHClientTransport):
    """Conch's client. It trusts every host key, and records what it receives.

    :param when_secure: called with the transport after the first key exchange; if it is None, other
        messages than those of the transport are only recorded, for the test to answer.
    """

    disconnect_text: bytes | None = None

    def __init__(self, when_secure: Callable[[ClientTransport], None] | None) -> None:
        self._when_secure = when_secure
        self._is_secure = False
        self.heard: list[tuple[int, bytes]] = []

    def verifyHostKey(self, hostKey: bytes, fingerprint: bytes) -> Deferred[int]:
        return succeed(1)

    def connectionSecure(self) -> None:
        """Conch calls this after every key exchange."""
        if self._when_secure is not None and not self._is_secure:
            self._is_secure = True
            self._when_secure(self)

    def answers(self, message: int) -> list[bytes]:
        """The payloads of all received messages with this number."""
        return [payload for number, payload in self.heard if number == message]

    def dispatchMessage(self, messageNum: int, payload: bytes) -> None:
        self.heard.append((messageNum, payload))
        if self._when_secure is not None or messageNum in _TRANSPORT_MESSAGES:
            super().dispatchMessage(messageNum, payload)

    def receiveError(self, reasonCode: int, description: bytes) -> None:
        self.disconnect_text = description


class StrictClientTransport(ClientTransport):
    """A client with the strict key exchange, which Conch's lacks (OpenSSH PROTOCOL, 1.10)."""

    supportedKeyExchanges = [  # noqa: RUF012 - Conch's interface
        *ClientTransport.supportedKeyExchanges,
        b"kex-strict-c-v00@openssh.com",
    ]

    def _keySetup(self, sharedSecret: bytes, exchangeHash: bytes) -> None:
        super()._keySetup(sharedSecret, exchangeHash)
        self.outgoingPacketSequence = 0

    def _newKeys(self) -> None:
        self.incomingPacketSequence = 0
        super()._newKeys()


class ClientChannel(SSHChannel):
    """The client's end of a session channel. It records what it receives.

    :param window_bytes: how much the server may send at first.
    :param refill: whether the window is given back as data arrives.
    """

    name = b"session"
    conn: Any

    def __init__(self, *, window_bytes: int, refill: bool) -> None:
        super().__init__(localWindow=window_bytes)
        self.refill = refill
        self.received = bytearray()
        self.complaints = bytearray()
        self.exit_status: int | None = None
        self.got_eof = False
        self.closed_by_server = False
        self.is_closed = False
        self.opened = False
        self.open_failure: ConchError | None = None

    def send_eof(self) -> None:
        self.conn.sendEOF(self)

    def close(self) -> None:
        """Send CLOSE at once."""
        self.conn.sendClose(self)

    def request(self, name: bytes, data: bytes = b"") -> Deferred[Any]:
        """Send a channel request; the Deferred fires on success and fails on failure."""
        answered: Deferred[Any] = self.conn.sendRequest(self, name, data, wantReply=1)
        return answered

    def channelOpen(self, specificData: bytes) -> None:
        self.opened = True

    def openFailed(self, reason: Any) -> None:
        self.open_failure = reason

    def dataReceived(self, data: bytes) -> None:
        self.received += data

    def extReceived(self, dataType: int, data: bytes) -> None:
        self.complaints += data

    def request_exit_status(self, data: bytes) -> bool:
        self.exit_status = int.from_bytes(data, "big")
        return True

    def eofReceived(self) -> None:
        self.got_eof = True

    def closeReceived(self) -> None:
        self.closed_by_server = True
        super().closeReceived()

    def closed(self) -> None:
        self.is_closed = True


class ClientConnection(SSHConnection):
    """Conch's client side; it refills the window of channels with `refill` only."""

    started = False

    def serviceStarted(self) -> None:
        self.started = True

    def adjustWindow(self, channel: Any, bytesToAdd: int) -> None:
        if channel.refill:
            super().adjustWindow(channel, bytesToAdd)


class ClientUserAuth(SSHUserAuthClient):
    """Tries a key, then a password.

    :param user: the user's name.
    :param instance: the service to start after the login.
    :param key: a private key; None to try none.
    :param password: a password; None to try none.
    """

    def __init__(
        self, user: bytes, instance: SSHService, *, key: Key | None, password: bytes | None
    ) -> None:
        super().__init__(user, instance)
        self._key = key
        self._password = password

    def getPublicKey(self) -> Key | None:
        if self._key is None or self.triedPublicKeys:
            return None
        public: Key = self._key.public()
        return public

    def getPrivateKey(self) -> Deferred[Key]:
        assert self._key is not None
        return succeed(self._key)

    def getPassword(self, prompt: Any = None) -> Any:
        password, self._password = self._password, None
        return None if password is None else succeed(password)
