"""Who may import whom: the table of docs/architecture.rst, enforced.

Each room is a module or package directly below ``sftpgw``. Reads source text only.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parent.parent

OPEN_TO_ALL = frozenset({"values", "errors", "s3_limits", "bytequeue", "outflow", "__init__"})
ALLOWED: dict[str, frozenset[str]] = {
    "__init__": frozenset(),
    "errors": frozenset(),
    "values": frozenset(),
    "aio": frozenset({"interfaces"}),
    "s3_limits": frozenset(),
    "bytequeue": frozenset(),
    "outflow": frozenset(),
    "interfaces": frozenset(),
    "config": frozenset(),
    "checks": frozenset({"interfaces"}),
    "machine": frozenset({"checks", "plan"}),
    "services": frozenset({"interfaces"}),
    "signals": frozenset(),
    "demo": frozenset({"auth"}),
    "plan": frozenset(),
    "wire": frozenset(),
    "s3": frozenset({"aio", "plan", "wire", "interfaces"}),
    "files": frozenset({"aio", "plan", "interfaces"}),
    "sftp": frozenset({"aio", "files", "plan", "wire", "interfaces"}),
    "scp": frozenset({"aio", "files", "plan", "wire", "interfaces"}),
    "auth": frozenset({"plan", "interfaces"}),
    "ssh": frozenset({"aio", "auth", "plan", "wire", "interfaces"}),
    "telemetry": frozenset({"interfaces"}),
}
ALLOWED["testing"] = frozenset(ALLOWED)
ALLOWED["tap"] = frozenset(ALLOWED)
ALLOWED["cli"] = frozenset({"auth", "tap"})
PURE = ("plan", "wire")
IMPURE = frozenset({"twisted", "zope", "os", "socket", "time", "random", "asyncio", "threading"})

MODULES = sorted((REPOSITORY / "sftpgw").rglob("*.py"))


def room_of(file: Path) -> str:
    return file.relative_to(REPOSITORY / "sftpgw").with_suffix("").parts[0]


def imported_names(tree: ast.Module) -> Iterator[str]:
    """The dotted names of all modules that are, or may be, imported, wherever it stands."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative imports hide where they lead"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def breaches(room: str, source: str) -> list[str]:
    """What a module of `room` imports and must not."""
    allowed = ALLOWED[room] | OPEN_TO_ALL | {room}
    found = []
    for name in imported_names(ast.parse(source)):
        top, *rest = name.split(".")
        if top == "sftpgw":
            target = rest[0] if rest and rest[0] in ALLOWED else "__init__"
            if target not in allowed:
                found.append(name)
        elif top in ("tests", "conftest") or (room in PURE and top in IMPURE):
            found.append(name)
    return found


def eager_reactors(source: str) -> list[int]:
    """The lines where importing the module would install a reactor."""
    lines = []
    waiting: list[ast.AST] = [ast.parse(source)]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.Import | ast.ImportFrom):
            if "twisted.internet.reactor" in imported_names(ast.Module([node], [])):
                lines.append(node.lineno)
        elif not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            waiting.extend(ast.iter_child_nodes(node))
    return lines


@pytest.mark.parametrize("file", MODULES, ids=lambda file: str(file.relative_to(REPOSITORY)))
def test_a_module_keeps_to_its_room(file: Path) -> None:
    room = room_of(file)
    assert room in ALLOWED, f"the table does not know {room}; add it here and in the docs"
    source = file.read_text(encoding="utf-8")
    assert breaches(room, source) == []
    assert eager_reactors(source) == []


@pytest.mark.parametrize("file", MODULES, ids=lambda file: str(file.relative_to(REPOSITORY)))
def test_a_module_says_what_it_knows(file: Path) -> None:
    tree = ast.parse(file.read_text(encoding="utf-8"))
    assert not tree.body or ast.get_docstring(tree)


def test_the_plugin_knows_nothing_of_ours() -> None:
    (plugin,) = (REPOSITORY / "twisted" / "plugins").glob("*.py")
    names = list(imported_names(ast.parse(plugin.read_text(encoding="utf-8"))))
    assert names == ["twisted.application.service.ServiceMaker"]
    assert not list((REPOSITORY / "twisted").rglob("__init__.py")), "it would hide Twisted"


@pytest.mark.parametrize(
    ("room", "source"),
    [
        ("plan", "import os.path"),
        ("plan", "def late():\n    from time import monotonic"),
        ("wire", "from twisted.internet.defer import Deferred"),
        ("plan", "from sftpgw.interfaces import Clock"),
        ("plan", "from sftpgw.aio.notifier import Notifier"),
        ("files", "from sftpgw.s3.s3_client import S3Client"),
        ("files", "from sftpgw import s3"),
        ("s3", "import sftpgw.files"),
        ("ssh", "from sftpgw.sftp.protocol import SftpProtocol"),
        ("testing", "from sftpgw.tap import makeService"),
        ("demo", "from sftpgw.tap import makeService"),
        ("values", "from sftpgw.interfaces import Clock"),
        ("sftp", "from tests.helpers import anything"),
    ],
)
def test_a_breach_is_seen(room: str, source: str) -> None:
    assert breaches(room, source)


@pytest.mark.parametrize(
    ("room", "source"),
    [
        ("plan", "import math\nfrom sftpgw.values import MIB"),
        ("ssh", "from sftpgw import __version__\nfrom sftpgw.auth.login_keys import fingerprint"),
        ("testing", "from sftpgw.s3.s3_client import S3Client"),
        ("tap", "from sftpgw.demo import EmbeddedStore"),
    ],
)
def test_what_is_allowed_is_no_breach(room: str, source: str) -> None:
    assert breaches(room, source) == []


def test_an_eager_reactor_is_seen() -> None:
    assert eager_reactors("from twisted.internet import defer, reactor") == [1]
    assert eager_reactors("import twisted.internet.reactor") == [1]
    assert eager_reactors("def late():\n    from twisted.internet import reactor") == []
