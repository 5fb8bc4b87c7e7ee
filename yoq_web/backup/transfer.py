"""Carrying one lineage's tables from the present database over to the one that a restore makes, row for row."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING, cast

from alembic import command
from sqlalchemy import Engine, inspect

from yoq_web.database.locks import find_database_file
from yoq_web.database.migrations import Lineage, make_configuration
from yoq_web.settings import current_settings

if TYPE_CHECKING:
    from psycopg import Connection as Driver

OWN_ORDER = "CASE type WHEN 'table' THEN 0 WHEN 'index' THEN 1 ELSE 3 END"

KEPT = "yoq_kept_"
"""How the copy of a table is called while its lineage is made anew."""


def carry(lineage: Lineage, current: Engine, new: Engine) -> None:
    """Put the present tables of a lineage in the place of those in the new database."""
    if new.dialect.name == "sqlite":
        _carry_sqlite(lineage, str(new.url.database))
        return
    remake(lineage, new)
    names = [name for name in list_tables(lineage, current) if name != lineage.version_table]
    with current.connect() as reading, new.connect() as writing:
        source = cast("Driver", reading.connection.driver_connection)
        target = cast("Driver", writing.connection.driver_connection)
        for name in names:
            _copy_rows(source, target, name)
            _copy_sequences(source, target, name)
        target.commit()  # of a database that nobody uses yet, outside the unit of work


def remake(lineage: Lineage, engine: Engine, kept: tuple[str, ...] = ()) -> None:
    """Make a lineage's tables anew, empty but for the rows of the tables `kept`, which have a numbered `id`."""
    quote = engine.dialect.identifier_preparer.quote_identifier
    with engine.connect().execution_options(yoq_writes=True) as connection, connection.begin():
        for name in kept:
            connection.exec_driver_sql(f"CREATE TABLE {KEPT}{name} AS SELECT * FROM {quote(name)}")  # noqa: S608 - names
        for name in reversed(list_tables(lineage, engine)):
            cascade = "" if engine.dialect.name == "sqlite" else " CASCADE"
            connection.exec_driver_sql(f"DROP TABLE {quote(name)}{cascade}")
        if engine.dialect.name != "sqlite":
            functions = connection.exec_driver_sql(
                "SELECT oid::regprocedure::text FROM pg_proc WHERE pronamespace = current_schema()::regnamespace "
                "AND starts_with(proname, %s)",
                (f"{lineage.name}_",),
            )
            for function in functions.scalars().all():
                connection.exec_driver_sql(f"DROP FUNCTION {function} CASCADE")
    command.upgrade(make_configuration(lineage, engine), "head")
    with engine.connect().execution_options(yoq_writes=True) as connection, connection.begin():
        for name in kept:
            columns = ", ".join(quote(column["name"]) for column in inspect(connection).get_columns(name))
            connection.exec_driver_sql(
                f"INSERT INTO {quote(name)} ({columns}) SELECT {columns} FROM {KEPT}{name} ORDER BY id"  # noqa: S608 - names
            )
            connection.exec_driver_sql(f"DROP TABLE {KEPT}{name}")
            if engine.dialect.name != "sqlite":
                connection.exec_driver_sql(
                    f"SELECT setval(pg_get_serial_sequence(%s, 'id'), (SELECT max(id) FROM {quote(name)}))",  # noqa: S608 - names
                    (name,),
                )


def list_tables(lineage: Lineage, engine: Engine) -> list[str]:
    """List a lineage's tables in a database, its version table too, those first that others refer to."""
    ordered = inspect(engine).get_sorted_table_and_fkc_names()
    return [name for name, _ in ordered if name and (lineage.owns(name) or name == lineage.version_table)]


def _carry_sqlite(lineage: Lineage, new: str) -> None:
    """Take the definitions over as they are, indexes and triggers too; while rows are copied there is no trigger."""
    file = find_database_file(current_settings())
    assert file is not None  # noqa: S101 - the present database is SQLite's, too
    with closing(sqlite3.connect(f"file:{new}", uri=True, isolation_level=None)) as connection:
        connection.execute("PRAGMA synchronous=OFF")
        connection.execute("PRAGMA foreign_keys=OFF")
        connection.execute("ATTACH ? AS present", (f"{file.as_uri()}?mode=ro",))
        connection.execute("BEGIN IMMEDIATE")
        for (name,) in connection.execute("SELECT name FROM main.sqlite_master WHERE type = 'table'").fetchall():
            if _is_own_table(lineage, name):
                connection.execute(f'DROP TABLE main."{name}"')
        parts = connection.execute(
            f"SELECT type, name, tbl_name, sql FROM present.sqlite_master WHERE sql IS NOT NULL ORDER BY {OWN_ORDER}"  # noqa: S608 - constant
        ).fetchall()
        own = [part for part in parts if _is_own_table(lineage, part[2])]
        for kind, _, _, statement in own:
            if kind != "trigger":
                connection.execute(statement)
        for kind, name, _, _ in own:
            if kind == "table":
                connection.execute(f'INSERT INTO main."{name}" SELECT * FROM present."{name}"')  # noqa: S608 - a name
        for kind, _, _, statement in own:
            if kind == "trigger":
                connection.execute(statement)
        connection.execute("COMMIT")


def _is_own_table(lineage: Lineage, table: str) -> bool:
    return lineage.owns(table) or table == lineage.version_table


def _copy_rows(source: Driver, target: Driver, name: str) -> None:
    """Copy a table's rows; while they are copied there is no trigger, which may ask for rows of other tables."""
    from psycopg import sql  # noqa: PLC0415 - on SQLite every command would load a driver that it does not need

    table = sql.Identifier(name)
    target.execute(sql.SQL("ALTER TABLE {} DISABLE TRIGGER USER").format(table))
    described = source.execute(sql.SQL("SELECT * FROM {} LIMIT 0").format(sql.Identifier(name))).description or ()
    columns = sql.SQL(", ").join(sql.Identifier(column.name) for column in described)
    out = sql.SQL("COPY {} ({}) TO STDOUT (FORMAT BINARY)").format(table, columns)
    into = sql.SQL("COPY {} ({}) FROM STDIN (FORMAT BINARY)").format(table, columns)
    with source.cursor().copy(out) as rows, target.cursor().copy(into) as taking:
        for piece in rows:
            taking.write(piece)
    target.execute(sql.SQL("ALTER TABLE {} ENABLE TRIGGER USER").format(table))


def _copy_sequences(source: Driver, target: Driver, name: str) -> None:
    """Set the sequences, so that numbers given once are not given again."""
    owned = source.execute(
        "SELECT attname, pg_get_serial_sequence(quote_ident(%s), attname) FROM pg_attribute "
        "WHERE attrelid = quote_ident(%s)::regclass AND attnum > 0 AND NOT attisdropped",
        (name, name),
    ).fetchall()
    for column, sequence in owned:
        if sequence is not None:
            value = source.execute(f"SELECT last_value, is_called FROM {sequence}").fetchone()  # noqa: S608 - a name
            place = (name, column, *(value or ()))
            target.execute("SELECT setval(pg_get_serial_sequence(quote_ident(%s), %s), %s, %s)", place)
