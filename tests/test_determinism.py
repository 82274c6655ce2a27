"""Tests that gate a merge do the same each time: no random number without a fixed seed.

``.ci/search`` is the job that tries new inputs and new seeds.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

TESTS = Path(__file__).parent
FOLDERS = (TESTS, TESTS.parent / "fuzz", TESTS.parent / "sftpgw" / "testing")
SOURCES = sorted(path for folder in FOLDERS for path in folder.rglob("*.py"))

UNSEEDED = {
    "os": frozenset({"urandom", "getrandom"}),
    "secrets": frozenset({"choice", "randbelow", "randbits", "SystemRandom"}),
}
"""Unique names (``uuid4``, ``token_hex``) are allowed: tests share buckets and do not meet."""


def unseeded(tree: ast.AST) -> Iterator[str]:
    """Draws of random numbers in `tree` that no seed determines, with their lines."""
    nodes = list(ast.walk(tree))
    imported = {name.name for node in nodes if isinstance(node, ast.Import) for name in node.names}
    for node in nodes:
        match node:
            case ast.Call(func=ast.Name(id="Random") | ast.Attribute(attr="Random"), args=[]):
                yield f"line {node.lineno}: Random() without a seed"
            case ast.Attribute(value=ast.Name(id="random"), attr=name) if "random" in imported:
                if name != "Random":
                    yield f"line {node.lineno}: random.{name}"
            case ast.Attribute(value=ast.Name(id=module), attr=name):
                if name in UNSEEDED.get(module, ()):
                    yield f"line {node.lineno}: {module}.{name}"


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(TESTS.parent)))
def test_every_random_number_has_a_seed(path: Path) -> None:
    assert not list(unseeded(ast.parse(path.read_text(encoding="utf-8"))))


@pytest.mark.parametrize(
    "source",
    [
        "os.urandom(8)",
        "import random; random.choice(names)",
        "import random; random.randbytes(3)",
        "import random; random.Random()",
        "Random()",
        "secrets.randbelow(10)",
        "import random; source = random.shuffle",
    ],
)
def test_an_unseeded_draw_is_found(source: str) -> None:
    assert list(unseeded(ast.parse(source)))


@pytest.mark.parametrize(
    "source",
    ["import random; random.Random(1).choice(names)", "Random(seed)", "secrets.token_hex(8)"],
)
def test_a_seeded_draw_is_allowed(source: str) -> None:
    assert not list(unseeded(ast.parse(source)))


def test_properties_are_tried_with_the_same_inputs_each_time() -> None:
    assert settings.get_profile("gate").derandomize
    assert not settings.get_profile("search").derandomize
