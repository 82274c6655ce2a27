"""Changes of users.ini, or of one file of a directory of users, by hand of a command.

Knows: how a file is replaced at once, and that two commands must not edit at the same time.
Must not know: what is changed, or how a configuration is judged: `judge` is an argument.

Rules:

- One command edits at a time: it locks the folder of the file (flock).
- The new file is written beside the old one, judged there, written through to the disk, and then
  takes the old one's name. So readers see the old file or the new one, and nothing else.
- The mode and the owner stay. A new file is for its owner only, 0600.
- A file that another program has changed meanwhile is not overwritten.
- A change that brings a fault is refused; faults that were there before are not in the way.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from sftpgw.config import ini_edits
from sftpgw.config.ini_file import Faults, Section, read_sections
from sftpgw.config.scalars.user_rights import user_sources
from sftpgw.config.users_ini import read_user_sections
from sftpgw.model.settings import FILE_SOURCE

Judge = Callable[[Path], Mapping[str, str]]
"""The faults of the configuration, if the users were those of this file or directory: each by what
it says without the number of its line, which an edit above it changes."""

NEW_FILE_MODE = 0o600
DEFAULT_USERS = "users.ini"


class EditRefused(Exception):
    """Nothing was changed.

    :param reasons: why, one or more lines.
    """

    def __init__(self, *reasons: str) -> None:
        super().__init__("\n".join(reasons))
        self.reasons = reasons


class NoSuchUser(EditRefused):
    """There is no user of this name in the place that was looked at.

    :param name: the name.
    """

    def __init__(self, name: str) -> None:
        super().__init__(f"there is no user {name}")


def users_path(config: Path) -> Path:
    """The file or directory of users that an sftpgw.ini names.

    :param config: the path of sftpgw.ini.
    :raises EditRefused: it cannot be read.
    """
    given = _values_in(config, "gateway")
    return config.absolute().parent / (given.get("users") or DEFAULT_USERS)


def configured_sources(config: Path) -> tuple[str, ...]:
    """The sources of users that an sftpgw.ini names, in their order.

    :param config: the path of sftpgw.ini.
    :raises EditRefused: it cannot be read.
    :raises ValueError: it names another source.
    """
    return user_sources(_values_in(config, "auth").get("sources") or FILE_SOURCE)


def _values_in(config: Path, section: str) -> Mapping[str, str]:
    faults = Faults()
    sections = read_sections(config.absolute(), faults)
    if sections is None:
        raise EditRefused(*faults.lines)
    return sections[section].given if section in sections else {}


@dataclass(frozen=True, slots=True)
class _Old:
    """A file as it was read; None for its state if there is none."""

    text: str
    state: os.stat_result | None


class UsersEditor:
    """Changes the file that has a user's section.

    :param path: the file or directory of ``[gateway] users``.
    :param judge: finds the faults of the configuration with other users.
    :ivar path: the same, without symbolic links.
    """

    def __init__(self, path: Path, judge: Judge) -> None:
        self.path = Path(os.path.realpath(path))
        self._judge = judge

    def sections(self, faults: Faults) -> Mapping[str, Section]:
        """The sections of all files, by name.

        :param faults: takes what is wrong.
        """
        return read_user_sections(self.path, faults) or {}

    def sections_for(self, name: str, faults: Faults) -> Mapping[str, Section]:
        """The section of one user, and ``[*]`` and groups; there may be others among them.

        :param name: the user's name.
        :param faults: takes what is wrong.
        """
        return self.sections(faults)

    def file_of(self, section: str) -> Path | None:
        """The file that has a section; None if no file has it.

        :param section: its name.
        """
        return next(
            (file for file in self._files() if ini_edits.has_section(_read(file).text, section)),
            None,
        )

    def file_for_new(self, section: str) -> Path:
        """The file for a new section: in a directory, one of its own.

        :param section: its name.
        :raises EditRefused: no file can have this name.
        """
        if not self.path.is_dir():
            return self.path
        if "/" in section or section.startswith("."):
            raise EditRefused(f"[{section}] is not a user name")
        return self.path / f"{section}.ini"

    def edit(self, file: Path, change: Callable[[str], str]) -> bool:
        """Replace a file by its changed text.

        :param file: one of `file_of` or `file_for_new`.
        :param change: makes the new text of the old one.
        :returns: whether anything has changed.
        :raises EditRefused: the configuration would have a fault, or the file cannot be written.
        """
        target = Path(os.path.realpath(file))
        try:
            with _locked(target.parent):
                old = _read(target)
                new = change(old.text)
                if new == old.text:
                    return False
                self._replace(target, old, new)
        except OSError as problem:
            raise EditRefused(f"{problem.filename or target}: {problem.strerror}") from problem
        return True

    def _files(self) -> list[Path]:
        if not self.path.is_dir():
            return [self.path]
        return sorted(each for each in self.path.glob("*.ini") if not each.name.startswith("."))

    def _replace(self, target: Path, old: _Old, new: str) -> None:
        folder = Path(tempfile.mkdtemp(prefix=".sftpgw-user-", dir=target.parent))
        try:
            written = folder / target.name
            _write(written, new, old.state)
            self._refuse_faults(folder, written, target)
            if _state(target) != _state_of(old.state):
                raise EditRefused(f"{target} was changed by another program; try again")
            written.replace(target)
            _sync(target.parent)
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def _refuse_faults(self, folder: Path, written: Path, target: Path) -> None:
        """Judge the users with the new file in place of the old one."""
        users = written
        if self.path.is_dir():
            users = folder
            for other in self._files():
                if other.name != target.name:
                    (folder / other.name).symlink_to(os.path.realpath(other))
        before = self._judge(self.path)
        place = str(self.path if self.path.is_dir() else target)
        after = self._judge(users)
        added = [
            fault.replace(str(users), place)
            for unplaced, fault in after.items()
            if unplaced.replace(str(users), place) not in before
        ]
        if added:
            raise EditRefused(*added)


def _read(file: Path) -> _Old:
    try:
        with file.open("rb") as opened:
            return _Old(opened.read().decode("utf-8"), os.fstat(opened.fileno()))
    except FileNotFoundError:
        return _Old("", None)
    except OSError as problem:
        raise EditRefused(f"{file}: {problem.strerror}") from problem
    except UnicodeDecodeError as problem:
        raise EditRefused(f"{file}: is not UTF-8 at byte {problem.start}") from problem


def _write(file: Path, text: str, like: os.stat_result | None) -> None:
    mode = NEW_FILE_MODE if like is None else like.st_mode & 0o777
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, NEW_FILE_MODE)
    with open(descriptor, "wb") as opened:
        if like is not None:
            os.fchown(descriptor, like.st_uid, like.st_gid)
        os.fchmod(descriptor, mode)
        opened.write(text.encode("utf-8"))
        opened.flush()
        os.fsync(descriptor)


def _state(file: Path) -> tuple[int, int, int] | None:
    try:
        return _state_of(file.stat())
    except FileNotFoundError:
        return None


def _state_of(state: os.stat_result | None) -> tuple[int, int, int] | None:
    return None if state is None else (state.st_ino, state.st_size, state.st_mtime_ns)


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError:
        raise EditRefused(f"another command edits files in {folder}; try again") from None
    finally:
        os.close(descriptor)
