"""Sphinx: the reference is made from the docstrings of the installed package."""
import re

import fastnn

project, author, release = "fastnn", "the fastnn authors", fastnn.__version__
extensions = ["sphinx.ext.autodoc", "sphinx.ext.viewcode", "myst_parser"]
html_theme = "furo"
exclude_patterns = ["_build"]
default_role = "code"
autodoc_member_order = "bysource"
autodoc_typehints = "description"


def escape(app, what, name, obj, options, lines):
    """Docstrings are plain text for help(): |x|, a * b and classes_ stand as they are."""
    for i, line in enumerate(lines):
        if not line.lstrip().startswith((">>>", "...")) and not line.startswith("    "):
            parts = re.split(r"(`+[^`]*`+)", line)
            lines[i] = "".join(p if p.startswith("`") else re.sub(r"([*|\\]|_(?!\w))", r"\\\1", p) for p in parts)


def setup(app):
    app.connect("autodoc-process-docstring", escape)
