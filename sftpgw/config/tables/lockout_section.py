"""The keys of ``[lockout]``."""

from __future__ import annotations

from collections.abc import Mapping

from sftpgw.config.ini_file import Key
from sftpgw.config.scalars.quantities import count, time
from sftpgw.config.tables.formats import DAY, FLAG, NETWORKS

LOCKOUT_KEYS: Mapping[str, Key] = {
    "enabled": Key(
        "enabled",
        FLAG,
        "Whether failed logins are counted, delayed and lead to bans. ``penalties`` of ``[ssh]`` "
        "are apart from that.",
    ),
    "allow_networks": Key(
        "allow_networks",
        NETWORKS,
        "Networks that are never banned, beside ``exempt_networks`` of ``[ssh]``: partners whom "
        "you trust behind one NAT, monitors, your own office.",
    ),
    "window": Key(
        "window_seconds",
        time(10, DAY),
        "How long failures add up, from the first one on.",
    ),
    "delay_after": Key(
        "delay_after",
        count(0, 1000),
        "After so many failures of a user or an address, each further attempt waits before it is "
        "judged: a second, and twice as long each time.",
    ),
    "max_delay": Key(
        "max_delay_seconds",
        time(0, 30),
        "The longest such wait, but not more than a quarter of ``login_grace`` of ``[ssh]``. "
        "``0s``: none.",
    ),
    "user_score": Key(
        "user_score",
        count(1, 10_000),
        "How many points ban a user at an address. A wrong password costs one, a wrong code two, a "
        "key none. Points at other addresses do not count, so that an attacker locks out no user.",
    ),
    "address_score": Key(
        "address_score",
        count(1, 10_000),
        "How many points, of all users, ban an address, or the /64 of an IPv6 address. A name that "
        "no user has costs three the first time.",
    ),
    "ban_time": Key(
        "ban_seconds",
        time(1, 30 * DAY),
        "How long the first ban lasts; each further one is twice as long.",
    ),
    "max_ban_time": Key(
        "max_ban_seconds",
        time(1, 365 * DAY),
        "How long the longest ban lasts. After as much time without one, the next is a first one. "
        "Not less than ``ban_time``.",
    ),
    "known_for": Key(
        "known_seconds",
        time(0, 365 * DAY),
        "How long after a login its address counts as one of the user's, where the user is not "
        "banned.",
    ),
}
