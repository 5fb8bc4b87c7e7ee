"""The manifest: what is in a backup, as its file `manifest.json` says."""

from __future__ import annotations

from typing import Final, Literal

from pydantic import BaseModel, ConfigDict

FORMAT: Final = 1


class Manifest(BaseModel):
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
