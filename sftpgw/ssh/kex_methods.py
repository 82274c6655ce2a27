"""The messages between KEXINIT and NEWKEYS: which method they belong to, and where it is computed.

Knows: the methods of `key_agreements`, their messages, and turns for those that take long.
Must not know: when keys are exchanged, or how algorithms are agreed on.

Rules:

- A method that takes long is computed in two turns of the reactor's thread, as the work of the
  client's address, or of its user after the login. In a thread it would hold Python's lock, and
  let the reactor wait at each system call. A signature that takes long is made in a thread, where
  addresses take turns. The client's time for the exchange stands still meanwhile.
- What the client sends is checked before Conch reads it. An exception of Conch or `cryptography`
  counts as the client's fault only while they read it.
"""

# mypy: disallow-untyped-calls=False
# (what is inherited from Conch has no types)

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from cryptography.exceptions import UnsupportedAlgorithm
from twisted.conch.ssh.common import NS
from twisted.conch.ssh.transport import DISCONNECT_BY_APPLICATION
from twisted.internet.defer import CancelledError, Deferred
from twisted.python.failure import Failure

from sftpgw.model.addresses import source_of
from sftpgw.ssh.algorithms import Offer, legacy_names
from sftpgw.ssh.context import ConnectionContext
from sftpgw.ssh.fields import MalformedPacket, PacketFields
from sftpgw.ssh.key_agreements import (
    METHODS,
    MSG_GEX_GROUP,
    MSG_GEX_INIT,
    MSG_GEX_REQUEST,
    MSG_KEX_INIT,
    ClientValue,
    GroupExchange,
    HostKeySigner,
    KexReply,
    Method,
    answer,
    signed,
)
from sftpgw.ssh.negotiation import ClientLists
from sftpgw.ssh.packet_cipher import AEAD_CIPHERS, PacketCiphers
from sftpgw.ssh.packet_transport import PacketTransport
from sftpgw.ssh.rekey import ExchangeLimit

# What Conch and cryptography raise for malformed messages, since they read without checking bounds.
# Caught only while they read, so that our own mistakes do not count as the client's.
_MALFORMED_KEX = (
    struct.error,
    ValueError,
    TypeError,
    IndexError,
    KeyError,
    AssertionError,
    UnsupportedAlgorithm,
)

MALFORMED = "a malformed transport message"

KEY_BYTES = 64
"""The longest key that a cipher or a MAC takes: of chacha20-poly1305 and HMAC-SHA-512."""


class MethodTransport(PacketTransport):
    """Computes keys with the method that both sides have agreed on. A subclass uses them.

    :param context: what the connection shares with others.
    :ivar client_lists: what the client offered in its last KEXINIT.
    """

    nextEncryptions: Any
    ignoreNextPacket: Any
    client_lists: ClientLists
    _exchange_limit: ExchangeLimit

    def __init__(self, context: ConnectionContext) -> None:
        super().__init__(context)
        self._method: Method | GroupExchange | None = None
        self._computing: Deferred[Any] | None = None

    def _begin_method(self) -> None:
        """Both sides have agreed on algorithms; wait for the method's first message."""
        chosen = self.nextEncryptions
        self.nextEncryptions = PacketCiphers(
            chosen.outCipType, chosen.inCipType, chosen.outMACType, chosen.inMACType
        )
        self._method = METHODS[self.kexAlg]
        is_exchange = isinstance(self._method, GroupExchange)
        first = MSG_GEX_REQUEST if is_exchange else MSG_KEX_INIT
        self._gate.expect(first, is_guess_wrong=bool(self.ignoreNextPacket))
        self.ignoreNextPacket = 0

    # The messages of the methods. Conch's names for them are those of group exchange.

    def ssh_KEX_DH_GEX_REQUEST(self, packet: bytes) -> None:
        """The client asks for a group."""
        if self._gate.ignores_guess():
            return
        assert isinstance(self._method, GroupExchange), "the gate lets no other one through"
        self._method, told = self._method.choose(PacketFields(packet))
        self.sendPacket(MSG_GEX_GROUP, told)
        self._gate.expect(MSG_GEX_INIT)

    def ssh_KEX_DH_GEX_REQUEST_OLD(self, packet: bytes) -> None:
        """The client's public value: in all methods but group exchange it has this number."""
        if not self._gate.ignores_guess():
            self._take_value(packet)

    def ssh_KEX_DH_GEX_INIT(self, packet: bytes) -> None:
        """The client's public value in group exchange."""
        self._take_value(packet)

    def _take_value(self, packet: bytes) -> None:
        method = self._method
        assert isinstance(method, Method), "the gate lets no other one through"
        with as_malformed():
            value = method.read(PacketFields(packet))
        self._gate.expect(None)
        if method.is_slow or self._signer.is_slow:
            self._exchange_limit.end()
            self._computing = Deferred.fromCoroutine(self._compute(method, value))
            self._computing.addCallback(self._on_computed)
            self._computing.addErrback(self._on_not_computed)
            return
        with as_malformed():
            reply = answer(method, value, self._signer, self._transcript)
        self._send_reply(reply)

    async def _compute(self, method: Method, value: ClientValue) -> KexReply:
        """The reply, in steps that each hold the reactor's thread for a bounded time."""
        if method.is_slow:
            await self._next_turn()
        agree = value.make_key()
        if method.is_slow:
            await self._next_turn()
        sign = partial(signed, method, value, agree(), self._signer, self._transcript)
        if not self._signer.is_slow:
            return sign()
        reply: KexReply = await self.context.run_in_thread(source_of(self.peer_host), sign)
        return reply

    def _next_turn(self) -> Deferred[None]:
        user, session, _ = self._turns.path
        return self.context.work.next_step((user, session, "key exchange"), "key exchanges")

    @property
    def _transcript(self) -> bytes:
        parts = (
            self.otherVersionString,
            self.ourVersionString,
            self.otherKexInitPayload,
            self.ourKexInitPayload,
        )
        return b"".join(map(NS, parts))

    @property
    def _signer(self) -> HostKeySigner:
        return self.context.host_keys.signers[self.keyAlg]

    def _on_computed(self, reply: KexReply) -> None:
        self._computing = None
        if not self.has_ended:
            self._exchange_limit.client_began()
            with self.packet_writer.cork():
                self._send_reply(reply)

    def _on_not_computed(self, failure: Failure) -> None:
        self._computing = None
        if self.has_ended or failure.check(CancelledError):
            return
        if failure.check(*_MALFORMED_KEX):
            self.refuse(MALFORMED)
            return
        self._log.failure("session {session}: a key exchange failed", failure, session=self.session)
        self.sendDisconnect(DISCONNECT_BY_APPLICATION, "internal error")

    def _send_reply(self, reply: KexReply) -> None:
        method = self._method
        assert isinstance(method, Method)
        self.sendPacket(method.reply, reply.payload)
        self._take_keys(reply.secret, reply.exchange_hash)

    def _getKey(self, c: bytes, sharedSecret: bytes, exchangeHash: bytes) -> bytes:
        """One of the six keys, long enough for each cipher and MAC (RFC 4253, section 7.2).

        Replaces Conch's, which knows the hashes of its own methods only.
        """
        assert isinstance(self._method, Method)
        assert self.sessionID is not None
        begin = sharedSecret + exchangeHash
        key = hashlib.new(self._method.digest, begin + c + self.sessionID).digest()
        while len(key) < KEY_BYTES:
            key += hashlib.new(self._method.digest, begin + key).digest()
        return key

    @property
    def is_computing(self) -> bool:
        """Whether the client waits for a turn or a thread to compute our reply."""
        return self._computing is not None

    def stop_computing(self) -> None:
        """Leave the queue for turns or threads: the connection is gone."""
        if self._computing is not None:
            self._computing.cancel()

    # What was agreed on.

    def legacy_algorithms(self, login_algorithm: bytes) -> list[str]:
        """Those algorithms in use that only the policy ``legacy`` has.

        :param login_algorithm: what the client's key has signed with; empty if it had none.
        """
        used = self.currentEncryptions
        pairs = ((used.inCipType, used.inMACType), (used.outCipType, used.outMACType))
        return legacy_names(
            Offer(
                key_exchanges=(self.kexAlg,),
                ciphers=tuple(cipher for cipher, _ in pairs),
                macs=tuple(mac for cipher, mac in pairs if cipher not in AEAD_CIPHERS),
                host_key_algorithms=(self.keyAlg,),
                login_key_algorithms=(login_algorithm,) if login_algorithm else (),
            )
        )

    def signers(self) -> list[HostKeySigner]:
        """The host keys that can sign for this client."""
        return self.client_lists.signers(self.context.host_keys, self.context.offer)

    # What a subclass decides.

    def _take_keys(self, shared_secret: bytes, exchange_hash: bytes) -> None:
        """Both sides have agreed on keys; use them."""
        raise NotImplementedError


@contextmanager
def as_malformed() -> Iterator[None]:
    """:raises MalformedPacket: the code inside has raised an exception of `_MALFORMED_KEX`."""
    try:
        yield
    except _MALFORMED_KEX as problem:
        raise MalformedPacket(MALFORMED) from problem
