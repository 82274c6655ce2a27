"""The key exchange of a connection, as Conch's with what an open network asks more of.

Knows: when keys are exchanged, who began, and from when on they are in use.
Must not know: users, channels, or what is said between two exchanges.

Rules:

- Once the keys have protected enough, or are old, we begin a key exchange (`rekeying`).
  What the client sends before its own KEXINIT is still served, what we have to say waits.
- What the client sends is checked before Conch reads it, and only what Conch and
  `cryptography` raise while they read it is the client's fault.
"""

# mypy: disallow-untyped-calls=False
# (what is inherited from Conch has no types)

from __future__ import annotations

import struct
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from cryptography.exceptions import UnsupportedAlgorithm
from twisted.conch.ssh.transport import SSHServerTransport

from sftpgw.model.events import EventSink
from sftpgw.ssh.algorithms import STRICT_BY_CLIENT, acceptable_macs, first_mismatch
from sftpgw.ssh.fields import MalformedPacket, PacketFields, printable
from sftpgw.ssh.message_gate import MessageGate
from sftpgw.ssh.packet_cipher import PacketCiphers
from sftpgw.ssh.packet_writer import PacketWriter
from sftpgw.ssh.rekey import ClientExchanges, ExchangeLimit, KeyUsage

if TYPE_CHECKING:
    from sftpgw.ssh.factory import GatewayFactory

# What Conch and cryptography raise when a client sends nonsense: they read without
# checking bounds. Caught around their reading only, or our own mistakes would be its.
_NONSENSE_IN_KEX = (
    struct.error,
    ValueError,
    TypeError,
    IndexError,
    KeyError,
    AssertionError,
    UnsupportedAlgorithm,
)

OFFERED_BYTES = 1024
"""So much of a client's list of algorithms is told the log: no client's is longer."""


class KexTransport(SSHServerTransport):
    """Exchanges keys, first and again. What is declared here, `GatewayTransport` makes."""

    factory: GatewayFactory
    service: Any  # after login, a `GatewayConnection`
    events: EventSink
    currentEncryptions: Any  # a `PacketCiphers`, where Conch has its `SSHCiphers`
    nextEncryptions: Any
    packet_writer: PacketWriter
    _keys: KeyUsage
    _exchange_limit: ExchangeLimit

    def __init__(self) -> None:
        self._dead = False
        self._login_done = False
        self._phase = MessageGate()
        self._exchanges = ClientExchanges()
        self._agreed: tuple[bytes, bytes] | None = None

    def ssh_KEXINIT(self, packet: bytes) -> None:
        """Check the bounds that Conch does not, and limit the time that follows."""
        fields = PacketFields(packet)
        fields.raw(16)
        key_exchanges = fields.string().split(b",")
        host_keys, *rest = (fields.string().split(b",") for _ in range(9))
        fields.boolean()
        fields.uint32()
        if self._phase.is_first_exchange and STRICT_BY_CLIENT in key_exchanges:
            self._be_strict()
        self._phase.exchange_began()
        self._exchange_limit.client_began()
        if not self._is_exchanging:
            self._answer_kexinit()
        self.supportedMACs = acceptable_macs(rest[:2], rest[2:4], self.factory.offer)
        self._tell_mismatch([key_exchanges, host_keys, *rest])
        with _blaming_the_client():
            super().ssh_KEXINIT(packet)
        self.supportedMACs = list(self.factory.offer.macs)
        chosen = self.nextEncryptions
        if chosen is not None and not self._dead:
            self.nextEncryptions = PacketCiphers(
                chosen.outCipType, chosen.inCipType, chosen.outMACType, chosen.inMACType
            )

    def _tell_mismatch(self, theirs: list[list[bytes]]) -> None:
        """Tell the log what there is not in common: Conch, which says goodbye, does not."""
        ours = {
            "key_exchanges": self.factory.offer.key_exchanges,
            "host_key_algorithms": self.supportedPublicKeys,
            "ciphers": self.supportedCiphers,
            "macs": self.supportedMACs,
        }
        mismatch = first_mismatch(theirs, ours)
        if mismatch is not None:
            offered = printable(b" ".join(mismatch.theirs), OFFERED_BYTES)
            could_list = " ".join(mismatch.could_list) or "none"
            self.events.tell(
                "algorithms-differ",
                setting=mismatch.setting,
                client_offers=offered,
                could_list=could_list,
            )

    def ssh_KEX_DH_GEX_REQUEST_OLD(self, packet: bytes) -> None:
        """The one message of each method that we offer; its number is that of KEXDH_INIT."""
        with _blaming_the_client():
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
        """Begin a key exchange, unless one is under way. RFC 4253, section 9: at any time."""
        if self._login_done and not (self._dead or self._is_exchanging):
            self.sendKexInit()
            self._exchange_limit.we_began()

    def _answer_kexinit(self) -> None:
        """The client begins a key exchange, if it may begin another one."""
        moved_bytes = int(self.service.moved_bytes) if self._login_done else None
        if not self._exchanges.may_begin(self.factory.clock.seconds(), moved_bytes):
            raise MalformedPacket("too many key exchanges")
        self.sendKexInit()

    def _be_strict(self) -> None:
        """Nothing may have come before the client's first KEXINIT (CVE-2023-48795)."""
        if self.incomingPacketSequence != 1:
            raise MalformedPacket("a strict key exchange begins with KEXINIT")
        self._phase.is_strict = True

    def renew_old_keys(self) -> float:
        """Begin a key exchange if the keys are too old; when they will be."""
        old_at_seconds = self._keys.old_at_seconds
        if self.factory.clock.seconds() < old_at_seconds:
            return old_at_seconds
        self.rekey()
        return float("inf")  # a key exchange is under way

    def _keySetup(self, sharedSecret: bytes, exchangeHash: bytes) -> None:
        """Conch has read what the client sent; all that follows is ours, and not in `with`."""
        self._agreed = (sharedSecret, exchangeHash)

    def _take_keys(self, shared_secret: bytes, exchange_hash: bytes) -> None:
        """As Conch's `_keySetup`, but our side's new keys seal what follows our NEWKEYS.

        Conch goes on with the old ones until the client's NEWKEYS has come.
        """
        self._agreed = None
        is_first = self._phase.is_first_exchange
        super()._keySetup(shared_secret, exchange_hash)
        self.packet_writer.sealer = self.nextEncryptions.sealer
        if self._phase.is_strict:
            self.packet_writer.sequence = 0
        if is_first:
            self._announce_extensions()
        self._phase.keys_computed()

    def sendExtInfo(self, extensions: Any) -> None:
        """Nothing: Conch calls it before the new keys are in use.

        It announces the algorithms of the host keys (`_keySetup`), too: with an ed25519 host key,
        clients then believe that their RSA keys are of no use.
        """

    def _announce_extensions(self) -> None:
        """The algorithms of logins, in the packet next to our first NEWKEYS (RFC 8308, 2.4).

        libssh 0.10 does not hear it later, and then signs with SHA-1, or not at all.
        """
        algorithms = b",".join(self.factory.offer.login_key_algorithms)
        super().sendExtInfo([(b"server-sig-algs", algorithms)])

    def _newKeys(self) -> None:
        if self._phase.is_strict:
            self.incomingPacketSequence = 0
        super()._newKeys()
        self._keys.renewed(self.factory.clock.seconds())
        self._phase.exchange_ended()
        self._exchange_limit.end()
        for message, payload in self.packet_writer.exchange_ended():
            self.sendPacket(message, payload)


@contextmanager
def _blaming_the_client() -> Iterator[None]:
    """:raises MalformedPacket: what was read in here cannot be read."""
    try:
        yield
    except _NONSENSE_IN_KEX as problem:
        raise MalformedPacket("a malformed transport message") from problem
