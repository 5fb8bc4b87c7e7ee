"""The public API suffices: the built-in plugins import of the core, and of each other, only what any plugin may."""

from __future__ import annotations

import ast
import importlib
import inspect
from collections.abc import Iterator
from pathlib import Path

import pytest

import yoq_web

ROOT = Path(__file__).parent.parent

PUBLIC = ("yoq_web", "yoq_web.agents", "yoq_web.apps", "yoq_audit")
"""The packages whose `__all__` is for plugins: the core, its domains, and the plugin that is always there."""

PLUGINS = sorted(file for file in (ROOT / "plugins").rglob("*.py"))


def imported(file: Path) -> Iterator[tuple[str, str]]:
    """What a file imports from the core, and from plugins other than its own: from where, and which name."""
    own = file.relative_to(ROOT / "plugins").parts[0]
    others = {"yoq_web", *(folder.name for folder in (ROOT / "plugins").iterdir())} - {own}
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] in others:
            yield from ((node.module or "", alias.name) for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from ((alias.name, "*") for alias in node.names if alias.name.partition(".")[0] in others)


@pytest.mark.parametrize("file", PLUGINS, ids=lambda file: str(file.relative_to(ROOT / "plugins")))
def test_plugins_import_what_is_public(file: Path) -> None:
    """Every import from the core or another plugin is of a public name."""
    for module, name in imported(file):
        assert module in PUBLIC, f"{module} is not for plugins"
        assert name in importlib.import_module(module).__all__, f"{module}.{name} is not for plugins"


@pytest.mark.parametrize("module", PUBLIC)
def test_public_names_are_there_and_say_what_they_are(module: str) -> None:
    """Each name of `__all__` can be imported, and what is a class or a function says what it is."""
    package = importlib.import_module(module)
    assert sorted(set(package.__all__)) == sorted(package.__all__)
    for name in package.__all__:
        found = getattr(package, name)
        if isinstance(found, type) or (inspect.isfunction(found) and found.__module__.startswith("yoq_")):
            assert getattr(found, "__doc__", None), f"{module}.{name} has no docstring"


def test_the_first_names_stay() -> None:
    """What plugins could import before is a promise."""
    promised = (
        "Actor Choice CommandGroup Contribution Denied Event Failure Keeper Model Name NotFound Operation Problem "
        "Progress Rejected Resource Status Veto as_json checked create_app current_actor db describe_actor dumps "
        "endpoint hookimpl metadata named print_json print_table spooled"
    )
    assert set(promised.split()) <= set(yoq_web.__all__)
