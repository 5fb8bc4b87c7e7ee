"""What the tests of plugins share: plugins made from functions, and throw-away distributions that carry one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from flask import Flask

from yoq_web import Contribution, Event, hookimpl
from yoq_web.hooks.host import Plugin, current_host


class Made:
    """A plugin whose hooks are the functions given, by the hooks' names."""

    def __init__(self, name: str, /, **hooks: Callable[..., Any]) -> None:
        self.name = name
        for hook, function in hooks.items():
            setattr(self, hook, hookimpl(function))


def contributing(name: str, **contribution: Any) -> Made:
    """A plugin that contributes this."""
    return Made(name, yoq_contribute=lambda app: Contribution(**contribution))


def noting(into: list[Event]) -> Callable[..., None]:
    """An implementation of a hook that keeps the events it is called with."""

    def note(event: Event) -> None:
        into.append(event)

    return note


def plugins_of(app: Flask) -> dict[str, Plugin]:
    """What became of each plugin of an application."""
    return current_host(app).plugins


def refused(app: Flask) -> dict[str, str | None]:
    """The refused plugins of an application and why; duplicates among them."""
    return {plugin.name: plugin.error for plugin in current_host(app).all if plugin.state == "refused"}


def distribution(folder: Path, name: str, source: str, **points: str) -> None:
    """Install a distribution into `folder`: the module `name` with this source, and these entry points."""
    (folder / f"{name}.py").write_text(source)
    metadata(folder, name, points or {name: name})


def metadata(folder: Path, name: str, points: Mapping[str, str]) -> None:
    """Install what pip writes beside a distribution's modules."""
    info = folder / f"{name}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    lines = [f"{point} = {value}" for point, value in points.items()]
    (info / "entry_points.txt").write_text("\n".join(["[yoq_web.plugins]", *lines, ""]))


HARMLESS = "import yoq_web\n\n@yoq_web.hookimpl\ndef yoq_contribute():\n    return yoq_web.Contribution()\n"
"""The source of a plugin that adds nothing."""
