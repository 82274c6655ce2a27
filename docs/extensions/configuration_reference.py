"""The directive ``.. configuration-reference:: SECTION``: every key of a section.

Each key is a ``confval``, so that pages refer to it by ``:confval:`[s3] part_size``` and a wrong
name is a warning. What is said of a key comes from `described_keys`.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from docutils import nodes
from docutils.statemachine import StringList
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

sys.path.insert(0, str(Path(__file__).parent))
from described_keys import DescribedKey, describe_section


class ConfigurationReference(SphinxDirective):
    """Lists the keys of one section, or of users.ini, in the order of their table."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        lines = [
            line for key in describe_section(self.arguments[0]) for line in directive_lines(key)
        ]
        source, _ = self.get_source_info()
        container = nodes.container()
        self.state.nested_parse(StringList(lines, source), self.content_offset, container)
        return container.children


def directive_lines(key: DescribedKey) -> Iterator[str]:
    """The reStructuredText that describes `key`."""
    yield f".. confval:: {key.title}"
    yield ""
    yield f"   {key.meaning}"
    yield ""
    yield "   .. rst-class:: key-facts"
    yield ""
    yield f"   {facts(key)}"
    yield ""


def facts(key: DescribedKey) -> str:
    """Type, bounds, default and first version, in one line."""
    default = f"default: ``{key.default}``" if key.default else "no default"
    return f"{written(key)} · {default} · since {key.since}"


def written(key: DescribedKey) -> str:
    """The type with its bounds; words that a file may have are literals."""
    if not key.bounds:
        return key.kind
    if key.kind in ("names", "choice"):
        words = ", ".join(f"``{word}``" for word in key.bounds.replace(",", " ").split())
        return f"{'names of' if key.kind == 'names' else 'one of'} {words}"
    if key.kind in ("number", "size", "time"):
        return f"{key.kind} from {key.bounds}"
    return f"{key.kind}: ``{key.bounds}``" if key.kind == "URL" else f"{key.kind}: {key.bounds}"


def setup(app: Sphinx) -> dict[str, Any]:
    """What Sphinx calls to load the extension."""
    app.add_directive("configuration-reference", ConfigurationReference)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
