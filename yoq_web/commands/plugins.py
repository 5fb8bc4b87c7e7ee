"""The `plugins` commands: what is installed, and why something was refused."""

from __future__ import annotations

import click
from flask.cli import AppGroup, with_appcontext

from yoq_web.commands.output import Failure, as_json, print_json, print_table
from yoq_web.hooks.host import current_host
from yoq_web.settings import current_settings


@with_appcontext
def refuse_settings() -> None:
    """Stop where the settings cannot be used."""
    if current_settings().error is not None:
        raise Failure(str(current_settings().error))


group = AppGroup("plugins", callback=refuse_settings, help="See the installed plugins.")


@group.command("list")
@as_json
def list_command(as_json: bool) -> None:
    """List the plugins: in use, blocked or refused."""
    plugins = current_host().all
    if as_json:
        keys = ("name", "distribution", "state", "error")
        print_json([{key: getattr(plugin, key) for key in keys} for plugin in plugins])
        return
    rows = [(plugin.name, plugin.state, plugin.distribution, plugin.error or "-") for plugin in plugins]
    print_table((20, 10, 28), ("NAME", "STATE", "DISTRIBUTION", "ERROR"), rows)


@group.command("check")
def check_command() -> None:
    """Check every plugin; exit code 1 if one was refused, with the reason."""
    refused = [plugin for plugin in current_host().all if plugin.state == "refused"]
    for plugin in refused:
        click.echo(f"{plugin.name}: {plugin.error}", err=True)
    if refused:
        raise Failure(f"{len(refused)} refused")
    click.echo(f"{len(current_host().active)} in use, none refused")
