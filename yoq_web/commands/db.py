"""The `db` commands: Flask-Migrate's, for all lineages at once where that makes sense, else for one at a time."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import click
import flask_migrate
from alembic.util import CommandError
from flask import g
from flask.cli import AppGroup, with_appcontext
from flask_migrate.cli import db as stock

from yoq_web.commands.output import Failure
from yoq_web.database import locks
from yoq_web.database.data_dir import make_files
from yoq_web.database.migrations import choose_lineage, list_lineages, list_standings, make_outdated_problem, upgrade
from yoq_web.problems import Problem
from yoq_web.settings import SettingsError, current_settings

HELP = "Bring the database up to date. Commands for one lineage take `db -x plugin=NAME`; without it, the core's."

LINEAGE = click.Option(
    ["-x", "--x-arg", "x_arg"], multiple=True, metavar="plugin=NAME", help="Which lineage; the core's if not given."
)


class MigrationGroup(AppGroup):
    """Tells a migration's mistakes as one line. Its commands make the data directory, and wait for a restore to end."""

    def add_command(self, cmd: click.Command, name: str | None = None) -> None:
        """Add a command, Flask-Migrate's or ours."""
        cmd.callback = _hold_database(cmd.callback) if cmd.callback else None
        super().add_command(cmd, name)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command that was named."""
        try:
            return super().invoke(ctx)
        except Problem as problem:
            raise Failure(f"{problem.error}: {problem.detail}") from None
        except (CommandError, SettingsError) as error:
            raise Failure(str(error)) from None


def _hold_database(callback: Callable[..., Any]) -> Callable[..., Any]:
    # Not in the group's own callback: that is called for the help of each command as well.
    @with_appcontext
    @functools.wraps(callback)
    def run(*arguments: Any, **options: Any) -> Any:
        make_files(current_settings())
        click.get_current_context().with_resource(locks.use_shared(current_settings()))
        return callback(*arguments, **options)

    return run


@with_appcontext
def remember(x_arg: tuple[str, ...]) -> None:
    """Put what was chosen where Flask-Migrate's commands look for it."""
    g.directory = None
    g.x_arg = x_arg


group = MigrationGroup("db", callback=remember, params=[LINEAGE], help=HELP)
for name, command in stock.commands.items():
    if name not in ("init", "list-templates", "upgrade", "downgrade", "current"):
        group.add_command(command, name)


@group.command("upgrade")
@click.option("--sql", is_flag=True, help="Print the SQL instead of running it.")
@click.option("--tag", help="Any word, for env.py.")
@click.option("-x", "--x-arg", "x_arg", multiple=True, metavar="plugin=NAME", help="Upgrade one lineage only.")
@click.argument("revision", default="head")
def upgrade_command(sql: bool, tag: str | None, x_arg: tuple[str, ...], revision: str) -> None:
    """Bring the core's lineage and every plugin's up to date, or one to a revision."""
    chosen = list(x_arg or g.x_arg)
    if chosen or revision != "head":
        flask_migrate.upgrade(revision=revision, sql=sql, tag=tag, x_arg=chosen)
    elif sql or tag:
        for lineage in list_lineages():
            flask_migrate.upgrade(revision=revision, sql=sql, tag=tag, x_arg=[f"plugin={lineage.name}"])
    else:
        upgrade(click.echo)
        click.echo("the database is up to date")


@group.command("downgrade")
@click.option("--sql", is_flag=True, help="Print the SQL instead of running it.")
@click.option("--tag", help="Any word, for env.py.")
@click.option("-x", "--x-arg", "x_arg", multiple=True, metavar="plugin=NAME", help="Which lineage; the core's if none.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.argument("revision", default="-1")
def downgrade_command(sql: bool, tag: str | None, x_arg: tuple[str, ...], yes: bool, revision: str) -> None:
    """Take one lineage back to a revision, by one if none is given; what the newer tables hold is lost."""
    chosen = list(x_arg or g.x_arg)
    lineage = choose_lineage(chosen)
    if not (sql or yes):
        click.confirm(
            f"Taking {lineage.name} back to {revision!r} removes tables or columns and all that they hold, "
            "the audit trail included if it is there.\nThere is no way back but a backup. Go on?",
            abort=True,
            err=True,
        )
    flask_migrate.downgrade(revision=revision, sql=sql, tag=tag, x_arg=chosen)


@group.command("current")
@click.option("-x", "--x-arg", "x_arg", multiple=True, metavar="plugin=NAME", help="Show one lineage only.")
@with_appcontext
def current_command(x_arg: tuple[str, ...]) -> None:
    """Show where each lineage stands; exit code 1 if one is behind."""
    chosen = x_arg or g.x_arg
    found = [standing for standing in list_standings() if not chosen or standing.lineage == choose_lineage(chosen)]
    for standing in found:
        click.echo(str(standing))
    if wrong := [standing for standing in found if not standing.up_to_date]:
        raise make_outdated_problem(wrong)
