"""The modules of docs/extensions, which is no package: Sphinx puts the folder on its path."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

FOLDER = Path(__file__).parents[2] / "docs" / "extensions"


def load_extension(name: str) -> ModuleType:
    """The module of this name, which must not need Sphinx."""
    file = FOLDER / f"{name}.py"
    spec = importlib.util.spec_from_file_location(name, file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look their own module up
    spec.loader.exec_module(module)
    return module
