"""Keeper: what an owner of tables has to say when the database is backed up or restored. By default nothing.

A restore puts the backup's tables in the place of the present ones. An owner whose tables must not go back in time
contributes a Keeper that tells which of the two are to stay.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from sqlalchemy import Connection, Engine

from yoq_web import files
from yoq_web.settings import current_settings

Mark = Mapping[str, str | int]
"""Where an owner's tables stood when the backup was taken, in short words and numbers; goes into the manifest."""


@dataclass(frozen=True)
class Choice:
    """Whose tables stay after a restore: those of the `current` database, those of the `backup`, or neither: a `fork`.

    `reason` says why neither can. Then `anew` says, for the restore's entry, what a beginning anew leaves behind, and
    `kept` names those of the backup's tables whose rows stay all the same.
    """

    whose: Literal["current", "backup", "fork"]
    reason: str = ""
    anew: tuple[str, ...] = ()
    kept: tuple[str, ...] = ()


class Keeper:
    """The base class. Its methods are called with databases that nobody else uses at that moment."""

    files: tuple[str, ...] = ()
    """Names, or patterns of names, of key files in the data directory without which the tables are of little use."""

    def ready(self) -> None:
        """Get ready. Called just before a backup's copy is made, and before a restore looks at the present database."""

    def mark(self, connection: Connection) -> Mark:  # noqa: ARG002 - for those who override it
        """Return where the tables stand, read over a connection to the copy that is being backed up."""
        return {}

    def faults(self, backup: Engine) -> list[str]:  # noqa: ARG002 - as above
        """Return what is wrong with the tables of a backup, which is then refused."""
        return []

    def choose(self, current: Engine, backup: Engine) -> Choice:  # noqa: ARG002 - as above
        """Choose whose tables are to stay."""
        return Choice("backup")

    def put_back(self, name: str, content: bytes) -> bool:
        """Put back a key file that was in a backup; returns whether it was. One that is there is left alone."""
        path = current_settings().data_dir / name
        return not path.exists() and files.read_or_create(path, lambda: content) == content

    def prepare(self, choice: Choice, new: Engine) -> None:
        """Finish tables that are as was chosen. Called just before the new database takes its place."""

    def amend(self, current: Connection, new: Connection) -> list[str]:  # noqa: ARG002 - as above
        """Carry over single things that must not be undone; returns what was done, for people."""
        return []

    def restored(self) -> None:
        """Do what is to be done when the new database is in place. A crash may come before."""
