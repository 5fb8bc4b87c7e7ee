"""The tables of the audit log: its entries, the tree over them, its keys, and what is kept of removed entries."""

from __future__ import annotations

from sqlalchemy import BigInteger, Index, Integer, Table, text
from sqlalchemy.orm import Mapped, mapped_column

from yoq_web import Model

ANNOUNCING = "action IN ('audit_prune', 'audit_erase')"
"""Which entries announce that others go; a query that says so in these very words is served by an index."""

SETTLED = text("outcome <> 'started'")
STARTED = text("outcome = 'started'")
"""An event that acts outside the database has an entry of each kind, when it starts and when it has ended; others have
one that is settled. To be served by an index of event ids, a query says one of the two in these very words."""


class Entry(Model):
    """An event and its outcome as stored. Entries are appended and never changed.

    `recorded_at` is in seconds since 1970 and `time` the same moment in microseconds; `details` is JSON text; `version`
    says by which rules the row was written, for readers of another time; `nonce` keeps a removed entry from being
    guessed back from its leaf's hash. The filters declare further indexes of theirs.
    """

    __tablename__ = "audit_log"
    __table_args__ = (
        Index("ix_audit_log_announcing", "id", sqlite_where=text(ANNOUNCING), postgresql_where=text(ANNOUNCING)),
        Index("ix_audit_log_time", "time", "id"),
        Index("ix_audit_log_settled", "event_id", unique=True, sqlite_where=SETTLED, postgresql_where=SETTLED),
        Index("ix_audit_log_started", "event_id", unique=True, sqlite_where=STARTED, postgresql_where=STARTED),
    )

    id: Mapped[int] = mapped_column(BigInteger().with_variant(Integer, "sqlite"), primary_key=True)
    event_id: Mapped[str]
    recorded_at: Mapped[int] = mapped_column(BigInteger)
    time: Mapped[int] = mapped_column(BigInteger)
    actor: Mapped[str]
    actor_kind: Mapped[str]
    action: Mapped[str]
    target: Mapped[str | None]
    outcome: Mapped[str]
    reason: Mapped[str | None]
    request_id: Mapped[str | None]
    node: Mapped[str]
    peer: Mapped[str | None]
    details: Mapped[str]
    version: Mapped[int]
    nonce: Mapped[str] = mapped_column(server_default="-")


class Leaf(Model):
    """An entry's place in the tree, given when it is sealed."""

    __tablename__ = "audit_leaf"

    # On SQLite an INTEGER key is the table's own order: verification reads the places without a detour by an index.
    leaf_index: Mapped[int] = mapped_column(
        BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=False
    )
    entry_id: Mapped[int] = mapped_column(BigInteger, unique=True)


class StoredTile(Model):
    """A tile of the tree as it grows; its hashes are complete once there are 256 of them."""

    __tablename__ = "audit_tile"

    level: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    number: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    hashes: Mapped[bytes]


class StoredCheckpoint(Model):
    """A size that the tree had, its root, and the signed checkpoint, which is added after the size is committed.

    `last_entry`, the id of the last entry sealed, is for people: nothing is derived from it. `horizon` is PostgreSQL's:
    every transaction before it had ended. `sealed_at` is in seconds since 1970. No signature covers these three.
    """

    __tablename__ = "audit_checkpoint"

    size: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    root: Mapped[bytes]
    note: Mapped[str | None]
    last_entry: Mapped[int] = mapped_column(BigInteger)
    horizon: Mapped[int] = mapped_column(BigInteger)
    sealed_at: Mapped[int] = mapped_column(BigInteger)


class LogKey(Model):
    """A public key of the log, as its vkey text; the first one is made known when the log begins.

    `announcement` is the note by which the key before it and the key itself say that it follows; None for the first.
    """

    __tablename__ = "audit_key"

    vkey: Mapped[str] = mapped_column(primary_key=True)
    added_at: Mapped[int] = mapped_column(BigInteger)
    announcement: Mapped[str | None]


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


ENTRIES: Table = Entry.__table__  # type: ignore[assignment]  # SQLAlchemy types it as any FROM clause
LEAVES: Table = Leaf.__table__  # type: ignore[assignment]  # as above
CHECKPOINTS: Table = StoredCheckpoint.__table__  # type: ignore[assignment]  # as above
MINIMUMS: Table = Minimum.__table__  # type: ignore[assignment]  # as above
ERASED: Table = Erased.__table__  # type: ignore[assignment]  # as above
PRUNED: Table = Pruned.__table__  # type: ignore[assignment]  # as above
