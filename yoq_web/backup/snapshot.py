"""A consistent copy of the database while others write: SQLite's online backup, PostgreSQL's pg_dump."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from sqlalchemy import Connection, Engine, make_url, text

from yoq_web.backup import postgres
from yoq_web.backup.archive import DATABASES
from yoq_web.commands.progress import ProgressCallback
from yoq_web.database.engine import make_engine
from yoq_web.database.locks import find_database_file
from yoq_web.database.session import db
from yoq_web.settings import Settings

PAGES = 2048
"""Pages copied between two looks at the progress: 8 MB."""


@contextmanager
def copy_database(settings: Settings, folder: Path, steps: ProgressCallback) -> Iterator[tuple[Path, Connection]]:
    """Copy the database into a folder; yields the copy, and a connection that sees just what it holds."""
    if settings.on_sqlite:
        path = folder / DATABASES["sqlite"]
        file = find_database_file(settings)
        assert file is not None  # noqa: S101 - a database in memory is no setting of ours
        copy_sqlite(file, path, steps)
        engine = make_sqlite_engine(path)
        with engine.connect() as connection:
            yield path, connection
        engine.dispose()
        return
    with db.engine.connect() as connection:
        connection.execute(text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY"))
        snapshot = connection.scalar(text("SELECT pg_export_snapshot()"))
        path = folder / DATABASES["postgresql"]
        postgres.dump(db.engine, path, str(snapshot))
        yield path, connection


def copy_sqlite(source: Path, target: Path, steps: ProgressCallback = lambda _done, _of: None) -> None:
    """Copy an SQLite database as it is at this moment, without holding up who writes to it."""
    with (
        closing(sqlite3.connect(f"{source.as_uri()}?mode=ro", uri=True, isolation_level=None)) as reading,
        closing(sqlite3.connect(target, isolation_level=None)) as writing,
    ):
        writing.execute("PRAGMA journal_mode=OFF")
        writing.execute("PRAGMA synchronous=OFF")
        # Held for the whole copy: without it each commit of another process would begin the copy anew.
        reading.execute("BEGIN")
        reading.execute("SELECT count(*) FROM sqlite_master").fetchone()
        reading.backup(writing, pages=PAGES, progress=lambda _status, left, pages: steps(pages - left, pages))
        writing.execute("PRAGMA journal_mode=DELETE")


def make_sqlite_engine(path: Path) -> Engine:
    """Make an engine on a copy."""
    return make_engine(make_url("sqlite://").set(database=str(path)))
