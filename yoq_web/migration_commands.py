"""The `db` commands: Flask-Migrate's, for all lineages at once where that makes sense, else for one at a time."""

from __future__ import annotations

from typing import Any

import click
import flask_migrate
from alembic.util import CommandError
from flask import g
from flask.cli import AppGroup, with_appcontext
from flask_migrate.cli import db as stock

from yoq_web.commands import Failure
from yoq_web.lineages import lineages, out_of_date, standings, upgrade
from yoq_web.problems import Problem

HELP = "Bring the database up to date. Commands for one lineage take `db -x plugin=NAME`; without it, the core's."

stock_callback: Any = stock.callback  # it puts -d and -x where Flask-Migrate's commands look for them


class MigrationGroup(AppGroup):
    """Tells a migration's mistakes as one line."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command that was named."""
        try:
            return super().invoke(ctx)
        except Problem as problem:
            raise Failure(f"{problem.error}: {problem.detail}") from None
        except CommandError as error:
            raise Failure(str(error)) from None


group = MigrationGroup("db", callback=stock_callback, params=stock.params, help=HELP)
for name, command in stock.commands.items():
    if name not in ("init", "list-templates", "upgrade", "current"):
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
        for lineage in lineages():
            flask_migrate.upgrade(revision=revision, sql=sql, tag=tag, x_arg=[f"plugin={lineage.name}"])
    else:
        upgrade(click.echo)
        click.echo("the database is up to date")


@group.command("current")
@with_appcontext
def current_command() -> None:
    """Show where each lineage stands; exit code 1 if one is behind."""
    found = standings()
    for standing in found:
        click.echo(str(standing))
    if wrong := [standing for standing in found if not standing.up_to_date]:
        raise out_of_date(wrong)
