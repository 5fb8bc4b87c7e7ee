"""The store of releases: between their tables and the plain values that rollouts and documents work on."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import Row, Select, func, insert, select, update
from sqlalchemy.orm import Session

from yoq_web.apps.models import QUIET, App, Release, RolloutRow
from yoq_web.apps.rollout.state import ReleaseState, Rollout, decode_rollout, encode_rollout
from yoq_web.jsontext import dumps

STATE = (
    Release.number,
    Release.id,
    Release.app,
    Release.trigger,
    Release.source,
    Release.manifest_hash,
    Release.created_at,
    Release.services,
    Release.workers,
    Release.crons,
    Release.training_jobs,
    RolloutRow.state,
)
"""What of a release a ReleaseState needs: not the body, which may be long."""


def add_release(session: Session, release: dict[str, Any], rollout: Rollout) -> int:
    """Store a new release of an app, now its newest; returns its number."""
    number: int = session.execute(insert(Release).values(release).returning(Release.number)).scalar_one()
    name = release["app"]
    session.execute(insert(RolloutRow).values(number=number, app=name, version=0, **_make_progress(rollout)))
    if session.scalar(select(App.name).where(App.name == name)) is None:
        session.execute(insert(App).values(name=name, newest=number))
    else:
        session.execute(update(App).where(App.name == name).values(newest=number), execution_options=QUIET)
    return number


def save_rollout(session: Session, number: int, rollout: Rollout) -> None:
    """Write how far a release has got."""
    progress = _make_progress(rollout) | {"version": RolloutRow.version + 1}
    session.execute(update(RolloutRow).where(RolloutRow.number == number).values(progress), execution_options=QUIET)


def _make_progress(rollout: Rollout) -> dict[str, Any]:
    state = dumps(encode_rollout(rollout))
    return {"status": rollout.status, "control": rollout.control, "state": state, "due_at": rollout.due_at}


def read_rollout(state: str) -> Rollout:
    """Read the rollout that a row keeps."""
    return decode_rollout(json.loads(state))


def select_releases() -> Select[Any]:
    """Select all releases as read_release() takes them."""
    columns: list[Any] = list(STATE)
    return select(*columns).join(RolloutRow, RolloutRow.number == Release.number)


def read_release(row: Row[Any]) -> ReleaseState:
    """Read a release, with how far it has got."""
    values = {column.key: getattr(row, column.key) for column in STATE}
    return ReleaseState(rollout=read_rollout(values.pop("state")), **values)


def list_releases(session: Session, chosen: Select[Any]) -> list[ReleaseState]:
    """List the releases that a query of select_releases() finds."""
    return [read_release(row) for row in session.execute(chosen)]


def index_releases(session: Session, numbers: Iterable[int]) -> dict[int, ReleaseState]:
    """Read the releases of these numbers, by number."""
    chosen = select_releases().where(Release.number.in_(list(numbers)))
    return {release.number: release for release in list_releases(session, chosen)}


def select_newest() -> Select[Any]:
    """Select each app's newest release."""
    return select_releases().join(App, App.newest == Release.number)


def find_previous_numbers(session: Session, apps: Sequence[str]) -> dict[str, int]:
    """Find the newest completed release of each of these apps other than its newest; by app, those that have one."""
    best = select(func.max(RolloutRow.number)).where(
        RolloutRow.app == App.name, RolloutRow.status == "completed", RolloutRow.number < App.newest
    )
    chosen = select(App.name, best.scalar_subquery()).where(App.name.in_(apps))
    return {name: number for name, number in session.execute(chosen) if number is not None}
