"""The tables of retention: the minimum index, the erased places, and what is remembered of pruned bundles."""

from __future__ import annotations

from sqlalchemy import BigInteger, Integer, Table
from sqlalchemy.orm import Mapped, mapped_column

from yoq_web import Model


class Minimum(Model):
    """A minimum index of the log: entries under it are pruned. The largest counts; rows are only ever added.

    `event_id` is that of the entry `audit_prune` that announced it; no entry from `cutoff` on, in microseconds since
    1970, is under it.
    """

    __tablename__ = "audit_minimum"

    minimum: Mapped[int] = mapped_column(
        BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=False
    )
    event_id: Mapped[str]
    cutoff: Mapped[int] = mapped_column(BigInteger)


class Erased(Model):
    """A place of the log whose entry was erased: the event that it was, and the `audit_erase` that announced it."""

    __tablename__ = "audit_erased"

    leaf_index: Mapped[int] = mapped_column(
        BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=False
    )
    event_id: Mapped[str] = mapped_column(index=True)
    announced_by: Mapped[str]


class Pruned(Model):
    """A pruned bundle: when its first and last event began, and 8 bytes of a hash of each event's id, in their order.

    With these a record that comes a second time, from a spool that was away for long, is known again.
    """

    __tablename__ = "audit_pruned"

    number: Mapped[int] = mapped_column(
        BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=False
    )
    first_time: Mapped[int] = mapped_column(BigInteger)
    last_time: Mapped[int] = mapped_column(BigInteger, index=True)
    events: Mapped[bytes]


MINIMUMS: Table = Minimum.__table__  # type: ignore[assignment]  # SQLAlchemy types it as any FROM clause
ERASED: Table = Erased.__table__  # type: ignore[assignment]  # as above
PRUNED: Table = Pruned.__table__  # type: ignore[assignment]  # as above
