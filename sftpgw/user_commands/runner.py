"""Runs one command of ``sftpgw user``: from its arguments to its exit status.

Knows: which action each command is, and where sftpgw.ini is looked for.
Must not know: what an action does.
"""

from __future__ import annotations

import getpass
import sys
from argparse import Namespace
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from sftpgw.config.ini_file import Faults
from sftpgw.config.users_editor import EditRefused, UsersEditor, users_path
from sftpgw.startup import faults_with_users
from sftpgw.terminal import print_line
from sftpgw.user_commands.actions import OperatorTerminal, UserActions
from sftpgw.user_commands.arguments import SECTION_OPTIONS, find_config
from sftpgw.user_commands.foreign_users import read_foreign_users
from sftpgw.user_commands.shown_users import listed, shown

DONE, FAULT = 0, 1
MAX_LINE_BYTES = 4096

Run = Callable[[Namespace, UserActions, Path], int | None]
"""Gets the arguments, the actions, and the file or directory of users."""


def run_user_command(given: Namespace) -> int:
    """Run one command.

    :param given: the arguments.
    :returns: the exit status.
    """
    try:
        config = find_config(given.config)
        users = users_path(config)
        editor = UsersEditor(users, lambda path: faults_with_users(config, path))
        terminal = OperatorTerminal(
            lambda line: print_line(line, sys.stdout), _ask_twice, lambda: _ask("Password: ")
        )
        return ACTIONS[given.action](given, UserActions(editor, terminal), users) or DONE
    except EditRefused as refusal:
        for reason in refusal.reasons:
            _print_error(reason)
    except (ValueError, OSError) as problem:
        _print_error(problem)
    return FAULT


def _print_error(text: object) -> None:
    print_line(f"sftpgw user: {text}", sys.stderr)


def _add(given: Namespace, actions: UserActions, *_: Path) -> None:
    values = [(key, value) for key in SECTION_OPTIONS if (value := getattr(given, key))]
    issuer = given.issuer if given.totp else None
    actions.add(given.name, values, given.key, password=given.password, issuer=issuer)


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
        _print_error(fault)
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


ACTIONS: Mapping[str, Run] = {
    "add": _add,
    "disable": lambda given, actions, _: actions.disable(given.name),
    "enable": lambda given, actions, _: actions.enable(given.name),
    "remove": lambda given, actions, _: actions.remove(given.name),
    "import": _import,
    "passwd": _passwd,
    "key": _key,
    "totp": _totp,
    "show": _show,
    "list": _list,
}
