"""Changes of the table of users, by hand of a command: an item is shown as a section of users.ini.

Knows: how an item and a section become one another, and that a change with a fault is none.
Must not know: what a command changes, or how a table is written.

Rules:

- A change is judged as the gateway judges the item at a login. One that brings a fault is refused;
  faults that were there before are not in the way.
- An item that no section can stand for is left alone: a line of a value that would be a comment.
- An item that another command has changed meanwhile is not overwritten (`aws.dynamodb`).
"""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from sftpgw.aws.dynamodb.items import MAX_NAME_BYTES, TableUser, read_item, write_item
from sftpgw.aws.dynamodb.table_writer import ItemChanged, TableWriter
from sftpgw.config.ini_edits import INDENT, with_section
from sftpgw.config.ini_file import Faults, FileText, Section, section_steps
from sftpgw.config.users_editor import EditRefused
from sftpgw.config.users_ini import is_common, read_user_sections
from sftpgw.errors import BadAnswer, ConfigError, SourceAway
from sftpgw.model.normalization import normalized
from sftpgw.model.steps import finish

JudgeItem = Callable[[str, Mapping[str, str]], object]
"""Makes a user of what an item says. Raises `ConfigError`."""


class TableEditor:
    """Changes items of the table of users. Its "files" are items.

    :param table: reads and writes items.
    :param users: the file or directory of users, whose ``[*]`` and groups count; None for none.
    :param judge: finds the faults of an item.
    """

    def __init__(self, table: TableWriter, users: Path | None, judge: JudgeItem) -> None:
        self._table = table
        self._users = users
        self._judge = judge
        self._place = Path(f"dynamodb:{table.table}")

    def file_of(self, section: str) -> Path | None:
        """The item of a user; None if there is none.

        :param section: the user's name.
        """
        return None if self._read(section) is None else self.file_for_new(section)

    def file_for_new(self, section: str) -> Path:
        """The item that a new user has.

        :param section: the user's name.
        :raises EditRefused: no item can have this name.
        """
        if "/" in section or not 0 < len(section.encode("utf-8")) <= MAX_NAME_BYTES:
            raise EditRefused(f"[{section}] is not a user name")
        return self._place / normalized(section)

    def edit(self, file: Path, change: Callable[[str], str]) -> bool:
        """Change an item.

        :param file: one of `file_of` or `file_for_new`.
        :param change: makes the new text of a section of the old one.
        :returns: whether anything has changed.
        :raises EditRefused: the item would have a fault, has changed meanwhile, or the table cannot
            be written.
        """
        name = file.name
        old = self._read(name)
        text = "" if old is None else _text_of(old, file)
        new = _given_in(change(text), file)
        if new == (None if old is None else old.given):
            return False
        self._refuse_faults(name, old, new)
        try:
            self._write(name, old, new)
        except ItemChanged:
            raise EditRefused(f"{file} was changed by another program; try again") from None
        except SourceAway as problem:
            raise EditRefused(problem.message) from None
        return True

    def sections(self, faults: Faults) -> dict[str, Section]:
        """The sections of all users, and ``[*]`` and groups of users.ini.

        :param faults: takes what is wrong.
        :raises EditRefused: the table cannot be read.
        """
        found = self._common(faults)
        try:
            for item in self._table.all():
                for user in _good(item, faults, self._place):
                    found[user.name] = Section(self._place, user.name, user.given, faults)
        except SourceAway as problem:
            raise EditRefused(problem.message) from None
        return found

    def sections_for(self, name: str, faults: Faults) -> dict[str, Section]:
        """The section of one user, if there is one, and ``[*]`` and groups of users.ini.

        :param name: the user's name.
        :param faults: takes what is wrong.
        """
        found = self._common(faults)
        user = self._read(name)
        if user is not None:
            found[name] = Section(self._place, name, user.given, faults)
        return found

    def _common(self, faults: Faults) -> dict[str, Section]:
        sections = {} if self._users is None else read_user_sections(self._users, faults) or {}
        return {name: each for name, each in sections.items() if is_common(name)}

    def _read(self, name: str) -> TableUser | None:
        try:
            item = self._table.get(normalized(name))
            return None if item is None else read_item(item, normalized(name))
        except BadAnswer as problem:
            text = f"the item {name} {problem.message}; change it by other means"
            raise EditRefused(text) from None
        except SourceAway as problem:
            raise EditRefused(problem.message) from None

    def _write(self, name: str, old: TableUser | None, new: Mapping[str, str] | None) -> None:
        now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        if old is None:
            self._table.add(write_item(TableUser(name, new or {}, 1), now))
            return
        before = self._table.get(name)
        if before is None or read_item(before, name) != old:
            raise ItemChanged
        if new is None:
            self._table.remove(before)
            return
        # What stays the same keeps its type, and null stays null.
        nulls = {key: value for key, value in before.items() if key not in old.given}
        kept = {key: before[key] for key, text in old.given.items() if new.get(key) == text}
        after = write_item(TableUser(name, new, (old.version or 0) + 1), now)
        self._table.change(before, {**nulls, **after, **kept})

    def _refuse_faults(
        self, name: str, old: TableUser | None, new: Mapping[str, str] | None
    ) -> None:
        before = set() if old is None else set(self._faults(name, old.given))
        after = () if new is None else self._faults(name, new)
        added = [each for each in after if each not in before]
        if added:
            raise EditRefused(*added)

    def _faults(self, name: str, given: Mapping[str, str]) -> tuple[str, ...]:
        try:
            self._judge(name, given)
        except ConfigError as error:
            return error.faults
        return ()


def _good(item: object, faults: Faults, place: Path) -> Iterator[TableUser]:
    try:
        yield read_item(item)
    except BadAnswer as problem:
        faults.add(place, f"an item {problem.message}")


def _text_of(user: TableUser, file: Path) -> str:
    """An item as a section of users.ini."""
    lines: list[str] = []
    for key, value in user.given.items():
        first, *more = value.split("\n")
        lines += [f"{key} = {first}", *(f"{INDENT}{line}" for line in more)]
    text = with_section("", user.name, lines)
    if _given_in(text, file) != user.given:
        text = "has what no section of users.ini can say; change it by other means"
        raise EditRefused(f"{file} {text}")
    return text


def _given_in(text: str, file: Path) -> Mapping[str, str] | None:
    """The keys of the section in a text; None if there is no section."""
    faults = Faults()
    sections = finish(section_steps(FileText(file, text), faults)) or {}
    if faults.lines:
        raise EditRefused(*faults.lines)
    for section in sections.values():
        return {key: value.strip("\n") for key, value in section.given.items()}
    return None
