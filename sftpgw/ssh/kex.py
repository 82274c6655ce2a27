"""The key exchange of a connection: Conch's, with the checks that an open network requires.

Knows: when keys are exchanged, which side began, and from when on they are in use.
Must not know: users, channels, or what is sent between two exchanges.

Rules:

- Once the keys have protected enough bytes, or are old, we begin a key exchange (`rekey`).
  What the client sends before its own KEXINIT is still served; our own messages wait.
- What the client sends is checked before Conch reads it. An exception of Conch or `cryptography`
  counts as the client's fault only while they read it.
- The methods are `key_agreements`. One that takes long is computed in a thread, in the queue in
  which addresses take turns; the client's time for the exchange stands still meanwhile.
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
from twisted.conch.ssh.transport import DISCONNECT_BY_APPLICATION, DISCONNECT_KEY_EXCHANGE_FAILED
from twisted.internet.defer import CancelledError, Deferred
from twisted.python.failure import Failure

from sftpgw.model.addresses import source_of
from sftpgw.model.events.session_events import AlgorithmsDiffer
from sftpgw.ssh.algorithms import (
    STRICT_BY_CLIENT,
    Offer,
    legacy_names,
)
from sftpgw.ssh.context import ConnectionContext
from sftpgw.ssh.fields import MalformedPacket, PacketFields, printable
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
)
from sftpgw.ssh.negotiation import ClientLists, Mismatch, remedy_for
from sftpgw.ssh.packet_cipher import AEAD_CIPHERS, PacketCiphers
from sftpgw.ssh.packet_transport import PacketTransport
from sftpgw.ssh.rekey import ClientExchanges, ExchangeLimit

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

OFFERED_BYTES = 1024
"""How much of a client's list of algorithms is logged; the lists of known clients are shorter."""

MALFORMED = "a malformed transport message"

KEY_BYTES = 64
"""The longest key that a cipher or a MAC takes: of chacha20-poly1305 and HMAC-SHA-512."""


class KexTransport(PacketTransport):
    """Exchanges keys, at first and again later.

    :param context: what the connection shares with others.
    :ivar client_lists: what the client offered in its last KEXINIT.
    """

    nextEncryptions: Any
    ignoreNextPacket: Any
    client_lists: ClientLists

    def __init__(self, context: ConnectionContext) -> None:
        super().__init__(context)
        self._client_exchanges = ClientExchanges()
        self._exchange_limit = ExchangeLimit(
            context.clock,
            context.settings.key_exchange_timeout_seconds,
            heard_at_seconds=lambda: self.heard_at_seconds,
            on_expired=self._on_kex_expired,
        )
        self._method: Method | GroupExchange | None = None
        self._computing: Deferred[Any] | None = None

    def ssh_KEXINIT(self, packet: bytes) -> None:
        """Check the bounds, which Conch does not, and limit the time of the exchange."""
        fields = PacketFields(packet)
        fields.raw(16)
        lists = [fields.string() for _ in range(10)]
        fields.boolean()
        fields.uint32()
        self.client_lists = ClientLists.of(lists)
        if self._gate.is_first_exchange and STRICT_BY_CLIENT in self.client_lists.key_exchanges:
            self._be_strict()
        self._gate.exchange_began()
        self._exchange_limit.client_began()
        if not self._is_exchanging:
            self._answer_kexinit()
        mismatch = self.client_lists.mismatch(self.context.offer)
        if mismatch is not None:
            self._refuse_mismatch(mismatch)
            return
        self.supportedMACs = self.client_lists.acceptable_macs(self.context.offer)
        with _as_malformed():
            super().ssh_KEXINIT(packet)
        self.supportedMACs = list(self.context.offer.macs)
        if not self.has_ended:
            self._begin_method()

    def _refuse_mismatch(self, mismatch: Mismatch) -> None:
        """Tell log and client what they have not in common with us. Conch's text is one for all."""
        context = self.context
        self.events.emit(
            AlgorithmsDiffer(
                setting=mismatch.setting,
                client_offers=printable(b" ".join(mismatch.theirs), OFFERED_BYTES),
                could_list=" ".join(mismatch.could_list) or "none",
                we_offer=printable(b" ".join(mismatch.ours), OFFERED_BYTES),
                lets_in=remedy_for(
                    mismatch, self.client_lists, context.settings, context.host_keys
                ),
                client=printable(self.otherVersionString),
            )
        )
        context.count_unfit(mismatch.setting, self.otherVersionString)
        kind = mismatch.setting.replace("_", " ")
        self.sendDisconnect(DISCONNECT_KEY_EXCHANGE_FAILED, f"no {kind} in common")

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
        with _as_malformed():
            value = method.read(PacketFields(packet))
        self._gate.expect(None)
        work = self._answer_to(method, value)
        if method.is_slow or self._signer.is_slow:
            self._exchange_limit.end()
            source = source_of(self.peer_host)
            self._computing = self.context.run_in_thread(source, work)
            self._computing.addCallback(self._on_computed)
            self._computing.addErrback(self._on_not_computed)
            return
        with _as_malformed():
            reply = work()
        self._send_reply(reply)

    def _answer_to(self, method: Method, value: ClientValue) -> partial[KexReply]:
        parts = (
            self.otherVersionString,
            self.ourVersionString,
            self.otherKexInitPayload,
            self.ourKexInitPayload,
        )
        return partial(answer, method, value, self._signer, b"".join(map(NS, parts)))

    @property
    def _signer(self) -> HostKeySigner:
        return HostKeySigner(self._getHostKeys(self.keyAlg)[1], self.keyAlg)

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
        """Whether the client waits for a thread to compute our reply."""
        return self._computing is not None

    def stop_computing(self) -> None:
        """Leave the queue for threads: the connection is gone."""
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
        context = self.context
        found = (self.client_lists.signer_for(key, context.offer) for key in context.host_keys)
        return [signer for signer in found if signer is not None]

    # When keys are exchanged.

    @property
    def _is_exchanging(self) -> bool:
        """Whether we have sent KEXINIT, and the client's NEWKEYS has not come."""
        return bool(self._keyExchangeState != self._KEY_EXCHANGE_NONE)

    def sendKexInit(self) -> None:
        super().sendKexInit()
        self.packet_writer.exchange_began()

    def rekey(self) -> None:
        """Begin a key exchange, unless one is in progress (RFC 4253, section 9)."""
        if self.is_logged_in and not (self.has_ended or self._is_exchanging):
            self.sendKexInit()
            self._exchange_limit.we_began()

    def _answer_kexinit(self) -> None:
        """Answer a key exchange that the client has begun.

        :raises MalformedPacket: the client has begun too many.
        """
        moved_bytes = int(self.service.moved_bytes) if self.is_logged_in else None
        if not self._client_exchanges.may_begin(self.context.clock.seconds(), moved_bytes):
            raise MalformedPacket("too many key exchanges")
        self.sendKexInit()

    def _be_strict(self) -> None:
        """Begin a strict key exchange: KEXINIT must be the first packet (CVE-2023-48795)."""
        if self.incomingPacketSequence != 1:
            raise MalformedPacket("a strict key exchange begins with KEXINIT")
        self._gate.is_strict = True

    def renew_old_keys(self) -> float:
        """Begin a key exchange if the keys are too old.

        :returns: when they will be too old, in seconds of the clock; infinity during an exchange.
        """
        old_at_seconds = self._keys.old_at_seconds
        if self.context.clock.seconds() < old_at_seconds:
            return old_at_seconds
        self.rekey()
        return float("inf")

    def _take_keys(self, shared_secret: bytes, exchange_hash: bytes) -> None:
        """Send NEWKEYS and seal all that follows with the new keys.

        Conch's `_keySetup` goes on with the old ones until the client's NEWKEYS has come.
        """
        is_first = self._gate.is_first_exchange
        super()._keySetup(shared_secret, exchange_hash)
        self.packet_writer.sealer = self.nextEncryptions.sealer
        if self._gate.is_strict:
            self.packet_writer.sequence = 0
        if is_first:
            self._announce_extensions()
        self._gate.keys_computed()

    def sendExtInfo(self, extensions: Any) -> None:
        """Send nothing: Conch calls this too early, before the new keys are in use.

        Conch's `_keySetup` also announces the algorithms of the host keys: with an ed25519 host
        key, clients then do not try their RSA keys.
        """

    def _announce_extensions(self) -> None:
        """Announce the algorithms for logins, right behind our first NEWKEYS (RFC 8308, 2.4).

        libssh 0.10 ignores a later announcement, and then signs with SHA-1 or not at all.
        """
        algorithms = b",".join(self.context.offer.login_key_algorithms)
        super().sendExtInfo([(b"server-sig-algs", algorithms)])

    def _newKeys(self) -> None:
        if self._gate.is_strict:
            self.incomingPacketSequence = 0
        super()._newKeys()
        self._keys.renewed(self.context.clock.seconds())
        self._gate.exchange_ended()
        self._exchange_limit.end()
        for message, payload in self.packet_writer.exchange_ended():
            self.sendPacket(message, payload)
        self._resume_channels()

    def _on_kex_expired(self) -> None:
        self.refuse("the key exchange took too long ([ssh] key_exchange_timeout)")


@contextmanager
def _as_malformed() -> Iterator[None]:
    """:raises MalformedPacket: the code inside has raised an exception of `_MALFORMED_KEX`."""
    try:
        yield
    except _MALFORMED_KEX as problem:
        raise MalformedPacket(MALFORMED) from problem
