"""Alembic's environment for every lineage: one transaction, under one lock, touching only the lineage's own tables."""

from __future__ import annotations

from typing import Any

from alembic import context
from alembic.util import CommandError
from flask import current_app
from sqlalchemy import Connection, inspect, text

from yoq_web.database import Model, db, may_commit
from yoq_web.lineages import CORE, Lineage

lineage: Lineage = context.config.attributes["lineage"]
LOCK = 0x796F71  # one number for all processes of all nodes: "yoq"


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
    if not sqlite:
        connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": LOCK})
    before = set(inspect(connection).get_table_names())
    context.configure(connection=connection, **options())
    with context.begin_transaction():
        context.run_migrations()
    after = set(inspect(connection).get_table_names())
    foreign = sorted(name for name in before ^ after if not lineage.owns(name) and name != lineage.version_table)
    if lineage.name != CORE and foreign:
        raise CommandError(f"the migrations of {lineage.name} touch tables that are not its own: {', '.join(foreign)}")
    if sqlite and (broken := connection.exec_driver_sql("PRAGMA foreign_key_check").first()):
        raise CommandError(f"the migration would leave a row of {broken[0]} that refers to nothing in {broken[2]}")


if context.is_offline_mode():
    context.configure(url=str(db.engine.url), literal_binds=True, dialect_opts={"paramstyle": "named"}, **options())
    with context.begin_transaction():
        context.run_migrations()
else:
    with db.engine.connect().execution_options(yoq_writes=True) as connection:
        driver = connection.connection.cursor()
        if connection.dialect.name == "sqlite":
            # With foreign keys on, rebuilding a parent table deletes its children (ON DELETE CASCADE). The pragma
            # does nothing inside a transaction, so it comes before BEGIN, on the driver's connection.
            driver.execute("PRAGMA foreign_keys=OFF")
        try:
            with may_commit(connection), connection.begin():
                migrate(connection)
        finally:
            if connection.dialect.name == "sqlite":
                driver.execute("PRAGMA foreign_keys=ON")
            driver.close()
