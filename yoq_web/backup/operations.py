"""Taking a backup, and the backups that the server keeps in its own directory."""

from __future__ import annotations

import calendar
import os
import re
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from yoq_web import files
from yoq_web.backup import archive, streams
from yoq_web.backup.age import Transform
from yoq_web.backup.encryption import choose_encryption
from yoq_web.backup.manifest import BackupManifest, make_manifest
from yoq_web.backup.settings import BACKUP_DIR, FOLDER, LIST
from yoq_web.backup.snapshot import copy_database
from yoq_web.backup.workdir import lock_workdir, make_busy, make_workdir, translate_disk_error
from yoq_web.commands.progress import StepCallback
from yoq_web.contributions.keeper import Mark
from yoq_web.contributions.registry import list_keepers
from yoq_web.database.pages import WHOLE, Page, Slice, check_key, cut_page
from yoq_web.hooks.errors import isolate
from yoq_web.operations.operation import Operation
from yoq_web.operations.performance import add_details
from yoq_web.problems import NotFound, Problem
from yoq_web.settings import current_settings

READ = "backups:read"

backup_taken = Operation(
    "backup",
    "Back up the database",
    "backups:write",
    ("bytes", "sha256", "marks", "sealed_for"),
    external=True,
    activity="create",
)
backup_read = Operation("backup_read", "Download a backup", "backups:download", activity="read")
backup_delete = Operation(
    "backup_delete",
    "Delete a backup of the server's own",
    "backups:write",
    ("bytes",),
    external=True,
    activity="delete",
)
restore_done = Operation(
    "restore",
    "Restore a backup",
    "*",
    ("created_at", "version", "node", "sha256", "marks", "trail", "begins_anew", "kept"),
    external=True,
    activity="update",
)

OPERATIONS = (backup_taken, backup_read, backup_delete, restore_done)

SUFFIX = ".yoqbackup"
NAMES_A_SECOND = 1000
NAMES = re.compile(r"20[0-9]{2}(0[1-9]|1[0-2])[0-3][0-9]-[0-2][0-9][0-5][0-9][0-5][0-9](-[0-9]{1,3})?\.yoqbackup")
DRAFTS = re.compile(rf"\.({NAMES.pattern}|{re.escape(LIST)})\.[0-9a-f]{{8}}")
"""What a killed process leaves unfinished in the server's own directory, where files without a name cannot be had."""


def ignore_steps(_what: str, _done: int, _of: int) -> None:
    """Report the steps to nobody."""


@dataclass(frozen=True)
class TakenBackup:
    """A backup that was taken."""

    path: Path
    size: int
    manifest: BackupManifest


@dataclass(frozen=True)
class KeptBackup:
    """A backup in the server's own directory. `created_at` is in seconds since 1970."""

    name: str
    size: int
    created_at: int


def take_backup(
    path: Path | None,
    *,
    replace: bool = False,
    recipients: Sequence[str] = (),
    passphrase: str | None = None,
    plain: bool = False,
    with_keys: bool = False,
    steps: StepCallback = ignore_steps,
) -> TakenBackup:
    """Write a backup to `path`, which is there when it is whole; one that is there may be asked for to `replace`.

    Raises a Problem. Without a path it goes, under a new name, into the server's own directory. It is encrypted for
    the recipients, with the passphrase, or with the key of the data directory.
    """
    settings = current_settings()
    if plain and with_keys:
        raise Problem(400, "keys in a plain backup", "whoever reads the file would have them; leave --plain away")
    sealed_for = "nobody" if plain else "a passphrase" if passphrase else ", ".join(recipients) or "own key"
    with lock_workdir(settings) as alone:
        # Under the lock, so that nobody else chooses the same name.
        chosen = path or _choose_path()
        # The name may be that of the one which is at work: whoever finds it so is given none.
        target = str(path) if path else chosen.name if alone else None
        with backup_taken.undertaken(target, sealed_for=sealed_for) as undertaking:
            if not alone:
                raise make_busy()
            encrypt = choose_encryption(settings, recipients, passphrase, plain=plain)
            keys = _read_keys(settings.data_dir) if with_keys else {}
            if path is None:
                files.remove_drafts(_make_folder(), DRAFTS)
                if chosen.exists():
                    said = f"{NAMES_A_SECOND} backups were taken in one second; try again"
                    raise Problem(409, "no name is left", said, {"Retry-After": "1"})
            with make_workdir(settings) as folder, isolate():  # keepers are plugins' code: to exit is to fail
                taken = _write(chosen, folder, keys, encrypt, replace=replace, steps=steps)
            undertaking.add(bytes=taken.size, sha256=taken.manifest.sha256, marks=format_marks(taken.manifest.marks))
    return taken


def _write(
    path: Path, folder: Path, keys: dict[str, bytes], encrypt: Transform, *, replace: bool, steps: StepCallback
) -> TakenBackup:
    settings = current_settings()
    for _, keeper in list_keepers():
        keeper.ready()
    with copy_database(settings, folder, lambda done, of: steps("copying", done, of)) as (database, connection):
        manifest = make_manifest(connection, database, list(keys))
    done = 0

    def advance(step: int) -> None:
        nonlocal done
        done += step
        steps("writing", done, manifest.size)

    sums: list[str] = []
    pieces = archive.build_archive(database, keys, manifest, advance, sums)
    own = path.parent == settings[BACKUP_DIR]
    size = streams.write_file(path, pieces, encrypt, replace=replace, given=own)
    return TakenBackup(path, size, manifest.model_copy(update={"sha256": sums[0]}))


def format_marks(marks: Mapping[str, Mark]) -> tuple[str, ...]:
    """Write a manifest's marks for an entry: those that are one word."""
    return tuple(
        f"{owner} {name} {value}"
        for owner, mark in marks.items()
        for name, value in mark.items()
        if "\n" not in str(value)
    )


def keep_backup(recipients: Sequence[str] = ()) -> KeptBackup:
    """Take a backup into the server's own directory. Raises a Problem."""
    taken = take_backup(None, recipients=recipients)
    return KeptBackup(taken.path.name, taken.size, _parse_moment(taken.path.name))


def _choose_path() -> Path:
    """Choose a file in the server's own directory that is not there yet; the last one if all of this second are."""
    moment = time.strftime("%Y%m%d-%H%M%S", time.gmtime())
    for number in range(NAMES_A_SECOND):
        path = current_settings()[BACKUP_DIR] / f"{moment}{f'-{number}' if number else ''}{SUFFIX}"
        if not os.path.exists(path):  # noqa: PTH110 - the path's own raises where the directory is closed to us
            break
    return path


def list_backups(part: Slice = WHOLE) -> Page[KeptBackup]:
    """List the backups in the server's own directory, the newest first."""
    names = sorted((path.name for path in _make_folder().iterdir() if NAMES.fullmatch(path.name)), reverse=True)
    if part.after is not None:
        check_key(part.after, (str,))
        names = [name for name in names if (name,) < part.after]
    kept = []
    for name in names if part.limit is None else names[: part.limit + 1]:
        with suppress(FileNotFoundError, ValueError):  # deleted meanwhile; or named like one, with no such day
            kept.append(KeptBackup(name, (_make_folder() / name).stat().st_size, _parse_moment(name)))
    return cut_page(kept, part, lambda backup: (backup.name,))


def read_backup(name: str) -> Path:
    """Return the file of a backup of the server's own, to be sent; leaves an entry. Raises NotFound."""
    path = _find_path(name)
    with backup_read.performed(name):
        return path


def delete_backup(name: str) -> None:
    """Delete a backup of the server's own. Raises NotFound."""
    path = _find_path(name)
    with backup_delete.undertaken(name):
        try:
            add_details(bytes=path.stat().st_size)
            path.unlink()
            files.sync_folder(path.parent)
        except OSError as error:
            raise translate_disk_error(error) from error


def _parse_moment(name: str) -> int:
    return calendar.timegm(time.strptime(name[:15], "%Y%m%d-%H%M%S"))


def _find_path(name: str) -> Path:
    path = _make_folder() / name
    if not NAMES.fullmatch(name) or not path.is_file():
        raise NotFound("not found", f"there is no backup {name!r}")
    return path


def _make_folder() -> Path:
    """Return the server's own directory. Only that in the data directory is made: elsewhere a disk may be away."""
    folder = current_settings()[BACKUP_DIR]
    try:
        if folder == current_settings().data_dir / FOLDER:
            files.make_folder(folder)
        elif not folder.is_dir():
            said = "the directory of backups is missing"
            raise Problem(500, said, f"make {folder}, or see why it is away", reason=f"{said}: {folder}")
        os.scandir(folder).close()  # whoever may not look into it is told so here
    except OSError as error:
        raise translate_disk_error(error) from error
    return folder


def _read_keys(data_dir: Path) -> dict[str, bytes]:
    """Read the key files that owners of tables name, as far as they are there."""
    patterns = [pattern for _, keeper in list_keepers() for pattern in keeper.files]
    try:
        return {path.name: path.read_bytes() for pattern in patterns for path in sorted(data_dir.glob(pattern))}
    except OSError as error:
        raise translate_disk_error(error) from error
