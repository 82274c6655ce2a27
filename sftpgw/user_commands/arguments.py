"""The command line of ``sftpgw user``.

Knows: commands and their arguments. Must not know: what a command does.
"""

from __future__ import annotations

import os
from argparse import ArgumentParser, Namespace
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sftpgw.model.settings import DYNAMODB_SOURCE, FILE_SOURCE

PLACES = ("sftpgw.ini", "/etc/sftpgw/sftpgw.ini")
"""Where sftpgw.ini is looked for without ``--config``."""


def find_config(given: str | None) -> Path:
    """The path of sftpgw.ini.

    :param given: what ``--config`` says; None for the first of `PLACES` that exists.
    :raises ValueError: there is no such file.
    """
    for place in (given,) if given else PLACES:
        if os.path.exists(place):
            return Path(place)
    raise ValueError(f"there is no {given or ' and no '.join(PLACES)}; name it with --config")


SECTION_OPTIONS = ("bucket", "key_prefix", "permissions", "groups", "require")
"""The keys of a section that ``add`` has options for; ``--prefix`` is `key_prefix`."""

PLACES_OF_USERS = (FILE_SOURCE, DYNAMODB_SOURCE)
"""The sources of users that the command can write."""

FORMATS = ("aws-transfer", "sftpgo")


def add_user_commands(commands: Any, run: Callable[[Namespace], int]) -> None:
    """Add ``user`` to the commands of the program.

    :param commands: the subparsers.
    :param run: runs a command, whose name is ``action`` of the arguments.
    """
    user = commands.add_parser("user", help="add, show, change and remove users")
    user.set_defaults(run=run)
    actions = user.add_subparsers(title="commands", metavar="COMMAND", required=True)
    _add_making(actions)
    _add_proving(actions)
    _named(actions, "show", "tell what applies to a user, and from where it comes")
    _command(actions, "list", "list all users")
    _configured(actions, "create-table", "create the table that [auth] dynamodb_table names")


def _add_making(actions: Any) -> None:
    add = _named(actions, "add", "add a user")
    add.add_argument(
        "--key", action="append", default=[], help="a public key, or a file of them; several times"
    )
    add.add_argument("--password", action="store_true", help="ask for a password")
    add.add_argument("--totp", action="store_true", help="make a secret for one-time codes, too")
    _add_issuer(add)
    for key in SECTION_OPTIONS:
        option = "--prefix" if key == "key_prefix" else f"--{key}"
        add.add_argument(option, dest=key, metavar="TEXT", help=f"{key} of the section")
    _named(actions, "disable", "keep a user out for now")
    _named(actions, "enable", "let a user in again")
    _named(actions, "remove", "remove a user; the objects stay in the bucket")
    imported = _command(actions, "import", "add the users of another program")
    imported.add_argument("--from", dest="source", choices=FORMATS, required=True)
    imported.add_argument("--dry-run", action="store_true", help="print the sections only")
    imported.add_argument("file", metavar="FILE", help="what it has written; - is standard input")


def _add_proving(actions: Any) -> None:
    passwd = _named(actions, "passwd", "give a user another password")
    passwd.add_argument(
        "--rehash", action="store_true", help="keep the password, and make a hash of the best kind"
    )
    key = _named(actions, "key", "list, add or remove the keys of a user")
    which = key.add_mutually_exclusive_group()
    which.add_argument("--add", metavar="KEY", help="a public key, or a file of them")
    which.add_argument("--remove", metavar="KEY", help="its fingerprint, comment or line")
    totp = _named(actions, "totp", "make a secret for one-time codes, with a QR code")
    _add_issuer(totp)
    how = totp.add_mutually_exclusive_group()
    how.add_argument("--replace", action="store_true", help="replace the secret")
    how.add_argument("--remove", action="store_true", help="take the secret away")


def _add_issuer(command: ArgumentParser) -> None:
    command.add_argument(
        "--issuer", default="sftpgw", metavar="TEXT", help="what the app shows beside the name"
    )


def _command(actions: Any, command: str, text: str) -> ArgumentParser:
    parser = _configured(actions, command, text)
    parser.add_argument(
        "--to",
        choices=PLACES_OF_USERS,
        help="where users are written; default: file, if [auth] sources has it, else dynamodb",
    )
    return parser


def _configured(actions: Any, command: str, text: str) -> ArgumentParser:
    parser: ArgumentParser = actions.add_parser(command, help=text, description=text.capitalize())
    parser.add_argument(
        "--config",
        "-c",
        metavar="FILE",
        help=f"the path of an sftpgw.ini; default: {', else '.join(PLACES)}",
    )
    parser.set_defaults(action=command)
    return parser


def _named(actions: Any, command: str, text: str) -> ArgumentParser:
    parser = _command(actions, command, text)
    parser.add_argument("name", metavar="NAME", help="the user's name")
    return parser
