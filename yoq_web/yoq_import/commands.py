"""The command `import-yoq`."""

from __future__ import annotations

from pathlib import Path

import click

from yoq_web.commands.command import command
from yoq_web.commands.output import Failure, as_json, escape_text, print_json
from yoq_web.commands.progress import Progress
from yoq_web.yoq_import.encryption import KEY_FILE
from yoq_web.yoq_import.operations import ImportReport, import_database
from yoq_web.yoq_import.plan import Item

EXISTING = click.Path(exists=True, dir_okay=False, path_type=Path)

PLURALS = {"secret": "secrets", "policy": "policies", "token": "tokens"}


@command("import-yoq")
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "--key", "key_file", type=EXISTING, metavar="F", help=f"yoq's key file; {KEY_FILE} beside FILE if absent."
)
@click.option("--without-secrets", is_flag=True, help="Leave the secrets: their key is lost.")
@click.option("--overwrite", is_flag=True, help="Where something differs, take what FILE has.")
@click.option("--dry-run", is_flag=True, help="Say what would be done, and change nothing.")
@as_json
def import_command(
    file: Path, *, key_file: Path | None, without_secrets: bool, overwrite: bool, dry_run: bool, as_json: bool
) -> None:
    """Bring secrets, network policies and API tokens from FILE, the yoq.db of yoq itself, which is not touched.

    What is here already and equal stays as it is; what differs is named. Exit code 1 if something cannot be brought.
    """
    if without_secrets and key_file is not None:
        raise Failure("give either --key or --without-secrets")
    path = file.absolute()
    key = None if without_secrets else key_file or path.with_name(KEY_FILE)
    with Progress("importing", silent=as_json) as bar:
        report = import_database(path, key, overwrite=overwrite, dry_run=dry_run, progress=bar.show)
    if as_json:
        print_json(_describe(report, dry_run=dry_run))
    else:
        _print(report, dry_run=dry_run)
    if report.select("refused"):
        raise Failure("some could not be brought")


def _describe(report: ImportReport, *, dry_run: bool) -> dict[str, object]:
    ended = {"brought": report.brought, "overwritten": report.overwritten}
    ended |= {"equal": report.select("equal"), "differing": report.select("differs")}
    ended |= {"refused": report.select("refused"), "left_out": report.select("left out")}
    items = {
        what: [{"kind": item.kind, "name": item.name, "note": item.note} for item in found]
        for what, found in ended.items()
    }
    return {"source": str(report.source), "dry_run": dry_run, **items, "not_imported": report.left}


def _print(report: ImportReport, *, dry_run: bool) -> None:
    done = "would be " if dry_run else ""
    for kind, plural in PLURALS.items():
        found = {
            f"{done}brought": report.brought,
            f"{done}overwritten": report.overwritten,
            **{state: report.select(state) for state in ("equal", "differs", "refused", "left out")},
        }
        counts = {what: sum(item.kind == kind for item in items) for what, items in found.items()}
        told = ", ".join(f"{count} {what}" for what, count in counts.items() if count)
        click.echo(f"{plural}: {told or 'none'}")
    for item in report.others:
        if item.state != "equal":
            click.echo(f"  {_tell(item)}")
    if report.left:
        left = ", ".join(f"{what} ({count})" for what, count in report.left.items())
        click.echo(f"not imported: {left}")
    if dry_run:
        click.echo("nothing was changed")


def _tell(item: Item) -> str:
    note = item.note
    if item.state == "differs" and item.bring is not None:
        note = f"{note}; --overwrite takes the file's" if note else "--overwrite takes the file's"
    return escape_text(f"{item.kind} {item.name}: {item.state}" + (f": {note}" if note else ""))
