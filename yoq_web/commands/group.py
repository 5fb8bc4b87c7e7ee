"""CommandGroup: a group of commands, the core's or a plugin's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from yoq_web.commands.command import Command


class CommandGroup(click.Group):
    """A group whose commands act as the local actor, each in an app context of its own: see Command."""

    command_class = Command
    group_class = type
    """Groups within it are CommandGroups, too."""

    def command(  # type: ignore[override]  # click's has overloads, for uses that ours does not have
        self, *arguments: Any, **options: Any
    ) -> Callable[[Callable[..., Any]], Command]:
        """Declare a command, as in click; it may be `read_only` or `offline`."""
        declare: Callable[[Callable[..., Any]], Command] = super().command(*arguments, **options)
        return declare
