"""`yoq-web audit list` and `audit stats`."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, get_args

import click

from yoq_audit.query import pages, statistics
from yoq_audit.query.filters import OUTCOMES, FilterQuery, Filters
from yoq_audit.query.routes import DEFAULT_LIMIT, MAX_LIMIT
from yoq_audit.query.statistics import Bucket, StatsQuery
from yoq_web import as_json, checked, command, db, print_json, print_table

SHOWN = ("recorded_at", "actor", "action", "target", "outcome")

OPTIONS = (
    click.option("--actor", multiple=True, metavar="NAME", help="By this actor; several for any of them."),
    click.option("--action", multiple=True, metavar="NAME", help="This action, as secret_set."),
    click.option("--target", multiple=True, metavar="NAME", help="On this target; NAME* for any that begins so."),
    click.option("--outcome", multiple=True, type=click.Choice(OUTCOMES), help="With this outcome."),
    click.option("--node", multiple=True, metavar="NAME", help="On this node."),
    click.option("--request-id", multiple=True, metavar="ID", help="In this request."),
    click.option("--since", metavar="TIME", help="Not before: 30m, 2h, 7d, or as 2026-11-24T10:00:00Z."),
    click.option("--until", metavar="TIME", help="Before this time."),
)


def filtered(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command an option for each filter; it is called with `filters`, a FilterQuery."""

    @functools.wraps(command)
    def call(**arguments: Any) -> Any:
        given = {name: arguments.pop(name) for name in FilterQuery.model_fields}
        return command(filters=query(FilterQuery, **given), **arguments)

    for option in reversed(OPTIONS):
        call = option(call)
    return call


def query(model: type[FilterQuery], **given: Any) -> Any:
    """Options of a command as a query over HTTP, held to the same rules."""
    values = {name: list(value) if isinstance(value, tuple) else value for name, value in given.items()}
    return checked(model, **values)


@command("list")
@click.option("--limit", type=click.IntRange(0), default=DEFAULT_LIMIT, show_default=True, help="How many entries.")
@click.option(
    "--order",
    type=click.Choice(["desc", "asc"]),
    default="desc",
    show_default=True,
    help="Which come first.",
)
@click.option("--cursor", metavar="TEXT", help="Go on where a list ended, which said this.")
@filtered
@as_json
def list_command(filters: FilterQuery, limit: int, order: pages.Order, cursor: str | None, as_json: bool) -> None:
    """List entries, the newest first."""
    chosen: Filters = filters.filters()
    page = pages.read(db.session(), chosen, limit=min(limit, MAX_LIMIT), order=order, cursor=cursor)
    if as_json:
        print_json(page.entries)
        return
    rows = [tuple("-" if entry[name] is None else entry[name] for name in SHOWN) for entry in page.entries]
    print_table((12, 16, 16, 28), ("TIME", "ACTOR", "ACTION", "TARGET", "OUTCOME"), rows)
    if page.cursor:
        click.echo(f"there are more: --cursor {page.cursor}", err=True)


@command("stats")
@click.option("--bucket", type=click.Choice(get_args(Bucket)), help="The length of the counted periods.")
@filtered
@as_json
def stats_command(filters: FilterQuery, bucket: str | None, as_json: bool) -> None:
    """Count entries by time, actor, action and outcome, of the last 24 hours unless told otherwise."""
    counted = statistics.count(db.session(), query(StatsQuery, bucket=bucket, **filters.model_dump()))
    if as_json:
        print_json(counted)
        return
    print_table((28,), ("FROM", "ENTRIES"), [(bucket["start"], bucket["count"]) for bucket in counted["buckets"]])
    for title in ("actors", "actions", "outcomes"):
        click.echo()
        print_table((28,), (title[:-1].upper(), "ENTRIES"), list(counted[title].items()))
