"""What a backup's database must pass before it may take the place of the present one. Nothing is believed."""

from __future__ import annotations

from alembic.util import CommandError
from sqlalchemy import Engine, inspect
from sqlalchemy.exc import SQLAlchemyError

from yoq_web.backup.manifest import BackupManifest, count_rows
from yoq_web.contributions.registry import list_keepers
from yoq_web.database.migrations import UpgradeFailed, list_lineages, list_standings, upgrade
from yoq_web.database.session import Model
from yoq_web.hooks.errors import HOOK_ERRORS, find_raised, isolate
from yoq_web.hooks.notifier import report_hook_failure
from yoq_web.problems import Problem


def make_refusal(reason: str) -> Problem:
    """Make the error for a backup that is not to be restored."""
    return Problem(422, "the backup cannot be restored", reason)


def check_backup(engine: Engine, manifest: BackupManifest) -> list[str]:
    """Check a backup's database, and migrate it forward to what this program needs; returns what was migrated.

    Raises a Problem for the first thing that is wrong.
    """
    try:
        _check_intact(engine)
        with engine.connect() as connection:
            rows = count_rows(connection)
        if rows != manifest.rows:
            different = sorted(name for name in {*rows, *manifest.rows} if rows.get(name) != manifest.rows.get(name))
            raise make_refusal(f"its tables do not have the rows that its manifest says: {', '.join(different)}")
        migrated = _migrate(engine, manifest)
        _check_complete(engine)
        if migrated:
            _check_intact(engine)
    except SQLAlchemyError as error:
        raise make_refusal(f"its database cannot be read: {type(error).__name__}") from error
    for owner, keeper in list_keepers():
        try:
            with isolate():
                faults = keeper.faults(engine)
        except HOOK_ERRORS as error:
            report_hook_failure(owner, "Keeper.faults", error)
            raise make_refusal(f"{owner} cannot check its tables: {type(find_raised(error)).__name__}") from error
        if faults:
            raise make_refusal("; ".join(faults[:5]))
    return migrated


def _check_intact(engine: Engine) -> None:
    if engine.dialect.name != "sqlite":
        return  # PostgreSQL checked every row and key while it was loaded
    with engine.connect() as connection:
        found = connection.exec_driver_sql("PRAGMA integrity_check(3)").scalars().all()
        if found != ["ok"]:
            raise make_refusal(f"its database is damaged: {'; '.join(found)}")
        if broken := connection.exec_driver_sql("PRAGMA foreign_key_check").first():
            raise make_refusal(f"a row of {broken[0]} refers to nothing in {broken[2]}")


def _migrate(engine: Engine, manifest: BackupManifest) -> list[str]:
    """Migrate forward what is older. Raises a Problem for what is newer than this program."""
    found = list_standings(engine)
    stated = {standing.lineage.name: standing.current for standing in found if standing.current is not None}
    known = {name: revision for name, revision in manifest.lineages.items() if name in stated}
    if stated != known:
        raise make_refusal("its tables are not of the revisions that its manifest says")
    if "core" not in stated:
        raise make_refusal("it is not a database of yoq-web")
    if newer := [f"{standing.lineage.name} {standing.current}" for standing in found if not standing.known]:
        raise make_refusal(f"it was made by a newer version, which this one does not know: {', '.join(newer)}")
    told: list[str] = []
    try:
        upgrade(told.append, engine)
    except UpgradeFailed as error:
        raise make_refusal(f"its tables cannot be migrated: {error.detail}") from error
    except (CommandError, SQLAlchemyError) as error:
        raise make_refusal(f"its tables cannot be migrated: {type(error).__name__}") from error
    return told


def _check_complete(engine: Engine) -> None:
    """Check that every table of every lineage is there, with all the columns that the models declare."""
    reflected = inspect(engine)
    present = set(reflected.get_table_names())
    for lineage in list_lineages():
        for name, declared in Model.metadata.tables.items():
            if not lineage.owns(name):
                continue
            if name not in present:
                raise make_refusal(f"the table {name} is missing")
            columns = {column["name"] for column in reflected.get_columns(name)}
            if missing := sorted(set(declared.columns.keys()) - columns):
                raise make_refusal(f"the table {name} lacks {', '.join(missing)}")
