"""The floors: what may import what. Every import counts, those for types alone and those inside functions too."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

CORE = (
    "app_local jsontext names times",
    "scopes settings",
    "logs",
    "actors files metrics problems",
    "hooks",
    "database",
    "operations",
    "http",
    "commands",
    "contributions",
    "hookspecs secrets policies tokens agents",
    "apps backup yoq_import",
    "service",
    "server",
    "app",
    "cli wsgi __init__",
)
"""The core's modules and packages, the lowest floor first: each imports from the floors below its own."""

AUDIT = (
    "tlog settings",
    "storage",
    "sealing",
    "proofs query verification",
    "export retention",
    "backup entry_view gauges in_doubt key_commands",
    "commands",
    "__init__",
)
"""The audit plugin's."""

HOUSES = {"yoq_web": (ROOT / "yoq_web", CORE), "yoq_audit": (ROOT / "plugins" / "yoq_audit", AUDIT)}


def imports(file: Path, package: str) -> Iterator[str]:
    """The modules of `package` that a file imports, as the parts behind the package's name."""
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module == package:
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith(f"{package}."):
            yield (node.module or "").removeprefix(f"{package}.")
        elif isinstance(node, ast.Import):
            found = (alias.name for alias in node.names if alias.name.startswith(f"{package}."))
            yield from (name.removeprefix(f"{package}.") for name in found)


@pytest.mark.parametrize("package", HOUSES)
def test_imports_run_down(package: str) -> None:
    """No module imports from its own floor, but for its own package, or from one above."""
    folder, floors = HOUSES[package]
    floor = {name: height for height, names in enumerate(floors) for name in names.split()}
    wrong = []
    for file in sorted(folder.rglob("*.py")):
        own = file.relative_to(folder).with_suffix("").parts[0]
        if own == "migrations":
            continue
        assert own in floor, f"{package}/{own} stands on no floor: give it one in this test"
        for imported in imports(file, package):
            name = imported.partition(".")[0]
            if (folder / name).is_dir() or (folder / f"{name}.py").exists():
                if name != own and floor[name] >= floor[own]:
                    wrong.append(f"{file.relative_to(ROOT)} imports {package}.{imported}")
            else:
                wrong.append(f"{file.relative_to(ROOT)} imports {imported} from {package} itself, which is the top")
    assert not wrong, "\n".join(wrong)


def test_plugins_import_what_is_published() -> None:
    """The built-in plugins use what a stranger's may: names in the `__all__` of the core and of its domains."""
    wrong = []
    for file in sorted((ROOT / "plugins").rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Import):
                found = [(alias.name, "itself") for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                found = [(node.module or "", alias.name) for alias in node.names]
            else:
                continue
            for module, name in found:
                if module.partition(".")[0] == "yoq_web" and name not in getattr(import_module(module), "__all__", ()):
                    wrong.append(f"{file.relative_to(ROOT)} imports {name} from {module}")
    assert not wrong, "\n".join(wrong)


def test_the_top_is_a_table_of_contents() -> None:
    """At the top of the core lie few modules, each of which a newcomer would look for there."""
    assert len(list((ROOT / "yoq_web").glob("*.py"))) <= 17


def test_the_transparency_log_is_pure() -> None:
    """It imports the standard library, `cryptography` and itself, and nothing else."""
    allowed = {*sys.stdlib_module_names, "cryptography"}
    for file in (ROOT / "plugins" / "yoq_audit" / "tlog").glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            for name in names:
                own = name.startswith("yoq_audit.tlog")
                assert own or name.partition(".")[0] in allowed, f"{file.name} imports {name}"
