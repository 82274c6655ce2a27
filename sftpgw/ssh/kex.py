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

from typing import Any

from twisted.conch.ssh.transport import DISCONNECT_KEY_EXCHANGE_FAILED

from sftpgw.model.events.session_events import AlgorithmsDiffer
from sftpgw.ssh.algorithms import STRICT_BY_CLIENT
from sftpgw.ssh.context import ConnectionContext
from sftpgw.ssh.fields import MalformedPacket, PacketFields, printable
from sftpgw.ssh.kex_methods import MethodTransport, as_malformed
from sftpgw.ssh.negotiation import ClientLists, Mismatch, remedy_for
from sftpgw.ssh.rekey import ClientExchanges, ExchangeLimit

OFFERED_BYTES = 1024
"""How much of a client's list of algorithms is logged; the lists of known clients are shorter."""


class KexTransport(MethodTransport):
    """Exchanges keys, at first and again later.

    :param context: what the connection shares with others.
    :ivar client_lists: what the client offered in its last KEXINIT.
    """

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

    def ssh_KEXINIT(self, packet: bytes) -> None:
        """Check the bounds, which Conch does not, and limit the time of the exchange.

        :raises MalformedPacket: the message is malformed, or longer than before a login.
        """
        if len(packet) > self.context.settings.packet_before_login_bytes:
            # Conch keeps it until the exchange ends, and every name of its lists meanwhile.
            raise MalformedPacket("the KEXINIT is longer than [ssh] packet_before_login")
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
        with_marker = self.supportedKeyExchanges
        # A client may list our marker as well. Conch would take it for a method.
        self.supportedKeyExchanges = list(self.context.offer.key_exchanges)
        self.supportedMACs = self.client_lists.acceptable_macs(self.context.offer)
        with as_malformed():
            super().ssh_KEXINIT(packet)
        self.supportedKeyExchanges = with_marker
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
        self.client_lists = self.client_lists.known()
        self.ourKexInitPayload = self.otherKexInitPayload = b""  # a connection may last for weeks
        self._keys.renewed(self.context.clock.seconds())
        self._gate.exchange_ended()
        self._exchange_limit.end()
        for message, payload in self.packet_writer.exchange_ended():
            self.sendPacket(message, payload)
        self._resume_channels()

    def _on_kex_expired(self) -> None:
        self.refuse("the key exchange took too long ([ssh] key_exchange_timeout)")
