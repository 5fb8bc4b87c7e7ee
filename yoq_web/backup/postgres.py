"""PostgreSQL's own programs pg_dump and pg_restore, of the server's version, and the databases that a restore makes."""

from __future__ import annotations

import os
import re
import secrets
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import URL, Connection, Engine, text

from yoq_web.database.engine import make_engine
from yoq_web.database.locks import InUse
from yoq_web.problems import Problem

PLACES = ("/usr/lib/postgresql/{major}/bin", "/usr/pgsql-{major}/bin")
"""Where distributions keep the programs of each version; PATH is looked through first."""

MAINTENANCE = ("postgres", "template1")
"""Databases from which others can be made and renamed."""

QUIET = ("--no-password", "--no-owner", "--no-privileges")

MAY = """
    SELECT rolsuper OR (rolcreatedb AND pg_has_role(current_user, datdba, 'USAGE'))
      FROM pg_roles, pg_database WHERE rolname = current_user AND datname = :name
"""

ENDING_SECONDS = 1.0
"""How long a session that was closed may take to end."""

OTHERS = "SELECT count(*) FROM pg_stat_activity WHERE datname = :name AND pid <> pg_backend_pid()"


def dump(engine: Engine, path: Path, snapshot: str) -> None:
    """Dump what a snapshot sees into a file, in pg_dump's own form. Raises a Problem, with what pg_dump said."""
    program = _find_program("pg_dump", engine)
    # Uncompressed: what is encrypted afterwards is small enough, and a checksum is all the faster.
    _run(engine.url, program, "--format=custom", "--compress=0", f"--snapshot={snapshot}", f"--file={path}", *QUIET)


def load(engine: Engine, path: Path) -> None:
    """Fill an empty database from such a file, whole or not at all. Raises a Problem, with what pg_restore said."""
    program = _find_program("pg_restore", engine)
    name = f"--dbname={engine.url.database}"
    _run(engine.url, program, "--single-transaction", "--exit-on-error", name, *QUIET, str(path))


@contextmanager
def make_scratch(engine: Engine) -> Iterator[Engine]:
    """Make a new, empty database on the server of another one; dropped at the end, unless it was renamed."""
    name = f"{engine.url.database}_restore_{secrets.token_hex(4)}"
    with _connect_maintenance(engine) as connection:
        may = connection.scalar(text(MAY), {"name": engine.url.database})
        if not may:
            said = "a restore makes one beside the present one and renames both: that needs CREATEDB, and to own it"
            raise Problem(409, "a database cannot be made", said)
        _drop_stale(connection, engine)
        connection.exec_driver_sql(f"CREATE DATABASE {quote(connection, name)} TEMPLATE template0")
    made = make_engine(engine.url.set(database=name))
    try:
        yield made
    finally:
        made.dispose()
        with _connect_maintenance(engine) as connection:
            connection.exec_driver_sql(f"DROP DATABASE IF EXISTS {quote(connection, name)} WITH (FORCE)")


def check_alone(engine: Engine) -> None:
    """Raise InUse if anybody else is connected to the database."""
    with engine.connect() as connection:
        _await_alone(connection, str(engine.url.database))


def swap(engine: Engine, new: Engine, *, keep: bool) -> str | None:
    """Give a new database the name of the present one, in one transaction; returns the present one's new name.

    Raises InUse, with nothing changed, if anybody is connected to the present one.
    """
    name = str(engine.url.database)
    kept = f"{name}_before_{time.strftime('%Y%m%d_%H%M%S', time.gmtime())}_{secrets.token_hex(2)}"
    new.dispose()
    engine.dispose()
    with _connect_maintenance(engine) as connection:
        connection.execution_options(isolation_level="AUTOCOMMIT")
        _await_alone(connection, name)
        # One message, and so one transaction: both names change, or neither.
        connection.exec_driver_sql(
            f"ALTER DATABASE {quote(connection, name)} RENAME TO {quote(connection, kept)}; "
            f"ALTER DATABASE {quote(connection, str(new.url.database))} RENAME TO {quote(connection, name)}"
        )
        if keep:
            return kept
        connection.exec_driver_sql(f"DROP DATABASE {quote(connection, kept)}")
    return None


def quote(connection: Connection, name: str) -> str:
    """Quote a name as an identifier in SQL."""
    return connection.dialect.identifier_preparer.quote_identifier(name)


@contextmanager
def _connect_maintenance(engine: Engine) -> Iterator[Connection]:
    """Connect to a database from which others are made, dropped and renamed; each statement for itself."""
    for last, database in enumerate(MAINTENANCE, 1 - len(MAINTENANCE)):
        maintenance = make_engine(engine.url.set(database=database))
        try:
            connection = maintenance.connect().execution_options(isolation_level="AUTOCOMMIT")
        except Exception:
            maintenance.dispose()
            if last == 0:
                raise
            continue
        with connection:
            yield connection
        maintenance.dispose()
        return


def _drop_stale(connection: Connection, engine: Engine) -> None:
    """Drop what an interrupted restore left; it holds nothing that the backup does not."""
    pattern = f"{engine.url.database}_restore_"
    found = connection.execute(
        text(
            "SELECT datname FROM pg_database WHERE starts_with(datname, :pattern) "
            "AND NOT EXISTS (SELECT 1 FROM pg_stat_activity a WHERE a.datname = pg_database.datname)"
        ),
        {"pattern": pattern},
    )
    for name in found.scalars():
        if re.fullmatch(re.escape(pattern) + "[0-9a-f]{8}", name):
            connection.exec_driver_sql(f"DROP DATABASE IF EXISTS {quote(connection, name)}")


def _await_alone(connection: Connection, name: str) -> None:
    """Raise InUse if others are connected to a database. Sessions that were just closed may take a moment to end."""
    until = time.monotonic() + ENDING_SECONDS
    while others := connection.scalar(text(OTHERS), {"name": name}):
        if time.monotonic() > until:
            said = f"{others} other connections to it are open: stop every server of yoq-web, and close what else is"
            raise InUse("the database is in use", f"{said} connected")
        connection.rollback()  # in one transaction it would be told the same again
        time.sleep(0.02)


def _find_program(name: str, engine: Engine) -> str:
    """Find a program of the server's version. Raises a Problem that says which is needed."""
    with engine.connect() as connection:
        major = int(connection.scalar(text("SHOW server_version_num")) or 0) // 10000
    found = [shutil.which(name), *(shutil.which(name, path=place.format(major=major)) for place in PLACES)]
    seen: list[str] = []
    for path in found:
        if path is None:
            continue
        told = subprocess.run([path, "--version"], capture_output=True, text=True, check=False).stdout  # noqa: S603 - ours
        version = re.search(r"\) (\d+)", told)
        if version and int(version[1]) == major:
            return path
        seen.append(f"{path} is {told.strip() or 'of no version'}")
    there = f"; {', '.join(seen)}" if seen else ""
    raise Problem(409, f"{name} is missing", f"the server is PostgreSQL {major}: put {name} {major} into PATH{there}")


def _run(url: URL, *command: str) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
    _, given = url.get_dialect()().create_connect_args(url)
    names = {"host": "PGHOST", "port": "PGPORT", "user": "PGUSER", "password": "PGPASSWORD", "dbname": "PGDATABASE"}
    for name, value in given.items():
        # In the environment, where other users do not see it; libpq has a variable for nearly every parameter.
        variable = names.get(name, "PG" + name.upper().replace("_", ""))
        environment[variable] = str(value)
    done = subprocess.run(  # noqa: S603 - PostgreSQL's program
        command, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    if done.returncode:
        said = " ".join(done.stderr.split())[:500]
        full = "No space left" in said
        raise Problem(507 if full else 500, f"{Path(command[0]).name} failed", said)
