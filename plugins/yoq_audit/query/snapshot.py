"""What a walk through the trail shows: the entries that were committed when it began, and none that come later.

On SQLite ids are in the order of commits, so that the highest id says it all. On PostgreSQL an entry may be committed
behind others with higher ids. There the tree tells the late ones: they are sealed later, at a higher index. So a walk
is what was sealed below a size of the tree, and the few entries that were committed but not sealed yet, by their ids.
That needs no sealing on the way, and is the same on a machine that does not have the log's key.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from sqlalchemy import BigInteger, ColumnElement, Dialect, FromClause, bindparam, func, or_, select, text
from sqlalchemy.orm import Session

from yoq_audit.storage import tree
from yoq_audit.storage.models import CHECKPOINTS, ENTRIES, LEAVES, MINIMUMS
from yoq_audit.storage.prepared import Prepared

MOST_UNSEALED = 2_000
MOST_RANGES = 32
"""Where more is unsealed, as when no machine has sealed for long, a walk also shows what is committed meanwhile among
the entries that it has not come to yet. It still misses and repeats none that were there when it began."""

ENDS = ("low", "high")

READ_ONLY = text(
    "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY; "
    "SET LOCAL enable_sort = off; SET LOCAL enable_seqscan = off"
)
"""Every query of a walk can be answered by an index, and in its order. PostgreSQL, which knows little of prefixes and,
after a load, of anything, would rather read all that match and sort them, or the whole table."""


@dataclass(frozen=True)
class Snapshot:
    """A set of entries that stays as it is.

    These are the entries up to the id `floor`; above it those that were sealed when the tree had this size, and those
    whose id is in one of the ranges, both ends included.
    """

    floor: int
    size: int = 0
    ranges: tuple[tuple[int, int], ...] = ()

    @property
    def shape(self) -> int:
        """What match() needs to know of it: -1 for a set that only has a floor, else how many ranges there are."""
        return len(self.ranges) if self.size or self.ranges else -1

    @property
    def values(self) -> dict[str, int]:
        """The values for what match() made."""
        ends = {
            f"{end}{number}": at for number, ends in enumerate(self.ranges) for end, at in zip(ENDS, ends, strict=True)
        }
        return {"floor": self.floor, "size": self.size, **ends}


def match(shape: int, table: FromClause = ENTRIES) -> ColumnElement[bool]:
    """Make the condition that a row of `table` is in a set of this shape, whose values are given to the statement."""
    below: ColumnElement[bool] = table.c.id <= bindparam("floor", 0, type_=BigInteger)
    if shape < 0:
        return below
    place = select(LEAVES.c.leaf_index).where(LEAVES.c.entry_id == table.c.id).scalar_subquery()
    ranges = [[bindparam(f"{end}{number}", 0, type_=BigInteger) for end in ENDS] for number in range(shape)]
    within = [table.c.id.between(low, high) for low, high in ranges]
    return or_(below, *within, place < bindparam("size", 0, type_=BigInteger))


def begin_reading(session: Session) -> None:
    """Begin a transaction in which everything that is read is of one moment."""
    session.rollback()
    if session.get_bind().dialect.name != "sqlite":  # whose transactions are so by themselves
        # Without parameters, as the driver needs it for two statements at once.
        session.execute(READ_ONLY, execution_options={"no_parameters": True})


@dataclass(frozen=True)
class LogState:
    """How the log stands: its id, the highest id of an entry, the minimum index, and its cutoff (as a time)."""

    log_id: str = ""
    highest: int = 0
    minimum: int = 0
    cutoff: int = 0


def read_log_state(session: Session) -> LogState:
    """Read how the log stands in a session's transaction, in one statement."""
    vkey, highest, minimum, cutoff = tuple(_prepare_log_state(session.get_bind().dialect).fetch_all(session, {})[0])
    return LogState(tree.get_log_id(vkey), highest or 0, minimum or 0, cutoff or 0)


@lru_cache(8)
def _prepare_log_state(dialect: Dialect) -> Prepared:
    cutoff = select(MINIMUMS.c.cutoff).order_by(MINIMUMS.c.minimum.desc()).limit(1)
    parts = (tree.FIRST_KEY, select(func.max(ENTRIES.c.id)), select(func.max(MINIMUMS.c.minimum)), cutoff)
    return Prepared(select(*(part.scalar_subquery() for part in parts)), dialect)


def take_snapshot(session: Session, highest: int) -> Snapshot:
    """Take the entries that the session's transaction sees, which begin_reading() began: `highest` is their last id."""
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
