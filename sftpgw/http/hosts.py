"""The host of a URL."""

from __future__ import annotations

import ipaddress


def is_address(host: str) -> bool:
    """Whether a URL's host is an IP address, not a name (RFC 3986, section 3.2.2)."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
