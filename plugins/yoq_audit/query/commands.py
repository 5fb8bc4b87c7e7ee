"""`yoq-web audit list` and `audit stats`."""

from __future__ import annotations

import functools
from collections.abc import Callable
from contextlib import suppress
from typing import Any, get_args

import click

from yoq_audit.query import pages, statistics
from yoq_audit.query.conditions import Filter, Parameter
from yoq_audit.query.display import add_table_options, make_table
from yoq_audit.query.filters import PARAMETERS, TIMES, FilterQuery
from yoq_audit.query.routes import DEFAULT_LIMIT, MAX_LIMIT
from yoq_audit.query.statistics import Bucket, StatsQuery
from yoq_audit.query.times import make_exact
from yoq_web import as_json, checked, command, db, format_local, print_json, print_table


def add_filter_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command an option for each filter; it is called with `filters`, a FilterQuery."""

    @functools.wraps(command)
    def call(**arguments: Any) -> Any:
        given = {one.name: arguments.pop(one.name) for one in PARAMETERS}
        for one in TIMES:
            given[one.name] = _make_exact(one.name, given[one.name])
        return command(filters=check_query(FilterQuery, **given), **arguments)

    taking: Callable[..., Any] = call
    for one in reversed(PARAMETERS):
        taking = _make_option(one)(taking)
    return taking


def _make_option(one: Parameter) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    choice = click.Choice(one.choices) if isinstance(one, Filter) and one.choices else None
    return click.option(
        f"--{one.name.replace('_', '-')}",
        multiple=one.several,
        type=choice,
        metavar=None if choice else one.metavar,
        help=one.help,
    )


def _make_exact(name: str, given: str | None) -> str | None:
    """Make a time that a person wrote exact, by the machine's zone, and say on standard error what it is."""
    with suppress(ValueError):  # which FilterQuery tells
        if given is not None and (exact := make_exact(given, zone=None)) != given:
            click.echo(f"{name} {exact}", err=True)
            return exact
    return given


def check_query(model: type[FilterQuery], **given: Any) -> Any:
    """Check the options of a command by the rules of a query over HTTP. Raises a Problem."""
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
@add_filter_options
@add_table_options
@as_json
def list_command(
    *, filters: FilterQuery, limit: int, order: pages.Order, cursor: str | None, wide: bool, plain: bool, as_json: bool
) -> None:
    """List entries, the newest first: on a terminal for people, else as yoq does."""
    page = pages.read_page(db.session(), filters.resolve(), limit=min(limit, MAX_LIMIT), order=order, cursor=cursor)
    if page.pruned:
        click.echo(f"places 0 to {page.pruned - 1} of the log were pruned", err=True)
    if as_json:
        print_json(page.entries)
        return
    table = make_table(page.entries, wide=wide, plain=plain)
    table.print_head()
    table.print_entries(page.entries)
    if page.cursor:
        click.echo(f"there are more: --cursor {page.cursor}", err=True)


@command("stats")
@click.option("--bucket", type=click.Choice(get_args(Bucket)), help="The length of the counted periods.")
@add_filter_options
@as_json
def stats_command(filters: FilterQuery, bucket: str | None, as_json: bool) -> None:
    """Count what was done by time, actor, action, outcome and peer, in the last 24 hours unless told otherwise."""
    counted = statistics.count_entries(db.session(), check_query(StatsQuery, bucket=bucket, **filters.model_dump()))
    if as_json:
        print_json(counted)
        return
    buckets = [(format_local(bucket["start"]), bucket["count"]) for bucket in counted["buckets"]]
    print_table((28,), ("FROM", "ENTRIES"), buckets)
    for title in ("actors", "actions", "outcomes", "peers"):
        click.echo()
        print_table((28,), (title[:-1].upper(), "ENTRIES"), list(counted[title].items()))
