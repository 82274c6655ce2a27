"""The files of users, and those of ``[auth]`` that count for all: read at the start and later.

Knows: which files there are, when one of them has changed, and what was said before.
Must not know: when they are read, or what becomes of the users.

Files are read in a thread. What they say is judged in steps, in the reactor's thread: in another
thread that would hold Python's lock against all clients.
"""

from __future__ import annotations

import os
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from sftpgw.config.exposure import warn_if_open_to_all
from sftpgw.config.given_users import GivenUsers
from sftpgw.config.ini_file import Faults, FileText, read_text
from sftpgw.config.key_files import TrustFiles
from sftpgw.config.users_ini import NOTHING_READ, ReadUsers, UserRules, user_files, user_steps
from sftpgw.model.key_trust import KeyTrust
from sftpgw.model.settings import FILE_SOURCE, AuthSettings, FileUsers, MakeUser
from sftpgw.model.steps import Steps


@dataclass(frozen=True, slots=True)
class LoadedFiles:
    """What the files say, not judged yet.

    :ivar texts: what the files of users say.
    :ivar trust: what the files of ``[auth]`` say.
    :ivar faults: what is wrong so far.
    """

    texts: tuple[FileText, ...]
    trust: KeyTrust
    faults: Faults


class UserFiles:
    """The users of files, and what files say of users of other sources.

    :param path: the file or directory of ``[gateway] users``.
    :param rules: what users are judged by.
    :param auth: which sources there are.
    :param trust: the files of ``[auth]``.
    :ivar read_state: what `state` was when the files were read last.
    :ivar needs_bucket: whether a user of the last read has no bucket but that of ``[s3]``.
    """

    def __init__(self, path: Path, rules: UserRules, auth: AuthSettings, trust: TrustFiles) -> None:
        self.read_state: Hashable = None
        self.needs_bucket = False
        self._path = path if FILE_SOURCE in auth.sources else None
        self._rules = rules
        self._auth = auth
        self._trust = trust
        self._secret_files: set[Path] = set()
        self._before: ReadUsers = NOTHING_READ
        self._make_user: MakeUser | None = None

    def paths(self) -> list[Path]:
        """The files as they are now. Blocks."""
        return [*(user_files(self._path) if self._path else ()), *self._trust.paths]

    def folder(self) -> Path | None:
        """The directory of users; None if there is none. Blocks."""
        return self._path if self._path is not None and self._path.is_dir() else None

    def state(self) -> Hashable:
        """What changes whenever a file does: the name, size, times and inode of each. Blocks."""
        return tuple(map(_state_of, self.paths()))

    def load(self) -> LoadedFiles:
        """Read the files. Blocks."""
        self.read_state = self.state()
        faults = Faults()
        trust = self._trust.read(faults)
        files = user_files(self._path) if self._path else ()
        return LoadedFiles(tuple(map(read_text, files)), trust, faults)

    def steps(self, loaded: LoadedFiles) -> Steps[FileUsers]:
        """Judge what `load` has returned, by the settings of the start.

        :param loaded: what the files say.
        :raises ConfigError: with every fault of all files.
        """
        faults = loaded.faults
        users = yield from self.judge(loaded.texts, loaded.trust, faults)
        if self.needs_bucket and not self._rules.stores.s3.bucket:
            faults.add(Path(str(self._path)), "has a user without a bucket, and [s3] has none")
        if faults.lines:
            raise faults.error
        return users

    def judge(self, texts: Sequence[FileText], trust: KeyTrust, faults: Faults) -> Steps[FileUsers]:
        """The users. Those at fault are among them, with harmless values in their gaps.

        :param texts: what the files of users say.
        :param trust: what the files of ``[auth]`` say.
        :param faults: takes what is wrong; users of whom the same is said are used again if there
            is nothing.
        """
        read = ReadUsers()
        if self._path is not None:
            found = yield from user_steps(texts, self._rules, faults, self._before)
            read = found or read
            is_all = self._auth.sources == (FILE_SOURCE,)
            if is_all and found is not None and not found.users:
                faults.add(self._path, "has no user; add a section [name] for each")
        self.needs_bucket, self._secret_files = read.needs_bucket, read.secret_files
        make_user = self._maker(read)
        if not faults.lines:
            self._before, self._make_user = read, make_user
        return FileUsers(MappingProxyType(read.users), trust, make_user)

    def warn_of_secrets(self, faults: Faults) -> None:
        """Warn of files with secrets that every account of the machine can read. Blocks.

        :param faults: takes the warnings.
        """
        for file in sorted(self._secret_files):
            warn_if_open_to_all(file, "password hashes", faults)

    def _maker(self, read: ReadUsers) -> MakeUser | None:
        """What makes users of other sources; the same as before if the same is said of all."""
        if self._auth.sources == (FILE_SOURCE,):
            return None
        said = {name: dict(each.given) for name, each in read.common.items()}
        before = {name: dict(each.given) for name, each in self._before.common.items()}
        if self._make_user is not None and said == before:
            return self._make_user
        return GivenUsers(read.common, self._rules, self._auth.allowed_buckets).make


def _state_of(file: Path) -> Hashable:
    try:
        found = os.stat(file)
    except OSError:
        return (str(file),)
    return str(file), found.st_mtime_ns, found.st_ctime_ns, found.st_size, found.st_ino
