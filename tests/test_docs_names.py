"""Each module, class and method that the contributors' pages name exists, here or in Twisted.

So does each module that a docstring or a comment names. A docstring that describes a parameter
describes all.
"""

from __future__ import annotations

import ast
import builtins
import re
from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
import service_identity

import twisted
from tests.test_imports import ALLOWED, LAYERS_BELOW, OPEN_TO_ALL

REPOSITORY = Path(__file__).parent.parent
PACKAGE = REPOSITORY / "sftpgw"
TWISTED = Path(twisted.__file__).parent
PAGES = ("architecture", "glossary", "conch")

TOP_LEVEL = frozenset(path.stem for path in PACKAGE.iterdir() if path.stem[0] != "_")
LITERAL = re.compile(r"``([^`]+)``")
DOTTED = re.compile(r"[a-z_]\w*(\.\w+)*")
IN_SOURCE = re.compile(r"(?<!`)`([a-z_]\w*(?:[./]\w+)+)`")
ELSEWHERE = frozenset(
    [
        "a/b",
        "client",
        "pair",
        "plugin",
        "random",
        "scp.c",
        "sys",
        "task",
        "threads",
        "time",
        "twisted.logger.Logger",
    ]
)
"""What names in docstrings may begin with besides our modules: others' modules, and variables."""
CLASS = re.compile(r"(_?[A-Z][A-Za-z0-9]*[a-z][A-Za-z0-9]*)(?:\.(\w+))?")


def sources() -> Iterator[Path]:
    yield from PACKAGE.rglob("*.py")
    for folder in ("conch", "conch/ssh", "protocols/haproxy", "internet"):
        yield from (TWISTED / folder).glob("*.py")


@cache
def members() -> dict[str, frozenset[str]]:
    """The names in each class, by the class's name: its own methods and attributes, and bases'."""
    own: defaultdict[str, set[str]] = defaultdict(set)
    bases: defaultdict[str, set[str]] = defaultdict(set)
    for path in sources():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef):
                own[node.name].update(_names_in(node))
                bases[node.name].update(ast.unparse(base).rpartition(".")[2] for base in node.bases)
    return {name: frozenset(_with_bases(name, own, bases)) for name in own}


def _names_in(owner: ast.ClassDef) -> Iterator[str]:
    for node in owner.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node.name
        yield from _assigned(node)
    for each in ast.walk(owner):
        match each:
            case ast.Attribute(value=ast.Name(id="self"), attr=name, ctx=ast.Store()):
                yield name


def _with_bases(name: str, own: dict[str, set[str]], bases: dict[str, set[str]]) -> set[str]:
    found, left, seen = set[str](), [name], set[str]()
    while left:
        each = left.pop()
        if each not in seen and each in own:
            seen.add(each)
            found |= own[each]
            left += bases[each]
    return found


def exists(dotted: str) -> bool:
    """Whether there is such a module or package, or such a name in it. Imports nothing."""
    top, *names = dotted.split(".")
    place = {"sftpgw": PACKAGE, "twisted": TWISTED}[top]
    while names and (place / names[0]).is_dir():
        place /= names.pop(0)
    if names and (place / f"{names[0]}.py").is_file():
        place /= f"{names.pop(0)}.py"
    if not names:
        return True
    source = place if place.suffix else place / "__init__.py"
    module = ast.parse(source.read_text(encoding="utf-8"))
    owner, _, attribute = ".".join(names).partition(".")
    is_there = any(
        getattr(node, "name", None) == owner or owner in _assigned(node) for node in module.body
    )
    return is_there and (not attribute or attribute in members()[owner])


def _assigned(node: ast.stmt) -> list[str]:
    match node:
        case ast.Assign(targets=targets):
            return [target.id for target in targets if isinstance(target, ast.Name)]
        case ast.AnnAssign(target=ast.Name(id=name)):
            return [name]
    return []


def is_known(literal: str) -> bool | None:
    """Whether what `literal` names exists; None if it names no module and no class."""
    head = literal.partition(".")[0]
    if DOTTED.fullmatch(literal) and (head in ("twisted", "sftpgw")):
        return exists(literal)
    if DOTTED.fullmatch(literal) and head in TOP_LEVEL:
        return exists(f"sftpgw.{literal}")
    found = CLASS.fullmatch(literal)
    if found is None:
        return None
    name, attribute = found.groups()
    if name not in members():
        return hasattr(builtins, name) or hasattr(service_identity, name)
    return attribute is None or attribute in members()[name]


@pytest.mark.parametrize("page", PAGES)
def test_what_a_page_names_exists(page: str) -> None:
    text = (REPOSITORY / "docs" / f"{page}.rst").read_text(encoding="utf-8")
    missing = {name for name in LITERAL.findall(text) if is_known(name) is False}
    assert not missing


def told(package: str) -> str:
    """What the table says that `package` may import, by the list that is enforced."""
    allowed = ALLOWED[package] - OPEN_TO_ALL
    if allowed >= LAYERS_BELOW - OPEN_TO_ALL:
        return ", ".join(["the layers", *sorted(allowed - LAYERS_BELOW)])
    return ", ".join(sorted(allowed)) or "–"


def test_the_table_of_packages_is_the_one_that_is_enforced() -> None:
    text = (REPOSITORY / "docs" / "architecture.rst").read_text(encoding="utf-8")
    rows = re.findall(r"^   \* - ``(\w+)``\n     - .+\n     - (.+)$", text, re.MULTILINE)
    assert dict(rows) == {package: told(package) for package in ALLOWED if package != "__init__"}


@pytest.mark.parametrize("page", PAGES)
def test_a_page_names_modules_and_no_lines(page: str) -> None:
    text = (REPOSITORY / "docs" / f"{page}.rst").read_text(encoding="utf-8")
    assert not re.findall(r"\w+\.py``? \d+|line \d+", text)


@pytest.mark.parametrize(
    "literal",
    [
        "sftpgw.nowhere",
        "ssh.transport.NoTransport",
        "files.nothing",
        "NoSuchClassAtAll",
        "GatewayTransport.no_such_method",
        "SSHTransportBase.no_such_method",
        "twisted.conch.nowhere",
    ],
)
def test_a_name_that_is_gone_is_found(literal: str) -> None:
    assert is_known(literal) is False


@pytest.mark.parametrize(
    "literal",
    [
        "ssh.transport",
        "sftpgw.ssh.packet_cipher.payload_of",
        "GatewayTransport",
        "GatewayTransport.sendPacket",
        "SSHTransportBase.getPacket",
        "ValueError",
    ],
)
def test_a_name_that_is_there_is_known(literal: str) -> None:
    assert is_known(literal) is True


@pytest.mark.parametrize("literal", ["[ssh] packet_before_login", "zlib@openssh.com", "If-Match"])
def test_other_literals_are_left_alone(literal: str) -> None:
    assert is_known(literal) is None


def modules() -> set[tuple[str, ...]]:
    """The paths of all modules and packages, without ``sftpgw``."""
    paths = {path.relative_to(PACKAGE).with_suffix("") for path in PACKAGE.rglob("*.py")}
    return {path.parts for path in paths} | {path.parent.parts for path in paths}


def is_in_source(named: str) -> bool:
    """Whether there is a module, or a name in a module, that a docstring calls `named`.

    The first folders may be left out: `retry/plan` is `s3/retry/plan`.
    """
    if named.startswith("twisted."):
        return exists(named)
    if (REPOSITORY / named).exists():
        return True
    parts = tuple(re.split("[./]", named.removeprefix("sftpgw.")))
    for length in range(len(parts), 0, -1):
        found = [each for each in modules() if each[-length:] == parts[:length]]
        if any(exists(".".join(("sftpgw", *each, *parts[length:]))) for each in found):
            return True
    return False


def test_modules_that_docstrings_and_comments_name_exist() -> None:
    missing = {
        f"{path.relative_to(REPOSITORY)}: {named}"
        for path in PACKAGE.rglob("*.py")
        for named in IN_SOURCE.findall(path.read_text(encoding="utf-8"))
        if named not in ELSEWHERE and named.partition(".")[0] not in ELSEWHERE
        if not is_in_source(named)
    }
    assert not missing


@pytest.mark.parametrize(
    "named", ["s3/retry/plan", "retry/plan", "sftpgw.model.settings.Settings", "tests/freeze"]
)
def test_a_module_that_is_there_is_found(named: str) -> None:
    assert is_in_source(named)


@pytest.mark.parametrize(
    "named", ["s3/plan", "sftpgw.values", "opening.open_store", "ssh.rekeying"]
)
def test_a_module_that_is_gone_is_found(named: str) -> None:
    assert not is_in_source(named)


def parameters(node: ast.AST) -> set[str]:
    """The parameters of a function, a constructor or a data class."""
    if isinstance(node, ast.ClassDef):
        constructors = [each for each in node.body if getattr(each, "name", "") == "__init__"]
        if constructors:
            return parameters(constructors[0])
        return {
            each.target.id
            for each in node.body
            if isinstance(each, ast.AnnAssign) and isinstance(each.target, ast.Name)
            if not each.target.id.startswith("_") and "ClassVar" not in ast.unparse(each.annotation)
        }
    assert isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    given = node.args
    named = [*given.posonlyargs, *given.args, *given.kwonlyargs, given.vararg, given.kwarg]
    return {each.arg for each in named if each} - {"self", "cls"}


def half_described(source: str) -> dict[str, set[str]]:
    """The parameters that a docstring leaves out or makes up, by its function or class."""
    found = {}
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            continue
        described = set(re.findall(r":param (\w+):", ast.get_docstring(node) or ""))
        if described and not node.name.startswith("_") and described != parameters(node):
            found[node.name] = described ^ parameters(node)
    return found


@pytest.mark.parametrize(
    "path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: str(path.relative_to(PACKAGE))
)
def test_a_docstring_describes_all_parameters_or_none(path: Path) -> None:
    assert half_described(path.read_text(encoding="utf-8")) == {}


def test_parameters_left_out_or_made_up_are_found() -> None:
    source = '''
def f(a, *, b):
    """:param a: the first."""

class C:
    """:param a: gone."""

    def __init__(self, b): ...
'''
    assert half_described(source) == {"f": {"b"}, "C": {"a", "b"}}
