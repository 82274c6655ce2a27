"""What the configuration reference and the annotated examples say of each key.

All of it comes from `sftpgw.config.tables`, the defaults from the settings' own classes. Nothing
here needs Sphinx. Run as a program, this writes ``etc/sftpgw.ini``::

    python docs/extensions/described_keys.py >etc/sftpgw.ini
"""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))

from sftpgw.config.ini_file import Key  # noqa: E402
from sftpgw.config.scalars.connection_limits import penalties_text  # noqa: E402
from sftpgw.config.scalars.quantities import size_text  # noqa: E402
from sftpgw.config.tables import SECTIONS, USER_KEYS  # noqa: E402
from sftpgw.model.settings import (  # noqa: E402
    HOST_KEY_NAMES,
    AuthSettings,
    FilesSettings,
    GatewaySettings,
    LimitSettings,
    LockoutSettings,
    PenaltySettings,
    SshSettings,
    StartupLimits,
    StoreSettings,
)
from sftpgw.model.store import Capabilities  # noqa: E402
from sftpgw.ssh.algorithms import KNOWN, Offer  # noqa: E402

USERS = "users.ini"
"""What stands for a section's name where a key belongs to users.ini."""

DEFAULTS: Mapping[str, object] = {
    "gateway": GatewaySettings(host_keys=HOST_KEY_NAMES),
    "s3": StoreSettings(),
    "ssh": SshSettings(),
    "auth": AuthSettings(),
    "lockout": LockoutSettings(),
    "limits": LimitSettings(),
    "files": FilesSettings(),
}
"""Settings as they are where every key is left out, by section."""

OTHER_DEFAULTS = {
    ("gateway", "users"): "users.ini",
    (USERS, "permissions"): "all of them",
    (USERS, "weight"): "1",
}
"""Defaults of keys that fill no field of a settings class."""

EXAMPLE_VALUES = {
    ("gateway", "host_keys"): "".join(f"\n    {name}" for name in HOST_KEY_NAMES),
    ("gateway", "create_host_keys"): "yes",
    ("s3", "bucket"): "",
}
"""What the example sets instead of showing the default."""

EXAMPLE_HEAD = """\
# sftpgw: an SFTP server whose disk is S3.
#
#     sftpgw check --config sftpgw.ini
#     sftpgw serve --config sftpgw.ini
#
# What is commented out shows the default. Fill in the bucket, replace the key in users.ini,
# and this file works as it is. Comments have a line of their own: behind a value, # and ;
# belong to the value. Sizes are whole numbers of KiB, MiB or GiB, times numbers of s, m, h
# or d. Paths are relative to this file. This file is made of the same tables as the
# configuration reference in docs/.
"""


@dataclass(frozen=True, slots=True)
class DescribedKey:
    """A key as the reference shows it; texts are reStructuredText but for `default`.

    :param section: its section of sftpgw.ini, or ``users.ini``.
    :param default: as it would be written; empty if leaving the key out means nothing at all.
    """

    section: str
    name: str
    kind: str
    default: str
    bounds: str
    meaning: str
    since: str

    @property
    def title(self) -> str:
        """The name by which other pages refer to it: ``[s3] part_size``."""
        place = self.section if self.section == USERS else f"[{self.section}]"
        return f"{place} {self.name}"


def describe_section(section: str) -> Iterator[DescribedKey]:
    """The keys of a section of sftpgw.ini, or of a user, in the order of their table."""
    keys = USER_KEYS if section == USERS else SECTIONS[section]
    for name, key in keys.items():
        yield DescribedKey(
            section=section,
            name=name,
            kind=key.format.kind,
            default=default_text(section, name, key),
            bounds=bounds_text(name, key),
            meaning=key.meaning,
            since=key.since,
        )


def default_text(section: str, name: str, key: Key) -> str:
    """The default as it would be written; empty if there is none."""
    if (section, name) in OTHER_DEFAULTS:
        return OTHER_DEFAULTS[section, name]
    if section == USERS:
        return ""
    if name in KNOWN:
        return " ".join(_default_algorithms(name))
    return value_text(getattr(DEFAULTS[section], key.field), key.format.kind)


def _default_algorithms(name: str) -> list[str]:
    offered = Offer.of(SshSettings())
    return [algorithm.decode() for algorithm in getattr(offered, name)]


def value_text(value: object, kind: str) -> str:
    """`value` in the way in which a value of this `kind` is written."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, StartupLimits):
        return f"{value.start}:{value.drop_percent}:{value.full}"
    if isinstance(value, PenaltySettings):
        return penalties_text(value)
    if isinstance(value, (int, float)):
        return _number_text(value, kind)
    if isinstance(value, tuple):
        return ("\n" if kind == "lines" else " ").join(value)
    texts = {None: _none_text(kind), Capabilities(): ""}
    return texts[value] if value in texts else _word(value)


def _none_text(kind: str) -> str:
    if kind in ("choice", "yes or no"):
        return ""
    return "auto" if kind.endswith("auto") else "off"


def _word(value: object) -> str:
    return str(value.value if isinstance(value, Enum) else value)


def _number_text(value: float, kind: str) -> str:
    if kind == "size":
        return size_text(int(value))
    if kind == "time":
        return _time_text(value)
    return f"{value:04o}" if kind == "mode" else str(value)


def _time_text(seconds: float) -> str:
    for unit, name in ((86400, "d"), (3600, "h"), (60, "m")):
        if seconds > 60 and seconds % unit == 0:
            return f"{seconds / unit:g}{name}"
    return f"{seconds:g}s"


def bounds_text(name: str, key: Key) -> str:
    """Which values are taken; for a list of algorithms, those that are known."""
    if name in KNOWN:
        return " ".join(KNOWN[name])
    return key.format.bounds


def example_text() -> str:
    """The content of ``etc/sftpgw.ini``."""
    sections = "\n".join(map(_example_section, SECTIONS))
    return f"{EXAMPLE_HEAD}\n{sections}"


def _example_section(section: str) -> str:
    keys = "#\n".join(map(_example_key, describe_section(section)))
    return f"[{section}]\n{keys}"


def _example_key(key: DescribedKey) -> str:
    text = f"{key.meaning} {_bounds_sentence(key)}".replace("``", "").strip()
    lines = textwrap.wrap(
        text,
        width=96,
        initial_indent="# ",
        subsequent_indent="# ",
        break_on_hyphens=False,
        break_long_words=False,
    )
    return "\n".join([*lines, _example_value(key)]) + "\n"


def _bounds_sentence(key: DescribedKey) -> str:
    if not key.bounds:
        return ""
    if key.kind == "names":
        return f"Known: {key.bounds}."
    if key.kind == "choice":
        return f"One of: {key.bounds}."
    if key.kind in ("number", "size", "time"):
        return f"From {key.bounds}."
    return f"({key.bounds})"


def _example_value(key: DescribedKey) -> str:
    value = EXAMPLE_VALUES.get((key.section, key.name))
    if value is not None:
        return f"{key.name} ={'' if value.startswith(chr(10)) else ' '}{value}".rstrip()
    return f"# {key.name} = {key.default}".rstrip()


if __name__ == "__main__":
    sys.stdout.write(example_text())
