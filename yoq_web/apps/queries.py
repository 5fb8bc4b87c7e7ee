"""What can be asked about apps without changing anything; none of it is recorded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

from sqlalchemy import func, select

from yoq_web.apps import assignment_store, release_store
from yoq_web.apps.documents import Document, make_history_entry, make_status_document
from yoq_web.apps.manifest.diff import make_diff_document
from yoq_web.apps.manifest.document import ManifestRefused, hash_manifest, read_manifest
from yoq_web.apps.manifest.parts import add_services, select_services
from yoq_web.apps.models import App, AssignmentRow, Release
from yoq_web.apps.releases import check_app_name, find_services
from yoq_web.apps.rollout.assignment import DROPPED
from yoq_web.apps.rollout.diagnosis import explain_no_place
from yoq_web.apps.rollout.state import ReleaseState
from yoq_web.database.pages import WHOLE, Page, Slice, read_page
from yoq_web.database.session import db
from yoq_web.problems import NotFound, Problem

CHANGES_NOTHING = "it compares and stores nothing"
"""Why a question that is asked by POST is not recorded."""


class ServiceCount(NamedTuple):
    """A service with how many of its parts run, of how many; and when the oldest of those that run was assigned."""

    name: str
    running: int
    wanted: int
    since: int | None


class Place(NamedTuple):
    """How a part of a service is, why if that is known, on which agent, and how that is; `waits` on none."""

    status: str
    reason: str | None
    agent: str | None
    agent_status: str | None


def diff_manifest(body: bytes, *, services: Sequence[str] = (), keep: bool = False) -> Document:
    """Tell what apply() would change, as the diff document. Raises a Problem (400) with yoq's text."""
    try:
        wanted = read_manifest(body)
        body = select_services(body, services) if services else body
    except ManifestRefused as refusal:
        raise Problem(400, str(refusal), refusal.detail) from None
    app = check_app_name(wanted)
    there = find_services(db.session(), app) if keep or services else {}
    body = add_services(body, there)
    wanted = read_manifest(body)
    chosen = select(Release.id, Release.manifest_hash, Release.body).join(App, App.newest == Release.number)
    current = db.session.execute(chosen.where(App.name == app)).first()
    new_hash = hash_manifest(body)
    if current is None:
        return make_diff_document(wanted, new_hash, None, None, None)
    stored = read_manifest(bytes(current.body), named=False)
    if keep or services:
        # The newest release may have been undone: a part is compared with what is there.
        stored = replace(stored, objects={**stored.objects, "service": tuple(there.values())})
    return make_diff_document(wanted, new_hash, stored, current.id, current.manifest_hash)


def list_apps(part: Slice = WHOLE) -> Page[Document]:
    """List the status document of each app, that with the newest release first."""
    rows = read_page(db.session(), release_store.select_newest(), (Release.number,), part, descending=True)
    return Page(_make_status_documents(rows.convert(release_store.read_release)), rows.following)


def get_status(app: str) -> Document:
    """Make an app's status document. Raises NotFound if it has no release."""
    newest = release_store.select_newest().where(App.name == app)
    found = _make_status_documents(release_store.list_releases(db.session(), newest))
    if not found:
        raise NotFound("not found", f"there is no app {app!r}")
    return found[0]


def _make_status_documents(newest: Sequence[ReleaseState]) -> list[Document]:
    numbers = release_store.find_previous_numbers(db.session(), [release.app for release in newest])
    previous = release_store.index_releases(db.session(), numbers.values())
    return [make_status_document(release, previous.get(numbers.get(release.app, 0))) for release in newest]


def list_history(app: str, part: Slice = WHOLE, *, before: str | None = None) -> Page[Document]:
    """List an app's releases as history entries, the newest first; those older than the release `before` if told."""
    chosen = release_store.select_releases().where(Release.app == app)
    if before is not None:
        chosen = chosen.where(Release.number < select(Release.number).where(Release.id == before).scalar_subquery())
    newest = db.session.scalar(select(App.newest).where(App.name == app))
    previous = release_store.find_previous_numbers(db.session(), [app]).get(app)
    rows = read_page(db.session(), chosen, (Release.number,), part, descending=True)
    return rows.convert(release_store.read_release).convert(
        lambda item: make_history_entry(item, current=item.number == newest, previous=item.number == previous)
    )


def list_places(app: str) -> dict[str, list[Place]]:
    """List where the parts of an app's services are now, by service; those that were dropped are left out."""
    session = db.session()
    parts = assignment_store.list_assignments(
        session,
        assignment_store.is_service_of(app),
        AssignmentRow.replaced_by.is_(None),
        func.coalesce(AssignmentRow.reason, "") != DROPPED,
    )
    nodes = assignment_store.list_nodes(session)
    statuses = {node.id: node.status for node in nodes}
    found: dict[str, list[Place]] = {}
    for one in parts.values():
        waits = one.alive and one.agent_id is None
        status, reason = ("waits", explain_no_place(one.workload, nodes)) if waits else (one.status, one.reason)
        place = Place(status, reason, one.agent_id, statuses.get(one.agent_id or ""))
        found.setdefault(one.workload.name, []).append(place)
    return found


def count_services() -> list[ServiceCount]:
    """Count the parts of each app's services, but for those that were stopped, in the order of apps and services."""
    running = AssignmentRow.status == "running"
    since = func.min(AssignmentRow.created_at).filter(running)
    counted = (
        select(AssignmentRow.workload, func.count().filter(running), func.count(), since)
        .where(AssignmentRow.kind == "service", AssignmentRow.replaced_by.is_(None), AssignmentRow.status != "stopped")
        .group_by(AssignmentRow.app, AssignmentRow.workload)
        .order_by(AssignmentRow.app, AssignmentRow.workload)
    )
    return [ServiceCount(name or "", runs, wanted, first) for name, runs, wanted, first in db.session.execute(counted)]
