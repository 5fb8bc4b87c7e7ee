"""The page on clocks knows every module that reads the machine's clock, and none that does not."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import yoq_audit
import yoq_web
import yoq_wire
from tests.support.pages import page

READS = {
    "time": {"time", "time_ns", "gmtime", "localtime", "ctime"},
    "datetime": {"now", "utcnow", "today"},
    "date": {"today"},
}
"""By module or class: what of it shows the machine's clock. `monotonic` and its like are no clock that anybody sets."""


def reads_clock(node: ast.AST) -> bool:
    """Tell whether a piece of code is a look at the clock, or the name of the function that looks."""
    assert not (isinstance(node, ast.ImportFrom) and node.module == "time"), "import time whole, so that it is found"
    return (
        isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and node.attr in READS.get(node.value.id, ())
    )


def read_modules() -> Iterator[str]:
    """Yield the modules of the program that read the clock."""
    for package in (yoq_web, yoq_audit, yoq_wire):
        root = Path(package.__file__ or "").parent
        for path in sorted(root.rglob("*.py")):
            if any(reads_clock(node) for node in ast.walk(ast.parse(path.read_text()))):
                yield str(path.relative_to(root.parent))


def test_every_place_has_a_rule() -> None:
    """Whoever adds a look at the clock says what happens when it is wrong."""
    named = re.findall(r"^\| `([\w/]+\.py)` \| \S", page("operate/clocks.md"), re.MULTILINE)
    assert sorted(named) == sorted(read_modules())
    assert len(named) == len(set(named)) > 30
