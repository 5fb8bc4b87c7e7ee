"""The reference of the hooks, from their specifications."""

from __future__ import annotations

import ast
import inspect
from pathlib import Path

from docs.generator.blocks import unwrap
from yoq_web import hookspecs

SPECS = {
    node.name: node
    for node in ast.parse(Path(hookspecs.__file__).read_text()).body
    if isinstance(node, ast.FunctionDef)
}


def write_hook(name: str) -> str:
    """Write a hook's signature, and what its specification says."""
    spec = SPECS[name]
    returns = f" -> {ast.unparse(spec.returns)}" if spec.returns else ""
    said = unwrap(inspect.cleandoc(ast.get_docstring(spec) or ""))
    return f"```python\ndef {name}({ast.unparse(spec.args)}){returns}\n```\n\n{said}"


def write_hook_list() -> str:
    """Write the hooks' names, in the order of their specifications, with the first sentence of each."""
    lines = []
    for name, spec in SPECS.items():
        first = unwrap(ast.get_docstring(spec) or "").partition("\n")[0].partition(". ")[0].rstrip(".:")
        lines.append(f"- [`{name}`](#{name}): {first[0].lower() + first[1:]}.")
    return "\n".join(lines)
