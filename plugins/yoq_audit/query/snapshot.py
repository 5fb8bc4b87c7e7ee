"""What a walk through the trail shows: the entries that were committed when it began, and none that come later.

On SQLite ids are in the order of commits, so that the highest id says it all. On PostgreSQL an entry may be committed
behind others with higher ids. There the tree tells the late ones: they are sealed later, at a higher index. So a walk
is what was sealed below a size of the tree, and the few entries that were committed but not sealed yet, by their ids.
That needs no sealing on the way, and is the same on a machine that does not have the log's key.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import ColumnElement, FromClause, func, or_, select, text
from sqlalchemy.orm import Session

from yoq_audit.storage import tree
from yoq_audit.storage.models import CHECKPOINTS, ENTRIES, LEAVES

MOST_UNSEALED = 2_000
MOST_RANGES = 32
"""Where more is unsealed, as when no machine has sealed for long, a walk also shows what is committed meanwhile among
the entries that it has not come to yet. It still misses and repeats none that were there when it began."""

READ_ONLY = text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY; SET LOCAL enable_sort = off")
"""Every query of a walk can be answered in the order of an index. PostgreSQL, where it knows little of the table, would
rather read all that match, and sort them."""


@dataclass(frozen=True)
class Snapshot:
    """A set of entries that stays as it is.

    These are the entries up to the id `floor`; above it those that were sealed when the tree had this size, and those
    whose id is in one of the ranges, both ends included.
    """

    floor: int
    size: int = 0
    ranges: tuple[tuple[int, int], ...] = ()

    def match(self, table: FromClause = ENTRIES) -> ColumnElement[bool]:
        """Make the condition that a row of `table` is in the set."""
        below: ColumnElement[bool] = table.c.id <= self.floor
        if not self.size and not self.ranges:
            return below
        place = select(LEAVES.c.leaf_index).where(LEAVES.c.entry_id == table.c.id).scalar_subquery()
        return or_(below, *(table.c.id.between(*ends) for ends in self.ranges), place < self.size)


def begin_reading(session: Session) -> None:
    """Begin a transaction in which everything that is read is of one moment."""
    session.rollback()
    if session.get_bind().dialect.name != "sqlite":  # whose transactions are so by themselves
        # Without parameters, as the driver needs it for two statements at once.
        session.execute(READ_ONLY, execution_options={"no_parameters": True})


def take_snapshot(session: Session) -> Snapshot:
    """Take the entries that the session's transaction sees, which begin_reading() began."""
    highest = session.scalar(select(func.max(ENTRIES.c.id))) or 0
    if session.get_bind().dialect.name == "sqlite":
        return Snapshot(highest)
    settled = tree.find_watermark(session)
    unsealed = session.scalars(
        tree.select_unsealed(settled).with_only_columns(ENTRIES.c.id).limit(MOST_UNSEALED + 1)
    ).all()
    ranges = join_ids(unsealed)
    if len(unsealed) > MOST_UNSEALED or len(ranges) > MOST_RANGES:
        return Snapshot(highest)
    return Snapshot(settled, session.scalar(select(func.max(CHECKPOINTS.c.size))) or 0, ranges)


def join_ids(ids: Sequence[int]) -> tuple[tuple[int, int], ...]:
    """Join ascending ids to ranges without gaps: a number that is missing may belong to a transaction that goes on."""
    found: list[tuple[int, int]] = []
    for number in ids:
        if found and number == found[-1][1] + 1:
            found[-1] = found[-1][0], number
        else:
            found.append((number, number))
    return tuple(found)
