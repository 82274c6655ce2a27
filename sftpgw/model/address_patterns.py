"""Patterns of client addresses, as OpenSSH writes them in ``from=`` and in certificates.

Knows: the list of sshd(8), ``from=``: networks, and wildcards (ssh_config(5), "PATTERNS").
Must not know: what they restrict.

Names of hosts are never looked up: sshd does not either by default (``UseDNS no``). A pattern that
only a name can match is refused, so that no restriction is one in looks only.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from ipaddress import ip_network
from typing import TypeAlias

from sftpgw.model.addresses import Address, Network

Wildcard: TypeAlias = re.Pattern[str]

MAX_PATTERNS = 256

_WILDCARD = re.compile(r"[0-9a-fA-F.:*?]+")
_NETWORK = re.compile(r"[0-9a-fA-F.:]+(?:/[0-9]{1,3})?")


@dataclass(frozen=True, slots=True)
class AddressPatterns:
    """Which addresses are admitted: those that one pattern matches, and none that is refused.

    :ivar text: the list as it is written.
    :ivar admitted: of one of these the address must be.
    :ivar refused: of none of these it may be.
    """

    text: str
    admitted: tuple[Network | Wildcard, ...] = field(compare=False, repr=False)
    refused: tuple[Network | Wildcard, ...] = field(default=(), compare=False, repr=False)

    def admit(self, address: Address | None) -> bool:
        """Whether a client may come from there.

        :param address: the client's address; None if it has none, which no pattern matches.
        """
        if address is None:
            return False
        text = str(address)
        if any(_is_of(address, text, each) for each in self.refused):
            return False
        return any(_is_of(address, text, each) for each in self.admitted)


def read_patterns(text: str) -> AddressPatterns:
    """The list of a ``from=``: networks, addresses and wildcards; ``!`` refuses what it precedes.

    :param text: the patterns, with commas between them.
    :raises ValueError: one of them is neither; says which.
    """
    admitted: list[Network | Wildcard] = []
    refused: list[Network | Wildcard] = []
    for entry in _entries(text):
        (refused if entry.startswith("!") else admitted).append(_pattern(entry.removeprefix("!")))
    if not admitted:
        raise ValueError("from= admits no address; write a pattern without !, such as *")
    return AddressPatterns(text, tuple(admitted), tuple(refused))


def read_networks(text: str) -> AddressPatterns:
    """The list of a ``source-address`` in a certificate: networks and addresses only.

    :param text: the networks, with commas between them.
    :raises ValueError: one of them is none.
    """
    return AddressPatterns(text, tuple(_network(entry) for entry in _entries(text)))


def _entries(text: str) -> list[str]:
    entries = text.split(",")
    if len(entries) > MAX_PATTERNS:
        raise ValueError(f"more than {MAX_PATTERNS} address patterns")
    return entries


def _pattern(entry: str) -> Network | Wildcard:
    if _NETWORK.fullmatch(entry) and ("/" in entry or _is_address(entry)):
        return _network(entry)
    if not _WILDCARD.fullmatch(entry):
        raise ValueError(
            f"from= has {entry[:64]!r}; names are not looked up, write addresses or networks"
        )
    return _wildcard(entry.lower())


def _is_address(entry: str) -> bool:
    try:
        ip_network(entry)
    except ValueError:
        return False
    return True


def _network(entry: str) -> Network:
    if not _NETWORK.fullmatch(entry):
        raise ValueError(f"{entry[:64]!r} is not a network")
    try:
        return ip_network(entry)
    except ValueError as problem:
        raise ValueError(f"{entry[:64]!r} is not a network") from problem


def _wildcard(entry: str) -> Wildcard:
    """The pattern as a regular expression that never goes back to an earlier ``*``."""
    first, *others = (re.escape(part).replace(r"\?", ".") for part in entry.split("*"))
    if not others:
        return re.compile(first)
    between = "".join(f"(?>.*?{part})" for part in others[:-1])
    return re.compile(f"{first}{between}.*{others[-1]}")


def _is_of(address: Address, text: str, pattern: Network | Wildcard) -> bool:
    if isinstance(pattern, re.Pattern):
        return pattern.fullmatch(text) is not None
    return address in pattern
