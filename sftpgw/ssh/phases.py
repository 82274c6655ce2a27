"""What a client may say when (RFC 4253, section 7.1).

Knows: message numbers and how far the key exchange is.
Must not know: what any message holds.

Rules:

- Before the first keys, only the messages of the key exchange are heard, and
  remarks (IGNORE, DEBUG, UNIMPLEMENTED, DISCONNECT). Conch hears all of them:
  userauth in clear text, too.
- From its KEXINIT to its NEWKEYS, the client sends nothing else. What would
  answer it could only queue, without bound (Conch transport 641).
- Each step is taken once, in order: KEXINIT, the method's one message, NEWKEYS.
"""

from __future__ import annotations

from twisted.conch.ssh.transport import (
    MSG_DEBUG,
    MSG_DISCONNECT,
    MSG_KEXDH_INIT,
    MSG_KEXINIT,
    MSG_NEWKEYS,
)

from sftpgw.ssh.fields import MalformedPacket

_REMARKS = range(MSG_DISCONNECT, MSG_DEBUG + 1)
_KEY_EXCHANGE = range(MSG_KEXINIT, 50)


class Phase:
    """How far a connection is; the transport says what has happened."""

    __slots__ = ("_client_in_exchange", "_keys_agreed", "_newkeys_due")

    def __init__(self) -> None:
        self._keys_agreed = False
        self._client_in_exchange = False
        self._newkeys_due = False

    def check(self, message: int) -> None:
        """:raises MalformedPacket: the client may not send `message` now."""
        if message not in _REMARKS and not self._allows(message):
            raise MalformedPacket(f"message {message} at the wrong time")

    def _allows(self, message: int) -> bool:
        if message == MSG_KEXINIT:
            return not self._client_in_exchange
        if message == MSG_KEXDH_INIT:  # the number in all the methods that we offer
            return self._client_in_exchange and not self._newkeys_due
        if message == MSG_NEWKEYS:
            return self._newkeys_due
        return self._keys_agreed and not self._client_in_exchange and message not in _KEY_EXCHANGE

    def exchange_began(self) -> None:
        """The client has sent KEXINIT."""
        self._client_in_exchange = True

    def keys_computed(self) -> None:
        """We have sent NEWKEYS; the client's is due."""
        self._newkeys_due = True

    def exchange_ended(self) -> None:
        """The client has sent NEWKEYS."""
        self._keys_agreed = True
        self._client_in_exchange = self._newkeys_due = False
