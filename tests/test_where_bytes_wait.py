"""The table of the places where bytes wait: each has a bound, and a test that fills it."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

from sftpgw.config.tables import SECTIONS
from tests.test_docs_names import exists

REPOSITORY = Path(__file__).parent.parent


def rows() -> list[tuple[str, ...]]:
    """The cells of each row of the table."""
    text = (REPOSITORY / "docs" / "architecture.rst").read_text(encoding="utf-8")
    section = text.partition("Where bytes wait\n---")[2].partition("\n---")[0]
    found = re.findall(r"^   \* - (.+)\n" + r"     - (.+)\n" * 4, section, re.MULTILINE)
    assert found[0] == ("Place", "What waits", "Bound", "Counted", "Test")
    return found[1:]


@cache
def names_in(path: str) -> frozenset[str]:
    module = ast.parse((REPOSITORY / path).read_text(encoding="utf-8"))
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    outside = {each.name for each in module.body if isinstance(each, kinds)}
    inside = {
        f"{owner.name}::{each.name}"
        for owner in module.body
        if isinstance(owner, ast.ClassDef)
        for each in owner.body
        if isinstance(each, kinds)
    }
    return frozenset(outside | inside)


def is_test(named: str) -> bool:
    """Whether there is a test of this name, as pytest writes it."""
    path, _, name = named.partition("::")
    is_there = (REPOSITORY / path).is_file() and name in names_in(path)
    return is_there and name.rpartition("::")[2].startswith("test_")


def test_the_table_has_rows_that_are_all_different() -> None:
    places = [(place, what) for place, what, *_ in rows()]
    assert len(places) == len(set(places)) > 25


@pytest.mark.parametrize("row", rows(), ids=lambda row: f"{row[0]} {row[1][:30]}")
def test_a_row_names_a_module_a_bound_and_a_test(row: tuple[str, ...]) -> None:
    place, _, bound, counted, test = row
    assert exists(f"sftpgw.{place.strip('`')}")
    assert re.search(r"\d|:confval:|a fair share|what the plan holds|nothing", bound)
    assert all(key in SECTIONS[section] for section, key in re.findall(r"`\[(\w+)\] (\w+)`", bound))
    assert counted in ("budget", "connection", "process")
    assert is_test(test.strip("`"))


@pytest.mark.parametrize(
    "named",
    [
        "tests/test_nothing.py::test_nothing",
        "tests/test_where_bytes_wait.py::test_nothing",
        "tests/test_where_bytes_wait.py::rows",
        "tests/test_where_bytes_wait.py",
    ],
)
def test_a_test_that_is_not_there_is_found(named: str) -> None:
    assert not is_test(named)
