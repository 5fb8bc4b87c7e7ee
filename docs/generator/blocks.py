"""Blocks: the parts of a page between two marks, which are written by the program and by nobody else."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence

Writer = Callable[[str], str]
"""Makes a block's text of the words that follow its name in the mark."""

BLOCK = re.compile(r"(<!-- generated: (\w+) ?([^\n]*?) -->\n).*?(<!-- end -->)", re.DOTALL)


def write_blocks(text: str, writers: Mapping[str, Writer]) -> str:
    """Return a page with all its blocks written anew. Raises KeyError for a block that nobody can write."""
    return BLOCK.sub(lambda found: f"{found[1]}\n{writers[found[2]](found[3]).strip()}\n\n{found[4]}", text)


def make_table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Make a table; a bar in a cell is escaped, and a line's end becomes a space."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(_clean(cell) for cell in line)} |" for line in lines) + "\n"


def code(text: str) -> str:
    """Set a text as code, or nothing if it is empty."""
    return f"`{text}`" if text else ""


def unwrap(text: str) -> str:
    """Make one line of each paragraph, as a page's reader sees it; an empty line keeps parting two."""
    return "\n\n".join(" ".join(part.split()) for part in text.strip().split("\n\n"))


def _clean(cell: str) -> str:
    return " ".join(cell.replace("|", "\\|").split())
