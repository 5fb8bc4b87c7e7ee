"""`yoq-web audit export`, `audit verify-export` and `audit follow`."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import BinaryIO

import click

from yoq_audit.export.formats import FORMATS, FormatName
from yoq_audit.export.gaps import Gap
from yoq_audit.export.ndjson import make_placed_lines
from yoq_audit.export.operations import begin_export, begin_following
from yoq_audit.export.sealed_log import Row, current_sealed_log
from yoq_audit.export.verify import VerifiedExport, verify_export
from yoq_audit.proofs.key_option import add_key_option
from yoq_audit.proofs.prover import translate_log_errors
from yoq_audit.query.commands import add_filter_options
from yoq_audit.query.display import add_table_options, make_table
from yoq_audit.query.filters import FilterQuery
from yoq_audit.sealing import sealer
from yoq_audit.storage.documents import make_documents
from yoq_audit.tlog.errors import LogError
from yoq_audit.tlog.note import Verifier
from yoq_web import (
    Failure,
    Progress,
    allow_writing,
    as_json,
    command,
    dumps,
    escape_text,
    open_output,
    overwrite_option,
    print_json,
)

SHOWN_GAPS = 10

WAIT_SECONDS = 1.0
"""How long `audit follow` waits between two looks."""


@command("export")
@click.option("--format", "format_name", type=click.Choice(list(FORMATS)), default="ndjson", show_default=True)
@click.option("--with-proofs", is_flag=True, help="Add what proves each entry offline; ndjson only.")
@click.option("-o", "output", type=click.Path(), default="-", help="Where to write it; standard output unless told.")
@overwrite_option
@add_filter_options
def export_command(
    filters: FilterQuery, format_name: FormatName, with_proofs: bool, output: str, overwrite: bool
) -> None:
    """Write entries to a file, in the order of the log. The file is there when it is whole, and for its owner only."""
    replace = allow_writing(Path(output), overwrite=overwrite)
    export = begin_export(filters.resolve(), format_name, with_proofs=with_proofs)
    with Progress("exporting") as bar, open_output(output, replace=replace) as file:
        for piece in export.write(bar.show):
            file.write(piece)


@command("verify-export", offline=True)
@click.argument("file", type=click.File("rb"), metavar="FILE")
@add_key_option
@as_json
def verify_export_command(file: BinaryIO, vkeys: tuple[str, ...], as_json: bool) -> None:
    """Verify offline that each entry of an export with proofs is in the log: with the log's key, and nothing else."""
    size = os.fstat(file.fileno()).st_size
    try:
        verifiers = [Verifier.from_vkey(vkey) for vkey in vkeys]
        with Progress("verifying", silent=not size) as bar:
            found = verify_export(file, verifiers, lambda done: bar.show(done, size))
    except LogError as error:
        raise Failure(f"not verified: {escape_text(str(error))}") from None
    if as_json:
        head = {"origin": found.head.origin, "size": found.head.size}
        missing = found.head.size - found.entries
        print_json(
            {"verified": found.entries, **head, "filters": found.filters, "missing": missing, "gaps": found.gaps}
        )
    else:
        _print_verified(found)


def _print_verified(found: VerifiedExport) -> None:
    origin = escape_text(found.head.origin)
    click.echo(f"verified: {found.entries} entries are in the log of {found.head.size} that {origin} signed")
    missing = found.head.size - found.entries
    if not missing:
        click.echo("nothing is missing")
        return
    if found.filters:
        click.echo(f"filtered by {escape_text(dumps(found.filters))}; no proof says that nothing more matches")
    shown = [str(first) if first == last else f"{first}-{last}" for first, last in found.gaps[:SHOWN_GAPS]]
    more = ", …" if len(found.gaps) > SHOWN_GAPS else ""
    click.echo(f"not in the file: {missing} of the log's entries, at the places {', '.join(shown)}{more}")


@command("follow")
@click.option("--start", type=click.IntRange(0), metavar="PLACE", help="From this place of the log on; 0 is its first.")
@add_filter_options
@add_table_options
@as_json
def follow_command(filters: FilterQuery, start: int | None, wide: bool, plain: bool, as_json: bool) -> None:
    """Show entries as they are recorded, until interrupted; with --since or --start older ones first."""
    table = None if as_json else make_table(wide=wide, plain=plain)
    log = current_sealed_log()
    follower = begin_following(filters.resolve(), start)
    if table:
        table.print_head()
    try:
        while True:
            with log.app.app_context(), translate_log_errors():
                sealer.seal()
            for piece in follower.read_new(log.find_size()):
                if piece.gap:
                    _print_gap(piece.gap, as_json)
                if table:
                    table.print_entries(make_documents([(*row[1:6], None, *row[6:]) for row in piece.rows]))
                else:
                    _print_lines(piece.rows)
            time.sleep(WAIT_SECONDS)
    except KeyboardInterrupt:
        return


def _print_gap(gap: Gap, as_json: bool) -> None:
    if as_json:
        print_json(gap.to_document())
    else:
        click.echo(str(gap), err=True)


def _print_lines(rows: list[Row]) -> None:
    for line in make_placed_lines(rows):
        print_json(json.loads(line))
