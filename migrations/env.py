"""Alembic's environment for every lineage: one transaction, under one lock, touching only the lineage's own tables."""

from __future__ import annotations

from typing import Any

from alembic import context
from alembic.util import CommandError
from flask import current_app
from sqlalchemy import Connection

from yoq_web.database.file_watch import confirm_commit
from yoq_web.database.locks import advisory_lock
from yoq_web.database.migrations import CORE, Lineage
from yoq_web.database.rights import allow_commits
from yoq_web.database.session import Model, db

lineage: Lineage = context.config.attributes["lineage"]

DEFINITIONS = {
    "sqlite": "SELECT tbl_name, name || coalesce(sql, '') FROM sqlite_master WHERE tbl_name <> 'sqlite_sequence'",
    "postgresql": """
        SELECT relname, attname || format_type(atttypid, atttypmod) || attnotnull
                        || coalesce(pg_get_expr(adbin, adrelid), '')
          FROM pg_class JOIN pg_attribute ON attrelid = pg_class.oid
          LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
         WHERE relkind IN ('r', 'p', 'v') AND attnum > 0 AND relnamespace = current_schema()::regnamespace
        UNION ALL
        SELECT relname, conname || pg_get_constraintdef(pg_constraint.oid)
          FROM pg_class JOIN pg_constraint ON conrelid = pg_class.oid
         WHERE relnamespace = current_schema()::regnamespace
        UNION ALL
        SELECT tablename, indexdef FROM pg_indexes WHERE schemaname = current_schema()""",
}
"""Queries for (table, a part of its definition)."""


def include_object(_item: object, name: str | None, kind: str, reflected: bool, _compared: object) -> bool:
    """Let autogenerate see the lineage's own tables only, and never drop a table of the core unasked."""
    if kind != "table":
        return True
    return lineage.owns(name or "") and not (reflected and lineage.name == CORE and name not in Model.metadata.tables)


def leave_out_nothing_to_do(_context: object, _revision: object, directives: list[Any]) -> None:
    """Write no revision when the models and the database agree."""
    if getattr(context.config.cmd_opts, "autogenerate", False) and directives[0].upgrade_ops.is_empty():
        directives[:] = []
        context.config.print_stdout("%s: nothing to migrate", lineage.name)


def definitions(connection: Connection) -> set[tuple[str, str]]:
    """Each table's columns, constraints and indexes, to see which tables a migration touched."""
    return {(table, part) for table, part in connection.exec_driver_sql(DEFINITIONS[connection.dialect.name])}


def options() -> dict[str, Any]:
    """What both ways of running have in common."""
    return {
        "target_metadata": Model.metadata,
        "version_table": lineage.version_table,
        "include_object": include_object,
        "process_revision_directives": leave_out_nothing_to_do,
        **current_app.extensions["migrate"].configure_args,
    }


def migrate(connection: Connection) -> None:
    """Run the migrations in the connection's transaction; a failing one leaves nothing behind."""
    sqlite = connection.dialect.name == "sqlite"
    advisory_lock(connection, "migrations")
    before = definitions(connection)
    context.configure(connection=connection, **options())
    with context.begin_transaction():
        context.run_migrations()
    changed = {table for table, _ in before ^ definitions(connection)} - {lineage.version_table}
    foreign = sorted(table for table in changed if not lineage.owns(table))
    if lineage.name != CORE and foreign:
        raise CommandError(f"the migrations of {lineage.name} touch tables that are not its own: {', '.join(foreign)}")
    if sqlite and (broken := connection.exec_driver_sql("PRAGMA foreign_key_check").first()):
        raise CommandError(f"the migration would leave a row of {broken[0]} that refers to nothing in {broken[2]}")


if context.is_offline_mode():
    context.configure(url=str(db.engine.url), literal_binds=True, dialect_opts={"paramstyle": "named"}, **options())
    with context.begin_transaction():
        context.run_migrations()
else:
    engine = context.config.attributes.get("engine") or db.engine
    with engine.connect().execution_options(yoq_writes=True) as connection:
        driver = connection.connection.cursor()
        if connection.dialect.name == "sqlite":
            # With foreign keys on, rebuilding a parent table deletes its children (ON DELETE CASCADE). The pragma
            # does nothing inside a transaction, so it comes before BEGIN, on the driver's connection.
            driver.execute("PRAGMA foreign_keys=OFF")
            # An index on a large table is sorted in files.
            driver.execute("PRAGMA temp_store=FILE")
        try:
            with allow_commits(), connection.begin():
                migrate(connection)
            confirm_commit()
        finally:
            if connection.dialect.name == "sqlite":
                driver.execute("PRAGMA foreign_keys=ON")
                driver.execute("PRAGMA temp_store=MEMORY")
            driver.close()
