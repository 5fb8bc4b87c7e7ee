"""What can be done with apps; routes, commands and plugins all come here."""

from __future__ import annotations

import json
import re
import time
from typing import Any

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from yoq_web.apps import manifest, store
from yoq_web.apps.diff import diff_document
from yoq_web.apps.documents import Document, Snapshot, apply_document, history_entry, status_document
from yoq_web.apps.exclusion import alone, applying
from yoq_web.apps.manifest import Manifest, Refused
from yoq_web.apps.models import App, Assignment, Release, RolloutRow
from yoq_web.apps.moving import app_move
from yoq_web.apps.plan import DROPPED, Row, with_rows
from yoq_web.apps.rollout import Control, begin, controlled
from yoq_web.apps.scheduler import place
from yoq_web.apps.stepping import Step, app_rollout_end, go_on, scene_of, write
from yoq_web.database import db, unit_of_work
from yoq_web.operations import Operation
from yoq_web.problems import NotFound, Problem
from yoq_web.schemas import storable

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
MAX_REASON = 128
"""Bytes of a reason that an agent may give (yoq's limit)."""


def apply(body: bytes, *, named: bool = True) -> Document:
    """Apply the manifest in a request's body; returns the apply document as the release then stands.

    Raises a Problem, recorded as a failure: 400 with yoq's text, or 409 if the app is being applied or its newest
    release still rolls out. Without a name, which only `named=False` allows, its services are placed and that is all.
    """
    release_id = store.new_id()
    app = manifest.app_name(body) or ""
    with (
        applying(app) as first,
        app_apply.performed(app, release_id=release_id, manifest_hash=manifest.manifest_hash(body)) as session,
    ):
        try:
            wanted = manifest.read(body, named=named)
        except Refused as refusal:
            raise Problem(400, str(refusal)) from None
        if wanted.app is None:
            return _place_only(session, wanted)
        made = _release(session, wanted, body, release_id, first=first)
    return apply_document(made)


def rollback(app: str, release_id: str | None = None) -> Document:
    """Apply an earlier release again, the newest completed one before the newest unless told; returns the document.

    Raises a Problem: 400 or 404 if there is no such release, which is not recorded, else as apply() does.
    """
    target = rollback_target(app, release_id)
    body = stored_body(target)
    made_id, digest = store.new_id(), manifest.manifest_hash(body)
    with (
        applying(app) as first,
        app_rollback.performed(app, release_id=made_id, source_release_id=target.id, manifest_hash=digest) as session,
    ):
        wanted = manifest.read(body)
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
    app = _storable_name(wanted)
    rolling = select(RolloutRow.number).where(RolloutRow.app == app, RolloutRow.status == "in_progress").limit(1)
    if not first or not alone(session, app):
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
        "manifest_hash": manifest.manifest_hash(body),
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


def _storable_name(wanted: Manifest) -> str:
    try:
        return storable(wanted.app or "")
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
        for seat in seats:
            row = Row(store.new_id(), None, seat.node, service, rank=seat.rank, master=seat.master)
            made[row.id] = row
    store.save_rows(session, None, {}, made, int(time.time()))
    return {"placed": len(made), "failed": failed}


def dry_run(body: bytes) -> Document:
    """What an apply would change, as the diff document. Raises a Problem (400) with yoq's text. Nothing is stored."""
    try:
        wanted = manifest.read(body)
    except Refused as refusal:
        raise Problem(400, str(refusal)) from None
    app = _storable_name(wanted)
    chosen = select(Release.id, Release.manifest_hash, Release.body).join(App, App.newest == Release.number)
    current = db.session.execute(chosen.where(App.name == app)).first()
    new_hash = manifest.manifest_hash(body)
    if current is None:
        return diff_document(wanted, new_hash, None, None, None)
    stored = manifest.read(bytes(current.body), named=False)
    return diff_document(wanted, new_hash, stored, current.id, current.manifest_hash)


def list_apps() -> list[Document]:
    """The status document of each app, that with the newest release first."""
    newest = store.snapshots(
        db.session(), store.releases().join(App, App.newest == Release.number).order_by(Release.number.desc())
    )
    before = store.previous_numbers(db.session())
    found = store.by_number(db.session(), before.values()) if before else {}
    return [status_document(item, found.get(before.get(item.app, 0))) for item in newest]


def status(app: str) -> Document:
    """An app's status document. Raises NotFound if it has no release."""
    newest = store.newest(db.session(), app)
    if newest is None:
        raise NotFound("not found", f"there is no app {app!r}")
    before = store.previous_numbers(db.session(), app)
    found = store.by_number(db.session(), before.values()) if before else {}
    return status_document(newest, found.get(before.get(app, 0)))


def history(app: str, limit: int = 50, before: str | None = None) -> list[Document]:
    """An app's releases as history entries, the newest first: at most `limit`, older than the release `before`."""
    chosen = store.releases().where(Release.app == app).order_by(Release.number.desc()).limit(limit)
    if before is not None:
        chosen = chosen.where(Release.number < select(Release.number).where(Release.id == before).scalar_subquery())
    newest = db.session.scalar(select(App.newest).where(App.name == app))
    previous = store.previous_numbers(db.session(), app).get(app)
    return [
        history_entry(item, current=item.number == newest, previous=item.number == previous)
        for item in store.snapshots(db.session(), chosen)
    ]


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
        workload = manifest.find_worker(bytes(found.body), worker) if found else None
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
        for seat in seats:
            row = Row(store.new_id(), found.number, seat.node, workload, rank=seat.rank, master=seat.master)
            after[row.id] = row
        store.save_rows(session, app, before, after, int(time.time()))
    failed = 0 if seats else workload.parts
    said = "worker scheduling failed" if failed else "worker scheduled"
    return {"app_name": app, "worker": worker, "placed": len(seats), "failed": failed, "message": said}


def assignments_of(agent_id: str) -> list[Document]:
    """An agent's assignments, in the order in which they were made and in yoq's key order."""
    chosen = (
        select(Assignment)
        .where(Assignment.agent_id == agent_id, Assignment.replaced_by.is_(None))
        .order_by(Assignment.number)
    )
    return [_assignment(found) for found in db.session.scalars(chosen)]


def _assignment(found: Assignment) -> Document:
    document: Document = {
        "id": found.id,
        "agent_id": found.agent_id,
        "image": found.image,
        "command": found.command,
        "status": found.status,
        "status_reason": found.reason,
        "cpu_limit": found.cpu,
        "memory_limit_mb": found.memory_mb,
        "app_name": found.app,
        "workload_kind": found.kind,
        "workload_name": found.workload,
        "health_check": None if found.health_check is None else json.loads(found.health_check),
        "gang_rank": found.rank,
        "gang_world_size": found.ranks,
        "gang_master_addr": found.master,
        "gang_master_port": found.master_port,
    }
    always = ("id", "agent_id", "image", "command", "status", "cpu_limit", "memory_limit_mb")
    return {key: value for key, value in document.items() if value is not None or key in always}


def report(agent_id: str, assignment_id: str, status: str, reason: str | None = None) -> bool:
    """Note what an agent says of one of its assignments: `running`, `stopped` or `failed`. Not recorded.

    Returns whether it is the agent's at all; nothing is changed if not. A rollout that waits for it goes on.
    Raises a Problem (400) if the status or the reason cannot be.
    """
    if status not in ("running", "stopped", "failed"):
        raise Problem(400, "invalid status value")
    if reason is not None and len(reason.encode(errors="replace")) > MAX_REASON:
        raise Problem(400, "invalid reason", f"at most {MAX_REASON} bytes")
    mine = (Assignment.id == assignment_id, Assignment.agent_id == agent_id)
    release = select(Assignment.release).where(*mine).scalar_subquery()
    quiet: dict[str, Any] = {"synchronize_session": False}
    with unit_of_work() as session:
        # The rollout's row first, as every step does. Should this process end here, the pulse finds it due.
        due = update(RolloutRow).where(RolloutRow.number == release, RolloutRow.status == "in_progress")
        waits = session.scalar(due.values(due_at=0).returning(RolloutRow.number), execution_options=quiet)
        said = update(Assignment).where(*mine, func.coalesce(Assignment.reason, "") != DROPPED)
        changed = session.scalar(
            said.values(status=status, reason=reason).returning(Assignment.id), execution_options=quiet
        )
        known = changed is not None or session.scalar(select(Assignment.id).where(*mine)) is not None
    if waits is not None:
        go_on(waits)
    return known


def check_app(app: str) -> None:
    """Raise a Problem if yoq would not take this name in a path; ours take any."""
    if not manifest.plain_text(app):
        raise Problem(400, "invalid app name")
