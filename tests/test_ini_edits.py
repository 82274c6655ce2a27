"""Changes of one section: configparser reads what was meant, and all other bytes stay."""

from __future__ import annotations

import configparser
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sftpgw.config.ini_edits import (
    has_section,
    with_line,
    with_section,
    with_value,
    without_key,
    without_line,
    without_section,
)

FILE = """\
# The users of the gateway.

[*]
key_prefix = home/{username}/

# Alice, sales.
[alice]
authorized_keys =
    ssh-ed25519 AAAA alice@laptop
    # the old office
    ssh-ed25519 BBBB alice@office

  ; a remark
weight = 2

# Bob.
[bob]
password_hash = $2b$04$abc
"""


def parsed(text: str) -> dict[str, dict[str, str]]:
    ini = configparser.ConfigParser(interpolation=None, delimiters=("=",), default_section="")
    ini.optionxform = str  # type: ignore[assignment,method-assign]
    ini.read_string(text.removeprefix("\ufeff"))
    return {name: dict(ini[name]) for name in ini.sections()}


def test_a_value_is_replaced_where_it_stands() -> None:
    changed = with_value(FILE, "alice", "weight", "5")
    assert changed == FILE.replace("weight = 2", "weight = 5")


def test_a_new_key_comes_behind_the_others() -> None:
    changed = with_value(FILE, "alice", "disabled", "yes")
    assert changed == FILE.replace("weight = 2\n", "weight = 2\ndisabled = yes\n")
    assert with_value("[a]\n[b]\n", "a", "k", "v") == "[a]\nk = v\n[b]\n"
    assert with_value("[a]", "a", "k", "v") == "[a]\nk = v\n"


def test_a_line_is_added_and_removed() -> None:
    added = with_line(FILE, "alice", "authorized_keys", "ssh-ed25519 CCCC new")
    office = "    ssh-ed25519 BBBB alice@office\n"
    assert added == FILE.replace(office, f"{office}    ssh-ed25519 CCCC new\n")
    assert without_line(added, "alice", "authorized_keys", "ssh-ed25519 CCCC new") == FILE
    fewer = without_line(FILE, "alice", "authorized_keys", "ssh-ed25519 AAAA alice@laptop")
    assert parsed(fewer)["alice"]["authorized_keys"] == "\nssh-ed25519 BBBB alice@office"
    assert "# the old office" in fewer


def test_the_last_line_takes_its_key_along() -> None:
    text = "[a]\nk = one\nother = x\n"
    assert without_line(text, "a", "k", "one") == "[a]\nother = x\n"
    assert without_line("[a]\nk = one\n  two\n", "a", "k", "one") == "[a]\nk =\n  two\n"
    with pytest.raises(KeyError):
        without_line(text, "a", "k", "two")


def test_a_line_behind_a_value_on_the_first_line() -> None:
    assert with_line("[a]\nk = one\n", "a", "k", "two") == "[a]\nk = one\n    two\n"


def test_sections_come_and_go() -> None:
    added = with_section(FILE, "carol", ["weight = 1"])
    assert added == f"{FILE}\n[carol]\nweight = 1\n"
    gone = without_section(added, "alice")
    assert "# Bob." in gone
    assert set(parsed(gone)) == {"*", "bob", "carol"}
    assert with_section("", "a", []) == "[a]\n"
    with pytest.raises(ValueError, match="already"):
        with_section(FILE, "bob", [])


@pytest.mark.parametrize("line", ["", "  ", "# comment", "; comment", "a\nb"])
def test_what_cannot_be_a_line_is_refused(line: str) -> None:
    with pytest.raises(ValueError, match="line"):
        with_line(FILE, "alice", "authorized_keys", line)


def test_an_unknown_section_is_told() -> None:
    for edit in (without_section, lambda text, name: with_value(text, name, "k", "v")):
        with pytest.raises(KeyError):
            edit(FILE, "nobody")


def test_line_ends_and_a_mark_at_the_beginning_stay() -> None:
    text = "\ufeff" + FILE.replace("\n", "\r\n")
    changed = with_value(text, "bob", "weight", "3")
    assert changed == text + "weight = 3\r\n"
    assert changed.startswith("\ufeff")
    assert has_section("\ufeff[a]\r\n", "a")
    assert without_section("\ufeff[a]\r\n[b]\r\n", "a") == "\ufeff[b]\r\n"


NAMES = st.sampled_from(["a", "b", "c c", "*", "*g"])
KEYS = st.sampled_from(["k", "key_prefix", "permissions /x", "l"])
VALUES = st.text(st.characters(codec="utf-8", exclude_categories=["C", "Z"]), max_size=8)
COMMENTS = st.sampled_from(["# x\n", "; [no]\n", "\n", "   # k = 1\n", "  \n"])


@st.composite
def files(draw: st.DrawFn) -> str:
    """A file that configparser takes, with comments and blanks anywhere."""
    text = "".join(draw(st.lists(COMMENTS, max_size=2)))
    for name in draw(st.lists(NAMES, unique=True, min_size=1)):
        text += f"[{name}]\n"
        for key in draw(st.lists(KEYS, unique=True)):
            text += "".join(draw(st.lists(COMMENTS, max_size=2)))
            text += f"{key}{draw(st.sampled_from(['=', ' = ']))}{draw(VALUES)}\n"
            for line in draw(st.lists(VALUES.filter(bool), max_size=2)):
                if not line.startswith(("#", ";")):
                    text += f"  {line}\n" + draw(st.sampled_from(["", "", "# in it\n", "\n"]))
    return text[: -1 if draw(st.booleans()) and text.endswith("\n") else None]


def other_bytes(text: str, section: str) -> list[str]:
    """The text before the section and behind its last key: what must not change."""
    start = re.search(rf"^\[{re.escape(section)}\]", text, re.MULTILINE)
    assert start is not None
    following = re.search(r"^\[", text[start.end() :], re.MULTILINE)
    return [text[: start.start()], text[start.end() + following.start() :] if following else ""]


@given(files(), KEYS, VALUES)
def test_a_value_is_what_is_read_and_nothing_else_changes(text: str, key: str, value: str) -> None:
    for section, before in parsed(text).items():
        changed = with_value(text, section, key, value)
        assert parsed(changed) == {**parsed(text), section: {**before, key: value}}
        assert other_bytes(changed, section) == other_bytes(text, section)
        kept = without_key(changed, section, key)
        assert parsed(kept)[section] == {k: v for k, v in before.items() if k != key}
        assert other_bytes(kept, section) == other_bytes(text, section)


@given(files(), KEYS, VALUES.filter(bool))
def test_a_line_is_what_is_read_and_nothing_else_changes(text: str, key: str, line: str) -> None:
    if line.startswith(("#", ";")):
        return
    for section, before in parsed(text).items():
        changed = with_line(text, section, key, line)
        found = parsed(changed)
        now = [each for each in found[section][key].split("\n") if each]
        old = [each for each in before.get(key, "").split("\n") if each]
        assert now == [*old, line]
        assert {**found, section: {**found[section], key: ""}} == {
            **parsed(text),
            section: {**before, key: ""},
        }
        assert other_bytes(changed, section) == other_bytes(text, section)


@given(files())
def test_a_section_comes_and_goes_and_nothing_else_changes(text: str) -> None:
    added = with_section(text, "new", ["k = v"])
    assert added.startswith(text)
    assert parsed(added) == {**parsed(text), "new": {"k": "v"}}
    for section in parsed(text):
        gone = without_section(text, section)
        assert parsed(gone) == {k: v for k, v in parsed(text).items() if k != section}
        before, behind = other_bytes(text, section)
        assert gone.startswith(before)
        assert gone.endswith(behind)
