"""The configuration reference, the annotated examples and the code say the same of each key."""

from __future__ import annotations

import configparser
import re
from pathlib import Path

import pytest

from sftpgw.config.tables import SECTIONS, USER_KEYS
from tests.docs.extensions import load_extension

REPOSITORY = Path(__file__).parents[2]


described_keys = load_extension("described_keys")
ALL = [
    *((section, name) for section, keys in SECTIONS.items() for name in keys),
    *((described_keys.USERS, name) for name in USER_KEYS),
]


@pytest.mark.parametrize(("section", "name"), ALL)
def test_every_key_is_explained(section: str, name: str) -> None:
    (key,) = [key for key in described_keys.describe_section(section) if key.name == name]
    assert re.fullmatch(r"[A-Z`].+\.", key.meaning), "a sentence or two"
    assert key.kind
    assert re.fullmatch(r"\d+\.\d+\.\d+", key.since)


@pytest.mark.parametrize(("section", "name"), ALL)
def test_no_star_begins_an_emphasis(section: str, name: str) -> None:
    """What is shown as reStructuredText has its patterns in literals: Sphinx warns otherwise."""
    (key,) = [key for key in described_keys.describe_section(section) if key.name == name]
    for text in (key.meaning, key.bounds):
        assert "*" not in re.sub(r"``.+?``", "", text)


@pytest.mark.parametrize(("section", "name"), ALL)
def test_the_default_that_is_shown_is_the_default(section: str, name: str) -> None:
    """What leaving a key out means is what writing its default means."""
    key = (USER_KEYS if section == described_keys.USERS else SECTIONS[section])[name]
    shown = described_keys.default_text(section, name, key)
    if section == described_keys.USERS or name == "users" or not shown:
        return
    default = getattr(described_keys.DEFAULTS[section], key.field)
    if name in described_keys.KNOWN:
        assert default == ()
        key.parse(shown)
    else:
        assert key.parse(shown) == default


def test_the_example_is_made_of_the_tables() -> None:
    """After a change: python docs/extensions/described_keys.py >etc/sftpgw.ini."""
    example = (REPOSITORY / "etc" / "sftpgw.ini").read_text(encoding="utf-8")
    assert example == described_keys.example_text()


def test_the_example_with_its_comments_removed_has_every_key() -> None:
    text = (REPOSITORY / "etc" / "sftpgw.ini").read_text(encoding="utf-8")
    plain = re.sub(r"^# (\w+ =)", r"\1", text, flags=re.MULTILINE)
    ini = configparser.ConfigParser(interpolation=None, delimiters=("=",))
    ini.read_string(plain)
    assert {name: list(ini[name]) for name in ini.sections()} == {
        name: list(keys) for name, keys in SECTIONS.items()
    }


def test_the_example_of_users_names_every_key() -> None:
    text = (REPOSITORY / "etc" / "users.ini").read_text(encoding="utf-8")
    named = set(re.findall(r"^(?:# )?(\w+) =", text, re.MULTILINE))
    assert set(USER_KEYS) <= named


def test_every_key_is_on_the_page() -> None:
    """The page has a directive for each section; what it makes of them is the tables'."""
    page = (REPOSITORY / "docs" / "configuration.rst").read_text(encoding="utf-8")
    sections = re.findall(r"^\.\. configuration-reference:: (\S+)$", page, re.MULTILINE)
    assert sections == [*SECTIONS, described_keys.USERS]
