"""How Sphinx builds the site: python -m sphinx -n -W --keep-going docs build/docs."""

from __future__ import annotations

import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE / "extensions"), str(HERE.parent)]

from sftpgw import __version__  # noqa: E402

project = "sftpgw"
project_copyright = "the authors of sftpgw"
version = release = __version__

extensions = ["configuration_reference", "event_reference", "diagrams"]
exclude_patterns = ["extensions"]
highlight_language = "none"
nitpicky = True
smartquotes = False

html_theme = "furo"
html_title = f"sftpgw {version}"
html_static_path = ["static"]
html_css_files = ["sftpgw.css"]
html_show_sphinx = False
html_copy_source = False
html_show_sourcelink = False
