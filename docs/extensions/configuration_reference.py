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
    yield f"   :type: {key.kind}"
    if key.default:
        yield f"   :default: ``{key.default}``"
    yield ""
    yield f"   {key.meaning}"
    yield ""
    if key.bounds:
        label = {"names": "Known", "choice": "One of", "number": "From", "size": "From"}
        yield f"   :{label.get(key.kind, 'From' if key.kind == 'time' else 'Written as')}:"
        yield f"      {bounds_markup(key)}"
    yield f"   :Since: {key.since}"
    yield ""


def bounds_markup(key: DescribedKey) -> str:
    """The bounds, with the words that a file may have set as literals."""
    if key.kind in ("names", "choice"):
        return ", ".join(f"``{word}``" for word in key.bounds.replace(",", " ").split())
    return key.bounds


def setup(app: Sphinx) -> dict[str, Any]:
    """What Sphinx calls to load the extension."""
    app.add_directive("configuration-reference", ConfigurationReference)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
