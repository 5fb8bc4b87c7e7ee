"""The commands of retention: prune and erase, and reading the archives that pruning leaves."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from yoq_audit.proofs.key_option import add_key_option
from yoq_audit.retention import archive, archive_reader, eraser, pruner
from yoq_audit.retention.archive_reader import Archive
from yoq_audit.retention.plan import Plan
from yoq_audit.retention.pruner import WrittenArchive, audit_prune
from yoq_audit.settings import parse_age
from yoq_audit.tlog.errors import LogError
from yoq_audit.tlog.note import Verifier
from yoq_web import (
    CommandGroup,
    Failure,
    Problem,
    Progress,
    as_json,
    check_storable,
    command,
    escape_text,
    format_time,
    named,
    print_json,
)

REMAINS = """\
It is gone from the trail. Copies may be left in: backups, archives, exports and copies of the database made before;
the spool of another machine, until it is replayed; and until it is rewritten (--rewrite) in free space of the
database's files, on PostgreSQL also in its archived write-ahead log."""


class Age(click.ParamType[str]):
    """How long entries are kept."""

    name = "age"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return `value`; a usage error says how it is written."""
        try:
            parse_age(str(value))
        except ValueError as error:
            self.fail(str(error), param, ctx)
        return str(value)


@command("prune")
@click.option("--older-than", type=Age(), required=True, help="How old: a number and h, d or w, like 400d.")
@click.option("--archive", "file", type=click.Path(path_type=Path, dir_okay=False), help="Keep what is pruned here.")
@click.option("--dry-run", is_flag=True, help="Only say what would be pruned.")
@as_json
def prune_command(older_than: str, file: Path | None, dry_run: bool, as_json: bool) -> None:
    """Prune old entries, whole bundles of 256, and raise the log's minimum index.

    What was signed still verifies. The archive is a tar file (compressed if its name ends in .gz) that proves itself
    with the log's key: `audit archive verify`.
    """
    planned = pruner.prepare_plan(parse_age(older_than))
    planned.extend()
    written = None
    if planned.reached > planned.before and not dry_run:
        if file is not None:
            with Progress("archiving", silent=as_json) as bar:
                written = _write_archive(file, planned, older_than, bar)
        pruner.announce(planned, older_than, "command", written)
        with Progress("pruning", silent=as_json) as bar:
            pruner.complete_removals(progress=bar.show)
    if as_json:
        found: dict[str, object] = {
            "minimum_before": planned.before,
            "minimum_after": planned.reached,
            "entries": planned.entries,
        }
        if written:
            found |= {"archive": str(file), "archive_sha256": written.sha256, "archive_bytes": written.size}
        if planned.holder:
            found["held_by"] = planned.holder.to_document()
        print_json(found)
        return
    if planned.reached == planned.before:
        click.echo(f"nothing to prune: no whole bundle is older than {older_than}")
        if planned.holder:
            click.echo(f"held up by the next one: {planned.holder}")
        return
    word = "would be pruned" if dry_run else "pruned"
    click.echo(f"{word}: {planned.entries} entries, numbers {planned.before} to {planned.reached - 1} of the log")
    if written:
        click.echo(f"archived in {escape_text(str(file))}, SHA-256 {written.sha256}")


def _write_archive(file: Path, planned: Plan, older_than: str, bar: Progress) -> WrittenArchive:
    try:
        return archive.write_archive(file.absolute(), planned, bar.show)
    except Problem as problem:
        with audit_prune.performed(planned.target, older_than=older_than, archive=file.name, asked_by="command"):
            raise problem from None  # which the trail shows


@command("erase")
@named("entry")
@click.option("--reason", required=True, help="Why, for the trail; without what is to be erased.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--rewrite", is_flag=True, help="Rewrite the database's file, so that no free space holds a copy.")
def erase_command(entry: str, reason: str, yes: bool, rewrite: bool) -> None:
    """Erase what ENTRY, an event's id, says. Its place in the log stays provable."""
    try:
        check_storable(reason)
    except ValueError as error:
        raise Failure(f"invalid reason: {error}") from None
    found = eraser.find_erasable(entry)
    if not yes:
        click.echo(
            f"{escape_text(found.action)} of {escape_text(found.target or '-')} by {escape_text(found.actor)}", err=True
        )
        if click.prompt("Type erase to erase this entry for ever", err=True) != "erase":
            raise Failure("nothing was erased")
    eraser.erase(found, reason)
    eraser.wipe_free_space(rewrite=rewrite)
    click.echo(f"erased: {entry}, number {found.places[-1]} of the log")
    click.echo(REMAINS)


archives = CommandGroup("archive", help="Check and read the archives that pruning leaves; offline.")
_file = click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False))


@archives.command("verify", offline=True)
@_file
@add_key_option
@as_json
def archive_verify_command(file: Path, vkeys: tuple[str, ...], as_json: bool) -> None:
    """Check that FILE holds a part of the log with these keys, whole and unaltered."""
    found = _read(file, vkeys)
    assert found.head is not None  # noqa: S101 - or _read had raised
    said = {
        "first": found.first,
        "end": found.end,
        "entries": found.entries,
        "erased": found.erased,
        "origin": found.head.origin,
        "size": found.head.size,
        "sha256": found.sha256,
    }
    if as_json:
        print_json(said)
        return
    click.echo(
        f"the archive holds: {found.entries} entries, numbers {found.first} to {found.end - 1} of the "
        f"{found.head.size} that {escape_text(found.head.origin)} signed; {len(found.erased)} erased"
    )
    click.echo(f"SHA-256 {found.sha256}")


@archives.command("list", offline=True)
@_file
@add_key_option
def archive_list_command(file: Path, vkeys: tuple[str, ...]) -> None:
    """Print the entries of FILE, one JSON document a line, the oldest first. Exits with 1 if FILE does not hold."""

    def print_entry(index: int, entry: dict[str, Any]) -> None:
        print_json({"index": index} | entry | {"time": format_time(entry["time"])})

    _read(file, vkeys, print_entry)


def _read(
    file: Path, vkeys: tuple[str, ...], on_entry: archive_reader.EntryCallback = lambda _index, _entry: None
) -> Archive:
    try:
        verifiers = [Verifier.from_vkey(vkey) for vkey in vkeys]
        return archive_reader.read_archive(file, verifiers, on_entry)
    except LogError as error:
        raise Failure(f"the archive does not hold: {escape_text(str(error))}") from None
    except OSError as error:
        raise Failure(f"{escape_text(str(file))}: {error.strerror}") from None
