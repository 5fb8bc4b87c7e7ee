"""The data directory and the embedded database's file: made private at a start, and cleaned of what the killed left."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from sqlalchemy import make_url
from structlog.stdlib import get_logger

from yoq_web import files
from yoq_web.settings import Settings, SettingsError

log = get_logger("yoq_web")


def make_files(settings: Settings) -> None:
    """Make the data directory, and an empty private file for an embedded database that is not there yet.

    Raises SettingsError if the settings cannot be used, or the files not be made.
    """
    if settings.error is not None:
        raise settings.error
    make_data_dir(settings.data_dir)
    if settings.on_sqlite:
        _make_database_file(make_url(settings.database_url).database)


def remove_unfinished(settings: Settings) -> None:
    """Remove what killed processes left unfinished: in the data directory and its folders, and beside the database."""
    database = make_url(settings.database_url).database if settings.on_sqlite else None
    folders = {settings.data_dir, *(path for path in settings.data_dir.iterdir() if path.is_dir())}
    for folder in folders | ({Path(database).absolute().parent} if database else set()):
        files.remove_drafts(folder)


def make_data_dir(path: Path) -> None:
    """Make the data directory, open to its owner only, and let nobody else write to one that is there.

    Raises SettingsError if that is not possible.
    """
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        folders = [path, *(found for found in path.iterdir() if found.is_dir() and not found.is_symlink())]
    except OSError as error:
        raise SettingsError(f"the data directory {path} cannot be made: {error.strerror}") from error
    for folder in folders:
        _close_to_writers(folder)


def _close_to_writers(folder: Path) -> None:
    mode = stat.S_IMODE(folder.stat().st_mode)
    if not mode & 0o022:
        return
    try:
        folder.chmod(mode & ~0o022)
    except OSError as error:
        raise SettingsError(
            f"{folder} is open to other users, who may write to it, and cannot be closed ({error.strerror}); "
            f"let its owner do it, with: chmod go-w {folder}"
        ) from error
    log.warning("others could write to a folder of the data directory; they cannot any more", folder=str(folder))


def _make_database_file(path: str | None) -> None:
    """Make an empty file for a database that is not there yet, so that SQLite's own files are private like it."""
    if path and path != ":memory:" and not Path(path).exists():
        try:
            os.close(files.open_private(Path(path), os.O_WRONLY))
        except OSError as error:
            raise SettingsError(f"the database {path} cannot be made: {error.strerror}") from error
