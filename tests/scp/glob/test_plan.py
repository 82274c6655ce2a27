"""Patterns: against Python's own matcher, and what that does not know."""

from __future__ import annotations

from fnmatch import fnmatchcase

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sftpgw.errors import LimitReached
from sftpgw.scp.glob.plan import MAX_PATTERN_CHARACTERS, REMEMBERED_CHARACTERS, Pattern


@given(st.text(alphabet="ab*?", max_size=12), st.text(alphabet="ab", max_size=12))
def test_stars_and_question_marks_as_fnmatch_has_them(pattern: str, name: str) -> None:
    assert Pattern(pattern).matches(name) is fnmatchcase(name, pattern)


@given(st.sampled_from(["[ab]", "[!ab]", "[a-c]x", "[]a]", "*[b-d]", "[!a-b]*"]), st.text("abcdx]"))
def test_sets_as_fnmatch_has_them(pattern: str, name: str) -> None:
    assert Pattern(pattern).matches(name) is fnmatchcase(name, pattern)


@given(st.text(alphabet="a*?[]!^-\\.b", max_size=12), st.text(alphabet="a*?[]!^-\\.b", max_size=8))
def test_any_pattern_is_one(pattern: str, name: str) -> None:
    assert Pattern(pattern).matches(name) in (True, False)


@given(st.text(min_size=1, max_size=20))
def test_escaped_characters_match_themselves_only(name: str) -> None:
    pattern = Pattern("".join("\\" + character for character in name))
    assert pattern.literal == name
    assert pattern.matches(name)
    assert not pattern.matches(name + "x")


@pytest.mark.parametrize(
    ("pattern", "matching", "others"),
    [
        ("*", ["a", "a.b"], [".a", ""[:0] + ".."]),
        (".*", [".a", "."], ["a"]),
        ("?x", ["ax"], [".x", "x"]),
        ("\\.a", [".a"], ["xa"]),
        ("[^a]", ["b", "^"], ["a"]),
        ("[a\\-c]", ["a", "-", "c"], ["b"]),
        ("[a-]", ["a", "-"], ["b"]),
        ("[\\]]x", ["]x"], ["x", "\\x"]),
        ("[a", ["[a"], ["a"]),
        ("[]", ["[]"], [""]),
        ("a\\", ["a\\"], ["a"]),
        ("*ä?", ["ä€", "xä€"], ["ä"]),
    ],
)
def test_corner_cases_match_as_documented(
    pattern: str, matching: list[str], others: list[str]
) -> None:
    for name in matching:
        assert Pattern(pattern).matches(name), name
    for name in others:
        assert not Pattern(pattern).matches(name), name


@pytest.mark.parametrize(
    "pattern",
    ["*a" * 127 + "b", "*" + "a" * 254 + "b", "*" + "?" * 254 + "b", "*" + "[a-b]" * 250 + "c"],
)
def test_no_pattern_takes_longer_than_the_name(pattern: str) -> None:
    """Tried star by star from the left the first one would outlast the universe."""
    for size in (100, 1000):
        parsed = Pattern(pattern)
        assert not parsed.matches("a" * size)
        assert not parsed.matches("a" * size)
        assert parsed.steps <= 2 * size + MAX_PATTERN_CHARACTERS


def test_the_ranges_of_a_set_are_compared_once_for_each_character() -> None:
    parsed = Pattern("*[" + "b-c" * 200 + "]")
    for number in range(100):
        assert not parsed.matches("a" * 50 + "xyz"[number % 3])
    assert parsed.steps == 100 * 51 + 4 * 200


def test_a_pattern_remembers_only_so_many_characters() -> None:
    parsed = Pattern("*[b-y]")
    for number in range(3000):
        assert not parsed.matches(chr(0x4E00 + number))
    assert parsed.matches("b")
    assert len(parsed._matcher._known) <= REMEMBERED_CHARACTERS


def test_brackets_without_an_end_are_looked_for_once() -> None:
    assert Pattern("[" * 100_000).literal == "[" * 100_000


def test_a_pattern_has_a_bound() -> None:
    assert Pattern("*" + "a" * (MAX_PATTERN_CHARACTERS - 1)).matches("a" * 500)
    assert Pattern("a" * 2000).literal == "a" * 2000
    for text in ("*" + "a" * MAX_PATTERN_CHARACTERS, "[" + "a" * MAX_PATTERN_CHARACTERS + "b]"):
        with pytest.raises(LimitReached, match="256 characters and ranges"):
            Pattern(text)
