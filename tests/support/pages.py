"""The documentation as the tests read it: README and its like, and the pages under docs/."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
README = ROOT / "README.md"
PAGES = [README, ROOT / "CONTRIBUTING.md", ROOT / "SECURITY.md", *sorted(DOCS.rglob("*.md"))]

FENCE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)


def page(name: str) -> str:
    """Return the text of a page under docs/."""
    return (DOCS / name).read_text()


def section(text: str, title: str) -> str:
    """Return what stands under a heading of the second level."""
    return text.partition(f"\n## {title}\n")[2].partition("\n## ")[0]


def block(text: str, language: str) -> str:
    """Return the first block of code in a language."""
    return text.partition(f"```{language}\n")[2].partition("```")[0]


def blocks(text: str, language: str) -> list[str]:
    """Return every block of code in a language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def prose(text: str) -> str:
    """Return a page without its blocks of code, where a hash begins a comment and a bracket no link."""
    return FENCE.sub("", text)


def anchor(title: str) -> str:
    """Return the anchor of a heading, as GitHub and the site make it."""
    return re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")


def anchors(text: str) -> set[str]:
    """Return the anchors of a page's headings."""
    return {anchor(title.replace("`", "")) for title in re.findall(r"^#+ (.*)$", prose(text), re.MULTILINE)}
