"""The command line `yoq-web`: a Flask command group with the core's commands and those of every plugin."""

from __future__ import annotations

import sys
from importlib.metadata import entry_points
from typing import Any

import click
from flask import Flask
from flask.cli import FlaskGroup
from sqlalchemy.exc import SQLAlchemyError

from yoq_web.app import create_app
from yoq_web.commands.group import told
from yoq_web.hooks.host import GROUP, RequiredPluginMissing
from yoq_web.hooks.notifier import HOOK_ERRORS
from yoq_web.settings import SettingsError


def make_app() -> Flask:
    """The application for a command. What the operator can mend ends the command with one line."""
    try:
        return create_app()
    except (SettingsError, RequiredPluginMissing) as error:
        click.echo(str(error), err=True)
        sys.exit(1)


def offline_command(plugin: str, name: str) -> click.Command | None:
    """What the module of a plugin has as OFFLINE_COMMANDS[name]: a command without settings, data or a database."""
    for point in entry_points(group=GROUP, name=plugin):
        try:
            found = getattr(point.load(), "OFFLINE_COMMANDS", {}).get(name)
        except HOOK_ERRORS:
            continue  # the application, built next, refuses the plugin and says why
        if isinstance(found, click.Command):
            return found
    return None


class Root(FlaskGroup):
    """The root group. Like yoq it exits with 0 or 1, never with click's 2."""

    def main(self, *args: Any, **kwargs: Any) -> Any:
        """Run a command line and exit."""
        kwargs["standalone_mode"] = False
        try:
            result = super().main(*args, **kwargs)
        except click.ClickException as error:
            error.show()
            sys.exit(1)
        except click.Abort:
            click.echo("aborted", err=True)
            sys.exit(1)
        except SQLAlchemyError as error:
            # Also from commands that are in no CommandGroup. What remains is a defect of ours or a plugin's.
            failure = told(error)
            if failure is None:
                raise
            failure.show()
            sys.exit(1)
        sys.exit(result if isinstance(result, int) else 0)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command that was named; no application is built for one that a plugin declares offline."""
        command = offline_command(*args[:2]) if len(args) > 1 else None
        return (" ".join(args[:2]), command, args[2:]) if command else super().resolve_command(ctx, args)

    def _load_plugin_commands(self) -> None:
        """Load none of the commands that distributions add to every Flask program: they would win over ours."""


main = Root(
    name="yoq-web",
    create_app=make_app,
    add_default_commands=False,
    add_version_option=False,
    set_debug_flag=False,
    help="An admin control plane whose every sensitive operation leaves an audit record.",
)
# Flask's own options: which application to load is no question here.
main.params.clear()
