"""What is due while serving: ending what was announced, and pruning what YOQ_AUDIT_RETENTION says is old enough.

A beat of the pulse takes a fraction of a second, because sealing waits for it; what is left is for the next one.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

from flask import current_app
from sqlalchemy.exc import SQLAlchemyError
from structlog.stdlib import get_logger

from yoq_audit.retention import pruner
from yoq_audit.retention.plan import Plan, begin
from yoq_audit.sealing import keys
from yoq_audit.sealing.signer import Rewound
from yoq_audit.settings import RETENTION, seconds_of
from yoq_audit.tlog.errors import LogError
from yoq_web import NotFound, Problem, SettingsError, act_as_system, current_settings, db

logger = get_logger("yoq_web")

LOOK_SECONDS = 60.0
"""How often is looked whether something announced is not done yet."""
PLAN_SECONDS = 3600.0
"""How often is looked for entries that have become old enough."""
BEAT_SECONDS = 0.25
"""How long one beat of the pulse may take."""
MOST = 1_000_000
"""So many entries are announced at once."""

_CHORES = "yoq_audit_retention"


@dataclass
class Chores:
    """When this process looks again (by the monotonic clock), the plan it is at, and what stood in the way."""

    look_at: float = 0.0
    plan_at: float = 0.0
    plan: Plan | None = None
    trouble: str | None = None


def chores() -> Chores:
    """Those of the current application."""
    found: Chores = current_app.extensions.setdefault(_CHORES, Chores())
    return found


def pulse() -> None:
    """Do a little of what is due. What stands in the way is told once, and in /health."""
    here, now = chores(), time.monotonic()
    if here.plan is None and now < here.look_at:
        return
    before, here.trouble = here.trouble, None
    try:
        _beat(here, now)
    except NotFound:
        here.look_at = now + LOOK_SECONDS  # the log has no entries yet
    except (Problem, SettingsError, LogError, Rewound, SQLAlchemyError) as error:
        said = error.error if isinstance(error, Problem) else type(error).__name__
        here.plan, here.look_at, here.trouble = None, now + LOOK_SECONDS, f"old entries are not pruned: {said}"
        if here.trouble != before:
            detail = getattr(error, "detail", None)
            logger.error("old entries cannot be pruned", reason=str(error), detail=detail)  # noqa: TRY400 - no defect


def _beat(here: Chores, now: float) -> None:
    until = now + BEAT_SECONDS
    age = current_settings()[RETENTION]
    if keys.read_signer() is None:  # the machine that has the log's key does it
        here.look_at = now + LOOK_SECONDS
        return
    if not pruner.finish(until):
        return
    if age is None or (here.plan is None and now < here.plan_at):
        here.look_at = now + LOOK_SECONDS
        return
    first = pruner.first_kept(db.session())
    if here.plan is None or here.plan.before != first:
        here.plan = begin(first, seconds_of(age))
    here.plan.go_on(until, MOST)
    if not here.plan.done:
        return
    planned, here.plan = here.plan, None
    if planned.reached > planned.before:
        with act_as_system():
            pruner.announce(planned, age, "YOQ_AUDIT_RETENTION")
    else:
        here.plan_at, here.look_at = now + PLAN_SECONDS, now + LOOK_SECONDS
