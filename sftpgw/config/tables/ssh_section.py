"""The keys of ``[ssh]``."""

from __future__ import annotations

from collections.abc import Mapping

from sftpgw.config.ini_file import Key
from sftpgw.config.scalars.connection_limits import PENALTY_FIELDS, penalties, startup_limits
from sftpgw.config.scalars.quantities import count, never_or, size, time
from sftpgw.config.scalars.value_format import ValueFormat, off_or, one_of
from sftpgw.config.tables.formats import NAMES, NETWORKS, PATH
from sftpgw.model.settings import Policy
from sftpgw.model.units import GIB, KIB, MIB

PENALTIES = ValueFormat(
    penalties,
    "word:time …",
    " ".join(f"{word}:time" for word in PENALTY_FIELDS),
)
STARTUPS = ValueFormat(startup_limits, "start:percent:full", "percent: 1 to 100")

SSH_KEYS: Mapping[str, Key] = {
    "login_grace": Key(
        "login_grace_seconds",
        time(1, 3600),
        "How long a client has to log in, from the moment it connects.",
    ),
    "auth_tries": Key(
        "auth_tries",
        count(1, 100),
        "How many failed tries end a connection. Each key that an agent offers in vain is a try; "
        "the ``none`` with which clients begin is not.",
    ),
    "sessions_per_connection": Key(
        "sessions_per_connection", count(1, 1000), "How many SSH channels one connection may open."
    ),
    "handles_per_session": Key(
        "handles_per_session",
        count(1, 100_000),
        "How many files and directories one SFTP session may have open.",
    ),
    "max_connections": Key(
        "max_connections",
        count(1, 100_000),
        "How many clients may be connected at once, logged in or not. Each needs a file "
        "descriptor (``ulimit -n``). Not less than the last number of ``max_startups``.",
    ),
    "connections_per_user": Key(
        "connections_per_user",
        count(1, 100_000),
        "How many of those may be logged in as one user.",
    ),
    "max_startups": Key(
        "max_startups",
        STARTUPS,
        "Limits for clients that have not logged in: from ``start`` of them on, ``percent`` of "
        "new connections are refused. The share grows up to ``full`` of them, from where on all "
        "are refused. An address that has such clients already is refused sooner.",
    ),
    "startups_per_address": Key(
        "startups_per_address",
        count(1, 10_000),
        "How many clients that have not logged in may come from one IPv4 address or IPv6 /64.",
    ),
    "startup_rate_per_address": Key(
        "startup_rate_per_address",
        count(1, 10_000),
        "How many connections a second one address may make without a login, once it has made "
        "``startups_per_address`` of them.",
    ),
    "penalties": Key(
        "penalties",
        off_or(PENALTIES),
        "How long an address is refused whose clients do not log in, as OpenSSH's "
        "PerSourcePenalties: each connection that ends without a login adds the time of its worst "
        "offence. ``authfail``: a login that failed; ``noauth``: none was tried; "
        "``grace-exceeded``: ``login_grace`` has passed. From ``min`` on, the address is refused "
        "until all of its time has passed; it has at most ``max``. What is left out keeps its "
        "default.",
    ),
    "exempt_networks": Key(
        "exempt_networks",
        NETWORKS,
        "Networks without the limits per address and without ``penalties``: partners behind one "
        "NAT.",
    ),
    "balancer_networks": Key(
        "balancer_networks",
        NETWORKS,
        "Where load balancers connect from that tell the client's address (``listen = "
        "haproxy:…``).",
    ),
    "banner_file": Key(
        "banner",
        PATH,
        "A file whose text, in UTF-8 and up to 16 KiB, clients see before they log in.",
    ),
    "keepalive_interval": Key(
        "keepalive_interval_seconds",
        never_or(time(1, 86400)),
        "How long a client may be silent before the gateway sends it a keepalive request.",
    ),
    "keepalive_count": Key(
        "keepalive_count",
        count(1, 100),
        "The number of keepalive requests without a reply that ends the connection.",
    ),
    "idle_timeout": Key(
        "idle_timeout_seconds",
        never_or(time(1, 30 * 86400)),
        "How long nothing may move on a session for which nothing is under way, before it is "
        "ended. It may end up to a minute later.",
    ),
    "rekey_bytes": Key(
        "rekey_bytes",
        # Up to 32 GiB, packets cannot be counted out: `ssh.rekey` tells why.
        size(MIB, 32 * GIB),
        "The number of bytes, both directions together, after which new keys are exchanged.",
    ),
    "rekey_interval": Key(
        "rekey_interval_seconds", time(60, 86400), "The time after which new keys are exchanged."
    ),
    "key_exchange_timeout": Key(
        "key_exchange_timeout_seconds", time(1, 3600), "How long a key exchange may take."
    ),
    "packet_before_login": Key(
        "packet_before_login_bytes",
        size(8 * KIB, MIB),
        "The longest SSH packet that is taken from a client before it has logged in.",
    ),
    "packet_after_login": Key(
        "packet_after_login_bytes",
        # At least what a channel announces (`ssh.channels`), and 1 KiB.
        size(257 * KIB, 4 * MIB),
        "The longest SSH packet that is taken from a client that has logged in.",
    ),
    "policy": Key(
        "policy",
        one_of(Policy),
        "Which algorithms are offered where the five lists below do not say it. ``modern``: what "
        "clients of the last years have. ``compatible``: besides, the curves of NIST, fixed groups "
        "with SHA-2, and MACs of the clear text, for which no attack is known. ``legacy``: "
        "besides, SHA-1 and CBC, for clients that have nothing else; a warning tells of each login "
        "that uses them.",
    ),
    "key_exchanges": Key(
        "key_exchanges",
        NAMES,
        "The key exchange methods that are offered, the preferred one first. By default those of "
        "``policy``, like the other lists.",
    ),
    "ciphers": Key("ciphers", NAMES, "The ciphers that are offered, the preferred one first."),
    "macs": Key("macs", NAMES, "The MACs that are offered, the preferred one first."),
    "host_key_algorithms": Key(
        "host_key_algorithms",
        NAMES,
        "The signature algorithms of host keys that are offered, as far as there are such keys.",
    ),
    "login_key_algorithms": Key(
        "login_key_algorithms",
        NAMES,
        "The algorithms with which users' keys may sign.",
    ),
}
