"""The rollout controller: each step is one transaction, which any process can take, and none is taken twice."""

from __future__ import annotations

import time
from dataclasses import dataclass

from sqlalchemy import select, update
from sqlalchemy.orm import Session
from structlog.stdlib import get_logger

from yoq_web.actors import act_as_system
from yoq_web.apps import assignment_store, release_store
from yoq_web.apps.manifest.document import AppManifest, read_manifest
from yoq_web.apps.models import Release, RolloutRow
from yoq_web.apps.rollout.assignment import Assignment
from yoq_web.apps.rollout.reconciler import Reconciler
from yoq_web.apps.rollout.state import Rollout, name_rollout_state
from yoq_web.database.session import db, unit_of_work
from yoq_web.hooks.errors import HOOK_ERRORS
from yoq_web.logs import render_exception
from yoq_web.operations.operation import Operation
from yoq_web.operations.performance import mark_failed
from yoq_web.problems import NotFound

log = get_logger("yoq_web")

TRIES = 5
"""How often a step is decided anew because things changed meanwhile; whoever looks next goes on."""

AGAIN_SECONDS = 10
"""After a step that failed it is left alone for so long."""

app_rollout_end = Operation(
    "app_rollout_end",
    "End a rollout by itself",
    "apps:write",
    details=("release_id", "status", "rollout_state", "reverted", "message"),
    activity="update",
)


class StaleDecision(NotFound):
    """What was decided does not fit any more; nothing was done, and nothing is recorded."""


@dataclass(frozen=True)
class PlannedStep:
    """What is to be written next for a release: how its rollout stands then, and the app's assignments."""

    number: int
    release_id: str
    app: str
    before: Rollout
    after: Rollout
    assigned_before: dict[str, Assignment]
    assigned_after: dict[str, Assignment]
    due_at: int | None

    @property
    def changes(self) -> bool:
        """Whether there is anything to write."""
        changed = self.before != self.after or self.assigned_before != self.assigned_after
        return changed or self.due_at != self.after.due_at

    @property
    def ends(self) -> tuple[str, str | None] | None:
        """How the rollout ends with this step, if it does."""
        return (self.after.status, self.after.message) if self.after.over and not self.before.over else None


def decide_step(session: Session, number: int, now: int, *, lock: bool = False) -> PlannedStep | None:
    """Decide what comes next for a release; None if it has ended. With `lock` nobody else decides about it."""
    if lock:
        assignment_store.lock_placing(session)
    chosen = select(RolloutRow.state, RolloutRow.due_at, Release.app, Release.id, Release.body).join(
        Release, Release.number == RolloutRow.number
    )
    chosen = chosen.where(RolloutRow.number == number, RolloutRow.status == "in_progress")
    found = session.execute(chosen.with_for_update(of=RolloutRow) if lock else chosen).first()
    if found is None:
        return None
    before = release_store.read_rollout(found.state)
    assigned = assignment_store.list_assignments(session, assignment_store.is_service_of(found.app))
    wanted = read_manifest(found.body, named=False)
    reconciler = make_reconciler(session, number, wanted, before, assigned, app=found.app)
    reconciler.run(now)
    after = reconciler.rollout
    return PlannedStep(number, found.id, found.app, before, after, assigned, reconciler.assignments, found.due_at)


def make_reconciler(
    session: Session, number: int, wanted: AppManifest, rollout: Rollout, assigned: dict[str, Assignment], *, app: str
) -> Reconciler:
    """Gather everything that a rollout of an app touches."""
    return Reconciler(
        number=number,
        rollout=rollout,
        services={service.name: service for service in wanted.services},
        named=frozenset(str(found.get("name", "")) for found in wanted.objects["service"]),
        assignments=dict(assigned),
        nodes=assignment_store.list_nodes(session, without=app),
        make_id=assignment_store.make_id,
    )


def write_step(session: Session, step: PlannedStep, now: int) -> None:
    """Write a step's outcome."""
    release_store.save_rollout(session, step.number, step.after)
    assignment_store.save_assignments(session, step.app, step.assigned_before, step.assigned_after, now)


def advance_rollout(number: int, at: int | None = None) -> None:
    """Take what steps a release's rollout can take now, or at that time (seconds since 1970).

    What ends by itself is recorded as done by the system.
    """
    now = int(time.time()) if at is None else at
    for _ in range(TRIES):
        # Decided twice: only then is it known what to record, and only under the locks what is true.
        db.session.rollback()
        step = decide_step(db.session(), number, now)
        db.session.rollback()
        if step is None:
            return
        try:
            if step.ends is None:
                if step.changes:
                    with unit_of_work() as session:
                        _take_step(session, step, now)
                return
            details = make_end_details(step.release_id, step.after)
            with act_as_system(), app_rollout_end.performed(step.app, **details) as session:
                taken = _take_step(session, step, now)
                if taken.after.failure:
                    mark_failed(taken.after.failure)
        except StaleDecision:
            continue
        return


def _take_step(session: Session, expected: PlannedStep, now: int) -> PlannedStep:
    step = decide_step(session, expected.number, now, lock=True)
    if step is None or step.ends != expected.ends:
        raise StaleDecision
    write_step(session, step, now)
    return step


def make_end_details(release_id: str, rollout: Rollout) -> dict[str, str | bool | None]:
    """Make the details of a release's end."""
    return {
        "release_id": release_id,
        "status": rollout.status,
        "rollout_state": name_rollout_state(rollout, rollout.remaining),
        "reverted": rollout.reverted,
        "message": rollout.message,
    }


def continue_rollout(number: int, at: int | None = None) -> None:
    """Take what steps a release's rollout can take. A failure is logged; the periodic task tries again."""
    now = int(time.time()) if at is None else at
    try:
        advance_rollout(number, now)
    except HOOK_ERRORS as error:
        log.error(  # noqa: TRY400 - render_exception() leaves values out
            "a rollout cannot go on", release=number, exception=render_exception(error)
        )
        with unit_of_work() as session:
            later = update(RolloutRow).where(RolloutRow.number == number, RolloutRow.due_at <= now)
            session.execute(later.values(due_at=now + AGAIN_SECONDS))


def advance_due_rollouts(now: int) -> None:
    """Take the steps whose time has come."""
    due = select(RolloutRow.number).where(RolloutRow.due_at <= now).order_by(RolloutRow.due_at).limit(100)
    numbers = list(db.session.scalars(due))
    db.session.rollback()
    for number in numbers:
        continue_rollout(number, now)
