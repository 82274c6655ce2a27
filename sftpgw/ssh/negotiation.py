"""What a client and we have in common, and what would let a client in that has nothing.

Knows: the lists of a client's KEXINIT, those of the policies, and the settings they come from.
Must not know: messages, or how any of the algorithms works.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from twisted.conch.ssh.keys import Key

from sftpgw.auth.login_keys import SHA1_LOGIN_ALGORITHMS
from sftpgw.model.settings import Policy, SshSettings
from sftpgw.ssh.algorithms import COMPRESSIONS, KNOWN, Offer, allowed, policy_offer
from sftpgw.ssh.fields import printable
from sftpgw.ssh.key_agreements import HostKeySigner
from sftpgw.ssh.packet_cipher import AEAD_CIPHERS

LISTS = 8
"""How many lists of a KEXINIT both sides must have something of in common."""

_SETTINGS = (
    *("key_exchanges", "host_key_algorithms", "ciphers", "ciphers", "macs", "macs"),
    *("compressions", "compressions"),
)
"""The settings for these lists, in their order (RFC 4253, section 7.1)."""

_KNOWN = {kind: tuple(map(str.encode, names)) for kind, names in KNOWN.items()}
_KNOWN["compressions"] = COMPRESSIONS
_NOTHING_KNOWN = (b"",)
"""What stands for the names of a list of which we know none. It is still a name: with an AEAD
cipher any MAC is acceptable."""

_OF_RSA = frozenset((b"rsa-sha2-512", b"rsa-sha2-256", b"ssh-rsa"))


@dataclass(frozen=True, slots=True)
class Mismatch:
    """A kind of algorithm of which a client and we have none in common.

    :ivar setting: the key of ``[ssh]`` that lists this kind; ``compressions``, which no key lists.
    :ivar theirs: what the client offers.
    :ivar ours: what we offer.
    :ivar could_list: those of `theirs` that the setting may list. A host key algorithm also needs a
        host key.
    """

    setting: str
    theirs: tuple[bytes, ...]
    ours: tuple[bytes, ...]
    could_list: tuple[str, ...]


class HostKeys:
    """The gateway's host keys, with what each connection asks of them.

    :param keys: the private keys, one of each type.
    :ivar keys: the same.
    :ivar signers: how they sign, by the signature algorithm.
    :ivar policy_offers: what each policy offers with these keys, the strictest one first.
    """

    def __init__(self, keys: Sequence[Key]) -> None:
        self.keys = tuple(keys)
        self.signers = {
            bytes(name): HostKeySigner.of(key, name)
            for key in keys
            for name in key.supportedSignatureAlgorithms()
        }
        self.policy_offers = {
            policy: policy_offer(policy).with_keys(self.keys) for policy in Policy
        }


@dataclass(frozen=True, slots=True)
class ClientLists:
    """The lists of a client's KEXINIT, in their order (RFC 4253, section 7.1)."""

    names: tuple[tuple[bytes, ...], ...]

    @classmethod
    def of(cls, lists: Sequence[bytes]) -> ClientLists:
        """The names in the lists as the message has them."""
        return cls(tuple(tuple(each.split(b",")) for each in lists[:LISTS]))

    def known(self) -> ClientLists:
        """The same, without names that we do not know: a connection may last for weeks."""
        kept = (
            tuple(dict.fromkeys(allowed(theirs, _KNOWN[setting]))) or _NOTHING_KNOWN
            for setting, theirs in zip(_SETTINGS, self.names, strict=True)
        )
        return ClientLists(tuple(kept))

    @property
    def key_exchanges(self) -> tuple[bytes, ...]:
        """The first list, with its markers."""
        return self.names[0]

    def acceptable_macs(self, offer: Offer) -> list[bytes]:
        """The MACs of which the client must have one.

        With an AEAD cipher in both directions no MAC is used, and any is acceptable (RFC 5647,
        section 5.1, as OpenSSH implements it). Conch requires a common one in any case
        (`ssh_KEXINIT`).

        :param offer: our algorithms.
        """
        _, _, *ciphers, in_macs, out_macs, _, _ = self.names
        chosen = (next(iter(allowed(theirs, offer.ciphers)), b"") for theirs in ciphers)
        if all(cipher in AEAD_CIPHERS for cipher in chosen):
            return [*in_macs, *out_macs]
        return list(offer.macs)

    def mismatch(self, offer: Offer) -> Mismatch | None:
        """The first kind of algorithm without a common one; None if there is none.

        :param offer: what we offer this client.
        """
        for setting, theirs in zip(_SETTINGS, self.names, strict=True):
            ours = self._ours(setting, offer)
            if not allowed(theirs, ours):
                could_list = tuple(map(bytes.decode, allowed(_KNOWN[setting], theirs)))
                return Mismatch(setting, theirs, tuple(ours), could_list)
        return None

    def _ours(self, setting: str, offer: Offer) -> Sequence[bytes]:
        if setting == "macs":
            return self.acceptable_macs(offer)
        found: Sequence[bytes] = getattr(offer, setting, COMPRESSIONS)
        return found

    def strictest_policy(self, host_keys: HostKeys, login_algorithm: bytes = b"") -> Policy | None:
        """The strictest policy that lets the client in; None if none does.

        :param host_keys: the gateway's host keys.
        :param login_algorithm: what its key has signed with; empty if it has logged in without one.
        """
        for policy, offer in host_keys.policy_offers.items():
            signs_well = not login_algorithm or login_algorithm in offer.login_key_algorithms
            if signs_well and self.mismatch(offer) is None:
                return policy
        return None

    def signers(self, host_keys: HostKeys, offer: Offer) -> list[HostKeySigner]:
        """How each host key signs for this client; without those that cannot.

        An RSA key signs with an algorithm that the client has named.

        :param host_keys: the keys.
        :param offer: what we offer.
        """
        able: dict[bytes, HostKeySigner] = {}
        for name in offer.host_key_algorithms:
            signer = host_keys.signers[name]
            if name not in _OF_RSA or name in self.names[1]:
                able.setdefault(signer.blob, signer)
        return list(able.values())


def remedy_for(
    mismatch: Mismatch, client: ClientLists, settings: SshSettings, host_keys: HostKeys
) -> str:
    """The setting that would let a client in.

    :param mismatch: what it and we do not have in common.
    :param client: all that it offers.
    :param settings: the settings that do not.
    :param host_keys: the gateway's host keys.
    """
    known = client.known()  # a stranger may send 17,000 names
    for policy in Policy:
        offer = Offer.of(replace(settings, policy=policy)).with_keys(host_keys.keys)
        if known.mismatch(offer) is None:
            return f"[ssh] policy = {policy.value}"
    could_list = " or ".join(mismatch.could_list)
    if not could_list:
        return "nothing: the client has to be updated"
    is_host_key = mismatch.setting == "host_key_algorithms"
    if is_host_key and allowed(mismatch.theirs, Offer.of(settings).host_key_algorithms):
        return f"[gateway] host_keys with a key for {could_list}"
    return f"[ssh] {mismatch.setting} with {could_list}"


def login_remedy_for(algorithm: bytes, settings: SshSettings) -> tuple[str, str]:
    """Why a signature algorithm is refused for logins, and what would let it in.

    :param algorithm: one that we do not offer.
    :param settings: the settings that do not.
    """
    name = printable(algorithm)
    if name not in KNOWN["login_key_algorithms"]:
        return f"keys of the type {name} are not accepted", "nothing: the user needs another key"
    is_sha1 = algorithm in SHA1_LOGIN_ALGORITHMS
    why = "the client signs with RSA and SHA-1" if is_sha1 else f"{name} is not offered"
    if settings.login_key_algorithms:
        return why, f"[ssh] login_key_algorithms with {name}"
    return why, f"[ssh] policy = {Policy.LEGACY.value}"
