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

from sftpgw.aws.dynamodb.table_place import table_place
from sftpgw.aws.dynamodb.table_writer import TableWriter
from sftpgw.config.ini_file import Faults
from sftpgw.config.users_editor import (
    EditRefused,
    NoSuchUser,
    UsersEditor,
    configured_sources,
    users_path,
)
from sftpgw.errors import ConfigError, SourceAway
from sftpgw.model.settings import DYNAMODB_SOURCE, FILE_SOURCE, Settings
from sftpgw.startup import faults_with_users, read_settings
from sftpgw.terminal import print_line
from sftpgw.user_commands.actions import OperatorTerminal, UserActions, UserEditor
from sftpgw.user_commands.arguments import SECTION_OPTIONS, find_config
from sftpgw.user_commands.foreign_users import read_foreign_users
from sftpgw.user_commands.shown_users import listed, shown
from sftpgw.user_commands.table_editor import TableEditor

DONE, FAULT = 0, 1
CREATE_TABLE = "create-table"
MAX_LINE_BYTES = 4096

Run = Callable[[Namespace, UserActions, UserEditor], int | None]
"""Gets the arguments, the actions, and what is written of users."""


def run_user_command(given: Namespace) -> int:
    """Run one command.

    :param given: the arguments.
    :returns: the exit status.
    """
    try:
        config = find_config(given.config)
        if given.action == CREATE_TABLE:
            return _create_table(config)
        editor = _editor(config, given.to)
        terminal = OperatorTerminal(
            lambda line: print_line(line, sys.stdout), _ask_twice, lambda: _ask("Password: ")
        )
        return ACTIONS[given.action](given, UserActions(editor, terminal), editor) or DONE
    except (EditRefused, ConfigError) as refusal:
        for reason in refusal.reasons if isinstance(refusal, EditRefused) else refusal.faults:
            _print_error(reason)
        if isinstance(refusal, NoSuchUser) and _has_other_place(config, given.to):
            _print_error("only the files were looked at; add --to dynamodb for the table")
    except (ValueError, OSError, SourceAway) as problem:
        _print_error(problem)
    return FAULT


def _editor(config: Path, place: str | None) -> UserEditor:
    """What changes users, in the place that the option or the configuration says."""
    sources = configured_sources(config)
    has_only_table = DYNAMODB_SOURCE in sources and FILE_SOURCE not in sources
    if place == DYNAMODB_SOURCE or (place is None and has_only_table):
        return _table_editor(config)
    return UsersEditor(users_path(config), lambda path: faults_with_users(config, path))


def _has_other_place(config: Path, place: str | None) -> bool:
    """Whether a command without ``--to`` has looked at files, and there is a table, too."""
    return place is None and {FILE_SOURCE, DYNAMODB_SOURCE} <= set(configured_sources(config))


def _table_editor(config: Path) -> TableEditor:
    settings, table = _table(config)
    make_user = settings.make_user
    has_files = FILE_SOURCE in settings.auth.sources
    return TableEditor(
        table,
        users_path(config) if has_files else None,
        lambda name, given: make_user and make_user(name, given, DYNAMODB_SOURCE, ()),
    )


def _table(config: Path) -> tuple[Settings, TableWriter]:
    settings = read_settings(str(config), is_start=False)
    if DYNAMODB_SOURCE not in settings.auth.sources:
        raise EditRefused(f"{config}: [auth] sources does not have dynamodb")
    return settings, TableWriter(settings.auth.dynamodb_table, table_place(settings))


def _create_table(config: Path) -> int:
    settings, table = _table(config)
    region = table_place(settings).region
    if not table.create():
        raise EditRefused(f"there is a table {table.table} in {region} already")
    print_line(f"{table.table} in {region} is new", sys.stdout)
    return DONE


def _print_error(text: object) -> None:
    print_line(f"sftpgw user: {text}", sys.stderr)


def _add(given: Namespace, actions: UserActions, *_: UserEditor) -> None:
    values = [(key, value) for key in SECTION_OPTIONS if (value := getattr(given, key))]
    issuer = given.issuer if given.totp else None
    actions.add(given.name, values, given.key, password=given.password, issuer=issuer)


def _passwd(given: Namespace, actions: UserActions, *_: UserEditor) -> None:
    if given.rehash:
        actions.rehash(given.name)
    else:
        actions.passwd(given.name)


def _key(given: Namespace, actions: UserActions, *_: UserEditor) -> None:
    if given.add:
        actions.add_key(given.name, given.add)
    elif given.remove:
        actions.remove_key(given.name, given.remove)
    else:
        actions.list_keys(given.name)


def _totp(given: Namespace, actions: UserActions, *_: UserEditor) -> None:
    if given.remove:
        actions.remove_totp(given.name)
    else:
        actions.totp(given.name, given.issuer, replace=given.replace)


def _import(given: Namespace, actions: UserActions, *_: UserEditor) -> int:
    text = sys.stdin.read() if given.file == "-" else Path(given.file).read_text(encoding="utf-8")
    refused = actions.add_foreign(read_foreign_users(text, given.source), dry_run=given.dry_run)
    return FAULT if refused else DONE


def _show(given: Namespace, _actions: UserActions, editor: UserEditor) -> int:
    faults = Faults()
    sections = editor.sections_for(given.name, faults)
    return _print_all(shown(sections, given.name, faults), faults)


def _list(_given: Namespace, _actions: UserActions, editor: UserEditor) -> int:
    faults = Faults()
    return _print_all(listed(editor.sections(faults)), faults)


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
