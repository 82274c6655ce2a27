"""The command line of ``sftpgw user``.

Knows: arguments, and which action each command is.
Must not know: what an action does.
"""

from __future__ import annotations

import getpass
import os
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from sftpgw.config.ini_file import Faults
from sftpgw.config.users_editor import EditRefused, UsersEditor, users_path
from sftpgw.startup import faults_with_users
from sftpgw.terminal import print_error, print_line
from sftpgw.user_commands.actions import OperatorTerminal, UserActions
from sftpgw.user_commands.foreign_users import AWS_TRANSFER, SFTPGO, read_foreign_users
from sftpgw.user_commands.shown_users import listed, shown

DONE, FAULT = 0, 1
PLACES = ("sftpgw.ini", "/etc/sftpgw/sftpgw.ini")
"""Where sftpgw.ini is looked for without ``--config``."""

Run = Callable[[Namespace, UserActions, Path], int | None]
"""Gets the arguments, the actions, and the file or directory of users."""

MAX_LINE_BYTES = 4096


def add_user_commands(commands: Any) -> None:
    """Add ``user`` to the commands of the program.

    :param commands: the subparsers.
    """
    user = commands.add_parser("user", help="add, show, change and remove users")
    user.add_argument(
        "--config",
        "-c",
        metavar="FILE",
        help=f"the path of an sftpgw.ini; default: {', else '.join(PLACES)}",
    )
    user.set_defaults(run=run_user_command)
    actions = user.add_subparsers(title="commands", metavar="COMMAND", required=True)
    _add_making(actions)
    _add_proving(actions)
    _add_showing(actions)


def _add_making(actions: Any) -> None:
    add = _named(actions, "add", "add a user", _add)
    add.add_argument("--key", action="append", default=[], help="a public key, or a file of them")
    add.add_argument("--password", action="store_true", help="ask for a password")
    for option in ("bucket", "prefix", "permissions", "groups", "require"):
        add.add_argument(f"--{option}", metavar="TEXT", help=f"{_key_of(option)} of the section")
    _named(actions, "disable", "keep a user out for now", lambda given, act, *_: act.disable(given.name))
    _named(actions, "enable", "let a user in again", lambda given, act, *_: act.enable(given.name))
    _named(
        actions,
        "remove",
        "remove a user; the objects stay in the bucket",
        lambda given, act, *_: act.remove(given.name),
    )
    imported = actions.add_parser("import", help="add the users of another program")
    imported.add_argument("--from", dest="source", choices=(AWS_TRANSFER, SFTPGO), required=True)
    imported.add_argument("--dry-run", action="store_true", help="print the sections only")
    imported.add_argument("file", metavar="FILE", help="what it has written; - is standard input")
    imported.set_defaults(action=_import)


def _add_proving(actions: Any) -> None:
    passwd = _named(actions, "passwd", "give a user another password", _passwd)
    passwd.add_argument(
        "--rehash", action="store_true", help="keep the password, and make a hash of the best kind"
    )
    key = _named(actions, "key", "list, add or remove the keys of a user", _key)
    which = key.add_mutually_exclusive_group()
    which.add_argument("--add", metavar="KEY", help="a public key, or a file of them")
    which.add_argument("--remove", metavar="KEY", help="its fingerprint, comment or line")
    totp = _named(actions, "totp", "make a secret for one-time codes, with a QR code", _totp)
    totp.add_argument("--issuer", default="sftpgw", help="what the app shows beside the name")
    how = totp.add_mutually_exclusive_group()
    how.add_argument("--replace", action="store_true", help="replace the secret")
    how.add_argument("--remove", action="store_true", help="take the secret away")


def _add_showing(actions: Any) -> None:
    _named(actions, "show", "what applies to a user, and from where it comes", _show)
    listing = actions.add_parser("list", help="list all users")
    listing.set_defaults(action=_list)


def _named(actions: Any, command: str, text: str, action: Run) -> ArgumentParser:
    parser: ArgumentParser = actions.add_parser(command, help=text)
    parser.add_argument("name", metavar="NAME", help="the user's name")
    parser.set_defaults(action=action)
    return parser


def run_user_command(given: Namespace) -> int:
    """Run one command.

    :param given: the arguments.
    :returns: the exit status.
    """
    try:
        config = _config_of(given.config)
        users = users_path(config)
        editor = UsersEditor(users, lambda path: faults_with_users(config, path))
        terminal = OperatorTerminal(
            lambda line: print_line(line, sys.stdout), _ask_twice, lambda: _ask("Password: ")
        )
        return given.action(given, UserActions(editor, terminal), users) or DONE
    except EditRefused as refusal:
        for reason in refusal.reasons:
            print_error(f"sftpgw user: {reason}")
    except (ValueError, OSError) as problem:
        print_error(f"sftpgw user: {problem}")
    return FAULT


def _config_of(given: str | None) -> Path:
    for place in (given,) if given else PLACES:
        if os.path.exists(place):
            return Path(place)
    raise EditRefused(f"there is no {given or ' and no '.join(PLACES)}; name it with --config")


def _key_of(option: str) -> str:
    return "key_prefix" if option == "prefix" else option


def _add(given: Namespace, actions: UserActions, *_: Path) -> None:
    options = ("bucket", "prefix", "permissions", "groups", "require")
    values = [(_key_of(each), value) for each in options if (value := getattr(given, each))]
    actions.add(given.name, values, given.key, password=given.password)


def _passwd(given: Namespace, actions: UserActions, *_: Path) -> None:
    if given.rehash:
        actions.rehash(given.name)
    else:
        actions.passwd(given.name)


def _key(given: Namespace, actions: UserActions, *_: Path) -> None:
    if given.add:
        actions.add_key(given.name, given.add)
    elif given.remove:
        actions.remove_key(given.name, given.remove)
    else:
        actions.list_keys(given.name)


def _totp(given: Namespace, actions: UserActions, *_: Path) -> None:
    if given.remove:
        actions.remove_totp(given.name)
    else:
        actions.totp(given.name, given.issuer, replace=given.replace)


def _import(given: Namespace, actions: UserActions, *_: Path) -> int:
    text = sys.stdin.read() if given.file == "-" else Path(given.file).read_text(encoding="utf-8")
    refused = actions.add_foreign(read_foreign_users(text, given.source), dry_run=given.dry_run)
    return FAULT if refused else DONE


def _show(given: Namespace, _actions: UserActions, users: Path) -> int:
    faults = Faults()
    return _print_all(shown(users, given.name, faults), faults)


def _list(_given: Namespace, _actions: UserActions, users: Path) -> int:
    faults = Faults()
    return _print_all(listed(users, faults), faults)


def _print_all(lines: Iterable[str], faults: Faults) -> int:
    for line in lines:
        print_line(line, sys.stdout)
    for fault in faults.lines:
        print_error(f"sftpgw user: {fault}")
    return FAULT if faults.lines else DONE


def _ask(prompt: str) -> bytes:
    """A password without echo; the next line of standard input, where that is no terminal."""
    if sys.stdin is not None and sys.stdin.isatty():
        try:
            return getpass.getpass(prompt).encode("utf-8", "surrogateescape")
        except EOFError:
            raise ValueError("no password was given") from None
    line = b"" if sys.stdin is None else sys.stdin.buffer.readline(MAX_LINE_BYTES)
    return line.removesuffix(b"\n").removesuffix(b"\r")


def _ask_twice() -> bytes:
    password = _ask("New password: ")
    if sys.stdin is not None and sys.stdin.isatty() and password != _ask("The same again: "):
        raise ValueError("the two passwords differ")
    return password
