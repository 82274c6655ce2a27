"""Addresses of clients, and the networks that count as one.

Knows: how an address is spelt, and what an internet provider assigns to one customer.
Must not know: what is limited per address.
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import TypeAlias

Address: TypeAlias = IPv4Address | IPv6Address
Network: TypeAlias = IPv4Network | IPv6Network

_IPV6_SITE_BITS = 64
"""The smallest network that an internet provider assigns to one customer (RFC 6177)."""


def address_of(host: str | None) -> Address | None:
    """The IP address that `host` spells; None if it is none, as with UNIX sockets.

    An IPv4 address that is mapped into IPv6 (RFC 4291, section 2.5.5.2) becomes IPv4 again.

    :param host: the address as text, with or without a zone; None if there is none.
    """
    if host is None:
        return None
    try:
        address = ip_address(host.partition("%")[0])  # fe80::1%eth0
    except ValueError:
        return None
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address


def site_of(address: Address) -> Network:
    """The network that counts as one address: an IPv4 address, or an IPv6 /64.

    :param address: the address of a client.
    """
    if isinstance(address, IPv4Address):
        return IPv4Network(address)
    return IPv6Network((address, _IPV6_SITE_BITS), strict=False)


def source_of(host: str | None) -> str:
    """The name of what a client is counted for: its address or /64; ``local`` if it has none.

    :param host: the client's address as text; None if it has none.
    """
    address = address_of(host)
    if address is None:
        return "local"
    return str(address) if isinstance(address, IPv4Address) else str(site_of(address))
