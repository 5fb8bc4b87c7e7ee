"""The schedule of retention: ending what was announced, and pruning what YOQ_AUDIT_RETENTION says is old enough.

A run takes a fraction of a second, because sealing waits for it; what is left is for the next one.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from sqlalchemy.exc import SQLAlchemyError
from structlog.stdlib import get_logger

from yoq_audit.retention import pruner
from yoq_audit.retention.plan import Plan, make_plan
from yoq_audit.sealing import keys
from yoq_audit.sealing.signer import Rewound
from yoq_audit.settings import RETENTION, parse_age
from yoq_audit.storage.clocks import AHEAD, SECOND
from yoq_audit.tlog.errors import LogError
from yoq_web import AppLocal, ClockJumps, Problem, SettingsError, act_as_system, current_settings, db

logger = get_logger("yoq_web")

LOOK_SECONDS = 60.0
"""How often is looked whether something announced is not done yet."""
PLAN_SECONDS = 3600.0
"""How often is looked for entries that have become old enough."""
SLICE_SECONDS = 0.25
"""How long one run may take."""
MOST_ENTRIES = 1_000_000
"""So many entries are announced at once."""


@dataclass
class RetentionSchedule:
    """When this process looks again (by the monotonic clock), the plan it is at, and why nothing is pruned, if so."""

    next_look: float = 0.0
    next_plan: float = 0.0
    jumps: ClockJumps = field(default_factory=ClockJumps)
    plan: Plan | None = None
    failure: str | None = None


current_schedule: AppLocal[RetentionSchedule] = AppLocal("audit_retention", lambda _app: RetentionSchedule())


def run_due() -> None:
    """Do a little of what is due. What stands in the way is told once, and in /health."""
    schedule, now = current_schedule(), time.monotonic()
    _watch_clock(schedule, now)
    if schedule.plan is None and now < schedule.next_look:
        return
    before, schedule.failure = schedule.failure, None
    try:
        _run(schedule, now)
    except (Problem, SettingsError, LogError, Rewound, SQLAlchemyError) as error:
        said = error.error if isinstance(error, Problem) else type(error).__name__
        schedule.plan, schedule.next_look = None, now + LOOK_SECONDS
        schedule.failure = f"old entries are not pruned: {said}"
        if schedule.failure != before:
            detail = getattr(error, "detail", None)
            logger.error("old entries cannot be pruned", reason=str(error), detail=detail)  # noqa: TRY400 - no defect


def _watch_clock(schedule: RetentionSchedule, now: float) -> None:
    """Put off pruning where the machine's clock jumped: if it is wrong now, somebody may set it right before."""
    moved = schedule.jumps.measure()
    if abs(moved) * SECOND > AHEAD:
        schedule.plan, schedule.next_plan = None, now + PLAN_SECONDS
        logger.warning("the clock jumped: nothing is pruned by it for an hour", seconds=int(moved))


def _run(schedule: RetentionSchedule, now: float) -> None:
    until = now + SLICE_SECONDS
    age = current_settings()[RETENTION]
    if keys.read_signer() is None:  # the machine that has the log's key does it
        schedule.next_look = now + LOOK_SECONDS
        return
    if not pruner.complete_removals(until):
        return
    if age is None or (schedule.plan is None and now < schedule.next_plan):
        schedule.next_look = now + LOOK_SECONDS
        return
    first = pruner.find_first_kept(db.session())
    if schedule.plan is None or schedule.plan.before != first:
        schedule.plan = make_plan(first, parse_age(age))
    schedule.plan.extend(until, MOST_ENTRIES)
    if not schedule.plan.done:
        return
    planned, schedule.plan = schedule.plan, None
    if planned.reached > planned.before:
        with act_as_system():
            pruner.announce(planned, age, "YOQ_AUDIT_RETENTION")
    else:
        schedule.next_plan, schedule.next_look = now + PLAN_SECONDS, now + LOOK_SECONDS
