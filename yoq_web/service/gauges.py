"""Gauges: what `/metrics` reads when it is asked, the core's own and how all of them are read, whatever hangs."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

from prometheus_client.core import GaugeMetricFamily
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import QueuePool

from yoq_web.contributions.gauge import Gauge
from yoq_web.contributions.registry import current_registry
from yoq_web.database.session import db
from yoq_web.hooks.errors import HOOK_ERRORS, find_raised, isolate
from yoq_web.hooks.notifier import report_hook_failure
from yoq_web.hooks.questions import Question, Unanswered
from yoq_web.operations.spool import current_spool
from yoq_web.settings import VERSION

ANSWER_SECONDS = 1.0
"""How long all of them may take together."""

HOOK = "gauges"
"""What a gauge that fails is counted under, where others are hooks."""


def read_gauges() -> list[GaugeMetricFamily]:
    """Read every gauge. Each owner's are read on a thread of its own; what does not answer in time is left out."""
    until = time.monotonic() + ANSWER_SECONDS
    owned = {owner: added.gauges for owner, added in current_registry().contributions.items() if added.gauges}
    asked = [(owner, _ask(owner, gauges)) for owner, gauges in owned.items()]
    found: list[GaugeMetricFamily] = []
    for owner, question in asked:
        try:
            found += question.wait(until)
        except Unanswered as error:
            if question.was_put:
                report_hook_failure(owner, HOOK, error)
    return found


def _ask(owner: str, gauges: Sequence[Gauge]) -> Question[list[GaugeMetricFamily]]:
    return Question(f"{HOOK} {owner}", lambda: [family for gauge in gauges if (family := _read(owner, gauge))])


def _read(owner: str, gauge: Gauge) -> GaugeMetricFamily | None:
    """Read one gauge; None if it has no number now, or fails, which is logged and counted."""
    try:
        with isolate():
            value = gauge.read()
            return None if value is None else _make_family(gauge, value)
    except HOOK_ERRORS as error:
        db.session.rollback()
        if not isinstance(find_raised(error), SQLAlchemyError):  # what is wrong with the database, /health says
            report_hook_failure(owner, HOOK, error)
        return None


def _make_family(gauge: Gauge, value: float | Mapping[str, float]) -> GaugeMetricFamily:
    family = GaugeMetricFamily(gauge.name, gauge.help, labels=[gauge.label] if gauge.label else [])
    if isinstance(value, Mapping):
        for label, number in value.items():
            family.add_metric([str(label)], float(number))
    else:
        family.add_metric([], float(value))
    return family


def _find_oldest() -> float | None:
    """Return when the event was that waits in the spool for longest, in seconds since 1970."""
    times = [line.event["time"] for line in current_spool().read_waiting().values()]
    return min(times) / 1_000_000 if times else None


def _count_connections() -> Mapping[str, float]:
    pool = db.engine.pool
    if not isinstance(pool, QueuePool):
        return {}
    return {"used": pool.checkedout(), "idle": pool.checkedin()}


GAUGES = (
    Gauge("yoq_build_info", "The version of the software; always 1", lambda: {VERSION: 1}, "version"),
    Gauge("yoq_spool_records", "Events that wait in the spool", lambda: len(current_spool().read_waiting())),
    Gauge("yoq_spool_oldest_timestamp_seconds", "When the oldest event was that waits in the spool", _find_oldest),
    Gauge("yoq_spool_edits", "Edits of the spool by somebody else that were found", lambda: current_spool().suspect),
    Gauge("yoq_database_connections", "This process's connections to the database", _count_connections, "state"),
)
