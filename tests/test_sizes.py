"""How long classes and functions of the package are, and how many parameters constructors have.

The bounds are those of CONTRIBUTING.rst. Reads source text only.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

PACKAGE = Path(__file__).parent.parent / "sftpgw"

MAX_CLASS_LINES = 300
MAX_FUNCTION_LINES = 58
MAX_PARAMETERS = 9
"""Of a constructor, without ``self``."""

FUNCTION = ast.FunctionDef | ast.AsyncFunctionDef


def line_count(node: ast.ClassDef | FUNCTION) -> int:
    assert node.end_lineno is not None
    return node.end_lineno - node.lineno + 1


def parameter_count(constructor: FUNCTION) -> int:
    listed = constructor.args
    return len(listed.posonlyargs) + len(listed.args) + len(listed.kwonlyargs) - 1


def breaches(source: str) -> Iterator[str]:
    """What is longer than it may be, or has too many parameters."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, FUNCTION) and (lines := line_count(node)) > MAX_FUNCTION_LINES:
            yield f"{node.name} has {lines} lines"
        if not isinstance(node, ast.ClassDef):
            continue
        if (lines := line_count(node)) > MAX_CLASS_LINES:
            yield f"{node.name} has {lines} lines"
        for method in node.body:
            if isinstance(method, FUNCTION) and method.name == "__init__":
                count = parameter_count(method)
                if count > MAX_PARAMETERS:
                    yield f"{node.name} has {count} parameters"


def test_the_package_is_within_the_bounds() -> None:
    found = {
        str(file.relative_to(PACKAGE)): list(breaches(file.read_text(encoding="utf-8")))
        for file in sorted(PACKAGE.rglob("*.py"))
    }
    assert {file: here for file, here in found.items() if here} == {}


def test_a_breach_is_seen() -> None:
    def class_of(lines: int) -> str:
        return "class Long:\n" + "    x = 1\n" * (lines - 1)

    def function_of(lines: int) -> str:
        return "async def f():\n" + "    x = 1\n" * (lines - 1)

    def constructor_of(parameters: int) -> str:
        names = ", ".join(f"p{number}" for number in range(parameters - 1))
        return f"class Wide:\n    def __init__(self, {names}, *, last): ..."

    assert list(breaches(class_of(MAX_CLASS_LINES))) == []
    assert list(breaches(class_of(MAX_CLASS_LINES + 1))) == ["Long has 301 lines"]
    assert list(breaches(function_of(MAX_FUNCTION_LINES))) == []
    assert list(breaches(function_of(MAX_FUNCTION_LINES + 1))) == ["f has 59 lines"]
    assert list(breaches(constructor_of(MAX_PARAMETERS))) == []
    assert list(breaches(constructor_of(MAX_PARAMETERS + 1))) == ["Wide has 10 parameters"]
