"""yoq's database as it is read: a copy of it, checked for being one, and the rows that can be brought.

The schema is that of yoq 0.2.0 (its src/state/schema/tables.zig and migrations.zig), which has no number of its own: a
column that is not known is taken for a newer one's.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import stat
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from yoq_web import files
from yoq_web.problems import Problem
from yoq_web.settings import current_settings

TABLES = {
    "secrets": ("name", "encrypted_value", "nonce", "tag", "created_at", "updated_at"),
    "network_policies": ("id", "source_service", "target_service", "action", "created_at"),
    "tokens": ("name", "secret_hash", "scopes", "created_at", "expires_at", "revoked_at"),
}
"""The tables that are brought, with all their columns."""

LATER = ("tokens",)
"""Of them those that older versions of yoq did not have."""

LEFT = {
    "apps": "SELECT count(DISTINCT coalesce(app_name, service_name)) FROM deployments",
    "agents": "SELECT count(*) FROM agents",
    "certificates": "SELECT count(*) FROM certificates",
    "cron schedules": "SELECT count(*) FROM cron_schedules",
    "volumes": "SELECT count(*) FROM volumes",
    "training jobs": "SELECT count(*) FROM training_jobs",
    "entries of yoq's audit log": "SELECT count(*) FROM audit_log",
}
"""How much there is of what is not brought."""

BESIDE = ("-wal", "-journal")
"""How the files end that hold a part of an SQLite database beside it."""
TRIES = 5


@dataclass(frozen=True)
class EncryptedSecret:
    """A secret of yoq's."""

    name: str
    ciphertext: bytes
    nonce: bytes
    tag: bytes


@dataclass(frozen=True)
class YoqToken:
    """A token of yoq's: its text's SHA-256 as hex, what it may do, and its times in seconds since 1970."""

    name: str
    secret_hash: str
    scopes: tuple[str, ...]
    created_at: int
    expires_at: int | None
    revoked_at: int | None


@dataclass(frozen=True)
class Source:
    """What was read of a database of yoq's; policies are (source, target, action), the oldest first."""

    path: Path
    secrets: list[EncryptedSecret]
    policies: list[tuple[str, str, str]]
    tokens: list[YoqToken]
    left: dict[str, int]


def read_source(path: Path) -> Source:
    """Read a database of yoq's, which may be in use and is not touched. Raises a Problem if it is none."""
    try:
        with _copy(path) as copy, closing(sqlite3.connect(copy)) as connection:
            # Text as yoq stored it, of whatever bytes: a name that is not UTF-8 is told, and no error.
            connection.text_factory = lambda raw: raw.decode("utf-8", "surrogateescape")
            return _read(connection, path)
    except sqlite3.Error as error:
        raise _refuse(path, f"it is damaged: {error}") from None
    except OSError as error:
        raise _refuse(path, error.strerror or type(error).__name__) from None
    except (TypeError, AttributeError, ValueError):
        raise _refuse(path, "it holds what yoq does not store there") from None


@contextmanager
def _copy(path: Path) -> Iterator[Path]:
    """Copy the files of a database as they are at one moment: opening it in place would write beside it."""
    if not stat.S_ISREG(path.stat().st_mode):
        raise _refuse(path, "it is no file")
    with path.open("rb") as file:
        head = file.read(16)
    if head.startswith(b"YOQBKP"):
        raise _refuse(path, "it is an encrypted backup: restore it with yoq, and give the yoq.db that it makes")
    if head != b"SQLite format 3\0":
        raise _refuse(path, "it is no SQLite database")
    with files.make_draft_folder(current_settings().data_dir, "yoq-import") as folder:
        target = folder / "yoq.db"
        for number in range(TRIES):
            before = _look(path)
            for end in ("", *BESIDE):
                target.with_name(target.name + end).unlink(missing_ok=True)
                if before[end] is not None:
                    shutil.copyfile(f"{path}{end}", f"{target}{end}")
            if _look(path) == before:
                break
            time.sleep(0.1 * number)
        else:
            raise _refuse(path, "it is being written to all the time: stop yoq, and try again")
        yield target


def _look(path: Path) -> dict[str, tuple[int, int, int] | None]:
    found: dict[str, tuple[int, int, int] | None] = {}
    for end in ("", *BESIDE):
        try:
            status = os.stat(f"{path}{end}")  # noqa: PTH116 - the name goes on where the path ends
        except FileNotFoundError:
            found[end] = None
        else:
            found[end] = (status.st_ino, status.st_size, status.st_mtime_ns)
    return found


def _read(connection: sqlite3.Connection, path: Path) -> Source:
    tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    if "alembic_version" in tables:
        raise _refuse(path, "it is a database of yoq-web itself")
    _check_schema(connection, path, tables)

    def select(table: str, order: str) -> list[tuple[object, ...]]:
        if table not in tables:
            return []
        return connection.execute(f"SELECT {', '.join(TABLES[table])} FROM {table} ORDER BY {order}").fetchall()  # noqa: S608 - constants

    return Source(
        path,
        [EncryptedSecret(_text(row[0]), *map(_bytes, (row[1], row[2], row[3]))) for row in select("secrets", "name")],
        [(_text(row[1]), _text(row[2]), _text(row[3])) for row in select("network_policies", "created_at, id")],
        [_make_token(row) for row in select("tokens", "created_at, name")],
        {what: count for what, query in LEFT.items() if (count := _count(connection, query, tables))},
    )


def _check_schema(connection: sqlite3.Connection, path: Path, tables: set[str]) -> None:
    if connection.execute("PRAGMA user_version").fetchone()[0]:
        raise _refuse(path, "it was made by a newer yoq than this version knows: it has a schema version")
    for table, known in TABLES.items():
        found = [row[1] for row in connection.execute(f"PRAGMA table_info({table})")]
        if not found and table in LATER:
            continue
        if missing := [column for column in known if column not in found]:
            what = f"the table {table} lacks {', '.join(missing)}" if found else f"it has no table {table}"
            raise _refuse(path, f"it is no database of yoq: {what}")
        if unknown := [column for column in found if column not in known]:
            columns = ", ".join(unknown)
            raise _refuse(path, f"it was made by a newer yoq than this version knows: {table} has {columns}")
    if "containers" not in tables:
        raise _refuse(path, "it is no database of yoq: it has no table containers")


def _make_token(row: tuple[object, ...]) -> YoqToken:
    name, secret_hash, scopes, created_at, expires_at, revoked_at = row
    words = tuple(word for word in (part.strip(" \t") for part in _text(scopes).split(",")) if word)
    return YoqToken(_text(name), _text(secret_hash), words, _number(created_at), _time(expires_at), _time(revoked_at))


def _count(connection: sqlite3.Connection, query: str, tables: set[str]) -> int:
    return int(connection.execute(query).fetchone()[0]) if query.rpartition(" ")[2] in tables else 0


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value


def _bytes(value: object) -> bytes:
    if not isinstance(value, bytes):
        raise TypeError
    return value


def _number(value: object) -> int:
    if not isinstance(value, int):
        raise TypeError
    return value


def _time(value: object) -> int | None:
    return None if value is None else _number(value)


def _refuse(path: Path, reason: str) -> Problem:
    return Problem(400, f"{path} cannot be imported: {reason}")
