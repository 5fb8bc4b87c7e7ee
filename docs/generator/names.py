"""The reference of the public names: what a plugin may import from yoq_web, and from the audit plugin."""

from __future__ import annotations

import ast
import importlib
import inspect
import pkgutil
import typing
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import yoq_web
from docs.generator.blocks import code, make_table


def write_names(package: str) -> str:
    """Write a row a public name of a package: what it is, and what for. Raises LookupError if nothing says that."""
    found = importlib.import_module(package)
    rows = [
        (code(name), _kind(getattr(found, name)), _say(found, name)) for name in sorted(found.__all__, key=str.lower)
    ]
    return make_table(("name", "what", "what for"), rows)


def write_modules() -> str:
    """Write a row a module that a domain of the core publishes: the domain's `__all__` has it."""
    rows = []
    for _, name, package in pkgutil.iter_modules(yoq_web.__path__):
        domain = importlib.import_module(f"yoq_web.{name}") if package else None
        for published in getattr(domain, "__all__", ()):
            module = importlib.import_module(f"yoq_web.{name}.{published}")
            said = (inspect.getdoc(module) or "").partition("\n")[0].rstrip(".")
            rows.append((name, code(f"from yoq_web.{name} import {published}"), said))
    return make_table(("domain", "module", "what for"), rows)


def write_fields(words: str) -> str:
    """Write what a public class or function says of itself, and how it is called; the package may follow its name."""
    name, _, package = words.partition(" ")
    found = getattr(importlib.import_module(package or "yoq_web"), name)
    return f"```\n{name}{_signature(found)}\n```\n\n{inspect.getdoc(found) or ''}"


def _signature(found: Callable[..., object]) -> str:
    parameters = inspect.signature(found).parameters.values()
    return "(" + ", ".join(parameter.name for parameter in parameters) + ")"


def _kind(found: object) -> str:
    if inspect.ismodule(found):
        return "module"
    if inspect.isclass(found):
        return "exception" if issubclass(found, BaseException) else "class"
    if inspect.isroutine(found):
        return "function"
    if typing.get_origin(found) is not None:
        return "type"
    return "value, by application" if type(found).__name__ == "AppLocal" else "value"


def _say(package: ModuleType, name: str) -> str:
    """Return the first sentence of what the source says of a name."""
    found = getattr(package, name)
    text = (
        inspect.getdoc(found) if inspect.isclass(found) or inspect.isroutine(found) or inspect.ismodule(found) else ""
    )
    text = text or _comment(package, name)
    if not text:
        raise LookupError(f"say what {package.__name__}.{name} is, in a text below its assignment")
    return text.partition("\n\n")[0].replace("\n", " ").partition(". ")[0].rstrip(".:")


def _comment(package: ModuleType, name: str) -> str:
    """Return the text that follows a value's assignment, in the module where the package imports it from."""
    file = Path(package.__file__ or "")
    here = ast.parse(file.read_text())
    for node in ast.walk(here):
        if isinstance(node, ast.ImportFrom) and node.module and name in {alias.name for alias in node.names}:
            module = file.parents[1] / (node.module.replace(".", "/") + ".py")
            return _documented(ast.parse(module.read_text()).body, name) if module.is_file() else ""
    return ""


def _documented(body: list[ast.stmt], name: str) -> str:
    for statement, following in zip(body, [*body[1:], None], strict=True):
        targets = statement.targets if isinstance(statement, ast.Assign) else [getattr(statement, "target", None)]
        if any(isinstance(target, ast.Name) and target.id == name for target in targets):
            said = following.value if isinstance(following, ast.Expr) else None
            if isinstance(said, ast.Constant) and isinstance(said.value, str):
                return inspect.cleandoc(said.value)
    return ""
