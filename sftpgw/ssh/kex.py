"""The key exchange of a connection: Conch's, with the checks that an open network requires.

Knows: when keys are exchanged, which side began, and from when on they are in use.
Must not know: users, channels, or what is sent between two exchanges.

Rules:

- Once the keys have protected enough bytes, or are old, we begin a key exchange (`rekey`).
  What the client sends before its own KEXINIT is still served; our own messages wait.
- What the client sends is checked before Conch reads it. An exception of Conch or `cryptography`
  counts as the client's fault only while they read it.
"""

# mypy: disallow-untyped-calls=False
# (what is inherited from Conch has no types)

from __future__ import annotations

import struct
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from cryptography.exceptions import UnsupportedAlgorithm

from sftpgw.model.events.session_events import AlgorithmsDiffer
from sftpgw.ssh.algorithms import STRICT_BY_CLIENT, acceptable_macs, first_mismatch
from sftpgw.ssh.context import ConnectionContext
from sftpgw.ssh.fields import MalformedPacket, PacketFields, printable
from sftpgw.ssh.packet_cipher import PacketCiphers
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


class KexTransport(PacketTransport):
    """Exchanges keys, at first and again later.

    :param context: what the connection shares with others.
    """

    nextEncryptions: Any

    def __init__(self, context: ConnectionContext) -> None:
        super().__init__(context)
        self._client_exchanges = ClientExchanges()
        self._exchange_limit = ExchangeLimit(
            context.clock,
            context.settings.key_exchange_timeout_seconds,
            heard_at_seconds=lambda: self.heard_at_seconds,
            on_expired=self._on_kex_expired,
        )
        self._agreed: tuple[bytes, bytes] | None = None

    def ssh_KEXINIT(self, packet: bytes) -> None:
        """Check the bounds, which Conch does not, and limit the time of the exchange.

        :raises MalformedPacket: the message is malformed, or longer than before a login.
        """
        if len(packet) > self.context.settings.packet_before_login_bytes:
            # Conch keeps it until the exchange ends, and every name of its lists meanwhile.
            raise MalformedPacket("the KEXINIT is longer than [ssh] packet_before_login")
        fields = PacketFields(packet)
        fields.raw(16)
        key_exchanges = fields.string().split(b",")
        host_keys, *rest = (fields.string().split(b",") for _ in range(9))
        fields.boolean()
        fields.uint32()
        if self._gate.is_first_exchange and STRICT_BY_CLIENT in key_exchanges:
            self._be_strict()
        self._gate.exchange_began()
        self._exchange_limit.client_began()
        if not self._is_exchanging:
            self._answer_kexinit()
        self.supportedMACs = acceptable_macs(rest[:2], rest[2:4], self.context.offer)
        self._report_mismatch([key_exchanges, host_keys, *rest])
        with _as_malformed():
            super().ssh_KEXINIT(packet)
        self.supportedMACs = list(self.context.offer.macs)
        chosen = self.nextEncryptions
        if chosen is not None and not self.has_ended:
            self.nextEncryptions = PacketCiphers(
                chosen.outCipType, chosen.inCipType, chosen.outMACType, chosen.inMACType
            )

    def _report_mismatch(self, theirs: list[list[bytes]]) -> None:
        """Log the first kind of algorithm without a common one; Conch disconnects silently."""
        ours = {
            "key_exchanges": self.context.offer.key_exchanges,
            "host_key_algorithms": self.supportedPublicKeys,
            "ciphers": self.supportedCiphers,
            "macs": self.supportedMACs,
        }
        mismatch = first_mismatch(theirs, ours)
        if mismatch is not None:
            offered = printable(b" ".join(mismatch.theirs), OFFERED_BYTES)
            could_list = " ".join(mismatch.could_list) or "none"
            self.events.emit(
                AlgorithmsDiffer(
                    setting=mismatch.setting, client_offers=offered, could_list=could_list
                )
            )

    def ssh_KEX_DH_GEX_REQUEST_OLD(self, packet: bytes) -> None:
        """The client's only message in each of our methods; it has the number of KEXDH_INIT."""
        with _as_malformed():
            super().ssh_KEX_DH_GEX_REQUEST_OLD(packet)
        if self._agreed is not None:
            self._take_keys(*self._agreed)

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

    def _keySetup(self, sharedSecret: bytes, exchangeHash: bytes) -> None:
        """Remember the result: Conch has read the message, the rest happens outside of `with`."""
        self._agreed = (sharedSecret, exchangeHash)

    def _take_keys(self, shared_secret: bytes, exchange_hash: bytes) -> None:
        """Send NEWKEYS and seal all that follows with the new keys.

        Conch's `_keySetup` goes on with the old ones until the client's NEWKEYS has come.
        """
        self._agreed = None
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
        self.ourKexInitPayload = self.otherKexInitPayload = b""  # a connection may last for weeks
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
        raise MalformedPacket("a malformed transport message") from problem
