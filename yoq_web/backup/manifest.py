"""The manifest: what is in a backup, as its file `manifest.json` says."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Final, Literal

from pydantic import BaseModel, ConfigDict
from sqlalchemy import Connection, func, inspect, select, table

from yoq_web.contributions.registry import list_keepers
from yoq_web.database.migrations import list_standings
from yoq_web.settings import VERSION, current_settings

FORMAT: Final = 1


class BackupManifest(BaseModel):
    """What a backup holds and where it comes from. `created_at` is in seconds since 1970."""

    model_config = ConfigDict(extra="forbid", strict=True)

    format: Literal[1]
    version: str
    node: str
    created_at: int
    database: Literal["sqlite", "postgresql"]
    lineages: dict[str, str]
    """The revision of each lineage of migrations."""
    rows: dict[str, int]
    """How many rows each table has."""
    marks: dict[str, dict[str, str | int]]
    """Where the tables stood of owners that have more to say, by owner: of the audit log its checkpoint."""
    keys: list[str]
    """The key files that are in the backup."""
    sha256: str
    """Of the database."""
    size: int
    """Of the database, in bytes."""


def make_manifest(connection: Connection, database: Path, keys: list[str]) -> BackupManifest:
    """Describe a copy of the database, which `connection` reads, and the key files that go with it."""
    settings = current_settings()
    rows = count_rows(connection)
    current = {
        found.lineage.name: found.current for found in list_standings(connection.engine) if found.current is not None
    }
    return BackupManifest(
        format=FORMAT,
        version=VERSION,
        node=settings.node,
        created_at=int(time.time()),
        database="sqlite" if settings.on_sqlite else "postgresql",
        lineages=current,
        rows=rows,
        marks={owner: dict(mark) for owner, keeper in list_keepers() if (mark := keeper.mark(connection))},
        keys=keys,
        sha256="",
        size=database.stat().st_size,
    )


def count_rows(connection: Connection) -> dict[str, int]:
    """Count the rows of each table of a database."""
    names = sorted(inspect(connection).get_table_names())
    return {name: connection.scalar(select(func.count()).select_from(table(name))) or 0 for name in names}
