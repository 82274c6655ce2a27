"""The directive ``.. diagram:: CAPTION``: a figure drawn with characters, shown as SVG.

svgbob draws it while the site is built, so that the source stays readable and a reader's browser
fetches nothing. The SVG is part of the page and has the page's colours, in dark mode, too, which
the directive of sphinxcontrib-svgbob, an image, cannot have. Other builders show the characters.
"""

from __future__ import annotations

import html
import re
from typing import Any, ClassVar

from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective
from sphinxcontrib.svgbob._svgbob import to_svg


class Diagram(SphinxDirective):
    """Turns its content into a figure, with its argument as the caption."""

    has_content = True
    required_arguments = 1
    final_argument_whitespace = True
    option_spec: ClassVar[dict[str, Any]] = {}

    def run(self) -> list[nodes.Node]:
        caption = self.arguments[0].replace("\n", " ")
        text = "\n".join(self.content)
        picture = nodes.raw("", figure_html(text, caption), format="html")
        characters = nodes.literal_block(text, text, language="none")
        return [
            _only("html", picture),
            _only("not html", characters, nodes.paragraph(caption, caption)),
        ]


def _only(builders: str, *children: nodes.Node) -> nodes.Node:
    return addnodes.only("", *children, expr=builders)


def figure_html(text: str, caption: str) -> str:
    """The figure as HTML; it has the width of its lines and shrinks with the page."""
    svg = to_svg(text, include_styles=False)
    found = re.match(r'<svg ([^>]*)width="(\d+)" height="(\d+)"([^>]*)>', svg)
    assert found is not None, "svgbob has another head"
    box = f'viewBox="0 0 {found[2]} {found[3]}" role="img" aria-label="{html.escape(caption)}"'
    head = f'<svg {found[1]}width="{found[2]}" {box}{found[4]}>'
    body = svg[found.end() :]
    foot = f"<figcaption>{html.escape(caption)}</figcaption>"
    return f'<figure class="diagram">{head}{body}{foot}</figure>'


def setup(app: Sphinx) -> dict[str, Any]:
    """What Sphinx calls to load the extension."""
    app.add_directive("diagram", Diagram)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
