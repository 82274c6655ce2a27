"""Keys, events, pages and sections that pages refer to exist.

Sphinx checks it, too, where it is installed; this needs nothing but the text.
"""

from __future__ import annotations

import re

import pytest

from tests.docs.extensions import FOLDER, load_extension

described_events = load_extension("described_events")
described_keys = load_extension("described_keys")

PAGES = {path.stem: path.read_text(encoding="utf-8") for path in FOLDER.parent.glob("*.rst")}
SECTIONS = [*described_keys.SECTIONS, described_keys.USERS]
KNOWN = {
    "confval": {key.title for name in SECTIONS for key in described_keys.describe_section(name)},
    "event": {event.name for event in described_events.describe_events()},
    "doc": set(PAGES),
    "ref": {
        label
        for text in PAGES.values()
        for label in re.findall(r"^\.\. _(.+):$", text, re.MULTILINE)
    },
}


def references(text: str, role: str) -> set[str]:
    """What a page refers to by a role; in ``text <target>`` it is the target."""
    found = re.findall(rf":{role}:`([^`]+)`", text)
    return {re.sub(r"^.*<(.+)>$", r"\1", re.sub(r"\s+", " ", target)) for target in found}


@pytest.mark.parametrize("page", sorted(PAGES))
@pytest.mark.parametrize("role", sorted(KNOWN))
def test_what_a_page_refers_to_exists(page: str, role: str) -> None:
    assert references(PAGES[page], role) <= KNOWN[role]


def test_every_page_is_in_the_contents() -> None:
    entries = set(re.findall(r"^   ([\w-]+)$", PAGES["index"], re.MULTILINE))
    assert entries == set(PAGES) - {"index"}


def test_references_are_found() -> None:
    assert "[ssh] max_startups" in references(PAGES["security"], "confval")
    assert references("see :doc:`the other <tutorial-stores>`", "doc") == {"tutorial-stores"}
