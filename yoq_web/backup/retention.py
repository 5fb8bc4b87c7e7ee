"""Which of the server's own backups the schedule took, and which of those go.

They are listed in a file beside them, with what tells each from another file of that name. What is not listed, or is
not as it was, is somebody else's and stays.
"""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from structlog.stdlib import get_logger

from yoq_web import files
from yoq_web.backup.operations import NAMES, delete_backup
from yoq_web.backup.settings import BACKUP_DIR, LIST
from yoq_web.jsontext import dumps
from yoq_web.problems import NotFound
from yoq_web.settings import current_settings

log = get_logger("yoq_web")


@dataclass(frozen=True)
class ScheduledFile:
    """A backup that the schedule took, as it was when that was done. `modified_ns` is in nanoseconds since 1970."""

    name: str
    size: int
    modified_ns: int


def note_file(path: Path) -> None:
    """List a backup as one that the schedule took. Raises OSError."""
    found = [asdict(file) for file in (*_list_present(), _look(path))]
    files.replace(path.with_name(LIST), dumps(found).encode())


def remove_old(keep: int) -> None:
    """Remove, of the listed backups that are there as they were, all but the newest; each leaves an entry.

    Raises a Problem for one that cannot be removed.
    """
    for file in _list_present()[:-keep]:
        with suppress(NotFound):  # somebody else removed it meanwhile
            delete_backup(file.name)


def _list_present() -> list[ScheduledFile]:
    """Return what is listed and there as it was, in the order in which it was taken: clocks may jump."""
    folder = current_settings()[BACKUP_DIR]
    try:
        listed = [ScheduledFile(**item) for item in json.loads((folder / LIST).read_bytes())]
    except FileNotFoundError:
        return []
    except (ValueError, TypeError):
        log.error("the list of scheduled backups cannot be read: those before it stay", path=str(folder / LIST))  # noqa: TRY400 - it says all
        return []
    found = []
    for file in listed:
        with suppress(OSError, TypeError):
            if NAMES.fullmatch(file.name) and _look(folder / file.name) == file:
                found.append(file)
    return found


def _look(path: Path) -> ScheduledFile:
    status = path.lstat()
    return ScheduledFile(path.name, status.st_size, status.st_mtime_ns)
