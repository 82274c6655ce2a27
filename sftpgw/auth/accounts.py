"""Whether an account may be used at all: not disabled, not expired, and from where it may be.

Knows: `LoginRules`. Must not know: where users come from, or what they have proven.

It is asked once a proof was right, so that the work for a proof is the same for all accounts. A
client is told nothing but that the login failed.
"""

from __future__ import annotations

from sftpgw.model.addresses import address_of
from sftpgw.model.users import LoginRules


def account_fault(rules: LoginRules, peer_host: str | None, now_seconds: float) -> str | None:
    """Why the user may not log in, for the log; None if nothing is against it.

    :param rules: the user's rules.
    :param peer_host: the client's address; None for a UNIX socket, which networks do not concern.
    :param now_seconds: the time, seconds since 1970.
    """
    if rules.is_disabled:
        return "the user is disabled"
    if rules.expires_seconds is not None and now_seconds >= rules.expires_seconds:
        return "the account has expired"
    address = address_of(peer_host)
    if rules.networks and address and not any(address in network for network in rules.networks):
        return "the client's address is in none of the user's networks"
    return None
