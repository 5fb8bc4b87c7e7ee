"""Counting the trail: how much was done in each period, by each actor and action, with each outcome, from each peer.

Counted anew each time, over the index of times: half a million entries a second. A table of sums kept beside the log
would be one that somebody can change without the log's proofs noticing.
"""

from __future__ import annotations

import time
from collections import Counter
from typing import Any, Literal, get_args

from pydantic import BaseModel, Field
from sqlalchemy import BigInteger, ColumnElement, case, cast, func, literal_column, select, text
from sqlalchemy.orm import Session

from yoq_audit.query import snapshot
from yoq_audit.query.filters import FilterQuery
from yoq_audit.query.statements import match_visible
from yoq_audit.storage.models import ENTRIES
from yoq_web import Problem, format_time

Bucket = Literal["1m", "5m", "15m", "1h", "6h", "1d", "7d"]
MINUTES: dict[str, int] = dict(zip(get_args(Bucket), (1, 5, 15, 60, 360, 1440, 10_080), strict=True))
MINUTE = 60_000_000
"""In microseconds, as all times here."""
DAY = 1440 * MINUTE

FEW_BUCKETS = 60
"""A bucket that nobody chose is as short as it can be with no more than so many of them."""
MOST_BUCKETS = 1500
"""A day in minutes."""

MOST_PEERS = 100
"""So many peers are told, those with the highest counts."""

COUNTED = (ENTRIES.c.actor, ENTRIES.c.action, ENTRIES.c.outcome, ENTRIES.c.peer)

ATTEMPTS = "access_denied"
"""The action of which one entry may stand for many attempts: its detail `count` says for how many."""

PLAIN_COUNT = '"count":([0-9]{1,9})[,}]'
"""Where PostgreSQL finds it in the text: within a text of JSON there is no quote that is not escaped."""


class StatsQuery(FilterQuery):
    """Which entries to count, and by which periods."""

    bucket: Bucket | None = Field(
        None, description=f"The length of a period; if not given, so that there are at most {FEW_BUCKETS}"
    )


class BucketOut(BaseModel):
    """A period in which there are entries: when it begins, and how many."""

    start: str
    count: int


class StatsOut(BaseModel):
    """The counts, the highest first. `since` and `until` are what was counted, each period is `bucket` long.

    All but `entries` count attempts that were recorded together one by one.
    """

    since: str
    until: str
    bucket: Bucket
    total: int
    buckets: list[BucketOut] = Field(description="The periods that have entries, in order")
    actors: dict[str, int]
    actions: dict[str, int]
    outcomes: dict[str, int]
    peers: dict[str, int] = Field(description=f"The {MOST_PEERS} addresses from which most was done")
    entries: int = Field(description="How many entries these are")


def count_entries(session: Session, query: StatsQuery, now: int | None = None) -> dict[str, Any]:
    """Count what a query selects that is made `now` (microseconds since 1970), as a StatsOut.

    Raises a 400 for a bucket that is too short for the time asked for.
    """
    now = time.time_ns() // 1000 if now is None else now
    selection = query.resolve(now)
    until = selection.until if selection.until is not None else now
    since = selection.since if selection.since is not None else max(0, until - DAY)
    bucket = query.bucket or _choose_bucket(until - since)
    length = MINUTES[bucket] * MINUTE
    if until - since > MOST_BUCKETS * length:
        raise Problem(400, "invalid bucket", f"there would be more than {MOST_BUCKETS}: choose a longer one")
    # Spelled out: PostgreSQL groups by it only if it is the same text in both places, which no two parameters are.
    period = (ENTRIES.c.time - ENTRIES.c.time % literal_column(str(length))).label("period")
    chosen = selection.replace_times(since, until).match(session.get_bind().dialect.name)
    attempts = func.sum(_weigh(session.get_bind().dialect.name))
    statement = (
        select(period, *COUNTED, attempts, func.count()).where(*chosen, *match_visible(None)).group_by(period, *COUNTED)
    )
    total = 0
    buckets: Counter[int] = Counter()
    by: tuple[Counter[str | None], ...] = tuple(Counter() for _ in COUNTED)
    snapshot.begin_reading(session)
    on_sqlite = session.get_bind().dialect.name == "sqlite"
    try:
        if on_sqlite:  # which sorts all that it counts; else its temporary data is in memory
            session.execute(text("PRAGMA temp_store=FILE"))
        for start, *values, weight, entries in session.execute(statement):
            number = int(weight)
            total += entries
            buckets[start] += number
            for counter, value in zip(by, values, strict=True):
                counter[value] += number
    finally:
        if on_sqlite:
            session.execute(text("PRAGMA temp_store=MEMORY"))
        session.rollback()
    actors, actions, outcomes, peers = (_rank(each) for each in by)
    return {
        "since": format_time(since),
        "until": format_time(until),
        "bucket": bucket,
        "total": buckets.total(),
        "buckets": [{"start": format_time(start), "count": number} for start, number in sorted(buckets.items())],
        "actors": actors,
        "actions": actions,
        "outcomes": outcomes,
        "peers": dict(list(peers.items())[:MOST_PEERS]),
        "entries": total,
    }


def _rank(counts: Counter[str | None]) -> dict[str, int]:
    """Return the counts of what has a name, the highest first."""
    named = [(name, number) for name, number in counts.items() if name is not None]
    return dict(sorted(named, key=lambda one: (-one[1], one[0])))


def _weigh(dialect: str) -> ColumnElement[int]:
    """Make how many attempts an entry stands for."""
    if dialect == "sqlite":
        counted = (func.json_valid(ENTRIES.c.details) == 1) & (
            func.json_type(ENTRIES.c.details, "$.count") == "integer"
        )
        count: ColumnElement[int] = case((counted, func.json_extract(ENTRIES.c.details, "$.count")), else_=1)
    else:
        count = func.coalesce(cast(func.substring(ENTRIES.c.details, PLAIN_COUNT), BigInteger), 1)
    return case((ENTRIES.c.action == ATTEMPTS, count), else_=1)


def _choose_bucket(span: int) -> str:
    return next((name for name, minutes in MINUTES.items() if span <= FEW_BUCKETS * minutes * MINUTE), "7d")
