"""What can be asked about apps without changing anything; none of it is recorded."""

from __future__ import annotations

from sqlalchemy import select

from yoq_web.apps import store
from yoq_web.apps.documents import Document, history_entry, status_document
from yoq_web.apps.manifest import document
from yoq_web.apps.manifest.diff import diff_document
from yoq_web.apps.manifest.document import Refused
from yoq_web.apps.models import App, Release
from yoq_web.apps.operations import storable_name
from yoq_web.database.session import db
from yoq_web.problems import NotFound, Problem


def dry_run(body: bytes) -> Document:
    """What an apply would change, as the diff document. Raises a Problem (400) with yoq's text. Nothing is stored."""
    try:
        wanted = document.read(body)
    except Refused as refusal:
        raise Problem(400, str(refusal)) from None
    app = storable_name(wanted)
    chosen = select(Release.id, Release.manifest_hash, Release.body).join(App, App.newest == Release.number)
    current = db.session.execute(chosen.where(App.name == app)).first()
    new_hash = document.manifest_hash(body)
    if current is None:
        return diff_document(wanted, new_hash, None, None, None)
    stored = document.read(bytes(current.body), named=False)
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
