"""Schemas: what a lineage's migrations make, beside what a database has. Nothing is written down a second time.

The migrations are run on an empty database: on SQLite in memory, on PostgreSQL in a schema that is rolled back.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from alembic.migration import MigrationContext
from alembic.operations import Operations
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, make_url, text
from sqlalchemy.exc import InternalError, ProgrammingError

from yoq_web.database.engine import make_engine
from yoq_web.database.migrations import Lineage, find_lineage, find_migrations_folder
from yoq_web.database.session import Model, db

SchemaPart = Literal["column", "constraint", "rule", "table", "trigger", "unique index"]

ON_POSTGRESQL = """
    WITH own AS (SELECT oid, relname, relkind, relpersistence, relrowsecurity FROM pg_class
                  WHERE relnamespace = current_schema()::regnamespace AND relkind IN ('r', 'p', 'v', 'm', 'f'))
    SELECT 'table', relname, relname, format('%s %s %s', relkind, relpersistence, relrowsecurity) FROM own
    UNION ALL
    SELECT 'column', relname, attname, concat_ws(' ', format_type(atttypid, atttypmod),
           CASE WHEN attnotnull THEN 'NOT NULL' END, 'DEFAULT ' || pg_get_expr(adbin, adrelid))
      FROM own JOIN pg_attribute ON attrelid = own.oid
      LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum WHERE attnum > 0 AND NOT attisdropped
    UNION ALL
    SELECT 'constraint', relname, conname, pg_get_constraintdef(c.oid, true)
      FROM own JOIN pg_constraint c ON conrelid = own.oid WHERE contype <> 'n'
    UNION ALL
    SELECT 'unique index', own.relname, i.relname,
           pg_get_indexdef(i.oid, 0, true) || CASE WHEN indisvalid AND indisready THEN '' ELSE ' INVALID' END
      FROM own JOIN pg_index ON indrelid = own.oid JOIN pg_class i ON i.oid = indexrelid WHERE indisunique
    UNION ALL
    SELECT 'trigger', relname, tgname, concat_ws(' ', pg_get_triggerdef(t.oid, true),
           CASE tgenabled WHEN 'O' THEN NULL ELSE 'ENABLED ' || tgenabled::text END, prosrc)
      FROM own JOIN pg_trigger t ON tgrelid = own.oid JOIN pg_proc p ON p.oid = tgfoid WHERE NOT tgisinternal
    UNION ALL
    SELECT 'rule', relname, rulename, pg_get_ruledef(r.oid, true)
      FROM own JOIN pg_rewrite r ON ev_class = own.oid WHERE rulename <> '_RETURN'
"""
"""Kind, table, name and definition of each part, as the server writes them for the current schema."""

Parts = dict[tuple[SchemaPart, str, str], str]


class CannotCompare(Exception):
    """The database does not let its user make what is to be compared with."""


@dataclass(frozen=True)
class SchemaDifference:
    """A part of a table that is not as migrations make it: `made` by them, None if it is not theirs; `found` there."""

    kind: SchemaPart
    table: str
    name: str
    made: str | None
    found: str | None

    def __str__(self) -> str:
        where = self.name if self.kind == "table" else f"{self.name} of {self.table}"
        if self.found is None:
            return f"{self.kind} {where} is missing"
        return f"{self.kind} {where} is {'not as it was made' if self.made is not None else 'none of this program'}"


def compare_schema(owner: str, engine: Engine | None = None) -> list[SchemaDifference]:
    """Compare the tables of a lineage with what its migrations make: columns, keys, unique indexes and triggers.

    Of the application's database, unless another one's engine is given. What others added counts, too, but for
    indexes that are not unique. Raises CannotCompare.
    """
    lineage = find_lineage(owner)
    engine = engine or db.engine
    if engine.dialect.name != "sqlite":
        engine = make_engine(engine.url)  # the application's own may only be read outside an operation
    with engine.connect() as connection:
        if connection.dialect.name == "sqlite":
            found, made = _read_sqlite(connection, lineage), _make_on_sqlite(lineage)
        else:
            found, made = _read_postgresql(connection, lineage), _make_on_postgresql(connection, lineage)
        connection.rollback()
    parts = sorted(key for key in found.keys() | made.keys() if found.get(key) != made.get(key))
    gone = {table for kind, table, _ in parts if kind == "table" and ("table", table, table) not in found}
    return [
        SchemaDifference(*key, made=made.get(key), found=found.get(key))
        for key in parts
        if key[0] == "table" or key[1] not in gone
    ]


def _make_on_sqlite(lineage: Lineage) -> Parts:
    engine = make_engine(make_url("sqlite://"))
    with engine.connect() as connection:
        _run_migrations(connection, lineage)
        return _read_sqlite(connection, lineage)


def _make_on_postgresql(connection: Connection, lineage: Lineage) -> Parts:
    """Run the migrations in a schema of their own, in the connection's transaction; nobody else sees it."""
    name = f"yoq_compare_{secrets.token_hex(8)}"
    try:
        connection.exec_driver_sql(f"CREATE SCHEMA {name}")
    except (ProgrammingError, InternalError) as error:
        raise CannotCompare("the database does not let its user make a schema to compare with") from error
    connection.exec_driver_sql(f"SET LOCAL search_path TO {name}")
    _run_migrations(connection, lineage)
    return _read_postgresql(connection, lineage)


def _run_migrations(connection: Connection, lineage: Lineage) -> None:
    scripts = ScriptDirectory(str(find_migrations_folder()), version_locations=[str(lineage.versions)])
    context = MigrationContext.configure(connection, opts={"target_metadata": Model.metadata})
    with Operations.context(context):
        for script in reversed(list(scripts.walk_revisions())):
            script.module.upgrade()


def _read_postgresql(connection: Connection, lineage: Lineage) -> Parts:
    rows = connection.execute(text(ON_POSTGRESQL.replace(":", r"\:")))
    return {(kind, table, name): _shorten(definition) for kind, table, name, definition in rows if lineage.owns(table)}


def _read_sqlite(connection: Connection, lineage: Lineage) -> Parts:
    rows = connection.exec_driver_sql("SELECT type, name, tbl_name, sql FROM sqlite_master").all()
    parts: Parts = {}
    for kind, name, table, definition in rows:
        if not lineage.owns(table):
            continue
        if kind == "trigger":
            parts["trigger", table, name] = _shorten(definition)
        elif kind in ("table", "view"):
            parts["table", name, name] = kind
            parts |= dict(_list_columns(connection, name))
            parts |= dict(_list_unique_indexes(connection, name))
    return parts


def _list_columns(connection: Connection, table: str) -> Iterator[tuple[tuple[SchemaPart, str, str], str]]:
    for _, name, kind, required, default, place, hidden in connection.exec_driver_sql(f'PRAGMA table_xinfo("{table}")'):
        words = [kind, "NOT NULL" if required else "", f"DEFAULT {default}" if default is not None else ""]
        words += [f"KEY {place}" if place else "", "GENERATED" if hidden else ""]
        yield ("column", table, name), " ".join(filter(None, words))


def _list_unique_indexes(connection: Connection, table: str) -> Iterator[tuple[tuple[SchemaPart, str, str], str]]:
    for _, name, unique, _, partial in connection.exec_driver_sql(f'PRAGMA index_list("{table}")').all():
        if unique:
            columns = connection.exec_driver_sql(f'PRAGMA index_xinfo("{name}")').all()
            keys = ", ".join(f"{column or 'an expression'} {order}" for _, _, column, _, order, key in columns if key)
            query = text("SELECT sql FROM sqlite_master WHERE type = 'index' AND name = :name")
            where = (connection.scalar(query, {"name": name}) or "").partition(" WHERE ")[2] if partial else ""
            yield ("unique index", table, name), _shorten(f"({keys}){' WHERE ' if where else ''}{where}")


def _shorten(definition: str) -> str:
    """Write a definition in one line, however it was set."""
    return " ".join(definition.split())
