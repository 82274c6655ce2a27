"""What a client may say when (RFC 4253, section 7.1).

Knows: message numbers and how far the key exchange is.
Must not know: what any message holds.

Rules:

- Before the first keys, only the messages of the key exchange are heard, and
  remarks (IGNORE, DEBUG, UNIMPLEMENTED, DISCONNECT). Conch hears all of them:
  userauth in clear text, too.
- From its KEXINIT to its NEWKEYS, the client sends nothing else. Ours changes nothing:
  until the client's comes, whatever the client sends is older than its answer (RFC 4253,
  section 7.1).
- Each step is taken once, in order: KEXINIT, the method's one message, NEWKEYS.
- A strict exchange (OpenSSH PROTOCOL, section 1.10) allows no remarks either before
  the first keys, but for a goodbye.
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


class MessageGate:
    """How far a connection is; the transport says what has happened."""

    __slots__ = ("_client_in_exchange", "_keys_agreed", "_newkeys_due", "is_strict")

    def __init__(self) -> None:
        self.is_strict = False
        self._keys_agreed = False
        self._client_in_exchange = False
        self._newkeys_due = False

    def check(self, message: int) -> None:
        """:raises MalformedPacket: the client may not send `message` now."""
        is_remark = message in _REMARKS and not self._is_first_and_strict
        if not is_remark and message != MSG_DISCONNECT and not self._allows(message):
            raise MalformedPacket(f"message {message} at the wrong time")

    @property
    def is_first_exchange(self) -> bool:
        """No keys were agreed upon yet."""
        return not self._keys_agreed

    @property
    def _is_first_and_strict(self) -> bool:
        return self.is_strict and not self._keys_agreed

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
