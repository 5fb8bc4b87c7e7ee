"""What the log's package may import."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

from yoq_audit import tlog


def test_the_package_is_pure() -> None:
    """The package imports the standard library, `cryptography` and itself, and nothing else."""
    for file in Path(tlog.__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            for name in names:
                assert name.startswith("yoq_audit.tlog") or name.split(".")[0] in {
                    *sys.stdlib_module_names,
                    "cryptography",
                }, f"{file.name} imports {name}"
