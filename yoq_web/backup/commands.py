"""The commands `backup` and `restore` (yoq's names and options, and more)."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import click
from flask.cli import ScriptInfo
from sqlalchemy.exc import SQLAlchemyError

from yoq_web.backup import operations
from yoq_web.backup.encryption import KEY_FILE
from yoq_web.backup.restoration import Restore, RestoreReport, format_moment
from yoq_web.commands.command import CommandGroup, act_locally, act_ready, make_ready
from yoq_web.commands.output import (
    Failure,
    allow_writing,
    as_json,
    escape_text,
    explain_database_error,
    overwrite_option,
    print_json,
)
from yoq_web.commands.progress import Progress
from yoq_web.database import locks
from yoq_web.database.pages import walk_pages
from yoq_web.problems import Problem
from yoq_web.settings import current_settings

WORD = "restore"
"""What has to be typed before a database is replaced."""

EXISTING = click.Path(exists=True, dir_okay=False, path_type=Path)

passphrase_file = click.option(
    "--passphrase-file", type=EXISTING, metavar="F", help="The passphrase is the first line of this file."
)


def _read_passphrase(file: Path | None) -> str | None:
    if file is None:
        return None
    try:
        lines = file.read_text().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise Failure(f"{file} cannot be read: {error}") from None
    if not lines or not lines[0]:
        raise Failure(f"{file} holds no passphrase")
    return lines[0]


@click.group("backup", cls=CommandGroup, invoke_without_command=True)
@click.option("--output", type=click.Path(dir_okay=False, path_type=Path), help="The file to write.")
@click.option("--plain", is_flag=True, help="Do not encrypt: everybody who gets the file can read it.")
@click.option("--recipient", "recipients", multiple=True, metavar="AGE1…", help="Encrypt for this age key; repeatable.")
@overwrite_option
@passphrase_file
@click.option("--with-keys", is_flag=True, help="Put the key files in, too, without which secrets cannot be read.")
@as_json
@click.pass_context
def group(
    ctx: click.Context,
    *,
    output: Path | None,
    overwrite: bool,
    plain: bool,
    recipients: tuple[str, ...],
    passphrase_file: Path | None,
    with_keys: bool,
    as_json: bool,
) -> None:
    """Back up the database to one file, encrypted; or, with a command, see to the backups that the server keeps."""
    if ctx.invoked_subcommand is not None:
        return
    if plain + bool(recipients) + (passphrase_file is not None) > 1:
        raise Failure("give one of --plain, --recipient and --passphrase-file")
    path = (output or Path(f"yoq-backup-{int(time.time())}{'.tar' if plain else operations.SUFFIX}")).absolute()
    replace = allow_writing(path, overwrite=overwrite)
    with act_ready(ctx), Progress() as bar:
        taken = operations.take_backup(
            path,
            replace=replace,
            recipients=recipients,
            passphrase=_read_passphrase(passphrase_file),
            plain=plain,
            with_keys=with_keys,
            steps=bar.step,
        )
        reminders = _list_reminders(own=not (plain or recipients or passphrase_file), keys=taken.manifest.keys)
    if as_json:
        print_json({"path": str(path), "size": taken.size, "manifest": taken.manifest.model_dump()})
        return
    click.echo(f"backup written: {escape_text(str(path))} ({taken.size} bytes)")
    for line in reminders:
        click.echo(line, err=True)


def _list_reminders(*, own: bool, keys: list[str]) -> list[str]:
    folder = current_settings().data_dir
    lines = []
    if own:
        lines.append(f"NOTE: only the key {folder / KEY_FILE} opens it. Keep a copy of that file on another machine,")
        lines.append(
            "      or use --recipient or --passphrase-file: a backup whose key is lost with the machine is none."
        )
    if not keys:
        lines.append(f"NOTE: the key files in {folder} are not in it, and without them its secrets cannot be read")
        lines.append("      nor its log be continued. Keep copies of secrets.key and log.key, or use --with-keys.")
    return lines


@group.command("list")
@as_json
def list_command(as_json: bool) -> None:
    """List the backups in the server's own directory, the newest first."""
    kept = list(walk_pages(operations.list_backups))
    if as_json:
        print_json([{"name": found.name, "size": found.size, "created_at": found.created_at} for found in kept])
        return
    click.echo("\n".join(f"{found.name}  {found.size}" for found in kept) or "no backups")


@click.command("restore")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--verify", is_flag=True, help="Do every check and change nothing.")
@click.option("--accept-fork", is_flag=True, help="If the log cannot go on, begin a new one that names the old one.")
@click.option("--no-keep", is_flag=True, help="Do not keep the replaced database aside.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--identity", type=EXISTING, metavar="F", help="The age identity file that opens the backup.")
@passphrase_file
@click.pass_context
def restore_command(
    ctx: click.Context,
    *,
    file: Path,
    verify: bool,
    accept_fork: bool,
    no_keep: bool,
    yes: bool,
    identity: Path | None,
    passphrase_file: Path | None,
) -> None:
    """Put the backup in FILE in the place of the database. The audit trail is not taken back: it goes on."""
    if no_keep and accept_fork:
        raise Failure("--accept-fork ends a log, which is kept in the replaced database: leave --no-keep away")
    app = ctx.ensure_object(ScriptInfo).load_app()
    passphrase = _read_passphrase(passphrase_file)
    with act_locally(app, alone=True), Progress() as bar:
        restore = Restore(
            file.absolute(),
            identity=identity,
            passphrase=passphrase,
            accept_fork=accept_fork,
            keep=not no_keep,
            steps=bar.step,
        )
        _make_ready(app, None if verify else restore)
        if verify:
            with locks.use_shared(current_settings()):
                _tell(restore.verify())
            click.echo("the backup can be restored; nothing was changed")
            return
        with restore.prepare() as found:
            _tell(found)
            if not yes:
                _ask()
            found.notes.clear()
        _tell_done(found)


def _make_ready(app: Any, restore: Restore | None) -> None:
    """Make the present database ready. What refuses the `restore` before it looks at anything is recorded, too.

    Not where the database cannot be read: the entry would be the first in the empty one that takes its place.
    """
    try:
        with locks.use_shared(current_settings()):
            make_ready(app)
    except SQLAlchemyError as error:
        failure = explain_database_error(error)
        if failure is None:
            raise
        hint = "if it is damaged, move its file away and restore again: a restore needs no database, only log.head"
        raise Failure(f"{failure.message}\n{hint}") from None
    except Problem as problem:
        if restore:
            restore.keep_refusal(problem)
        raise Failure(f"{problem.error}\n{problem.detail}") from None


def _tell(found: RestoreReport) -> None:
    manifest = found.manifest
    origin = f"backup of {format_moment(manifest)} by {manifest.node}, version {manifest.version}"
    click.echo(f"{origin}: {sum(manifest.rows.values())} rows")
    for line in (*(f"to be migrated: {step}" for step in found.migrated), *found.notes):
        click.echo(f"  {escape_text(line)}")


def _ask() -> None:
    click.echo(
        "The present database is replaced; only the audit trail stays. Tokens made since the backup end.", err=True
    )
    if click.prompt(f"Type {WORD} to go on", err=True, default="", show_default=False) != WORD:
        raise click.Abort


def _tell_done(found: RestoreReport) -> None:
    click.echo("restored")
    for line in found.notes:
        click.echo(f"  {escape_text(line)}")
    if found.kept:
        click.echo(f"  the replaced database is kept: {escape_text(found.kept)}")
