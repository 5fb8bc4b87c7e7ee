"""The command line `yoq-web`: a Flask command group with the core's commands and those of every plugin."""

from __future__ import annotations

import os
import sys
from typing import Any

import click
from flask import Flask
from flask.cli import FlaskGroup
from sqlalchemy.exc import SQLAlchemyError

from yoq_web.app import build_app
from yoq_web.commands.output import explain_database_error
from yoq_web.hooks.host import RequiredPluginMissing
from yoq_web.settings import Settings, SettingsError


def make_app() -> Flask:
    """Build the application for a command. What the operator can mend ends the command with one line.

    With settings that cannot be used there is still help, and what is offline: others say so when they are run.
    """
    try:
        settings = Settings.load({})
    except SettingsError as error:
        settings = Settings.make_unusable(error)
    try:
        return build_app(settings, {})
    except (SettingsError, RequiredPluginMissing) as error:
        click.echo(str(error), err=True)
        sys.exit(1)


def open_standard_files() -> None:
    """Open what of standard input, output and error is closed: for nothing to read, or for what nobody reads.

    Else the next file that is opened, as the database, would have the number of one of them.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest number that is free is this one
    if sys.stdin is None:
        sys.stdin = open(0, closefd=False)  # noqa: SIM115 - for as long as the program


class Root(FlaskGroup):
    """The root group. Like yoq it exits with 0 or 1, never with click's 2."""

    def main(self, *args: Any, **kwargs: Any) -> Any:
        """Run a command line and exit."""
        kwargs["standalone_mode"] = False
        open_standard_files()
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
            failure = explain_database_error(error)
            if failure is None:
                raise
            failure.show()
            sys.exit(1)
        sys.exit(result if isinstance(result, int) else 0)

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
