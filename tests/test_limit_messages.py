"""Each refusal names the setting that bounds what was asked for, or its bound is a fixed one."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from sftpgw.config.tables import SECTIONS, USER_KEYS
from sftpgw.files.memory import held_memory

PACKAGE = Path(__file__).parent.parent / "sftpgw"
SETTING = re.compile(r"\[(\w+)\] (\w+)")
OF_USER = re.compile(r"users\.ini (\w+)")

FIXED = frozenset(
    [
        # S3's own bounds, and what a store cannot do.
        "files over 5 GiB keep their time",
        "this store cannot copy files over",
        "S3 takes no more",
        # Bounds of one command line, one request or one file.
        "patterns in one path",
        "the patterns lead",
        "a pattern of over",
        "directories inside each other",
        "names of at most",
        "blocks; ask for larger ones",
        "the writes are too scattered",
        "the changes are too scattered",
        # Waits that have ended.
        "the gateway is shutting down",
        "a file that had this name is being uploaded",
        "is being renamed",
        # Records in the bucket that the operator has to look at; the warning says what to do.
        "the record of another rename cannot be read",
        "there are too many records of renames",
        # Not limits.
        "forwarding is not allowed",
        "unknown channel type",
        "the maximum packet size must be at least",
    ]
)
"""Words of the refusals that no setting moves."""


def refusals() -> Iterator[tuple[str, str]]:
    """Each refusal in the sources: where it is, and the constant parts of its text."""
    for path in sorted(PACKAGE.rglob("*.py")):
        if "testing" in path.parts:
            continue
        module = ast.parse(path.read_text(encoding="utf-8"))
        for node in ast.walk(module):
            if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                continue
            for call in ast.walk(node):
                name = getattr(getattr(call, "func", None), "id", "")
                if name in ("LimitReached", "QuotaExceeded", "ConchError") and call.args:  # type: ignore[attr-defined]
                    yield f"{path.name}:{node.name}", text_of(call.args[0], node, module)  # type: ignore[attr-defined]


def text_of(argument: ast.AST, *scopes: ast.AST) -> str:
    """The constant parts of an expression, with those of the names that it uses."""
    names = {each.id for each in ast.walk(argument) if isinstance(each, ast.Name)}
    assigned = [
        each.value
        for scope in scopes
        for each in ast.walk(scope)
        if isinstance(each, ast.Assign)
        if {getattr(target, "id", "") for target in each.targets} & names
    ]
    found = [
        part.value
        for root in (argument, *assigned)
        for part in ast.walk(root)
        if isinstance(part, ast.Constant) and isinstance(part.value, str)
    ]
    return "\n".join(found)


IMPORTED = {"NO_MEMORY": "[limits] memory"}
"""Texts that modules import, and the setting that each names."""


def test_each_refusal_names_its_setting() -> None:
    found = dict(refusals())
    assert len(found) > 20
    nameless = {
        where: text
        for where, text in found.items()
        if text
        and not (SETTING.search(text) or OF_USER.search(text))
        and not any(words in text for words in FIXED)
    }
    assert nameless == {}


def test_the_settings_that_refusals_name_exist() -> None:
    named = [each for _, text in refusals() for each in SETTING.findall(text)]
    assert len(named) > 8
    assert [each for each in named if each[1] not in SECTIONS[each[0]]] == []
    of_users = [each for _, text in refusals() for each in OF_USER.findall(text)]
    assert of_users
    assert [each for each in of_users if each not in USER_KEYS] == []


def test_texts_that_are_imported_name_theirs() -> None:
    for name, setting in IMPORTED.items():
        assert setting in getattr(held_memory, name)
    empty = {where for where, text in refusals() if not text}
    assert all("NO_MEMORY" in source_of(where) for where in empty), empty


def source_of(where: str) -> str:
    module, _, function = where.partition(":")
    for path in PACKAGE.rglob(module):
        source = path.read_text(encoding="utf-8")
        for node in ast.walk(ast.parse(source)):
            if getattr(node, "name", None) == function:
                return ast.get_source_segment(source, node) or ""
    return ""


def test_no_bound_is_called_fixed_that_is_not_there() -> None:
    texts = [text for _, text in refusals()]
    assert [words for words in FIXED if not any(words in text for text in texts)] == []
