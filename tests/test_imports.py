"""Which package may import which, which modules are pure, and what modules and classes are called.

The table is that of docs/architecture.rst. Reads source text only.
"""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parent.parent

OPEN_TO_ALL = frozenset({"__init__", "errors", "model", "buffers"})
ALLOWED: dict[str, frozenset[str]] = {
    "__init__": frozenset(),
    "errors": frozenset(),
    "model": frozenset(),
    "buffers": frozenset(),
    "aio": frozenset(),
    "wire": frozenset(),
    "config": frozenset(),
    "checks": frozenset(),
    "machine_checks": frozenset({"checks"}),
    "pausing_ports": frozenset(),
    "services": frozenset({"pausing_ports"}),
    "signals": frozenset(),
    "client_report": frozenset(),
    "demo": frozenset({"auth"}),
    "http": frozenset({"aio"}),
    "aws": frozenset({"aio", "http"}),
    "s3": frozenset({"aio", "aws", "http", "wire"}),
    "files": frozenset({"aio"}),
    "sftp": frozenset({"aio", "files", "wire"}),
    "scp": frozenset({"aio", "files", "wire"}),
    "auth": frozenset({"aio", "http", "wire"}),
    "control": frozenset({"aio", "auth"}),
    "ssh": frozenset({"aio", "auth", "wire"}),
    "telemetry": frozenset({"aio"}),
    "user_reload": frozenset({"aio"}),
}
ALLOWED["terminal"] = frozenset()
ALLOWED["session"] = frozenset({"aio", "files", "scp", "sftp", "ssh"})
LAYERS_BELOW = frozenset(ALLOWED) - {"session", "terminal", "demo"}
ALLOWED["startup"] = LAYERS_BELOW
ALLOWED["user_sources"] = frozenset({"auth", "aws", "http"})
ALLOWED["user_source_trials"] = frozenset({"auth", "checks", "http", "user_sources", "wire"})
ALLOWED["gateway"] = LAYERS_BELOW | {"session", "startup", "user_sources"}
ALLOWED["check_command"] = LAYERS_BELOW | {"startup", "terminal", "user_source_trials"}
ALLOWED["testing"] = LAYERS_BELOW | {"session"}
ALLOWED["tap"] = frozenset(
    {"check_command", "demo", "gateway", "services", "signals", "startup", "telemetry", "terminal"}
)
ALLOWED["user_commands"] = frozenset({"auth", "aws", "config", "startup", "terminal"})
ALLOWED["ban_commands"] = frozenset({"config", "control", "terminal", "user_commands"})
ALLOWED["policy_command"] = frozenset({"aws", "startup"})
ALLOWED["cli"] = frozenset(
    {"auth", "ban_commands", "client_report", "policy_command", "tap", "user_commands"}
)
ALLOWED["__main__"] = frozenset({"cli"})

# Each module or package called `plan` is pure, and these are, too: no I/O, no clock, no random
# source.
PURE = frozenset(
    {
        "wire",
        "aio.active_weights",
        "aio.backoff",
        "aio.fair_order",
        "aio.lru",
        "buffers.byte_queue",
        "config.ini_edits",
        "config.ini_grammar",
        "errors",
        "files.memory.holders",
        "files.memory.loans",
        "files.memory.slow_uploads",
        "files.copies.preserved_properties",
        "files.listing.markers",
        "files.listing.progress",
        "files.mount_table",
        "files.name_patterns",
        "files.paths",
        "files.permissions",
        "files.silly_rename",
        "files.uploads.open_mode",
        "model.bucket_names",
        "model.limits",
        "model.messages",
        "model.normalization",
        "model.numbers",
        "model.object_settings",
        "model.records",
        "model.steps",
        "model.units",
        "s3.error_codes",
    }
)
# Values and the Protocols that use them: pure code imports the values.
VALUES = frozenset(
    {
        "model.filesystem",
        "model.mounts",
        "model.moving_upload",
        "model.settings",
        "model.store",
        "model.users",
    }
)
IMPURE = frozenset({"twisted", "zope", "os", "socket", "time", "random", "asyncio", "threading"})

PACKAGE = REPOSITORY / "sftpgw"
MODULES = sorted(PACKAGE.rglob("*.py"))


def name_of(file: Path) -> str:
    """The dotted name below ``sftpgw``: ``files.uploads.upload``, ``files.uploads``, ``tap``."""
    parts = file.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 1 else parts)


NAMES = frozenset(name_of(file) for file in MODULES)


def is_pure(module: str) -> bool:
    parts = module.split(".")
    return "plan" in parts or any(".".join(parts[:end]) in PURE for end in range(1, len(parts) + 1))


def imported_names(tree: ast.Module) -> Iterator[str]:
    """The dotted names of all modules that are, or may be, imported, wherever the import stands."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative imports hide where they lead"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def module_of(name: str) -> str:
    """The module of ours that an imported name belongs to: the longest that exists."""
    parts = name.split(".")[1:]
    for end in range(len(parts), 0, -1):
        if ".".join(parts[:end]) in NAMES:
            return ".".join(parts[:end])
    return "__init__"


def breaches(module: str, source: str) -> list[str]:
    """The names that `module` imports and must not."""
    package = module.split(".", maxsplit=1)[0]
    allowed = ALLOWED[package] | OPEN_TO_ALL | {package}
    found = []
    for name in imported_names(ast.parse(source)):
        top = name.split(".", maxsplit=1)[0]
        if top == "sftpgw":
            target = module_of(name)
            fits = target.split(".", maxsplit=1)[0] in allowed
            if not fits or (is_pure(module) and not (is_pure(target) or target in VALUES)):
                found.append(name)
        elif top in ("tests", "conftest") or (is_pure(module) and top in IMPURE):
            found.append(name)
    return found


def eager_reactors(source: str) -> list[int]:
    """The lines where importing the module would install a reactor."""
    lines = []
    pending: list[ast.AST] = [ast.parse(source)]
    while pending:
        node = pending.pop()
        if isinstance(node, ast.Import | ast.ImportFrom):
            if "twisted.internet.reactor" in imported_names(ast.Module([node], [])):
                lines.append(node.lineno)
        elif not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            pending.extend(ast.iter_child_nodes(node))
    return lines


def cycles(imports: dict[str, set[str]]) -> list[list[str]]:
    """The groups of modules that import each other, directly or through others."""
    reachable: dict[str, set[str]] = {}
    for start in imports:
        seen: set[str] = set()
        pending = [start]
        while pending:
            for target in imports[pending.pop()] - seen:
                seen.add(target)
                pending.append(target)
        reachable[start] = seen
    groups = {
        tuple(sorted(b for b in reachable[a] if a in reachable[b]))
        for a in imports
        if a in reachable[a]
    }
    return [list(group) for group in sorted(groups)]


@pytest.mark.parametrize("file", MODULES, ids=name_of)
def test_a_module_imports_what_the_table_allows(file: Path) -> None:
    module = name_of(file)
    package = module.split(".", maxsplit=1)[0]
    assert package in ALLOWED, f"the table does not have {package}; add it here and in the docs"
    source = file.read_text(encoding="utf-8")
    assert breaches(module, source) == []
    assert eager_reactors(source) == []


@pytest.mark.parametrize("file", MODULES, ids=name_of)
def test_a_module_has_a_docstring(file: Path) -> None:
    tree = ast.parse(file.read_text(encoding="utf-8"))
    assert not tree.body or ast.get_docstring(tree)


def test_the_names_of_modules() -> None:
    """One name, one module, and no gerunds, but for the two that are words of the field."""
    places = defaultdict(list)
    for file in MODULES:
        if file.stem not in ("__init__", "plan"):
            places[file.stem].append(name_of(file))
    assert [names for names in places.values() if len(names) > 1] == []
    assert [stem for stem in places if stem.endswith("ing") and stem != "listing"] == []


def test_no_two_classes_have_the_same_name() -> None:
    places = defaultdict(list)
    for file in MODULES:
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef):
                places[node.name].append(name_of(file))
    assert {name: where for name, where in places.items() if len(where) > 1} == {}


def test_the_plugin_imports_nothing_of_ours() -> None:
    (plugin,) = (REPOSITORY / "twisted" / "plugins").glob("*.py")
    names = list(imported_names(ast.parse(plugin.read_text(encoding="utf-8"))))
    assert names == ["twisted.application.service.ServiceMaker"]
    assert not list((REPOSITORY / "twisted").rglob("__init__.py")), "it would hide Twisted"


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("s3.retry.plan", "import os.path"),
        ("files.uploads.plan.extents", "def late():\n    from time import monotonic"),
        ("wire.sftp", "from twisted.internet.defer import Deferred"),
        ("files.uploads.plan.overlay", "from sftpgw.model.clock import Clock"),
        ("files.uploads.plan.overlay", "from sftpgw.files.uploads.upload import Upload"),
        ("files.paths", "from sftpgw.files.lookup import Lookup"),
        ("files.tree", "from sftpgw.s3.s3_client import S3Client"),
        ("files.tree", "from sftpgw import s3"),
        ("s3.requests", "import sftpgw.files"),
        ("ssh.avatar", "from sftpgw.sftp.protocol import SftpProtocol"),
        ("testing.fake_store", "from sftpgw.tap import makeService"),
        ("demo", "from sftpgw.tap import makeService"),
        ("model.units", "from sftpgw.model.clock import Clock"),
        ("model.store", "from sftpgw.aio.notifier import Notifier"),
        ("sftp.protocol", "from tests.helpers import anything"),
    ],
)
def test_a_breach_is_seen(module: str, source: str) -> None:
    assert breaches(module, source)


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("s3.retry.plan", "import math\nfrom sftpgw.model.units import MIB"),
        ("files.uploads.plan.overlay", "from sftpgw.files.uploads.plan.extents import Extents"),
        ("files.uploads.plan.overlay", "from sftpgw.model.store import ByteRange"),
        ("ssh.kex", "from sftpgw import __version__\nfrom sftpgw.auth.login_keys import LoginKey"),
        ("testing.fake_store", "from sftpgw.s3.s3_client import S3Client"),
        ("tap", "from sftpgw.demo import EmbeddedStore"),
    ],
)
def test_an_allowed_import_is_no_breach(module: str, source: str) -> None:
    assert breaches(module, source) == []


def test_an_eager_reactor_is_seen() -> None:
    assert eager_reactors("from twisted.internet import defer, reactor") == [1]
    assert eager_reactors("import twisted.internet.reactor") == [1]
    assert eager_reactors("def late():\n    from twisted.internet import reactor") == []


def test_a_cycle_is_seen() -> None:
    assert cycles({"a": {"b"}, "b": {"c"}, "c": {"b"}, "d": set()}) == [["b", "c"]]
    assert cycles({"a": {"b", "c"}, "b": {"c"}, "c": set()}) == []


def test_no_modules_import_each_other() -> None:
    imports = {
        name_of(file): {
            module_of(name)
            for name in imported_names(ast.parse(file.read_text(encoding="utf-8")))
            if name.startswith("sftpgw.")
        }
        - {name_of(file)}
        for file in MODULES
    }
    assert cycles(imports) == []
