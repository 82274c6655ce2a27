"""What applies to a user: ``[*]``, the user's groups in their order, then the user's own section.

Knows: which section wins, where each value came from, and where ``{username}`` is replaced.
Must not know: what the values mean.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from sftpgw.config.ini_file import Section
from sftpgw.config.scalars.placeholders import fill_placeholders
from sftpgw.config.scalars.places import path_names
from sftpgw.config.tables import TEMPLATES, USER_KEYS

MOUNT = "mount"


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
    """

    key: str
    path: tuple[str, ...]
    text: str
    section: Section
    written: str
    layer: int
    index: int = 0

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
            names = path_names(fill_placeholders(path, known)) if path else ()
            filled = fill_placeholders(text, known) if key in TEMPLATES else text
        except ValueError as error:
            section.fault(written, error)
            continue
        if key != MOUNT:
            yield GivenValue(key, names, filled, section, written, layer)
            continue
        for index, line in enumerate(filled.split("\n")):
            if line.strip():
                yield GivenValue(key, names, line.strip(), section, written, layer, index)
