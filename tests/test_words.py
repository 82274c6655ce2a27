"""Plain words: a sentence names its subject, so that some words have no place in code and docs."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parent.parent
PLACES = (
    *("sftpgw", "twisted", "docs", "etc", "bench", "fuzz", "changes"),
    *("README.rst", "CONTRIBUTING.rst", "SECURITY.rst"),
)
SUFFIXES = frozenset({".py", ".rst", ".ini", ".service", ".md", ".txt", ".toml", ".in"})

NO_SUBJECT = re.compile(
    r"(?<![A-Za-z])(whoever|nobody|somebody|everybody|anybody)(?![a-z])", re.IGNORECASE
)
"""Also in names: ``_NOBODY_HEARD``, ``FromWhoever``."""


def files_of(place: str) -> Iterator[Path]:
    top = REPOSITORY / place
    if top.is_file():
        yield top
    for path in top.rglob("*"):
        if path.suffix in SUFFIXES and not {"_build", "__pycache__"} & set(path.parts):
            yield path


def found_in(place: str) -> list[str]:
    """Each line with such a word, as ``file:number: line``."""
    return [
        f"{path.relative_to(REPOSITORY)}:{number}: {line.strip()}"
        for path in sorted(files_of(place))
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        for _ in NO_SUBJECT.finditer(line)
    ]


@pytest.mark.parametrize("place", PLACES)
def test_sentences_name_their_subject(place: str) -> None:
    assert (REPOSITORY / place).exists()
    assert not found_in(place)


@pytest.mark.parametrize(
    "text", ["Whoever waits.", "as nobody_waits", "_NOBODY_HEARD", "class Somebody:", "everybody's"]
)
def test_such_a_word_is_found(text: str) -> None:
    assert NO_SUBJECT.search(text)
