"""The command line `yoq-web`: the application's commands, and the help and version that are told without it."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Callable
from importlib.metadata import EntryPoint, entry_points, version
from typing import TYPE_CHECKING, Any

import click
from click.shell_completion import CompletionItem

if TYPE_CHECKING:
    from flask import Flask

# Whatever else is needed is imported where it is used: to show help the program is not loaded.

COMMANDS = {
    "agent": "Manage agents, the machines that run services.",
    "app": "Apply, watch and roll back apps.",
    "backup": "Back up the database to one file, encrypted.",
    "db": "Bring the database up to date.",
    "import-yoq": "Bring secrets, network policies and API tokens from FILE.",
    "keys": "Manage the keys that secrets are encrypted with.",
    "plugins": "See the installed plugins.",
    "policy": "Manage network policies.",
    "restore": "Put the backup in FILE in the place of the database.",
    "secret": "Manage encrypted secrets.",
    "serve": "Serve the HTTP API.",
    "token": "Manage named, scoped API tokens.",
}
"""The core's commands, in a few words each."""

PLUGINS = "yoq_web.plugins"
DECLARED = "yoq_web.commands"
"""The entry points by which a distribution says which of its plugins have commands; of others all may have some."""


def make_app() -> Flask:
    """Build the application for a command. What the operator can mend ends the command with one line.

    With settings that cannot be used there is still help, and what is offline: others say so when they are run.
    """
    from yoq_web.app import build_app  # noqa: PLC0415 - as said above
    from yoq_web.hooks.host import RequiredPluginMissing  # noqa: PLC0415
    from yoq_web.settings import Settings, SettingsError  # noqa: PLC0415

    try:
        settings = Settings.load({})
    except SettingsError as error:
        settings = Settings.make_unusable(error)
    try:
        return build_app(settings, {})
    except (SettingsError, RequiredPluginMissing) as error:
        click.echo(str(error), err=True)
        sys.exit(1)


def find_plugin_commands() -> list[str]:
    """Find the names of plugins that have commands, without loading any."""
    declared = entry_points(group=DECLARED)
    saying = {_read_distribution(point) for point in declared}
    silent = [point for point in entry_points(group=PLUGINS) if _read_distribution(point) not in saying]
    return [point.name for point in (*declared, *silent)]


def _read_distribution(point: EntryPoint) -> str | None:
    try:
        return point.dist.name if point.dist else None
    except Exception:  # noqa: BLE001 - a damaged distribution is said to be so by the application
        return None


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


class Root(click.Group):
    """The root group. Like yoq it exits with 0 or 1, never with click's 2."""

    def __init__(self, name: str, create_app: Callable[[], Flask] = make_app, **options: Any) -> None:
        super().__init__(name, context_settings={"help_option_names": ["-h", "--help"]}, **options)
        self.create_app = create_app

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
        except Exception as error:
            from sqlalchemy.exc import SQLAlchemyError  # noqa: PLC0415 - as said above

            from yoq_web.commands.output import explain_database_error  # noqa: PLC0415

            # Also from commands that are in no CommandGroup. What remains is a defect of ours or a plugin's.
            failure = explain_database_error(error) if isinstance(error, SQLAlchemyError) else None
            if failure is None:
                raise
            failure.show()
            sys.exit(1)
        sys.exit(result if isinstance(result, int) else 0)

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's
        """List the names of the commands, those of plugins among them."""
        return sorted({*COMMANDS, *find_plugin_commands()})

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write what the commands are for, without loading them."""
        names = self.list_commands(ctx)
        with formatter.section("Commands"):
            formatter.write_dl([(name, COMMANDS.get(name, f"Commands of the plugin {name}.")) for name in names])

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Complete the name of a command, without loading any."""
        names = [name for name in self.list_commands(ctx) if name.startswith(incomplete)]
        return [CompletionItem(name) for name in names] + click.Command.shell_complete(self, ctx, incomplete)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return a command of its own, or of the application, in whose context it runs."""
        if found := super().get_command(ctx, cmd_name):
            return found
        from flask.cli import ScriptInfo  # noqa: PLC0415 - as said above

        if ctx.obj is None:
            ctx.obj = ScriptInfo(create_app=self.create_app)
        # What is loaded stays: to look for garbage among it again and again took a ninth of the time.
        gc.disable()
        try:
            app: Flask = ctx.obj.load_app()
        finally:
            gc.freeze()
            gc.enable()
        ctx.with_resource(app.app_context())
        return app.cli.get_command(ctx, cmd_name)


def show_version(ctx: click.Context, _option: click.Parameter, wanted: bool) -> None:
    """Print the version and end, if it was asked for."""
    if wanted:
        click.echo(f"yoq-web {version('yoq-web')}")
        ctx.exit()


main = Root(
    "yoq-web",
    help="An admin control plane whose every sensitive operation leaves an audit record.",
    params=[
        click.Option(
            ["--version"],
            is_flag=True,
            is_eager=True,
            expose_value=False,
            callback=show_version,
            help="Show the version and exit.",
        )
    ],
)
