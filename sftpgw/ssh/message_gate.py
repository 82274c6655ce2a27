"""Which messages a client may send when (RFC 4253, section 7.1).

Knows: message numbers and the progress of the key exchange.
Must not know: the contents of any message.

Rules:

- Before the first keys, only messages of the key exchange are allowed, and the transport's generic
  ones (IGNORE, DEBUG, UNIMPLEMENTED, DISCONNECT). Conch accepts all others as well
  (`SSHTransportBase.dispatchMessage`), even passwords in clear text.
- Between its KEXINIT and its NEWKEYS, the client may send nothing else. Our KEXINIT makes no
  difference: what the client sends before its own was sent before it has received ours.
- The steps come once and in order: KEXINIT, the messages of the method, NEWKEYS. While we compute
  a reply, none is due.
- A client may send the first message of a method right behind its KEXINIT, before it knows ours.
  If it has guessed wrong, that one message is ignored.
- A strict key exchange (OpenSSH PROTOCOL, section 1.10) forbids the generic messages before the
  first keys, except DISCONNECT.
"""

from __future__ import annotations

from twisted.conch.ssh.transport import (
    MSG_DEBUG,
    MSG_DISCONNECT,
    MSG_KEXINIT,
    MSG_NEWKEYS,
)

from sftpgw.ssh.fields import MalformedPacket

_GENERIC = range(MSG_DISCONNECT, MSG_DEBUG + 1)
_KEY_EXCHANGE = range(MSG_KEXINIT, 50)
_OF_METHODS = range(30, 50)
_FIRST_OF_METHODS = (30, 34)
"""With which message the methods begin that exist: 34 is group exchange."""


class MessageGate:
    """The state of the key exchange of one connection; the transport reports its steps.

    :ivar is_strict: whether both sides use the strict key exchange.
    """

    __slots__ = (
        "_client_in_exchange",
        "_guess_due",
        "_keys_agreed",
        "_method_message",
        "_newkeys_due",
        "is_strict",
    )

    def __init__(self) -> None:
        self.is_strict = False
        self._keys_agreed = False
        self._client_in_exchange = False
        self._newkeys_due = False
        self._method_message: int | None = None
        self._guess_due = False

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
        if message in _OF_METHODS:
            is_guess = self._guess_due and message in _FIRST_OF_METHODS
            return is_guess or message == self._method_message
        if message == MSG_NEWKEYS:
            return self._newkeys_due
        return self._keys_agreed and not self._client_in_exchange and message not in _KEY_EXCHANGE

    def exchange_began(self) -> None:
        """The client has sent KEXINIT."""
        self._client_in_exchange = True

    def expect(self, message: int | None, *, is_guess_wrong: bool = False) -> None:
        """Say which message of the method is due.

        :param message: its number; None while we compute.
        :param is_guess_wrong: another one comes before it, which is to be ignored.
        """
        self._method_message = message
        self._guess_due = is_guess_wrong

    def ignores_guess(self) -> bool:
        """Whether the message that has come is a wrong guess; asked once for each."""
        is_guess, self._guess_due = self._guess_due, False
        return is_guess

    def keys_computed(self) -> None:
        """We have sent NEWKEYS; the client's NEWKEYS is due."""
        self._newkeys_due = True

    def exchange_ended(self) -> None:
        """The client has sent NEWKEYS."""
        self._keys_agreed = True
        self._client_in_exchange = self._newkeys_due = False
