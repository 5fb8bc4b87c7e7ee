"""What `/metrics` shows of the trail: how far it is sealed, and what was begun and has no outcome yet."""

from __future__ import annotations

from sqlalchemy import func, select, text

from yoq_audit.storage.models import CHECKPOINTS, ENTRIES
from yoq_audit.storage.tree import find_watermark, select_unsealed
from yoq_web import Gauge, db

MOST = 10_000
"""So many unsealed entries are counted at the most: where there are more, what matters is that there are."""

OPEN = text(
    "SELECT count(*) FROM audit_log begun WHERE begun.outcome = 'started' AND (SELECT 1 "
    "FROM audit_log ended WHERE ended.event_id = begun.event_id AND ended.outcome <> 'started' LIMIT 1) IS NULL"
)
"""In the words of the indexes of event ids. Not EXISTS, for which PostgreSQL may read the whole log beforehand."""


def count_unsealed() -> int:
    """Count the entries that have no place in the tree yet, up to MOST."""
    session = db.session()
    waiting = select_unsealed(find_watermark(session)).with_only_columns(ENTRIES.c.id).limit(MOST)
    return session.scalar(select(func.count()).select_from(waiting.subquery())) or 0


def find_checkpoint_time() -> float | None:
    """Return when the newest checkpoint was made, in seconds since 1970."""
    newest = select(CHECKPOINTS.c.sealed_at).order_by(CHECKPOINTS.c.size.desc()).limit(1)
    return db.session().scalar(newest)


def count_open() -> int:
    """Count the operations that were begun and have no outcome yet, on any machine."""
    return db.session().scalar(OPEN) or 0


GAUGES = (
    Gauge("yoq_audit_unsealed_entries", f"Entries that are not sealed yet, {MOST:,} at the most", count_unsealed),
    Gauge("yoq_audit_checkpoint_timestamp_seconds", "When the newest checkpoint was made", find_checkpoint_time),
    Gauge("yoq_audit_open_operations", "External operations that were begun and have no outcome yet", count_open),
)
