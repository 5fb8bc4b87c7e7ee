"""Releases: how one is made of a manifest or of a part of one, with the first steps of its rollout."""

from __future__ import annotations

import time
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from yoq_web.apps import assignment_store, release_store
from yoq_web.apps.locks import try_lock_app
from yoq_web.apps.manifest.document import AppManifest, hash_manifest, read_manifest
from yoq_web.apps.manifest.parts import Service, add_services, index_services
from yoq_web.apps.models import App, AssignmentRow, Release, RolloutRow
from yoq_web.apps.rollout.assignment import DROPPED
from yoq_web.apps.rollout.controller import PlannedStep, app_rollout_end, make_end_details, make_reconciler, write_step
from yoq_web.apps.rollout.state import ReleaseState, start_rollout
from yoq_web.names import check_storable
from yoq_web.operations.performance import add_details, add_sequel, mark_failed
from yoq_web.problems import Problem


def make_release(
    session: Session,
    body: bytes,
    release_id: str,
    *,
    first: bool,
    keep: bool = False,
    source: str | None = None,
) -> ReleaseState:
    """Make a release of the manifest in `body` and take its first steps; `first` says that nobody else applies the app.

    With `keep` the services that it does not name stay as they are and belong to the release: its document has them,
    too. Raises a Problem: 409 if the app is being applied or rolls out, 400 if there are no agents.
    """
    wanted = read_manifest(body)
    app = check_app_name(wanted)
    rolling = select(RolloutRow.number).where(RolloutRow.app == app, RolloutRow.status == "in_progress").limit(1)
    if not first or not try_lock_app(session, app):
        raise Problem(409, "apply already in progress", "another request applies this app right now")
    if session.scalar(rolling) is not None:
        raise Problem(409, "apply already in progress", "the newest release still rolls out: wait, or cancel it")
    assignment_store.lock_placing(session)
    newest = select(Release.id).join(App, App.newest == Release.number).where(App.name == app)
    add_details(before=session.scalar(newest))
    now = int(time.time())
    named = list(index_services(wanted))
    there = find_services(session, app) if keep else {}
    kept = [name for name in there if name not in named]
    rollout = start_rollout(wanted.policy, [(service.name, service.parts) for service in wanted.services], kept)
    if keep:
        body = add_services(body, there)
        wanted = read_manifest(body)
        add_details(services=named, kept=kept, manifest_hash=hash_manifest(body))
    release: dict[str, Any] = {
        "id": release_id,
        "app": app,
        "trigger": "apply" if source is None else "rollback",
        "source": source,
        "manifest_hash": hash_manifest(body),
        "body": body,
        "services": wanted.count("service"),
        "workers": wanted.count("worker"),
        "crons": wanted.count("cron"),
        "training_jobs": wanted.count("training_job"),
        "created_at": now,
    }
    number = release_store.add_release(session, release, rollout)
    assigned = assignment_store.list_assignments(session, assignment_store.is_service_of(app))
    reconciler = make_reconciler(session, number, wanted, rollout, assigned, app=app)
    if rollout.targets and not reconciler.nodes:
        raise Problem(400, "no agents available")
    reconciler.run(now)
    after = reconciler.rollout
    step = PlannedStep(number, release_id, app, rollout, after, assigned, reconciler.assignments, rollout.due_at)
    write_step(session, step, now)
    add_details(status=after.status)
    if after.failure:
        mark_failed(after.failure)
    if after.over:
        add_sequel(app_rollout_end, app, after.failure, **make_end_details(release_id, after))
    del release["body"]
    return ReleaseState(number=number, rollout=after, **release)


def find_services(session: Session, app: str) -> dict[str, Service]:
    """Find the services of an app that are there now, by name; what was dropped is not.

    Each is as the release has it that put it there: a later one may have been undone.
    """
    chosen = (
        select(AssignmentRow.workload, func.max(AssignmentRow.release))
        .where(
            assignment_store.is_service_of(app),
            AssignmentRow.replaced_by.is_(None),
            func.coalesce(AssignmentRow.reason, "") != DROPPED,
        )
        .group_by(AssignmentRow.workload)
        .order_by(func.min(AssignmentRow.number))
    )
    made_by = {name or "": number or 0 for name, number in session.execute(chosen)}
    bodies = session.execute(select(Release.number, Release.body).where(Release.number.in_(set(made_by.values()))))
    objects = {number: index_services(read_manifest(bytes(body), named=False)) for number, body in bodies}
    return {name: objects[number][name] for name, number in made_by.items() if name in objects.get(number, {})}


def check_app_name(wanted: AppManifest) -> str:
    """Return the app of a manifest. Raises a Problem (400) if the databases cannot store its name."""
    try:
        return check_storable(wanted.app or "")
    except ValueError as error:
        raise Problem(400, "invalid app name", str(error)) from None
