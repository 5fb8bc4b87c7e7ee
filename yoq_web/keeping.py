"""Keeper: what an owner of tables has to say when the database is backed up or restored. By default nothing.

A restore puts the backup's tables in the place of the present ones. An owner whose tables must not go back in time
contributes a Keeper that tells which of the two are to stay.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from sqlalchemy import Connection, Engine

Mark = Mapping[str, str | int]
"""Where an owner's tables stood when the backup was taken, in short words and numbers; goes into the manifest."""


@dataclass(frozen=True)
class Choice:
    """Whose tables stay after a restore: those of the `current` database, those of the `backup`, or neither: a `fork`.

    `reason` says why neither can. `anew` says what a beginning anew would leave behind, for the restore's entry.
    """

    whose: Literal["current", "backup", "fork"]
    reason: str = ""
    anew: tuple[str, ...] = ()


class Keeper:
    """The base class. Its methods are called with databases that nobody else uses at that moment."""

    files: tuple[str, ...] = ()
    """Names of key files in the data directory, without which the tables are of little use."""

    def mark(self, connection: Connection) -> Mark:  # noqa: ARG002 - for those who override it
        """Where the tables stand, read over a connection to the copy that is being backed up."""
        return {}

    def faults(self, backup: Engine) -> list[str]:  # noqa: ARG002 - as above
        """What is wrong with the tables of a backup, which is then refused."""
        return []

    def choose(self, current: Engine, backup: Engine) -> Choice:  # noqa: ARG002 - as above
        """Whose tables are to stay."""
        return Choice("backup")

    def begin_anew(self, backup: Engine) -> None:
        """Make of the backup's tables ones that begin anew, after a fork was accepted."""

    def amend(self, current: Connection, backup: Connection) -> list[str]:  # noqa: ARG002 - as above
        """Carry over from the current database what must not be undone; returns what was done, for people."""
        return []

    def restored(self) -> None:
        """Called when the restored database is in place, and again whenever that may have been missed."""
