"""What README and the tutorials tell readers to type works, and prints what they say."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.documented import REPOSITORY, Terminals, pattern_of, read_page
from tests.needs import needs

PAGES = [REPOSITORY / "README.rst", *sorted((REPOSITORY / "docs").glob("tutorial*.rst"))]

isolated = needs("namespaces")


def page_parameter(path: Path) -> object:
    page = read_page(path.read_text(encoding="utf-8"))
    return pytest.param(path, id=path.name, marks=needs("namespaces", *page.needs))


@pytest.fixture
def terminals(tmp_path: Path) -> Iterator[Terminals]:
    folder, scratch = tmp_path / "new folder", tmp_path / "scratch"
    folder.mkdir()
    scratch.mkdir()
    terminals = Terminals(folder, scratch)
    yield terminals
    terminals.close()


def run_all(text: str, terminals: Terminals) -> None:
    for block in read_page(text).blocks:
        terminals.run(block)


@pytest.mark.slow
@pytest.mark.parametrize("path", [page_parameter(path) for path in PAGES])
def test_a_page_does_what_it_says(path: Path, terminals: Terminals) -> None:
    text = path.read_text(encoding="utf-8")
    assert read_page(text).blocks, "nothing of it is run"
    run_all(text, terminals)


def test_links_of_readme_lead_to_files() -> None:
    text = (REPOSITORY / "README.rst").read_text(encoding="utf-8")
    relative = re.findall(r"<((?!https:)[^ >]+)>`__", text)
    assert "CONTRIBUTING.rst" in relative
    assert [link for link in relative if not (REPOSITORY / link).is_file()] == []


def page(*marked: tuple[str, str]) -> str:
    """A page of these marks, with the lines behind them as blocks."""
    text = ""
    for mark, lines in marked:
        text += f"{mark}\n\n"
        if lines:
            text += ".. code-block:: sh\n\n" + "".join(f"    {x}\n" for x in lines.split("\n"))
        text += "\n"
    return text


@isolated
def test_blocks_share_a_shell(terminals: Terminals) -> None:
    text = page(
        (".. run:", "name=world\nmkdir x\ncd x"),
        (".. run:", "echo hello $name; pwd; ls -A ~"),
        (".. prints:", "hello world\n.../new folder/x"),
        (".. not run: it would fail", "false"),
    )
    run_all(text, terminals)


SERVER = (
    (".. run: stays", "python3 -u -m http.server --bind 127.0.0.1 80"),
    (".. prints:", "Serving HTTP on 127.0.0.1 port 80 ..."),
)
CONNECT = "python3 -c 'import socket; socket.create_connection((\"127.0.0.1\", 80))'"


@isolated
def test_what_stays_is_waited_for(terminals: Terminals) -> None:
    run_all(page(*SERVER, (".. run:", CONNECT)), terminals)
    with pytest.raises(AssertionError, match="in use"):
        run_all(page(*SERVER), terminals)


@isolated
def test_what_is_stopped_has_ended(terminals: Terminals) -> None:
    again = page(*SERVER, (".. run:", CONNECT), (".. stop:", ""))
    run_all(again + again, terminals)
    with pytest.raises(AssertionError, match="refused"):
        run_all(page((".. run:", CONNECT)), terminals)


@isolated
@pytest.mark.parametrize(
    "text",
    [
        page((".. run:", "false\ntrue")),
        page((".. run:", "exit 0")),
        page((".. run:", "echo one; echo two"), (".. prints:", "one")),
        page((".. run:", "echo one"), (".. prints:", "one\ntwo")),
        page((".. run: stays", "echo one"), (".. prints:", "two")),
        page((".. run: stays", "sleep 600")),
    ],
)
def test_what_does_not_do_what_is_shown_is_found(text: str, terminals: Terminals) -> None:
    with pytest.raises(AssertionError):
        run_all(text, terminals)


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        (".. code-block:: sh\n\n    ls\n", "line 1: commands without a mark"),
        ("Text.\n\n.. code-block:: sh\n\n    ls\n", "line 3: commands without a mark"),
        (".. run:\n\nText.\n", "line 1: a mark without a code-block"),
    ],
)
def test_marks_and_blocks_go_together(text: str, fault: str) -> None:
    with pytest.raises(ValueError, match=fault):
        read_page(text)


@pytest.mark.parametrize(
    ("shown", "printed", "fits"),
    [
        ("a\n", "a\n", True),
        ("a\n", "a  \r\n", True),
        ("a\n", "b\n", False),
        ("a\n", "a\nb\n", False),
        ("a...c\n", "abc\n", True),
        ("a...c\n", "a\nc\n", False),
        ("a\n...\nc\n", "a\nb\nb\nc\n", True),
        ("a\n...\nc\n", "a\nc\n", True),
        ("...\n", "a\nb\n", True),
        ("a.c\n", "abc\n", False),
    ],
)
def test_what_is_shown_is_what_is_printed(shown: str, printed: str, fits: bool) -> None:
    assert bool(re.fullmatch(pattern_of(shown), printed)) is fits
