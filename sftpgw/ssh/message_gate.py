"""Which messages a client may send when (RFC 4253, section 7.1).

Knows: message numbers and the progress of the key exchange.
Must not know: the contents of any message.

Rules:

- Before the first keys, only messages of the key exchange are allowed, and the transport's generic
  ones (IGNORE, DEBUG, UNIMPLEMENTED, DISCONNECT). Conch accepts all others as well
  (`SSHTransportBase.dispatchMessage`), even passwords in clear text.
- Between its KEXINIT and its NEWKEYS, the client may send nothing else. Our KEXINIT makes no
  difference: what the client sends before its own was sent before it has received ours.
- The steps come once and in order: KEXINIT, the method's only message, NEWKEYS.
- A strict key exchange (OpenSSH PROTOCOL, section 1.10) forbids the generic messages before the
  first keys, except DISCONNECT.
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

_GENERIC = range(MSG_DISCONNECT, MSG_DEBUG + 1)
_KEY_EXCHANGE = range(MSG_KEXINIT, 50)


class MessageGate:
    """The state of the key exchange of one connection; the transport reports its steps.

    :ivar is_strict: whether both sides use the strict key exchange.
    """

    __slots__ = ("_client_in_exchange", "_keys_agreed", "_newkeys_due", "is_strict")

    def __init__(self) -> None:
        self.is_strict = False
        self._keys_agreed = False
        self._client_in_exchange = False
        self._newkeys_due = False

    def check(self, message: int) -> None:
        """Check that the client may send a message with this number now.

        :raises MalformedPacket: it may not.
        """
        is_generic = message in _GENERIC and not self._is_first_and_strict
        if not is_generic and message != MSG_DISCONNECT and not self._allows(message):
            raise MalformedPacket(f"message {message} at the wrong time")

    @property
    def is_first_exchange(self) -> bool:
        """Whether the first keys are not agreed yet."""
        return not self._keys_agreed

    @property
    def _is_first_and_strict(self) -> bool:
        return self.is_strict and not self._keys_agreed

    def _allows(self, message: int) -> bool:
        if message == MSG_KEXINIT:
            return not self._client_in_exchange
        if message == MSG_KEXDH_INIT:  # the number of this step in all methods that we offer
            return self._client_in_exchange and not self._newkeys_due
        if message == MSG_NEWKEYS:
            return self._newkeys_due
        return self._keys_agreed and not self._client_in_exchange and message not in _KEY_EXCHANGE

    def exchange_began(self) -> None:
        """The client has sent KEXINIT."""
        self._client_in_exchange = True

    def keys_computed(self) -> None:
        """We have sent NEWKEYS; the client's NEWKEYS is due."""
        self._newkeys_due = True

    def exchange_ended(self) -> None:
        """The client has sent NEWKEYS."""
        self._keys_agreed = True
        self._client_in_exchange = self._newkeys_due = False
