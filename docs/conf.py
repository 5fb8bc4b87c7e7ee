"""How Sphinx builds the site from these pages: `./run docs`."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

from sphinx.application import Sphinx

HERE = Path(__file__).parent
PROJECT = tomllib.loads((HERE.parent / "pyproject.toml").read_text())["project"]
REPOSITORY = f"{PROJECT['urls']['Source']}/blob/main/"

project = "yoq-web"
author = copyright = "yoq-web contributors"  # noqa: A001 - Sphinx's name for it
version = release = PROJECT["version"]

extensions = ["myst_parser"]
exclude_patterns = ["generator", "_build"]
myst_heading_anchors = 4
suppress_warnings: list[str] = []
nitpicky = True

html_theme = "furo"
html_title = f"yoq-web {version}"
html_theme_options = {
    "source_repository": PROJECT["urls"]["Source"],
    "source_branch": "main",
    "source_directory": "docs/",
}

LINK = re.compile(r"\]\(((?:\.\./)+[^)#]*)(#[^)]*)?\)")
LISTED = re.compile(r"^- \[[^\]]*\]\(([\w/.-]+)\.md\)", re.MULTILINE)


def prepare(_app: Sphinx, name: str, source: list[str]) -> None:
    """Point links that leave the pages to the repository, and make of an index's list the site's table of contents."""

    def follow(found: re.Match[str]) -> str:
        target = (HERE / name).parent.joinpath(found[1]).resolve()
        inside = target.is_relative_to(HERE)
        return found[0] if inside else f"]({REPOSITORY}{target.relative_to(HERE.parent)}{found[2] or ''})"

    text = LINK.sub(follow, source[0])
    listed = LISTED.findall(text) if name.rpartition("/")[2] == "index" else []
    if listed:
        text += "\n```{toctree}\n:hidden:\n\n" + "\n".join(listed) + "\n```\n"
    source[0] = text


def setup(app: Sphinx) -> None:
    """Have Sphinx show each page to prepare() before it is read."""
    app.connect("source-read", prepare)
