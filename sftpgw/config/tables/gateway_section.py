"""The keys of ``[gateway]``."""

from __future__ import annotations

from collections.abc import Mapping

from sftpgw.config.ini_file import Key
from sftpgw.config.scalars import words
from sftpgw.config.scalars.value_format import ValueFormat
from sftpgw.config.tables.formats import FLAG, PATH

ENDPOINTS = ValueFormat(words.lines, "lines", "Twisted endpoint strings, one a line")
PATHS = ValueFormat(words.lines, "lines", "paths, one a line")

GATEWAY_KEYS: Mapping[str, Key] = {
    "listen": Key(
        "listen",
        ENDPOINTS,
        "Where the gateway listens. ``haproxy:tcp:2022`` is for load balancers that send the "
        "PROXY protocol, and needs ``balancer_networks``.",
    ),
    "host_keys": Key(
        "host_keys",
        PATHS,
        "The private keys with which the server proves its identity, one of each type. Some "
        "clients know RSA or ECDSA only. Where it is blank, those of the three that exist, or that "
        "``create_host_keys`` makes. A key that other accounts can read is refused, as sshd does.",
    ),
    "create_host_keys": Key(
        "create_host_keys",
        FLAG,
        "Make each host key that does not exist: RSA of 3072 bits if the file's name has ``rsa`` "
        "in it, ECDSA on P-256 if it has ``ecdsa``, else ed25519. An existing file is never "
        "touched. Where the file system does not last, make the keys once with ssh-keygen and "
        "leave this at ``no``.",
    ),
    "users": Key(
        "users",
        PATH,
        "The file that says who may log in; or a directory, of which all files ``*.ini`` do.",
    ),
    "control": Key(
        "control",
        PATH,
        "The socket on which commands such as ``sftpgw bans`` ask this gateway: "
        "``/run/sftpgw/control.sock``. Only the gateway's user and root can connect. No other user "
        "may be able to write into its folder. If it is blank, there is none.",
    ),
}
