"""The command lines of ``sftpgw bans`` and ``sftpgw unban``.

Knows: commands and their arguments. Must not know: what a command does.
"""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Callable
from typing import Any


def add_ban_commands(commands: Any, run: Callable[[Namespace], int]) -> None:
    """Add both to the commands of the program.

    :param commands: the subparsers.
    :param run: runs one, whose name is ``action`` of the arguments.
    """
    bans = commands.add_parser("bans", help="list who is banned after failed logins")
    bans.add_argument("--json", action="store_true", help="print JSON")
    unban = commands.add_parser("unban", help="end the bans of an address or of a user")
    unban.add_argument("name", metavar="ADDRESS|USER")
    for action, parser in (("bans", bans), ("unban", unban)):
        add_place(parser)
        parser.set_defaults(run=run, action=action)


def add_place(parser: ArgumentParser) -> None:
    """Add the options that say where the gateway's control socket is.

    :param parser: of a command.
    """
    place = parser.add_mutually_exclusive_group()
    place.add_argument(
        "--config", "-c", metavar="FILE", help="the path of the gateway's sftpgw.ini"
    )
    place.add_argument("--socket", metavar="PATH", help="instead, the path of its control socket")
