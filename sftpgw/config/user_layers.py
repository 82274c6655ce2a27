"""What applies to a user: ``[*]``, the user's groups in their order, then the user's own section.

Knows: which section wins, where each value came from, and where ``{username}`` is replaced.
Must not know: what the values mean.

Of a value that has several words, the words are told apart before ``{username}`` is replaced: a
user's name may have blanks and quotes, and must not become further words.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from sftpgw.config.ini_file import Section
from sftpgw.config.mount_lines import mount_words
from sftpgw.config.scalars.placeholders import fill_placeholders
from sftpgw.config.scalars.places import path_names
from sftpgw.config.scalars.words import names
from sftpgw.config.tables import TEMPLATES, USER_KEYS

MOUNT, PRINCIPALS = "mount", "principals"

WORDS: Mapping[str, Callable[[str], tuple[str, ...]]] = {
    MOUNT: mount_words,
    PRINCIPALS: names,
}
"""The keys of `TEMPLATES` whose values have several words, and what tells these apart."""


@dataclass(frozen=True, slots=True)
class GivenValue:
    """A value that applies to a user, and where it was written.

    :ivar key: the name of the key.
    :ivar path: the names of the path behind the key, as in ``permissions /incoming``; none for the
        root.
    :ivar text: the value as it is written, with placeholders replaced. Of ``mount`` one line.
    :ivar section: the section that has it: ``*``, ``*GROUP``, or that of the user.
    :ivar written: the key as it is written there, with its path.
    :ivar layer: the position of the section among those that apply; the last one wins.
    :ivar index: which line of the key's value it is, from 0; 0 for the whole value.
    :ivar words: of a key in `WORDS` the words, in each of which placeholders are replaced.
    """

    key: str
    path: tuple[str, ...]
    text: str
    section: Section
    written: str
    layer: int
    index: int = 0
    words: tuple[str, ...] = ()

    @property
    def file(self) -> Path:
        """The file that has the value."""
        return self.section.file

    def fault(self, text: object) -> None:
        """Note that the value is wrong.

        :param text: what is wrong.
        """
        self.section.fault(self.written, text, self.index)


def split_key(written: str) -> tuple[str, str]:
    """A key's name, and the path behind it; the path is empty where there is none.

    :param written: the key as it is written: ``permissions /incoming``.
    """
    name, _, path = written.partition(" ")
    if path and name in USER_KEYS and USER_KEYS[name].takes_path:
        return name, path.strip()
    return written, ""


def applicable(layers: Iterable[Section], name: str) -> list[GivenValue]:
    """The values that apply to a user: of each key and path the last one, of mounts all lines.

    What cannot be read is a fault of its section, and left out.

    :param layers: the sections, the one that wins last.
    :param name: the user's name.
    """
    found: dict[tuple[str, tuple[str, ...]], GivenValue] = {}
    mounts: list[GivenValue] = []
    for number, section in enumerate(layers):
        for given in values_of(section, name, number):
            before = found.get((given.key, given.path))
            if given.key == MOUNT:
                mounts.append(given)
            elif before is not None and before.layer == given.layer:
                given.fault(f"is the same as {before.written!r}; keep one")
            else:
                found[given.key, given.path] = given
    return [*found.values(), *mounts]


def values_of(section: Section, name: str, layer: int = 0) -> Iterator[GivenValue]:
    """The values of one section for one user. What cannot be read is a fault.

    :param section: the section.
    :param name: the user's name.
    :param layer: see `GivenValue`.
    """
    known = {"username": name}
    for written, text in section.given.items():
        key, path = split_key(written)
        try:
            segments = path_names(fill_placeholders(path, known)) if path else ()
            for index, line in enumerate(text.split("\n") if key == MOUNT else [text]):
                if key != MOUNT or line.strip():
                    filled, words = _filled(key, line, known)
                    yield GivenValue(key, segments, filled, section, written, layer, index, words)
        except ValueError as error:
            section.fault(written, error)


def _filled(key: str, text: str, known: Mapping[str, str]) -> tuple[str, tuple[str, ...]]:
    """A value with its placeholders replaced, and its words."""
    if key not in TEMPLATES:
        return text, ()
    words = WORDS[key](text) if key in WORDS else ()
    filled = fill_placeholders(text, known)
    return filled, tuple(fill_placeholders(word, known) for word in words)
