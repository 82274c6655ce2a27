"""What each command of ``sftpgw user`` does.

Knows: the keys of a user's section, and which of them a command changes.
Must not know: the command line, or how a file is replaced.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Protocol

import pyotp
import segno

from sftpgw.auth.authorized_keys import read_authorized_key
from sftpgw.auth.hashes.argon2_hash import MAX_PASSWORD_BYTES
from sftpgw.auth.login_keys import fingerprint
from sftpgw.auth.passwords import check_password_hash, hash_password, matches, needs_rehash
from sftpgw.config.ini_edits import (
    with_line,
    with_section,
    with_sections,
    with_value,
    without_key,
    without_line,
    without_section,
)
from sftpgw.config.ini_file import Faults, Section
from sftpgw.config.users_editor import EditRefused, NoSuchUser
from sftpgw.user_commands.foreign_users import ForeignUser
from sftpgw.user_commands.shown_users import DISABLED, HASH, KEYS, SECRETS, TOTP, needs_code


@dataclass(frozen=True, slots=True)
class OperatorTerminal:
    """How a command talks to the operator.

    :ivar say: prints a line.
    :ivar ask_new_password: asks for a new password, twice.
    :ivar ask_password: asks for the present password.
    """

    say: Callable[[str], None]
    ask_new_password: Callable[[], bytes]
    ask_password: Callable[[], bytes]


class UserEditor(Protocol):
    """Changes what is written of users, in files or in a table (`UsersEditor`, `TableEditor`)."""

    def file_of(self, section: str) -> Path | None:
        """The file, or the item, that has a section; None if there is none."""

    def file_for_new(self, section: str) -> Path:
        """The file, or the item, for a new section."""

    def edit(self, file: Path, change: Callable[[str], str]) -> bool:
        """Change its text; returns whether anything has changed."""

    def sections(self, faults: Faults) -> Mapping[str, Section]:
        """All sections by name."""

    def sections_for(self, name: str, faults: Faults) -> Mapping[str, Section]:
        """The section of one user, and those that apply to all or to groups."""


class UserActions:
    """Does what a command says.

    :param editor: changes files, or a table.
    :param terminal: talks to the operator.

    Each method raises `EditRefused` or ValueError if nothing is changed; both say why.
    """

    def __init__(self, editor: UserEditor, terminal: OperatorTerminal) -> None:
        self._editor = editor
        self._terminal = terminal

    def add(
        self,
        name: str,
        values: Sequence[tuple[str, str]],
        keys: Iterable[str],
        *,
        password: bool,
        issuer: str | None = None,
    ) -> None:
        """Add a user.

        :param name: the user's name.
        :param values: the keys of the section with their values.
        :param keys: lines or files of public keys.
        :param password: whether to ask for a password.
        :param issuer: what a phone app shows beside the name, to make a secret for one-time codes,
            too; None to make none.
        """
        if name.startswith("*") or not name:
            raise EditRefused(f"{name!r} is not a user name; a name does not begin with *")
        if self._editor.file_of(name) is not None:
            raise EditRefused(f"there is a user {name} already")
        public_keys = [line for given in keys for line in read_public_keys(given)]
        lines = [f"{key} = {_one_line(value)}" for key, value in values]
        if public_keys:
            lines += [f"{KEYS} =", *(f"    {line}" for line in public_keys)]
        if password:
            lines.append(f"{HASH} = {hash_password(self._terminal.ask_new_password())}")
        secret = pyotp.random_base32()
        if issuer is not None:
            lines.append(f"{TOTP} = {secret}")
        file = self._editor.file_for_new(name)
        self._editor.edit(file, lambda text: with_section(text, name, lines))
        self._terminal.say(f"{file}: [{name}] is new")
        if issuer is not None:
            self._enrol(name, secret, issuer)

    def passwd(self, name: str) -> None:
        """Give a user another password.

        :param name: the user's name.
        """
        self._file_of(name)
        self._set(name, HASH, hash_password(self._terminal.ask_new_password()))

    def rehash(self, name: str) -> None:
        """Replace an old kind of hash by a new one of the same password.

        :param name: the user's name.
        """
        known = self._value(name, HASH)
        if not known:
            raise EditRefused(f"{name} has no {HASH} in a section of their own")
        check_password_hash(known)
        if not needs_rehash(known):
            self._terminal.say(f"{name}: the hash is of the best kind already")
            return
        password = self._terminal.ask_password()
        if len(password) > MAX_PASSWORD_BYTES or not matches(password, known):
            raise EditRefused("this is not the password of the hash; nothing was changed")
        self._set(name, HASH, hash_password(password))

    def add_key(self, name: str, given: str) -> None:
        """Let a user log in with further keys.

        :param name: the user's name.
        :param given: a line, or a file of them.
        """
        known = {read_authorized_key(line).blob for line in self._keys(name)}
        for line in read_public_keys(given):
            key = read_authorized_key(line)
            if key.blob in known:
                self._terminal.say(f"{name} has {fingerprint(key.blob)} already")
                continue
            self._edit(name, partial(with_line, section=name, key=KEYS, line=line))
            self._terminal.say(f"{name}: {fingerprint(key.blob)} is new")

    def remove_key(self, name: str, given: str) -> None:
        """Take a key of a user away.

        :param name: the user's name.
        :param given: its fingerprint, its comment, or its line.
        """
        found = [line for line in self._keys(name) if _is_meant(line, given)]
        if len(found) != 1:
            what = "no key" if not found else "several keys"
            raise EditRefused(f"{name} has {what} with this fingerprint, comment or line: {given}")
        self._edit(name, lambda text: without_line(text, name, KEYS, found[0]))
        self._terminal.say(f"{name}: {_fingerprint(found[0])} is removed")

    def list_keys(self, name: str) -> None:
        """Print the keys of a user.

        :param name: the user's name.
        """
        for line in self._keys(name):
            self._terminal.say(f"{_fingerprint(line)}  {line}")

    def totp(self, name: str, issuer: str, *, replace: bool) -> None:
        """Make a secret for one-time codes, and show it to a phone app.

        :param name: the user's name.
        :param issuer: what the app shows beside the name.
        :param replace: whether to replace a secret, with which the old app's codes end.
        """
        if self._value(name, TOTP) and not replace:
            raise EditRefused(f"{name} has a {TOTP} already; --replace makes a new one")
        secret = pyotp.random_base32()
        self._set(name, TOTP, secret)
        self._enrol(name, secret, issuer)

    def _enrol(self, name: str, secret: str, issuer: str) -> None:
        uri = pyotp.TOTP(secret).provisioning_uri(name=name, issuer_name=issuer)
        self._terminal.say(f"Scan this with the app, or type {secret}:\n\n{qr_code(uri)}\n{uri}")
        if not needs_code(self._editor.sections_for(name, Faults()), name):
            self._terminal.say(f"No code is asked for yet: `require` of {name} does not have totp.")

    def remove_totp(self, name: str) -> None:
        """Take a user's secret for one-time codes away.

        :param name: the user's name.
        """
        self._edit(name, lambda text: without_key(text, name, TOTP))
        self._terminal.say(f"{name}: {TOTP} is removed")

    def disable(self, name: str) -> None:
        """Keep a user out.

        :param name: the user's name.
        """
        self._set(name, DISABLED, "yes")

    def enable(self, name: str) -> None:
        """Let a user in again.

        :param name: the user's name.
        """
        self._edit(name, lambda text: without_key(text, name, DISABLED))
        self._terminal.say(f"{name}: may log in")

    def remove(self, name: str) -> None:
        """Remove a user's section. The user's objects stay in the bucket.

        :param name: the user's name.
        """
        self._edit(name, lambda text: without_section(text, name))
        self._terminal.say(f"{name} is removed; the objects stay in the bucket")

    def add_foreign(self, users: Sequence[ForeignUser], *, dry_run: bool) -> int:
        """Add users of another program, those that load; tell what could not be carried over.

        :param users: the users.
        :param dry_run: whether to print the sections only.
        :returns: how many could not be added.
        """
        if dry_run or len({self._editor.file_for_new(user.name) for user in users}) > 1:
            refused = sum(not self._add_alone(user, dry_run=dry_run) for user in users)
        else:
            refused = self._add_to_one_file(users)
        for user in users:
            for left in user.left_out:
                self._terminal.say(f"{user.name}: not carried over: {left}")
        return refused

    def _add_to_one_file(self, users: Sequence[ForeignUser]) -> int:
        """Add users in few edits, each of which reads all users. Returns how many are refused."""
        known = self._editor.sections(Faults())
        for user in users:
            if user.name in known:
                self._terminal.say(f"{user.name}: NOT added: there is a user of this name already")
        new = [user for user in users if user.name not in known]
        return len(users) - len(new) + self._add_in_halves(new)

    def _add_in_halves(self, users: Sequence[ForeignUser]) -> int:
        """Add all users that can be. One that is refused is found by halves, not one by one."""
        if len(users) < 2:
            return sum(not self._add_alone(user, dry_run=False) for user in users)
        if self._add_together(users):
            return 0
        middle = len(users) // 2
        return self._add_in_halves(users[:middle]) + self._add_in_halves(users[middle:])

    def _add_together(self, users: Sequence[ForeignUser]) -> bool:
        """Add users in one edit; False if one is refused."""
        sections = [(user.name, user.lines) for user in users]
        try:
            file = self._editor.file_for_new(users[0].name)
            self._editor.edit(file, partial(with_sections, sections=sections))
        except (EditRefused, ValueError):
            return False
        for user in users:
            self._terminal.say(f"{user.name}: added")
        return True

    def _add_alone(self, user: ForeignUser, *, dry_run: bool) -> bool:
        """Add one user; tell if that is refused."""
        if dry_run:
            self._terminal.say("\n".join((f"[{user.name}]", *_hidden(user.lines), "")))
            return True
        try:
            if self._editor.file_of(user.name) is not None:
                raise EditRefused("there is a user of this name already")
            file = self._editor.file_for_new(user.name)
            self._editor.edit(file, partial(with_section, section=user.name, lines=user.lines))
        except (EditRefused, ValueError) as problem:
            self._terminal.say(f"{user.name}: NOT added: {problem}")
            return False
        self._terminal.say(f"{user.name}: added")
        return True

    def _file_of(self, name: str) -> Path:
        file = self._editor.file_of(name)
        if file is None or name.startswith("*"):
            raise NoSuchUser(name)
        return file

    def _edit(self, name: str, change: Callable[[str], str]) -> None:
        self._editor.edit(self._file_of(name), change)

    def _set(self, name: str, key: str, value: str) -> None:
        self._edit(name, lambda text: with_value(text, name, key, value))
        shown = "has another value" if key in SECRETS else f"= {value}"
        self._terminal.say(f"{self._file_of(name)}: [{name}] {key} {shown}")

    def _value(self, name: str, key: str) -> str:
        self._file_of(name)
        return self._editor.sections_for(name, Faults())[name].given.get(key, "")

    def _keys(self, name: str) -> list[str]:
        return [line for line in self._value(name, KEYS).split("\n") if line.strip()]


def read_public_keys(given: str) -> list[str]:
    """The lines of public keys in a file, or the line itself.

    :param given: a path, or a line of ``authorized_keys``.
    :raises ValueError: a key cannot be used; says why.
    """
    file = Path(given)
    try:
        text = file.read_text(encoding="utf-8") if len(given) < 1024 and file.exists() else given
    except (OSError, UnicodeDecodeError) as problem:
        raise ValueError(f"{given} cannot be read: {problem}") from problem
    lines = [line.strip() for line in text.splitlines()]
    keys = [line for line in lines if line and not line.startswith(("#", ";"))]
    if not keys:
        raise ValueError(f"{given} has no public key")
    for line in keys:
        try:
            read_authorized_key(line)
        except ValueError as problem:
            hint = "" if " " in given else " (a file of this name does not exist)"
            raise ValueError(f"not a public key: {problem}{hint}") from problem
    return keys


def qr_code(text: str) -> str:
    """A QR code of half blocks for a terminal.

    :param text: what it says.
    """
    out = io.StringIO()
    segno.make(text, error="m", micro=False).terminal(out=out, compact=True)
    return out.getvalue()


def _fingerprint(line: str) -> str:
    return fingerprint(read_authorized_key(line).blob)


def _is_meant(line: str, given: str) -> bool:
    """Whether a key is meant by its line, its fingerprint or its comment."""
    wanted = given.strip()
    try:
        blob = read_authorized_key(line).blob
    except ValueError:
        return wanted == line.strip()
    comment = line.partition(base64.b64encode(blob).decode("ascii"))[2].strip()
    return wanted in (line.strip(), fingerprint(blob), comment or None)


def _one_line(value: str) -> str:
    if "\n" in value or "\r" in value:
        raise ValueError("a value has several lines")
    return value


def _hidden(lines: Iterable[str]) -> list[str]:
    """The lines of a section without what the terminal must not show."""
    return [
        f"{key} = …" if (key := line.partition(" = ")[0]) in SECRETS else line for line in lines
    ]
