"""`yoq-web audit follow`: the trail as it grows, from the database directly."""

from __future__ import annotations

import time

import click
from flask import current_app

from yoq_audit.export.follow import begin
from yoq_audit.export.ndjson import make_lines
from yoq_audit.export.scan import Row, sealed_size
from yoq_audit.proofs.prover import provable
from yoq_audit.query.commands import add_filter_options
from yoq_audit.query.filters import FilterQuery
from yoq_audit.sealing import sealer
from yoq_audit.storage.log import STORED
from yoq_web import as_json, command, print_table

WAIT_SECONDS = 1.0

COLUMNS = tuple(1 + STORED.index(name) for name in ("recorded_at", "actor", "action", "target", "outcome"))
WIDTHS = (12, 16, 16, 28)


@command("follow")
@click.option("--start", type=click.IntRange(0), metavar="PLACE", help="From this place of the log on; 0 is its first.")
@add_filter_options
@as_json
def follow_command(filters: FilterQuery, start: int | None, as_json: bool) -> None:
    """Show entries as they are recorded, until interrupted; with --since or --start older ones first."""
    following = begin(filters.resolve(), start)
    app = current_app._get_current_object()  # type: ignore[attr-defined]  # Flask's documented way
    if not as_json:
        print_table(WIDTHS, ("TIME", "ACTOR", "ACTION", "TARGET", "OUTCOME"), [])
    try:
        while True:
            with app.app_context(), provable():
                sealer.seal()
            for rows in following.rows(sealed_size(app)):
                _show(rows, as_json)
            time.sleep(WAIT_SECONDS)
    except KeyboardInterrupt:
        return


def _show(rows: list[Row], as_json: bool) -> None:
    if as_json:
        click.echo("".join(make_lines(rows)), nl=False)
        return
    for row in rows:
        print_table(WIDTHS, tuple("-" if row[at] is None else str(row[at]) for at in COLUMNS), [])
