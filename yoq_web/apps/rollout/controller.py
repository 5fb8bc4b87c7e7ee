"""Moving rollouts on: each step is one transaction, which any process can take, and none is taken twice."""

from __future__ import annotations

import time
from dataclasses import dataclass

from sqlalchemy import select, update
from sqlalchemy.orm import Session
from structlog.stdlib import get_logger

from yoq_web.actors import act_as_system
from yoq_web.apps import store
from yoq_web.apps.documents import rollout_state
from yoq_web.apps.manifest.document import Manifest, read
from yoq_web.apps.models import Release, RolloutRow
from yoq_web.apps.rollout.machine import Rollout
from yoq_web.apps.rollout.reconcile import Row, Scene
from yoq_web.database.session import db, unit_of_work
from yoq_web.hooks.errors import HOOK_ERRORS
from yoq_web.logs import render_exception
from yoq_web.operations.operation import Operation
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
)


class Changed(NotFound):
    """What was decided does not fit any more; nothing was done, and nothing is recorded."""


@dataclass(frozen=True)
class Step:
    """What is to be written next for a release: how its rollout stands then, and the app's assignments."""

    number: int
    release_id: str
    app: str
    before: Rollout
    after: Rollout
    rows_before: dict[str, Row]
    rows_after: dict[str, Row]
    due_at: int | None

    @property
    def changes(self) -> bool:
        """Whether there is anything to write."""
        changed = self.before != self.after or self.rows_before != self.rows_after
        return changed or self.due_at != self.after.due_at

    @property
    def ends(self) -> tuple[str, str | None] | None:
        """How the rollout ends with this step, if it does."""
        return (self.after.status, self.after.message) if self.after.over and not self.before.over else None


def decide(session: Session, number: int, now: int, *, lock: bool = False) -> Step | None:
    """What is to be done next about a release; None if it has ended. With `lock` nobody else decides about it."""
    if lock:
        store.lock_placing(session)
    chosen = select(RolloutRow.state, RolloutRow.due_at, Release.app, Release.id, Release.body).join(
        Release, Release.number == RolloutRow.number
    )
    chosen = chosen.where(RolloutRow.number == number, RolloutRow.status == "in_progress")
    found = session.execute(chosen.with_for_update(of=RolloutRow) if lock else chosen).first()
    if found is None:
        return None
    before = store.read_rollout(found.state)
    rows = store.rows(session, *store.of_services(found.app))
    scene = scene_of(session, number, read(found.body, named=False), before, rows, app=found.app)
    scene.run(now)
    return Step(number, found.id, found.app, before, scene.rollout, rows, scene.rows, found.due_at)


def scene_of(
    session: Session, number: int, wanted: Manifest, rollout: Rollout, rows: dict[str, Row], *, app: str
) -> Scene:
    """Everything that a rollout of an app touches."""
    return Scene(
        number=number,
        rollout=rollout,
        services={service.name: service for service in wanted.services},
        named=frozenset(str(found.get("name", "")) for found in wanted.objects["service"]),
        rows=dict(rows),
        nodes=store.nodes(session, without=app),
        new_id=store.new_id,
    )


def write(session: Session, step: Step, now: int) -> None:
    """Write a step's outcome."""
    store.save_rollout(session, step.number, step.after)
    store.save_rows(session, step.app, step.rows_before, step.rows_after, now)


def advance(number: int, at: int | None = None) -> None:
    """Take what steps a release's rollout can take now, or at that time (seconds since 1970).

    What ends by itself is recorded as done by the system.
    """
    now = int(time.time()) if at is None else at
    for _ in range(TRIES):
        # Decided twice: only then is it known what to record, and only under the locks what is true.
        db.session.rollback()
        step = decide(db.session(), number, now)
        db.session.rollback()
        if step is None:
            return
        try:
            if step.ends is None:
                if step.changes:
                    with unit_of_work() as session:
                        _take(session, step, now)
                return
            with act_as_system(), app_rollout_end.performed(step.app, **_details(step)) as session:
                _take(session, step, now)
        except Changed:
            continue
        return


def _take(session: Session, expected: Step, now: int) -> None:
    step = decide(session, expected.number, now, lock=True)
    if step is None or step.ends != expected.ends:
        raise Changed
    write(session, step, now)


def _details(step: Step) -> dict[str, str | bool | None]:
    rollout = step.after
    return {
        "release_id": step.release_id,
        "status": rollout.status,
        "rollout_state": rollout_state(rollout, rollout.remaining),
        "reverted": rollout.reverted,
        "message": rollout.message,
    }


def go_on(number: int, at: int | None = None) -> None:
    """Take what steps a release's rollout can take. A failure is told, and the next try is left to the pulse."""
    now = int(time.time()) if at is None else at
    try:
        advance(number, now)
    except HOOK_ERRORS as error:
        log.error("a rollout cannot go on", release=number, exception=render_exception(error))  # noqa: TRY400 - hides values
        with unit_of_work() as session:
            later = update(RolloutRow).where(RolloutRow.number == number, RolloutRow.due_at <= now)
            session.execute(later.values(due_at=now + AGAIN_SECONDS))


def advance_due(now: int) -> None:
    """Take the steps whose time has come."""
    due = select(RolloutRow.number).where(RolloutRow.due_at <= now).order_by(RolloutRow.due_at).limit(100)
    numbers = list(db.session.scalars(due))
    db.session.rollback()
    for number in numbers:
        go_on(number, now)
