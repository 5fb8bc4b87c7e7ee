"""What can be done with apps; routes, commands and plugins all come here."""

from __future__ import annotations

import re
import time
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from yoq_web.apps import store
from yoq_web.apps.documents import Document, Snapshot, apply_document
from yoq_web.apps.locks import applying, try_lock
from yoq_web.apps.manifest import document
from yoq_web.apps.manifest.document import Manifest, Refused
from yoq_web.apps.models import App, Assignment, Release, RolloutRow
from yoq_web.apps.rollout.controller import Step, app_rollout_end, go_on, scene_of, write
from yoq_web.apps.rollout.machine import Control, begin, controlled
from yoq_web.apps.rollout.reconcile import Row, make_rows, with_rows
from yoq_web.apps.rollout.rescheduler import app_move
from yoq_web.apps.rollout.scheduler import place
from yoq_web.database.session import db
from yoq_web.names import check_storable
from yoq_web.operations.operation import Operation
from yoq_web.problems import NotFound, Problem

app_apply = Operation("app_apply", "Apply a manifest", "apps:write", details=("release_id", "manifest_hash"))
app_rollback = Operation(
    "app_rollback", "Roll an app back", "apps:write", details=("release_id", "source_release_id", "manifest_hash")
)
app_pause = Operation("app_pause", "Pause a rollout", "apps:write", details=("release_id",))
app_resume = Operation("app_resume", "Resume a rollout", "apps:write", details=("release_id",))
app_cancel = Operation("app_cancel", "Cancel a rollout", "apps:write", details=("release_id",))
app_run = Operation("app_run", "Run a worker", "apps:write", details=("worker",))

OPERATIONS = (app_apply, app_rollback, app_pause, app_resume, app_cancel, app_run, app_rollout_end, app_move)

COMMANDS: dict[Control, Operation] = {"paused": app_pause, "active": app_resume, "cancel_requested": app_cancel}
"""The operation by which an operator sets each control state."""

RELEASE_ID = re.compile(r"[0-9a-f]{1,64}")


def apply(body: bytes, *, named: bool = True) -> Document:
    """Apply the manifest in a request's body; returns the apply document as the release then stands.

    Raises a Problem, recorded as a failure: 400 with yoq's text, or 409 if the app is being applied or its newest
    release still rolls out. Without a name, which only `named=False` allows, its services are placed and that is all.
    """
    release_id = store.new_id()
    app = find_target(body)
    with (
        applying(app) as first,
        app_apply.performed(app, release_id=release_id, manifest_hash=document.manifest_hash(body)) as session,
    ):
        try:
            wanted = document.read(body, named=named)
        except Refused as refusal:
            raise Problem(400, str(refusal)) from None
        if wanted.app is None:
            return _place_only(session, wanted)
        made = _release(session, wanted, body, release_id, first=first)
    return apply_document(made)


def find_target(body: bytes) -> str:
    """Find the app that a manifest is of, whatever else is wrong with it; "" if it names none."""
    return document.app_name(body) or ""


def rollback(app: str, release_id: str | None = None) -> Document:
    """Apply an earlier release again, the newest completed one before the newest unless told; returns the document.

    Raises a Problem: 400 or 404 if there is no such release, which is not recorded, else as apply() does.
    """
    target = rollback_target(app, release_id)
    body = stored_body(target)
    made_id, digest = store.new_id(), document.manifest_hash(body)
    with (
        applying(app) as first,
        app_rollback.performed(app, release_id=made_id, source_release_id=target.id, manifest_hash=digest) as session,
    ):
        wanted = document.read(body)
        made = _release(session, wanted, body, made_id, first=first, source=target.id)
    return apply_document(made)


def rollback_target(app: str, release_id: str | None = None) -> Snapshot:
    """The release that a rollback would go back to. Raises a Problem (400) for a bad id, and NotFound."""
    if release_id is not None and not RELEASE_ID.fullmatch(release_id):
        raise Problem(400, "invalid release_id")
    chosen = store.releases().where(Release.app == app)
    if release_id is not None:
        chosen = chosen.where(Release.id == release_id)
    else:
        newest = select(App.newest).where(App.name == app).scalar_subquery()
        best = select(func.max(RolloutRow.number)).where(
            RolloutRow.app == app, RolloutRow.status == "completed", RolloutRow.number < newest
        )
        chosen = chosen.where(Release.number == best.scalar_subquery())
    found = db.session.execute(chosen).first()
    if found is None:
        raise NotFound("not found", "there is no release to roll back to")
    return store.snapshot(found)


def stored_body(release: Snapshot) -> bytes:
    """The body of the request that made a release, byte for byte."""
    return bytes(db.session.execute(select(Release.body).where(Release.number == release.number)).scalar_one())


def _release(
    session: Session, wanted: Manifest, body: bytes, release_id: str, *, first: bool, source: str | None = None
) -> Snapshot:
    """Make a release and take its first steps."""
    app = storable_name(wanted)
    rolling = select(RolloutRow.number).where(RolloutRow.app == app, RolloutRow.status == "in_progress").limit(1)
    if not first or not try_lock(session, app):
        raise Problem(409, "apply already in progress", "another request applies this app right now")
    if session.scalar(rolling) is not None:
        raise Problem(409, "apply already in progress", "the newest release still rolls out: wait, or cancel it")
    store.lock_placing(session)
    now = int(time.time())
    rollout = begin(wanted.policy, [(service.name, service.parts) for service in wanted.services])
    release: dict[str, Any] = {
        "id": release_id,
        "app": app,
        "trigger": "apply" if source is None else "rollback",
        "source": source,
        "manifest_hash": document.manifest_hash(body),
        "body": body,
        "services": wanted.count("service"),
        "workers": wanted.count("worker"),
        "crons": wanted.count("cron"),
        "training_jobs": wanted.count("training_job"),
        "created_at": now,
    }
    number = store.add_release(session, release, rollout)
    rows = store.rows(session, *store.of_services(app))
    scene = scene_of(session, number, wanted, rollout, rows, app=app)
    if wanted.services and not scene.nodes:
        raise Problem(400, "no agents available")
    scene.run(now)
    write(session, Step(number, release_id, app, rollout, scene.rollout, rows, scene.rows, rollout.due_at), now)
    del release["body"]
    return Snapshot(number=number, rollout=scene.rollout, **release)


def storable_name(wanted: Manifest) -> str:
    """The app of a manifest. Raises a Problem (400) if the databases cannot store its name."""
    try:
        return check_storable(wanted.app or "")
    except ValueError as error:
        raise Problem(400, "invalid app name", str(error)) from None


def _place_only(session: Session, wanted: Manifest) -> Document:
    store.lock_placing(session)
    nodes = store.nodes(session)
    if wanted.services and not nodes:
        raise Problem(400, "no agents available")
    made: dict[str, Row] = {}
    failed = 0
    for service in wanted.services:
        seats = place(service, with_rows(nodes, made.values()))
        failed += 0 if seats else service.parts
        made |= make_rows(service, seats, None, store.new_id)
    store.save_rows(session, None, {}, made, int(time.time()))
    return {"placed": len(made), "failed": failed}


def pause(app: str) -> Document:
    """Have the rollout wait before its next batch. Raises NotFound if nothing of the app rolls out."""
    return _command(app, "paused")


def resume(app: str) -> Document:
    """Let a paused rollout go on. Raises NotFound if nothing of the app rolls out."""
    return _command(app, "active")


def cancel(app: str) -> Document:
    """End a rollout where it stands, or undo it if that is its failure action. Raises NotFound if there is none."""
    return _command(app, "cancel_requested")


def _command(app: str, control: Control) -> Document:
    rolling = (
        select(RolloutRow.number, RolloutRow.state, Release.id)
        .join(Release, Release.number == RolloutRow.number)
        .where(RolloutRow.app == app, RolloutRow.status == "in_progress")
        .order_by(RolloutRow.number.desc())
        .limit(1)
    )
    seen = db.session.execute(rolling).first()
    if seen is None:
        raise NotFound("not found", f"nothing of {app!r} rolls out")
    with COMMANDS[control].performed(app, release_id=seen.id) as session:
        found = session.execute(rolling.with_for_update(of=RolloutRow)).first()
        if found is None or found.number != seen.number:
            raise NotFound("not found", f"nothing of {app!r} rolls out")
        rollout = controlled(store.read_rollout(found.state), control)
        store.save_rollout(session, found.number, rollout)
    # What follows from it is a step like any other.
    go_on(seen.number)
    return {"app_name": app, "release_id": seen.id, "rollout_control_state": rollout.control}


def run_worker(app: str, worker: str) -> Document:
    """Place a worker of the app's newest release. Raises NotFound if there is none of that name."""
    with app_run.performed(app, worker=worker) as session:
        store.lock_placing(session)
        chosen = select(Release.number, Release.body).join(App, App.newest == Release.number).where(App.name == app)
        found = session.execute(chosen).first()
        workload = document.find_worker(bytes(found.body), worker) if found else None
        if found is None or workload is None:
            raise NotFound("not found", f"the newest release of {app!r} has no worker {worker!r}")
        nodes = store.nodes(session)
        if not nodes:
            raise Problem(500, "internal error", "there are no agents")
        ours = (Assignment.app == app, Assignment.kind == "worker", Assignment.workload == worker)
        before = store.rows(session, *ours)
        # Earlier runs that are over make room in the table.
        after = {key: row for key, row in before.items() if row.alive}
        seats = place(workload, nodes)
        after |= make_rows(workload, seats, found.number, store.new_id)
        store.save_rows(session, app, before, after, int(time.time()))
    failed = 0 if seats else workload.parts
    said = "worker scheduling failed" if failed else "worker scheduled"
    return {"app_name": app, "worker": worker, "placed": len(seats), "failed": failed, "message": said}
